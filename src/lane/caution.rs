//! How many deliveries a lane has in hand: few of what was given back again and again, since whoever had it may have died
//! over one of them, and a quorum queue deletes what it has counted too often. More again with success. Pure.
//!
//! The queue's own count is all that is asked. It outlives a process that aborts, and where a queue does not count, nothing
//! wears out.

/// So often anything may be given back: a stop, a lost connection.
const INNOCENT: u32 = 2;
/// From here on it is one at a time; a quorum queue of RabbitMQ 4 deletes at the 21st.
const ONE_BY_ONE: u32 = 10;

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

    /// A session begins, and what it will get first was given back so often.
    pub fn begins(&mut self, times_returned: u32) {
        self.now = match times_returned {
            ONE_BY_ONE.. => 1,
            times => (self.most >> times.saturating_sub(INNOCENT)).max(1),
        };
        self.settled = 0;
    }

    /// So many deliveries are acknowledged.
    pub fn settled(&mut self, deliveries: usize) {
        self.settled += deliveries;
    }

    /// Whether to take twice as many from now on: all that may be in hand was settled.
    pub fn grows(&mut self) -> bool {
        let grows = self.now < self.most && self.settled >= usize::from(self.now);
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
    fn what_was_given_back_often_is_taken_in_small_numbers() {
        let mut caution = Caution::new(256);
        let mut after = |times| {
            caution.begins(times);
            caution.prefetch()
        };
        assert_eq!([0, 1, 2, 3, 4, 9, 10, 15, 1000].map(&mut after), [256, 256, 256, 128, 64, 2, 1, 1, 1]);
        let mut large = Caution::new(65_535);
        large.begins(10);
        assert_eq!(large.prefetch(), 1);
    }

    #[test]
    fn success_brings_the_whole_number_back() {
        let mut caution = Caution::new(10);
        caution.begins(20);
        let mut numbers = Vec::new();
        for _ in 0..17 {
            caution.settled(1);
            if caution.grows() {
                numbers.push(caution.prefetch());
            }
        }
        assert_eq!(numbers, [2, 4, 8, 10][..numbers.len()]);
        assert_eq!(numbers.last(), Some(&10));
        caution.settled(100);
        assert!(!caution.grows());
    }
}
