//! The help: of all commands, or of one. It fits 80 columns. Commands in it start as the user called the program.

use crate::terminal::program;

/// A command and its help.
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// What may follow the name.
    usage: &'static str,
    about: &'static str,
}

const fn topic(name: &'static str, usage: &'static str, about: &'static str) -> Topic {
    Topic { name, usage, about }
}

/// All commands, in the order of the help.
pub const TOPICS: &[Topic] = &[
    topic(
        "run",
        "",
        "
  run              run the worker until Ctrl+C or SIGTERM (the default)",
    ),
    topic(
        "check",
        "[--create-field]",
        "
  check            check settings, RabbitMQ, the systems that are on and
                   Camunda, and change nothing; a line for each, exit code 1
                   when one of them is wrong
    --create-field   make the field for the task id at Bitrix24 if it is missing
                     (the webhook's owner must be an administrator)",
    ),
    topic(
        "send",
        "[FILE | --sample NAME] [--queue NAME | --print]",
        "
  send [FILE]      publish the message in FILE (\"-\": on standard input), or a
                   built-in sample with a new task_id
    --sample NAME    approval (the default: asks ДА or НЕТ, has a checklist) or
                     invoice (typed variables, a deadline)
    --print          print the sample and send nothing
    --queue NAME     the queue; that of its system if not given",
    ),
    topic(
        "explain",
        "FILE",
        "
  explain FILE     show what the worker would do with the message in FILE (\"-\":
                   on standard input): fields, their origins, requests; asks
                   nobody (1C needs ONEC_MAPPING_FILE); exit code 1 when the
                   message would be parked",
    ),
    topic(
        "parked",
        "ACTION [ARGUMENT…]",
        "
  parked           the messages in the error queue; only replay and discard
                   take any out, and each may be interrupted at any point
    list             print a line for each message; --group counts similar ones
    show ID          print one in full; ID is a task id, or the beginning of one
    replay ID…       publish them to the queues they came from; --all, or
                     --cause CAUSE, instead of ids; --limit N messages at most,
                     --rate R a second; --dry-run only says what it would do
    export FILE      write all of them, a line of JSON each; --force replaces an
                     existing FILE
    discard ID… --yes
                     delete them for good
    --json           for list, show and replay: a JSON object a line
    CAUSE is INVALID_MESSAGE, REQUEST_ERROR, NO_SYSTEM, TASK_FAILED,
    RETRY_LIMIT_EXCEEDED, TASK_NOT_FOUND, INVALID_RECORD, MESSAGE_TOO_LARGE, or
    what another program has written",
    ),
    topic(
        "trace",
        "TASK_ID [--browse] [--json]",
        "
  trace TASK_ID    say where one task is: asks the running worker (needs
                   MONITOR_ADDR), the targets and Camunda (needs CAMUNDA_URL);
                   exit code 0 when it moves on by itself, 1 when somebody must
                   act, 3 when it is not known
    --browse         look into the queues too: takes every message out for a
                     moment, of an input queue the first 1,000
    --json           all of it as JSON",
    ),
    topic(
        "status",
        "[--watch] [--json]",
        "
  status           how the running worker is: what needs attention, its lanes,
                   the queues (needs MONITOR_ADDR); exit code 1 when something
                   needs attention
    --watch          draw it again every 2 s, until Ctrl+C
    --json           the whole status as JSON",
    ),
    topic(
        "control",
        "ACTION [ARGUMENT…]",
        "
  control          steer the running worker (needs MONITOR_ADDR and
                   MONITOR_CONTROL_TOKEN)
    pause SYSTEM --reason TEXT
                     start no task of SYSTEM until it is resumed; --for 15m:
                     for so long
    resume SYSTEM    start its tasks again
    sweep SYSTEM     look at its open tasks now
    log-level LEVEL  log DEBUG, INFO, WARNING or ERROR for 10 minutes; --for 2h:
                     for so long
    --json           print the worker's answer as JSON",
    ),
    topic(
        "health",
        "",
        "
  health           ask the running worker whether it is ready, a line for each
                   lane (needs MONITOR_ADDR); exit code 1 when it is not",
    ),
    topic(
        "reconcile",
        "[OPTION…]",
        "
  reconcile        find the external tasks that the bridge has locked and nobody
                   has: in no queue, not in the worker, not open or not answered
                   at the target (needs CAMUNDA_URL); exit code 0 when nothing
                   is wrong or all has healed, 1 when something is wrong, 3 when
                   not all could be found out
    --older-than 30m leave alone what the bridge has fetched later; s, m, h or d
    --repair         unlock what nobody has, so that the bridge publishes it
                     again, and say after a while what has healed
    --limit N        unlock at most N tasks; 100 if not given
    --rate R         unlock R tasks a second; 1 if not given
    --json           the whole report as JSON",
    ),
    topic(
        "init",
        "",
        "
  init             ask at the terminal where RabbitMQ is and for the webhook,
                   write .env, check it, and say what is left to do; the other
                   lines of an existing .env stay",
    ),
    topic(
        "install-service",
        "[--user NAME]",
        "
  install-service  print a unit for systemd with the paths of this program and
                   this folder, and the commands that install it; change nothing
    --user NAME      whose rights the worker gets; the owner of this folder if
                     not given",
    ),
    topic(
        "demo",
        "[--system NAME… | --all] [--monitor]",
        "
  demo             run the whole loop on this machine, with a Bitrix24 fake
                   and queues of its own; needs only RabbitMQ
    --system NAME    with the fake of this system: bitrix24, openproject, 1c,
                     python-services, email, telegram or default (no fake, its
                     messages are parked); may be given several times
    --all            with all of them at once
    --monitor        go on until Ctrl+C, with a page for the browser and a
                     Camunda fake; says what to try",
    ),
    topic(
        "sandbox",
        "[OPTION… | STEP]",
        "
  sandbox          run the Bitrix24 fake alone, until Ctrl+C
    --system NAME    the fake of this system: bitrix24, openproject, 1c,
                     python-services, email or telegram
    --port N         its port on 127.0.0.1; if not given, 8024 for bitrix24 and
                     one of its own for each other; 0 for a free one
    --finish-after SECONDS
                     simulated users finish each task this long after it was
                     created; 10 if not given, 0 for never
  sandbox STEP     do something by hand at the Bitrix24 fake at --port;
                   TASK is a task's number there, or its id in Camunda
    finish TASK      finish it; with --answer ДА or НЕТ, answer too
    answer TASK ДА   answer ДА or НЕТ, and do not finish it
    delete TASK      delete it
    refuse METHOD    refuse calls of METHOD (\"*\": all) from now on, with
                     --status 400, 401, 403, 429, 500 or 503 (400 if not
                     given); with --times N only the next N of them
    allow            refuse nothing any more",
    ),
];

const EXIT_CODES: &str = "
Exit codes: 0 done; 1 something failed, or a message was unsettled when the time
for stopping was over, or (status, health, trace, reconcile) somebody must act;
3 trace or reconcile could not find out everything; 64 wrong usage; 78 wrong
settings, or RabbitMQ refuses credentials, virtual host or rights before a
session has worked; 130 cut short by Ctrl+C: the worker by the second one, other
commands by the first.
";

/// The help of the command of this name, or of all commands.
pub fn help(name: Option<&str>) -> String {
    match TOPICS.iter().find(|topic| Some(topic.name) == name) {
        Some(topic) => of_one(topic),
        None => of_all(),
    }
}

fn of_one(Topic { name, usage, about }: &Topic) -> String {
    let usage = if usage.is_empty() { String::new() } else { format!(" {usage}") };
    format!("Usage: {program} {name}{usage}\n{about}\n\nAll commands: {program} --help\n", program = program())
}

fn of_all() -> String {
    let commands: String = TOPICS.iter().map(|topic| topic.about).collect();
    format!(
        "\
Task Creator carries Camunda's tasks from RabbitMQ to the systems where people
do the work, follows each one until it is finished, and answers on
camunda.responses.queue.

Usage: {} [COMMAND]

Commands:{commands}

Options:
  -h, --help       print this; after a command, the help of that command
  -V, --version    print the version

Settings come from the environment and from .env in the working directory; the
environment wins. config.env.example explains each of them.
{EXIT_CODES}",
        program()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::fakes::FAKES;
    use crate::message::Cause;

    #[test]
    fn a_command_has_a_help_of_its_own_and_all_fit_a_terminal() {
        for topic in TOPICS {
            // The path of a test is longer than what anybody types.
            let help = help(Some(topic.name)).replace(program(), "./task-creator");
            assert!(help.starts_with(&format!("Usage: ./task-creator {}", topic.name)), "{help}");
            assert!(TOPICS.iter().filter(|other| help.contains(other.about)).count() == 1, "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
        }
        let all = help(None);
        assert!(TOPICS.iter().all(|topic| all.contains(topic.about)) && all.contains("Exit codes:"));
        assert!(all.lines().filter(|line| !line.starts_with("Usage")).all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn the_help_names_every_system_with_a_fake() {
        for entry in FAKES {
            assert!(help(Some("demo")).contains(entry.name), "{}", entry.name);
            assert!(entry.port.is_none() || help(Some("sandbox")).contains(entry.name), "{}", entry.name);
        }
    }

    #[test]
    fn the_help_names_every_cause() {
        assert!(Cause::ALL.iter().all(|cause| help(Some("parked")).contains(cause.name())));
    }
}
