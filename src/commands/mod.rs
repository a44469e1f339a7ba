//! The command line: what the program is asked to do. What may follow `parked` and `sandbox` is read there; the help is in
//! [`help`].

pub mod check;
pub mod demo;
pub mod explain;
pub mod help;
pub mod parked;
pub mod sandbox;
pub mod send;

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt as _};

use crate::nearest::did_you_mean;
use crate::terminal;
use parked::Action;
use send::Sample;

/// A command, with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Work.
    Run,
    /// Look at everything.
    Check {
        /// Make the marker field if it is missing.
        create_field: bool,
    },
    /// Publish a message.
    Send {
        /// The message.
        what: send::What,
        /// The queue; that of Bitrix24 when absent.
        queue: Option<String>,
    },
    /// Print a sample message.
    Print(&'static Sample),
    /// Say what would become of a message.
    Explain {
        /// The message; standard input for `-`.
        file: PathBuf,
    },
    /// See to what was parked.
    Parked(Action),
    /// Show the whole loop.
    Demo,
    /// Run the stand-in, or do something at one that runs.
    Sandbox(sandbox::arguments::Order),
    /// Print the help of the command of this name, or all of it.
    Help(Option<&'static str>),
    /// Print the version.
    Version,
}

/// Wrong usage.
#[derive(Debug)]
pub struct Wrong {
    /// What is wrong, and which help says more.
    pub text: String,
}

/// The command in these arguments, the program's name not among them.
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

/// `name` becomes that of the command as soon as it is known.
fn read(parser: &mut Parser, name: &mut Option<&'static str>) -> Result<Command, lexopt::Error> {
    let given = match parser.next()? {
        None => return Ok(Command::Run),
        Some(Arg::Short('h') | Arg::Long("help")) => return Ok(Command::Help(None)),
        Some(Arg::Short('V') | Arg::Long("version")) => return Ok(Command::Version),
        Some(Arg::Value(given)) => given.string()?,
        Some(other) => return Err(unexpected(&other, &["--help", "--version"])),
    };
    if given == "help" {
        return help_of(parser);
    }
    let found = named(&given)?;
    *name = Some(found);
    let asked_for = match found {
        "check" => read_check(parser)?,
        "send" => read_send(parser)?,
        "explain" => read_explain(parser)?,
        "parked" => parked::arguments::read(parser)?.map(Command::Parked),
        "sandbox" => sandbox::arguments::read(parser)?.map(Command::Sandbox),
        "demo" => nothing_more(parser)?.then_some(Command::Demo),
        _ => nothing_more(parser)?.then_some(Command::Run),
    };
    Ok(asked_for.unwrap_or(Command::Help(Some(found))))
}

/// The name of a command, as the help has it.
fn named(given: &str) -> Result<&'static str, lexopt::Error> {
    let names = || help::TOPICS.iter().map(|topic| topic.name);
    names().find(|name| *name == given).ok_or_else(|| {
        let meant = did_you_mean(given, names());
        let all = names().collect::<Vec<_>>().join(", ");
        let meant = if meant.is_empty() { format!("; there are {all}") } else { meant };
        format!("there is no command {given:?}{meant}").into()
    })
}

/// `help`, or `help COMMAND`.
fn help_of(parser: &mut Parser) -> Result<Command, lexopt::Error> {
    let name = match parser.next()? {
        None | Some(Arg::Short('h') | Arg::Long("help")) => None,
        Some(Arg::Value(name)) => Some(named(&name.string()?)?),
        Some(other) => return Err(unexpected(&other, &["--help"])),
    };
    Ok(Command::Help(name))
}

fn read_check(parser: &mut Parser) -> Result<Option<Command>, lexopt::Error> {
    let mut create_field = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("create-field") => create_field = true,
            other => return Err(unexpected(&other, &["--create-field", "--help"])),
        }
    }
    Ok(Some(Command::Check { create_field }))
}

fn read_send(parser: &mut Parser) -> Result<Option<Command>, lexopt::Error> {
    let (mut file, mut sample, mut queue, mut print) = (None, None, None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("sample") => {
                sample = Some(value(parser, "--sample", &Sample::names(), Sample::named)?);
            }
            Arg::Long("queue") => {
                queue = Some(value(parser, "--queue", "the name of a queue", |name| Some(name.to_owned()))?)
            }
            Arg::Long("print") => print = true,
            Arg::Value(path) if file.is_none() => file = Some(PathBuf::from(path)),
            other => return Err(unexpected(&other, &["--sample", "--print", "--queue", "--help"])),
        }
    }
    match (file, sample, queue, print) {
        (Some(_), Some(_), ..) => Err("send takes a FILE or --sample NAME, not both".into()),
        (Some(_), _, _, true) => Err("--print prints a sample: leave FILE out".into()),
        (_, _, Some(_), true) => Err("--print sends nothing: leave --queue out".into()),
        (None, sample, None, true) => Ok(Some(Command::Print(sample.unwrap_or(Sample::usual())))),
        (Some(file), None, queue, false) => Ok(Some(Command::Send { what: send::What::File(file), queue })),
        (None, sample, queue, false) => {
            Ok(Some(Command::Send { what: send::What::Sample(sample.unwrap_or(Sample::usual())), queue }))
        }
    }
}

fn read_explain(parser: &mut Parser) -> Result<Option<Command>, lexopt::Error> {
    let mut given = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Value(path) if given.is_none() && !path.is_empty() => given = Some(PathBuf::from(path)),
            other => return Err(unexpected(&other, &["--help"])),
        }
    }
    let file = given.ok_or("explain needs a FILE, or - for standard input")?;
    Ok(Some(Command::Explain { file }))
}

/// True when nothing follows, false when help is asked for.
fn nothing_more(parser: &mut Parser) -> Result<bool, lexopt::Error> {
    match parser.next()? {
        None => Ok(true),
        Some(Arg::Short('h') | Arg::Long("help")) => Ok(false),
        Some(other) => Err(unexpected(&other, &["--help"])),
    }
}

/// What to say of an argument that has no place where it stands; `options` are those that have.
pub fn unexpected(argument: &Arg, options: &[&str]) -> lexopt::Error {
    let option = match argument {
        Arg::Value(value) => return format!("{value:?} is one argument too many").into(),
        Arg::Short(letter) => format!("-{letter}"),
        Arg::Long(name) => format!("--{name}"),
    };
    let meant = did_you_mean(&option, options.iter().copied());
    format!("there is no option {option} here{meant}").into()
}

/// The value of an option; what is wrong with it is told by the option's name.
///
/// # Errors
/// There is none, or it is not what is `wanted`.
pub fn value<T>(
    parser: &mut Parser,
    option: &str,
    wanted: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, lexopt::Error> {
    let given = parser.value().map_err(|_| format!("{option} needs a value: {wanted}"))?;
    let text = given.string()?;
    read(&text).ok_or_else(|| format!("{option}: {text:?} is not {wanted}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let send = Command::Send { what, queue: Some("bitrix24.queue".into()) };
        assert_eq!(command("send task.json --queue bitrix24.queue"), Ok(send));
        let invoice = Sample::named("invoice").expect("there is one");
        let send = Command::Send { what: send::What::Sample(invoice), queue: None };
        assert_eq!(command("send --sample invoice"), Ok(send));
        assert_eq!(command("send --print --sample invoice"), Ok(Command::Print(invoice)));
        assert_eq!(command("send --print"), Ok(Command::Print(Sample::usual())));
        assert_eq!(command("check --create-field"), Ok(Command::Check { create_field: true }));
        assert_eq!(command("explain -"), Ok(Command::Explain { file: "-".into() }));
        for wrong in [
            "explain",
            "explain a b",
            "run --port 9000",
            "demo fast",
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
        for topic in help::TOPICS {
            let help = Ok(Command::Help(Some(topic.name)));
            for line in ["NAME --help", "NAME -h", "help NAME"] {
                assert_eq!(command(&line.replace("NAME", topic.name)), help, "{line}");
            }
        }
        assert_eq!(command("parked replay --help"), Ok(Command::Help(Some("parked"))));
        assert_eq!(command("sandbox finish --help"), Ok(Command::Help(Some("sandbox"))));
        assert_eq!(command("--help"), Ok(Command::Help(None)));
        assert_eq!(command("help"), Ok(Command::Help(None)));
    }

    #[test]
    fn a_slip_is_told_with_the_nearest_name_and_the_help_that_says_more() {
        for (line, told, help) in [
            ("sned -", "there is no command \"sned\"; did you mean send?", "--help"),
            ("help chekc", "did you mean check?", "--help"),
            ("frobnicate", "there are run, check, send, explain, parked, demo, sandbox", "--help"),
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
            ("sandbox --prot 7", "did you mean --port?", "sandbox --help"),
            ("run fast", "\"fast\" is one argument too many", "run --help"),
        ] {
            let wrong = command(line).expect_err(line);
            assert!(wrong.contains(told), "{line}: {wrong}");
            assert!(wrong.ends_with(&format!("Try: {} {help}", terminal::program())), "{line}: {wrong}");
        }
    }
}
