//! What a session is to do next, and when it ends.
//!
//! It decides what is due; see [`State`]. It carries out none of it: the session does.

use std::time::{Duration, Instant};

use super::State;
use crate::lane::breaker::BreakerState;
use crate::lane::ledger::Key;
use crate::lane::{Job, outgoing};
use crate::message::Task;
use crate::rabbitmq::consumer::Unsettled;
use crate::rabbitmq::publisher::OutgoingMessage;
use crate::systems::Created;

/// RabbitMQ closes the channel when a delivery is unacknowledged for half an hour. A lane that is paused for so long
/// requeues all before that, and takes them again.
const LONGEST_HOLD: Duration = Duration::from_secs(600);
/// A message is published again this often before another channel is tried.
const MOST_REFUSALS: u32 = 60;

/// What to do next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is carried out at once")]
pub enum Action<'s, T> {
    /// Acknowledge this delivery.
    Ack(T),
    /// Publish this outgoing message, and report its tag with [`State::publishing`].
    Publish(Key, &'s OutgoingMessage),
    /// Give this task to the pool.
    Handle(Job),
    /// Give this recorded task to the pool, to be followed up.
    FollowUp(Box<(Task, Created)>),
    /// Take back from the pool the tasks that no thread has started, for [`State::take_back`].
    TakeBack,
    /// Consume with this prefetch from now on.
    Consume(u16),
    /// End the session.
    End(End),
}

/// Why a session is to end.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The lane is stopped, and everything that was started is settled.
    Settled,
    /// The next one may start at once.
    Refresh,
    /// This queue is gone; the next session declares it. The messages for it are not acknowledged, so nothing is lost.
    QueueGone(String),
}

/// What only the session knows.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// The time.
    pub now: Instant,
    /// So much is unconfirmed that the next outgoing message has to wait for a confirm.
    pub publisher_is_full: bool,
    /// The deliveries that are not acknowledged.
    pub unsettled: Unsettled,
}

impl<T> State<'_, T> {
    /// The next action; `None`: nothing is to be done until an event, or until [`State::next_wake`].
    pub fn next(&mut self, sight: Sight) -> Option<Action<'_, T>> {
        self.wake(sight.now);
        if std::mem::take(&mut self.takes_back) {
            return Some(Action::TakeBack);
        }
        if let Some(recorded) = self.ledger.next_follow_up(self.starts_work()) {
            return Some(Action::FollowUp(recorded));
        }
        if let Some(token) = self.session.acks.pop_front() {
            return Some(Action::Ack(token));
        }
        if let Some(end) = self.session.end.take() {
            return Some(Action::End(end));
        }
        // Before the outgoing messages, since a task that cannot be recorded leads to one.
        if let Some(job) = self.next_job(sight.now) {
            return Some(Action::Handle(job));
        }
        if let Some(key) = self.next_outgoing(sight) {
            return self.ledger.outgoing(&key).map(|outgoing| Action::Publish(key, outgoing));
        }
        if let Some(prefetch) = self.next_prefetch(sight.unsettled) {
            return Some(Action::Consume(prefetch));
        }
        self.next_end(sight.now).map(Action::End)
    }

    /// When [`State::next`] has something to do without an event.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let state = match self.breaker.state(now) {
            BreakerState::Open(until) => Some(until),
            BreakerState::Closed(_) | BreakerState::HalfOpen => None,
        };
        let paused = self.paused.as_ref().and_then(|pause| pause.until);
        [self.ledger.next_wake(), state, paused].into_iter().flatten().min()
    }

    fn wake(&mut self, now: Instant) {
        self.ledger.wake(now);
        self.take_in_parked();
        if self.paused.as_ref().is_some_and(|pause| pause.is_over(now)) {
            self.resume();
        }
    }

    /// May a task be started, or a follow-up tried again? What cannot be recorded must not be created.
    fn starts_work(&self) -> bool {
        !self.stopping && !self.session.alarm
    }

    fn next_job(&mut self, now: Instant) -> Option<Job> {
        while self.has_room(now) {
            let mut job = self.ledger.next_job()?;
            // A task that may exist is looked up first, even if it cannot be recorded.
            if job.task.earlier.look_up_decides() && !outgoing::can_be_recorded(self.lane, &job.task) {
                self.park_too_large(&job);
                continue;
            }
            job.task.claim = self.session.claim.clone();
            return Some(job);
        }
        None
    }

    /// May the pool get another task?
    fn has_room(&self, now: Instant) -> bool {
        let in_flight = self.ledger.in_flight();
        let trusted = match self.breaker.state(now) {
            BreakerState::Closed(window) => in_flight < window,
            BreakerState::HalfOpen => in_flight == 0,
            BreakerState::Open(_) => false,
        };
        trusted && self.starts_work() && self.paused.is_none()
    }

    fn next_outgoing(&mut self, sight: Sight) -> Option<Key> {
        // With a broker that does not read, writing fills the socket, and then this thread would block.
        while !self.session.alarm && !sight.publisher_is_full {
            let key = self.ledger.next_to_publish()?;
            let too_large =
                self.ledger.outgoing(&key).filter(|outgoing| outgoing.body.len() > self.lane.largest.bytes());
            let Some(outgoing) = too_large.cloned() else { return Some(key) };
            self.make_small_enough(key, &outgoing, sight.now);
        }
        None
    }

    /// The new prefetch, if it is to change, by the size of the deliveries and by how many were settled before.
    fn next_prefetch(&mut self, unsettled: Unsettled) -> Option<u16> {
        let session = &mut self.session;
        let at_rest = (!session.reading || self.caution.is_careful()) && self.ledger.is_at_rest();
        session.reading |= at_rest;
        if self.caution.grows(if at_rest { unsettled.count } else { 0 }) {
            self.prefetch.allow(self.caution.prefetch());
        }
        if self.stopping || session.alarm || !session.reading {
            return None;
        }
        match std::mem::replace(&mut session.consuming, true) {
            true => self.prefetch.change(unsettled),
            false => Some(self.prefetch.now()),
        }
    }

    fn next_end(&mut self, now: Instant) -> Option<End> {
        if self.session.alarm || self.paused.is_some() || self.breaker.paused_for(now).is_some() {
            self.lane.stats.condition.waiting.set(self.ledger.waiting() as u64);
        }
        if self.stopping && self.note_unsettled() == 0 {
            return Some(End::Settled);
        }
        (self.is_held_too_long(now) || self.is_refused_too_long(now)).then_some(End::Refresh)
    }

    fn is_held_too_long(&self, now: Instant) -> bool {
        let paused_for = self.paused.as_ref().map(|pause| now.saturating_duration_since(pause.since));
        let longest = paused_for.max(self.breaker.paused_for(now));
        let too_long = self.may_refresh(longest, LONGEST_HOLD, now);
        if too_long {
            log::debug!("the lane has been paused for long: requeueing its deliveries and taking them again");
        }
        too_long
    }

    /// RabbitMQ 3.10 does not always notice, for a channel, that a quorum queue has room again, and refuses until the
    /// channel is closed. A new channel is tried half as often each time, since it requeues all deliveries, which a
    /// quorum queue counts.
    fn is_refused_too_long(&self, now: Instant) -> bool {
        let refused = self.refusals.longest(now);
        let most = (self.lane.config.retry_delay * MOST_REFUSALS).max(refused.unwrap_or_default() / 2);
        let too_long = self.may_refresh(refused, most, now);
        if too_long {
            log::debug!("a queue has refused messages for long: trying it again on another channel");
        }
        too_long
    }

    /// Both `lasts` and the session are longer than `most`, and the pool has no tasks.
    fn may_refresh(&self, lasts: Option<Duration>, most: Duration, now: Instant) -> bool {
        let started = self.session.started.is_some_and(|started| now.saturating_duration_since(started) > most);
        started && lasts.is_some_and(|lasts| lasts > most) && self.ledger.in_flight() == 0
    }
}
