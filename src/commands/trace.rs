//! `task-creator trace`: where one task is, from every source that can be asked, with a verdict.
//!
//! It finds out what the running worker remembers, through its API, and prints what [`crate::trace`] makes of all
//! sources. It changes nothing.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lexopt::{Arg, Parser, ValueExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::api::Api;
use super::arguments::unexpected;
use super::{UNKNOWN, grammar, interrupts};
use crate::camunda::Engine;
use crate::redact::{clean, clean_json};
use crate::stop::Stop;
use crate::systems::table::Setup;
use crate::terminal::{say, tell};
use crate::trace::facts::{Held, Lane};
use crate::trace::{Event, Looked, Remembered, Source, Sources, Step, Trace, trace};

/// For all sources together. Large queues take long.
const TIME: Duration = Duration::from_secs(600);
/// Where the text of a step starts.
const TEXT: usize = 36;
/// The most items that the API gives at once.
const PAGE: u64 = 200;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The external task's id.
    pub task_id: String,
    /// Look into the queues too.
    pub browse: bool,
    /// For scripts.
    pub json: bool,
}

/// The options; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<Options>, lexopt::Error> {
    let (mut task_id, mut browse, mut json) = (None, false, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("browse") => browse = true,
            Arg::Long("json") => json = true,
            Arg::Value(id) if task_id.is_none() && !id.is_empty() => task_id = Some(id.string()?.trim().to_owned()),
            other => return Err(unexpected(&other, &grammar::options("trace", ""))),
        }
    }
    let task_id = task_id.filter(|id| !id.is_empty()).ok_or("trace needs a TASK_ID, the id of the external task")?;
    Ok(Some(Options { task_id, browse, json }))
}

/// Prints where the task is. The exit code is 0 when it moves on by itself, 1 when somebody must act, 3 when it is not
/// known.
///
/// # Errors
/// A setting is wrong.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let setup = super::settings()?;
    let stop = interrupts::stop()?;
    let sources = sources(&setup, &stop, options.browse)?;
    let api = setup.config.monitor.as_ref().map(|_| Api::of(&setup)).transpose()?;
    let id = &options.task_id;
    let found = trace(id, &sources, &|| remembered(api.as_ref(), id));
    let events = api.as_ref().map(|api| events(api, id)).transpose().unwrap_or_default().unwrap_or_default();
    let found = Trace { events, ..found };
    match options.json {
        true => say(&clean_json(&serde_json::to_string(&found)?)),
        false => print(&found),
    }
    Ok(match found.verdict.moving {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => ExitCode::from(UNKNOWN),
    })
}

fn sources(setup: &Setup, stop: &Stop, browse: bool) -> anyhow::Result<Sources> {
    let config = &setup.config;
    Ok(Sources {
        config: config.clone(),
        targets: super::targets(setup, stop)?,
        routes: setup.routes(),
        camunda: config.camunda.as_ref().map(|camunda| Arc::new(Engine::new(camunda, &config.https))),
        browse,
        time: TIME,
        stop: stop.clone(),
    })
}

/// What the running worker has of the task.
fn remembered(api: Option<&Api>, id: &str) -> Remembered {
    let Some(api) = api else {
        return Remembered::NotLooked("not asked: MONITOR_ADDR is not set".into());
    };
    ask(api, id).unwrap_or_else(|err| Remembered::CouldNot(format!("{err:#}")))
}

fn ask(api: &Api, id: &str) -> anyhow::Result<Remembered> {
    let id_in_url = utf8_percent_encode(id, NON_ALPHANUMERIC);
    let answer = api.get(&format!("/api/v1/tasks?q={id_in_url}&limit={PAGE}"))?;
    let lines = answer["items"].as_array().context("the worker's answer has no items")?;
    let own = lines.iter().filter(|line| line["task_id"] == *id);
    let mut held: Vec<Held> = own
        .map(|line| serde_json::from_value(line.clone()).context("a task of the worker's"))
        .collect::<Result<_, _>>()?;
    for held in &mut held {
        held.lane = lane(api, &held.system).unwrap_or_default();
    }
    Ok(Remembered::Looked { held, complete: answer["complete"] == true })
}

fn lane(api: &Api, system: &str) -> anyhow::Result<Lane> {
    Ok(serde_json::from_value(api.get(&format!("/api/v1/lanes/{system}"))?)?)
}

/// What the worker has told of the task lately.
fn events(api: &Api, id: &str) -> anyhow::Result<Vec<Event>> {
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let page = api.get(&format!("/api/v1/events?after={after}&limit={PAGE}"))?;
        let told = page["events"].as_array().cloned().unwrap_or_default();
        let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let naming = told.iter().filter(|event| text(event, "text").contains(id));
        events.extend(naming.map(|event| Event { at: text(event, "at"), text: text(event, "text") }));
        match told.last().and_then(|event| event["number"].as_u64()) {
            Some(number) if number > after => after = number,
            _ => return Ok(events),
        }
    }
}

fn print(found: &Trace) {
    let Trace { task_id, process_id, title, steps, events, verdict, suggestion, .. } = found;
    let title = title.as_deref().map(|title| format!(": {title}")).unwrap_or_default();
    let process = process_id.as_deref().map(|process| format!(" (process instance {process})")).unwrap_or_default();
    tell(&clean(&format!("{task_id}{title}{process}")), 2);
    say("");
    steps.iter().for_each(tell_step);
    events.iter().for_each(|event| tell(&clean(&format!("{:<TEXT$}{}  {}", "log", event.at, event.text)), TEXT));
    say("");
    tell(&clean(&verdict.text), 0);
    tell(&clean(&suggestion.text), 0);
    if let Some(command) = &suggestion.command {
        say(&format!("  {}", clean(command)));
    }
}

fn tell_step(step: &Step) {
    let looked = match (step.looked, step.found) {
        (Looked::Looked, Some(true)) => "found",
        (Looked::Looked, _) => "not there",
        (Looked::NotLooked, _) => "not looked",
        (Looked::CouldNot, _) => "could not",
    };
    let source = match step.source {
        Source::Worker => "worker".into(),
        Source::Camunda => "Camunda".into(),
        Source::Target => format!("{} target", step.system.as_deref().unwrap_or_default()),
        Source::Queues => "queue".into(),
    };
    let at = step.at.as_deref().map(|at| format!(", {at}")).unwrap_or_default();
    tell(&clean(&format!("{source:<24}{looked:<12}{}{at}", step.text)), TEXT);
    for (name, value) in &step.details {
        tell(&clean(&format!("{:<TEXT$}{name}: {value}", "")), TEXT + 2);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn one_task_is_asked_for() {
        let options = |line: &str| {
            let words = line.split_whitespace().map(OsString::from);
            read(&mut Parser::from_args(words)).map_err(|err| err.to_string())
        };
        let plain = Options { task_id: "task-1".into(), browse: false, json: false };
        assert_eq!(options("task-1"), Ok(Some(plain.clone())));
        let all = Options { browse: true, json: true, ..plain };
        assert_eq!(options("--json task-1 --browse"), Ok(Some(all)));
        assert_eq!(options("--help"), Ok(None));
        assert_eq!(options("-- -a"), Ok(Some(Options { task_id: "-a".into(), browse: false, json: false })));
        for wrong in ["", "a b", "--brows a"] {
            assert!(options(wrong).is_err(), "{wrong}");
        }
    }
}
