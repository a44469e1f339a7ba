//! The last lines of a log that a former run has written, read back. It knows the form of a line.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use chrono::{DateTime, Utc};
use log::Level;

/// How much of the end is read, in bytes.
const MOST_READ: u64 = 512 << 10;

/// A line of the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Its level.
    pub level: Level,
    /// The thread that wrote it.
    pub thread: String,
    /// What it says.
    pub text: String,
}

/// The last lines of `worker.log` in this folder, the oldest first.
///
/// # Errors
/// The file cannot be read.
pub fn last_lines(folder: &Path) -> io::Result<Vec<Line>> {
    let mut file = File::open(folder.join(super::WORKER_LOG))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MOST_READ)))?;
    let mut end = Vec::new();
    // It may grow meanwhile.
    file.take(MOST_READ).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).lines().filter_map(parse).collect())
}

/// `2026-11-28 21:28:03.123+03:00 WARN  [thread] text`; a line that was cut is none.
fn parse(line: &str) -> Option<Line> {
    let mut parts = line.splitn(3, ' ');
    let (day, time, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let at = DateTime::parse_from_str(&format!("{day} {time}"), "%Y-%m-%d %H:%M:%S%.3f%:z").ok()?;
    let (level, rest) = rest.split_once(" [")?;
    let (thread, text) = rest.split_once("] ")?;
    Some(Line { at: at.to_utc(), level: level.trim().parse().ok()?, thread: thread.into(), text: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let written = super::super::line(Level::Warn, "two [words] are here");
        let read = parse(written.trim_end()).expect("it is a line");
        assert_eq!((read.level, &*read.text), (Level::Warn, "two [words] are here"));
        assert!((Utc::now() - read.at).num_seconds() < 60, "{written}");
        for cut in ["", "x", "8 21:28:03.123+03:00 WARN  [a] b", "2026-11-28 21:28:03.123+03:00 WARN", "a b c [d] e"] {
            assert_eq!(parse(cut), None, "{cut}");
        }
    }
}
