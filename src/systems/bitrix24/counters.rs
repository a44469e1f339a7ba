//! The counters that only Bitrix24 has, for the statistics line of its lane. Counting decides nothing.

use std::sync::Arc;

use crate::stats::{Counter, Declared};

/// What followed the creates since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Processes synchronised.
    pub synced: Arc<Counter>,
    /// Synchronisations that failed.
    pub unsynced: Arc<Counter>,
    /// Checklists and items of checklists that could not be added.
    pub missing_parts: Arc<Counter>,
}

impl Counters {
    /// The same, under their names.
    pub fn declared(&self) -> Vec<Declared> {
        let Counters { synced, unsynced, missing_parts } = self;
        vec![
            Declared::Count("sync_requests_sent", Arc::clone(synced)),
            Declared::Count("sync_requests_failed", Arc::clone(unsynced)),
            Declared::Rate("sync_success_rate", Arc::clone(synced), Arc::clone(unsynced)),
            Declared::Count("missing_parts", Arc::clone(missing_parts)),
        ]
    }
}
