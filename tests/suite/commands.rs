//! The command line besides `run` and `check`: what `send` publishes, help, wrong usage, wrong settings, advice that
//! can be pasted, lines that fit a terminal, and that no command prints a secret.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::support::parked::{parked, put, small_task};
use crate::support::worker::settings;
use crate::support::*;
use amiquip::AmqpValue;
use serde_json::json;

#[test]
fn wrong_settings_are_told_together_and_nothing_is_touched() {
    let queues = Queues::new("wrong settings");
    let portal = Portal::of(&Tasks::new());
    let changes = [("RABBITMQ_PORT", "x"), ("BITRIX_RATE", "-1")];
    for arguments in [["check"], ["send"]] {
        let ended = run_with(&arguments, &queues, &portal.webhook(), &changes);
        ended.ended_with(78).has("2 error(s)").has("RABBITMQ_PORT is \"x\"").has("BITRIX_RATE is \"-1\"");
    }
    assert!(portal.requests().is_empty());
    let folder = run_with(&["check"], &queues, &portal.webhook(), &[("LOG_DIR", "/dev/null/logs")]);
    folder.ended_with(1).has("FAIL  LOG_DIR=/dev/null/logs: ").has("ok    bitrix24: tasks can be found");
}

#[test]
fn no_secret_is_printed_whatever_goes_wrong() {
    let queues = Queues::new("secrets");
    // The portal names its own address in every error.
    let portal = Portal::start(|call| match call.method.as_str() {
        "profile" => Answer::Done(json!({"ID": "1", "NAME": "portal-canary-token\u{1b}[31m\nFAIL"})),
        _ => Answer::refused(400, "ERROR_CORE", "http://x/rest/1/portal-canary-token/ password-canary"),
    });
    for host in ["127.0.0.1", "rabbit.invalid"] {
        let changes = [("RABBITMQ_PASSWORD", "password-canary"), ("RABBITMQ_HOST", host)];
        for arguments in [["check", "--create-field"].as_slice(), &["send"], &["run"]] {
            let mut program = Worker::run(arguments, &changed(&queues, &portal.webhook(), &changes));
            if arguments == ["run"] {
                eventually("a word about RabbitMQ", PATIENCE, || program.output().contains("RabbitMQ"));
                program.kill();
            } else {
                program.wait(PATIENCE);
            }
            let ended = Ended { code: None, output: program.output() };
            ended.has("RabbitMQ").has_not("canary").has_not("\u{1b}").has_not("\nFAIL acts");
        }
    }
}

#[test]
fn the_sample_has_the_bridges_properties_and_becomes_a_task() {
    let queues = Queues::new("send sample");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    for _ in 0..2 {
        let ended = run_with(&["send"], &queues, &portal.webhook(), &[]);
        ended.ended_with(0).has(&format!("sent to {}: task_id=", queues.input())).has_not("warning");
    }
    let messages = queues.take_all(&queues.input());
    assert_eq!(messages.len(), 2);
    assert_ne!(messages[0].json()["task_id"], messages[1].json()["task_id"]);
    let (properties, body) = (&messages[0].properties, messages[0].json());
    assert_eq!(properties.content_type().as_deref(), Some("application/json"));
    assert_eq!(*properties.delivery_mode(), Some(2));
    let milliseconds = body["timestamp"].as_u64().unwrap();
    assert!(properties.timestamp().unwrap().abs_diff(milliseconds / 1000) <= 60, "{properties:?}");
    for (header, member) in [
        ("camunda_topic", "topic"),
        ("target_system", "system"),
        ("task_id", "task_id"),
        ("process_instance_id", "process_instance_id"),
    ] {
        let expected = AmqpValue::LongString(body[member].as_str().unwrap().into());
        assert_eq!(messages[0].headers.get(header), Some(&expected), "{header}");
    }
    let sent = run_with(&["send"], &queues, &portal.webhook(), &[]).output;
    let _worker = Worker::start(&queues, &portal.webhook(), &[]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    let task = tasks.task(sent.trim().rsplit('=').next().unwrap());
    assert_eq!(task["TITLE"], "Согласовать договор с ООО «Ромашка»");
    assert_eq!(task["RESPONSIBLE_ID"], "1");
    eventually("the checklist and the synchronisation", PATIENCE, || {
        tasks.checklists().len() == 3 && tasks.syncs().len() == 1
    });
}

#[test]
fn a_file_and_standard_input_are_sent_byte_for_byte() {
    let queues = Queues::new("send file");
    let tasks = field_text("from-a-file");
    let file = std::env::temp_dir().join(format!("task-creator-send-{}", std::process::id()));
    let not_a_task = b"\xff\x00{\r\n".as_slice();
    let mut sent = Vec::new();
    for (body, told) in [(tasks.as_bytes(), "task_id=from-a-file"), (not_a_task, "5 byte(s) that are not a task")] {
        fs::write(&file, body).unwrap();
        let environment = settings(&queues, "");
        let from_file = run(&["send", file.to_str().unwrap()], &environment);
        from_file.ended_with(0).has(told);
        assert_eq!(from_file.output.contains("warning: the worker parks this message in"), body == not_a_task);
        let mut from_input = Command::new(env!("CARGO_BIN_EXE_task-creator"));
        let input = from_input.env_clear().envs(environment).args(["send", "-"]).stdin(File::open(&file).unwrap());
        assert!(input.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        sent.extend([body.to_vec(), body.to_vec()]);
    }
    fs::remove_file(&file).unwrap();
    let bodies: Vec<Vec<u8>> = queues.take_all(&queues.input()).into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, sent);
}

#[test]
fn a_message_is_sent_to_the_queue_of_the_system_that_it_belongs_to() {
    let queues = Queues::undeclared("send by topic");
    let file = std::env::temp_dir().join(format!("task-creator-send-topic-{}", std::process::id()));
    for (body, queue) in [
        (r#"{"task_id": "t", "topic": "send_email", "system": "python-services"}"#, "email.queue"),
        (r#"{"task_id": "t", "topic": "other", "system": "1c"}"#, "1c.queue"),
        (r#"{"task_id": "t"}"#, "bitrix24.queue"),
    ] {
        fs::write(&file, body).unwrap();
        let sent = run_with(&["send", file.to_str().unwrap()], &queues, "", &[]);
        sent.ended_with(1).has(&format!("there is no queue {} in", queues.named(queue)));
    }
    fs::remove_file(&file).unwrap();
}

#[test]
fn a_queue_that_is_not_there_is_not_sent_to() {
    let queues = Queues::undeclared("send nowhere");
    let other = queues.named("other");
    let to_other = ["send", "--queue", &other];
    run_with(&["send"], &queues, "", &[]).ended_with(1).has(&format!("there is no queue {} in", queues.input()));
    run_with(&to_other, &queues, "", &[]).ended_with(1).has(&format!("there is no queue {other} in")).has("start the");
    assert!(queues.state(&queues.input()).is_none() && queues.state(&other).is_none());
    queues.declare(&other);
    run_with(&to_other, &queues, "", &[]).ended_with(0).has(&format!("sent to {other}: task_id="));
    assert_eq!(queues.count(&other), 1);
    run_with(&["send", "no-such-file"], &queues, "", &[]).ended_with(1).has("reading no-such-file: No such file");
}

#[test]
fn a_user_who_may_not_publish_is_told_so() {
    let queues = Queues::new("send forbidden");
    let (name, vhost) = (format!("reader-{}", std::process::id()), &*queues.broker().rabbitmq().vhost);
    if rabbitmqctl(&["-q", "add_user", &name, "reader-password"]).is_none() {
        return;
    }
    rabbitmqctl(&["-q", "set_permissions", "-p", vhost, &name, "^$", "^$", ".*"]);
    let changes = [("RABBITMQ_USERNAME", &*name), ("RABBITMQ_PASSWORD", "reader-password")];
    let ended = run_with(&["send"], &queues, "", &changes);
    rabbitmqctl(&["-q", "delete_user", &name]);
    ended.ended_with(1).has("ACCESS_REFUSED").has_not("reader-password").has_not("sent to");
    assert_eq!(queues.count(&queues.input()), 0);
}

#[test]
fn help_and_version_need_no_settings_and_a_wrong_option_is_told() {
    for arguments in [["--help"], ["-h"], ["help"]] {
        run(&arguments, &[]).ended_with(0).has("Usage: ").has("Exit codes:").has("    finish TASK ");
    }
    for arguments in [["check", "--help"], ["help", "check"]] {
        run(&arguments, &[]).ended_with(0).has("--create-field").has_not("  sandbox ").has_not("Exit codes:");
    }
    run(&["--version"], &[]).ended_with(0).has(concat!("task-creator ", env!("CARGO_PKG_VERSION"), "\n"));
    for (arguments, meant) in [
        (["check", "--create-feild"], "did you mean --create-field?"),
        (["send", "--queue"], "--queue needs a value"),
        (["run", "fast"], "one argument too many"),
        (["sned", "-"], "did you mean send?"),
        (["parked", "exprot"], "did you mean export?"),
        (["sandbox", "delte"], "did you mean delete?"),
        (["send", "--sample"], "approval or invoice"),
    ] {
        let ended = run(&arguments, &[]);
        ended.ended_with(64).has("Try: ").has("--help").has(meant);
    }
}

/// Runs the program under this name, at a terminal of this width.
fn called(name: &str, width: &str, arguments: &[&str], environment: &[(String, String)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_task-creator"));
    command.arg0(name).args(arguments).env_clear().envs(environment.iter().cloned()).env("COLUMNS", width);
    let done =
        command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).output().expect("the built binary starts");
    let output = [done.stdout, done.stderr].concat();
    Ended { code: done.status.code(), output: String::from_utf8(output).expect("UTF-8") }
}

#[test]
fn what_is_advised_can_be_pasted() {
    let called =
        |name, arguments: &[&str], environment: &[(String, String)]| called(name, "1000", arguments, environment);
    called("./task-creator", &["sned"], &[]).ended_with(64).has("Try: ./task-creator --help\n");
    called("task-creator", &["check", "--fix"], &[]).has("Try: task-creator check --help\n");
    called("/opt/my tools/task-creator", &["run", "x"], &[]).has("Try: '/opt/my tools/task-creator' run --help\n");
    called("./task-creator", &["--help"], &[]).has("Usage: ./task-creator [COMMAND]\n");
    called("./task-creator", &["parked", "discard", "a 1", "b"], &[])
        .has("`./task-creator parked discard --yes 'a 1' b`");
    let queues = Queues::new("advice");
    let portal = Portal::of(&Tasks::new());
    let changes = [("BITRIX_TASK_ID_FIELD", "UF_NOT_THERE")];
    let settings = changed(&queues, &portal.webhook(), &changes);
    called("./task-creator", &["check"], &settings).ended_with(1).has("`./task-creator check --create-field`");
    called("./task-creator", &["parked", "show", "x"], &settings).ended_with(1).has("`./task-creator parked list`");
    queues.delete(&queues.input());
    called("./task-creator", &["send"], &settings).ended_with(1).has("the worker (`./task-creator`)");
}

#[test]
fn what_a_parked_message_advises_names_it() {
    let queues = Queues::new("advice parked");
    let portal = Portal::start(|call| match call.method.as_str() {
        "tasks.task.list" => Answer::Done(json!({"tasks": []})),
        _ => Answer::refused(400, "ERROR_CORE", "no"),
    });
    let _worker = Worker::start(&queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("an id"));
    queues.await_count(&queues.errors(), 1, PATIENCE);
    let action = queues.peek_all(&queues.errors())[0].json()["suggested_action"].to_string();
    assert!(action.contains("/task-creator parked replay 'an id'"), "{action}");
}

#[track_caller]
fn assert_fits(ended: &Ended, width: usize) {
    for line in ended.output.lines() {
        // What cannot be broken has a line of its own: a command to paste, an id, a name.
        let unbroken = line.matches('`').count() >= 2 || !line.trim().contains(' ');
        assert!(line.chars().count() <= width || unbroken, "{line:?} of\n{}", ended.output);
    }
}

#[test]
fn help_tables_and_messages_fit_a_terminal_without_broken_words() {
    let queues = Queues::new("narrow");
    let error = "tasks.task.add: http status 400: ERROR_CORE: Пользователь, указанный в поле «Исполнитель», не найден";
    let ids = ["42384f3b-4e37-25c7-7e45-8541e7d97ca3", "5b02dc8ea0caad00"];
    let parked = ids.map(|id| parked(&small_task(id), "RETRY_LIMIT_EXCEEDED", error, &queues.input()));
    put(&queues, &parked);
    let file = std::env::temp_dir().join(format!("task-creator-narrow-{}", std::process::id()));
    let sample = run(&["send", "--print"], &[]).output;
    fs::write(&file, sample).unwrap();
    let file = file.to_str().unwrap();
    let portal = Portal::of(&Tasks::new());
    let changes = [("BITRIX_TASK_ID_FIELD", "UF_NOT_THERE"), ("RABBITMQ_HEARTBEAT", "600")];
    let settings = changed(&queues, &portal.webhook(), &changes);
    let wrong = changed(&queues, "", &[("RABBITMQ_PORT", "x"), ("BITRIX_RATE", "x"), ("HEARTBEAT_INTERVAL", "x")]);
    for (arguments, environment) in [
        (["--help"].as_slice(), &settings),
        (&["check"], &settings),
        (&["check"], &wrong),
        (&["explain", file], &settings),
        (&["send", "--print", "--queue", "no"], &settings),
        (&["send", "--queue", "there-is-no-such-queue"], &settings),
        (&["parked", "list"], &settings),
        (&["parked", "list", "--group"], &settings),
        (&["parked", "replay", "--all", "--dry-run"], &settings),
        (&["parked", "replay", "--cause", "RETRY_LIMIT_EXCEDED"], &settings),
        (&["parked", "discard", "5b02"], &settings),
        (&["parked", "show", "4238"], &settings),
        (&["sandbox", "finish", "7", "--port", "1"], &settings),
    ] {
        let narrow = called("./task-creator", "80", arguments, environment);
        // The requests of an explanation and the message itself stay as they are: somebody may copy them.
        let text = narrow.output.split("\n1. ").next().and_then(|text| text.split("\nthe message (").next());
        let text = Ended { code: None, output: text.unwrap_or_default().to_owned() };
        assert_fits(&text, 80);
        let wide = called("./task-creator", "500", arguments, environment);
        let words = |text: &str| {
            let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            words.retain(|word| !word.contains("ms") && !["from", "FROM", "VALUE,"].contains(&word.as_str()));
            words.iter_mut().for_each(|word| *word = word.trim_end_matches(':').to_owned());
            words.sort();
            words
        };
        assert_eq!(words(&narrow.output), words(&wide.output), "{arguments:?}");
    }
    fs::remove_file(file).unwrap();
}

#[test]
fn a_sample_is_printed_or_sent_by_its_name() {
    let queues = Queues::new("samples");
    for name in ["approval", "invoice"] {
        let printed = run(&["send", "--print", "--sample", name], &[]);
        let printed: serde_json::Value = serde_json::from_str(&printed.ended_with(0).output).expect("JSON");
        run_with(&["send", "--sample", name], &queues, "", &[]).ended_with(0).has("task_id=").has_not("warning");
        let mut sent = queues.take_all(&queues.input())[0].json();
        assert_ne!(sent["task_id"], printed["task_id"]);
        sent["task_id"] = printed["task_id"].clone();
        assert_eq!(
            (&sent["topic"], &sent["metadata"]["activityInfo"]["name"]),
            (&printed["topic"], &printed["metadata"]["activityInfo"]["name"])
        );
    }
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let sent = run_with(&["send", "--sample", "invoice"], &queues, "", &[]).output;
    let _worker = Worker::start(&queues, &portal.webhook(), &[]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    let task = tasks.task(sent.trim().rsplit('=').next().unwrap());
    assert_eq!(
        (task["TITLE"].as_str(), task["PRIORITY"].as_str()),
        (Some("Оплатить счёт №5 от ООО «Ромашка»"), Some("2"))
    );
    assert!(task["DEADLINE"].as_str().is_some_and(|deadline| !deadline.is_empty()), "{task:?}");
}
