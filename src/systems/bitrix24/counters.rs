//! The numbers that only Bitrix24 has, for the statistics of its lane. Counting decides nothing.

use std::sync::Arc;

use super::client::Client;
use crate::stats::{Counter, Declared, REQUEST_BUDGET};

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
            Declared::count("sync_requests_sent", "Processes synchronised.", synced),
            Declared::count("sync_requests_failed", "Synchronisations that failed.", unsynced),
            Declared::rate("sync_success_rate", synced, unsynced),
            Declared::count(
                "missing_parts",
                "Checklists and items of checklists that could not be added.",
                missing_parts,
            ),
        ]
    }
}

/// What the client of the portal tells of its requests.
pub fn of_client(client: &Arc<Client>) -> Vec<Declared> {
    let shared = || Arc::clone(client);
    let mut declared = vec![Declared::requests(client.requests())];
    if client.is_limited() {
        let help = "The share of the request budget that is left; at 0 each request waits.";
        let limited = shared();
        declared.push(Declared::gauge(REQUEST_BUDGET, help, move || limited.budget_left().unwrap_or(1.0)));
    }
    let help = "How long a method of the portal must not be called yet; 0: it may be.";
    let cooling = shared();
    declared.push(Declared::gauges("cool_down_seconds", help, "method", move || {
        cooling.cool_downs().into_iter().map(|(method, rest)| (method, rest.as_secs_f64())).collect()
    }));
    let help = "How many requests to the portal may be under way at once, as far as is found out.";
    let searching = shared();
    declared.push(Declared::gauge("concurrent_requests", help, move || searching.concurrency() as f64));
    declared
}
