//! The demo's output: a table redrawn in place on a terminal that can do that, elsewhere a line for each event.
//!
//! It knows no task and no queue. A closed stdout does not stop the demo.

use std::io;

use crate::terminal;

/// The width if the output is no terminal.
pub const USUAL_WIDTH: usize = 80;

/// The screen.
pub struct Screen {
    /// In characters.
    pub width: usize,
    /// How many lines of the table are on the screen now; `None` if it is not redrawn in place.
    table: Option<usize>,
}

impl Screen {
    /// The screen of this process, for a table of so many lines that needs this width.
    pub fn new(table_lines: usize, narrowest: usize) -> Screen {
        let width = terminal::width().unwrap_or(USUAL_WIDTH);
        let Some((height, _)) = terminal::size(io::stdout()) else { return Screen { width, table: None } };
        let capable = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        // The cursor's line is below the table.
        let fits = width >= narrowest && height > table_lines;
        Screen { width, table: (capable && fits).then_some(0) }
    }

    /// Is the table redrawn in place?
    pub fn is_live(&self) -> bool {
        self.table.is_some()
    }

    /// Writes lines that stay.
    pub fn say(&mut self, text: &str) {
        terminal::print(text);
    }

    /// Draws the table over the one on the screen.
    pub fn draw(&mut self, lines: &[String]) {
        let Some(drawn) = &mut self.table else { return };
        // No wrapping: a line stays one line when the window is made narrower. One write: nothing flickers, and
        // wrapping is on again even if we are killed.
        let mut frame = String::from("\x1b[?7l\r");
        if *drawn > 0 {
            frame.push_str(&format!("\x1b[{drawn}A"));
        }
        lines.iter().for_each(|line| frame.push_str(&format!("{line}\x1b[K\n")));
        frame.push_str("\x1b[J\x1b[?7h");
        *drawn = lines.len();
        terminal::print(&frame);
    }
}
