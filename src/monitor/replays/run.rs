//! The thread of one replay: it publishes the messages at the wanted rate, brakes, and hears what becomes of them.
//!
//! The brake, with `stop_on_failure`: the first message goes alone, and each one that is settled with success lets one
//! more be under way at once, up to [`WIDEST`]. So a target that still refuses gets one message, not all. When one is
//! parked again, or is not settled for [`LONGEST_BRAKE`], the rest stays parked. A message for a queue that no reader
//! of this worker has, such as a sent queue, is not followed: it counts as replayed and not followed, and does not
//! brake.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, select, unbounded};

use super::progress::{Progress, State};
use crate::lane::followers::News;
use crate::lane::ledger::Replay;
use crate::lane::outgoing;
use crate::monitor::hub::Hub;
use crate::monitor::parked::shelf::Turn;
use crate::parked::entry::ParkedEntry;
use crate::parked::replay::{self, Observer, Plan, Step};
use crate::rabbitmq::publisher::OutgoingMessage;
use crate::stop::Stop;

/// The most messages that are under way at once with the brake.
const WIDEST: u32 = 20;
/// From one message to the next, the pause included. The messages behind are held meanwhile, and a reading that starts
/// to wait at its very end must not outlive its connection.
const LONGEST_BRAKE: Duration = Duration::from_secs(240);
/// How long to wait for the last messages to be settled; one that waits for its third try may take minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How a replay goes.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// From one message to the next.
    pub pause: Duration,
    /// Stop when a message is parked again.
    pub stop_on_failure: bool,
}

/// Replays, and returns when it is known what has become of the messages, or when it takes too long.
pub fn run(hub: &Hub, plan: &Plan, manner: Manner, progress: &Arc<Progress>, stop: &Stop, turn: Turn) {
    let (news, heard) = unbounded();
    let mut runner = Runner { hub, manner, progress, stop, news, heard, last: None, followed: None, broken: None };
    // A panic costs this replay, not those after it.
    let replayed = catch_unwind(AssertUnwindSafe(|| replay::run(&hub.config, &hub.stop, plan, &mut runner)));
    // Others may read the queue again.
    drop(turn);
    let (state, error) = match replayed {
        Err(_) => (State::Failed, Some("the replay panicked; worker_errors.log says where".to_owned())),
        Ok(Err(err)) => (State::Failed, Some(format!("{err:#}"))),
        Ok(Ok(_)) if hub.stop.raised() => (State::Stopped, Some("the worker stops".to_owned())),
        Ok(Ok(_)) if stop.raised() => (State::Stopped, None),
        Ok(Ok(_)) => (State::Done, None),
    };
    let has_ended = state == State::Stopped;
    if !has_ended && progress.unsettled() > 0 {
        progress.waits();
        runner.await_last();
    }
    let state = if state == State::Done && stop.raised() { State::Stopped } else { state };
    runner.note_failure();
    let (state, error) = match runner.broken.take() {
        Some(why) if error.is_none() => (State::Failed, Some(why)),
        _ => (state, error),
    };
    runner.unfollow();
    progress.ends(state, error);
}

struct Runner<'r> {
    hub: &'r Hub,
    manner: Manner,
    progress: &'r Arc<Progress>,
    /// Somebody wants it to stop.
    stop: &'r Stop,
    news: Sender<News>,
    heard: Receiver<News>,
    /// When the last message went.
    last: Option<Instant>,
    /// The replay of the message that is being published, if it is followed.
    followed: Option<Replay>,
    /// Why the rest is not replayed.
    broken: Option<String>,
}

impl Observer for Runner<'_> {
    fn may_go(&mut self) -> bool {
        let end = Instant::now() + LONGEST_BRAKE;
        self.has_paused() && self.has_room(end)
    }

    fn goes(&mut self, message: &OutgoingMessage) {
        self.last = Some(Instant::now());
        let lanes = &self.hub.lanes;
        let is_ours = lanes.iter().any(|lane| [&lane.queues.input, &lane.queues.retry].contains(&&message.queue));
        // It may move to another lane.
        let is_followed = is_ours && lanes.iter().all(|lane| lane.control.followers.follow(message, &self.news));
        self.followed = outgoing::replay(&message.headers).filter(|_| is_followed);
    }

    fn told(&mut self, entry: &ParkedEntry, step: Step, camunda: Option<&str>) {
        let etag = entry.etag();
        match step {
            Step::Replayed(queue) => {
                self.progress.replayed(&entry.id, &etag, self.followed);
                self.hub.parked.gone(&etag);
                let camunda = camunda.map(|camunda| format!("; {camunda}")).unwrap_or_default();
                log::info!("replayed to {queue}: task={}{camunda}", entry.id);
            }
            Step::WouldReplay(_) => {}
            Step::Skipped(why) => self.progress.skipped(&etag, why),
        }
    }
}

impl Runner<'_> {
    /// Waits until the next message is due; `false`: none is.
    fn has_paused(&mut self) -> bool {
        let due = self.last.map(|last| last + self.manner.pause);
        while let Some(left) =
            due.map(|due| due.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
        {
            if !self.hear(left) {
                return false;
            }
        }
        self.take_in();
        !self.stop.raised() && !self.hub.stop.raised()
    }

    /// Waits until one more message may be under way, until then at most; `false`: none may.
    fn has_room(&mut self, end: Instant) -> bool {
        while self.manner.stop_on_failure {
            self.note_failure();
            if self.broken.is_some() {
                return false;
            }
            let (settled, _) = self.progress.outcomes();
            if self.progress.unsettled() < (settled + 1).min(WIDEST) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.broken = Some(format!(
                    "too little was settled within {LONGEST_BRAKE:?}, so the rest stays parked; look at the lane, or replay without \
                     stop_on_failure"
                ));
                return false;
            }
            if !self.hear(left) {
                return false;
            }
        }
        true
    }

    fn note_failure(&mut self) {
        self.take_in();
        let (_, failed_again) = self.progress.outcomes();
        if self.manner.stop_on_failure && failed_again > 0 && self.broken.is_none() {
            let rest = if self.progress.numbers().left() > 0 { ", so the rest stays parked" } else { "" };
            self.broken = Some(format!("a message was parked again{rest}"));
        }
    }

    /// All is published: waits for what is not settled.
    fn await_last(&mut self) {
        let end = Instant::now() + LONGEST_WAIT;
        while self.progress.unsettled() > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.hear(left) {
                return;
            }
        }
    }

    /// Waits for news, for so long at most; `false`: the replay is to stop.
    fn hear(&mut self, most: Duration) -> bool {
        select! {
            // This end has the sender, too, so it never fails.
            recv(self.heard) -> news => news.into_iter().for_each(|news| self.progress.heard(news)),
            recv(self.stop.receiver()) -> _ => return false,
            recv(self.hub.stop.receiver()) -> _ => return false,
            recv(after(most)) -> _ => {}
        }
        true
    }

    fn take_in(&mut self) {
        self.heard.try_iter().for_each(|news| self.progress.heard(news));
    }

    fn unfollow(&self) {
        self.hub.lanes.iter().for_each(|lane| lane.control.followers.forget(&self.news));
    }
}
