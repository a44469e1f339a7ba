//! How many deliveries a lane has in hand: few of what was requeued again and again, since whoever had it may have died
//! over one of them, and a quorum queue deletes what it has counted too often. More again with success. Pure.
//!
//! The queue's own count is all that is asked. It outlives a process that aborts, and where a queue does not count,
//! nothing wears out.

/// So often anything may be requeued: a stop, a lost connection.
const INNOCENT: u32 = 2;

/// How many, of at most the setting's number.
#[derive(Debug)]
pub struct Caution {
    most: u16,
    now: u16,
    /// Settled since there are so many.
    settled: usize,
}

impl Caution {
    /// A lane that may have so many in hand.
    pub fn new(most: u16) -> Caution {
        Caution { most, now: most, settled: 0 }
    }

    /// How many deliveries to take.
    pub fn prefetch(&self) -> u16 {
        self.now
    }

    /// A session starts, and what it will get first was requeued so often. Returns whether that is to be settled alone.
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

    /// Whether to take twice as many from now on: nobody has died over as many as there may be now. They are settled,
    /// or so many wait for a time and nothing is at work.
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
    fn what_was_given_back_often_is_taken_alone() {
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
    fn what_waits_stands_in_nobodys_way() {
        let mut caution = Caution::new(10);
        caution.starts(3);
        assert!(!caution.grows(0) && caution.grows(1) && !caution.grows(1));
        assert!(caution.grows(3) && caution.prefetch() == 4);
    }
}
