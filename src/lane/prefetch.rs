//! How many unsettled deliveries a session may have: as many as the setting allows, and fewer when they are large, so
//! that they are bounded in bytes too. Pure; it knows nothing of messages but their size.

use crate::rabbitmq::consumer::{FIRST, MOST_BYTES, Unsettled};

/// The weight of one more delivery in the mean size.
const WEIGHT: f64 = 1.0 / 16.0;

/// How many deliveries fit.
#[derive(Debug)]
pub(super) struct Prefetch {
    most: u16,
    now: u16,
    /// The mean size of the last deliveries, in bytes.
    mean_size: Option<f64>,
}

impl Prefetch {
    /// Starts with a few, until their size is known, and then goes up to `most`.
    pub(super) fn new(most: u16) -> Prefetch {
        Prefetch { most, now: most.min(FIRST), mean_size: None }
    }

    /// From now on up to `most`.
    pub(super) fn allow(&mut self, most: u16) {
        self.most = most;
    }

    /// The present number.
    pub(super) fn now(&self) -> u16 {
        self.now
    }

    /// A delivery of this size has come.
    pub(super) fn note(&mut self, size: usize) {
        let size = size as f64;
        self.mean_size = Some(self.mean_size.map_or(size, |mean| mean + WEIGHT * (size - mean)));
    }

    /// The new number, if it is to change: fewer when too many bytes are unsettled; more when twice as many fit and all
    /// that are allowed have come.
    pub(super) fn change(&mut self, unsettled: Unsettled) -> Option<u16> {
        let fitting = (MOST_BYTES as f64 / self.mean_size?.max(1.0)) as u16;
        let fitting = fitting.clamp(1, self.most);
        let is_time = match fitting > self.now {
            true => {
                let full = unsettled.count >= self.now.into() && unsettled.bytes <= MOST_BYTES / 2;
                full && (fitting == self.most || fitting / 2 >= self.now)
            }
            false => unsettled.bytes > MOST_BYTES && fitting < self.now,
        };
        is_time.then(|| {
            log::debug!("up to {fitting} deliveries at a time from now on, {} before", self.now);
            self.now = fitting;
            fitting
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsettled(count: usize, bytes: usize) -> Unsettled {
        Unsettled { count, bytes }
    }

    #[test]
    fn the_setting_is_reached_when_deliveries_are_known_to_be_small() {
        let mut prefetch = Prefetch::new(256);
        assert_eq!((prefetch.now(), prefetch.change(unsettled(0, 0))), (8, None));
        prefetch.note(1200);
        assert_eq!(prefetch.change(unsettled(1, 1200)), None);
        assert_eq!((prefetch.change(unsettled(8, 9600)), prefetch.now()), (Some(256), 256));
        assert_eq!(prefetch.change(unsettled(256, 307_200)), None);
        assert_eq!((Prefetch::new(5).now(), Prefetch::new(1).now()), (5, 1));
    }

    #[test]
    fn fewer_large_deliveries_are_taken_and_more_again_when_they_are_small() {
        let mut prefetch = Prefetch::new(256);
        (0..8).for_each(|_| prefetch.note(4 << 20));
        assert_eq!(prefetch.change(unsettled(8, 32 << 20)), Some(16));
        prefetch.note(4 << 20);
        assert_eq!(prefetch.change(unsettled(16, 68 << 20)), None);
        (0..100).for_each(|_| prefetch.note(1000));
        assert_eq!(prefetch.change(unsettled(16, 40 << 20)), None, "the large ones are still unsettled");
        assert_eq!(prefetch.change(unsettled(16, 20 << 20)), Some(256));
        (0..20).for_each(|_| prefetch.note(11 << 20));
        assert_eq!(prefetch.change(unsettled(256, 20 << 20)), None);
        assert!(
            prefetch.change(unsettled(256, 65 << 20)).is_some_and(|fewer| (5..=9).contains(&fewer)),
            "{prefetch:?}"
        );
    }
}
