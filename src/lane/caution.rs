//! How many unsettled deliveries a lane may have. Few, when they were requeued again and again: a worker may have
//! crashed over one of them, and a quorum queue deletes a message that was requeued too often. More again with success.
//! Pure.
//!
//! It goes by the queue's own count only. The count outlives a process that crashes, and a queue that does not count
//! deletes nothing.

/// A message may be requeued this often without suspicion: by a stop, by a lost connection.
const INNOCENT: u32 = 2;

/// The number of deliveries, at most the setting.
#[derive(Debug)]
pub struct Caution {
    most: u16,
    now: u16,
    /// Deliveries settled since the last change.
    settled: usize,
}

impl Caution {
    /// A lane that may have `most` unsettled deliveries.
    pub fn new(most: u16) -> Caution {
        Caution { most, now: most, settled: 0 }
    }

    /// How many deliveries to take.
    pub fn prefetch(&self) -> u16 {
        self.now
    }

    /// A session starts, and its first deliveries were requeued so often. Returns whether they are to be settled alone.
    pub fn starts(&mut self, times_requeued: u32) -> bool {
        let careful = times_requeued > INNOCENT;
        self.now = if careful { 1 } else { self.most };
        self.settled = 0;
        careful
    }

    /// Are there fewer than the setting allows?
    pub fn is_careful(&self) -> bool {
        self.now < self.most
    }

    /// So many deliveries are acknowledged.
    pub fn settled(&mut self, deliveries: usize) {
        self.settled += deliveries;
    }

    /// Whether to take twice as many from now on: as many as may be taken now were settled without a crash, or so many
    /// wait for a time and nothing is at work.
    pub fn grows(&mut self, waiting: usize) -> bool {
        let grows = self.is_careful() && self.settled.max(waiting) >= self.now.into();
        if grows {
            self.now = self.now.saturating_mul(2).min(self.most);
            self.settled = 0;
        }
        grows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_were_requeued_often_are_taken_alone() {
        let mut caution = Caution::new(256);
        let mut after = |times| (caution.starts(times), caution.prefetch());
        assert_eq!([0, 2, 3, 1000].map(&mut after), [(false, 256), (false, 256), (true, 1), (true, 1)]);
    }

    #[test]
    fn success_brings_the_whole_number_back() {
        let mut caution = Caution::new(10);
        caution.starts(20);
        let mut numbers = Vec::new();
        for _ in 0..17 {
            caution.settled(1);
            if caution.grows(0) {
                numbers.push(caution.prefetch());
            }
        }
        assert_eq!(numbers, [2, 4, 8, 10][..numbers.len()]);
        assert_eq!(numbers.last(), Some(&10));
        caution.settled(100);
        assert!(!caution.grows(100));
    }

    #[test]
    fn messages_that_wait_keep_no_others_from_being_taken() {
        let mut caution = Caution::new(10);
        caution.starts(3);
        assert!(!caution.grows(0) && caution.grows(1) && !caution.grows(1));
        assert!(caution.grows(3) && caution.prefetch() == 4);
    }
}
