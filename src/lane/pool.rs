//! The handler threads of a lane: they take what waits, up to a batch, and call the system.
//!
//! They know neither queues nor acks, and outlive every session with RabbitMQ. A panic costs one message one attempt.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError};

use super::Job;
use crate::message::Task;
use crate::systems::{Batch, Done, Failure, FollowUp, Handler};

/// What the pool works on, and where the results go.
pub struct Pool {
    /// Tasks to create.
    pub jobs: Receiver<Job>,
    /// Recorded tasks to follow up.
    pub recorded: Receiver<(Task, Done)>,
    /// To the reader.
    pub results: Sender<Outcome>,
    /// How many threads share the work.
    pub threads: usize,
    /// Held by the one thread that gathers its next batch: if several did, each would wait for its turn at the target with
    /// a task or two in its hands, and a turn is what is scarce.
    pub gathering: Mutex<()>,
    /// How many threads are at a call.
    pub under_way: Mutex<usize>,
    /// A call has ended.
    pub ended: Condvar,
}

/// How long a thread waits for more work while another one is at a call.
const LONGEST_GATHERING: Duration = Duration::from_millis(5);
/// Where requests are scarce, work that keeps coming is waited for, one moment after another: records are confirmed in
/// small groups, and each group would use up a request.
const MOMENT: Duration = Duration::from_millis(20);
/// Moments that a batch waits at most.
const MOST_MOMENTS: u32 = 10;

/// What a thread has done.
pub enum Outcome {
    /// Tasks were created, or not.
    Handled(Vec<(Job, Result<Done, Failure>)>),
    /// Recorded tasks were followed up, named by their ids.
    FollowedUp(Vec<(String, FollowUp)>),
}

enum Work {
    Handle(Vec<Job>),
    FollowUp(Vec<(Task, Done)>),
}

impl Pool {
    /// One thread's work; ends when the reader drops its ends of the channels.
    pub fn work(&self, handler: &dyn Handler) {
        while let Some(work) = self.next(handler) {
            let outcome = match work {
                Work::Handle(jobs) => handle(handler, jobs),
                Work::FollowUp(recorded) => follow_up(handler, recorded),
            };
            // The reader outlives the pool; if it is gone all the same, there is nobody to tell.
            let _ = self.results.send(outcome);
            *self.lock_under_way() -= 1;
            self.ended.notify_all();
        }
    }

    fn next(&self, handler: &dyn Handler) -> Option<Work> {
        let _gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        let work = self.gather(handler)?;
        *self.lock_under_way() += 1;
        Some(work)
    }

    /// What to do next: as much of what waits as one call should carry, taken only when the call can be made, so that what
    /// arrives until then travels along. `None` when the reader is gone.
    fn gather(&self, handler: &dyn Handler) -> Option<Work> {
        loop {
            let mut either = Select::new();
            either.recv(&self.jobs);
            either.recv(&self.recorded);
            either.ready();
            let batch = handler.ready();
            match batch {
                Batch::Gathered(most) => self.await_more(most),
                Batch::Packed(most) => self.await_all(most),
                Batch::One | Batch::Spread(_) => {}
            }
            // Recorded tasks first: each one done makes room for a new delivery.
            let recorded = self.take(&self.recorded, batch);
            if !recorded.is_empty() {
                return Some(Work::FollowUp(recorded));
            }
            let jobs = self.take(&self.jobs, batch);
            if !jobs.is_empty() {
                return Some(Work::Handle(jobs));
            }
            // Ready but empty: the reader is gone, or has taken the job back.
            match self.jobs.try_recv() {
                Ok(job) => return Some(Work::Handle(vec![job])),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
        }
    }

    /// Waits for a full batch, but no longer than until another thread is done with its call.
    fn await_more(&self, most: usize) {
        if self.jobs.len() >= most || self.recorded.len() >= most {
            return;
        }
        let before = *self.lock_under_way();
        let fewer = |under_way: &mut usize| *under_way > 0 && *under_way >= before;
        drop(self.ended.wait_timeout_while(self.lock_under_way(), LONGEST_GATHERING, fewer));
    }

    /// Waits for a full batch for as long as more keeps coming. A single task while no call is under way goes at once.
    fn await_all(&self, most: usize) {
        let mut before = 0;
        for _ in 0..MOST_MOMENTS {
            let waiting = self.jobs.len().max(self.recorded.len());
            let alone = waiting <= 1 && *self.lock_under_way() == 0;
            if alone || waiting >= most || waiting == before {
                return;
            }
            before = waiting;
            let _ = crossbeam_channel::after(MOMENT).recv();
        }
    }

    fn lock_under_way(&self) -> MutexGuard<'_, usize> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take<T>(&self, waiting: &Receiver<T>, batch: Batch) -> Vec<T> {
        let most = match batch {
            Batch::One => 1,
            Batch::Packed(most) | Batch::Gathered(most) => most,
            Batch::Spread(most) => waiting.len().div_ceil(self.threads).min(most),
        };
        waiting.try_iter().take(most).collect()
    }
}

/// Says at the start what would keep the first task waiting.
pub fn preflight(handler: &dyn Handler) {
    match catch_unwind(AssertUnwindSafe(|| handler.preflight())) {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(failure)) => log::error!("the target is not ready, messages will wait in their queue: {failure}"),
    }
}

fn handle(handler: &dyn Handler, jobs: Vec<Job>) -> Outcome {
    let (tasks, rest): (Vec<Task>, Vec<_>) =
        jobs.into_iter().map(|job| (job.task, (job.attempts, job.headers, job.arrived))).unzip();
    let results = handle_tasks(handler, &tasks);
    let jobs = tasks.into_iter().zip(rest);
    let jobs = jobs.map(|(task, (attempts, headers, arrived))| Job { task, attempts, headers, arrived });
    Outcome::Handled(jobs.zip(results).collect())
}

/// The handler's results. When it panics over several tasks, each is tried by itself, so that only the one that makes it
/// panic pays for it.
fn handle_tasks(handler: &dyn Handler, tasks: &[Task]) -> Vec<Result<Done, Failure>> {
    match catch_unwind(AssertUnwindSafe(|| handler.handle(tasks))) {
        Ok(results) if results.len() == tasks.len() => results,
        Ok(_) => tasks.iter().map(|_| Err(broken("the handler did not answer for every task"))).collect(),
        Err(_) if tasks.len() > 1 => {
            tasks.iter().flat_map(|task| handle_tasks(handler, std::slice::from_ref(task))).collect()
        }
        Err(_) => vec![Err(broken("the handler panicked; worker_errors.log says where"))],
    }
}

fn broken(what: &str) -> Failure {
    Failure::Transient { error: anyhow!("{what}"), after: Duration::ZERO }
}

fn follow_up(handler: &dyn Handler, recorded: Vec<(Task, Done)>) -> Outcome {
    let mut followed = catch_unwind(AssertUnwindSafe(|| handler.follow_up(&recorded))).unwrap_or_default();
    // Best effort: what the handler did not answer for has not been followed up.
    followed.resize(recorded.len(), FollowUp { synced: Some(false), missing_parts: 0 });
    Outcome::FollowedUp(recorded.into_iter().map(|(task, _)| task.id).zip(followed).collect())
}
