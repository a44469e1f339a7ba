//! The systems where people do the work: what each must be able to do. [`table`] alone says which systems there are.
//!
//! A system is a file or folder beside this one and a line in the table. It reads its own settings, speaks to its
//! target and knows tasks, records and replies; it knows no queue, no ack and no retry. Only a target that is reached
//! by queues, as Celery is, is spoken to through [`crate::rabbitmq::rpc`]. Adding one is worked through in
//! [`crate::docs::adding_a_system`].
//!
//! Shared: [`create`] is the rule by which tasks are created, [`routing`] says whose a message is, [`question`] is
//! question and answer, [`seen`] what a target shows of a task, [`place`] where a target is and was, `half_done` what a
//! failed try has done, `over_http` what a failed call leads to, [`untracked`] the tracker of what is finished at once,
//! [`http_jobs`] a service that is posted to.

pub mod bitrix24;
pub mod create;
pub mod default;
pub mod email;
mod half_done;
pub mod http_jobs;
pub mod onec;
pub mod openproject;
mod over_http;
pub mod place;
pub mod python;
pub mod question;
pub mod routing;
pub mod seen;
pub mod table;
pub mod telegram;
pub mod untracked;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use self::create::Missing;
use self::routing::Routes;
use self::seen::Looked;

use crate::message::{Cause, Record, Task};
use crate::rabbitmq::RabbitMq;
use crate::report::Report;
use crate::settings::Secret;
use crate::stats::Declared;
use crate::stop::Stop;
use crate::tls::RootCertificates;

/// A system as its settings describe it. Nothing is connected yet; its `Debug` text holds no secret.
pub trait System: fmt::Debug + Send + Sync {
    /// What and where it is, for people, such as `Helpdesk at https://helpdesk.example`.
    fn target(&self) -> String;

    /// Whether its target is reached by https.
    fn uses_https(&self) -> bool;

    /// The values of its settings that must not appear in any output.
    fn secrets(&self) -> Vec<Secret>;

    /// The queues of its target at the broker of the messages, each with the setting that names it. None of them may be
    /// one of ours.
    fn queues(&self) -> Vec<(&'static str, &str)> {
        Vec::new()
    }

    /// Makes what its lane works with: its handler and its tracker.
    ///
    /// # Errors
    /// It cannot work on this machine; the error says why.
    fn connect(&self, around: &Surroundings) -> anyhow::Result<Connected>;

    /// What writes to these people, outside of any task, where the system can do that.
    ///
    /// # Errors
    /// What is wrong with whom a setting names; or it writes to nobody.
    fn messenger(&self, _https: &RootCertificates, _to: &str) -> Result<Box<dyn Messenger>, String> {
        Err("names somebody to whom this system cannot write".into())
    }

    /// For `task-creator check`: looks at the target, changes nothing there, and ends within its deadlines.
    fn check(&self, _around: &Surroundings, report: &mut Report) {
        report.off(format!("{}: this version does not look at it", self.target()));
    }

    /// For `task-creator check --create-field`, before the check: makes what tasks need and the target lacks.
    fn prepare(&self, _around: &Surroundings, _report: &mut Report) {}

    /// For `task-creator explain`: what it would do with this task. Sends nothing.
    fn explain(&self, task: &Task) -> Explanation;

    /// The same: as what it parks this task for being nobody's, if it does. `routes`: which system each task belongs
    /// to.
    fn parks(&self, _task: &Task, _routes: &Routes) -> Option<Cause> {
        None
    }
}

/// What a system is given by the worker around it.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Root certificates for every https address.
    pub https: &'a RootCertificates,
    /// How many threads call its handler at once.
    pub threads: usize,
    /// Which system each message belongs to.
    pub routes: &'a Routes,
    /// Ends every wait.
    pub stop: &'a Stop,
    /// The broker of the messages, for a target that is spoken to through one.
    pub rabbitmq: &'a RabbitMq,
}

/// What the settings say about a system.
#[derive(Debug)]
pub enum Configured {
    /// It is off, and why.
    Off(&'static str),
    /// It is on.
    On(Box<dyn System>),
}

/// What the lane of a system works with.
pub struct Connected {
    /// Creates its tasks; the monitor looks tasks up through it, too.
    pub handler: Arc<dyn Handler>,
    /// Follows them.
    pub tracker: Box<dyn Tracker>,
}

/// Creates tasks at the target, in two steps. [`create`] holds the rule for all systems: when each step is taken, and
/// how nothing is created twice.
pub trait Handler: Send + Sync {
    /// How many tasks the next call should carry.
    fn next_batch(&self) -> Batch {
        Batch::One
    }

    /// How many calls the target bears at once, where that is fewer than there are threads.
    fn most_at_once(&self) -> usize {
        usize::MAX
    }

    /// Looks, once at the start, whether the target can do what the other methods need. The result only leads to a line
    /// in the log.
    ///
    /// # Errors
    /// What is wrong at the target, or that it cannot be reached.
    fn preflight(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// How long a task that exists may stay invisible to [`Handler::find`]. `None`: tasks cannot be looked up, so a
    /// message that comes twice may create two tasks; the system says so when it starts.
    fn visible_within(&self) -> Option<Duration>;

    /// The address where a person sees the task with this id at the target, for lists; `within` and `host` are where
    /// its record says that it is. Asks nobody.
    fn link_to(&self, _target_id: &str, _within: Option<&str>, _host: Option<&str>) -> Option<String> {
        None
    }

    /// Looks for each task by its id; one result for each, in order. It changes nothing at the target.
    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>>;

    /// Creates tasks that did not exist moments ago; one result for each, in order. A create that waits for a permit
    /// asks [`Missing::claim`] just before it is sent.
    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>>;

    /// Runs when the results are safely in the sent queue, also for tasks that existed already: completes what a crash
    /// has left out, and doubles nothing. The tasks come without their variables and bodies. It logs and counts its
    /// failures itself.
    fn follow_up(&self, done: &[(Task, Created)]) -> Vec<FollowUp> {
        done.iter().map(|_| FollowUp::Done).collect()
    }

    /// Whether [`Handler::look`] finds what a task of this topic has made. Where it does not, "not there" says nothing.
    fn shows(&self, _topic: &str) -> bool {
        self.visible_within().is_some()
    }

    /// For people who ask where a task is: what the target shows of the tasks with these ids; one result for each, in
    /// order. It changes nothing at the target. Where tasks cannot be looked up, it fails with
    /// [`seen::NOT_LOOKED_UP`].
    fn look(&self, task_ids: &[&str]) -> Vec<Looked> {
        seen::by_finding(self, task_ids)
    }

    /// Why the target takes no requests of some kind for a while, since it has answered enough of them; for people.
    fn rests(&self) -> Option<String> {
        None
    }

    /// The numbers that only this system has, for the statistics of its lane.
    fn counters(&self) -> Vec<Declared> {
        Vec::new()
    }
}

/// Writes to people whom a setting names, outside of any task. It ends within its deadlines.
pub trait Messenger: Send {
    /// For `task-creator check`: who they are, for people. Sends nothing.
    ///
    /// # Errors
    /// They cannot be reached, and why.
    fn look(&self) -> Result<String, Failure>;

    /// Sends this once, as plain text.
    ///
    /// # Errors
    /// It has not gone to all of them, or nobody knows.
    fn send(&mut self, subject: &str, text: &str) -> Result<(), Failure>;
}

/// Finds out how the created tasks are doing.
pub trait Tracker: Send {
    /// One result for each record, in order, with as few requests as the target allows.
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>>;

    /// RabbitMQ has confirmed the responses to these tasks; the target must not hear of them before.
    fn answered(&mut self, _task_ids: &[&str]) {}

    /// These tasks are parked, confirmed by RabbitMQ, and would be created again: what the target has said of them is
    /// about this try only.
    fn parked(&mut self, _task_ids: &[&str]) {}

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
    /// The waiting tasks are divided among the threads, up to this many for each.
    FairShare(usize),
    /// As many as wait, up to this. While another call is under way, the next one waits for more tasks: the target
    /// answers so fast that a request costs more than the tasks in it.
    Nagle(usize),
}

/// What a look-up has found.
#[derive(Debug)]
pub enum Found {
    /// The task is there.
    There(Created),
    /// The task does not exist, as far as the target can tell. The target was asked at this time or later: its answer
    /// is good for a few seconds only.
    Nothing(Instant),
}

/// A task that exists at the target.
#[derive(Debug)]
pub struct Created {
    /// The target's whole reply; null once it is stored in the record.
    pub reply: Value,
    /// What Camunda is told, as `response_data`, when the task is finished as soon as it is created: it is answered at
    /// once, and neither followed up nor tracked. Null once it is stored in the response.
    pub answer: Option<Value>,
    /// The task's id at the target, for the log.
    pub target_id: String,
    /// The target's host, for the record: the same id at another host may be another task. No secret.
    pub host: Option<String>,
    /// The address where a person sees it, for the log.
    pub link: Option<String>,
    /// It existed already: a second one has been prevented.
    pub existed: bool,
    /// How often it has been followed up; the lane counts this.
    pub follow_ups: u32,
}

impl Created {
    /// A task with this id at the target, created with this reply.
    pub fn new(reply: Value, target_id: String) -> Created {
        Created { reply, answer: None, target_id, host: None, link: None, existed: false, follow_ups: 0 }
    }

    /// A task that is finished at once; Camunda is told `answer`.
    pub fn finished(answer: Value, target_id: String) -> Created {
        Created { answer: Some(answer), ..Created::new(Value::Null, target_id) }
    }

    /// The same, at this host and with the address where a person sees it.
    pub fn at(self, host: &str, link: String) -> Created {
        Created { host: Some(host.to_owned()), link: Some(link), ..self }
    }
}

/// The outcome of the work that follows a recorded result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowUp {
    /// It is over, even if not all of it could be done.
    Done,
    /// It is not over: again after this time.
    Again(Duration),
}

/// The state of a tracked task.
#[derive(Debug)]
pub enum Progress {
    /// Somebody is still working on it.
    Open,
    /// It is finished, but the answer that the process needs is missing, and why; it is asked for again.
    Waiting(String),
    /// It is finished: what Camunda is told, as `response_data`.
    Finished(Value),
    /// The target has failed to do it, for good: the record is parked for a person. Where a setting of the system says
    /// that Camunda should be told instead, the state is [`Progress::Finished`], with the error in it.
    Failed(anyhow::Error),
    /// The target does not know the task, or does not show it.
    Gone,
    /// The target has another task under the record's id, and how this shows: it must not answer this one.
    Foreign(String),
}

/// Why something failed; it decides what happens next.
#[derive(Debug)]
pub enum Failure {
    /// This message failed: it is tried again later, and this counts as one of its attempts.
    Transient {
        /// What went wrong.
        error: anyhow::Error,
    },
    /// The same for a create that failed but may have had its effect. The worker looks for the task before it creates
    /// it again, and not before a look-up can show it.
    OutcomeUnknown {
        /// What went wrong.
        error: anyhow::Error,
        /// After this time a look-up shows whether it has happened.
        visible_in: Duration,
    },
    /// The target is down, or our settings are wrong: not an attempt, and the lane pauses. `until` is the pause that
    /// the target asked for.
    Unavailable {
        /// What went wrong, and what a person has to do, if anything.
        error: anyhow::Error,
        /// How long the target asks us to wait.
        until: Option<Duration>,
    },
    /// This message can never succeed.
    Permanent(anyhow::Error),
    /// It belongs to no system that is on; only [`default`] returns it.
    NoSystem(anyhow::Error),
    /// Nothing was done, because an earlier delivery may have created the task moments ago: look again after this time.
    /// Not an attempt, and no other message waits for it. Only [`create`] returns it, no handler does.
    TooEarly(Duration),
    /// The task was created, and the target does not show it to us: nothing may create it again, and the text says what
    /// a person has to do. The lane pauses; not an attempt. While its message says
    /// [`Unseen`](crate::message::Earlier::Unseen), a look-up that cannot be sure returns this again.
    Unseen(anyhow::Error),
    /// Nothing was done, because the look-up had become too old before the create could be sent, or because the
    /// [claim](crate::message::Claim) was lost. If the message is still ours, the worker looks once more; not an
    /// attempt.
    Outdated,
}

impl Failure {
    /// The same for a create: a failure without a clear answer may have happened, and shows after this time.
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
            | Failure::NoSystem(error)
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
    /// Why it would be parked; empty where it would not.
    pub parked: Vec<String>,
    /// A sentence for each value that cannot be used, or is not what somebody may expect.
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
    /// Its sources: places in the message such as `variables.title`, settings, and what was done to it.
    pub origin: Vec<String>,
}

/// A request that the worker would send.
#[derive(Debug)]
pub struct Request {
    /// Its method at the target.
    pub method: String,
    /// The condition for sending it.
    pub when: String,
    /// Its body, as JSON; empty where it has none.
    pub body: String,
}
