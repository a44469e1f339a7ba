//! Where the demo speaks: a table redrawn in place on a terminal that can do that, a line for each event everywhere
//! else.
//!
//! Knows no task and no queue. A reader that has seen enough, or a closed stdout, is no reason to stop.

use std::io;

use crate::terminal;

/// A terminal narrower than this shows lines: the table would be more dots than words.
pub const NARROWEST: usize = 60;
/// Where the output is no terminal.
const USUAL_WIDTH: usize = 80;

/// The screen.
pub struct Screen {
    /// In characters.
    pub width: usize,
    /// Whether the table is redrawn in place, and how many lines of it stand there now.
    table: Option<usize>,
}

impl Screen {
    /// The screen of this process, for a table of so many lines.
    pub fn new(table_lines: usize) -> Screen {
        let width = terminal::width().unwrap_or(USUAL_WIDTH);
        let Some((height, _)) = terminal::size(io::stdout()) else { return Screen { width, table: None } };
        let capable = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        // The line of the cursor comes below the table.
        let fits = width >= NARROWEST && height > table_lines;
        Screen { width, table: (capable && fits).then_some(0) }
    }

    /// Is there a table?
    pub fn is_live(&self) -> bool {
        self.table.is_some()
    }

    /// Writes lines that stay.
    pub fn say(&mut self, text: &str) {
        terminal::print(text);
    }

    /// Draws the table over the one that stands there.
    pub fn draw(&mut self, lines: &[String]) {
        let Some(standing) = &mut self.table else { return };
        // Without wrapping, so that a line stays a line when the window is made narrower; one write, so that it does
        // not flicker and leaves the terminal as it was even if we are killed.
        let mut frame = String::from("\x1b[?7l\r");
        if *standing > 0 {
            frame.push_str(&format!("\x1b[{standing}A"));
        }
        lines.iter().for_each(|line| frame.push_str(&format!("{line}\x1b[K\n")));
        frame.push_str("\x1b[J\x1b[?7h");
        *standing = lines.len();
        terminal::print(&frame);
    }
}
