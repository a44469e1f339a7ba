//! The lines that `task-creator check` prints: one for each thing it looked at, as soon as it has looked.
//!
//! It knows nothing of what is checked. No line holds a secret, and none breaks into two.

use std::fmt::Display;

use crate::{logging, terminal};

/// What was found so far.
#[derive(Debug, Default)]
pub struct Report {
    failed: bool,
}

impl Report {
    /// It is as it should be.
    pub fn ok(&mut self, found: impl Display) {
        line("ok", found);
    }

    /// The worker can work, but somebody should know this.
    pub fn warn(&mut self, found: impl Display) {
        line("warn", found);
    }

    /// The worker cannot do its work. The text says what is wrong and what to do.
    pub fn fail(&mut self, found: impl Display) {
        self.failed = true;
        line("FAIL", found);
    }

    /// It is switched off, or out of sight by choice, so there is nothing to look at.
    pub fn off(&mut self, found: impl Display) {
        line("off", found);
    }

    /// It was missing, and is there now.
    pub fn made(&mut self, found: impl Display) {
        line("made", found);
    }

    /// Has anything failed?
    pub fn failed(&self) -> bool {
        self.failed
    }
}

fn line(verdict: &str, found: impl Display) {
    let found = logging::clean(&found.to_string());
    terminal::say(&format!("{verdict:<4}  {found}"));
}
