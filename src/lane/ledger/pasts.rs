//! Since when a task has been in the lane, and why it failed last, for people. It is remembered while the message is on
//! its way through a queue of ours, and through the end of a session, so that the age of a task does not start again.
//!
//! Nothing is decided by it, and it may be forgotten at any time.

use std::collections::HashMap;
use std::time::Instant;

use super::Key;

/// More tasks are not remembered: there are few on such a way at a time.
const MOST: usize = 4096;

/// What is known of a task since it came first.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// When it came first.
    pub(super) since: Option<Instant>,
    /// Why it failed the last time.
    pub(super) error: Option<String>,
}

/// The pasts of tasks whose messages are not here.
#[derive(Debug, Default)]
pub(super) struct Pasts {
    /// Noted in this session.
    newer: HashMap<Key, Past>,
    /// Noted in the one before.
    older: HashMap<Key, Past>,
}

impl Pasts {
    /// The message of this task comes back soon.
    pub(super) fn keep(&mut self, key: &Key, past: &Past) {
        if self.newer.len() < MOST && matches!(key, Key::Task(_)) && past.since.is_some() {
            self.newer.insert(key.clone(), past.clone());
        }
    }

    /// The message of this task is here.
    pub(super) fn take(&mut self, key: &Key) -> Option<Past> {
        self.newer.remove(key).or_else(|| self.older.remove(key))
    }

    /// The session is over. What has not come back for a whole session is with another worker.
    pub(super) fn forget_older(&mut self) {
        self.older = std::mem::take(&mut self.newer);
    }
}
