//! Counters of one system. The [`list`] describes each of them once; from it follow the statistics line, the JSON and,
//! with the [`figures`] of the moment, the [metrics](prometheus). [`condition`] says what keeps the system from
//! working.
//!
//! [`declared`] is what a system adds, [`histogram`] counts durations, `process` reads what the process uses. The
//! manual is [`crate::docs::metrics`]. Nothing is decided by these numbers; they are for people.

pub mod condition;
pub mod declared;
pub mod figures;
pub mod histogram;
pub mod list;
mod process;
pub mod prometheus;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use self::condition::Condition;
pub use self::declared::Declared;
use self::histogram::Histogram;
use crate::message::Cause;

/// Lines of the whole process that did not get into a log file since the start.
pub static LOST_LOG_LINES: Counter = Counter(AtomicU64::new(0));
/// The gauge that a system with a request limit declares: the share of its budget that is left.
pub const REQUEST_BUDGET: &str = "request_budget_ratio";

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
    pub parked: ParkedCounters,
    /// Tasks that were created.
    pub created: Counter,
    /// Tasks that existed already when they were to be created.
    pub found: Counter,
    /// Tasks that were not created a second time.
    pub duplicates_prevented: Counter,
    /// Of the tasks that an earlier try or delivery may have created: those that it has created,
    pub unknown_existed: Counter,
    /// those that it had not, and that were created then,
    pub unknown_created: Counter,
    /// and those that were parked.
    pub unknown_parked: Counter,
    /// Milliseconds since 1970; 0: none yet.
    pub last_message_time: Counter,
    /// When a message was acknowledged, in milliseconds since 1970; 0: none yet.
    pub last_ack_time: Counter,
    /// From the arrival of a message to its ack.
    pub handling: Histogram,
    /// Whether the lane has its session with RabbitMQ: 1 or 0.
    pub is_connected: Counter,
    /// Sessions after the first one.
    pub reconnects: Counter,
    /// Messages confirmed by RabbitMQ, whatever their queue.
    pub sent_messages: Counter,
    /// Times that a queue did not take a message.
    pub failed_messages: Counter,
    /// Of these, those that had no queue.
    pub unroutable_messages: Counter,
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
    /// How long the last sweep took.
    pub sweep_milliseconds: Counter,
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

/// Parked messages and records, by their cause.
#[derive(Debug, Default)]
pub struct ParkedCounters([Counter; Cause::ALL.len()]);

impl ParkedCounters {
    /// Counts one more for this cause.
    pub fn count(&self, cause: Cause) {
        self.0[cause as usize].count();
    }

    /// How many there are, whatever their cause.
    pub fn get(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }

    fn by_cause(&self) -> Vec<(&'static str, u64)> {
        Cause::ALL.into_iter().map(|cause| (cause.name(), self.0[cause as usize].get())).collect()
    }
}

impl Default for Stats {
    fn default() -> Stats {
        Stats::with(Vec::new())
    }
}

impl Stats {
    /// The statistics of a lane whose system adds these numbers; all are zero.
    pub fn with(own: Vec<Declared>) -> Stats {
        Stats {
            started: Instant::now(),
            total_messages: Counter::default(),
            successful_tasks: Counter::default(),
            failed_tasks: Counter::default(),
            sent_to_success_queue: Counter::default(),
            failed_to_send_success: Counter::default(),
            own,
            returned: Counter::default(),
            moved: Counter::default(),
            parked: ParkedCounters::default(),
            created: Counter::default(),
            found: Counter::default(),
            duplicates_prevented: Counter::default(),
            unknown_existed: Counter::default(),
            unknown_created: Counter::default(),
            unknown_parked: Counter::default(),
            last_message_time: Counter::default(),
            last_ack_time: Counter::default(),
            handling: Histogram::default(),
            is_connected: Counter::default(),
            reconnects: Counter::default(),
            sent_messages: Counter::default(),
            failed_messages: Counter::default(),
            unroutable_messages: Counter::default(),
            waiting_for_room: Counter::default(),
            tracker: TrackerStats::default(),
            condition: Condition::default(),
            unsettled: Mutex::default(),
        }
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
        list::line(self, system)
    }

    /// All counters by their names.
    pub fn counters(&self) -> Map<String, Value> {
        list::json(self)
    }

    /// How much of the request budget is left, from 0 to 100 percent; `None` where the system has none.
    pub fn requests_left(&self) -> Option<u64> {
        let share = self.own.iter().find_map(|own| own.value_of(REQUEST_BUDGET))?;
        Some((share * 100.0).round() as u64)
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
    use std::sync::Arc;

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
        let count = Declared::count("own", "Own things.", &good);
        let level = Declared::gauge(REQUEST_BUDGET, "Not in the line.", || 0.254);
        let stats = Stats::with(vec![count, Declared::rate("own_rate", &good, &bad), level]);
        good.add(3);
        bad.count();
        let line = stats.line("x");
        assert!(line.contains(" success_queue_rate=0 own=3 own_rate=75.0 returned=0 "), "{line}");
        assert_eq!(line.replace("own=3 own_rate=75.0 ", ""), Stats::default().line("x"));
        assert_eq!((stats.counters()["own"].clone(), stats.requests_left()), (3.into(), Some(25)));
        assert_eq!(Stats::default().requests_left(), None);
    }

    /// It is contract: programs of operators read it.
    #[test]
    fn the_line_is_what_it_has_always_been() {
        let stats = Stats::default();
        let counters = [&stats.total_messages, &stats.successful_tasks, &stats.failed_tasks, &stats.moved];
        counters.into_iter().zip(1..).for_each(|(counter, number)| counter.set(number));
        stats.parked.count(Cause::RequestError);
        stats.failed_messages.add(2);
        stats.unroutable_messages.count();
        stats.is_connected.set(1);
        stats.tracker.oldest_open_seconds.set(100_000);
        // These are not in it.
        [&stats.created, &stats.reconnects, &stats.last_ack_time].into_iter().for_each(Counter::count);
        assert_eq!(
            stats.line("bitrix24"),
            "bitrix24: total_messages=1 successful_tasks=2 failed_tasks=3 success_rate=40.0 sent_to_success_queue=0 \
             failed_to_send_success=0 success_queue_rate=0 returned=0 moved=4 parked=1 duplicates_prevented=0 \
             last_message_time=- uptime_seconds=0 lost_log_lines=0 | \
             publisher: sent_messages=0 failed_messages=2 waiting_for_room=0 success_rate=0.0 is_connected=true | \
             tracker: total_checked=0 completed_tasks=0 moved_to_responses=0 failed_moves=0 failed_checks=0 \
             last_check_time=- open_tasks=0 unanswered_tasks=0 foreign_tasks=0 oldest_open=1d03h"
        );
    }

    #[test]
    fn the_json_has_each_number_once_by_its_name() {
        let stats = Stats::default();
        stats.parked.count(Cause::TaskNotFound);
        stats.failed_messages.add(3);
        stats.unroutable_messages.count();
        stats.tracker.sweep_milliseconds.set(1500);
        let counters = stats.counters();
        let number = |name: &str| counters[name].as_f64().expect("a number");
        let names = ["received", "created", "answered", "duplicates_prevented", "parked", "parked_task_not_found"];
        assert_eq!(names.map(number), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!(["publishes_refused", "publishes_returned", "sweep_seconds"].map(number), [2.0, 1.0, 1.5]);
    }

    #[test]
    fn the_short_line_fits_a_terminal_whatever_was_counted() {
        let prefix = "2025-10-23 08:08:57.412+03:00 INFO  [heartbeat] ".len();
        let stats = Stats::default();
        assert_eq!(stats.short_line("bitrix24"), "bitrix24 works: in 0, created 0, parked 0, open 0, done 0");
        stats.parked.0[0].set(999_999_999);
        let counters = [&stats.total_messages, &stats.successful_tasks];
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
