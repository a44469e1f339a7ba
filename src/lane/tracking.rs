//! The tracker thread of a lane: every interval it sweeps the sent queue, answers what is finished and gives the rest
//! back.
//!
//! A sweep has its own session, so nothing is held unacknowledged between two of them. It reads every record that was there
//! when it began, a few thousand at a time. Of an open one it keeps nothing; of one that is missing or unanswered the id.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};

use super::remembered::Remembered;
use super::repeated::Repeated;
use super::sweep::{Sent, Sweep};
use super::{Lane, letters};
use crate::message::{Cause, Original, Parked, Record, Unreadable, now_ms};
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::intake::{Arrival, Intake, Token};
use crate::rabbitmq::publisher::{Letter, Publisher, Verdict};
use crate::rabbitmq::{Error, FieldTable, Trouble, queues};
use crate::stats::span;
use crate::systems::{Failure, Progress, Tracker};

/// Records in memory at once. Fifty commands of fifty ids are one request to Bitrix24.
const CHUNK: u16 = 2500;
/// A sweep ends after this time, and the next one goes on where it ended: RabbitMQ takes back what is unacknowledged for
/// half an hour.
const LONGEST_SWEEP: Duration = Duration::from_secs(900);
/// Longer than the last chunk of a sweep takes; past it the connection is cut, and the broker gives the records back.
const SLACK: Duration = Duration::from_secs(300);
/// That many checks in a row must miss a task before it counts as gone.
const MISSED: u32 = 3;
/// If at least this many tasks are gone at once, and none is to be seen, it is more likely that our account there may not
/// see them.
const SUSPICIOUS: usize = 10;
/// Answered tasks that are remembered, since a task may be in the sent queue twice.
const ANSWERED: usize = 100_000;

/// What the tracker thread remembers between two sweeps.
struct Tracking<'a, 'b> {
    lane: &'a Lane<'b>,
    tracker: Box<dyn Tracker>,
    answered: Remembered,
    /// How often in a row a task was missing.
    missed: HashMap<String, u32>,
    /// Tasks of which it was said that their answer is missing.
    unanswered: HashSet<String>,
    /// Records at the head of the queue that the last sweep, which ended early, has checked.
    checked_last_time: u32,
    trouble: Repeated,
}

/// Sweeps until the stop signal.
pub fn run(lane: &Lane, tracker: Box<dyn Tracker>) {
    let mut tracking = Tracking {
        lane,
        tracker,
        answered: Remembered::new(ANSWERED),
        missed: HashMap::new(),
        unanswered: HashSet::new(),
        checked_last_time: 0,
        trouble: Repeated::default(),
    };
    let interval = lane.config.heartbeat_interval;
    loop {
        let begun = Instant::now();
        // A panic costs this sweep, not the tracker.
        let swept = catch_unwind(AssertUnwindSafe(|| tracking.sweep(begun)));
        match swept.unwrap_or_else(|_| Err(anyhow!("the sweep panicked; worker_errors.log says where"))) {
            Ok(()) => tracking.trouble.over(),
            Err(err) => {
                let text = format!("{err:#}");
                if let Some(text) = tracking.trouble.say(&text, begun) {
                    log::warn!("sweep ended early, the next one is in {interval:?}: {text}");
                }
            }
        }
        if lane.stop.pause(interval.saturating_sub(begun.elapsed())) {
            return;
        }
    }
}

/// Body and headers of a record that has to be published anew.
type Renewal = (Vec<u8>, FieldTable);

impl Tracking<'_, '_> {
    fn sweep(&mut self, begun: Instant) -> anyhow::Result<()> {
        let lane = self.lane;
        let mut connection = Connection::open(&lane.config.rabbitmq, &format!("task-creator {}: sweep", lane.name))?;
        let opened = connection.within_deadline(|connection| {
            let Some(records) = queues::ready(connection, &lane.queues.sent)? else { return Ok(None) };
            let intake = Intake::open(connection, CHUNK, 0)?;
            let ours = queues::lock(intake.channel(), &lane.queues.sweep_lock)?;
            Ok::<_, Error>(ours.then_some((intake, records)))
        });
        let result = match opened.map_err(Trouble::from)? {
            Some((intake, records)) => {
                let mut sweep = Sweep::new(&intake);
                let deadline = connection.at_most(LONGEST_SWEEP + SLACK);
                let result = self.read_all(&mut sweep, records, begun);
                drop(deadline);
                if let Some((publishing, publisher)) = sweep.publisher.take() {
                    let deadline = publishing.closing();
                    drop(publisher);
                    drop((publishing, deadline));
                }
                let deadline = connection.closing();
                let returned = intake.give_back();
                self.note(&sweep, records, begun);
                drop((intake, deadline));
                result.and(returned.map_err(|err| Trouble::from(err).into()))
            }
            None => {
                log::debug!("no sweep: another worker is sweeping, or there is nothing yet");
                Ok(())
            }
        };
        let _ = connection.close();
        result
    }

    fn read_all(&mut self, sweep: &mut Sweep, records: u32, begun: Instant) -> anyhow::Result<()> {
        let mut read = 0;
        let checked_last_time = std::mem::take(&mut self.checked_last_time);
        while read < records && !self.lane.stop.raised() {
            let most = u16::try_from(records - read).unwrap_or(CHUNK).min(CHUNK);
            let arrivals = sweep.intake.take(&self.lane.queues.sent, most)?;
            if arrivals.is_empty() {
                break;
            }
            read += u32::try_from(arrivals.len()).unwrap_or(u32::MAX);
            if read > checked_last_time {
                self.check(sweep, arrivals)?;
            } else {
                self.skip(sweep, arrivals)?;
            }
            if begun.elapsed() > LONGEST_SWEEP && read < records {
                log::warn!("{records} records are too many for one sweep: the next one goes on after {read} of them");
                self.checked_last_time = read;
                break;
            }
        }
        Ok(())
    }

    /// Leaves records in the queue that the last sweep has checked.
    fn skip(&mut self, sweep: &mut Sweep, arrivals: Vec<Arrival>) -> anyhow::Result<()> {
        for Arrival { body, headers, token, .. } in arrivals.into_iter().filter(|a| letters::wears_out(&a.headers)) {
            let id = format!("record-{}-{}", now_ms(), sweep.on_the_way.len());
            self.keep(sweep, id, Some((body, headers)), token)?;
        }
        self.await_confirms(sweep)
    }

    /// Checks some records and waits until what follows from them is confirmed.
    fn check(&mut self, sweep: &mut Sweep, arrivals: Vec<Arrival>) -> anyhow::Result<()> {
        let mut records = Vec::with_capacity(arrivals.len());
        let mut deliveries = Vec::with_capacity(arrivals.len());
        for Arrival { body, headers, token, .. } in arrivals {
            let renew = letters::wears_out(&headers).then(|| (body.clone(), headers));
            match Record::parse(body) {
                Ok(record) => {
                    records.push(record);
                    deliveries.push((token, renew));
                }
                Err(unreadable) => self.park_unreadable(sweep, unreadable, token)?,
            }
        }
        let results = self.tracker.check(&records);
        let checked = records.len();
        let gone = results.iter().filter(|result| matches!(result, Ok(Progress::Gone))).count();
        sweep.seen |= gone < checked;
        let trust = gone < SUSPICIOUS || sweep.seen;
        if !trust {
            log::error!(
                "the target does not show {gone} of {checked} tasks; they stay: may our account there see them?"
            );
        }
        let mut unavailable = None;
        let mut failed = 0;
        for ((record, (token, renew)), result) in records.iter().zip(deliveries).zip(results) {
            self.lane.stats.tracker.total_checked.count();
            let stays = match result {
                Ok(Progress::Gone) if !trust => Some(token),
                Ok(progress) => self.decide(sweep, record, progress, token)?,
                Err(Failure::Permanent(err)) => {
                    let original = Original::Json(record.document());
                    let error = format!("{err:#}");
                    self.park(sweep, &record.task.id, Cause::InvalidRecord, &error, &original, token)?;
                    None
                }
                Err(failure) => {
                    failed += 1;
                    unavailable = unavailable.or(Some(failure));
                    Some(token)
                }
            };
            if let Some(token) = stays {
                self.keep(sweep, record.task.id.clone(), renew, token)?;
            }
        }
        self.await_confirms(sweep)?;
        match unavailable {
            Some(failure) => {
                self.lane.stats.tracker.failed_checks.count();
                // One task that cannot be asked for does not keep the others from being asked for.
                if failed == checked || matches!(failure, Failure::Unavailable { .. }) {
                    bail!("{failure}");
                }
                log::warn!("{failed} of {checked} tasks could not be checked, they stay: {failure}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Acts on the progress of a task; gives the delivery back if the record stays in the queue.
    fn decide(
        &mut self,
        sweep: &mut Sweep,
        record: &Record,
        progress: Progress,
        token: Token,
    ) -> anyhow::Result<Option<Token>> {
        let id = record.task.id.as_str();
        if self.answered.contains(id) {
            log::info!("answered before, dropping a second record: task={id}");
            sweep.intake.ack(token).map_err(Trouble::from)?;
            return Ok(None);
        }
        if !matches!(progress, Progress::Gone) {
            self.missed.remove(id);
        }
        match progress {
            Progress::Open => {
                sweep.open += 1;
                sweep.oldest = sweep.oldest.max(record.age().unwrap_or_default());
                Ok(Some(token))
            }
            Progress::Unanswered(why) => {
                sweep.unanswered += 1;
                if self.unanswered.insert(id.to_owned()) {
                    log::warn!("finished, but not answered to Camunda yet: task={id}: {why}");
                }
                Ok(Some(token))
            }
            Progress::Finished(task) => self.answer(sweep, record, task, token).map(|()| None),
            Progress::Gone => self.miss(sweep, record, token),
        }
    }

    /// Counts a task that the target does not show once in a sweep, and parks it when it was missed too often.
    fn miss(&mut self, sweep: &mut Sweep, record: &Record, token: Token) -> anyhow::Result<Option<Token>> {
        let id = &record.task.id;
        if let Some(parking) = sweep.missing.get(id) {
            // Another record of the same task goes where the first one goes.
            return Ok(sweep.join(*parking, token));
        }
        sweep.missing.insert(id.clone(), None);
        let missed = self.missed.entry(id.clone()).or_default();
        *missed += 1;
        if *missed < MISSED {
            log::warn!("the target does not show the task ({missed} of {MISSED} times): task={id}");
            return Ok(Some(token));
        }
        self.missed.remove(id);
        let error = format!("{MISSED} checks in a row have not found the task at the target");
        let original = Original::Json(record.task.body.clone());
        let tag = self.park(sweep, id, Cause::TaskNotFound, &error, &original, token)?;
        sweep.missing.insert(id.clone(), Some(tag));
        Ok(None)
    }

    fn answer(
        &mut self,
        sweep: &mut Sweep,
        record: &Record,
        task: serde_json::Value,
        token: Token,
    ) -> anyhow::Result<()> {
        let id = &record.task.id;
        let Some(token) = sweep.join(sweep.answering.get(id).copied(), token) else { return Ok(()) };
        self.lane.stats.tracker.completed_tasks.count();
        let letter = letters::response(self.lane, record, task);
        let tag = self.publish(sweep, &letter, Sent::Response(id.clone()), token)?;
        sweep.answering.insert(id.clone(), tag);
        Ok(())
    }

    /// Leaves a record in the queue; one that the queue would soon delete moves to its tail.
    fn keep(&mut self, sweep: &mut Sweep, id: String, renew: Option<Renewal>, token: Token) -> anyhow::Result<()> {
        let Some((body, headers)) = renew else { return Ok(()) };
        let letter = letters::renewed(&self.lane.queues.sent, id, body, headers);
        self.publish(sweep, &letter, Sent::Renewed, token).map(drop)
    }

    fn park_unreadable(&mut self, sweep: &mut Sweep, unreadable: Unreadable, token: Token) -> anyhow::Result<()> {
        let message_id = format!("record-{}-{}", now_ms(), sweep.on_the_way.len());
        self.park(sweep, &message_id, Cause::InvalidRecord, &unreadable.reason, &unreadable.original, token).map(drop)
    }

    fn park(
        &mut self,
        sweep: &mut Sweep,
        id: &str,
        cause: Cause,
        error: &str,
        original: &Original,
        token: Token,
    ) -> anyhow::Result<u64> {
        let lane = self.lane;
        log::error!("parking in {} as {}: task={id}: {error}", lane.queues.errors, cause.name());
        let (source_queue, attempts) = match cause {
            // Whoever puts the message back wants the task created anew.
            Cause::TaskNotFound => (&lane.queues.input, MISSED),
            _ => (&lane.queues.sent, 1),
        };
        let about = Parked { cause, error, system: lane.name, source_queue, attempts };
        let letter = letters::parked(lane, id.to_owned(), &about, original);
        self.publish(sweep, &letter, Sent::Parked, token)
    }

    fn publish(&mut self, sweep: &mut Sweep, letter: &Letter, sent: Sent, token: Token) -> anyhow::Result<u64> {
        let publisher = match &mut sweep.publisher {
            Some((_, publisher)) => publisher,
            none => &mut none.insert(self.open_publisher()?).1,
        };
        let tag = publisher.publish(letter).map_err(Trouble::from)?;
        sweep.on_the_way.insert(tag, (sent, vec![token]));
        Ok(tag)
    }

    fn open_publisher(&self) -> anyhow::Result<(Connection, Publisher)> {
        let lane = self.lane;
        let mut connection = Connection::open(&lane.config.rabbitmq, &format!("task-creator {}: answer", lane.name))?;
        let publisher = connection.within_deadline(|connection| {
            queues::ensure(connection, &[&lane.queues.responses, &lane.queues.errors, &lane.queues.sent])?;
            Publisher::open(connection)
        });
        Ok((connection, publisher.map_err(Trouble::from)?))
    }

    /// Waits until the broker has taken what was published, and acknowledges the records it came from.
    fn await_confirms(&mut self, sweep: &mut Sweep) -> anyhow::Result<()> {
        while let Some((_, publisher)) = sweep.publisher.as_mut().filter(|_| !sweep.on_the_way.is_empty()) {
            for (tag, verdict) in publisher.next_verdicts().context("answering Camunda")? {
                let Some((sent, tokens)) = sweep.on_the_way.remove(&tag) else { continue };
                self.settle(sweep.intake, sent, tokens, verdict)?;
            }
        }
        sweep.answering.clear();
        Ok(())
    }

    fn settle(&mut self, intake: &Intake, sent: Sent, tokens: Vec<Token>, verdict: Verdict) -> anyhow::Result<()> {
        let stats = self.lane.stats;
        if let Verdict::Refused(why) = verdict {
            // The record stays in the sent queue, so the next sweep tries again.
            stats.failed_messages.count();
            stats.tracker.failed_moves.add(u64::from(matches!(sent, Sent::Response(_))));
            log::error!("a queue did not take a message; the record stays until the next sweep: {why}");
            return Ok(());
        }
        stats.sent_messages.count();
        match sent {
            Sent::Response(id) => {
                stats.tracker.moved_to_responses.count();
                self.answered.add(&id);
                self.unanswered.remove(&id);
                log::info!("finished, answered to Camunda: task={id}");
            }
            Sent::Parked => stats.parked.count(),
            Sent::Renewed => {}
        }
        tokens.into_iter().try_for_each(|token| intake.ack(token)).map_err(Trouble::from)?;
        Ok(())
    }

    fn note(&self, sweep: &Sweep, records: u32, begun: Instant) {
        let stats = &self.lane.stats.tracker;
        stats.last_check_time.set(now_ms());
        stats.open_tasks.set(sweep.open);
        stats.unanswered_tasks.set(sweep.unanswered);
        stats.oldest_open_seconds.set(sweep.oldest.as_secs());
        log::debug!(
            "swept {records} records in {:?}; {} open, oldest {}",
            begun.elapsed(),
            sweep.open,
            span(sweep.oldest)
        );
    }
}
