//! The systems where people do the work: what each must be able to do. Which there are says [`table`], and nobody else.
//!
//! A system is a file or folder beside this one and a line in the table. It reads its own settings, speaks HTTP to its
//! target and knows tasks, records and replies; it knows no queue, no ack and no retry. Adding one is worked through in
//! [`crate::docs::adding_a_system`].

pub mod bitrix24;
pub mod create;
pub mod email;
mod half_done;
mod over_http;
pub mod question;
pub mod table;
pub mod telegram;
pub mod untracked;
mod variables;

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use self::create::Missing;

use crate::message::{Record, Task};
use crate::report::Report;
use crate::settings::Secret;
use crate::stats::Declared;
use crate::stop::Stop;
use crate::tls::RootCertificates;

/// A system, as its settings say it is. Nothing is connected yet; what is printed of it holds no secret.
pub trait System: fmt::Debug + Send + Sync {
    /// What it is and where, for people, such as `Helpdesk at https://helpdesk.example`.
    fn target(&self) -> String;

    /// Is its target reached by https?
    fn uses_https(&self) -> bool;

    /// What of its settings must not appear in any output.
    fn secrets(&self) -> Vec<Secret>;

    /// Makes what its lane works with.
    ///
    /// # Errors
    /// It cannot work on this machine, and why.
    fn connect(&self, around: &Surroundings) -> anyhow::Result<Connected>;

    /// For `task-creator check`: looks at the target, changes nothing there, and ends within its deadlines.
    fn check(&self, _around: &Surroundings, report: &mut Report) {
        report.off(format!("{}: this version does not look at it", self.target()));
    }

    /// For `task-creator check --create-field`, before the check: makes what tasks need at the target and is missing.
    fn prepare(&self, _around: &Surroundings, _report: &mut Report) {}

    /// For `task-creator explain`: what it would do with this task. Asks nobody.
    fn explain(&self, task: &Task) -> Explanation;
}

/// What a system finds where it works.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Whom to trust, at every address with https.
    pub https: &'a RootCertificates,
    /// How many threads call its handler at once.
    pub threads: usize,
    /// Ends whatever waits.
    pub stop: &'a Stop,
}

/// What the settings say of a system.
#[derive(Debug)]
pub enum Configured {
    /// It is off, and why.
    Off(&'static str),
    /// It is on.
    On(Box<dyn System>),
}

/// What the lane of a system works with.
pub struct Connected {
    /// Creates its tasks.
    pub handler: Box<dyn Handler>,
    /// Follows them.
    pub tracker: Box<dyn Tracker>,
}

/// Creates tasks at the target, in two steps. When each of them is taken, and that nothing is created twice, is written
/// once for all systems in [`create`].
pub trait Handler: Send + Sync {
    /// How many tasks the next call should carry.
    fn next_batch(&self) -> Batch {
        Batch::One
    }

    /// Looks, once at the start, whether the target can do what the other methods need. Nothing depends on the result
    /// but a line in the log.
    ///
    /// # Errors
    /// What is wrong at the target, or that it cannot be reached.
    fn preflight(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// How late a task that exists may still be invisible to [`Handler::find`]. `None`: tasks cannot be looked up, so a
    /// message that comes twice may create two; the system says so when it starts.
    fn visible_within(&self) -> Option<Duration>;

    /// Looks for each task by its id; one result for each, in order. Changes nothing at the target.
    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>>;

    /// Creates tasks that were not there moments ago; one result for each, in order. Whatever waits for its turn asks
    /// [`Missing::claim`] when it goes.
    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>>;

    /// Runs when the results are safely in the sent queue, for tasks that existed too: completes what a crash has left
    /// out, and doubles nothing. The tasks come without their variables and bodies. Failures are logged and counted
    /// here.
    fn follow_up(&self, done: &[(Task, Created)]) -> Vec<FollowUp> {
        done.iter().map(|_| FollowUp::Done).collect()
    }

    /// What only this system counts, for the statistics line.
    fn counters(&self) -> Vec<Declared> {
        Vec::new()
    }
}

/// Finds out how the created tasks are doing.
pub trait Tracker: Send {
    /// One result for each record, in order, with as few requests as the target allows.
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>>;

    /// The responses to these tasks are confirmed by RabbitMQ: what the target must not hear before.
    fn answered(&mut self, _task_ids: &[&str]) {}

    /// A sweep has checked every record that was there.
    fn swept(&mut self) {}

    /// Between two sweeps, for a target that tells by itself what people do: waits for that, a few seconds at most. Of
    /// several workers one is asked at a time.
    ///
    /// # Errors
    /// The target does not tell.
    fn listen(&mut self) -> Result<Heard, Failure> {
        Ok(Heard::Deaf)
    }
}

/// What a target has told by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something that the next sweep shall act on, at once.
    News,
    /// Nothing so far.
    Nothing,
    /// It never tells; tasks are asked about.
    Deaf,
}

/// How many tasks one call should carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// One: the target has no bulk call.
    One,
    /// What waits is divided among the threads, up to this for each.
    FairShare(usize),
    /// As many as wait, up to this; and while another call is under way, more are waited for: the target answers so
    /// fast that a request costs more than what it carries.
    Nagle(usize),
}

/// What a look-up has shown.
#[derive(Debug)]
pub enum Found {
    /// The task is there.
    There(Created),
    /// It is not, as far as anybody can know. The target was asked at this time or later: what it said is good for a
    /// few seconds only.
    Nothing(Instant),
}

/// A task that exists at the target.
#[derive(Debug)]
pub struct Created {
    /// The target's whole reply; null once it is in the record.
    pub reply: Value,
    /// What Camunda is told, as `response_data`, where the task is finished as soon as it is created: it is answered at
    /// once, and neither followed up nor tracked. Null once it is in the response.
    pub answer: Option<Value>,
    /// The task's id at the target, for the log.
    pub target_id: String,
    /// Where the target is, for the record, where an id at one place may be another task's at another; no secret.
    pub host: Option<String>,
    /// Where a person sees it, for the log.
    pub link: Option<String>,
    /// It was there already: a second one has been prevented.
    pub existed: bool,
    /// How often it has been followed up; the lane counts that.
    pub follow_ups: u32,
}

impl Created {
    /// A task with this id at the target, which replied so.
    pub fn new(reply: Value, target_id: String) -> Created {
        Created { reply, answer: None, target_id, host: None, link: None, existed: false, follow_ups: 0 }
    }

    /// One that is finished at once, which Camunda is told in these words.
    pub fn finished(answer: Value, target_id: String) -> Created {
        Created { answer: Some(answer), ..Created::new(Value::Null, target_id) }
    }

    /// The same, at this host and with the address at which a person sees it.
    pub fn at(self, host: &str, link: String) -> Created {
        Created { host: Some(host.to_owned()), link: Some(link), ..self }
    }
}

/// What became of the work that follows a recorded result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowUp {
    /// It is over, whether or not all of it could be done.
    Done,
    /// It is not over: again after this time.
    Again(Duration),
}

/// How a tracked task is doing.
#[derive(Debug)]
pub enum Progress {
    /// Somebody is still working on it.
    Open,
    /// It is finished, but the answer that the process needs is not there, and why; it is asked for again.
    Waiting(String),
    /// It is finished: what Camunda is told, as `response_data`.
    Finished(Value),
    /// The target has failed over it, for good: it is parked for a person. Where a setting of the system wants Camunda
    /// to be told instead, it is [`Progress::Finished`], with the error in it.
    Failed(anyhow::Error),
    /// The target does not know it, or does not show it.
    Gone,
    /// What the target has under the record's id is another task, and how that shows: it must not answer this one.
    Foreign(String),
}

/// Why something did not work, which decides what happens next.
#[derive(Debug)]
pub enum Failure {
    /// This message failed: again later, counted as one of its attempts.
    Transient {
        /// What went wrong.
        error: anyhow::Error,
    },
    /// The same of a create that may have happened all the same. It is looked for before it is repeated, and not before
    /// that says something.
    OutcomeUnknown {
        /// What went wrong.
        error: anyhow::Error,
        /// By then it can be seen whether it has happened.
        visible_in: Duration,
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
    /// Not an attempt, and nobody else's concern. [`create`] says it, no handler does.
    TooEarly(Duration),
    /// The task was created, and the target does not show it to us: nothing may create it again, and somebody has to do
    /// something, which the text says. The lane pauses; nobody's attempt. While its message says
    /// [`Unseen`](crate::message::Earlier::Unseen), a look-up that cannot be sure says so again.
    Unseen(anyhow::Error),
    /// Nothing was done, because what was seen of the task had become too old before its create could be sent, or
    /// because its [claim](crate::message::Claim) was lost. Once more, from the look on, if it is still ours; nobody's
    /// attempt.
    Outdated,
}

impl Failure {
    /// The same of a create: what failed without a clear answer may have happened, and shows by then.
    pub fn of_create(self, visible_in: Duration) -> Failure {
        match self {
            Failure::Transient { error } => Failure::OutcomeUnknown { error, visible_in },
            failure => failure,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Transient { error }
            | Failure::OutcomeUnknown { error, .. }
            | Failure::Unavailable { error, .. }
            | Failure::Permanent(error)
            | Failure::Unseen(error) => write!(f, "{error:#}"),
            Failure::TooEarly(after) => write!(f, "an earlier try may show within {after:?}"),
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
