//! The handler threads of a lane: they take the tasks that wait, up to a batch, and call the system.
//!
//! There are as many as the work needs, up to a setting. They know neither queues nor acks, and they outlive the
//! sessions with RabbitMQ. A panic costs one message one attempt.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::Duration;

use anyhow::anyhow;
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError};

use super::Job;
use crate::message::{Earlier, Task};
use crate::systems::{Batch, Created, Failure, FollowUp, Handler, create};

/// The channels and the counters of the pool.
pub struct Pool {
    /// Tasks to create.
    jobs: Receiver<Job>,
    /// Recorded tasks to follow up.
    recorded: Receiver<(Task, Created)>,
    /// To the reader.
    results: Sender<Outcome>,
    /// The system's name, after which the threads are called.
    name: &'static str,
    /// The most threads.
    most: usize,
    /// Locked by the one thread that gathers its next batch: several would take tasks from each other.
    gathering: Mutex<()>,
    threads: Mutex<Threads>,
    /// A call has ended.
    ended: Condvar,
}

struct Threads {
    started: usize,
    /// How many threads are in a call.
    busy: usize,
}

/// How long a thread waits for more work while another one is in a call.
const LONGEST_GATHERING: Duration = Duration::from_millis(5);

/// What a thread has done.
pub enum Outcome {
    /// Tasks were created, or not.
    Handled(Vec<(Job, Result<Created, Failure>)>),
    /// Recorded tasks were followed up.
    FollowedUp(Vec<((Task, Created), FollowUp)>),
}

enum Work {
    Handle(Vec<Job>),
    FollowUp(Vec<(Task, Created)>),
}

impl Pool {
    /// A pool of up to `most` threads; [`start`](Pool::start) starts with one.
    pub fn new(
        name: &'static str,
        jobs: Receiver<Job>,
        recorded: Receiver<(Task, Created)>,
        results: Sender<Outcome>,
        most: usize,
    ) -> Pool {
        let threads = Mutex::new(Threads { started: 0, busy: 0 });
        Pool { jobs, recorded, results, name, most, gathering: Mutex::default(), threads, ended: Condvar::new() }
    }

    /// Starts the first thread. A thread starts the next one when all are busy, so an idle lane has one.
    ///
    /// # Errors
    /// The machine has no thread to spare.
    pub fn start<'s>(&'s self, scope: &'s Scope<'s, '_>, handler: &'s dyn Handler) -> std::io::Result<()> {
        self.lock_threads().started += 1;
        self.spawn(1, scope, handler)
    }

    fn spawn<'s>(&'s self, number: usize, scope: &'s Scope<'s, '_>, handler: &'s dyn Handler) -> std::io::Result<()> {
        let thread = thread::Builder::new().name(format!("{}/{number}", self.name));
        let started = thread.spawn_scoped(scope, move || {
            if number == 1 {
                preflight(handler);
            }
            self.work(scope, handler);
        });
        if started.is_err() {
            self.lock_threads().started -= 1;
        }
        started.map(drop)
    }

    /// One thread's work; ends when the reader drops its ends of the channels.
    fn work<'s>(&'s self, scope: &'s Scope<'s, '_>, handler: &'s dyn Handler) {
        while let Some(work) = self.next(handler) {
            self.relieve(scope, handler);
            let outcome = match work {
                Work::Handle(jobs) => handle(handler, jobs),
                Work::FollowUp(recorded) => follow_up(handler, recorded),
            };
            // The reader outlives the pool. If it is gone all the same, nobody needs the result.
            let _ = self.results.send(outcome);
            self.lock_threads().busy -= 1;
            self.ended.notify_all();
        }
    }

    /// Starts another thread when all are busy. If that fails, the work waits for the others.
    fn relieve<'s>(&'s self, scope: &'s Scope<'s, '_>, handler: &'s dyn Handler) {
        let number = {
            let mut threads = self.lock_threads();
            if threads.busy < threads.started || threads.started >= self.most {
                return;
            }
            threads.started += 1;
            threads.started
        };
        if let Err(err) = self.spawn(number, scope, handler) {
            log::warn!("cannot start another handler thread, going on with the others: {err}");
        }
    }

    fn next(&self, handler: &dyn Handler) -> Option<Work> {
        let _gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        let work = self.gather(handler)?;
        self.lock_threads().busy += 1;
        Some(work)
    }

    /// The next work: as many waiting tasks as one call should carry. `None` when the reader is gone.
    fn gather(&self, handler: &dyn Handler) -> Option<Work> {
        loop {
            let mut either = Select::new();
            either.recv(&self.jobs);
            either.recv(&self.recorded);
            either.ready();
            let batch = catch_unwind(AssertUnwindSafe(|| handler.next_batch())).unwrap_or(Batch::One);
            if let Batch::Nagle(most) = batch {
                self.await_more(most);
            }
            // Recorded tasks first: each follow-up that is done makes room for a new delivery.
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

    /// Waits for a full batch, but at most until another thread ends its call.
    fn await_more(&self, most: usize) {
        if self.jobs.len() >= most || self.recorded.len() >= most {
            return;
        }
        let before = self.lock_threads().busy;
        let none_ended = |threads: &mut Threads| threads.busy > 0 && threads.busy >= before;
        drop(self.ended.wait_timeout_while(self.lock_threads(), LONGEST_GATHERING, none_ended));
    }

    fn lock_threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take<T>(&self, waiting: &Receiver<T>, batch: Batch) -> Vec<T> {
        let most = match batch {
            Batch::One => 1,
            Batch::Nagle(most) => most,
            Batch::FairShare(most) => {
                let free = self.most.saturating_sub(self.lock_threads().busy).max(1);
                waiting.len().div_ceil(free).min(most)
            }
        };
        waiting.try_iter().take(most).collect()
    }
}

/// Logs at the start what would keep the first task waiting.
fn preflight(handler: &dyn Handler) {
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

/// The handler's results. When it panics over several tasks, each is tried alone, so that only the task that makes it
/// panic uses up an attempt. What the handler did before the panic may have an effect that cannot be seen yet.
fn handle_tasks(handler: &dyn Handler, tasks: &mut [Task]) -> Vec<Result<Created, Failure>> {
    let answer = catch_unwind(AssertUnwindSafe(|| create::find_or_create(handler, tasks)));
    let why = match answer {
        Ok(results) if results.len() == tasks.len() => return results,
        Ok(_) => "the handler did not answer for every task",
        Err(_) => "the handler panicked; worker_errors.log says where",
    };
    let decided = tasks.iter_mut().filter(|task| task.earlier.look_up_decides());
    decided.for_each(|task| task.earlier = Earlier::MayExist);
    match tasks {
        [_] => vec![Err(Failure::Transient { error: anyhow!("{why}") })],
        several => several.chunks_mut(1).flat_map(|one| handle_tasks(handler, one)).collect(),
    }
}

fn follow_up(handler: &dyn Handler, recorded: Vec<(Task, Created)>) -> Outcome {
    let mut followed = catch_unwind(AssertUnwindSafe(|| handler.follow_up(&recorded))).unwrap_or_default();
    // Best effort: a task that the handler left out is not followed up.
    followed.resize(recorded.len(), FollowUp::Done);
    Outcome::FollowedUp(recorded.into_iter().zip(followed).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use crossbeam_channel::unbounded;

    use super::*;
    use crate::systems::{Found, Missing};

    /// Panics where the test wants it, and says of each task whether it may exist.
    struct Fragile {
        next_batch: fn() -> Batch,
        most: usize,
    }

    impl Handler for Fragile {
        fn next_batch(&self) -> Batch {
            (self.next_batch)()
        }

        fn visible_within(&self) -> Option<Duration> {
            None
        }

        fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
            tasks.iter().map(|_| Ok(Found::Nothing(Instant::now()))).collect()
        }

        fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
            assert!(missing.len() <= self.most, "over several tasks");
            let may_exist = |task: &Task| (task.earlier == Earlier::MayExist).into();
            let created = |task: &Task| Created::new(may_exist(task), missing.len().to_string());
            missing.iter().map(|missing| Ok(created(missing.task))).collect()
        }
    }

    /// For each of two waiting tasks: how many were handled together, and may it exist already?
    fn work(handler: &Fragile) -> Vec<(String, bool)> {
        let ((jobs, to_do), (results, outcomes)) = (unbounded(), unbounded());
        for id in ["a", "b"] {
            let task = Task::parse(format!(r#"{{"task_id":"{id}"}}"#).into_bytes()).expect("a task");
            jobs.send(Job { task, attempts: 0, headers: Default::default(), arrived: Instant::now() }).expect("open");
        }
        drop(jobs);
        let pool = Pool::new("test", to_do, crossbeam_channel::never(), results, 1);
        thread::scope(|scope| pool.work(scope, handler));
        drop(pool);
        let handled = outcomes.into_iter().flat_map(|outcome| match outcome {
            Outcome::Handled(jobs) => jobs,
            Outcome::FollowedUp(_) => Vec::new(),
        });
        let done = handled.map(|(_, result)| result.expect("a task that is done"));
        done.map(|done| (done.target_id, done.reply == true)).collect()
    }

    #[test]
    fn after_a_panic_over_several_tasks_each_is_tried_alone_and_may_exist() {
        let handler = Fragile { next_batch: || Batch::Nagle(2), most: 1 };
        assert_eq!(work(&handler), [("1".into(), true), ("1".into(), true)]);
        let control = Fragile { next_batch: || Batch::Nagle(2), most: 2 };
        assert_eq!(work(&control), [("2".into(), false), ("2".into(), false)]);
    }

    #[test]
    fn a_handler_that_panics_when_asked_for_its_batch_gets_its_tasks_one_by_one() {
        let handler = Fragile { next_batch: || panic!("before its batch"), most: 2 };
        assert_eq!(work(&handler), [("1".into(), false), ("1".into(), false)]);
    }
}
