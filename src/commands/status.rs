//! `task-creator status`: how the running worker is: what needs attention, its lanes, the queues that all share.
//!
//! The numbers are those of the control API, which the page shows too. With `--watch` the picture is drawn again and
//! again.

use std::process::ExitCode;
use std::time::Duration;

use lexopt::{Arg, Parser};
use serde_json::Value;

use super::api::Api;
use super::arguments::unexpected;
use super::grammar;
use super::interrupts::{self, INTERRUPTED};
use crate::redact::{clean, clean_json};
use crate::stats::span;
use crate::terminal::{self, print, say};

const STATUS: &str = "/api/v1/status";
/// Between two pictures.
const REFRESH: Duration = Duration::from_secs(2);
/// Clears the screen and goes to its beginning.
const CLEAR: &str = "\x1b[H\x1b[J";
const HEADINGS: [&str; 9] =
    ["SYSTEM", "STATE", "QUEUED", "TAKEN", "OLDEST", "IN HAND", "RETRYING", "OPEN", "UNANSWERED"];

/// How it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    watch: bool,
    json: bool,
}

/// The options; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("watch") => options.watch = true,
            Arg::Long("json") => options.json = true,
            other => return Err(unexpected(&other, &grammar::options("status", ""))),
        }
    }
    Ok(Some(options))
}

/// Shows it. The exit code is 0 when the worker is ready and nothing needs attention, else 1.
///
/// # Errors
/// No worker answers, or a setting is wrong.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let api = Api::of(&super::settings()?)?;
    if options.watch {
        return watch(&api, options);
    }
    let status = api.get(STATUS)?;
    show(&status, options);
    Ok(ExitCode::from(u8::from(!is_well(&status))))
}

/// Goes on until Ctrl+C, also while no worker answers.
fn watch(api: &Api, options: Options) -> anyhow::Result<ExitCode> {
    let stop = interrupts::stop()?;
    let clears = !options.json && terminal::width().is_some();
    loop {
        let status = api.get(STATUS);
        if clears {
            print(CLEAR);
        }
        match status {
            Ok(status) => show(&status, options),
            Err(err) => super::complain(&format!("{err:#}")),
        }
        if stop.pause(REFRESH) {
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
}

fn show(status: &Value, options: Options) {
    match options.json {
        true => say(&clean_json(&status.to_string())),
        false => lines(status).iter().for_each(|line| terminal::tell(&clean(line), 2)),
    }
}

fn is_well(status: &Value) -> bool {
    status["ready"] == true && list(&status["attention"]).is_empty()
}

fn lines(status: &Value) -> Vec<String> {
    let text = |name: &str| status[name].as_str().unwrap_or("?");
    let ready = if status["ready"] == true { "ready" } else { "not ready" };
    let mut lines = vec![format!(
        "task-creator {} on {}, pid {}, started {}: {ready}",
        text("version"),
        text("host"),
        status["pid"],
        text("started_at")
    )];
    lines.extend(list(&status["attention"]).iter().filter_map(|point| Some(format!("! {}", point["text"].as_str()?))));
    lines.push(String::new());
    lines.extend(table(list(&status["lanes"])));
    lines.push(String::new());
    lines.extend(list(&status["queues"]).iter().map(|queue| {
        let name = queue["name"].as_str().unwrap_or("?");
        format!("{name}: {} message(s)", number(&queue["messages"]))
    }));
    lines
}

/// A line for each lane, under headings, in columns.
fn table(lanes: &[Value]) -> Vec<String> {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(lanes.iter().map(row));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            // Names to the left, numbers to the right.
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(lane: &Value) -> [String; 9] {
    let age = |name: &str| lane[name].as_u64().map_or("-".into(), |seconds| span(Duration::from_secs(seconds)));
    [
        lane["system"].as_str().unwrap_or("?").to_owned(),
        lane["state"].as_str().unwrap_or("?").replace('_', " "),
        number(&lane["waiting"]["queue"]),
        number(&lane["waiting"]["taken"]),
        age("oldest_waiting_seconds"),
        number(&lane["in_hand"]),
        number(&lane["retrying"]),
        number(&lane["open"]),
        number(&lane["unanswered"]),
    ]
}

/// `-` where it is not known.
fn number(value: &Value) -> String {
    value.as_u64().map_or("-".into(), |number| number.to_string())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_needs_attention_comes_before_the_lanes_and_what_is_not_known_is_a_dash() {
        let status = json!({
            "version": "0.1.0", "host": "vm", "pid": 7, "started_at": "2026-11-28T21:00:00.000Z", "ready": false,
            "attention": [{"text": "bitrix24 waits 12 min: 401"}],
            "lanes": [{"system": "bitrix24", "state": "target_away", "waiting": {"queue": null, "taken": 12},
                       "oldest_waiting_seconds": 720, "in_hand": 0, "retrying": 2, "open": 120, "unanswered": 1}],
            "queues": [{"name": "errors.camunda_tasks.queue", "messages": 3}],
        });
        let shown = lines(&status);
        let expected = [
            "task-creator 0.1.0 on vm, pid 7, started 2026-11-28T21:00:00.000Z: not ready",
            "! bitrix24 waits 12 min: 401",
            "",
            "SYSTEM    STATE        QUEUED  TAKEN  OLDEST  IN HAND  RETRYING  OPEN  UNANSWERED",
            "bitrix24  target away       -     12  12m00s        0         2   120           1",
            "",
            "errors.camunda_tasks.queue: 3 message(s)",
        ];
        assert_eq!(shown, expected);
        assert!(!is_well(&status));
        assert!(is_well(&json!({"ready": true, "attention": []})));
    }
}
