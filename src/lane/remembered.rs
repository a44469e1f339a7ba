//! Ids, each with a value, of which the oldest is forgotten when there are too many, so that memory is bounded by a
//! number and not by time.
//!
//! It keeps a hash of 128 bits instead of the text of an id. Texts would be small allocations that stay between large
//! ones that are freed, and each would keep about a kilobyte of memory from being reused.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

/// The ids.
#[derive(Debug)]
pub struct Remembered<V = ()> {
    ids: HashMap<u128, V>,
    by_age: VecDeque<u128>,
    most: usize,
    /// Each makes one half of the hash.
    hashers: [RandomState; 2],
}

impl<V> Remembered<V> {
    /// None yet, and at most `most`.
    pub fn new(most: usize) -> Remembered<V> {
        let hashers = [RandomState::new(), RandomState::new()];
        Remembered { ids: HashMap::new(), by_age: VecDeque::new(), most, hashers }
    }

    /// Adds an id, or gives it another value.
    pub fn add(&mut self, id: &str, value: V) {
        let id = self.bits(id);
        if self.ids.insert(id, value).is_none() {
            self.by_age.push_back(id);
            if self.by_age.len() > self.most
                && let Some(oldest) = self.by_age.pop_front()
            {
                self.ids.remove(&oldest);
            }
        }
    }

    /// Forgets an id.
    pub fn remove(&mut self, id: &str) {
        let id = self.bits(id);
        if self.ids.remove(&id).is_some() {
            self.by_age.retain(|known| *known != id);
        }
    }

    /// Is the id remembered?
    pub fn contains(&self, id: &str) -> bool {
        self.get(id).is_some()
    }

    /// The value of this id.
    pub fn get(&self, id: &str) -> Option<&V> {
        self.ids.get(&self.bits(id))
    }

    fn bits(&self, id: &str) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(id)));
        high << 64 | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_id_is_forgotten_when_the_set_is_full() {
        let mut remembered = Remembered::new(2);
        ["a", "b", "a", "c"].into_iter().for_each(|id| remembered.add(id, ()));
        assert!(!remembered.contains("a") && remembered.contains("b") && remembered.contains("c"));
        remembered.remove("b");
        ["d", "b"].into_iter().for_each(|id| remembered.add(id, ()));
        assert!(!remembered.contains("c") && remembered.contains("d") && remembered.contains("b"));
    }

    #[test]
    fn every_id_is_known_and_no_other() {
        let mut remembered = Remembered::new(20_000);
        (0..20_000).for_each(|number| remembered.add(&format!("task-{number}"), number));
        assert!((0..20_000).all(|number| remembered.get(&format!("task-{number}")) == Some(&number)));
        assert!(!(20_000..40_000).any(|number| remembered.contains(&format!("task-{number}"))));
    }
}
