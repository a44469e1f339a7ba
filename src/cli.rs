//! The command line: what the program is asked to do, and its help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt as _};

use crate::parked::{self, Action};

/// What `--help` prints.
pub const HELP: &str = "\
Task Creator carries Camunda's tasks from RabbitMQ to Bitrix24, follows each one
until a person has finished it, and answers on camunda.responses.queue.

Usage: task-creator [COMMAND]

Commands:
  run              work until Ctrl+C or SIGTERM (the default)
  check            look at settings, RabbitMQ and Bitrix24 and change nothing;
                   a line for each, exit code 1 when one of them is wrong
    --create-field   make the field for the task id at Bitrix24 if it is missing
                     (the webhook's owner must be an administrator)
  send [FILE]      put a task into a queue: the message in FILE, \"-\" for
                   standard input, or a built-in sample with a new task_id
    --queue NAME     the queue; bitrix24.queue if not given
  explain FILE     what would become of the message in FILE, \"-\" for standard
                   input: fields, where they come from, requests; needs neither
                   RabbitMQ nor a webhook; exit code 1 when it would be parked
  parked           what is in the error queue; nothing but replay and discard
                   takes anything out, and each may be interrupted at any point
    list             a line for each message; --group counts alike ones
    show ID          all of one; ID is a task id, or the beginning of one
    replay ID…       back to the queue it came from; --all, or --cause CAUSE,
                     instead of ids; --limit N messages at most, --rate R a
                     second; --dry-run only says what it would do
    export FILE      all of them, a line of JSON each
    discard ID… --yes
                     away with them, for good
    --json           for list, show and replay: a JSON object a line
  demo             run the whole loop on this machine, with a Bitrix24 stand-in
                   and queues of its own; needs only RabbitMQ
  sandbox          run the Bitrix24 stand-in alone, until Ctrl+C
    --port N         its port on 127.0.0.1; 8024 if not given, 0 for a free one
    --finish-after SECONDS
                     its people finish each task so long after it was created;
                     10 if not given, 0 for never

Options:
  -h, --help       print this
  -V, --version    print the version

Settings come from the environment and from .env in the working directory; the
environment wins. config.env.example explains each of them.

Exit codes: 0 done; 1 something failed, or was in the air when the time for
stopping was over; 64 wrong usage; 78 wrong settings, or RabbitMQ refuses the
very first session; 130 cut short by Ctrl+C: demo and parked by the first one,
the worker by the second.
";

/// The port of the stand-in, and when its people finish a task, unless told otherwise.
const SANDBOX_PORT: u16 = 8024;
const FINISH_AFTER: Duration = Duration::from_secs(10);

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
        /// The message; the built-in sample when absent, standard input for `-`.
        file: Option<PathBuf>,
        /// The queue; that of Bitrix24 when absent.
        queue: Option<String>,
    },
    /// Say what would become of a message.
    Explain {
        /// The message; standard input for `-`.
        file: PathBuf,
    },
    /// See to what was parked.
    Parked(Action),
    /// Show the whole loop.
    Demo,
    /// Run the stand-in.
    Sandbox {
        /// TCP port on loopback.
        port: u16,
        /// How long after its creation a person finishes each task; never when absent.
        finish_after: Option<Duration>,
    },
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
}

/// The command in these arguments, the program's name not among them.
///
/// # Errors
/// What is wrong with them.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = Parser::from_args(arguments);
    let mut command = match parser.next()? {
        None => return Ok(Command::Run),
        Some(Arg::Short('h') | Arg::Long("help")) => return Ok(Command::Help),
        Some(Arg::Short('V') | Arg::Long("version")) => return Ok(Command::Version),
        Some(Arg::Value(name)) => match name.string()?.as_str() {
            "run" => Command::Run,
            "check" => Command::Check { create_field: false },
            "send" => Command::Send { file: None, queue: None },
            "explain" => Command::Explain { file: PathBuf::new() },
            "parked" => match parked::arguments::read(&mut parser)? {
                Some(action) => Command::Parked(action),
                None => return Ok(Command::Help),
            },
            "demo" => Command::Demo,
            "sandbox" => Command::Sandbox { port: SANDBOX_PORT, finish_after: Some(FINISH_AFTER) },
            "help" => return Ok(Command::Help),
            other => return Err(format!("there is no command {other:?}").into()),
        },
        Some(other) => return Err(other.unexpected()),
    };
    while let Some(argument) = parser.next()? {
        match (&mut command, argument) {
            (_, Arg::Short('h') | Arg::Long("help")) => return Ok(Command::Help),
            (Command::Check { create_field }, Arg::Long("create-field")) => *create_field = true,
            (Command::Send { queue, .. }, Arg::Long("queue")) => *queue = Some(parser.value()?.string()?),
            (Command::Send { file: file @ None, .. }, Arg::Value(path)) => *file = Some(path.into()),
            (Command::Explain { file }, Arg::Value(path)) if *file == PathBuf::new() => *file = path.into(),
            (Command::Sandbox { port, .. }, Arg::Long("port")) => {
                *port = value(&mut parser, "--port", "a port, 0 to 65535", |text| text.parse().ok())?;
            }
            (Command::Sandbox { finish_after, .. }, Arg::Long("finish-after")) => {
                *finish_after = value(&mut parser, "--finish-after", "a number of seconds", seconds)?;
            }
            (_, argument) => return Err(argument.unexpected()),
        }
    }
    match command {
        Command::Explain { file } if file == PathBuf::new() => Err("explain needs a FILE".into()),
        command => Ok(command),
    }
}

/// The value of an option; what is wrong with it is told by the option's name.
pub fn value<T>(
    parser: &mut Parser,
    option: &str,
    wanted: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, lexopt::Error> {
    let text = parser.value()?.string()?;
    read(&text).ok_or_else(|| format!("{option}: {text:?} is not {wanted}").into())
}

/// A number of seconds, a fraction allowed; `None` for 0.
fn seconds(text: &str) -> Option<Option<Duration>> {
    let seconds = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
    Some(Some(seconds).filter(|seconds| !seconds.is_zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|err| err.to_string())
    }

    #[test]
    fn without_a_command_the_worker_runs() {
        assert_eq!(command(""), Ok(Command::Run));
        assert_eq!(command("run"), Ok(Command::Run));
    }

    #[test]
    fn options_belong_to_their_command() {
        let sandbox = |port, finish_after| Ok(Command::Sandbox { port, finish_after });
        assert_eq!(command("sandbox --port 9000"), sandbox(9000, Some(FINISH_AFTER)));
        assert_eq!(command("sandbox --finish-after 0.5"), sandbox(SANDBOX_PORT, Some(Duration::from_millis(500))));
        assert_eq!(command("sandbox --finish-after 0"), sandbox(SANDBOX_PORT, None));
        let send = Command::Send { file: Some("task.json".into()), queue: Some("bitrix24.queue".into()) };
        assert_eq!(command("send task.json --queue bitrix24.queue"), Ok(send));
        assert_eq!(command("check --create-field"), Ok(Command::Check { create_field: true }));
        assert_eq!(command("explain -"), Ok(Command::Explain { file: "-".into() }));
        assert!(command("explain").is_err());
        assert!(command("explain a b").is_err());
        assert!(command("run --port 9000").is_err());
        assert_eq!(command("sandbox --port x").unwrap_err(), r#"--port: "x" is not a port, 0 to 65535"#);
        for wrong in ["-1", "x", "NaN", "inf", "1e40"] {
            assert!(command(&format!("sandbox --finish-after {wrong}")).is_err(), "{wrong}");
        }
        assert!(command("sned").unwrap_err().contains("sned"));
    }

    #[test]
    fn help_is_never_wider_than_a_terminal() {
        assert!(HELP.lines().all(|line| line.chars().count() <= 80));
    }
}
