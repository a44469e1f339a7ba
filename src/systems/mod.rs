//! The systems where people do the work: what each must be able to do, and [`TABLE`], the one place where all are named.
//!
//! A system is a file or folder beside this one, a line in the table, and its settings in `config.rs`. It speaks HTTP to
//! its target and knows tasks, records and replies; it knows no queue, no ack and no retry. Adding one is worked through in the README.

pub mod bitrix24;
mod over_http;

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::config::{Config, Variables};
use crate::message::{Record, Task};
use crate::report::Report;
use crate::stop::Stop;

/// Creates tasks at the target.
pub trait Handler: Send + Sync {
    /// How many tasks the next call should carry.
    fn next_batch(&self) -> Batch {
        Batch::One
    }

    /// Looks, once at the start, whether the target can do what [`Handler::handle`] needs. Nothing depends on the result
    /// but a line in the log.
    ///
    /// # Errors
    /// What is wrong at the target, or that it cannot be reached.
    fn preflight(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Does the work outside; one result for each task, in order. May run again for the same task and must tolerate it.
    fn handle(&self, tasks: &[Task]) -> Vec<Result<Done, Failure>>;

    /// Runs when the results are safely in the sent queue, for tasks that existed too: completes what a crash has left out,
    /// and doubles nothing. The tasks come without their variables and bodies. Failures are logged here and counted by the
    /// caller.
    fn follow_up(&self, done: &[(Task, Done)]) -> Vec<FollowUp> {
        done.iter().map(|_| FollowUp::default()).collect()
    }
}

/// Finds out how the created tasks are doing.
pub trait Tracker: Send {
    /// One result for each record, in order, with as few requests as the target allows.
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>>;
}

/// How many tasks one call to [`Handler::handle`] should carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// One: the target has no bulk call.
    One,
    /// What waits is divided among the threads, up to this for each.
    Spread(usize),
    /// As many as wait, up to this; and while another call is under way, more are waited for: the target answers so fast
    /// that a request costs more than what it carries.
    Gathered(usize),
}

/// A task that exists at the target.
#[derive(Debug)]
pub struct Done {
    /// The target's whole reply; null once it is in the record.
    pub reply: Value,
    /// The task's id at the target, for the log.
    pub target_id: String,
    /// Where the target is, for the record, where an id at one place may be another task's at another; no secret.
    pub host: Option<String>,
    /// It was there already: a second one has been prevented.
    pub existed: bool,
    /// Where a person sees it, for the log.
    pub link: Option<String>,
    /// How often it has been followed up.
    pub follow_ups: u32,
}

impl Done {
    /// A task that was created just now.
    pub fn created(reply: Value, target_id: String) -> Done {
        Done { reply, target_id, host: None, existed: false, link: None, follow_ups: 0 }
    }

    /// A task that was there already.
    pub fn found(reply: Value, target_id: String) -> Done {
        Done { existed: true, ..Done::created(reply, target_id) }
    }

    /// The same, at this host and with the address at which a person sees it.
    pub fn at(self, host: &str, link: String) -> Done {
        Done { host: Some(host.to_owned()), link: Some(link), ..self }
    }
}

/// What became of the work that follows a recorded result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowUp {
    /// The process was synchronised (`true`), that failed (`false`), or there was nothing to synchronise.
    pub synced: Option<bool>,
    /// Parts of the task, such as items of a checklist, that could not be added.
    pub missing_parts: u32,
    /// It is not done yet: again after this time.
    pub again: Option<Duration>,
}

/// How a tracked task is doing.
#[derive(Debug)]
pub enum Progress {
    /// Somebody is still working on it.
    Open,
    /// It is finished, but the answer that the process needs is not there, and why; it is asked for again.
    Unanswered(String),
    /// It is finished: the task as the response shall show it.
    Finished(Value),
    /// The target does not know it, or does not show it.
    Gone,
    /// What the target has under the record's id is another task, and how that shows: it must not answer this one.
    Foreign(String),
}

/// Why something did not work, which decides what happens next.
#[derive(Debug)]
pub enum Failure {
    /// This message failed: again later, counted as one of its attempts. Not before `after`, since what was sent may
    /// still have an effect that cannot be seen yet.
    Transient {
        /// What went wrong.
        error: anyhow::Error,
        /// The least time before the next try.
        after: Duration,
    },
    /// The target is down, or our configuration is wrong: nobody's attempt, the lane pauses. `until` is the pause the
    /// target asked for.
    Unavailable {
        /// What went wrong, and what to do where somebody has to do something.
        error: anyhow::Error,
        /// How long the target wants to be left alone.
        until: Option<Duration>,
    },
    /// This message can never succeed.
    Permanent(anyhow::Error),
    /// Nothing was done, because an earlier delivery may have created the task moments ago: look again after this time.
    /// Not an attempt, and nobody else's concern.
    Unsettled(Duration),
    /// The task was created, and the target does not show it to us: nothing may create it again, and somebody has to do
    /// something, which the text says. The lane pauses; nobody's attempt.
    Unseen(anyhow::Error),
    /// Nothing was done, because what was seen of the task had become too old before its create could be sent, or because
    /// its [claim](crate::message::Claim) was lost. Once more, from the look on, if it is still ours; nobody's attempt.
    Outdated,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Transient { error, .. }
            | Failure::Unavailable { error, .. }
            | Failure::Permanent(error)
            | Failure::Unseen(error) => write!(f, "{error:#}"),
            Failure::Unsettled(after) => write!(f, "an earlier try may show within {after:?}"),
            Failure::Outdated => {
                write!(f, "not sent: it was looked up too long ago, or another worker may have it now")
            }
        }
    }
}

/// What a system would do with a task, for `task-creator explain`. It is for people: nothing is decided by it.
#[derive(Debug, Default)]
pub struct Explanation {
    /// The values that the target would be given.
    pub values: Vec<Explained>,
    /// What cannot be used, or is otherwise than somebody may expect, a sentence each.
    pub notes: Vec<String>,
    /// All requests, in order.
    pub requests: Vec<Request>,
}

/// A value, and why it is what it is.
#[derive(Debug)]
pub struct Explained {
    /// What the target calls it.
    pub name: String,
    /// The value, as JSON.
    pub value: Value,
    /// Where it came from: places in the message such as `variables.title`, settings, and what was done to it.
    pub origin: Vec<String>,
}

/// A request that would be sent.
#[derive(Debug)]
pub struct Request {
    /// Its method at the target.
    pub method: &'static str,
    /// On what condition.
    pub when: String,
    /// Its body, as JSON.
    pub body: String,
}

/// A system that is switched on.
pub struct System {
    /// Creates its tasks.
    pub handler: Box<dyn Handler>,
    /// Follows them.
    pub tracker: Box<dyn Tracker>,
}

/// A line of [`TABLE`].
pub struct Entry {
    /// The system's name; its queues are called after it.
    pub name: &'static str,
    /// Makes the system from its settings, or says why it is off.
    pub open: fn(&Config, &Stop) -> Result<System, &'static str>,
    /// For `task-creator check`, once the system is known to be on: looks at the target, changes nothing there, and ends
    /// within its deadlines.
    pub check: fn(&Config, &Stop, &mut Report),
    /// For `task-creator check --create-field`, before the check: makes what tasks need at the target and is missing.
    pub prepare: fn(&Config, &Stop, &mut Report),
    /// For `task-creator explain`: what the system would do with this task, from the settings that this depends on. It may
    /// be off, and asks nobody. `None` while the system is planned.
    pub explain: fn(&Task, &mut Variables) -> Option<Explanation>,
}

/// Every system. The queue of a system is its name followed by `.queue`.
pub const TABLE: &[Entry] = &[
    Entry {
        name: "bitrix24",
        open: bitrix24::open,
        check: bitrix24::check::run,
        prepare: bitrix24::check::prepare,
        explain: bitrix24::explain::run,
    },
    planned("openproject"),
    planned("1c"),
    planned("python-services"),
    planned("default"),
];

const fn planned(name: &'static str) -> Entry {
    let open = |_: &Config, _: &Stop| Err("this version does not support it yet");
    Entry { name, open, check: |_, _, _| {}, prepare: |_, _, _| {}, explain: |_, _| None }
}
