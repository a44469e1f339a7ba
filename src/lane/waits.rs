//! Until when a task is to be left alone, because an earlier create of it may yet show at the target.
//!
//! A wait outlives the sessions with RabbitMQ, and goes on while the message is in a queue: every copy of the message
//! waits until the same time. The time is monotonic, so no change of the clock shortens it. It does not know what a
//! task is.

use std::collections::HashMap;
use std::time::Instant;

/// No more tasks can fail within the longest wait: the lane pauses before.
const MOST: usize = 100_000;

/// A wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When it ends.
    pub until: Instant,
    /// A look-up before the wait has found nothing, so the next one decides.
    pub decides: bool,
}

/// The waits of a lane that are not over.
#[derive(Debug, Default)]
pub struct Waits(HashMap<String, Wait>);

impl Waits {
    /// The task with this id waits. When there are too many, waits that are over are removed.
    pub fn add(&mut self, id: &str, wait: Wait, now: Instant) {
        if self.0.len() >= MOST {
            self.0.retain(|_, known| known.until > now);
        }
        if self.0.len() < MOST {
            self.0.insert(id.to_owned(), wait);
        }
    }

    /// The wait of this task, if it is not over.
    pub fn of(&self, id: &str, now: Instant) -> Option<Wait> {
        self.0.get(id).copied().filter(|wait| wait.until > now)
    }

    /// What became of the task is known.
    pub fn forget(&mut self, id: &str) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wait_is_known_until_it_is_over_or_forgotten() {
        let (mut waits, now) = (Waits::default(), Instant::now());
        let wait = Wait { until: now + Duration::from_secs(5), decides: false };
        ["a", "b"].iter().for_each(|id| waits.add(id, wait, now));
        waits.forget("b");
        assert_eq!((waits.of("a", now), waits.of("b", now), waits.of("a", wait.until)), (Some(wait), None, None));
    }

    #[test]
    fn waits_that_are_over_make_room() {
        let (mut waits, now) = (Waits::default(), Instant::now());
        let over = now + Duration::from_secs(5);
        (0..MOST).for_each(|number| waits.add(&number.to_string(), Wait { until: over, decides: false }, now));
        let next = Wait { until: over + Duration::from_secs(5), decides: true };
        waits.add("next", next, now);
        assert_eq!(waits.of("next", now), None);
        waits.add("next", next, over);
        assert_eq!((waits.of("next", over), waits.0.len()), (Some(next), 1));
    }
}
