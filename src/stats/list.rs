//! Every number of a lane, once: what it is called, what it means, where it stands in the statistics line. The line,
//! the JSON and the metrics all follow from this list.
//!
//! It counts nothing itself.

use std::time::Duration;

use serde_json::{Map, Value};

use super::histogram::{Counted, Histogram};
use super::{Stats, clock, percent, span};

/// A metric, as Prometheus understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name, without the prefix, and without the `_total` of a counter.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// What it says, in a sentence.
    pub help: &'static str,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, from zero at the start.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl Family {
    /// A number that only rises.
    pub const fn counter(name: &'static str, help: &'static str) -> Family {
        Family { name, kind: Kind::Counter, help }
    }

    /// A number that rises and falls.
    pub const fn gauge(name: &'static str, help: &'static str) -> Family {
        Family { name, kind: Kind::Gauge, help }
    }

    /// Durations, in seconds.
    pub const fn histogram(name: &'static str, help: &'static str) -> Family {
        Family { name, kind: Kind::Histogram, help }
    }
}

/// A value of a metric, with what tells it from the others of its family.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its metric.
    pub family: Family,
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: Measured,
}

/// The value of a sample.
#[derive(Clone, Debug)]
pub enum Measured {
    /// A number, in the unit that the name of its family ends in.
    Number(f64),
    /// What a histogram has counted.
    Times(Counted),
}

impl Sample {
    /// A number.
    pub fn new(family: Family, labels: Vec<(&'static str, String)>, number: f64) -> Sample {
        Sample { family, labels, value: Measured::Number(number) }
    }
}

/// A place in the list.
enum Entry {
    /// A number, and its name in the line, if it stands there.
    Number(Number, Option<&'static str>),
    /// Several numbers of a family that a label tells apart. They are not in the line.
    Each(Family, &'static str, fn(&Stats) -> Vec<(&'static str, u64)>),
    /// Durations. They are neither in the line nor in the JSON.
    Times(Family, fn(&Stats) -> &Histogram),
    /// Text that is in the line only.
    Line(&'static str, fn(&Stats) -> String),
    /// Here the system's own numbers follow.
    Own,
    /// Here the next part of the line starts.
    Part(&'static str),
}

struct Number {
    /// Its name in the JSON.
    name: &'static str,
    family: Family,
    /// What tells it from the others of its family.
    label: Option<(&'static str, &'static str)>,
    unit: Unit,
    read: fn(&Stats) -> u64,
}

/// What a number counts, and so how it is shown.
#[derive(Clone, Copy)]
enum Unit {
    Things,
    Seconds,
    /// Shown in seconds.
    Milliseconds,
    /// In milliseconds since 1970; 0 is never. Shown in seconds.
    Time,
    /// 1 or 0.
    Flag,
}

const SETTLED: Family = Family::counter(
    "settled",
    "Tasks by what became of them, counted when it is decided: created, found (existed already), retried, moved, parked, \
     answered (its response is confirmed).",
);
const PUBLISHES: Family = Family::counter(
    "publishes",
    "Publishes by their outcome: confirmed, refused by the queue, returned (there was no queue).",
);
const UNKNOWN: Family = Family::counter(
    "unknown_outcomes",
    "Tasks that an earlier try or delivery may have created, by what came out: existed, created (it did not exist), parked.",
);

/// In the order of the line.
static LIST: &[Entry] = &[
    counter("received", "Messages taken from the system's queue; a later try is not counted again.", |stats| {
        stats.total_messages.get()
    })
    .line("total_messages"),
    counter("successful_tasks", "Tasks that exist at the target and whose message is settled.", |stats| {
        stats.successful_tasks.get()
    })
    .line("successful_tasks"),
    counter("failed_tasks", "Messages that were parked instead of a task created.", |stats| stats.failed_tasks.get())
        .line("failed_tasks"),
    Entry::Line("success_rate", |stats| percent(stats.successful_tasks.get(), stats.failed_tasks.get())),
    counter("recorded", "Records confirmed in the sent queue.", |stats| stats.sent_to_success_queue.get())
        .line("sent_to_success_queue"),
    counter("record_refusals", "Times that the sent queue did not take a record; it is published again.", |stats| {
        stats.failed_to_send_success.get()
    })
    .line("failed_to_send_success"),
    Entry::Line("success_queue_rate", |stats| {
        percent(stats.sent_to_success_queue.get(), stats.failed_to_send_success.get())
    }),
    Entry::Own,
    one_of(SETTLED, ("outcome", "created"), "created", |stats| stats.created.get()).beside_the_line(),
    one_of(SETTLED, ("outcome", "found"), "found", |stats| stats.found.get()).beside_the_line(),
    one_of(SETTLED, ("outcome", "retried"), "retried", |stats| stats.returned.get()).line("returned"),
    one_of(SETTLED, ("outcome", "moved"), "moved", |stats| stats.moved.get()).line("moved"),
    one_of(SETTLED, ("outcome", "parked"), "parked", |stats| stats.parked.get()).line("parked"),
    one_of(SETTLED, ("outcome", "answered"), "answered", |stats| stats.tracker.moved_to_responses.get())
        .beside_the_line(),
    Entry::Each(
        Family::counter("parked", "Messages and records in the error queue, by their cause."),
        "cause",
        |stats| stats.parked.by_cause(),
    ),
    counter("duplicates_prevented", "Tasks that were not created a second time.", |stats| {
        stats.duplicates_prevented.get()
    })
    .line("duplicates_prevented"),
    one_of(UNKNOWN, ("outcome", "existed"), "unknown_existed", |stats| stats.unknown_existed.get()).beside_the_line(),
    one_of(UNKNOWN, ("outcome", "created"), "unknown_created", |stats| stats.unknown_created.get()).beside_the_line(),
    one_of(UNKNOWN, ("outcome", "parked"), "unknown_parked", |stats| stats.unknown_parked.get()).beside_the_line(),
    time("last_message_timestamp_seconds", "When the last message came; 0: none yet.", |stats| {
        stats.last_message_time.get()
    })
    .line("last_message_time"),
    time("last_ack_timestamp_seconds", "When the last message was acknowledged; 0: none yet.", |stats| {
        stats.last_ack_time.get()
    })
    .beside_the_line(),
    Entry::Times(
        Family::histogram("handling_seconds", "From the arrival of a message to its acknowledgement."),
        |stats| &stats.handling,
    ),
    Entry::Line("uptime_seconds", |stats| stats.started.elapsed().as_secs().to_string()),
    Entry::Line("lost_log_lines", |_| super::LOST_LOG_LINES.get().to_string()),
    Entry::Part("publisher"),
    one_of(PUBLISHES, ("outcome", "confirmed"), "publishes_confirmed", |stats| stats.sent_messages.get())
        .line("sent_messages"),
    one_of(PUBLISHES, ("outcome", "refused"), "publishes_refused", |stats| {
        stats.failed_messages.get().saturating_sub(stats.unroutable_messages.get())
    })
    .beside_the_line(),
    one_of(PUBLISHES, ("outcome", "returned"), "publishes_returned", |stats| stats.unroutable_messages.get())
        .beside_the_line(),
    Entry::Line("failed_messages", |stats| stats.failed_messages.get().to_string()),
    gauge("waiting_for_room_messages", "Messages that their queue has not taken; they are published again.", |stats| {
        stats.waiting_for_room.get()
    })
    .line("waiting_for_room"),
    Entry::Line("success_rate", |stats| percent(stats.sent_messages.get(), stats.failed_messages.get())),
    flag("connected", "Whether the lane has its session with RabbitMQ: 1 or 0.", |stats| stats.is_connected.get())
        .line("is_connected"),
    counter("reconnects", "Sessions with RabbitMQ that were opened after the first one.", |stats| {
        stats.reconnects.get()
    })
    .beside_the_line(),
    Entry::Part("tracker"),
    counter("checked_records", "Records that were checked, again in each sweep.", |stats| {
        stats.tracker.total_checked.get()
    })
    .line("total_checked"),
    counter("completed_tasks", "Tasks that the target has finished.", |stats| stats.tracker.completed_tasks.get())
        .line("completed_tasks"),
    // The same number is the outcome "answered" above.
    Entry::Line("moved_to_responses", |stats| stats.tracker.moved_to_responses.get().to_string()),
    counter("response_refusals", "Times that the responses queue did not take a response.", |stats| {
        stats.tracker.failed_moves.get()
    })
    .line("failed_moves"),
    counter("failed_checks", "Parts of a sweep in which at least one record could not be checked.", |stats| {
        stats.tracker.failed_checks.get()
    })
    .line("failed_checks"),
    time("last_sweep_timestamp_seconds", "When the last sweep ended; 0: none yet.", |stats| {
        stats.tracker.last_check_time.get()
    })
    .line("last_check_time"),
    number(Unit::Milliseconds, "sweep_seconds", "How long the last sweep took.", |stats| {
        stats.tracker.sweep_milliseconds.get()
    })
    .beside_the_line(),
    gauge("open_tasks", "Open tasks at the last sweep.", |stats| stats.tracker.open_tasks.get()).line("open_tasks"),
    gauge("unanswered_tasks", "Finished tasks whose answer is missing, at the last sweep.", |stats| {
        stats.tracker.unanswered_tasks.get()
    })
    .line("unanswered_tasks"),
    gauge("foreign_tasks", "Records whose id belongs to another task, at the last sweep.", |stats| {
        stats.tracker.foreign_tasks.get()
    })
    .line("foreign_tasks"),
    number(Unit::Seconds, "oldest_open_seconds", "The age of the oldest open task, at the last sweep.", |stats| {
        stats.tracker.oldest_open_seconds.get()
    })
    .line("oldest_open"),
];

const fn counter(name: &'static str, help: &'static str, read: fn(&Stats) -> u64) -> Number {
    Number { name, family: Family::counter(name, help), label: None, unit: Unit::Things, read }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&Stats) -> u64) -> Number {
    number(Unit::Things, name, help, read)
}

const fn time(name: &'static str, help: &'static str, read: fn(&Stats) -> u64) -> Number {
    number(Unit::Time, name, help, read)
}

const fn flag(name: &'static str, help: &'static str, read: fn(&Stats) -> u64) -> Number {
    number(Unit::Flag, name, help, read)
}

const fn number(unit: Unit, name: &'static str, help: &'static str, read: fn(&Stats) -> u64) -> Number {
    Number { name, family: Family::gauge(name, help), label: None, unit, read }
}

const fn one_of(
    family: Family,
    label: (&'static str, &'static str),
    name: &'static str,
    read: fn(&Stats) -> u64,
) -> Number {
    Number { name, family, label: Some(label), unit: Unit::Things, read }
}

impl Number {
    const fn line(self, name: &'static str) -> Entry {
        Entry::Number(self, Some(name))
    }

    const fn beside_the_line(self) -> Entry {
        Entry::Number(self, None)
    }

    fn shown(&self, stats: &Stats) -> String {
        let number = (self.read)(stats);
        match self.unit {
            Unit::Things | Unit::Milliseconds => number.to_string(),
            Unit::Seconds => span(Duration::from_secs(number)),
            Unit::Time => clock(number),
            Unit::Flag => (number == 1).to_string(),
        }
    }

    fn measured(&self, stats: &Stats) -> f64 {
        let number = (self.read)(stats) as f64;
        match self.unit {
            Unit::Milliseconds | Unit::Time => number / 1000.0,
            Unit::Things | Unit::Seconds | Unit::Flag => number,
        }
    }

    fn json(&self, stats: &Stats) -> Value {
        match self.unit {
            Unit::Milliseconds | Unit::Time => self.measured(stats).into(),
            Unit::Things | Unit::Seconds | Unit::Flag => (self.read)(stats).into(),
        }
    }
}

/// The statistics of one system in one line.
pub(super) fn line(stats: &Stats, system: &str) -> String {
    let mut line = format!("{system}:");
    let mut add = |word: &str| {
        line.push(' ');
        line.push_str(word);
    };
    for entry in LIST {
        match entry {
            Entry::Number(number, Some(name)) => add(&format!("{name}={}", number.shown(stats))),
            Entry::Line(name, read) => add(&format!("{name}={}", read(stats))),
            Entry::Own => stats.own.iter().filter_map(|own| own.shown()).for_each(|word| add(&word)),
            Entry::Part(name) => add(&format!("| {name}:")),
            Entry::Number(_, None) | Entry::Each(..) | Entry::Times(..) => {}
        }
    }
    line
}

/// All numbers by their names.
pub(super) fn json(stats: &Stats) -> Map<String, Value> {
    let mut numbers = Map::new();
    for entry in LIST {
        match entry {
            Entry::Number(number, _) => numbers.extend([(number.name.to_owned(), number.json(stats))]),
            Entry::Each(family, _, read) => {
                let each = read(stats).into_iter();
                numbers.extend(
                    each.map(|(value, count)| {
                        (format!("{}_{}", family.name, value.to_lowercase()), Value::from(count))
                    }),
                );
            }
            Entry::Own => numbers.extend(stats.own.iter().filter_map(|own| own.json())),
            Entry::Times(..) | Entry::Line(..) | Entry::Part(_) => {}
        }
    }
    numbers
}

/// All numbers as samples, without the label that names the system.
pub(super) fn samples(stats: &Stats) -> Vec<Sample> {
    let owned = |(name, value): (&'static str, &'static str)| (name, value.to_owned());
    let mut samples = Vec::new();
    for entry in LIST {
        match entry {
            Entry::Number(number, _) => {
                let labels = number.label.map(owned).into_iter().collect();
                samples.push(Sample::new(number.family, labels, number.measured(stats)));
            }
            Entry::Each(family, label, read) => {
                let each = read(stats).into_iter();
                samples
                    .extend(each.map(|(value, count)| Sample::new(*family, vec![owned((label, value))], count as f64)));
            }
            Entry::Times(family, read) => {
                let value = Measured::Times(read(stats).counted());
                samples.push(Sample { family: *family, labels: Vec::new(), value });
            }
            Entry::Own => samples.extend(stats.own.iter().flat_map(|own| own.samples())),
            Entry::Line(..) | Entry::Part(_) => {}
        }
    }
    samples
}
