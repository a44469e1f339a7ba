//! A lane: everything that works for one system. One cannot slow another.
//!
//! [`state`] makes all decisions and does no I/O; [`ledger`] is its part that knows what is under way, [`breaker`]
//! what a failure leads to, [`caution`] and `prefetch` how much is taken at a time, [`waits`] which tasks are to be
//! left alone for a while, [`refusals`] which queues do not take messages.
//!
//! [`reader`] is the thread that keeps the lane's sessions with RabbitMQ, [`session`] one such session, which carries
//! out what the state decides; `links` opens and closes what it works on, `feed` brings its deliveries. [`pool`] is the
//! threads that call the target, [`control`] what may be asked of the lane from outside.
//!
//! [`tracking`] is the thread that follows the created tasks, one [`sweep`] at a time; `finding` is what it has found
//! of a record, and [`moves`] how records leave the sent queue.
//!
//! [`outgoing`] is what is published, [`sizes`] what is done with an outgoing message that is too large, [`rights`] what
//! a lane must be allowed. [`remembered`] is a set of ids that forgets, [`log_throttle`] keeps the same trouble from
//! flooding the log. Nothing here knows which system it works for.

pub mod breaker;
pub mod caution;
pub mod control;
mod feed;
mod finding;
pub mod ledger;
mod links;
mod listening;
pub mod log_throttle;
pub mod moves;
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
pub mod tracking;
pub mod waits;

use std::time::Instant;

use self::control::Control;
use crate::config::Config;
use crate::message::Task;
use crate::queues::Queues;
use crate::rabbitmq::Headers;
use crate::rabbitmq::publisher::LargestBody;
use crate::stats::Stats;
use crate::stop::Stop;

/// What the threads of a lane share.
pub struct Lane<'a> {
    /// The system's name.
    pub name: &'static str,
    /// Can its tasks be looked up? Otherwise a copy of the message of a finished one would create a second one.
    pub looks_up: bool,
    /// The queues it uses.
    pub queues: Queues,
    /// The settings.
    pub config: &'a Config,
    /// Its counters.
    pub stats: &'a Stats,
    /// What RabbitMQ takes, as far as it has said so.
    pub largest: LargestBody,
    /// What is asked of it while it works.
    pub control: Control,
    /// Ends it.
    pub stop: Stop,
}

/// A task on its way through the pool.
#[derive(Debug)]
pub struct Job {
    /// The work.
    pub task: Task,
    /// How often it has failed by itself.
    pub attempts: u32,
    /// The headers it came with, which a returned message keeps.
    pub headers: Headers,
    /// When it arrived.
    pub arrived: Instant,
}
