//! `task-creator control`: pauses, resumes and sweeps a lane of the running worker, and changes how much it logs.
//!
//! It asks through the control API and prints what the worker has made of it.

use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt as _};
use serde_json::{Value, json};

use super::api::Api;
use super::arguments::{A_TIME, seconds, unexpected, value};
use super::grammar;
use crate::http::Method;
use crate::nearest::did_you_mean;
use crate::redact::{clean, clean_json};
use crate::terminal::{say, tell};

/// How much the worker can be told to log.
pub const LEVELS: [&str; 4] = ["DEBUG", "INFO", "WARNING", "ERROR"];

/// What is asked of the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    step: Step,
    json: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Pause { system: String, reason: String, seconds: Option<u64> },
    Resume { system: String },
    Sweep { system: String },
    LogLevel { level: String, seconds: Option<u64> },
}

/// The order; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<Order>, lexopt::Error> {
    let (mut words, mut reason, mut lasts, mut json) = (Vec::new(), None, None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("json") => json = true,
            Arg::Long("reason") => reason = Some(value(parser, "--reason", "a text", |text| Some(text.to_owned()))?),
            Arg::Long("for") => lasts = Some(value(parser, "--for", A_TIME, seconds)?),
            Arg::Value(word) => words.push(word.string()?),
            other => return Err(unexpected(&other, &grammar::options("control", ""))),
        }
    }
    let step = step(words, reason, lasts)?;
    Ok(Some(Order { step, json }))
}

fn step(words: Vec<String>, reason: Option<String>, seconds: Option<u64>) -> Result<Step, lexopt::Error> {
    let mut words = words.into_iter();
    let Some(verb) = words.next() else {
        return Err(format!("what shall the worker do? One of {}", grammar::actions("control").join(", ")).into());
    };
    let (object, more) = (words.next(), words.next());
    if let Some(more) = more {
        return Err(format!("{more:?} is one argument too many").into());
    }
    let system = || object.clone().ok_or_else(|| lexopt::Error::from(format!("{verb} needs the name of a system")));
    let step = match verb.as_str() {
        "pause" => {
            let reason = reason.ok_or("pause needs --reason TEXT: others see it and wonder why")?;
            return Ok(Step::Pause { system: system()?, reason, seconds });
        }
        "resume" => Step::Resume { system: system()? },
        "sweep" => Step::Sweep { system: system()? },
        "log-level" => {
            let level = object.unwrap_or_default().to_uppercase();
            if !LEVELS.contains(&level.as_str()) {
                return Err(format!("log-level needs one of {}", LEVELS.join(", ")).into());
            }
            Step::LogLevel { level, seconds }
        }
        other => {
            let meant = did_you_mean(other, grammar::actions("control"));
            return Err(format!(
                "there is no control {other:?}{meant}; there are {}",
                grammar::actions("control").join(", ")
            )
            .into());
        }
    };
    let unused = match (&step, reason.is_some(), seconds.is_some()) {
        (_, true, _) => Some("--reason"),
        (Step::Resume { .. } | Step::Sweep { .. }, _, true) => Some("--for"),
        _ => None,
    };
    match unused {
        Some(option) => Err(format!("{option} does not belong to {verb}").into()),
        None => Ok(step),
    }
}

/// Asks the worker and prints what it says.
///
/// # Errors
/// No worker answers, it says no, or a setting is wrong.
pub fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let api = Api::of(&super::settings()?)?;
    let answer = match &order.step {
        Step::Pause { system, reason, seconds } => {
            let mut wanted = json!({"state": "paused", "reason": reason});
            if let Some(seconds) = seconds {
                wanted["for_seconds"] = (*seconds).into();
            }
            api.send(Method::PUT, &lane(system, "state"), Some(&wanted))?
        }
        Step::Resume { system } => api.send(Method::PUT, &lane(system, "state"), Some(&json!({"state": "running"})))?,
        Step::Sweep { system } => api.send(Method::POST, &lane(system, "sweeps"), None)?,
        Step::LogLevel { level, seconds } => {
            let mut wanted = json!({"level": level});
            if let Some(seconds) = seconds {
                wanted["for_seconds"] = (*seconds).into();
            }
            api.send(Method::PUT, "/api/v1/log-level", Some(&wanted))?
        }
    };
    match order.json {
        true => say(&clean_json(&answer.to_string())),
        false => tell(&clean(&told(&order.step, &answer)), 0),
    }
    Ok(ExitCode::SUCCESS)
}

fn lane(system: &str, what: &str) -> String {
    let system = percent_encoding::utf8_percent_encode(system, percent_encoding::NON_ALPHANUMERIC);
    format!("/api/v1/lanes/{system}/{what}")
}

fn told(step: &Step, answer: &Value) -> String {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    if let (Step::Pause { system, .. } | Step::Resume { system }, Some(when)) = (step, answer["comes_when"].as_str()) {
        let what = if matches!(step, Step::Pause { .. }) { "the pause" } else { "that it goes on" };
        return format!("{system}: {what} is asked for, and comes when {when}");
    }
    match step {
        Step::Pause { system, .. } => match answer["paused_until"].as_str() {
            Some(until) => format!("{system} is paused until {until}; messages stay in its queue"),
            None => format!("{system} is paused until it is resumed; messages stay in its queue"),
        },
        Step::Resume { system } => format!("{system}: {}", text("state")),
        Step::Sweep { system } => format!("{system} looks at its open tasks now"),
        Step::LogLevel { .. } => format!("the worker logs {} until {}", text("level"), text("until")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(line: &str) -> Result<Option<Order>, String> {
        read(&mut Parser::from_args(line.split_whitespace())).map_err(|err| err.to_string())
    }

    #[test]
    fn a_pause_has_a_reason_and_maybe_an_end() {
        let step = |line: &str| order(line).map(|order| order.map(|order| order.step));
        let (system, reason) = ("bitrix24".to_owned(), "maintenance".to_owned());
        let pause = Step::Pause { system: system.clone(), reason, seconds: Some(900) };
        assert_eq!(step("pause bitrix24 --reason maintenance --for 15m"), Ok(Some(pause)));
        assert_eq!(step("resume bitrix24"), Ok(Some(Step::Resume { system })));
        let debug = Step::LogLevel { level: "DEBUG".into(), seconds: None };
        assert_eq!(step("log-level debug"), Ok(Some(debug)));
        assert_eq!(step("pause --help"), Ok(None));
    }

    #[test]
    fn an_order_that_comes_later_is_told_as_asked_for() {
        let answer = json!({"system": "email", "asked": true, "state": "paused", "comes_when": "the lane has time"});
        let (system, reason) = ("email".to_owned(), "r".to_owned());
        let pause = told(&Step::Pause { system: system.clone(), reason, seconds: None }, &answer);
        assert_eq!(pause, "email: the pause is asked for, and comes when the lane has time");
        let resume = told(&Step::Resume { system }, &answer);
        assert_eq!(resume, "email: that it goes on is asked for, and comes when the lane has time");
    }

    #[test]
    fn what_is_missing_or_too_much_is_said() {
        for (line, told) in [
            ("", "pause, resume, sweep, log-level"),
            ("puase bitrix24", "did you mean pause?"),
            ("pause", "--reason"),
            ("pause --reason x", "needs the name of a system"),
            ("resume bitrix24 --for 5m", "--for does not belong to resume"),
            ("sweep bitrix24 --reason x", "--reason does not belong to sweep"),
            ("log-level loud", "DEBUG, INFO, WARNING, ERROR"),
            ("sweep a b", "\"b\" is one argument too many"),
            ("pause bitrix24 --for soon", "90s, 15m, 2h or 3d"),
        ] {
            let wrong = order(line).expect_err(line);
            assert!(wrong.contains(told), "{line}: {wrong}");
        }
    }
}
