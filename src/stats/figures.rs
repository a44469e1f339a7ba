//! The figures beside the counters, which the asker fills in: how a lane and its queues are now, and what concerns all
//! lanes. What is unknown is left out of the metrics.

use super::Stats;
use super::list::{Family, Sample};

/// A lane with its counters and all else that is known of it now.
#[derive(Debug)]
pub struct LaneFigures<'a> {
    /// The system's name.
    pub system: &'a str,
    /// Its counters.
    pub stats: &'a Stats,
    /// How it is now.
    pub gauges: LaneGauges,
    /// Its own queues.
    pub queues: Vec<QueueFigures<'a>>,
}

/// How a lane is now.
#[derive(Clone, Debug, Default)]
pub struct LaneGauges {
    /// Whether it can work, and acks flow while messages wait.
    pub ready: Option<bool>,
    /// Whether somebody has paused it.
    pub paused: Option<bool>,
    /// Whether it waits for its target.
    pub target_away: Option<bool>,
    /// Messages that are due and wait: ready in the input queue, or taken and not started.
    pub waiting: Option<u64>,
    /// The age of the oldest of these, in seconds; 0 when none waits.
    pub oldest_waiting_seconds: Option<u64>,
    /// Tasks that are started and not settled.
    pub in_hand: Option<u64>,
    /// Tasks that failed before and wait for their next try.
    pub retrying: Option<u64>,
}

/// A queue at the broker.
#[derive(Clone, Debug)]
pub struct QueueFigures<'a> {
    /// Its name.
    pub queue: &'a str,
    /// Messages that are ready.
    pub messages: Option<u64>,
    /// Its consumers, of whatever worker.
    pub consumers: Option<u64>,
}

/// What concerns all lanes.
#[derive(Clone, Debug, Default)]
pub struct Common<'a> {
    /// The queues that all lanes share: errors and responses.
    pub queues: Vec<QueueFigures<'a>>,
    /// The last reconciliation that was completed, if there was one.
    pub reconciliation: Option<LastReconciliation<'a>>,
}

/// What a reconciliation has found.
#[derive(Clone, Debug)]
pub struct LastReconciliation<'a> {
    /// When it ended, in milliseconds since 1970.
    pub ended_ms: u64,
    /// How many tasks it has found of each class; also those of which it found none.
    pub classes: Vec<(&'a str, u64)>,
}

/// How a number is read from the gauges.
type Read = fn(&LaneGauges) -> Option<f64>;

static GAUGES: &[(Family, Read)] = &[
    (
        Family::gauge(
            "lane_ready",
            "Whether the lane consumes at RabbitMQ and, while messages wait, acknowledges some: 1 or 0.",
        ),
        |lane| lane.ready.map(flag),
    ),
    (Family::gauge("lane_paused", "Whether somebody has paused the lane: 1 or 0."), |lane| lane.paused.map(flag)),
    (Family::gauge("lane_target_away", "Whether the lane waits for its target: 1 or 0."), |lane| {
        lane.target_away.map(flag)
    }),
    (
        Family::gauge(
            "waiting_messages",
            "Messages that are due and wait: in the input queue, or taken and not started.",
        ),
        |lane| count(lane.waiting),
    ),
    (
        Family::gauge("oldest_waiting_seconds", "The age of the oldest message that is due and waits; 0: none waits."),
        |lane| count(lane.oldest_waiting_seconds),
    ),
    (Family::gauge("in_hand_tasks", "Tasks that are started and not settled."), |lane| count(lane.in_hand)),
    (Family::gauge("retrying_tasks", "Tasks that failed before and wait for their next try."), |lane| {
        count(lane.retrying)
    }),
];

const MESSAGES: Family = Family::gauge("queue_messages", "Messages that are ready in a queue.");
const CONSUMERS: Family = Family::gauge("queue_consumers", "Consumers of a queue, of whatever worker.");
const RECONCILED: Family = Family::gauge("reconciled_tasks", "Tasks by class, as the last reconciliation found them.");
const RECONCILED_AT: Family =
    Family::gauge("last_reconciliation_timestamp_seconds", "When the last reconciliation ended, since 1970.");
const BUILD: Family = Family::gauge("build_info", "Always 1; the version is a label.");
const LOST_LINES: Family = Family::counter("lost_log_lines", "Lines that did not get into a log file.");

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn count(number: Option<u64>) -> Option<f64> {
    number.map(|number| number as f64)
}

impl LaneFigures<'_> {
    pub(super) fn samples(&self) -> Vec<Sample> {
        let system = || ("system", self.system.to_owned());
        let gauges =
            GAUGES.iter().filter_map(|(family, read)| Some(Sample::new(*family, Vec::new(), read(&self.gauges)?)));
        let queues = self.queues.iter().flat_map(QueueFigures::samples);
        let mut samples: Vec<Sample> = gauges.chain(queues).chain(super::list::samples(self.stats)).collect();
        samples.iter_mut().for_each(|sample| sample.labels.insert(0, system()));
        samples
    }
}

impl QueueFigures<'_> {
    fn samples(&self) -> impl Iterator<Item = Sample> {
        let numbers = [(MESSAGES, count(self.messages)), (CONSUMERS, count(self.consumers))];
        let queue = self.queue.to_owned();
        let known = numbers.into_iter().filter_map(|(family, number)| Some((family, number?)));
        known.map(move |(family, number)| Sample::new(family, vec![("queue", queue.clone())], number))
    }
}

impl Common<'_> {
    pub(super) fn samples(&self) -> Vec<Sample> {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        let lost = super::LOST_LOG_LINES.get() as f64;
        let mut samples = vec![Sample::new(BUILD, version, 1.0), Sample::new(LOST_LINES, Vec::new(), lost)];
        samples.extend(self.queues.iter().flat_map(QueueFigures::samples));
        if let Some(LastReconciliation { ended_ms, classes }) = &self.reconciliation {
            samples.push(Sample::new(RECONCILED_AT, Vec::new(), *ended_ms as f64 / 1000.0));
            let class = |class: &str| vec![("class", class.to_owned())];
            samples.extend(classes.iter().map(|(name, tasks)| Sample::new(RECONCILED, class(name), *tasks as f64)));
        }
        samples
    }
}
