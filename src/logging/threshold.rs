//! Which lines of ours there are: from a level on, for a time from another one.
//!
//! No thread waits for the end of that time: the first line after it finds it over, or whoever asks for the level. The
//! monitor, by which alone it is changed, asks every minute.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::LevelFilter;

/// The level of the settings, and another one for a time.
pub struct Threshold {
    usual: LevelFilter,
    changed: Mutex<Option<(LevelFilter, Instant)>>,
}

impl Threshold {
    /// This level, for good.
    pub fn new(usual: LevelFilter) -> Threshold {
        Threshold { usual, changed: Mutex::new(None) }
    }

    /// Another level from now on, for so long.
    pub fn change(&self, level: LevelFilter, lasts: Duration) {
        *self.lock() = Instant::now().checked_add(lasts).map(|until| (level, until));
        self.tell_macros();
    }

    /// The level that counts now.
    pub fn level(&self) -> LevelFilter {
        self.lock().map_or(self.usual, |(level, _)| level)
    }

    /// Goes back to the usual level when the time of the other one is over; returns whether it did.
    pub fn end(&self) -> bool {
        let over = self.lock().take_if(|(_, until)| *until <= Instant::now()).is_some();
        if over {
            self.tell_macros();
        }
        over
    }

    /// The macros of `log` make no line above this level.
    pub fn tell_macros(&self) {
        log::set_max_level(self.level().max(LevelFilter::Error));
    }

    fn lock(&self) -> MutexGuard<'_, Option<(LevelFilter, Instant)>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
