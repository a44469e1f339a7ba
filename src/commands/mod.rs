//! The command line: which command is asked for, and what it is given.
//!
//! Each command has a file or a folder with its arguments (`read`) and its work (`run`). This file only finds the
//! command and reads the settings. [`arguments`] has what all commands need to read arguments, [`interrupts`] Ctrl+C,
//! [`fakes`] what `demo` and `sandbox` know of each system. [`grammar`] is the one table of all that may stand on the
//! command line: [`help`], [`manual`] and [`completions`] are made of it, and of [`example`], which explains settings.

pub mod api;
pub mod arguments;
pub mod check;
pub mod completions;
pub mod control;
pub mod demo;
pub mod example;
pub mod explain;
pub mod fakes;
pub mod grammar;
pub mod health;
pub mod help;
pub mod init;
pub mod install_service;
pub mod interrupts;
pub mod manual;
pub mod parked;
pub mod print;
pub mod reconcile;
pub mod run;
pub mod sandbox;
pub mod send;
pub mod status;
pub mod trace;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use lexopt::{Arg, Parser, ValueExt as _};

use crate::nearest::did_you_mean;
use crate::redact::clean;
use crate::settings::Environment;
use crate::stop::Stop;
use crate::systems::table::{self, Setup};
use crate::systems::{Surroundings, System};
use crate::terminal;
use crate::trace::Target;
use arguments::{nothing_more, unexpected};

/// Exit codes as in sysexits.h: wrong usage, wrong settings.
pub const EX_USAGE: u8 = 64;
/// See [`EX_USAGE`].
pub const EX_CONFIG: u8 = 78;
/// Not all could be found out.
pub const UNKNOWN: u8 = 3;
/// In the working directory.
const DOTENV: &str = ".env";

/// A command, with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the worker.
    Run,
    /// Check settings, RabbitMQ and targets.
    Check(check::Options),
    /// Publish a message, or print one.
    Send(send::Order),
    /// Say what the worker would do with the message in this file, or on standard input for `-`.
    Explain(PathBuf),
    /// List, show, replay, export or discard parked messages.
    Parked(parked::Action),
    /// Say which processes are lost, and unlock their tasks.
    Reconcile(reconcile::Options),
    /// Show how the running worker is.
    Status(status::Options),
    /// Pause, resume or sweep a lane of the running worker, or change how much it logs.
    Control(control::Order),
    /// Say whether the running worker is ready.
    Health,
    /// Ask for what is needed and write `.env`.
    Init,
    /// Print the unit for systemd, and how to install it.
    InstallService(install_service::Options),
    /// Print a file that the program brings along.
    Print(print::What),
    /// Say where one task is.
    Trace(trace::Options),
    /// Run the whole loop on this machine.
    Demo(demo::arguments::Options),
    /// Run a system's fake, or take a step at a running one.
    Sandbox(sandbox::arguments::Order),
    /// Print the help of the command or the setting of this name, or of all commands.
    Help(Option<&'static str>),
    /// Print the version.
    Version,
}

impl Command {
    /// Runs the command and returns its exit code.
    ///
    /// # Errors
    /// A setting is wrong ([`SettingsErrors`](crate::settings::SettingsErrors)), or the command could not do its work.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Command::Run => run::run(),
            Command::Check(options) => check::run(&options),
            Command::Send(order) => send::run(&order),
            Command::Explain(file) => explain::run(&file),
            Command::Parked(action) => parked::run(action),
            Command::Reconcile(options) => reconcile::run(&options),
            Command::Status(options) => status::run(options),
            Command::Control(order) => control::run(&order),
            Command::Health => health::run(),
            Command::Init => init::run(),
            Command::InstallService(options) => install_service::run(&options),
            Command::Print(what) => Ok(print::run(&what)),
            Command::Trace(options) => trace::run(&options),
            Command::Demo(options) => demo::run(&options),
            Command::Sandbox(order) => sandbox::run(&order),
            Command::Help(name) => Ok(printed(&help::help(name))),
            Command::Version => Ok(printed(concat!("task-creator ", env!("CARGO_PKG_VERSION"), "\n"))),
        }
    }
}

/// Prints on stderr what is wrong. The text may come from outside, so secrets and control characters are taken out.
fn complain(text: &str) {
    terminal::complain(&clean(text));
}

fn printed(text: &str) -> ExitCode {
    terminal::print(text);
    ExitCode::SUCCESS
}

/// Reads the environment and the working directory's `.env`, and prints the advice on them.
fn environment() -> anyhow::Result<Environment> {
    let environment = Environment::read(Path::new(DOTENV), table::settings())?;
    tell(&environment);
    Ok(environment)
}

fn tell(environment: &Environment) {
    environment.advice.iter().for_each(|advice| terminal::complain(advice));
}

/// Reads the settings. From here on no output shows their secrets.
fn settings() -> anyhow::Result<Setup> {
    let setup = Setup::from_env(&environment()?)?;
    setup.hide_secrets();
    Ok(setup)
}

/// The target of every system that is on.
fn targets(setup: &Setup, stop: &Stop) -> anyhow::Result<Vec<Target>> {
    let (config, routes) = (&setup.config, setup.routes());
    let around = Surroundings { https: &config.https, threads: 1, routes: &routes, stop, rabbitmq: &config.rabbitmq };
    let target = |(name, system): (&'static str, &dyn System)| {
        Ok(Target { system: name.to_owned(), handler: system.connect(&around).context(name)?.handler })
    };
    setup.on().map(target).collect()
}

/// Wrong usage.
#[derive(Debug)]
pub struct Wrong {
    /// What is wrong, and which help says more.
    pub text: String,
}

/// The command in these arguments, which come without the program's name.
///
/// # Errors
/// What is wrong with them.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Wrong> {
    let mut parser = Parser::from_args(arguments);
    let mut name = None;
    read(&mut parser, &mut name).map_err(|err| {
        let help: Vec<&str> = name.into_iter().chain(["--help"]).collect();
        Wrong { text: format!("{err}\nTry: {}", terminal::command(&help)) }
    })
}

/// Sets `name` as soon as the command is known: an error then names the command's help.
fn read(parser: &mut Parser, name: &mut Option<&'static str>) -> Result<Command, lexopt::Error> {
    let given = match parser.next()? {
        None => return Ok(Command::Run),
        Some(Arg::Short('h') | Arg::Long("help")) => return Ok(Command::Help(None)),
        Some(Arg::Short('V') | Arg::Long("version")) => return Ok(Command::Version),
        Some(Arg::Value(given)) => given.string()?,
        Some(other) => return Err(unexpected(&other, &["--help", "--version"])),
    };
    let found = named(&given)?;
    *name = Some(found);
    let asked_for = match found {
        "check" => check::read(parser)?.map(Command::Check),
        "send" => send::read(parser)?.map(Command::Send),
        "explain" => explain::read(parser)?.map(Command::Explain),
        "parked" => parked::arguments::read(parser)?.map(Command::Parked),
        "reconcile" => reconcile::read(parser)?.map(Command::Reconcile),
        "status" => status::read(parser)?.map(Command::Status),
        "control" => control::read(parser)?.map(Command::Control),
        "health" => nothing_more(parser)?.then_some(Command::Health),
        "help" => help_of(parser)?.map(Command::Help),
        "init" => nothing_more(parser)?.then_some(Command::Init),
        "install-service" => install_service::read(parser)?.map(Command::InstallService),
        "print" => print::read(parser)?.map(Command::Print),
        "trace" => trace::read(parser)?.map(Command::Trace),
        "sandbox" => sandbox::arguments::read(parser)?.map(Command::Sandbox),
        "demo" => demo::arguments::read(parser)?.map(Command::Demo),
        _ => nothing_more(parser)?.then_some(Command::Run),
    };
    Ok(asked_for.unwrap_or(Command::Help(Some(found))))
}

/// The name of a command, as the help has it.
fn named(given: &str) -> Result<&'static str, lexopt::Error> {
    let names = || grammar::TOPICS.iter().map(|topic| topic.name);
    names().find(|name| *name == given).ok_or_else(|| {
        let meant = did_you_mean(given, names());
        let all = names().collect::<Vec<_>>().join(", ");
        let meant = if meant.is_empty() { format!("; there are {all}") } else { meant };
        format!("there is no command {given:?}{meant}").into()
    })
}

/// `help`, `help COMMAND` or `help SETTING`; `None` when its own help is asked for.
fn help_of(parser: &mut Parser) -> Result<Option<Option<&'static str>>, lexopt::Error> {
    let name = match parser.next()? {
        None => return Ok(Some(None)),
        Some(Arg::Short('h') | Arg::Long("help")) => return Ok(None),
        Some(Arg::Value(name)) => name.string()?,
        Some(other) => return Err(unexpected(&other, &grammar::options("help", ""))),
    };
    let found = match example::named(&name) {
        Some(setting) => setting.name,
        None if name.contains('_') || name.contains(char::is_uppercase) => {
            let names: Vec<String> = example::names().collect();
            let meant = did_you_mean(&name, names.iter().map(String::as_str));
            return Err(format!("there is no setting {name:?}{meant}").into());
        }
        None => named(&name)?,
    };
    nothing_more(parser).map(|is_all| is_all.then_some(Some(found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use send::Sample;

    fn command(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|wrong| wrong.text)
    }

    #[test]
    fn without_a_command_the_worker_runs() {
        assert_eq!(command(""), Ok(Command::Run));
        assert_eq!(command("run"), Ok(Command::Run));
    }

    #[test]
    fn options_belong_to_their_command() {
        let what = send::What::File("task.json".into());
        let send = send::Order::Send { what, queue: Some("bitrix24.queue".into()) };
        assert_eq!(command("send task.json --queue bitrix24.queue"), Ok(Command::Send(send)));
        let invoice = Sample::named("invoice").expect("there is one");
        let send = send::Order::Send { what: send::What::Sample(invoice), queue: None };
        assert_eq!(command("send --sample invoice"), Ok(Command::Send(send)));
        let print = |sample| Ok(Command::Send(send::Order::Print(sample)));
        assert_eq!(command("send --print --sample invoice"), print(invoice));
        assert_eq!(command("send --print"), print(Sample::usual()));
        assert_eq!(command("check --create-field"), Ok(Command::Check(check::Options { create_field: true })));
        assert_eq!(command("explain -"), Ok(Command::Explain("-".into())));
        for wrong in [
            "explain",
            "explain a b",
            "run --port 9000",
            "demo fast",
            "demo --all --system 1c",
            "sandbox --system default",
            "send a b",
            "send a --sample invoice",
            "send a --print",
            "send --print --queue q",
        ] {
            assert!(command(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_command_shows_its_own_help() {
        for topic in grammar::TOPICS {
            let help = Ok(Command::Help(Some(topic.name)));
            for line in ["NAME --help", "NAME -h", "help NAME"] {
                assert_eq!(command(&line.replace("NAME", topic.name)), help, "{line}");
            }
        }
        assert_eq!(command("parked replay --help"), Ok(Command::Help(Some("parked"))));
        assert_eq!(command("sandbox finish --help"), Ok(Command::Help(Some("sandbox"))));
        assert_eq!(command("--help"), Ok(Command::Help(None)));
        assert_eq!(command("help"), Ok(Command::Help(None)));
        assert_eq!(command("help PREFETCH"), Ok(Command::Help(Some("PREFETCH"))));
    }

    #[test]
    fn a_misspelt_word_is_told_with_the_nearest_name_and_the_right_help() {
        for (line, told, help) in [
            ("sned -", "there is no command \"sned\"; did you mean send?", "--help"),
            ("help chekc", "did you mean check?", "help --help"),
            ("help RABITMQ_HOST", "there is no setting \"RABITMQ_HOST\"; did you mean RABBITMQ_HOST?", "help --help"),
            ("help PREFTCH", "did you mean PREFETCH?", "help --help"),
            ("help bitrix_webhook_url_fiel", "did you mean BITRIX_WEBHOOK_URL_FILE?", "help --help"),
            ("help check send", "\"send\" is one argument too many", "help --help"),
            ("print untis", "did you mean unit?", "print --help"),
            ("frobnicate", "there are run, check, send, explain, parked, trace, status, ", "--help"),
            ("--verison", "there is no option --verison here; did you mean --version?", "--help"),
            ("check --create-feild", "did you mean --create-field?", "check --help"),
            ("send --smaple invoice", "did you mean --sample?", "send --help"),
            ("send --sample invioce", "\"invioce\" is not approval or invoice", "send --help"),
            ("send --sample", "--sample needs a value: approval or invoice", "send --help"),
            ("send --queue", "--queue needs a value", "send --help"),
            ("parked lits", "did you mean list?", "parked --help"),
            ("parked replay --al", "did you mean --all?", "parked --help"),
            ("parked replay --cause", "--cause needs a value: INVALID_MESSAGE, REQUEST_ERROR", "parked --help"),
            ("sandbox finsh 7", "did you mean finish?", "sandbox --help"),
            ("sandbox --system emial", "\"emial\" is not one of bitrix24, ", "sandbox --help"),
            ("demo --system fax", "\"fax\" is not one of bitrix24, ", "demo --help"),
            ("demo --system", "--system needs a value: one of bitrix24, ", "demo --help"),
            ("sandbox --prot 7", "did you mean --port?", "sandbox --help"),
            ("run fast", "\"fast\" is one argument too many", "run --help"),
        ] {
            let wrong = command(line).expect_err(line);
            assert!(wrong.contains(told), "{line}: {wrong}");
            assert!(wrong.ends_with(&format!("Try: {} {help}", terminal::program())), "{line}: {wrong}");
        }
    }
}
