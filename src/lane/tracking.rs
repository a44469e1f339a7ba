//! The tracker thread of a lane: every interval it sweeps the sent queue, answers the finished tasks and requeues the
//! other records.
//!
//! A sweep has its own session, so nothing is unsettled between two sweeps. It reads every record that was there when
//! it started, a few thousand at a time. Of an open task it keeps nothing; of a missing or unanswered one the id.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use crossbeam_channel::select;
use serde_json::Value;

use super::finding::{Finding, shown_and_gone};
use super::log_throttle::LogThrottle;
use super::remembered::Remembered;
use super::sweep::{Sent, Sweep};
use super::tasks::Swept;
use super::{Lane, outgoing};
use crate::message::record::answer_text;
use crate::message::{Cause, Original, Record, now, now_ms};
use crate::rabbitmq::ConnectionError;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::consumer::{AckToken, Consumer, Delivery};
use crate::rabbitmq::queues::{self, Found};
use crate::stats::span;
use crate::systems::{Failure, Progress, Tracker};

/// Records in memory at once. Fifty commands of fifty ids are one request to Bitrix24.
const CHUNK: u16 = 2500;
/// A sweep ends after this time, and the next one goes on where it ended: RabbitMQ closes the channel when a delivery
/// is unacknowledged for half an hour.
pub(super) const LONGEST_SWEEP: Duration = Duration::from_secs(900);
/// Longer than the last chunk of a sweep takes. After it the connection is cut, and the broker requeues the records.
pub(super) const SLACK: Duration = Duration::from_secs(300);
/// A task counts as gone after this many checks in a row did not show it.
pub(super) const MISSED: u32 = 3;
/// When a sweep is shown no task at all, and at least this many are not shown, it is more likely that our account there
/// may not see them.
const SUSPICIOUS: usize = 10;
/// Answered tasks that are remembered, since a task may be in the sent queue twice.
const ANSWERED: usize = 100_000;

/// So many records with another task's id are logged by id; of the others only the number is logged.
const MOST_NAMED: usize = 20;

/// What the tracker thread remembers between two sweeps.
pub(super) struct Tracking<'a, 'b> {
    pub(super) lane: &'a Lane<'b>,
    pub(super) tracker: Box<dyn Tracker>,
    /// When each task was answered, in seconds since 1970.
    pub(super) answered: Remembered<f64>,
    /// How often in a row each task was missing.
    missed: HashMap<String, u32>,
    /// Tasks whose missing answer was logged.
    pub(super) unanswered: HashSet<String>,
    /// Records that were logged because their id belongs to another task.
    foreign: HashSet<String>,
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

/// Sweeps until the stop signal.
pub fn run(lane: &Lane, tracker: Box<dyn Tracker>) {
    let mut tracking = Tracking::new(lane, tracker);
    let interval = lane.config.heartbeat_interval;
    loop {
        let started = Instant::now();
        // A panic costs this sweep, not the tracker.
        let swept = catch_unwind(AssertUnwindSafe(|| tracking.sweep(started)));
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
            default(interval.saturating_sub(started.elapsed())) => {},
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
                sweep.skipped = true;
                deliveries.into_iter().for_each(|delivery| sweep.consumer.leave(delivery.token));
            }
            if started.elapsed() > LONGEST_SWEEP && read < records {
                log::warn!("{records} records are too many for one sweep: the next one goes on after {read} of them");
                self.checked_last_time = read;
                sweep.skipped = true;
                break;
            }
        }
        Ok(())
    }

    /// Checks some records and waits until what follows from them is confirmed.
    fn check(&mut self, sweep: &mut Sweep, deliveries: Vec<Delivery>) -> anyhow::Result<()> {
        let (records, tokens) = self.readable(sweep, deliveries)?;
        let results = self.tracker.check(&records);
        let trusted = is_trusted(sweep, &results);
        for ((record, token), result) in records.iter().zip(tokens).zip(results) {
            self.lane.stats.tracker.total_checked.count();
            let finding = Finding::of(result, trusted, self.is_answered(record));
            self.act(sweep, record, finding, token)?;
            self.make_room(sweep)?;
        }
        self.await_confirms(sweep)?;
        self.note_failures(std::mem::take(&mut sweep.failures), records.len())
    }

    /// Was the task answered before? A message that the bridge has made since says that Camunda still waits, so that
    /// the answer was lost on the way; a time to come says nothing.
    fn is_answered(&self, record: &Record) -> bool {
        let Some(&answered) = self.answered.get(&record.task.id) else { return false };
        !record.task.timestamp.is_some_and(|made| made > answered && made <= now())
    }

    /// The records that can be read, with their ack tokens; the others are parked.
    fn readable(
        &mut self,
        sweep: &mut Sweep,
        deliveries: Vec<Delivery>,
    ) -> anyhow::Result<(Vec<Record>, Vec<AckToken>)> {
        let (mut records, mut tokens) = (Vec::with_capacity(deliveries.len()), Vec::with_capacity(deliveries.len()));
        for Delivery { body, token, .. } in deliveries {
            match Record::parse(body) {
                Ok(record) => {
                    records.push(record);
                    tokens.push(token);
                }
                Err(unreadable) => {
                    self.park_unreadable(sweep, unreadable, token)?;
                    self.make_room(sweep)?;
                }
            }
        }
        Ok((records, tokens))
    }

    /// Acts on a finding. A record with which nothing is done is requeued at the end of the sweep.
    fn act(&mut self, sweep: &mut Sweep, record: &Record, finding: Finding, token: AckToken) -> anyhow::Result<()> {
        let id = record.task.id.as_str();
        match finding {
            Finding::AnsweredBefore => {
                log::info!("answered before, dropping a second record: task={id}");
                Ok(sweep.consumer.ack(token)?)
            }
            Finding::Progress(progress) => self.follow(sweep, record, progress, token),
            Finding::Hidden => {
                self.missed.remove(id);
                sweep.consumer.leave(token);
                Ok(())
            }
            Finding::Invalid(err) => {
                let original = Original::Json(record.document());
                self.park(sweep, id, Cause::InvalidRecord, &format!("{err:#}"), &original, token).map(drop)
            }
            Finding::Unknown(failure) => {
                sweep.failures.push(failure);
                sweep.consumer.leave(token);
                Ok(())
            }
        }
    }

    /// Records that could not be checked stay.
    fn note_failures(&self, failures: Vec<Failure>, checked: usize) -> anyhow::Result<()> {
        let failed = failures.len();
        let Some(failure) = failures.into_iter().next() else { return Ok(()) };
        self.lane.stats.tracker.failed_checks.count();
        // One task that cannot be checked does not end the sweep.
        if failed == checked || matches!(failure, Failure::Unavailable { .. }) {
            bail!("{failure}");
        }
        log::warn!("{failed} of {checked} tasks could not be checked, they stay: {failure}");
        Ok(())
    }

    /// Acts on the progress of a task.
    fn follow(
        &mut self,
        sweep: &mut Sweep,
        record: &Record,
        progress: Progress,
        token: AckToken,
    ) -> anyhow::Result<()> {
        let id = record.task.id.as_str();
        if !matches!(progress, Progress::Gone) {
            self.missed.remove(id);
        }
        if matches!(progress, Progress::Failed(_) | Progress::Gone) && sweep.over.contains(id) {
            log::info!("parked before, dropping a second record: task={id}");
            return Ok(sweep.consumer.ack(token)?);
        }
        match progress {
            Progress::Open => {
                sweep.open += 1;
                sweep.oldest = sweep.oldest.max(record.age().unwrap_or_default());
                sweep.listed.note(record, None);
                sweep.consumer.leave(token);
                Ok(())
            }
            Progress::Waiting(why) => {
                sweep.unanswered += 1;
                sweep.listed_unanswered.note(record, Some(&why));
                if self.unanswered.insert(id.to_owned()) {
                    log::warn!("finished, but not answered to Camunda yet: task={id}: {why}");
                }
                sweep.consumer.leave(token);
                Ok(())
            }
            Progress::Finished(finished) => self.answer(sweep, record, finished, token),
            Progress::Foreign(why) => {
                sweep.foreign += 1;
                if self.foreign.len() < MOST_NAMED && self.foreign.insert(id.to_owned()) {
                    let queue = &self.lane.queues.sent;
                    log::error!("not answered to Camunda, the record stays in {queue}: task={id}: {why}");
                }
                sweep.consumer.leave(token);
                Ok(())
            }
            Progress::Failed(error) => self.park_task(sweep, record, Cause::TaskFailed, &format!("{error:#}"), token),
            Progress::Gone => self.miss(sweep, record, token),
        }
    }

    /// Counts once in a sweep that the target does not show a task, and parks the task when that was too often.
    fn miss(&mut self, sweep: &mut Sweep, record: &Record, token: AckToken) -> anyhow::Result<()> {
        let id = &record.task.id;
        if let Some(parking) = sweep.missing.get(id) {
            // Another record of the same task is treated like the first one.
            sweep.join(*parking, token).into_iter().for_each(|token| sweep.consumer.leave(token));
            return Ok(());
        }
        sweep.missing.insert(id.clone(), None);
        let missed = self.missed.entry(id.clone()).or_default();
        *missed += 1;
        if *missed < MISSED {
            log::warn!("the target does not show the task ({missed} of {MISSED} times): task={id}");
            sweep.consumer.leave(token);
            return Ok(());
        }
        self.missed.remove(id);
        let error = format!("{MISSED} checks in a row have not found the task at the target");
        self.park_task(sweep, record, Cause::TaskNotFound, &error, token)
    }

    /// Parks the message of a task, once for all of its records in this sweep.
    fn park_task(
        &mut self,
        sweep: &mut Sweep,
        record: &Record,
        cause: Cause,
        error: &str,
        token: AckToken,
    ) -> anyhow::Result<()> {
        let id = &record.task.id;
        let parking = sweep.missing.get(id).copied().flatten();
        let Some(token) = sweep.join(parking, token) else { return Ok(()) };
        let tag = self.park(sweep, id, cause, error, &Original::Json(record.task.body.clone()), token)?;
        sweep.missing.insert(id.clone(), tag);
        Ok(())
    }

    fn answer(&mut self, sweep: &mut Sweep, record: &Record, finished: Value, token: AckToken) -> anyhow::Result<()> {
        let id = &record.task.id;
        let Some(token) = sweep.join(sweep.answering.get(id).copied(), token) else { return Ok(()) };
        self.lane.stats.tracker.completed_tasks.count();
        match answer_text(&finished) {
            Some(answer) => log::info!("finished, answer {answer:?}: task={id}"),
            None => log::info!("finished: task={id}"),
        }
        let message = outgoing::response(self.lane, record, finished);
        let whole = || record.document().get().as_bytes().to_vec();
        let tag = self.publish(sweep, message, Sent::Response(id.clone(), record.age()), token, whole)?;
        sweep.answering.extend(tag.map(|tag| (id.clone(), tag)));
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
        let swept = Swept { number, at, took, is_complete: true, ..Swept::default() };
        let swept = match sweep {
            None => swept,
            Some(sweep) => {
                let (open, all_open) = sweep.listed.into_list();
                let (unanswered, all_unanswered) = sweep.listed_unanswered.into_list();
                // Records that were only published again count as open, and are not in the list.
                let is_complete = all_open && all_unanswered && !sweep.skipped && open.len() as u64 == sweep.open;
                Swept { open, unanswered, is_complete, ..swept }
            }
        };
        self.lane.control.has_swept(swept);
    }
}

/// Notes how many tasks were shown. `false`: none was and many were not, so they may be hidden from us.
fn is_trusted(sweep: &mut Sweep, results: &[Result<Progress, Failure>]) -> bool {
    let (shown, gone) = shown_and_gone(results);
    sweep.not_shown += results.len() - shown;
    sweep.seen |= shown > 0;
    let trusted = sweep.not_shown < SUSPICIOUS || sweep.seen;
    if !trusted && gone > 0 {
        let checked = results.len();
        log::error!("the target does not show {gone} of {checked} tasks; they stay: may our account there see them?");
    }
    trusted
}
