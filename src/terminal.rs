//! Where the commands meet the terminal: what they print, what they complain of, and the messages they are given.
//!
//! It knows nothing of what is said. A reader that has seen enough is a normal end. The log is elsewhere.

use std::fs;
use std::io::{Read as _, Write as _, stderr, stdin, stdout};
use std::path::Path;

use anyhow::Context as _;

/// The exit code of a command that Ctrl+C has cut short, as shells report it: 128 and the number of SIGINT.
pub const INTERRUPTED: u8 = 130;

/// Prints a line, or what consists of lines.
pub fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// Says on stderr what is wrong.
pub fn complain(text: &str) {
    let _ = writeln!(stderr(), "task-creator: {text}");
}

/// The beginning of a text that is longer than so many characters.
pub fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What is in `file`, `-` for standard input.
///
/// # Errors
/// It cannot be read.
pub fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let read = match file == Path::new("-") {
        true => stdin().read_to_end(&mut body).map(|_| body),
        false => fs::read(file),
    };
    read.with_context(|| format!("reading {}", file.display()))
}
