//! `task-creator explain`: what the worker would do with a message: the fields with their origins, the unused parts of
//! the message, and every request. Nothing is sent.
//!
//! It reads settings, and opens no socket and no log. Each system itself says what it would do.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::{Arg, Parser};
use serde_json::Value;

use super::arguments::unexpected;
use super::grammar;
use crate::message::{Cause, Task, Unreadable, document};
use crate::queues::Queues;
use crate::redact::{clean, clean_json};
use crate::settings::{Variables, right};
use crate::systems::table::{self, Setup};
use crate::systems::{Configured, Explained, Explanation};
use crate::terminal::{self, say, shortened, tell};

/// The longest value in the list of fields, in characters; the request has all of it.
const LONGEST_VALUE: usize = 60;
/// The widest of the columns before it, in characters.
const WIDEST: usize = 60;

/// The file; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<PathBuf>, lexopt::Error> {
    let mut given = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(path) if given.is_none() && !path.is_empty() => given = Some(PathBuf::from(path)),
            other => return Err(unexpected(&other, &grammar::options("explain", ""))),
        }
    }
    let file = given.ok_or("explain needs a FILE, or - for standard input")?;
    Ok(Some(file))
}

/// Explains the message in `file` (`-`: from standard input); the exit code is 1 when it would be parked, be it from
/// the queue of the default system.
///
/// # Errors
/// The message cannot be read, or a setting that counts is wrong.
pub fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let environment = &super::environment()?;
    let body = terminal::read(file)?;
    // Nothing is connected, so wrong settings of a connection do not matter. The system's own are checked below.
    let (setup, _) = Variables::of(environment, Setup::from_variables);
    setup.hide_secrets();
    let config = &setup.config;
    let task = match Task::parse(body) {
        Ok(task) => task,
        Err(Unreadable { reason, .. }) => {
            let (queue, cause) = (&config.error_queue, Cause::InvalidMessage.name());
            tell(&clean(&format!("it would be parked in {queue} as {cause}: {reason}")), 0);
            return Ok(ExitCode::FAILURE);
        }
    };
    let body = document::read(task.body.get().as_bytes()).unwrap_or_default();
    let entry = table::entry_of(&task);
    let configured = right(Variables::of(environment, entry.open_without_target))?;
    let queue = Queues::of(entry.name, config).input;
    tell_task(&task, &queue);
    if let Some(why) = setup.why_off(entry.name) {
        say("");
        tell(&format!("{} is off ({why}): {}", entry.name, left(&setup, &queue)), 0);
    }
    let parked = parked_by_default(&setup, &task);
    if let Some(parked) = &parked {
        say("");
        tell(&clean(parked), 0);
    }
    let is_on = setup.why_off(entry.name).is_none();
    let mut is_parked = parked.is_some();
    if let Configured::On(system) = configured {
        let explanation = system.explain(&task);
        tell_all(&task, &body, &explanation);
        is_parked |= is_on && !explanation.parked.is_empty();
    }
    Ok(if is_parked { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// That the default system would park the message, and why, if it would.
fn parked_by_default(setup: &Setup, task: &Task) -> Option<String> {
    let (default, why) = setup.left_to_default(task)?;
    let (cause, queue) =
        (default.parks(task, &setup.routes())?.name(), Queues::of(table::DEFAULT, &setup.config).input);
    Some(format!("in {queue} it would be parked in {} as {cause}: {why}", setup.config.error_queue))
}

/// Where the message is left whose system is off, and where it is not.
fn left(setup: &Setup, queue: &str) -> String {
    let default = Queues::of(table::DEFAULT, &setup.config).input;
    let there = match setup.why_off(table::DEFAULT) {
        Some(_) if queue != default => format!("{queue} and {default}"),
        _ => queue.to_owned(),
    };
    format!("the message is left in {there}; a system that is on works on it in its own queue")
}

fn tell_task(task: &Task, queue: &str) {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let rows = [
        ("task", task.id.clone()),
        ("topic", Some(task.topic.clone()).filter(|topic| !topic.is_empty()).unwrap_or_else(|| "-".into())),
        ("queue", queue.to_owned()),
        ("process", or_none(&task.process_definition_key)),
        ("instance", or_none(&task.process_instance_id)),
    ];
    rows.iter().for_each(|(name, value)| tell(&format!("{name:<8}  {}", clean(value)), 10));
}

fn tell_all(task: &Task, body: &Value, Explanation { values, parked, notes, requests }: &Explanation) {
    say("");
    tell_values(values);
    let used: HashSet<&str> = values.iter().flat_map(|value| &value.origin).map(String::as_str).collect();
    let parked = parked.iter().map(|why| format!("note: it would be parked: {why}"));
    let notes = parked.chain(notes.iter().map(|note| format!("note: {note}")));
    let unused = unused(task, body, &used).into_iter().map(|place| format!("not used: {place}"));
    let lines: Vec<String> = notes.chain(unused).collect();
    if !lines.is_empty() {
        say("");
    }
    lines.iter().for_each(|line| tell(&clean(line), 2));
    for (number, request) in requests.iter().enumerate() {
        tell(&format!("\n{}. {}: {}", number + 1, clean(&request.method), clean(&request.when)), 3);
        if !request.body.is_empty() {
            say(&document::indented(&clean_json(&request.body)));
        }
    }
}

fn tell_values(values: &[Explained]) {
    let row = |Explained { name, value, origin }: &Explained| {
        [clean(name), clean(&origin.join(", ")), shortened(&clean_json(&value.to_string()), LONGEST_VALUE)]
    };
    let heading = ["FIELD", "FROM", "VALUE"].map(str::to_owned);
    let rows: Vec<[String; 3]> = [heading].into_iter().chain(values.iter().map(row)).collect();
    // A name in a message may be longer than any line.
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count().min(WIDEST)).max().unwrap_or(0);
    let (names, origins) = (width(0), width(1));
    let values = rows.iter().map(|[_, _, value]| value.chars().count()).max().unwrap_or(0);
    let narrow = terminal::width().is_some_and(|width| width < names + origins + values + 4);
    for (number, [name, origin, value]) in rows.iter().enumerate() {
        match narrow {
            false => say(&format!("{name:<names$}  {origin:<origins$}  {value}")),
            // The origin is below the value, so it needs no heading.
            true if number == 0 => say(&format!("{name:<names$}  {value}")),
            true => {
                tell(&format!("{name:<names$}  {value}"), names + 2);
                tell(&format!("{:names$}  from {origin}", ""), names + 2);
            }
        }
    }
}

/// Places in the message that no value came from.
fn unused(task: &Task, body: &Value, used: &HashSet<&str>) -> Vec<String> {
    let metadata = &body["metadata"];
    let parts = [
        ("variables", Some(&task.variables)),
        ("metadata.extensionProperties", Some(&task.extension_properties)),
        ("metadata.processProperties", Some(&task.process_properties)),
        ("metadata.inputParameters", metadata["inputParameters"].as_object()),
        ("metadata.outputParameters", metadata["outputParameters"].as_object()),
        ("metadata.fieldInjections", metadata["fieldInjections"].as_object()),
    ];
    let members = parts.into_iter().flat_map(|(part, members)| {
        let members = members.into_iter().flatten();
        members.map(move |(name, value)| match name.as_str() {
            "" => (format!("{part}.\"\""), value),
            name => (format!("{part}.{name}"), value),
        })
    });
    let activity = metadata["activityInfo"].get("name").map(|name| ("metadata.activityInfo.name".to_owned(), name));
    let unused = members.chain(activity).filter(|(place, _)| !used.contains(place.as_str()));
    unused.map(|(place, value)| place + blank(value)).collect()
}

/// Why a value says nothing.
fn blank(value: &Value) -> &'static str {
    match value {
        Value::Null => " (null)",
        Value::String(text) if text.trim().is_empty() => " (blank)",
        _ => "",
    }
}
