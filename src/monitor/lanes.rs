//! A lane as the faces show it: its state in a word, why, its numbers, and whether it is ready.
//!
//! It decides nothing about the lane, and asks nobody: [`Facts`] are gathered before. A lane that does not answer is
//! shown from its counters.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::hub::{Hub, LaneHandle};
use super::time;
use super::watch::Look;
use crate::lane::control::Snapshot;
use crate::lane::tasks::Numbers;
use crate::queues::Queues;
use crate::stats::condition::{Obstacle, Shown};
use crate::stats::span;

/// Something waits, and nothing is acknowledged for so long: the lane is stalled.
const STALLED: Duration = Duration::from_secs(120);

/// What is known of a lane at one moment.
pub struct Facts<'a> {
    /// The lane.
    pub lane: &'a LaneHandle,
    /// What it says; `None`: it does not answer in time.
    pub snapshot: Option<Snapshot>,
    /// What keeps it from working.
    pub obstacle: Option<Shown>,
    /// Its input, retry and sent queue.
    pub looks: [Look; 3],
    /// The tasks it has created in each minute of the last hour.
    pub rate: Vec<u64>,
    /// When the worker started.
    pub started_at: DateTime<Utc>,
    /// The moment, by both clocks.
    pub now: (Instant, DateTime<Utc>),
}

/// A lane, as `GET /api/v1/lanes/{system}` has it.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the manual describes each member")]
pub struct LaneView {
    pub system: &'static str,
    pub target: String,
    pub state: LaneState,
    pub reason: Option<String>,
    pub since: Option<String>,
    /// How long it has been in its state.
    #[serde(skip)]
    pub lasts: Option<Duration>,
    pub next_try_in_seconds: Option<u64>,
    pub paused_until: Option<String>,
    pub paused_by: Option<String>,
    pub ready: bool,
    pub not_ready_because: Option<String>,
    pub consuming: Option<bool>,
    pub consumers: Option<u32>,
    pub waiting: Waiting,
    pub retrying: Option<usize>,
    pub in_hand: Option<usize>,
    pub oldest_waiting_seconds: Option<u64>,
    #[serde(flatten)]
    pub tracking: Tracking,
    pub last_ack_at: Option<String>,
    pub last_message_at: Option<String>,
    pub rate_per_minute: Vec<u64>,
    pub requests_left: Option<u64>,
    pub queues: QueuesView,
    pub counters: Map<String, Value>,
}

/// The tasks that exist at the target, as the lane's sweeps have seen them.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the manual describes each member")]
pub struct Tracking {
    pub open: u64,
    pub unanswered: u64,
    pub foreign: u64,
    pub oldest_open_seconds: u64,
    pub open_is_current: bool,
    pub last_sweep_at: Option<String>,
    pub sweep_seconds: Option<u64>,
}

/// What keeps a lane from working, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneState {
    /// Nothing.
    Works,
    /// It has had no session with RabbitMQ yet.
    Starting,
    /// Somebody has paused it.
    Paused,
    /// Its target is not available, or our settings for it are wrong.
    TargetAway,
    /// There is no session with RabbitMQ.
    NoSession,
    /// RabbitMQ takes no messages.
    Alarm,
    /// A queue takes no messages.
    FullQueue,
    /// Nobody knows: something waits, and nothing is acknowledged.
    Stalled,
    /// The worker stops.
    Stopping,
}

/// What is due and not started.
#[derive(Debug, Serialize)]
pub struct Waiting {
    /// Messages that are ready in the input queue.
    pub queue: Option<u32>,
    /// Tasks that the lane has taken.
    pub taken: usize,
}

/// The lane's own queues.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the manual describes each member")]
pub struct QueuesView {
    pub input: String,
    pub retry: String,
    pub sent: String,
    pub retry_messages: Option<u32>,
    pub sent_messages: Option<u32>,
}

/// All lanes, as they are now.
pub fn all(hub: &Hub) -> Vec<LaneView> {
    hub.looks.ask();
    let snapshots = hub.snapshots().into_iter().zip(hub.rates());
    let lanes = hub.lanes.iter().zip(snapshots);
    lanes.map(|(lane, (snapshot, rate))| Facts::of(hub, lane, snapshot, rate).view()).collect()
}

/// The lane of this system, as it is now.
pub fn one(hub: &Hub, system: &str) -> Option<LaneView> {
    all(hub).into_iter().find(|lane| lane.system == system)
}

impl<'a> Facts<'a> {
    fn of(hub: &Hub, lane: &'a LaneHandle, snapshot: Option<Snapshot>, rate: Vec<u64>) -> Facts<'a> {
        let Queues { input, retry, sent, .. } = &lane.queues;
        Facts {
            lane,
            snapshot,
            obstacle: lane.stats.condition.shown(),
            looks: [input, retry, sent].map(|queue| hub.looks.of(queue)),
            rate,
            started_at: hub.started_at,
            now: (Instant::now(), Utc::now()),
        }
    }

    /// The lane as it is shown.
    pub fn view(&self) -> LaneView {
        let stats = &self.lane.stats;
        let numbers = self.snapshot.as_ref().map(|snapshot| snapshot.numbers);
        let (state, reason, since) = self.state();
        let (paused_until, paused_by) = self.pause();
        let not_ready_because = self.not_ready_because();
        let input = self.looks[0].found;
        let next_try = self.obstacle.as_ref().filter(|shown| shown.obstacle != Obstacle::Paused);
        LaneView {
            system: self.lane.name,
            target: self.lane.target.clone(),
            state,
            reason,
            lasts: since.and_then(|since| (self.now.1 - since).to_std().ok()),
            since: since.map(time::text),
            next_try_in_seconds: next_try.and_then(|shown| shown.next_try).map(|pause| pause.as_secs()),
            paused_until: paused_until.map(time::text),
            paused_by,
            ready: not_ready_because.is_none(),
            not_ready_because,
            consuming: self.snapshot.as_ref().map(|snapshot| snapshot.is_consuming),
            consumers: input.map(|found| found.consumers),
            waiting: Waiting {
                queue: input.map(|found| found.ready),
                taken: numbers.map_or(stats.condition.waiting.get() as usize, |numbers| numbers.taken),
            },
            retrying: numbers.map(|numbers| numbers.retrying),
            in_hand: numbers.map(|numbers| numbers.in_hand),
            oldest_waiting_seconds: self.oldest_waiting().map(|age| age.as_secs()),
            tracking: self.tracking(),
            last_ack_at: time::of_ms(stats.last_ack_time.get()),
            last_message_at: time::of_ms(stats.last_message_time.get()),
            rate_per_minute: self.rate.clone(),
            requests_left: stats.requests_left(),
            queues: self.queues(),
            counters: stats.counters(),
        }
    }

    fn tracking(&self) -> Tracking {
        let (stats, swept) = (&self.lane.stats.tracker, self.lane.control.swept());
        Tracking {
            open: stats.open_tasks.get(),
            unanswered: stats.unanswered_tasks.get(),
            foreign: stats.foreign_tasks.get(),
            oldest_open_seconds: stats.oldest_open_seconds.get(),
            open_is_current: swept.is_current,
            last_sweep_at: time::of_ms(swept.at),
            sweep_seconds: (swept.number > 0).then(|| swept.took.as_secs()),
        }
    }

    fn queues(&self) -> QueuesView {
        let Queues { input, retry, sent, .. } = self.lane.queues.clone();
        let [_, retry_messages, sent_messages] = self.looks.map(|look| look.found.map(|found| found.ready));
        QueuesView { input, retry, sent, retry_messages, sent_messages }
    }

    /// The state, its reason, and since when it is so.
    fn state(&self) -> (LaneState, Option<String>, Option<DateTime<Utc>>) {
        if self.snapshot.as_ref().is_some_and(|snapshot| snapshot.stopping) {
            return (LaneState::Stopping, None, None);
        }
        if let Some(Shown { obstacle, since, why, .. }) = &self.obstacle {
            return (LaneState::of(*obstacle), Some(why.clone()), Some(*since));
        }
        if !self.lane.stats.condition.has_started() {
            return (LaneState::Starting, None, Some(self.started_at));
        }
        match self.stalled_for() {
            Some(time) => (LaneState::Stalled, Some(nothing_acknowledged(time)), Some(self.now.1 - time)),
            None => (LaneState::Works, None, None),
        }
    }

    fn pause(&self) -> (Option<DateTime<Utc>>, Option<String>) {
        let Some(pause) = self.snapshot.as_ref().and_then(|snapshot| snapshot.paused.as_ref()) else {
            return (None, None);
        };
        let until = pause.until.map(|until| self.now.1 + until.saturating_duration_since(self.now.0));
        (until, Some(pause.by.clone()))
    }

    /// Why messages are not worked on here; `None`: they are.
    fn not_ready_because(&self) -> Option<String> {
        let Queues { input, retry, .. } = &self.lane.queues;
        let why = || self.obstacle.as_ref().map(|shown| format!(": {}", shown.why)).unwrap_or_default();
        match self.state().0 {
            LaneState::Stopping => return Some("the worker stops".into()),
            LaneState::Starting => return Some("no session with RabbitMQ yet".into()),
            LaneState::NoSession => return Some(format!("no session with RabbitMQ{}", why())),
            LaneState::Alarm => return Some(format!("RabbitMQ takes no messages{}", why())),
            _ => {}
        }
        match &self.snapshot {
            None => return Some("the lane does not answer".into()),
            Some(snapshot) if !snapshot.is_consuming => return Some(format!("it does not consume {input} yet")),
            Some(_) => {}
        }
        for (queue, look) in [input, retry].into_iter().zip(&self.looks) {
            match look.found {
                None => return Some(format!("RabbitMQ does not say whether {queue} has a consumer")),
                Some(found) if found.consumers == 0 => return Some(format!("no consumer at {queue}")),
                Some(_) => {}
            }
        }
        let stalled = self.stalled_for()?;
        Some(format!("{}{}", nothing_acknowledged(stalled), why()))
    }

    /// For how long nothing was acknowledged although something waits; `None`: acks flow, or nothing waits.
    fn stalled_for(&self) -> Option<Duration> {
        let waits = self.oldest_waiting().max(self.looks[0].waits_for).filter(|age| *age >= STALLED)?;
        let last = self.lane.stats.last_ack_time.get();
        let last = i64::try_from(last).ok().and_then(DateTime::from_timestamp_millis).max(Some(self.started_at));
        let since = last.and_then(|last| (self.now.1 - last).to_std().ok()).unwrap_or_default();
        (since >= STALLED).then_some(since.min(waits))
    }

    /// Since when the oldest task is here that does not wait for a time.
    fn oldest_waiting(&self) -> Option<Duration> {
        let Numbers { oldest, .. } = self.snapshot.as_ref()?.numbers;
        oldest.map(|since| self.now.0.saturating_duration_since(since))
    }
}

fn nothing_acknowledged(time: Duration) -> String {
    format!("messages wait, and none was acknowledged for {}", span(time))
}

impl LaneState {
    fn of(obstacle: Obstacle) -> LaneState {
        match obstacle {
            Obstacle::NoSession => LaneState::NoSession,
            Obstacle::Alarm => LaneState::Alarm,
            Obstacle::FullQueue => LaneState::FullQueue,
            Obstacle::Paused => LaneState::Paused,
            Obstacle::Target => LaneState::TargetAway,
        }
    }
}

#[cfg(test)]
mod tests;
