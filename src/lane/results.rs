//! What a session does with results: with those of the pool, and with the broker's word on what was published.
//!
//! It carries out and logs what [`recovery`](super::recovery) decides; it does not know how a target is asked.

use std::time::{Duration, Instant};

use crossbeam_channel::RecvError;

use super::ledger::{Confirmed, Next};
use super::pool::Outcome;
use super::recovery::Verdict;
use super::session::Session;
use super::waits::Wait;
use super::{Job, letters};
use crate::message::{Earlier, Task};
use crate::rabbitmq::intake::Token;
use crate::rabbitmq::publisher::Verdict as Published;
use crate::rabbitmq::{Confirm, Trouble};
use crate::stats::condition::Obstacle;
use crate::stats::span;
use crate::systems::{Done, Failure, FollowUp};

impl Session<'_, '_> {
    pub(super) fn done(&mut self, outcome: Result<Outcome, RecvError>) -> Result<(), Trouble> {
        match outcome.map_err(|_| Trouble::new("the handler threads are gone"))? {
            Outcome::Handled(jobs) => jobs.into_iter().for_each(|(job, result)| self.handled(job, result)),
            Outcome::FollowedUp(tasks) => self.followed_up(tasks)?,
        }
        Ok(())
    }

    pub(super) fn confirmed(&mut self, confirm: Result<Confirm, RecvError>) -> Result<(), Trouble> {
        let confirm = confirm.map_err(|_| self.publisher.why_gone())?;
        self.publisher.verdicts(confirm).into_iter().try_for_each(|(tag, verdict)| self.published(tag, verdict))
    }

    fn handled(&mut self, job: Job, result: Result<Done, Failure>) {
        let now = Instant::now();
        let mut done = match result {
            Ok(done) => done,
            Err(failure) => return self.failed(job, &failure, now),
        };
        self.note_success(now);
        let took = job.arrived.elapsed().as_millis();
        if done.existed {
            self.lane.stats.duplicates_prevented.count();
            log::info!("exists already, not created again: task={} id={}{}", job.task.id, done.target_id, link(&done));
        } else {
            log::info!("created: task={} id={} in {took} ms{}", job.task.id, done.target_id, link(&done));
        }
        self.work.waits.forget(&job.task.id);
        // Another worker may have had the message meanwhile, and have followed the task up.
        done.existed |= !job.task.claim.is_held();
        // From here on the reply is in the record only.
        let letter = letters::record(self.lane, &job.task, std::mem::take(&mut done.reply), done.host.as_deref());
        let task = job.task.without_message();
        let id = task.id.clone();
        self.work.ledger.settle(&id, letter, Next::FollowUp(Box::new((task, done))));
    }

    fn note_success(&mut self, now: Instant) {
        let paused = self.work.recovery.succeeded(now);
        self.note_recovery(paused);
    }

    fn note_recovery(&mut self, paused: Option<Duration>) {
        let Some(paused) = paused else { return };
        self.lane.stats.condition.is_over(Obstacle::Target);
        self.work.pause_news.over();
        log::info!("the target answers again after {paused:.1?}; going on");
    }

    fn failed(&mut self, mut job: Job, failure: &Failure, now: Instant) {
        job.attempts = self.work.ledger.attempts(&job.task.id).unwrap_or(job.attempts);
        let ours = job.task.claim.is_held();
        if !ours && job.task.earlier == Earlier::None {
            // What another worker may have begun meanwhile.
            job.task.earlier = Earlier::MayExist;
        }
        let was_paused = self.work.recovery.paused_for(now);
        let verdict = self.work.recovery.failed(&job.task.id, job.attempts, failure, now);
        if self.work.recovery.paused_for(now).is_none() {
            self.note_recovery(was_paused);
        }
        let id = job.task.id.clone();
        match verdict {
            Verdict::Return { attempts, delay } => {
                let most = self.lane.config.retry_attempts;
                log::warn!("trying again in {delay:?} (failed {attempts} of {most} times): task={id}: {failure}");
                self.lane.stats.returned.count();
                let letter = letters::returned(self.lane, &job, attempts, delay, &failure.to_string());
                self.work.waits.add(&id, Wait { until: now + delay, decides: false }, now);
                self.work.ledger.settle(&id, letter, Next::Leave);
            }
            Verdict::Park { attempts, cause } => {
                let error = match (failure, letters::last_error(&job.headers)) {
                    (Failure::Unsettled(_), Some(last)) => {
                        format!("{last} ({attempts} times; a last look found no task)")
                    }
                    (Failure::Unsettled(_), None) => format!("failed {attempts} times; a last look found no task"),
                    (failure, _) => failure.to_string(),
                };
                log::error!("parking in {} as {}: task={id}: {error}", self.lane.queues.errors, cause.name());
                self.count_parked();
                let letter = letters::parked_job(self.lane, job, attempts, cause, &error);
                self.work.ledger.settle(&id, letter, Next::Leave);
            }
            Verdict::Wait(wait) => {
                log::info!("delivered before and not to be seen: looking again in {wait:?}: task={id}");
                if ours {
                    self.work.waits.add(&id, Wait { until: now + wait, decides: true }, now);
                    job.task.earlier = Earlier::None;
                }
                self.work.ledger.put_back(job, Some(now + wait));
            }
            Verdict::Again => {
                log::debug!("looking up again: task={id}: {failure}");
                self.work.ledger.put_back(job, None);
            }
            Verdict::Pause { pause, wait, news } => {
                if !self.stopping {
                    self.note_pause(pause, news, failure, now);
                }
                if let (Failure::Unseen(_), Earlier::None | Earlier::MayExist) = (failure, job.task.earlier) {
                    // Written into the message, since no restart may forget it.
                    job.task.earlier = Earlier::Unseen;
                    let letter = letters::returned(self.lane, &job, job.attempts, pause, &failure.to_string());
                    return self.work.ledger.settle(&id, letter, Next::Leave);
                }
                log::info!("waiting until the target answers: task={id}");
                let not_before = (!wait.is_zero()).then(|| now + wait);
                not_before.inspect(|until| self.work.waits.add(&id, Wait { until: *until, decides: false }, now));
                self.work.ledger.put_back(job, not_before);
            }
        }
    }

    /// Takes back what the pool has not begun, and says once why the lane stands still.
    fn note_pause(&mut self, pause: Duration, news: bool, failure: &Failure, now: Instant) {
        self.work.not_begun.clone().try_iter().for_each(|job| self.work.ledger.put_back(job, None));
        self.lane.stats.condition.stands(Obstacle::Target, &failure.to_string(), Some(pause));
        if news {
            log::error!("pausing, messages stay in their queue; trying again in {pause:?}: {failure}");
            self.work.pause_news.over();
        }
        let again = self.work.pause_news.say(&failure.to_string(), now);
        if let Some(again) = again.filter(|_| !news) {
            log::warn!("still paused, trying again in {pause:?}: {again}");
        }
    }

    fn followed_up(&mut self, tasks: Vec<((Task, Done), FollowUp)>) -> Result<(), Trouble> {
        let mut done = Vec::new();
        for ((task, task_done), follow_up) in tasks {
            let stats = self.lane.stats;
            if let Some(pause) = follow_up.again {
                let task_done = Done { follow_ups: task_done.follow_ups + 1, ..task_done };
                self.work.ledger.follow_up_again(Box::new((task, task_done)), Instant::now() + pause);
                continue;
            }
            match follow_up.synced {
                Some(true) => stats.sync_requests_sent.count(),
                Some(false) => stats.sync_requests_failed.count(),
                None => {}
            }
            stats.missing_parts.add(follow_up.missing_parts.into());
            stats.successful_tasks.count();
            let tokens = self.work.ledger.followed_up(&task.id);
            // More than one: the same task was delivered again meanwhile.
            stats.duplicates_prevented.add(tokens.len().saturating_sub(1) as u64);
            done.extend(tokens);
        }
        // Last: an ack that fails ends the session, and a task not yet noted as done would be stuck for good.
        self.ack(done)
    }

    fn published(&mut self, tag: u64, verdict: Published) -> Result<(), Trouble> {
        let stats = self.lane.stats;
        match verdict {
            Published::Confirmed => {
                stats.sent_messages.count();
                let confirmed = self.work.ledger.confirmed(tag);
                self.note_room();
                match confirmed {
                    Some(Confirmed::Recorded) => {
                        stats.sent_to_success_queue.count();
                        let recorded = self.work.ledger.next_follow_up(false).map(|recorded| *recorded);
                        let sent = recorded.into_iter().try_for_each(|recorded| self.work.recorded.send(recorded));
                        sent.map_err(|_| Trouble::new("the handler threads are gone"))
                    }
                    Some(Confirmed::Ack(tokens)) => {
                        self.ack(tokens)?;
                        // What was held may be the continuation of the message that has just moved.
                        std::mem::take(&mut self.work.held).into_iter().try_for_each(|arrival| self.admit(arrival))
                    }
                    None => Ok(()),
                }
            }
            Published::Refused(why) => {
                stats.failed_messages.count();
                let (now, pause) = (Instant::now(), self.lane.config.retry_delay);
                let Some(queue) = self.work.ledger.refused(tag, now + pause) else { return Ok(()) };
                if queue == self.lane.queues.sent {
                    stats.failed_to_send_success.count();
                }
                let waiting = self.work.ledger.refused_letters(None);
                stats.waiting_for_room.set(waiting as u64);
                let all_wait = format!("{queue} does not take messages, {waiting} wait");
                stats.condition.stands(Obstacle::FullQueue, &all_wait, Some(pause));
                if let Some(told) = self.work.refusals.refused(&queue, &why, now) {
                    let waiting = self.work.ledger.refused_letters(Some(&queue));
                    log::error!("{told}; {waiting} wait, each is published again every {pause:?}");
                }
                // A missing queue is made by the next session; the message is not acknowledged, so nothing is lost.
                if why.starts_with("312") { Err(Trouble::new(format!("the queue {queue} is gone"))) } else { Ok(()) }
            }
        }
    }

    /// Says that a queue takes messages again, when nothing waits for it any more.
    fn note_room(&mut self) {
        if !self.work.refusals.any() {
            return;
        }
        let ledger = &self.work.ledger;
        for (queue, after) in self.work.refusals.over(|queue| ledger.refused_letters(Some(queue)), Instant::now()) {
            log::info!("{queue} takes messages again, after {}", span(after));
        }
        let waiting = ledger.refused_letters(None);
        self.lane.stats.waiting_for_room.set(waiting as u64);
        if waiting == 0 {
            self.lane.stats.condition.is_over(Obstacle::FullQueue);
        }
    }

    fn ack(&mut self, tokens: Vec<Token>) -> Result<(), Trouble> {
        self.work.caution.got_over(tokens.len());
        tokens.into_iter().try_for_each(|token| self.intake.ack(token)).map_err(Trouble::from)
    }
}

fn link(done: &Done) -> String {
    done.link.as_ref().map(|link| format!(": {link}")).unwrap_or_default()
}
