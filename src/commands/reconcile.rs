//! `task-creator reconcile`: which processes are lost, and unlocks their tasks if it is told to.
//!
//! It finds out what the running worker has taken, through its API, and prints what [`crate::reconcile`] finds. Without
//! `--repair` it changes nothing.

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use lexopt::{Arg, Parser};
use serde_json::Value;

use super::api::Api;
use super::arguments::{A_TIME, seconds, unexpected, value};
use super::interrupts::{self, INTERRUPTED};
use super::{UNKNOWN, grammar};
use crate::camunda::Engine;
use crate::reconcile::{self, Action, Counts, Item, Report, Sources, Told};
use crate::redact::{clean, clean_json};
use crate::stop::Stop;
use crate::systems::table::Setup;
use crate::terminal::{say, tell};

/// The most items that the API gives at once.
const PAGE: u64 = 200;
/// Where the text of an item starts.
const TEXT: usize = 12;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    how: reconcile::Options,
    /// For scripts.
    json: bool,
}

/// The options; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<Options>, lexopt::Error> {
    let (mut how, mut json) = (reconcile::Options::default(), false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("older-than") => {
                how.older_than = value(parser, "--older-than", A_TIME, time)?;
            }
            Arg::Long("repair") => how.repair = true,
            Arg::Long("limit") => how.limit = value(parser, "--limit", "a whole number above 0", at_least_one)?,
            Arg::Long("rate") => how.pause = value(parser, "--rate", "a number from 0.01 to 1000", pause)?,
            Arg::Long("json") => json = true,
            other => return Err(unexpected(&other, &grammar::options("reconcile", ""))),
        }
    }
    Ok(Some(Options { how, json }))
}

/// 0s is everything.
fn time(text: &str) -> Option<Duration> {
    let seconds = if text == "0s" { Some(0) } else { seconds(text) };
    seconds.map(Duration::from_secs)
}

fn at_least_one(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number > 0)
}

fn pause(rate: &str) -> Option<Duration> {
    let rate: f64 = rate.parse().ok().filter(|rate| (0.01..=1000.0).contains(rate))?;
    Some(Duration::from_secs_f64(1.0 / rate))
}

/// Prints what is wrong. The exit code is 0 when nothing is, or all of it has healed; 1 when something is; 3 when
/// nothing is known to be wrong and not all could be found out; 130 after an interrupt.
///
/// # Errors
/// A setting is wrong, or Camunda's engine does not answer.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let setup = super::settings()?;
    let stop = interrupts::stop()?;
    let sources = sources(&setup, &stop)?;
    let api = setup.config.monitor.as_ref().map(|_| Api::of(&setup)).transpose()?;
    // On standard error, so that `--json` stays JSON.
    let audit = |line: &str| super::complain(line);
    let mut report = match reconcile::reconcile(&sources, &options.how, &|| told(api.as_ref()), &audit) {
        Err(_) if stop.raised() => {
            super::complain("interrupted; what was unlocked until now is said above");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        result => result?,
    };
    report.cut();
    match options.json {
        true => say(&clean_json(&serde_json::to_string(&report)?)),
        false => print(&report),
    }
    Ok(match report.is_wrong() {
        true => ExitCode::FAILURE,
        false if report.counts.unknown > 0 => ExitCode::from(UNKNOWN),
        false => ExitCode::SUCCESS,
    })
}

/// Who is asked with these settings.
///
/// # Errors
/// `CAMUNDA_URL` is not set, or a setting of a system is wrong.
pub fn sources(setup: &Setup, stop: &Stop) -> anyhow::Result<Sources> {
    let config = &setup.config;
    let Some(camunda) = &config.camunda else {
        bail!("reconcile asks Camunda's engine: set CAMUNDA_URL, such as http://camunda.example:8080/engine-rest");
    };
    Ok(Sources {
        config: config.clone(),
        targets: super::targets(setup, stop)?,
        engine: Arc::new(Engine::new(camunda, &config.https)),
        routes: setup.routes(),
        stop: stop.clone(),
    })
}

/// Which tasks the running worker has taken.
fn told(api: Option<&Api>) -> Told {
    let Some(api) = api else { return Told::Nothing("MONITOR_ADDR is not set".into()) };
    taken(api)
        .and_then(|tasks| Ok(Told::Tasks { tasks, consuming: consuming(api)? }))
        .unwrap_or_else(|err| Told::Nothing(format!("{err:#}")))
}

/// The systems whose queues it consumes.
fn consuming(api: &Api) -> anyhow::Result<HashSet<String>> {
    let answer = api.get("/api/v1/lanes")?;
    let lanes = answer["lanes"].as_array().context("the worker's answer has no lanes")?;
    let consuming = lanes.iter().filter(|lane| lane["consuming"] == true);
    Ok(consuming.filter_map(|lane| lane["system"].as_str().map(str::to_owned)).collect())
}

fn taken(api: &Api) -> anyhow::Result<HashSet<String>> {
    let mut tasks = HashSet::new();
    for state in ["in_hand", "retrying"] {
        let mut cursor = String::new();
        loop {
            let page = api.get(&format!("/api/v1/tasks?state={state}&limit={PAGE}{cursor}"))?;
            if page["complete"] == false {
                bail!("the worker has not named all of them: a lane is busy");
            }
            let items = page["items"].as_array().context("the worker's answer has no items")?;
            let id = |item: &Value| item["task_id"].as_str().map(str::to_owned);
            tasks.extend(items.iter().filter_map(id));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
    Ok(tasks)
}

fn print(report: &Report) {
    for Item { task_id, process_id, class, system, age_seconds, text, action, .. } in &report.items {
        let class = class.name().replace('_', " ");
        let would = if *action == Action::WouldUnlock { "; --repair would unlock it" } else { "" };
        let process = process_id.as_deref().map(|process| format!(", process instance {process}")).unwrap_or_default();
        let system = system.as_deref().unwrap_or("?");
        let head = format!("{class:<TEXT$}{task_id} ({system}, for {}{process}): ", span(*age_seconds));
        tell(&clean(&format!("{head}{text}{would}")), TEXT);
    }
    report.notes.iter().for_each(|note| tell(&clean(&format!("{:<TEXT$}{note}", "note")), TEXT));
    let Counts { lost, untracked, unanswered, parked, orphan, in_hand, unknown } = report.counts;
    let repaired = match report.repaired {
        0 => String::new(),
        count => format!("; unlocked {count}, healed {}", report.healed),
    };
    say(&format!(
        "{} checked: {in_hand} in hand, {lost} lost, {untracked} untracked, {unanswered} unanswered, {parked} parked, \
         {orphan} orphan, {unknown} unknown{repaired}",
        report.checked
    ));
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn options(line: &str) -> Result<Option<Options>, String> {
        let words = line.split_whitespace().map(OsString::from);
        read(&mut Parser::from_args(words)).map_err(|err| err.to_string())
    }

    #[test]
    fn nothing_is_repaired_unless_it_is_asked_for() {
        let usual = options("").expect("no mistake").expect("no help");
        assert_eq!((usual.how.repair, usual.how.older_than.as_secs(), usual.how.limit), (false, 1800, 100));
        let given =
            options("--repair --older-than 2h --limit 7 --rate 4 --json").expect("no mistake").expect("no help");
        assert_eq!((given.how.repair, given.how.older_than.as_secs(), given.how.limit), (true, 7200, 7));
        assert_eq!((given.how.pause, given.json), (Duration::from_millis(250), true));
        assert_eq!(options("--help"), Ok(None));
        for wrong in ["a", "--older-than -1m", "--older-than x", "--limit 0", "--rate 0", "--fix"] {
            assert!(options(wrong).is_err(), "{wrong}");
        }
    }
}
