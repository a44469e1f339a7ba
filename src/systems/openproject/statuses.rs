//! Which states are closed. They are read once and kept. They are read again when an unknown one appears, and after a
//! while, since somebody may have closed one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::client::{Call, Client};
use super::errors::ApiError;
use super::look_up::rows;

const KEPT: Duration = Duration::from_secs(600);

/// Reads the states.
pub fn list() -> Call {
    Call::get("/statuses")
}

/// The states that are known.
#[derive(Default)]
pub struct Statuses {
    closed: HashMap<u64, bool>,
    read: Option<Instant>,
}

impl Statuses {
    /// Reads them if one of these is not known, or not for certain any more.
    ///
    /// # Errors
    /// OpenProject does not tell them.
    pub fn learn(&mut self, client: &Client, needed: impl Iterator<Item = u64>) -> Result<(), ApiError> {
        let mut needed = needed.peekable();
        let is_fresh = self.read.is_some_and(|read| read.elapsed() < KEPT);
        if needed.peek().is_none() || (is_fresh && needed.all(|id| self.closed.contains_key(&id))) {
            return Ok(());
        }
        let reply = client.call(&list())?;
        let rows = rows(&reply).ok_or_else(|| ApiError::unclear("GET statuses: the reply has no list"))?;
        self.closed = rows.iter().filter_map(|row| Some((row["id"].as_u64()?, row["isClosed"] == true))).collect();
        self.read = Some(Instant::now());
        Ok(())
    }

    /// Is a work package in this state closed? `None`: there is no such state.
    pub fn is_closed(&self, id: u64) -> Option<bool> {
        self.closed.get(&id).copied()
    }
}
