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
    jobs: Receiver<Job>,
    /// Recorded tasks to follow up.
    recorded: Receiver<(Task, Done)>,
    /// To the reader.
    results: Sender<Outcome>,
    /// How many threads share the work.
    threads: usize,
    /// Held by the one thread that gathers its next batch: if several did, each would wait for its turn at the target with
    /// a task or two in its hands, and a turn is what is scarce.
    gathering: Mutex<()>,
    /// How many threads are at a call.
    under_way: Mutex<usize>,
    /// A call has ended.
    ended: Condvar,
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
    /// A pool for so many threads, each of which is to [`work`](Pool::work).
    pub fn new(
        jobs: Receiver<Job>,
        recorded: Receiver<(Task, Done)>,
        results: Sender<Outcome>,
        threads: usize,
    ) -> Pool {
        let (gathering, under_way, ended) = Default::default();
        Pool { jobs, recorded, results, threads, gathering, under_way, ended }
    }

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
            let batch = catch_unwind(AssertUnwindSafe(|| handler.ready())).unwrap_or(Batch::One);
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
            // Ready but empty: the reader is gone, or has taken the job back; by now it may have sent another one.
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
        let none_ended = |under_way: &mut usize| *under_way > 0 && *under_way >= before;
        drop(self.ended.wait_timeout_while(self.lock_under_way(), LONGEST_GATHERING, none_ended));
    }

    /// Waits for a full batch for as long as more keeps coming. A single task while no call is under way goes at once.
    fn await_all(&self, most: usize) {
        let mut before = 0;
        for _ in 0..MOST_MOMENTS {
            // Recorded tasks are taken first.
            let recorded = self.recorded.len();
            let waiting = if recorded > 0 { recorded } else { self.jobs.len() };
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
    let (mut tasks, rest): (Vec<Task>, Vec<_>) =
        jobs.into_iter().map(|job| (job.task, (job.attempts, job.headers, job.arrived))).unzip();
    let results = handle_tasks(handler, &mut tasks);
    let jobs = tasks.into_iter().zip(rest);
    let jobs = jobs.map(|(task, (attempts, headers, arrived))| Job { task, attempts, headers, arrived });
    Outcome::Handled(jobs.zip(results).collect())
}

/// The handler's results. When it panics over several tasks, each is tried by itself, so that only the one that makes it
/// panic pays for it. Whatever it did before may still have an effect that cannot be seen yet.
fn handle_tasks(handler: &dyn Handler, tasks: &mut [Task]) -> Vec<Result<Done, Failure>> {
    let answer = catch_unwind(AssertUnwindSafe(|| handler.handle(tasks)));
    let why = match answer {
        Ok(results) if results.len() == tasks.len() => return results,
        Ok(_) => "the handler did not answer for every task",
        Err(_) => "the handler panicked; worker_errors.log says where",
    };
    tasks.iter_mut().for_each(|task| task.may_exist = true);
    match tasks {
        [_] => vec![Err(Failure::Transient { error: anyhow!("{why}"), after: Duration::ZERO })],
        several => several.chunks_mut(1).flat_map(|one| handle_tasks(handler, one)).collect(),
    }
}

fn follow_up(handler: &dyn Handler, recorded: Vec<(Task, Done)>) -> Outcome {
    let mut followed = catch_unwind(AssertUnwindSafe(|| handler.follow_up(&recorded))).unwrap_or_default();
    // Best effort: what the handler did not answer for has not been followed up.
    followed.resize(recorded.len(), FollowUp { synced: Some(false), missing_parts: 0 });
    Outcome::FollowedUp(recorded.into_iter().map(|(task, _)| task.id).zip(followed).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use crossbeam_channel::unbounded;

    use super::*;

    /// Panics where it is told to, and says of each task whether it may exist.
    struct Fragile {
        ready: fn() -> Batch,
        most: usize,
    }

    impl Handler for Fragile {
        fn ready(&self) -> Batch {
            (self.ready)()
        }

        fn handle(&self, tasks: &[Task]) -> Vec<Result<Done, Failure>> {
            assert!(tasks.len() <= self.most, "over several tasks");
            let done =
                |task: &Task| Done { reply: task.may_exist.into(), target_id: tasks.len().to_string(), existed: false };
            tasks.iter().map(|task| Ok(done(task))).collect()
        }
    }

    /// For each of two tasks that wait: how many went together, and may it have existed?
    fn work(handler: &Fragile) -> Vec<(String, bool)> {
        let ((jobs, to_do), (results, outcomes)) = (unbounded(), unbounded());
        for id in ["a", "b"] {
            let task = Task::parse(format!(r#"{{"task_id":"{id}"}}"#).into_bytes()).expect("a task");
            jobs.send(Job { task, attempts: 0, headers: Default::default(), arrived: Instant::now() }).expect("open");
        }
        drop(jobs);
        Pool::new(to_do, crossbeam_channel::never(), results, 1).work(handler);
        let handled = outcomes.into_iter().flat_map(|outcome| match outcome {
            Outcome::Handled(jobs) => jobs,
            Outcome::FollowedUp(_) => Vec::new(),
        });
        let done = handled.map(|(_, result)| result.expect("a task that is done"));
        done.map(|done| (done.target_id, done.reply == true)).collect()
    }

    #[test]
    fn after_a_panic_over_several_tasks_each_is_tried_alone_and_may_exist() {
        let handler = Fragile { ready: || Batch::Packed(2), most: 1 };
        assert_eq!(work(&handler), [("1".into(), true), ("1".into(), true)]);
        let control = Fragile { ready: || Batch::Packed(2), most: 2 };
        assert_eq!(work(&control), [("2".into(), false), ("2".into(), false)]);
    }

    #[test]
    fn a_handler_that_panics_before_its_turn_gets_its_tasks_one_by_one() {
        let handler = Fragile { ready: || panic!("before its turn"), most: 2 };
        assert_eq!(work(&handler), [("1".into(), false), ("1".into(), false)]);
    }
}
