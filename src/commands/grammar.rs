//! What may stand on the command line: one table of all commands, with their actions, options and values, and of the
//! exit codes.
//!
//! `help` prints it, `manual` makes the man page of it, `completions` what shells complete. The parsers take from it
//! what may have been meant by an unknown word. It reads no arguments itself: each command does that, and tests hold
//! both together.

use super::completions::Shell;
use super::control::LEVELS;
use super::fakes::FAKES;
use super::interrupts::INTERRUPTED;
use super::send::SAMPLES;
use super::{EX_CONFIG, EX_USAGE, UNKNOWN, example};
use crate::message::Cause;
use crate::sandbox::ANSWERS;
use crate::sandbox::steering::REFUSALS;
use crate::systems::table;

/// A command.
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// What may follow the name, for people.
    pub takes: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What may stand behind it that is no action and no option.
    pub offers: Offers,
    /// Of which one follows the name.
    pub actions: &'static [Word],
    /// Beside `--help`, which all commands have.
    pub options: &'static [Word],
    /// What remains to be said, or nothing.
    pub note: &'static str,
}

/// An action of a command, or an option.
pub struct Word {
    /// As it is typed.
    pub name: &'static str,
    /// What follows it, for people; nothing if nothing may.
    pub takes: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What may follow it, for a shell.
    pub offers: Offers,
    /// The actions that take this option: all, if it names none. An empty name is the command without an action.
    pub of: &'static [&'static str],
}

/// What a shell may offer.
#[derive(Clone, Copy)]
pub enum Offers {
    /// Nothing: nobody knows what is meant.
    Nothing,
    /// The names of files.
    Files,
    /// One of these.
    Names(fn() -> Vec<String>),
}

impl Word {
    const fn files(self) -> Word {
        Word { offers: Offers::Files, ..self }
    }

    const fn names(self, names: fn() -> Vec<String>) -> Word {
        Word { offers: Offers::Names(names), ..self }
    }

    const fn of(self, of: &'static [&'static str]) -> Word {
        Word { of, ..self }
    }
}

const fn word(name: &'static str, takes: &'static str, about: &'static str) -> Word {
    Word { name, takes, about, offers: Offers::Nothing, of: &[] }
}

const PLAIN: Topic =
    Topic { name: "", takes: "", about: "", offers: Offers::Nothing, actions: &[], options: &[], note: "" };

/// All commands, in the order of the help.
pub const TOPICS: &[Topic] = &[
    Topic { name: "run", about: "run the worker until Ctrl+C or SIGTERM (the default)", ..PLAIN },
    Topic {
        name: "check",
        takes: "[--create-field]",
        about: "check settings, RabbitMQ, the systems that are on and Camunda, and change nothing; a line for each, exit \
                code 1 when one of them is wrong",
        options: &[word(
            "--create-field",
            "",
            "make the field for the task id at Bitrix24 if it is missing (the webhook's owner must be an administrator)",
        )],
        ..PLAIN
    },
    Topic {
        name: "send",
        takes: "[FILE | --sample NAME] [--queue NAME | --print]",
        about: "publish the message in FILE (\"-\": on standard input), or a built-in sample with a new task_id",
        offers: Offers::Files,
        options: &[
            word(
                "--sample",
                "NAME",
                "the sample: approval (the default: asks ДА or НЕТ, has a checklist) or invoice (typed variables, a deadline)",
            )
            .names(|| SAMPLES.iter().map(|sample| sample.name.into()).collect()),
            word("--print", "", "print the sample and send nothing"),
            word("--queue", "NAME", "the queue; that of its system if not given"),
        ],
        ..PLAIN
    },
    Topic {
        name: "explain",
        takes: "FILE",
        about: "show what the worker would do with the message in FILE (\"-\": on standard input): fields, their origins, \
                requests; asks nobody (1C needs ONEC_MAPPING_FILE); exit code 1 when the message would be parked",
        offers: Offers::Files,
        ..PLAIN
    },
    Topic {
        name: "parked",
        takes: "ACTION [ARGUMENT…]",
        about: "the messages in the error queue; only replay and discard take any out, and each may be interrupted at any \
                point",
        actions: &[
            word("list", "", "print a line for each message"),
            word("show", "ID", "print one in full; ID is a task id, or the beginning of one"),
            word("replay", "ID…", "publish them to the queues they came from"),
            word("export", "FILE", "write all of them, a line of JSON each").files(),
            word("discard", "ID…", "delete them for good; needs --yes"),
        ],
        options: &[
            word("--group", "", "count similar ones").of(&["list"]),
            word("--all", "", "all of them, instead of ids").of(&["replay"]),
            word("--cause", "CAUSE", "those of this cause, instead of ids")
                .of(&["replay"])
                .names(|| Cause::ALL.iter().map(|cause| cause.name().into()).collect()),
            word("--limit", "N", "N messages at most").of(&["replay"]),
            word("--rate", "R", "R messages a second").of(&["replay"]),
            word("--dry-run", "", "only say what it would do").of(&["replay"]),
            word("--force", "", "replace an existing FILE").of(&["export"]),
            word("--yes", "", "needed, since it cannot be undone").of(&["discard"]),
            word("--json", "", "a JSON object a line").of(&["list", "show", "replay"]),
        ],
        note: "CAUSE is INVALID_MESSAGE, REQUEST_ERROR, NO_SYSTEM, TASK_FAILED, RETRY_LIMIT_EXCEEDED, TASK_NOT_FOUND, \
               INVALID_RECORD, MESSAGE_TOO_LARGE, or what another program has written",
        ..PLAIN
    },
    Topic {
        name: "trace",
        takes: "TASK_ID [--browse] [--json]",
        about: "say where one task is: asks the running worker (needs MONITOR_ADDR), the targets and Camunda (needs \
                CAMUNDA_URL); exit code 0 when it moves on by itself, 1 when somebody must act, 3 when it is not known",
        options: &[
            word(
                "--browse",
                "",
                "look into the queues too: takes every message out for a moment, of an input queue the first 1,000",
            ),
            word("--json", "", "all of it as JSON"),
        ],
        ..PLAIN
    },
    Topic {
        name: "status",
        takes: "[--watch] [--json]",
        about: "how the running worker is: what needs attention, its lanes, the queues (needs MONITOR_ADDR); exit code 1 \
                when something needs attention",
        options: &[
            word("--watch", "", "draw it again every 2 s, until Ctrl+C"),
            word("--json", "", "the whole status as JSON"),
        ],
        ..PLAIN
    },
    Topic {
        name: "control",
        takes: "ACTION [ARGUMENT…]",
        about: "steer the running worker (needs MONITOR_ADDR and MONITOR_CONTROL_TOKEN)",
        actions: &[
            word("pause", "SYSTEM", "start no task of SYSTEM until it is resumed; needs --reason").names(systems),
            word("resume", "SYSTEM", "start its tasks again").names(systems),
            word("sweep", "SYSTEM", "look at its open tasks now").names(systems),
            word("log-level", "LEVEL", "log DEBUG, INFO, WARNING or ERROR for 10 minutes")
                .names(|| LEVELS.map(String::from).into()),
        ],
        options: &[
            word("--reason", "TEXT", "why; others see it").of(&["", "pause"]),
            word("--for", "15m", "for so long; s, m, h or d").of(&["", "pause", "log-level"]),
            word("--json", "", "print the worker's answer as JSON"),
        ],
        ..PLAIN
    },
    Topic {
        name: "health",
        about: "ask the running worker whether it is ready, a line for each lane (needs MONITOR_ADDR); exit code 1 when \
                it is not",
        ..PLAIN
    },
    Topic {
        name: "reconcile",
        takes: "[OPTION…]",
        about: "find the external tasks that the bridge has locked and nobody has: in no queue, not in the worker, not \
                open or not answered at the target (needs CAMUNDA_URL); exit code 0 when nothing is wrong or all has \
                healed, 1 when something is wrong, 3 when not all could be found out",
        options: &[
            word("--older-than", "30m", "leave alone what the bridge has fetched later; s, m, h or d"),
            word(
                "--repair",
                "",
                "unlock what nobody has, so that the bridge publishes it again, and say after a while what has healed",
            ),
            word("--limit", "N", "unlock at most N tasks; 100 if not given"),
            word("--rate", "R", "unlock R tasks a second; 1 if not given"),
            word("--json", "", "the whole report as JSON"),
        ],
        ..PLAIN
    },
    Topic {
        name: "init",
        about: "ask at the terminal where RabbitMQ is and for the webhook, write .env, check it, and say what is left to \
                do; the other lines of an existing .env stay",
        ..PLAIN
    },
    Topic {
        name: "install-service",
        takes: "[--user NAME]",
        about: "print a unit for systemd with the paths of this program and this folder, and the commands that install \
                it; change nothing",
        options: &[word("--user", "NAME", "whose rights the worker gets; the owner of this folder if not given")],
        ..PLAIN
    },
    Topic {
        name: "print",
        takes: "WHAT",
        about: "print one of the files that this program brings along",
        actions: &[
            word("unit", "", "the unit for systemd that the packages have"),
            word("compose", "", "compose.yaml: RabbitMQ and the worker in containers"),
            word("dockerfile", "", "the Dockerfile of the worker's image"),
            word("alerts", "", "alert rules for Prometheus"),
            word("dashboard", "", "a dashboard for Grafana"),
            word("bpmn", "", "a sample process for Camunda Modeler"),
            word("env", "", "config.env.example: all settings, explained"),
            word("completions", "SHELL", "what bash, zsh or fish needs to complete commands")
                .names(|| Shell::ALL.iter().map(|shell| shell.name().into()).collect()),
            word("man", "", "the man page"),
        ],
        ..PLAIN
    },
    Topic {
        name: "demo",
        takes: "[--system NAME… | --all] [--monitor]",
        about: "run the whole loop on this machine, with a Bitrix24 fake and queues of its own; needs only RabbitMQ",
        options: &[
            word(
                "--system",
                "NAME",
                "with the fake of this system: bitrix24, openproject, 1c, python-services, email, telegram or default \
                 (no fake, its messages are parked); may be given several times",
            )
            .names(|| FAKES.iter().map(|fake| fake.name.into()).collect()),
            word("--all", "", "with all of them at once"),
            word(
                "--monitor",
                "",
                "go on until Ctrl+C, with a page for the browser and a Camunda fake; says what to try",
            ),
        ],
        ..PLAIN
    },
    Topic {
        name: "sandbox",
        takes: "[OPTION… | STEP]",
        about: "run the Bitrix24 fake alone, until Ctrl+C; with a STEP, do something by hand at the Bitrix24 fake at \
                --port",
        actions: &[
            word("finish", "TASK", "finish it"),
            word("answer", "TASK ДА", "answer ДА or НЕТ, and do not finish it"),
            word("delete", "TASK", "delete it"),
            word("refuse", "METHOD", "refuse calls of METHOD (\"*\": all) from now on"),
            word("allow", "", "refuse nothing any more"),
        ],
        options: &[
            word(
                "--system",
                "NAME",
                "the fake of this system: bitrix24, openproject, 1c, python-services, email or telegram",
            )
            .of(&[""])
            .names(|| FAKES.iter().filter(|fake| fake.port.is_some()).map(|fake| fake.name.into()).collect()),
            word(
                "--port",
                "N",
                "its port on 127.0.0.1; if not given, 8024 for bitrix24 and one of its own for each other; 0 for a free \
                 one",
            ),
            word(
                "--finish-after",
                "SECONDS",
                "simulated users finish each task this long after it was created; 10 if not given, 0 for never",
            )
            .of(&[""]),
            word("--answer", "ДА", "answer ДА or НЕТ, too")
                .of(&["finish"])
                .names(|| ANSWERS.iter().map(|(_, answer)| (*answer).into()).collect()),
            word("--status", "CODE", "with 400, 401, 403, 429, 500 or 503; 400 if not given")
                .of(&["refuse"])
                .names(|| REFUSALS.iter().map(|refusal| refusal.status.to_string()).collect()),
            word("--times", "N", "only the next N calls").of(&["refuse"]),
        ],
        note: "TASK is a task's number there, or its id in Camunda",
        ..PLAIN
    },
    Topic {
        name: "help",
        takes: "[COMMAND | SETTING]",
        about: "print the help of all commands or of one, or what a setting means",
        offers: Offers::Names(|| TOPICS.iter().map(|topic| topic.name.into()).chain(example::names()).collect()),
        ..PLAIN
    },
];

/// The options of the program without a command: both names of each, and what it does.
pub const OPTIONS: &[(&str, &str, &str)] = &[
    ("-h", "--help", "print this; after a command, the help of that command"),
    ("-V", "--version", "print the version"),
];

/// What each exit code means.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done"),
    (
        1,
        "something failed, or a message was unsettled when the time for stopping was over, or (status, health, trace, \
         reconcile) somebody must act",
    ),
    (UNKNOWN, "trace or reconcile could not find out everything"),
    (EX_USAGE, "wrong usage"),
    (EX_CONFIG, "wrong settings, or RabbitMQ refuses credentials, virtual host or rights before a session has worked"),
    (INTERRUPTED, "cut short by Ctrl+C: the worker by the second one, other commands by the first"),
];

fn systems() -> Vec<String> {
    table::names().into_iter().map(String::from).collect()
}

/// The command of this name.
pub fn topic(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// The names of a command's actions.
pub fn actions(command: &str) -> Vec<&'static str> {
    topic(command).into_iter().flat_map(|topic| topic.actions).map(|action| action.name).collect()
}

/// The options of a command with this action; with an empty one, of the command before an action.
pub fn options(command: &str, action: &str) -> Vec<&'static str> {
    let own = topic(command).into_iter().flat_map(|topic| topic.options_of(action)).map(|option| option.name);
    own.chain(["--help"]).collect()
}

impl Topic {
    /// Its options with this action.
    pub fn options_of(&self, action: &str) -> impl Iterator<Item = &'static Word> {
        self.options.iter().filter(move |option| option.of.is_empty() || option.of.contains(&action))
    }
}

/// A name, and what follows it.
pub fn term(name: &str, takes: &str) -> String {
    if takes.is_empty() { name.to_owned() } else { format!("{name} {takes}") }
}

/// What an option does, after the actions that it is for.
pub fn about_option(option: &Word) -> String {
    let of: Vec<&str> = option.of.iter().copied().filter(|action| !action.is_empty()).collect();
    if of.is_empty() { option.about.to_owned() } else { format!("{}: {}", of.join(", "), option.about) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::commands::parse;

    fn error(line: &[&str]) -> String {
        parse(line.iter().map(Into::into)).err().map(|wrong| wrong.text).unwrap_or_default()
    }

    #[test]
    fn every_action_and_every_option_of_the_table_is_read() {
        for topic in TOPICS {
            for action in [""].into_iter().chain(actions(topic.name)) {
                let line: Vec<&str> = [topic.name, action].into_iter().filter(|word| !word.is_empty()).collect();
                assert!(!error(&line).contains("there is no"), "{}", error(&line));
                for option in topic.options_of(action) {
                    let told = error(&[line.as_slice(), &[option.name]].concat());
                    assert!(!told.contains("there is no option"), "{told}");
                    let has_value = told.contains(&format!("{} needs a value", option.name));
                    assert_eq!(has_value, !option.takes.is_empty(), "{line:?} {}: {told}", option.name);
                }
            }
        }
    }

    #[test]
    fn every_option_that_is_read_is_in_the_table() {
        let mut read = BTreeSet::new();
        options_in(Path::new("src/commands"), &mut read);
        let known = TOPICS.iter().flat_map(|topic| topic.options).map(|option| option.name);
        let known: BTreeSet<String> = known.chain(OPTIONS.iter().map(|(_, name, _)| *name)).map(String::from).collect();
        assert_eq!(read, known);
    }

    fn options_in(folder: &Path, read: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("it is part of the repository") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                options_in(&path, read);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("it is text");
                let found = text.split("Arg::Long(\"").skip(1).filter_map(|rest| rest.split_once('"'));
                read.extend(found.filter(|(_, rest)| rest.starts_with(')')).map(|(name, _)| format!("--{name}")));
            }
        }
    }

    #[test]
    fn what_the_table_says_of_others_is_so() {
        for topic in TOPICS {
            for option in topic.options {
                assert!(
                    option.of.iter().all(|of| of.is_empty() || actions(topic.name).contains(of)),
                    "{}",
                    option.name
                );
            }
        }
        let about = |command: &str, option: &str| {
            let topic = topic(command).expect("it is in the table");
            let found = topic.options.iter().chain(topic.actions).find(|word| word.name == option);
            let word = found.expect("it is in the table");
            let Offers::Names(names) = word.offers else { panic!("{option} offers no names") };
            (format!("{} {}", word.about, topic.note), names())
        };
        for (command, option) in [
            ("demo", "--system"),
            ("sandbox", "--system"),
            ("parked", "--cause"),
            ("send", "--sample"),
            ("sandbox", "--answer"),
            ("sandbox", "--status"),
            ("control", "log-level"),
            ("print", "completions"),
        ] {
            let (about, names) = about(command, option);
            assert!(!names.is_empty() && names.iter().all(|name| about.contains(name.as_str())), "{command} {option}");
        }
    }
}
