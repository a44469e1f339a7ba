//! The command line of `task-creator sandbox`: arguments → [`Order`]. It knows no fake but its name and port.

use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt as _};

use crate::commands::arguments::{unexpected, value};
use crate::commands::fakes::{self, FakeEntry, USUAL};
use crate::commands::grammar;
use crate::nearest::did_you_mean;
use crate::sandbox::ANSWERS;
use crate::sandbox::steering::{REFUSALS, Step};

/// The default time until a simulated user finishes a task.
const FINISH_AFTER: Duration = Duration::from_secs(10);

/// What `sandbox` is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// Run a fake.
    Run {
        /// The system's name.
        system: &'static str,
        /// TCP port on loopback.
        port: u16,
        /// How long after its creation a simulated user finishes each task; never when absent.
        finish_after: Option<Duration>,
    },
    /// Take a step at a running Bitrix24 fake.
    Step {
        /// Its port.
        port: u16,
        /// The step.
        step: Step,
    },
}

/// The order; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<Order>, lexopt::Error> {
    let (mut system, mut port, mut finish_after) = (USUAL, None, Some(FINISH_AFTER));
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("system") => system = fakes::read(parser, |entry| entry.port.is_some())?,
            Arg::Long("port") => port = Some(read_port(parser)?),
            Arg::Long("finish-after") => {
                finish_after = value(parser, "--finish-after", "a number of seconds", seconds)?;
            }
            Arg::Value(name) if system.name == USUAL.name => {
                return read_step(parser, &name.string()?, port.unwrap_or(usual_port(USUAL)));
            }
            Arg::Value(name) => {
                let step = name.string()?;
                return Err(
                    format!("the step {step:?} is for the {} fake, not for {}", USUAL.label, system.name).into()
                );
            }
            other => return Err(unexpected(&other, &grammar::options("sandbox", ""))),
        }
    }
    let port = port.unwrap_or(usual_port(system));
    Ok(Some(Order::Run { system: system.name, port, finish_after }))
}

/// Any free port for a fake without a port of its own.
fn usual_port(entry: &FakeEntry) -> u16 {
    entry.port.unwrap_or_default()
}

/// The arguments of a step as given, before it is known whether they go together.
struct Given {
    port: u16,
    words: Vec<String>,
    answer: Option<String>,
    status: Option<u16>,
    times: Option<u64>,
}

fn read_step(parser: &mut Parser, name: &str, port: u16) -> Result<Option<Order>, lexopt::Error> {
    let steps = grammar::actions("sandbox");
    if !steps.contains(&name) {
        let all = steps.join(", ");
        let meant = did_you_mean(name, steps);
        return Err(format!("there is no sandbox step {name:?}{meant} (steps: {all})").into());
    }
    let mut given = Given { port, words: Vec::new(), answer: None, status: None, times: None };
    while let Some(argument) = parser.next()? {
        match (name, argument) {
            (_, Arg::Short('h') | Arg::Long("help")) => return Ok(None),
            (_, Arg::Long("port")) => given.port = read_port(parser)?,
            ("finish", Arg::Long("answer")) => given.answer = Some(value(parser, "--answer", "ДА or НЕТ", answer)?),
            ("refuse", Arg::Long("status")) => {
                given.status = Some(value(parser, "--status", "400, 401, 403, 429, 500 or 503", status)?);
            }
            ("refuse", Arg::Long("times")) => {
                given.times = Some(value(parser, "--times", "a whole number above 0", at_least_one)?);
            }
            (_, Arg::Value(word)) if !word.is_empty() => given.words.push(word.string()?),
            (_, other) => return Err(unexpected(&other, &grammar::options("sandbox", name))),
        }
    }
    let port = given.port;
    Ok(Some(Order::Step { port, step: step(name, given)? }))
}

fn step(name: &str, given: Given) -> Result<Step, lexopt::Error> {
    let Given { words, answer: with, status, times, .. } = given;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match (name, words.as_slice()) {
        ("finish", [task]) => Ok(Step::Finish { task: (*task).to_owned(), answer: with }),
        ("finish", _) => Err("sandbox finish needs one TASK".into()),
        ("answer", [task, text]) => match answer(text) {
            Some(answer) => Ok(Step::Answer { task: (*task).to_owned(), answer }),
            None => Err(format!("sandbox answer: {text:?} is not ДА or НЕТ").into()),
        },
        ("answer", _) => Err("sandbox answer needs a TASK, and ДА or НЕТ".into()),
        ("delete", [task]) => Ok(Step::Delete { task: (*task).to_owned() }),
        ("delete", _) => Err("sandbox delete needs one TASK".into()),
        ("refuse", [method]) => {
            Ok(Step::Refuse { method: (*method).to_owned(), status: status.unwrap_or(REFUSALS[0].status), times })
        }
        ("refuse", _) => Err("sandbox refuse needs one METHOD, such as tasks.task.add".into()),
        (_, []) => Ok(Step::Allow),
        (_, _) => Err("sandbox allow takes no arguments".into()),
    }
}

fn read_port(parser: &mut Parser) -> Result<u16, lexopt::Error> {
    value(parser, "--port", "a port, 0 to 65535", |text| text.parse().ok())
}

fn answer(text: &str) -> Option<String> {
    let text = text.to_uppercase();
    ANSWERS.iter().any(|(_, known)| *known == text).then_some(text)
}

fn status(text: &str) -> Option<u16> {
    let status = text.parse().ok()?;
    REFUSALS.iter().any(|refusal| refusal.status == status).then_some(status)
}

fn at_least_one(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number > 0)
}

/// A number of seconds, a fraction allowed; `None` for 0.
fn seconds(text: &str) -> Option<Option<Duration>> {
    let seconds = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
    Some(Some(seconds).filter(|seconds| !seconds.is_zero()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn order(line: &str) -> Result<Option<Order>, String> {
        read(&mut Parser::from_args(line.split_whitespace().map(OsString::from))).map_err(|err| err.to_string())
    }

    #[test]
    fn without_a_step_the_fake_runs() {
        const PORT: u16 = 8024;
        let run = |port, finish_after| Ok(Some(Order::Run { system: "bitrix24", port, finish_after }));
        assert_eq!(order("--port 9000"), run(9000, Some(FINISH_AFTER)));
        assert_eq!(order("--finish-after 0.5"), run(PORT, Some(Duration::from_millis(500))));
        assert_eq!(order("--finish-after 0"), run(PORT, None));
        let telegram = |port| Ok(Some(Order::Run { system: "telegram", port, finish_after: Some(FINISH_AFTER) }));
        assert_eq!(order("--system telegram"), telegram(8029));
        assert_eq!(order("--port 9000 --system telegram"), telegram(9000));
        assert_eq!(order("--port x").expect_err("no port"), r#"--port: "x" is not a port, 0 to 65535"#);
        for wrong in ["-1", "x", "NaN", "inf", "1e40"] {
            assert!(order(&format!("--finish-after {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_step_says_what_and_where() {
        const PORT: u16 = 8024;
        let step = |port, step| Ok(Some(Order::Step { port, step }));
        let finish = |answer: Option<&str>| Step::Finish { task: "7".into(), answer: answer.map(str::to_owned) };
        assert_eq!(order("finish 7"), step(PORT, finish(None)));
        assert_eq!(order("--port 9 finish 7 --answer да"), step(9, finish(Some("ДА"))));
        assert_eq!(order("answer 7 НЕТ --port 9"), step(9, Step::Answer { task: "7".into(), answer: "НЕТ".into() }));
        assert_eq!(order("delete 7"), step(PORT, Step::Delete { task: "7".into() }));
        let refuse = |status, times| Step::Refuse { method: "tasks.task.add".into(), status, times };
        assert_eq!(order("refuse tasks.task.add"), step(PORT, refuse(400, None)));
        assert_eq!(order("refuse tasks.task.add --status 503 --times 2"), step(PORT, refuse(503, Some(2))));
        assert_eq!(order("allow"), step(PORT, Step::Allow));
        for wrong in [
            "finish",
            "finish 7 8",
            "finish 7 --answer maybe",
            "finish 7 --status 400",
            "answer 7",
            "answer 7 maybe",
            "delete",
            "delete 7 --answer ДА",
            "refuse",
            "refuse m --status 418",
            "refuse m --times 0",
            "allow 7",
            "frobnicate",
            "--system telegram finish 7",
            "--system default",
        ] {
            assert!(order(wrong).is_err(), "{wrong}");
        }
    }
}
