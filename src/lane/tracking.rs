//! The tracker thread of a lane: every interval it sweeps the sent queue, answers the finished tasks and requeues the
//! other records. What becomes of a record is decided in [`super::checking`].
//!
//! A sweep has its own session, so nothing is unsettled between two sweeps. It reads every record that was there when
//! it started, a few thousand at a time. Of an open task it keeps nothing; of a missing or unanswered one the id.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use crossbeam_channel::select;

use super::Lane;
use super::log_throttle::LogThrottle;
use super::remembered::Remembered;
use super::sweep::Sweep;
use super::tasks::Swept;
use crate::message::now_ms;
use crate::rabbitmq::ConnectionError;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::consumer::Consumer;
use crate::rabbitmq::queues::{self, Found};
use crate::stats::span;
use crate::systems::Tracker;

/// Records in memory at once. Fifty commands of fifty ids are one request to Bitrix24.
const CHUNK: u16 = 2500;
/// A sweep ends after this time, and the next one goes on where it ended: RabbitMQ closes the channel when a delivery
/// is unacknowledged for half an hour.
pub(super) const LONGEST_SWEEP: Duration = Duration::from_secs(900);
/// Longer than the last chunk of a sweep takes. After it the connection is cut, and the broker requeues the records.
pub(super) const SLACK: Duration = Duration::from_secs(300);
/// Between two sweeps the sweep lock is free for so long, if the interval is no shorter: long enough for others who ask
/// for it a few times a second, such as `reconcile`.
const HANDOVER: Duration = Duration::from_millis(600);
/// Answered tasks that are remembered, since a task may be in the sent queue twice.
const ANSWERED: usize = 100_000;

/// What the tracker thread remembers between two sweeps.
pub(super) struct Tracking<'a, 'b> {
    pub(super) lane: &'a Lane<'b>,
    pub(super) tracker: Box<dyn Tracker>,
    /// Tasks that were answered.
    pub(super) answered: Remembered<Answered>,
    /// How often in a row each task was missing.
    pub(super) missed: HashMap<String, u32>,
    /// Tasks whose missing answer was logged.
    pub(super) unanswered: HashSet<String>,
    /// Records that were logged because their id belongs to another task.
    pub(super) foreign: HashSet<String>,
    /// Records at the head of the queue that the last sweep, which ended early, has checked.
    pub(super) checked_last_time: u32,
    /// The target has told something that the next sweep shall act on.
    pub(super) heard: bool,
    /// Outgoing messages of an earlier sweep were not confirmed, and none has been since.
    pub(super) unconfirmed: bool,
    error: LogThrottle,
    /// Throttles the log lines about a target that does not tell what people do.
    pub(super) deaf: LogThrottle,
    /// Throttles the log lines about a queue that does not take messages.
    pub(super) refusal: LogThrottle,
    /// Throttles the log lines about records that wait in the retry queue.
    pub(super) put_aside: LogThrottle,
}

/// When a task was answered, in seconds since 1970, and the [`hash`](crate::message::hash) of the message that asked
/// for it.
pub(super) struct Answered {
    pub(super) at: f64,
    pub(super) message: u64,
}

/// Sweeps until the stop signal.
pub fn run(lane: &Lane, tracker: Box<dyn Tracker>) {
    let mut tracking = Tracking::new(lane, tracker);
    let interval = lane.config.heartbeat_interval;
    loop {
        let started = Instant::now();
        // A panic costs this sweep, not the tracker.
        let swept = catch_unwind(AssertUnwindSafe(|| tracking.sweep(started)));
        lane.control.sweep_ends();
        match swept.unwrap_or_else(|_| Err(anyhow!("the sweep panicked; worker_errors.log says where"))) {
            Ok(()) => tracking.error.over(),
            Err(err) => {
                let text = format!("{err:#}");
                if lane.learn_largest(&text) {
                    // Nobody waits for the next sweep because of one record.
                    continue;
                }
                if let Some(text) = tracking.error.say(&text, started) {
                    log::warn!("sweep ended early, the next one is in {interval:?}: {text}");
                }
            }
        }
        if std::mem::take(&mut tracking.heard) && !lane.stop.raised() {
            continue;
        }
        select! {
            recv(lane.stop.receiver()) -> _ => return,
            recv(lane.control.polls()) -> _ => {},
            default(interval.saturating_sub(started.elapsed()).max(HANDOVER.min(interval))) => {},
        }
    }
}

impl<'a, 'b> Tracking<'a, 'b> {
    /// Nothing is known yet.
    pub(super) fn new(lane: &'a Lane<'b>, tracker: Box<dyn Tracker>) -> Tracking<'a, 'b> {
        Tracking {
            lane,
            tracker,
            answered: Remembered::new(ANSWERED),
            missed: HashMap::new(),
            unanswered: HashSet::new(),
            foreign: HashSet::new(),
            checked_last_time: 0,
            heard: false,
            unconfirmed: false,
            error: LogThrottle::default(),
            deaf: LogThrottle::default(),
            refusal: LogThrottle::default(),
            put_aside: LogThrottle::default(),
        }
    }
}

impl Tracking<'_, '_> {
    fn sweep(&mut self, started: Instant) -> anyhow::Result<()> {
        let lane = self.lane;
        let number = lane.control.sweep_starts();
        let mut connection = Connection::open(&lane.config.rabbitmq, &format!("task-creator {}: sweep", lane.name))?;
        let opened = connection.within_deadline(|connection| {
            let Some(found) = queues::look(connection, &lane.queues.sent)? else {
                self.publish_list(None, number, started);
                return Ok(None);
            };
            if let Some(queued) = queues::ready(connection, &lane.queues.input)? {
                lane.stats.condition.queued.set(queued.into());
            }
            let consumer = Consumer::open(connection, CHUNK, 0)?;
            let ours = queues::lock(connection, &lane.queues.sweep_lock)?;
            Ok::<_, ConnectionError>(ours.then_some((consumer, found)))
        });
        let Some((consumer, found)) = opened? else {
            log::debug!("no sweep: another worker is sweeping, or there is nothing yet");
            return Ok(());
        };
        let result = self.sweep_with(&connection, &consumer, (number, found.ready), started);
        let deadline = connection.closing();
        let settled = [(lane.queues.sent.clone(), Found { ready: 0, ..found })];
        let requeued = consumer.requeue_all().and_then(|()| queues::await_settled(&mut connection, &settled));
        drop(deadline);
        if result.is_ok() && requeued.is_ok() {
            self.listen(started);
        }
        // With it goes the lock, so that another worker may sweep and listen.
        connection.close_with(consumer);
        result.and(requeued.map_err(Into::into))
    }

    fn sweep_with(
        &mut self,
        connection: &Connection,
        consumer: &Consumer,
        (number, records): (u64, u32),
        started: Instant,
    ) -> anyhow::Result<()> {
        let mut sweep = Sweep::new(consumer);
        let deadline = connection.at_most(LONGEST_SWEEP + SLACK);
        let result = self.probe(&mut sweep).and_then(|()| {
            let result = self.read_all(&mut sweep, records, started);
            self.note(&sweep, records, started);
            self.note_refused(&sweep);
            result
        });
        self.unconfirmed |= !sweep.unconfirmed.is_empty();
        drop(deadline);
        if let Some((publishing, publisher, watch)) = sweep.publisher.take() {
            drop(watch);
            publishing.close_with(publisher);
        }
        if result.is_ok() {
            self.publish_list(Some(sweep), number, started);
        }
        result
    }

    fn read_all(&mut self, sweep: &mut Sweep, records: u32, started: Instant) -> anyhow::Result<()> {
        let mut read = 0;
        let checked_last_time = std::mem::take(&mut self.checked_last_time);
        while read < records && !self.lane.stop.raised() {
            let most = u16::try_from(records - read).unwrap_or(CHUNK).min(CHUNK);
            let deliveries = sweep.consumer.take(&self.lane.queues.sent, most)?;
            if deliveries.is_empty() {
                break;
            }
            read += u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
            let deliveries = self.republish(sweep, deliveries)?;
            if read > checked_last_time {
                self.check(sweep, deliveries)?;
            } else {
                sweep.unclear = true;
                deliveries.into_iter().for_each(|delivery| sweep.consumer.leave(delivery.token));
            }
            if started.elapsed() > LONGEST_SWEEP && read < records {
                log::warn!("{records} records are too many for one sweep: the next one goes on after {read} of them");
                self.checked_last_time = read;
                break;
            }
        }
        sweep.unclear |= read < records;
        Ok(())
    }

    fn note(&self, sweep: &Sweep, records: u32, started: Instant) {
        let stats = &self.lane.stats.tracker;
        stats.last_check_time.set(now_ms());
        stats.sweep_milliseconds.set(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
        stats.open_tasks.set(sweep.open);
        stats.unanswered_tasks.set(sweep.unanswered);
        if sweep.foreign > 0 && sweep.foreign != stats.foreign_tasks.get() {
            log::error!(
                "records in {} that are not answered, since their ids belong to other tasks now: {}. They wait until the target \
                 is their own again; take the records whose tasks are gone for good out of the queue",
                self.lane.queues.sent,
                sweep.foreign
            );
        }
        stats.foreign_tasks.set(sweep.foreign);
        stats.oldest_open_seconds.set(sweep.oldest.as_secs());
        log::debug!(
            "swept {records} records in {:?}; {} open, oldest {}",
            started.elapsed(),
            sweep.open,
            span(sweep.oldest)
        );
    }
}

impl Tracking<'_, '_> {
    /// Shows outside what a sweep has seen; `None`: there is no sent queue yet. One that has ended early, or goes on
    /// where another one has ended, has not seen every record.
    fn publish_list(&self, sweep: Option<Sweep>, number: u64, started: Instant) {
        let (took, at) = (started.elapsed(), now_ms());
        let is_clear = sweep.as_ref().is_none_or(|sweep| !sweep.unclear);
        let lists = sweep.map(|sweep| (sweep.listed.into_list(), sweep.listed_unanswered.into_list()));
        let ((open, all_open), (unanswered, all_unanswered)) =
            lists.unwrap_or(((Vec::new(), true), (Vec::new(), true)));
        self.lane.control.has_swept(Swept {
            number,
            at,
            took,
            open,
            unanswered,
            is_complete: is_clear && all_open && all_unanswered,
            has_all_unanswered: is_clear && all_unanswered,
            is_current: true,
        });
    }
}
