//! The text of parked messages: a line each, groups, or one in full.
//!
//! It knows no queue. Lines for people have local time and are safe for a terminal; lines for scripts are JSON.

use chrono::{DateTime, Local, Utc};
use serde_json::json;

use crate::message::document;
use crate::parked::entry::{ParkedEntry, iso};
use crate::parked::groups::{Group, Groups};
use crate::redact::{clean, clean_in_full};
use crate::terminal::{shortened, wrapped};

/// The longest error text in a list, in characters; `show` has all of it.
const LONGEST_ERROR: usize = 100;

/// From this width on all columns are on one line. A narrower terminal shows the error below the id.
const WIDE: usize = 120;
/// Where the text on the second line starts.
const BELOW: usize = 21;
const BELOW_A_COUNT: usize = 8;

/// The width of the names of rows.
const NAMES: usize = 12;

/// The heading of a list, for lines of this width.
pub fn heading(width: Option<usize>) -> &'static str {
    match is_wide(width) {
        true => "PARKED               CAUSE                 SYSTEM    ID                                    ERROR",
        false => "PARKED               CAUSE                 ID\n                     SYSTEM: ERROR",
    }
}

/// An entry of a list: one line, or more on a narrow terminal.
pub fn line(entry: &ParkedEntry, width: Option<usize>) -> String {
    let about = &entry.about;
    let or_none = |text: &Option<String>| clean(text.as_deref().unwrap_or("-"));
    let (parked_at, cause, system) = (local(about.parked_at), or_none(&about.error_type), or_none(&about.system));
    let (id, error) = (clean(&entry.id), shortened(&error(entry), LONGEST_ERROR));
    match width.filter(|_| !is_wide(width)) {
        None => format!("{parked_at:<19}  {cause:<20}  {system:<8}  {id:<36}  {error}"),
        Some(width) => {
            let row = format!("{parked_at:<19}  {cause:<20}  {id}");
            format!("{}\n{}", wrapped(&row, width, BELOW), below(&format!("{system}: {error}"), width, BELOW))
        }
    }
}

/// A pipe or a file has no width and counts as wide.
fn is_wide(width: Option<usize>) -> bool {
    width.is_none_or(|width| width >= WIDE)
}

fn below(text: &str, width: usize, indent: usize) -> String {
    wrapped(&format!("{:indent$}{text}", ""), width, indent)
}

/// In local time, for people.
fn local(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(|| "-".into(), |time| time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string())
}

fn error(entry: &ParkedEntry) -> String {
    match (&entry.original, &entry.about.error_message) {
        (None, _) => format!("not a parked message ({} bytes)", entry.body.len()),
        (Some(_), Some(error)) => clean(error),
        (Some(_), None) => "-".into(),
    }
}

/// Everything about an entry, for people. `fate`: what a replay would do with it. The lines of the message itself are
/// not broken.
pub fn in_full(entry: &ParkedEntry, fate: &str, width: Option<usize>) -> String {
    let fitted = |row: String| width.map_or_else(|| row.clone(), |width| wrapped(&row, width, NAMES + 2));
    let about = &entry.about;
    let parked_at = Some(local(about.parked_at));
    let rows = [
        ("id", &Some(entry.id.clone())),
        ("parked", &parked_at),
        ("cause", &about.error_type),
        ("error", &about.error_message),
        ("system", &about.system),
        ("source queue", &about.source_queue),
        ("attempts", &about.attempts),
        ("what to do", &about.suggested_action),
        ("replay", &Some(fate.to_owned())),
    ];
    let rows = rows.iter().map(|(name, value)| {
        let value = value.as_deref().map_or_else(|| "-".to_owned(), clean_in_full);
        fitted(format!("{name:<NAMES$}  {value}")) + "\n"
    });
    let mut text: String = rows.collect();
    for (name, value) in entry.headers.iter() {
        text += &fitted(clean_in_full(&format!("{:<NAMES$}  {name} = {value:?}", "header")));
        text.push('\n');
    }
    text += &format!("the message ({} bytes):\n{}", entry.body.len(), laid_out(&entry.body));
    let wrapped = entry.original.as_deref().filter(|original| document::read(original).is_err());
    if let Some(original) = wrapped.filter(|original| *original != entry.body) {
        text += &format!("what was parked ({} bytes):\n{}", original.len(), laid_out(original));
    }
    text
}

/// JSON indented, anything else as it is; each line is safe for a terminal.
fn laid_out(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = if document::read(body).is_ok() { document::indented(&text) } else { text.into_owned() };
    text.lines().map(|line| format!("{}\n", clean_in_full(line))).collect()
}

/// Cause, system, and the error without numbers and ids.
pub type Key = (Option<String>, Option<String>, String);

/// By what an entry is counted.
pub fn key(entry: &ParkedEntry) -> Key {
    let error = match (&entry.original, &entry.about.error_message) {
        (None, _) => "not a parked message".into(),
        (Some(_), error) => normalised(error.as_deref().unwrap_or("-")),
    };
    (entry.about.error_type.clone(), entry.about.system.clone(), error)
}

/// A line for each group, the largest first.
pub fn of_groups(groups: Groups<Key>, json: bool, width: Option<usize>) -> Vec<String> {
    let line = |(key, group)| if json { for_scripts(key, group) } else { for_people(key, group, width) };
    groups.largest_first().into_iter().map(line).collect()
}

/// The heading of the groups, for lines of this width.
pub fn groups_heading(width: Option<usize>) -> &'static str {
    match is_wide(width) {
        true => {
            "COUNT   OLDEST               NEWEST               CAUSE                 SYSTEM    ERROR, AND AN EXAMPLE"
        }
        false => "COUNT   OLDEST               NEWEST               CAUSE\n        SYSTEM: ERROR, AND AN EXAMPLE",
    }
}

fn for_people((cause, system, error): Key, group: Group, width: Option<usize>) -> String {
    let or_none = |text: Option<String>| clean(text.as_deref().unwrap_or("-"));
    let (oldest, newest) = (local(group.oldest), local(group.newest));
    let row = format!("{:<6}  {oldest:<19}  {newest:<19}  {:<20}", group.count, or_none(cause));
    let system = or_none(system);
    let error = format!("{}, such as {}", shortened(&clean(&error), LONGEST_ERROR), clean(&group.example));
    match width.filter(|_| !is_wide(width)) {
        None => format!("{row}  {system:<8}  {error}"),
        Some(width) => {
            let row = wrapped(row.trim_end(), width, BELOW_A_COUNT);
            format!("{row}\n{}", below(&format!("{system}: {error}"), width, BELOW_A_COUNT))
        }
    }
}

fn for_scripts((cause, system, error): Key, group: Group) -> String {
    let Group { count, oldest, newest, example, .. } = group;
    let line = json!({
        "count": count, "error_type": cause, "system": system, "error": error,
        "oldest": oldest.map(iso), "newest": newest.map(iso), "example": example,
    });
    line.to_string()
}

/// The text without numbers and ids: `#` for each word with a digit in it. The status of an answer stays: it says what
/// kind of error it was.
fn normalised(error: &str) -> String {
    let is_word = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_');
    let mut out = String::new();
    let (mut rest, mut before) = (error, "");
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|character| is_word(character) != is_word(first)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        let hidden = is_word(first) && piece.contains(|c: char| c.is_numeric()) && before != "status";
        out += if hidden { "#" } else { piece };
        before = if is_word(first) { piece } else { before };
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::normalised;

    #[test]
    fn errors_that_differ_in_numbers_and_ids_are_the_same_error() {
        let of =
            |user: u32| format!("tasks.task.add: http status 400: ERROR_CORE: user {user} is not there (0e2e-{user}a)");
        assert_eq!(normalised(&of(17)), normalised(&of(4711)));
        assert_eq!(normalised(&of(1)), "tasks.task.add: http status 400: ERROR_CORE: user # is not there (#)");
        assert_ne!(normalised("http status 500"), normalised("http status 400"));
        assert_eq!(normalised("пользователь №15 — «Ёлка2»"), "пользователь №# — «#»");
        assert_eq!(normalised(""), "");
    }
}
