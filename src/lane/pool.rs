//! The handler threads of a lane: they take what waits, up to a batch, and call the system.
//!
//! They know neither queues nor acks, and outlive every session with RabbitMQ. A panic costs one message one attempt.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anyhow::anyhow;
use crossbeam_channel::{Receiver, Sender, select};

use super::Job;
use crate::message::Task;
use crate::systems::{Done, Failure, FollowUp, Handler};

/// What the pool works on, and where the results go.
pub struct Pool {
    /// Tasks to create.
    pub jobs: Receiver<Job>,
    /// Recorded tasks to follow up.
    pub recorded: Receiver<(Task, Done)>,
    /// To the reader.
    pub results: Sender<Outcome>,
}

/// What a thread has done.
pub enum Outcome {
    /// Tasks were created, or not.
    Handled(Vec<(Job, Result<Done, Failure>)>),
    /// Recorded tasks were followed up, named by their ids.
    FollowedUp(Vec<(String, FollowUp)>),
}

impl Pool {
    /// One thread's work; ends when the reader drops its ends of the channels.
    pub fn work(&self, handler: &dyn Handler) {
        loop {
            let outcome = select! {
                recv(self.recorded) -> first => match first {
                    Ok(first) => follow_up(handler, self.gather(first, &self.recorded, handler)),
                    Err(_) => return,
                },
                recv(self.jobs) -> first => match first {
                    Ok(first) => handle(handler, self.gather(first, &self.jobs, handler)),
                    Err(_) => return,
                },
            };
            // The reader outlives the pool; if it is gone all the same, there is nobody to tell.
            let _ = self.results.send(outcome);
        }
    }

    /// The first one and what else waits, as many as one call may carry.
    fn gather<T>(&self, first: T, waiting: &Receiver<T>, handler: &dyn Handler) -> Vec<T> {
        let most = handler.batch().max(1);
        std::iter::once(first).chain(waiting.try_iter().take(most - 1)).collect()
    }
}

fn handle(handler: &dyn Handler, jobs: Vec<Job>) -> Outcome {
    let (tasks, rest): (Vec<Task>, Vec<_>) =
        jobs.into_iter().map(|job| (job.task, (job.attempts, job.headers, job.arrived))).unzip();
    let results = handle_tasks(handler, &tasks);
    let jobs = tasks.into_iter().zip(rest).map(|(task, (attempts, headers, arrived))| Job {
        task,
        attempts,
        headers,
        arrived,
    });
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
