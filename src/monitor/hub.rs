//! The hub: a handle to every lane that is on, for the faces of the monitor.
//!
//! Whoever asks never holds up a lane: counters are read without a lock, and a question to a lane has a time limit. It
//! does not know how an answer is shown, nor who asks.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::events::Events;
use super::history::Hour;
use super::parked::shelf::Shelf;
use super::reconciliations::Reconciliations;
use super::replays::Replays;
use super::watch::Looks;
use crate::config::Config;
use crate::lane::control::{Answer, Busy, Control, Snapshot};
use crate::lane::notices::LastParked;
use crate::lane::tasks::UnderWay;
use crate::queues::Queues;
use crate::stats::Stats;
use crate::stop::Stop;
use crate::systems::routing::Routes;
use crate::systems::{Handler, table};
use crate::trace::Target;

/// A lane is asked how it is, and has this long to answer. One that is opening a session answers later.
const PATIENCE: Duration = Duration::from_millis(500);
/// What the lanes have said counts for so long, so that who polls in a loop costs them nothing.
const FRESH: Duration = Duration::from_secs(1);

/// The lanes of a worker.
#[derive(Debug)]
pub struct Hub {
    /// The settings of the worker.
    pub config: Config,
    /// One for each system that is on.
    pub lanes: Vec<LaneHandle>,
    /// What happened lately.
    pub events: Arc<Events>,
    /// What was seen at the queues.
    pub looks: Looks,
    /// The last reading of the error queue.
    pub parked: Shelf,
    /// Who replays parked messages.
    pub replays: Replays,
    /// Who compares Camunda with all the others.
    pub reconciliations: Reconciliations,
    /// Ends what was started from here.
    pub stop: Stop,
    /// The last hour of each lane.
    hours: Mutex<Vec<Hour>>,
    /// How the lanes were when they were asked last.
    said: Mutex<Option<Said>>,
    /// When the worker started, by the wall clock.
    pub started_at: DateTime<Utc>,
    /// The same by the clock that nobody sets.
    pub started: Instant,
}

/// How the lanes are, as [`Hub::snapshots`] has it, and when they said so.
#[derive(Debug)]
struct Said {
    at: Instant,
    snapshots: Vec<Option<Snapshot>>,
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
    /// The task that it has parked last, if alerts are on.
    pub last_parked: LastParked,
    /// Looks tasks up at the target, within the lane's own rate limit.
    pub handler: Arc<dyn Handler>,
}

impl Hub {
    /// The hub of these lanes, which start now.
    pub fn new(config: Config, lanes: Vec<LaneHandle>, events: Arc<Events>, stop: &Stop) -> Hub {
        let (started_at, started) = (Utc::now(), Instant::now());
        let hours = Mutex::new(lanes.iter().map(|_| Hour::new(started)).collect());
        let (looks, reconciliations, stop) = (Looks::default(), Reconciliations::default(), stop.clone());
        let (parked, replays) = (Shelf::default(), Replays::default());
        Hub {
            config,
            lanes,
            events,
            looks,
            parked,
            replays,
            reconciliations,
            stop,
            hours,
            said: Mutex::default(),
            started_at,
            started,
        }
    }

    /// The worker stops: waits for the replays, which end by its stop signal.
    pub fn end(&self) {
        self.replays.join();
    }

    /// The target of each lane, asked through the lane's own handler, within its rate limit.
    pub fn targets(&self) -> Vec<Target> {
        let target = |lane: &LaneHandle| Target { system: lane.name.to_owned(), handler: Arc::clone(&lane.handler) };
        self.lanes.iter().map(target).collect()
    }

    /// Which system each topic belongs to, and whether it has a lane.
    pub fn routes(&self) -> Routes {
        table::routes(|name| self.lane(name).is_some())
    }

    /// Every queue of the lanes, once.
    pub fn queues(&self) -> Vec<String> {
        let of = |lane: &LaneHandle| {
            let Queues { input, sent, retry, errors, responses, .. } = lane.queues.clone();
            [input, sent, retry, errors, responses]
        };
        self.lanes.iter().flat_map(of).collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// How each lane is, or was a moment ago; `None`: it does not answer in time. All are asked at once, so that
    /// several that are busy keep nobody waiting longer than one.
    pub fn snapshots(&self) -> Vec<Option<Snapshot>> {
        // Who comes while they are asked waits for the same answers.
        let mut said = self.said();
        if let Some(said) = said.as_ref().filter(|said| said.at.elapsed() < FRESH) {
            return said.snapshots.clone();
        }
        let snapshots = self.ask_all(Control::ask_snapshot);
        *said = Some(Said { at: Instant::now(), snapshots: snapshots.clone() });
        snapshots
    }

    /// A lane has carried out an order: what it has said before is old.
    pub fn forget_snapshots(&self) {
        *self.said() = None;
    }

    fn said(&self) -> MutexGuard<'_, Option<Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tasks that each lane has taken and not settled; `None`: it does not answer in time.
    pub fn tasks(&self) -> Vec<Option<Vec<UnderWay>>> {
        self.ask_all(Control::ask_tasks)
    }

    fn ask_all<T>(&self, ask: impl Fn(&Control) -> Result<Answer<T>, Busy>) -> Vec<Option<T>> {
        let end = Instant::now() + PATIENCE;
        let asked: Vec<_> = self.lanes.iter().map(|lane| ask(&lane.control)).collect();
        let left = || end.saturating_duration_since(Instant::now());
        asked.into_iter().map(|answer| answer.ok()?.within(left()).ok()).collect()
    }

    /// To be called at least once a minute, so that each minute has its own numbers.
    pub fn note_minute(&self) {
        let mut hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        self.lanes.iter().zip(hours.iter_mut()).for_each(|(lane, hour)| hour.note(lane.created(), now));
    }

    /// How many tasks each lane has created in each minute of the last hour, the current one last.
    pub fn rates(&self) -> Vec<Vec<u64>> {
        let mut hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        self.lanes.iter().zip(hours.iter_mut()).map(|(lane, hour)| hour.numbers(lane.created(), now)).collect()
    }

    /// The lane of this system, if it is on.
    pub fn lane(&self, system: &str) -> Option<&LaneHandle> {
        self.lanes.iter().find(|lane| lane.name == system)
    }
}

impl LaneHandle {
    fn created(&self) -> u64 {
        self.stats.created.get()
    }
}

impl fmt::Debug for LaneHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneHandle").field("name", &self.name).field("target", &self.target).finish_non_exhaustive()
    }
}
