//! How many tasks a lane has created in each minute of the last hour.
//!
//! It is fed with a counter that only grows. It does not know whose it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many minutes are kept, the current one included.
pub const MINUTES: usize = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// The last hour.
#[derive(Debug)]
pub struct Hour {
    /// The minutes before this one, oldest first.
    past: VecDeque<u64>,
    /// When this minute has started.
    started: Instant,
    /// The counter then.
    before: u64,
}

impl Hour {
    /// An hour without tasks, up to now.
    pub fn new(now: Instant) -> Hour {
        Hour { past: VecDeque::from([0; MINUTES - 1]), started: now, before: 0 }
    }

    /// The counter is at `total` now. Called at least once a minute, it puts each task into its minute.
    pub fn note(&mut self, total: u64, now: Instant) {
        // After an hour all the same, so there is no need to go on.
        for _ in 0..MINUTES {
            if now.saturating_duration_since(self.started) < MINUTE {
                return;
            }
            self.past.pop_front();
            self.past.push_back(total.saturating_sub(self.before));
            self.before = total;
            self.started += MINUTE;
        }
        self.started = now;
    }

    /// The numbers of each minute, oldest first; the last is the current one so far.
    pub fn numbers(&mut self, total: u64, now: Instant) -> Vec<u64> {
        self.note(total, now);
        self.past.iter().copied().chain([total.saturating_sub(self.before)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_minute_has_its_own_number_and_the_last_one_grows() {
        let start = Instant::now();
        let mut hour = Hour::new(start);
        let mut last = |total, seconds| {
            let numbers = hour.numbers(total, start + Duration::from_secs(seconds));
            assert_eq!(numbers.len(), MINUTES);
            numbers[MINUTES - 3..].to_vec()
        };
        assert_eq!(last(2, 59), [0, 0, 2]);
        assert_eq!(last(3, 61), [0, 3, 0]);
        assert_eq!(last(8, 90), [0, 3, 5]);
        assert_eq!(last(8, 190), [5, 0, 0]);
        assert_eq!(last(9, 100_000), [0, 0, 0]);
        assert_eq!(last(11, 100_001), [0, 0, 2]);
    }
}
