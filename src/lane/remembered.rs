//! A set of ids that forgets the oldest when it is full, so that memory is bounded by a number and not by time.

use std::collections::{HashSet, VecDeque};

/// The set.
#[derive(Debug)]
pub struct Remembered {
    ids: HashSet<String>,
    by_age: VecDeque<String>,
    most: usize,
}

impl Remembered {
    /// An empty set of at most `most` ids.
    pub fn new(most: usize) -> Remembered {
        Remembered { ids: HashSet::new(), by_age: VecDeque::new(), most }
    }

    /// Adds an id.
    pub fn add(&mut self, id: &str) {
        if self.ids.insert(id.to_owned()) {
            self.by_age.push_back(id.to_owned());
            if self.by_age.len() > self.most
                && let Some(oldest) = self.by_age.pop_front()
            {
                self.ids.remove(&oldest);
            }
        }
    }

    /// Forgets an id.
    pub fn remove(&mut self, id: &str) {
        if self.ids.remove(id) {
            self.by_age.retain(|known| known != id);
        }
    }

    /// Is the id among the last ones?
    pub fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_id_is_forgotten_when_the_set_is_full() {
        let mut remembered = Remembered::new(2);
        ["a", "b", "a", "c"].into_iter().for_each(|id| remembered.add(id));
        assert!(!remembered.contains("a") && remembered.contains("b") && remembered.contains("c"));
        remembered.remove("b");
        ["d", "b"].into_iter().for_each(|id| remembered.add(id));
        assert!(!remembered.contains("c") && remembered.contains("d") && remembered.contains("b"));
    }
}
