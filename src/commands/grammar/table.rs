//! The table of all commands, their actions, options and values, and of the exit codes. Texts and names only.

use super::{Offers, Topic, Word};
use crate::commands::completions::Shell;
use crate::commands::control::LEVELS;
use crate::commands::fakes::FAKES;
use crate::commands::interrupts::INTERRUPTED;
use crate::commands::send::SAMPLES;
use crate::commands::{EX_CONFIG, EX_USAGE, UNKNOWN, example};
use crate::message::Cause;
use crate::sandbox::ANSWERS;
use crate::sandbox::steering::REFUSALS;
use crate::systems::table;

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
