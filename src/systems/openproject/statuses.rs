//! Which states are closed, read once and kept; read again when one turns up that is not known.

use std::collections::HashMap;

use super::client::{Call, Client};
use super::errors::ApiError;
use super::look_up::rows;

/// Reads the states.
pub fn list() -> Call {
    Call::get("/statuses")
}

/// The states that are known.
#[derive(Default)]
pub struct Statuses(HashMap<u64, bool>);

impl Statuses {
    /// Reads them if one of these is not known.
    ///
    /// # Errors
    /// OpenProject does not tell them.
    pub fn learn(&mut self, client: &Client, needed: impl Iterator<Item = u64>) -> Result<(), ApiError> {
        let mut needed = needed;
        if !needed.any(|id| !self.0.contains_key(&id)) {
            return Ok(());
        }
        let reply = client.call(&list())?;
        let rows = rows(&reply).ok_or_else(|| ApiError::unclear("GET statuses: the reply has no list"))?;
        self.0 = rows.iter().filter_map(|row| Some((row["id"].as_u64()?, row["isClosed"] == true))).collect();
        Ok(())
    }

    /// Is a work package in this state closed? `None`: there is no such state.
    pub fn is_closed(&self, id: u64) -> Option<bool> {
        self.0.get(&id).copied()
    }
}
