//! What becomes of the pool's results.
//!
//! The [`breaker`](crate::lane::breaker) decides what a failure leads to, and this file does it. It does not know how a
//! target is called.

use std::time::{Duration, Instant};

use super::State;
use crate::lane::breaker::Decision;
use crate::lane::ledger::Next;
use crate::lane::pool::Outcome;
use crate::lane::waits::Wait;
use crate::lane::{Job, outgoing};
use crate::message::{Cause, Earlier, Task};
use crate::stats::condition::Obstacle;
use crate::systems::{Created, Failure, FollowUp};

impl<T> State<'_, T> {
    /// The result of a thread of the pool.
    pub fn done(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Handled(jobs) => jobs.into_iter().for_each(|(job, result)| self.handled(job, result, now)),
            Outcome::FollowedUp(tasks) => tasks.into_iter().for_each(|(task, done)| self.followed_up(task, done, now)),
        }
    }

    fn handled(&mut self, job: Job, result: Result<Created, Failure>, now: Instant) {
        let mut done = match result {
            Ok(done) => done,
            Err(failure) => return self.failed(job, &failure, now),
        };
        self.note_success(now);
        let took = now.saturating_duration_since(job.arrived).as_millis();
        self.count_done(&job.task, done.existed);
        if done.existed {
            log::info!("exists already, not created again: task={} id={}{}", job.task.id, done.target_id, link(&done));
        } else {
            log::info!("created: task={} id={} in {took} ms{}", job.task.id, done.target_id, link(&done));
        }
        self.waits.forget(&job.task.id);
        // Another worker may have got the message meanwhile and followed the task up.
        done.existed |= !job.task.claim.is_held();
        let outgoing = outgoing::result(self.lane, &job.task, &mut done);
        let task = job.task.without_message();
        let id = task.id.clone();
        let next = if done.answer.is_some() { Next::Finish } else { Next::FollowUp };
        self.ledger.settle(&id, outgoing, next(Box::new((task, done))));
    }

    fn count_done(&self, task: &Task, existed: bool) {
        let stats = self.lane.stats;
        let (done, unknown) = match existed {
            true => (&stats.found, &stats.unknown_existed),
            false => (&stats.created, &stats.unknown_created),
        };
        done.count();
        unknown.add(u64::from(task.earlier != Earlier::None));
        stats.duplicates_prevented.add(u64::from(existed));
    }

    fn note_success(&mut self, now: Instant) {
        let paused = self.breaker.succeeded(now);
        self.note_recovery(paused);
    }

    fn note_recovery(&mut self, paused: Option<Duration>) {
        let Some(paused) = paused else { return };
        self.lane.stats.condition.is_over(Obstacle::Target);
        self.pause_news.over();
        log::info!("the target answers again after {paused:.1?}; going on");
    }

    fn failed(&mut self, mut job: Job, failure: &Failure, now: Instant) {
        job.attempts = self.ledger.attempts(&job.task.id).unwrap_or(job.attempts);
        self.ledger.note_error(&job.task.id, &failure.to_string());
        let ours = job.task.claim.is_held();
        if !ours && job.task.earlier.look_up_decides() {
            // Another worker may have started it meanwhile.
            job.task.earlier = Earlier::MayExist;
        }
        let was_paused = self.breaker.paused_for(now);
        let decision = self.breaker.failed(&job.task.id, job.attempts, failure, now);
        if self.breaker.paused_for(now).is_none() {
            self.note_recovery(was_paused);
        }
        match decision {
            Decision::Retry { attempts, delay } => self.retry(&job, failure, attempts, delay, now),
            Decision::Park { attempts, cause } => self.park(job, failure, attempts, cause),
            Decision::Wait(wait) => self.look_again(job, ours, wait, now),
            Decision::Again => {
                log::debug!("looking up again: task={}: {failure}", job.task.id);
                self.ledger.wait_again(job, None);
            }
            Decision::Pause { pause, wait, news } => {
                if !self.stopping {
                    self.note_pause(pause, news, failure, now);
                }
                self.wait_for_target(job, failure, pause, wait, now);
            }
        }
    }

    fn retry(&mut self, job: &Job, failure: &Failure, attempts: u32, delay: Duration, now: Instant) {
        let (id, most) = (&job.task.id, self.lane.config.retry_attempts);
        log::warn!("trying again in {delay:?} (failed {attempts} of {most} times): task={id}: {failure}");
        self.lane.stats.returned.count();
        let outgoing = outgoing::for_retry(self.lane, job, attempts, delay, &failure.to_string());
        self.waits.add(id, Wait { until: now + delay, decides: false }, now);
        self.ledger.settle(id, outgoing, Next::Leave);
    }

    fn park(&mut self, job: Job, failure: &Failure, attempts: u32, cause: Cause) {
        let error = match (failure, outgoing::last_error(&job.headers)) {
            (Failure::TooEarly(_), Some(last)) => format!("{last} ({attempts} times; a last look found no task)"),
            (Failure::TooEarly(_), None) => format!("failed {attempts} times; a last look found no task"),
            (failure, _) => failure.to_string(),
        };
        let (id, errors) = (job.task.id.clone(), &self.lane.queues.errors);
        log::error!("parking in {errors} as {}: task={id}: {error}", cause.name());
        self.count_parked(cause);
        self.lane.stats.unknown_parked.add(u64::from(job.task.earlier != Earlier::None));
        let outgoing = outgoing::parked_job(self.lane, job, attempts, cause, &error);
        self.ledger.settle(&id, outgoing, Next::Park);
    }

    /// The next look-up decides, if no other worker can have got the message meanwhile.
    fn look_again(&mut self, mut job: Job, ours: bool, wait: Duration, now: Instant) {
        let id = &job.task.id;
        log::info!("delivered before and not found: looking again in {wait:?}: task={id}");
        if ours {
            self.waits.add(id, Wait { until: now + wait, decides: true }, now);
            job.task.earlier = Earlier::WouldShow;
        }
        self.ledger.wait_again(job, Some(now + wait));
    }

    fn wait_for_target(&mut self, mut job: Job, failure: &Failure, pause: Duration, wait: Duration, now: Instant) {
        let id = job.task.id.clone();
        if matches!(failure, Failure::Unseen(_)) && job.task.earlier != Earlier::Unseen {
            // It is written into the message: no restart may forget it.
            job.task.earlier = Earlier::Unseen;
            let outgoing = outgoing::for_retry(self.lane, &job, job.attempts, pause, &failure.to_string());
            return self.ledger.settle(&id, outgoing, Next::Leave);
        }
        log::info!("waiting until the target answers: task={id}");
        if !wait.is_zero() && job.task.earlier == Earlier::None {
            // Its create may have had its effect, which shows after this time.
            job.task.earlier = Earlier::WouldShow;
        }
        let not_before = (!wait.is_zero()).then(|| now + wait);
        not_before.inspect(|until| self.waits.add(&id, Wait { until: *until, decides: false }, now));
        self.ledger.wait_again(job, not_before);
    }

    /// Takes back the tasks that the pool has not started, and logs why the lane is paused.
    fn note_pause(&mut self, pause: Duration, news: bool, failure: &Failure, now: Instant) {
        self.takes_back = true;
        self.lane.stats.condition.stands(Obstacle::Target, &failure.to_string(), Some(pause));
        if news {
            log::error!("pausing, messages stay in their queue; trying again in {pause:?}: {failure}");
            self.pause_news.over();
        }
        let again = self.pause_news.say(&failure.to_string(), now);
        if let Some(again) = again.filter(|_| !news) {
            log::warn!("still paused, trying again in {pause:?}: {again}");
        }
    }

    fn followed_up(&mut self, (task, done): (Task, Created), follow_up: FollowUp, now: Instant) {
        let stats = self.lane.stats;
        if let FollowUp::Again(pause) = follow_up {
            let done = Created { follow_ups: done.follow_ups + 1, ..done };
            return self.ledger.follow_up_again(Box::new((task, done)), now + pause);
        }
        stats.successful_tasks.count();
        let arrived = self.ledger.arrived(&task.id);
        let tokens = self.ledger.followed_up(&task.id);
        // More than one token: the same task was delivered again meanwhile.
        stats.duplicates_prevented.add(tokens.len().saturating_sub(1) as u64);
        self.acknowledge(tokens, arrived, now);
        self.admit_held(now);
    }
}

fn link(done: &Created) -> String {
    done.link.as_ref().map(|link| format!(": {link}")).unwrap_or_default()
}
