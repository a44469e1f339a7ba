//! A lane: everything that works for one system. One cannot slow another.
//!
//! [`state`] makes all decisions and does no I/O. Its parts: [`ledger`] knows what is under way, [`breaker`] what a
//! failure leads to, [`caution`] and `prefetch` how much is taken at a time, [`waits`] which tasks are to be left alone
//! for a while, [`refusals`] which queues do not take messages.
//!
//! [`reader`] is the thread that keeps a session with RabbitMQ open. A [`session`] carries out what the state decides;
//! `links` opens and closes its connections, `feed` brings its deliveries. [`pool`] has the threads that call the
//! target, [`control`] what may be asked of the lane from outside.
//!
//! [`tracking`] is the thread that follows the created tasks, one [`sweep`] at a time; [`checking`] decides what
//! becomes of each record, `finding` is the result of a check, `listening` waits between two sweeps for a target that
//! tells by itself, and [`moves`] is how records leave the sent queue.
//!
//! [`tasks`] is what a lane tells of its tasks, for people.
//!
//! [`outgoing`] makes the messages that are published, [`sizes`] deals with those that are too large, [`rights`] knows
//! what a lane must be allowed, [`notices`] tells outside what is parked, and [`followers`] what becomes of a replayed
//! message. [`remembered`] is a set of ids that forgets, [`log_throttle`] keeps a repeated text from flooding the log.
//! Nothing here knows which system it works for.

pub mod breaker;
pub mod caution;
pub mod checking;
pub mod control;
mod feed;
mod finding;
pub mod followers;
pub mod ledger;
mod links;
mod listening;
pub mod log_throttle;
pub mod moves;
pub mod notices;
pub mod outgoing;
pub mod pool;
mod prefetch;
pub mod reader;
pub mod refusals;
pub mod remembered;
pub mod rights;
pub mod session;
pub mod sizes;
pub mod state;
pub mod sweep;
pub mod tasks;
pub mod tracking;
pub mod waits;

use std::time::Instant;

use self::control::Control;
use self::notices::Notices;
use crate::config::Config;
use crate::message::Task;
use crate::queues::Queues;
use crate::rabbitmq::Headers;
use crate::rabbitmq::publisher::LargestBody;
use crate::stats::Stats;
use crate::stop::Stop;
use crate::supervisor::Pulse;
use crate::systems::routing::Routes;

/// What the threads of a lane share.
pub struct Lane<'a> {
    /// The system's name.
    pub name: &'static str,
    /// Can its tasks be looked up? Otherwise a copy of the message of a finished one would create a second one.
    pub looks_up: bool,
    /// The queues it uses.
    pub queues: Queues,
    /// Which system each message belongs to.
    pub routes: Routes,
    /// The settings.
    pub config: &'a Config,
    /// Its counters.
    pub stats: &'a Stats,
    /// The largest message that RabbitMQ takes, once it is known.
    pub largest: LargestBody,
    /// The commands from outside.
    pub control: Control,
    /// Who hears of parked tasks.
    pub notices: Notices,
    /// Its reader's sign of life.
    pub pulse: Pulse,
    /// Ends it.
    pub stop: Stop,
}

impl Lane<'_> {
    /// The input queue of another system that is on, if this task belongs to one.
    fn queue_elsewhere(&self, task: &Task) -> Option<String> {
        let system = self.routes.to(task).filter(|system| *system != self.name)?;
        Some(Queues::of(system, self.config).input)
    }
}

/// A task on its way through the pool.
#[derive(Debug)]
pub struct Job {
    /// The work.
    pub task: Task,
    /// How often it has failed by itself.
    pub attempts: u32,
    /// The headers it came with, which the message for the retry queue keeps.
    pub headers: Headers,
    /// When it arrived.
    pub arrived: Instant,
}
