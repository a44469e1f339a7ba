//! The lines that `task-creator check` prints: one for each thing, as soon as it is checked.
//!
//! It does not know what is checked. No line holds a secret. A long line is broken at a terminal and nowhere else.

use std::fmt::Display;

use crate::{redact, terminal};

/// The indent of a text's second and later lines, so that `ok`, `warn` and `FAIL` stand alone.
const INDENT: usize = 6;

/// What was found so far.
#[derive(Debug, Default)]
pub struct Report {
    failures: u32,
    warnings: u32,
}

impl Report {
    /// It is as it should be.
    pub fn ok(&mut self, found: impl Display) {
        line("ok", found);
    }

    /// The worker can work, but somebody should know this.
    pub fn warn(&mut self, found: impl Display) {
        self.warnings += 1;
        line("warn", found);
    }

    /// The worker cannot do its work. The text says what is wrong and what to do.
    pub fn fail(&mut self, found: impl Display) {
        self.failures += 1;
        line("FAIL", found);
    }

    /// It is switched off, or this user may not see it, so it is not checked.
    pub fn off(&mut self, found: impl Display) {
        line("off", found);
    }

    /// It was missing, and is there now.
    pub fn made(&mut self, found: impl Display) {
        line("made", found);
    }

    /// Has anything failed?
    pub fn failed(&self) -> bool {
        self.failures > 0
    }

    /// The last line: how much was found.
    pub fn sum_up(&self) {
        let warnings = if self.warnings == 1 { "warning" } else { "warnings" };
        terminal::say(&format!("{} failed, {} {warnings}", self.failures, self.warnings));
    }
}

fn line(result: &str, found: impl Display) {
    let found = redact::clean(&found.to_string());
    terminal::tell(&format!("{result:<4}  {found}"), INDENT);
}
