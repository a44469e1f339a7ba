//! Parked messages counted by what they have in common. It knows no queue and shows nothing.

use std::collections::HashMap;
use std::hash::Hash;

use chrono::{DateTime, Utc};

use super::entry::ParkedEntry;

/// Messages counted by a key.
#[derive(Debug)]
pub struct Groups<K>(HashMap<K, Group>);

/// Messages with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// When the first of them was parked.
    pub oldest: Option<DateTime<Utc>>,
    /// When the last of them was parked.
    pub newest: Option<DateTime<Utc>>,
    /// The id of the first that was read.
    pub example: String,
    /// Its error.
    pub error: Option<String>,
}

impl<K> Default for Groups<K> {
    fn default() -> Groups<K> {
        Groups(HashMap::new())
    }
}

impl<K: Eq + Hash + Ord> Groups<K> {
    /// Counts an entry.
    pub fn add(&mut self, key: K, entry: &ParkedEntry) {
        let at = entry.about.parked_at;
        let group = self.0.entry(key).or_insert_with(|| Group {
            count: 0,
            oldest: at,
            newest: at,
            example: entry.id.clone(),
            error: entry.about.error_message.clone(),
        });
        group.count += 1;
        group.oldest = group.oldest.into_iter().chain(at).min();
        group.newest = group.newest.max(at);
    }

    /// The groups, the largest first.
    pub fn largest_first(self) -> Vec<(K, Group)> {
        let mut groups: Vec<(K, Group)> = self.0.into_iter().collect();
        groups.sort_by(|(a_key, a), (b_key, b)| b.count.cmp(&a.count).then_with(|| a_key.cmp(b_key)));
        groups
    }
}
