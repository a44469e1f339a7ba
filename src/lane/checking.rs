//! What becomes of the records that a sweep has read: each is checked at the target, and answered, parked, dropped or
//! left. It does not know where records come from, nor how what it publishes is confirmed.

use anyhow::bail;
use serde_json::Value;

use super::finding::{Finding, shown_and_gone};
use super::outgoing;
use super::sweep::{Answer, Sent, Sweep};
use super::tracking::Tracking;
use crate::message::record::answer_text;
use crate::message::{Cause, Original, Record};
use crate::rabbitmq::consumer::{AckToken, Delivery};
use crate::systems::{Failure, Progress};

/// A task counts as gone after this many checks in a row did not show it.
pub(super) const MISSED: u32 = 3;
/// When a sweep is shown no task at all, and at least this many are not shown, it is more likely that our account there
/// may not see them.
const SUSPICIOUS: usize = 10;
/// So many records with another task's id are logged by id; of the others only the number is logged.
const MOST_NAMED: usize = 20;

impl Tracking<'_, '_> {
    /// Checks some records and waits until what follows from them is confirmed.
    pub(super) fn check(&mut self, sweep: &mut Sweep, deliveries: Vec<Delivery>) -> anyhow::Result<()> {
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

    /// Was the task answered before? Another message that the bridge has made since says that Camunda still waits, so
    /// that the answer was lost on the way. If the bridge's clock is fast, this may cost an answer too many, which the
    /// engine refuses.
    fn is_answered(&self, record: &Record) -> bool {
        let Some(answered) = self.answered.get(&record.task.id) else { return false };
        let is_newer = record.task.timestamp.is_some_and(|made| made > answered.at);
        !is_newer || record.task.hash() == answered.message
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
                sweep.unclear = true;
                sweep.consumer.leave(token);
                Ok(())
            }
            Finding::Invalid(err) => {
                let original = Original::Json(record.document());
                self.park(sweep, id, Cause::InvalidRecord, &format!("{err:#}"), &original, token).map(drop)
            }
            Finding::Unknown(failure) => {
                sweep.failures.push(failure);
                sweep.unclear = true;
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
            sweep.unclear = true;
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
        let answer = Answer { task: id.clone(), message: record.task.hash(), age: record.age() };
        let whole = || record.document().get().as_bytes().to_vec();
        let tag = self.publish(sweep, message, Sent::Response(answer), token, whole)?;
        sweep.answering.extend(tag.map(|tag| (id.clone(), tag)));
        Ok(())
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
