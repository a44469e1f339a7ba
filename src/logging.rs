//! Where log lines go, and what they look like: `worker.log`, `worker_errors.log` and the terminal.
//!
//! One event is one line, whatever a message contains, and no line holds a secret. Which lines there are is decided where
//! the events are.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::{panic, thread};

use anyhow::anyhow;
use flexi_logger::writers::FileLogWriter;
use flexi_logger::{
    Cleanup, Criterion, DeferredNow, Duplicate, FileSpec, FlexiLoggerError, LogSpecification, Logger, LoggerHandle,
    Naming,
};
use log::{LevelFilter, Record};
use nix::unistd::{AccessFlags, access};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::Config;

/// When a file has this size, in bytes, it is renamed and a new one is begun.
const LARGEST_FILE: u64 = 10_000_000;
/// Renamed files that are kept, of each of the two logs.
const KEPT_FILES: usize = 10;
/// Longer lines are cut, in bytes: an error text may hold a whole page.
const LONGEST_LINE: usize = 4_000;
/// A shorter secret is left alone: it would blacken half of every line.
const SHORTEST_SECRET: usize = 4;

/// The values that no line may hold. Set once, since flexi_logger takes a plain function as a format.
static SECRETS: OnceLock<Vec<String>> = OnceLock::new();

/// Starts logging to the files and the terminal; lines are written as long as the result lives.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn start(config: &Config) -> anyhow::Result<LoggerHandle> {
    start_with(config, Duplicate::All)
}

/// The same without the terminal, for a command that has its own to say there.
///
/// # Errors
/// As [`start`].
pub fn start_in_files(config: &Config) -> anyhow::Result<LoggerHandle> {
    start_with(config, Duplicate::None)
}

fn start_with(config: &Config, on_terminal: Duplicate) -> anyhow::Result<LoggerHandle> {
    hide(config.secrets());
    let file = |name: &str| FileSpec::default().directory(&config.log_dir).basename(name).suppress_timestamp();
    // The live file keeps its name; old ones are called after the time when they were renamed.
    let naming = Naming::TimestampsCustomFormat { current_infix: Some(""), format: "%Y%m%d_%H%M%S" };
    let (criterion, cleanup) = (Criterion::Size(LARGEST_FILE), Cleanup::KeepLogFiles(KEPT_FILES));
    // Only the last cause: those before it say once more that it cannot be written.
    let cannot = |err: FlexiLoggerError| {
        let err = anyhow::Error::new(err);
        anyhow!("LOG_DIR={}: cannot write the logs there: {}", config.log_dir.display(), err.root_cause())
    };
    let errors = FileLogWriter::builder(file("worker_errors"))
        .format(line)
        .rotate(criterion, naming, cleanup)
        .append()
        .max_level(LevelFilter::Error)
        .try_build()
        .map_err(cannot)?;
    let handle = Logger::with(levels(config.log_level))
        .log_to_file_and_writer(file("worker"), Box::new(errors))
        .format(line)
        .rotate(criterion, naming, cleanup)
        .append()
        .duplicate_to_stderr(on_terminal)
        // A full disk or a closed terminal costs log lines, not tasks.
        .panic_if_error_channel_is_broken(false)
        .start()
        .map_err(cannot)?;
    log_panics();
    Ok(handle)
}

/// Finds out whether [`start`] could write logs to this folder, and leaves nothing behind there.
///
/// # Errors
/// Why not, and what to do.
pub fn look_at(folder: &Path) -> Result<(), String> {
    let place = |path: &Path| if path.as_os_str().is_empty() { Path::new(".").into() } else { path.to_owned() };
    // A folder that is not there is made at the start, in the nearest one that is.
    let existing = folder.ancestors().map(place).find(|path| path.exists()).unwrap_or_else(|| ".".into());
    if !existing.is_dir() {
        return Err(format!("{} is not a folder; set LOG_DIR to one", existing.display()));
    }
    let logs = ["worker.log", "worker_errors.log"].map(|name| folder.join(name)).into_iter().filter(|log| log.exists());
    let needed = logs.map(|log| (log, AccessFlags::W_OK)).chain([(existing, AccessFlags::W_OK | AccessFlags::X_OK)]);
    needed.into_iter().try_for_each(|(path, how)| {
        let why = |err| format!("{} cannot be written: {err}; correct its owner, or set LOG_DIR", path.display());
        access(&path, how).map_err(why)
    })
}

/// Names what no line, and no text that goes through [`clean`], may hold.
pub fn hide(secrets: Vec<String>) {
    let encoded = secrets.iter().map(|secret| utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string());
    let mut hidden: Vec<String> = encoded.chain(secrets.iter().cloned()).collect();
    hidden.retain(|secret| secret.len() >= SHORTEST_SECRET);
    hidden.sort();
    hidden.dedup();
    let _ = SECRETS.set(hidden);
}

/// Our own lines from `level` on. amiquip writes passwords at DEBUG, and warns of every queue that is not there yet; what
/// goes wrong with it we say ourselves.
fn levels(level: LevelFilter) -> LogSpecification {
    LogSpecification::builder()
        .default(LevelFilter::Warn.min(level))
        .module("amiquip", LevelFilter::Error)
        .module("task_creator", level)
        .build()
}

/// A panic is an error line like any other, instead of several lines on the terminal.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("no text");
        log::error!("panicked at {place}: {what}");
    }));
}

fn line(out: &mut dyn Write, now: &mut DeferredNow, record: &Record) -> io::Result<()> {
    let thread = thread::current();
    write!(
        out,
        "{} {:<5} [{}] {}",
        now.now().format("%Y-%m-%d %H:%M:%S%.3f"),
        record.level(),
        thread.name().unwrap_or("-"),
        clean(&record.args().to_string())
    )
}

/// The text without secrets, on one line, and safe for a terminal.
pub fn clean(text: &str) -> String {
    escaped(&without_secrets(text), LONGEST_LINE)
}

/// The same however long the text is, for what somebody has asked to see in full.
pub fn clean_in_full(text: &str) -> String {
    escaped(&without_secrets(text), usize::MAX)
}

/// JSON without secrets, still JSON with the same meaning, and safe for a terminal. It must be on one line.
pub fn clean_json(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    for character in without_secrets(json).chars() {
        match is_harmful(character) {
            // All of them have four digits at most.
            true => drop(write!(clean, "\\u{:04x}", u32::from(character))),
            false => clean.push(character),
        }
    }
    clean
}

fn without_secrets(text: &str) -> String {
    let secrets = SECRETS.get().map(Vec::as_slice).unwrap_or_default();
    secrets.iter().fold(text.to_owned(), |text, secret| match text.contains(secret) {
        true => text.replace(secret, "***"),
        false => text,
    })
}

fn escaped(text: &str, longest: usize) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if escaped.len() >= longest {
            let _ = write!(escaped, "… ({} bytes in all)", text.len());
            break;
        }
        if is_harmful(character) {
            let _ = write!(escaped, "{}", character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Control characters break lines and speak to terminals; bidirectional ones make a line read differently from what it
/// says.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_one_line_whatever_it_contains() {
        let hostile = "a\r\nb\u{1b}[31mred\u{7}\0\u{202e}c\u{2028}d\u{85}e";
        let clean = escaped(hostile, LONGEST_LINE);
        assert!(!clean.chars().any(is_harmful), "{clean}");
        assert!(clean.contains("\\u{a}") && clean.contains("\\u{1b}"), "{clean}");
        assert_eq!(escaped("«Ёлка» 😀", LONGEST_LINE), "«Ёлка» 😀");
    }

    #[test]
    fn json_for_a_terminal_means_what_it_meant() {
        let value = serde_json::json!({"a": "\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{2028}«Ёлка» 😀\n\\"});
        let clean = clean_json(&value.to_string());
        assert!(!clean.chars().any(is_harmful), "{clean}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&clean).expect("JSON"), value);
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let cut = escaped(&"я".repeat(100_000), LONGEST_LINE);
        assert!(cut.len() < LONGEST_LINE + 100 && cut.ends_with("(200000 bytes in all)"));
    }
}
