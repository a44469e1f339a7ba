//! A lane: everything that works for one system. One cannot slow another.
//!
//! [`reader`] is the thread that owns the lane's RabbitMQ sessions, [`session`] one such session and [`results`] its other
//! half, [`caution`] how much it takes at a time, [`pool`] the threads that call the target, [`ledger`] what is under way,
//! [`recovery`] what a failure leads to, [`letters`] what is published, [`rights`] what it must be allowed, [`tracking`] the
//! thread that follows the created tasks, one [`sweep`] at a time, and [`moves`] how their records leave the sent queue.
//! [`remembered`] is a set of ids that forgets, [`waits`] which tasks are to be left alone for a while, [`repeated`] keeps
//! the same trouble from flooding the log. [`refusals`] is what is said of a queue that does not take messages, [`sizes`]
//! what is done with a letter that is too large.
//! Nothing here knows which system it works for.

pub mod caution;
mod feed;
pub mod ledger;
pub mod letters;
pub mod moves;
pub mod pool;
pub mod reader;
pub mod recovery;
pub mod refusals;
pub mod remembered;
pub mod repeated;
pub mod results;
pub mod rights;
pub mod session;
pub mod sizes;
pub mod sweep;
pub mod tracking;
pub mod waits;

use std::time::Instant;

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
    /// The queues it uses.
    pub queues: Queues,
    /// The settings.
    pub config: &'a Config,
    /// Its counters.
    pub stats: &'a Stats,
    /// What RabbitMQ takes, as far as it has said so.
    pub largest: LargestBody,
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
