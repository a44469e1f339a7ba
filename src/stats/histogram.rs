//! How long something takes: durations counted in fixed buckets, and the requests to a target by method.
//!
//! It does not know what it measures, and decides nothing.

use std::array;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The upper bounds of the buckets, in seconds: from a fast answer to a task that waits for hours.
pub const BOUNDS: [f64; 14] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0];

/// Durations, counted without a lock.
#[derive(Debug)]
pub struct Histogram {
    /// One for each bound, and a last one for all that takes longer.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

/// What a histogram has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// How many were not longer than each of the [`BOUNDS`].
    pub up_to: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// How long all of them took, in seconds.
    pub sum: f64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: array::from_fn(|_| AtomicU64::new(0)), microseconds: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one that took this long.
    pub fn observe(&self, took: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < took.as_secs_f64());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// What it has counted so far.
    pub fn counted(&self) -> Counted {
        let mut count = 0;
        // The number of all is the sum of the buckets, so that the two always agree.
        let sums = self.buckets.each_ref().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let sum = Duration::from_micros(self.microseconds.load(Ordering::Relaxed)).as_secs_f64();
        Counted { up_to: array::from_fn(|index| sums[index]), count, sum }
    }
}

/// The requests to one target. A clone counts the same.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Mutex<BTreeMap<&'static str, OfMethod>>>);

/// The requests of one method.
#[derive(Debug, Default)]
struct OfMethod {
    times: Histogram,
    /// By [`CLASSES`].
    answers: [u64; CLASSES.len()],
}

/// What was answered: the first digit of the status, or nothing.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl Requests {
    /// Counts a request that took this long; `status` is that of its answer, if there was one.
    pub fn note(&self, method: &'static str, took: Duration, status: Option<u16>) {
        let mut methods = self.lock();
        let requests = methods.entry(method).or_default();
        requests.times.observe(took);
        let class = status.map_or(0, |status| usize::from(status / 100));
        requests.answers[class.min(CLASSES.len() - 1)] += 1;
    }

    /// How long the requests of each method took.
    pub fn times(&self) -> Vec<(&'static str, Counted)> {
        self.lock().iter().map(|(method, requests)| (*method, requests.times.counted())).collect()
    }

    /// How many requests of each method had an answer of each class; classes that never came are left out.
    pub fn answers(&self) -> Vec<(&'static str, &'static str, u64)> {
        let methods = self.lock();
        let answers = methods.iter().flat_map(|(method, requests)| {
            CLASSES.into_iter().zip(requests.answers).map(move |(class, count)| (*method, class, count))
        });
        answers.filter(|(_, _, count)| *count > 0).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, OfMethod>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_counts_all_that_were_not_longer_than_its_bound() {
        let histogram = Histogram::default();
        for milliseconds in [0, 10, 11, 900, 4_000_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let Counted { up_to, count, sum } = histogram.counted();
        assert_eq!(up_to[..3], [2, 3, 3]);
        assert_eq!((up_to[6], up_to[BOUNDS.len() - 1], count), (4, 4, 5));
        assert!((sum - 4000.921).abs() < 1e-6, "{sum}");
    }

    #[test]
    fn requests_are_counted_by_method_and_by_the_class_of_their_answers() {
        let requests = Requests::default();
        let second = Duration::from_secs(1);
        for status in [Some(200), Some(204), Some(503), Some(999), None] {
            requests.note("POST", second, status);
        }
        requests.note("GET", second, Some(404));
        assert_eq!(
            requests.times().into_iter().map(|(method, times)| (method, times.count)).collect::<Vec<_>>(),
            [("GET", 1), ("POST", 5)]
        );
        let of_posts = [("POST", "none", 1), ("POST", "2xx", 2), ("POST", "5xx", 2)];
        assert_eq!(requests.answers(), [[("GET", "4xx", 1)].as_slice(), &of_posts].concat());
    }
}
