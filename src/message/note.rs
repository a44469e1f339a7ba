//! What a handler notes in a task for the next try of its message, whichever worker makes it. It does not know what the
//! note says.

use std::sync::{Mutex, PoisonError};

/// A note.
#[derive(Debug, Default)]
pub struct Note(
    // The handler has the task to read only.
    Mutex<Option<String>>,
);

impl Note {
    /// A note with this text.
    pub fn new(text: Option<String>) -> Note {
        Note(Mutex::new(text))
    }

    /// What it says.
    pub fn text(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on it says this.
    pub fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}
