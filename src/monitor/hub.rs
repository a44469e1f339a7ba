//! The hub: a handle to every lane that is on, for the faces of the monitor.
//!
//! Whoever asks never holds up a lane: counters are read without a lock, and a question to a lane has a time limit. It
//! does not know how an answer is shown, nor who asks.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::events::Events;
use crate::config::Config;
use crate::lane::control::{Control, Snapshot};
use crate::queues::Queues;
use crate::stats::Stats;
use crate::systems::Handler;

/// A lane is asked how it is, and has this long to answer. One that is opening a session answers later.
const PATIENCE: Duration = Duration::from_millis(500);

/// The lanes of a worker.
#[derive(Debug)]
pub struct Hub {
    /// The settings of the worker.
    pub config: Config,
    /// One for each system that is on.
    pub lanes: Vec<LaneHandle>,
    /// What happened lately.
    pub events: Arc<Events>,
    /// When the worker started, by the wall clock.
    pub started_at: DateTime<Utc>,
    /// The same by the clock that nobody sets.
    pub started: Instant,
}

/// What is known of a lane outside, and how it is controlled.
#[derive(Clone)]
pub struct LaneHandle {
    /// The system's name.
    pub name: &'static str,
    /// What and where its target is, for people.
    pub target: String,
    /// Its queues.
    pub queues: Queues,
    /// Takes commands.
    pub control: Control,
    /// Its counters.
    pub stats: Arc<Stats>,
    /// Looks tasks up at the target, within the lane's own rate limit.
    pub handler: Arc<dyn Handler>,
}

impl Hub {
    /// The hub of these lanes, which start now.
    pub fn new(config: Config, lanes: Vec<LaneHandle>, events: Arc<Events>) -> Hub {
        Hub { config, lanes, events, started_at: Utc::now(), started: Instant::now() }
    }

    /// The lane of this system, if it is on.
    pub fn lane(&self, system: &str) -> Option<&LaneHandle> {
        self.lanes.iter().find(|lane| lane.name == system)
    }
}

impl LaneHandle {
    /// How the lane is; `None` when it does not answer in time.
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.control.snapshot(PATIENCE).ok()
    }
}

impl fmt::Debug for LaneHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneHandle").field("name", &self.name).field("target", &self.target).finish_non_exhaustive()
    }
}
