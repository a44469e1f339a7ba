//! Counters of one system, and the statistics lines: a short one for the terminal, and one with every number, which
//! [`crate::docs::operating`] explains. [`condition`] says what keeps the system from working.
//!
//! Nothing is decided by these numbers; they are for people.

pub mod condition;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use self::condition::Condition;
use crate::logging;

/// What happened in one lane since the start.
#[derive(Debug)]
pub struct Stats {
    started: Instant,
    /// Messages taken from the system's queue; a retry is not counted again.
    pub total_messages: Counter,
    /// Tasks that exist at the target and whose message is settled.
    pub successful_tasks: Counter,
    /// Messages that were parked.
    pub failed_tasks: Counter,
    /// Records confirmed in the sent queue.
    pub sent_to_success_queue: Counter,
    /// Times that the sent queue did not take a record; it is published again.
    pub failed_to_send_success: Counter,
    /// The counters of the lane's system itself.
    own: Vec<Declared>,
    /// Messages published to the retry queue for a later try.
    pub returned: Counter,
    /// Messages that were moved to the queue of another system; they count among its messages, not among these.
    pub moved: Counter,
    /// Messages and records in the error queue.
    pub parked: Counter,
    /// Tasks that were not created a second time.
    pub duplicates_prevented: Counter,
    /// Milliseconds since 1970; 0: none yet.
    pub last_message_time: Counter,
    /// When a message was acknowledged, in milliseconds since 1970; 0: none yet.
    pub last_ack_time: Counter,
    /// Whether the lane has its session with RabbitMQ: 1 or 0.
    pub is_connected: Counter,
    /// Messages confirmed by RabbitMQ, whatever their queue.
    pub sent_messages: Counter,
    /// Times that a queue did not take a message.
    pub failed_messages: Counter,
    /// Messages that their queue has not taken; they are published again until it does.
    pub waiting_for_room: Counter,
    /// The tracker's counters.
    pub tracker: TrackerStats,
    /// What keeps the lane from working.
    pub condition: Condition,
    /// While the lane stops: the ids of the tasks it still works on. Locked for an instant only; the main thread reads
    /// it when the time for stopping is over.
    unsettled: Mutex<Vec<String>>,
}

/// What the tracker of one system did since the start.
#[derive(Debug, Default)]
pub struct TrackerStats {
    /// Records that were checked.
    pub total_checked: Counter,
    /// Of these, finished ones.
    pub completed_tasks: Counter,
    /// Responses confirmed in the responses queue.
    pub moved_to_responses: Counter,
    /// Responses that the queue did not take.
    pub failed_moves: Counter,
    /// Parts of a sweep, a few thousand records each, in which at least one record could not be checked.
    pub failed_checks: Counter,
    /// Milliseconds since 1970; 0: none yet.
    pub last_check_time: Counter,
    /// Open tasks at the last sweep.
    pub open_tasks: Counter,
    /// Finished tasks whose answer is missing, at the last sweep.
    pub unanswered_tasks: Counter,
    /// Records whose id belongs to another task, at the last sweep.
    pub foreign_tasks: Counter,
    /// Seconds since the oldest open task was created, at the last sweep.
    pub oldest_open_seconds: Counter,
}

/// A number that several threads may count up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn count(&self) {
        self.add(1);
    }

    /// Counts `number` more.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Replaces the number.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that a system declares and counts by itself, with its name in the statistics line.
#[derive(Clone, Debug)]
pub enum Declared {
    /// How often something has happened.
    Count(&'static str, Arc<Counter>),
    /// The share of the first in the sum of both, in percent.
    Rate(&'static str, Arc<Counter>, Arc<Counter>),
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Declared::Count(name, counter) => write!(f, "{name}={}", counter.get()),
            Declared::Rate(name, good, bad) => write!(f, "{name}={}", percent(good.get(), bad.get())),
        }
    }
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            started: Instant::now(),
            total_messages: Counter::default(),
            successful_tasks: Counter::default(),
            failed_tasks: Counter::default(),
            sent_to_success_queue: Counter::default(),
            failed_to_send_success: Counter::default(),
            own: Vec::new(),
            returned: Counter::default(),
            moved: Counter::default(),
            parked: Counter::default(),
            duplicates_prevented: Counter::default(),
            last_message_time: Counter::default(),
            last_ack_time: Counter::default(),
            is_connected: Counter::default(),
            sent_messages: Counter::default(),
            failed_messages: Counter::default(),
            waiting_for_room: Counter::default(),
            tracker: TrackerStats::default(),
            condition: Condition::default(),
            unsettled: Mutex::default(),
        }
    }
}

impl Stats {
    /// The statistics of a lane whose system adds these numbers.
    pub fn with(own: Vec<Declared>) -> Stats {
        Stats { own, ..Stats::default() }
    }

    /// The most important numbers, in a line that fits a terminal of 120 columns together with its time.
    pub fn short_line(&self, system: &str) -> String {
        let state = if self.condition.is_clear() { "works" } else { "waits" };
        format!(
            "{system} {state}: in {}, created {}, parked {}, open {}, done {}",
            short(self.total_messages.get()),
            short(self.successful_tasks.get()),
            short(self.parked.get()),
            short(self.tracker.open_tasks.get()),
            short(self.tracker.moved_to_responses.get()),
        )
    }

    /// The statistics of one system in one line.
    pub fn line(&self, system: &str) -> String {
        let (good, bad) = (self.successful_tasks.get(), self.failed_tasks.get());
        let (recorded, unrecorded) = (self.sent_to_success_queue.get(), self.failed_to_send_success.get());
        let own: String = self.own.iter().map(|declared| format!("{declared} ")).collect();
        let (sent, unsent) = (self.sent_messages.get(), self.failed_messages.get());
        let tracker = &self.tracker;
        format!(
            "{system}: total_messages={} successful_tasks={good} failed_tasks={bad} success_rate={} \
             sent_to_success_queue={recorded} failed_to_send_success={unrecorded} success_queue_rate={} \
             {own}returned={} moved={} parked={} duplicates_prevented={} last_message_time={} uptime_seconds={} lost_log_lines={} | \
             publisher: sent_messages={sent} failed_messages={unsent} waiting_for_room={} success_rate={} \
             is_connected={} | \
             tracker: total_checked={} completed_tasks={} moved_to_responses={} failed_moves={} failed_checks={} \
             last_check_time={} open_tasks={} unanswered_tasks={} foreign_tasks={} oldest_open={}",
            self.total_messages.get(),
            percent(good, bad),
            percent(recorded, unrecorded),
            self.returned.get(),
            self.moved.get(),
            self.parked.get(),
            self.duplicates_prevented.get(),
            clock(self.last_message_time.get()),
            self.started.elapsed().as_secs(),
            logging::lost_lines(),
            self.waiting_for_room.get(),
            percent(sent, unsent),
            self.is_connected.get() == 1,
            tracker.total_checked.get(),
            tracker.completed_tasks.get(),
            tracker.moved_to_responses.get(),
            tracker.failed_moves.get(),
            tracker.failed_checks.get(),
            clock(tracker.last_check_time.get()),
            tracker.open_tasks.get(),
            tracker.unanswered_tasks.get(),
            tracker.foreign_tasks.get(),
            span(Duration::from_secs(tracker.oldest_open_seconds.get())),
        )
    }

    /// All counters by their names.
    pub fn counters(&self) -> Map<String, Value> {
        let counters = [
            ("received", &self.total_messages),
            ("created", &self.successful_tasks),
            ("parked", &self.parked),
            ("answered", &self.tracker.moved_to_responses),
            ("duplicates_prevented", &self.duplicates_prevented),
        ];
        counters.into_iter().map(|(name, counter)| (name.to_owned(), counter.get().into())).collect()
    }

    /// How much of the request budget is left, from 0 to 100 percent; `None` where the system has none.
    pub fn requests_left(&self) -> Option<u64> {
        None
    }

    /// Notes what a stopping lane still works on.
    pub fn note_unsettled(&self, ids: &[&str]) {
        *self.unsettled.lock().unwrap_or_else(PoisonError::into_inner) =
            ids.iter().map(|id| (*id).to_owned()).collect();
    }

    /// What a stopping lane still works on.
    pub fn unsettled(&self) -> Vec<String> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// From 0 to 100; 0 where there is no data.
fn percent(good: u64, bad: u64) -> String {
    let all = good + bad;
    if all == 0 { "0".into() } else { format!("{:.1}", 100.0 * good as f64 / all as f64) }
}

/// A number in four characters at most.
fn short(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{}k", number / 1_000),
        _ => format!("{}M", number / 1_000_000),
    }
}

fn clock(milliseconds: u64) -> String {
    let moment =
        i64::try_from(milliseconds).ok().filter(|ms| *ms > 0).and_then(chrono::DateTime::from_timestamp_millis);
    moment.map_or_else(|| "-".into(), |moment| moment.with_timezone(&chrono::Local).format("%H:%M:%S").to_string())
}

/// A length of time for people: `45s`, `3m05s`, `2h10m`, `4d03h`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_percent_and_zero_where_there_is_no_data() {
        let stats = Stats::default();
        assert!(stats.line("bitrix24").contains("success_rate=0 "));
        stats.successful_tasks.add(2);
        stats.failed_tasks.add(1);
        assert!(stats.line("bitrix24").contains("success_rate=66.7 "));
    }

    #[test]
    fn a_systems_own_numbers_are_added_to_the_line_and_nothing_else_changes() {
        let (good, bad) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let count = Declared::Count("own", Arc::clone(&good));
        let stats = Stats::with(vec![count, Declared::Rate("own_rate", Arc::clone(&good), Arc::clone(&bad))]);
        good.add(3);
        bad.count();
        let line = stats.line("x");
        assert!(line.contains(" success_queue_rate=0 own=3 own_rate=75.0 returned=0 "), "{line}");
        assert_eq!(line.replace("own=3 own_rate=75.0 ", ""), Stats::default().line("x"));
    }

    #[test]
    fn the_short_line_fits_a_terminal_whatever_was_counted() {
        let prefix = "2025-10-23 08:08:57.412+03:00 INFO  [heartbeat] ".len();
        let stats = Stats::default();
        assert_eq!(stats.short_line("bitrix24"), "bitrix24 works: in 0, created 0, parked 0, open 0, done 0");
        let counters = [&stats.total_messages, &stats.successful_tasks, &stats.parked];
        for counter in counters.into_iter().chain([&stats.tracker.open_tasks, &stats.tracker.moved_to_responses]) {
            counter.set(999_999_999);
        }
        assert!(prefix + stats.short_line("bitrix24").len() <= 120);
        assert_eq!([9_999, 10_000, 999_999, 1_000_000].map(short), ["9999", "10k", "999k", "1M"]);
    }

    #[test]
    fn a_span_is_shown_in_the_two_largest_units() {
        let shown = [5, 65, 7_265, 100_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(shown, ["5s", "1m05s", "2h01m", "1d03h"]);
    }
}
