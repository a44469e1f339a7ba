//! `task-creator explain`: says what the worker would do, without a broker, a portal or a webhook, and does nothing.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{self, Command};

use crate::support::*;
use serde_json::{Value, json};

/// A message in a file; removed when dropped.
struct Message(PathBuf);

impl Message {
    fn new(name: &str, body: impl AsRef<[u8]>) -> Message {
        let file = std::env::temp_dir().join(format!("task-creator-explain-{}-{name}", process::id()));
        fs::write(&file, body).expect("the temporary folder is writable");
        Message(file)
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[track_caller]
fn explain(name: &str, body: impl AsRef<[u8]>, settings: &[(&str, &str)]) -> Ended {
    let message = Message::new(name, body);
    let settings: Vec<(String, String)> = settings.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    run(&["explain", message.0.to_str().expect("a plain name")], &settings)
}

/// The methods and bodies of the requests in an explanation.
fn requests(explained: &Ended) -> Vec<(String, Value)> {
    let is_heading = |line: &str| line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    let mut requests: Vec<(String, String)> = Vec::new();
    for line in explained.output.lines() {
        match requests.last_mut() {
            _ if is_heading(line) => {
                let method = line.split([' ', ':']).nth(1).expect("a method");
                requests.push((method.to_owned(), String::new()));
            }
            Some((_, body)) => *body += line,
            None => {}
        }
    }
    let parsed = |body: String| serde_json::from_str(&body).unwrap_or_else(|err| panic!("{err}: {body}"));
    requests.into_iter().map(|(method, body)| (method, parsed(body))).collect()
}

#[test]
fn its_requests_are_those_of_the_worker() {
    let queues = Queues::new("explain worker");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    // No sweep asks for the task meanwhile.
    let mut worker = Worker::start(&queues, &portal.webhook(), &[("HEARTBEAT_INTERVAL", "3600")]);
    queues.publish_task(&field_text("task-1"));
    portal.await_replies("imena.camunda.sync", 1, PATIENCE);
    worker.stop();
    let id = tasks.ids_of("task-1")[0].to_string();
    // Before these requests the worker asks once, after each start, whether the portal can search.
    let calls = portal.calls().into_iter().skip_while(|call| !looks_up(call, "task-1"));
    let mut sent: Vec<(String, Value)> =
        calls.filter(|call| call.method != "batch").map(|call| (call.method, call.params)).collect();
    let mut explained = requests(explain("worker", field_text("task-1"), &[]).ended_with(0));
    // A task that was just created has nothing to read back.
    explained.retain(|(method, _)| method != "task.checklistitem.getlist");
    for (_, params) in explained.iter_mut().chain(&mut sent) {
        *params = as_in_a_batch(params.take());
        if params["TASKID"] == "<id of the task>" {
            params["TASKID"] = id.as_str().into();
        }
        if params["FIELDS"]["PARENT_ID"].as_str().is_some_and(|parent| parent != "0") {
            params["FIELDS"]["PARENT_ID"] = "a checklist".into();
        }
    }
    assert_eq!(explained, sent);
}

/// Numbers arrive as text in a batch.
fn as_in_a_batch(value: Value) -> Value {
    match value {
        Value::Number(number) => number.to_string().into(),
        Value::Array(items) => items.into_iter().map(as_in_a_batch).collect(),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, as_in_a_batch(value))).collect())
        }
        other => other,
    }
}

#[test]
fn each_value_of_the_fields_form_has_its_origin() {
    let explained = explain("field", field_text("task-1"), &[]);
    explained
        .ended_with(0)
        .has("task      task-1\n")
        .has("queue     bitrix24.queue\n")
        .has("instance  process-of-task-1\n");
    let line = |line: &str| {
        let found = explained.output.lines().any(|found| found.split_whitespace().eq(line.split_whitespace()));
        assert!(found, "{line:?} is missing from\n{}", explained.output);
    };
    line("TITLE metadata.activityInfo.name \"Согласовать договор «Лютик» №8\"");
    line("RESPONSIBLE_ID metadata.extensionProperties.assigneeId 17");
    line("PRIORITY BITRIX_DEFAULT_PRIORITY 1");
    line("AUDITORS metadata.processProperties.originatorId [23]");
    line("UF_CAMUNDA_ID_EXTERNAL_TASK task_id \"task-1\"");
    line("XML_ID task_id \"task-1\"");
    line("checklists metadata.extensionProperties.checklists [\"Документы\",\"Сроки\"]");
    line("not used: variables.projectId");
    line("not used: variables.initiator (null)");
    line("not used: variables.\"\"");
    line("not used: metadata.inputParameters.stage");
    explained.has_not("not used: variables.startedBy").has_not("note: ");
}

#[test]
fn the_seeds_form_is_read_from_standard_input() {
    let message = Message::new("seed", seed_message("task-1").to_string());
    let mut program = Command::new(env!("CARGO_BIN_EXE_task-creator"));
    let input = File::open(&message.0).expect("it was just written");
    let folder = std::env::temp_dir();
    let ended = program.env_clear().current_dir(folder).args(["explain", "-"]).stdin(input).output().expect("it runs");
    let output = String::from_utf8(ended.stdout).expect("UTF-8");
    let explained = Ended { code: ended.status.code(), output };
    explained.ended_with(0).has("variables.title ").has("\"Счёт № 5 от «Лютика»\"").has("process   Process_invented\n");
    explained
        .has("not used: metadata.extensionProperties.customProperty\n")
        .has("not used: metadata.activityInfo.name\n");
    let requests = requests(&explained);
    assert_eq!(requests[2].1["fields"]["PRIORITY"], 2);
    assert_eq!(requests.len(), 4);
}

#[test]
fn what_cannot_be_used_is_noted() {
    let message = json!({
        "task_id": "task-1",
        "variables": {
            "startedBy": "demo", "group_id": "x", "groupId": "7", "priority": "at once", "deadline": "tomorrow",
            "description": "я".repeat(200), "title": " ",
        },
        "metadata": {"extensionProperties": {"assigneeId": "boss", "checklists": "[7]", "UF_CAMUNDA_ID_EXTERNAL_TASK": "other"}},
    });
    let settings = [("BITRIX_DEFAULT_RESPONSIBLE_ID", "9"), ("BITRIX_MAX_DESCRIPTION_LENGTH", "100")];
    let explained = explain("unusable", message.to_string(), &settings);
    explained.ended_with(0).has("note: variables.startedBy \"demo\" is not a positive whole number: it is not used\n");
    explained
        .has("note: variables.group_id \"x\" is")
        .has("note: variables.priority \"at once\" is no priority: BITRIX");
    explained
        .has("note: the deadline \"tomorrow\" is not a date")
        .has("assigneeId \"boss\" is not a positive whole number: responsible is the default, 9\n");
    explained.has("note: 1 part(s) of metadata.extensionProperties.checklists are no checklists or lines; left out\n");
    explained
        .has("note: process_definition_key or process_instance_id is missing, so the process is not synchronised\n");
    explained.has("variables.description, cut to 100 characters").has("BITRIX_DEFAULT_RESPONSIBLE_ID");
    explained.has("not used: variables.title (blank)\n").has("not used: variables.startedBy\n");
    explained.has("not used: metadata.extensionProperties.UF_CAMUNDA_ID_EXTERNAL_TASK\n").has("variables.groupId ");
    let requests = requests(&explained);
    let methods: Vec<&str> = requests.iter().map(|(method, _)| method.as_str()).collect();
    assert_eq!(methods, ["tasks.task.list", "tasks.task.list", "tasks.task.add"]);
    assert_eq!(requests[2].1["fields"]["UF_CAMUNDA_ID_EXTERNAL_TASK"], "task-1");
}

#[test]
fn what_a_process_model_may_ask_for_is_shown_and_what_follows_when_it_is_refused() {
    let properties = json!({
        "assigneeId": "17", "accomplices": "23, boss", "taskControl": "да", "resultRequired": "no", "UF_URGENT": [true],
    });
    let message = json!({
        "task_id": "я".repeat(26),
        "variables": {"parentTaskId": "5", "title": "😀".repeat(26)},
        "metadata": {"extensionProperties": properties},
    });
    let explained = explain("model", message.to_string(), &[]);
    explained.ended_with(0).has("variables.title, cut to 255 characters as the portal stores them");
    explained.has("note: accomplices: 1 of 2 left out").has("note: task_id has 52 bytes and XML_ID holds 50");
    for (name, origin) in [
        ("PARENT_ID", "variables.parentTaskId"),
        ("ACCOMPLICES", "metadata.extensionProperties.accomplices"),
        ("TASK_CONTROL", "metadata.extensionProperties.taskControl"),
        ("SE_PARAMETER", "metadata.extensionProperties.resultRequired"),
        ("UF_URGENT", "metadata.extensionProperties.UF_URGENT"),
    ] {
        explained.has(&format!("\n{name} ")).has(&format!(" {origin} ")).has_not(&format!("not used: {origin}"));
    }
    explained.has(
        "tasks.task.add: if it is not there; if it is refused, again with responsible 1 instead of 17, then without \
         PARENT_ID 5, then with responsible 1 instead of 17 and without PARENT_ID 5\n",
    );
    let (_, create) =
        requests(&explained).into_iter().find(|(method, _)| method == "tasks.task.add").expect("a create");
    let fields = &create["fields"];
    assert_eq!((&fields["PARENT_ID"], &fields["ACCOMPLICES"]), (&json!(5), &json!([23])));
    assert_eq!((&fields["TASK_CONTROL"], &fields["UF_URGENT"]), (&json!("Y"), &json!(["Y"])));
    assert_eq!((&fields["SE_PARAMETER"], &fields["XML_ID"]), (&json!([{"CODE": 3, "VALUE": "N"}]), &Value::Null));
}

/// Values as Camunda, Java and process models write them, which the portal wants in other forms.
#[test]
fn values_as_they_really_come_are_used() {
    let message = json!({
        "task_id": "task-1",
        "variables": {
            "title": {"value": "\"Счёт №5\"", "type": "Json"},
            "deadline": "2025-07-11T18:00:00+03:00[Europe/Moscow]",
            "tags": {"value": "[\"договор\",\"срочно\"]", "type": "Json"},
            "group_id": {"value": 42.0, "type": "Double"}, "startedBy": 31.0, "priority": 2.0,
        },
        "metadata": {"extensionProperties": {"assigneeId": "17.0"}},
    });
    // Half an emoji in an unused member, after a byte order mark.
    let body = format!("\u{feff}{message}").replacen("{", r#"{"note": "ok \ud83d","#, 1);
    let explained = explain("real", body, &[]);
    explained.ended_with(0).has_not("not used: variables").has_not("note: variables");
    let (_, create) =
        requests(&explained).into_iter().find(|(method, _)| method == "tasks.task.add").expect("a create");
    let fields = &create["fields"];
    assert_eq!((&fields["TITLE"], &fields["DEADLINE"]), (&json!("Счёт №5"), &json!("2025-07-11T18:00:00+03:00")));
    assert_eq!((&fields["TAGS"], &fields["PRIORITY"]), (&json!(["договор", "срочно"]), &json!(2)));
    assert_eq!(
        (&fields["GROUP_ID"], &fields["CREATED_BY"], &fields["RESPONSIBLE_ID"]),
        (&json!(42), &json!(31), &json!(17))
    );
}

#[test]
fn values_that_are_there_and_cannot_be_used_are_noted_by_their_place() {
    let message = json!({
        "task_id": "task-1",
        "variables": {
            "title": ["Счёт"], "tags": "rO0ABXNyABNqYXZhLnV0aWwuQXJyYXlMaXN0", "group_id": 42.5,
            "deadline": "2025-07-11T18:00@Europe/Moscow",
        },
        "metadata": {"extensionProperties": {"taskControl": "on"}, "processProperties": {"originatorId": "boss"}},
    });
    let explained = explain("noted", message.to_string(), &[]);
    explained.ended_with(0).has("note: variables.title is [\"Счёт\"], not a text: it is not used\n");
    explained.has("note: variables.tags is a serialised Java object (\"rO0ABXNyABNqYXZhLnV0aWwuQXJyYXlMaXN0\"): ");
    explained.has("note: variables.group_id 42.5 is not a positive whole number: it is not used\n");
    explained.has("has no offset, and zone \"Europe/Moscow\" is not looked up");
    explained.has("note: metadata.extensionProperties.taskControl \"on\" is neither yes nor no: it counts as no\n");
    explained.has("note: metadata.processProperties.originatorId \"boss\" is not a positive whole number");
}

#[test]
fn a_hostile_message_is_shown_and_does_nothing() {
    let hostile = "\u{1b}[31mred\r\nFAIL  forged\u{202e}\u{9b}2J\0";
    let name = format!("UF_{}", "A".repeat(100_000));
    let message = json!({
        "task_id": hostile, "topic": hostile, "process_instance_id": hostile,
        "variables": {hostile: hostile, "title": hostile, "deadline": hostile, "description": "canary-token password-canary"},
        "metadata": {"extensionProperties": {"UF_1": hostile, "assigneeId": hostile, name: "x"}, "activityInfo": 7},
    });
    let settings = [
        ("BITRIX_WEBHOOK_URL", "https://bitrix.example/rest/1/canary-token"),
        ("RABBITMQ_PASSWORD", "password-canary"),
    ];
    let explained = explain("hostile", message.to_string(), &settings);
    let harmful = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202e}' | '\u{9b}');
    assert!(!explained.output.contains(harmful), "{:?}", explained.output);
    explained.ended_with(0).has_not("canary").has_not("\nFAIL");
    assert_eq!(requests(&explained)[2].1["fields"]["UF_1"], hostile, "a request is shown to the letter");
}

#[test]
fn what_would_be_parked_ends_with_1_and_its_cause() {
    for (body, why) in [
        (&b"\xff{"[..], "the body is not JSON"),
        (b"", "the body is not JSON"),
        (b"[1]", "the body is JSON, but not an object"),
        (b"{\"task_id\": \" \"}", "task_id is missing, null or blank"),
    ] {
        let explained = explain("parked", body, &[("ERROR_QUEUE", "errors")]);
        explained.ended_with(1).has("it would be parked in errors as INVALID_MESSAGE: ").has(why);
    }
    run(&["explain", "no-such-file"], &[]).ended_with(1).has("reading no-such-file: No such file or directory");
    run(&["explain"], &[]).ended_with(64).has("explain needs a FILE");
    run(&["--help"], &[]).ended_with(0).has("explain FILE");
}

#[test]
fn it_reaches_nobody_and_needs_only_the_settings_that_count() {
    let portal = Portal::of(&Tasks::new());
    let body = field_text("task-1");
    let webhook = portal.webhook();
    let settings = [("BITRIX_WEBHOOK_URL", &*webhook), ("RABBITMQ_PORT", "x"), ("BITRIX_TASK_ID_FIELD", "none")];
    let explained = explain("none", &body, &settings);
    explained.ended_with(0).has("note: BITRIX_TASK_ID_FIELD=none: ").has("\n1. tasks.task.add: first");
    assert!(portal.requests().is_empty());
    let explained = explain("wrong", &body, &[("BITRIX_DEFAULT_PRIORITY", "7")]);
    explained.ended_with(78).has("BITRIX_DEFAULT_PRIORITY is \"7\"");
}

#[test]
fn the_queue_of_a_system_that_is_off_is_named() {
    let explained = explain("off", r#"{"task_id": "task-1", "system": "openproject"}"#, &[("QUEUE_PREFIX", "mine.")]);
    explained
        .ended_with(0)
        .has("queue     mine.openproject.queue\n")
        .has("openproject is off (OPENPROJECT_URL is not set): the message is left in ")
        .has(" in mine.openproject.queue and mine.default.queue; a system that is on works on it in its own queue\n");
}

#[test]
fn what_the_default_system_would_park_ends_with_1_and_its_cause() {
    let park = ("DEFAULT_ACTION", "park");
    let webhook = ("BITRIX_WEBHOOK_URL", "https://bitrix.example/rest/1/x");
    let nobodys = |system: &str| json!({"task_id": "1", "topic": "no_such_topic", "system": system}).to_string();
    let parked = "in default.queue it would be parked in errors.camunda_tasks.queue as NO_SYSTEM: ";
    for system in ["default", "unknown"] {
        let explained = explain("nobody's", nobodys(system), &[park, webhook]);
        explained.ended_with(1).has(parked).has("it belongs to no other system: its topic is \"no_such_topic\"");
        explain("left", nobodys(system), &[webhook]).ended_with(0).has_not(parked);
    }
    explain("off", nobodys("default"), &[]).has("default is off (DEFAULT_ACTION is not set): the message is left in ");
    let to_email = r#"{"task_id": "1", "topic": "send_email"}"#;
    let explained = explain("email", to_email, &[park, webhook]);
    explained.ended_with(1).has(parked).has("it belongs to email, which is off").has("email is off (");
    explain("bitrix24", field_text("1"), &[park, webhook]).ended_with(0).has_not(parked).has_not(" is off (");
}

#[test]
fn what_a_system_itself_would_park_ends_with_1_too() {
    let mapping = format!("{}/src/systems/onec/mapping.example.json", env!("CARGO_MANIFEST_DIR"));
    let onec = [
        ("ONEC_URL", "https://1c.example/base/odata/standard.odata/"),
        ("ONEC_USERNAME", "worker"),
        ("ONEC_PASSWORD", "canary-password"),
        ("ONEC_MAPPING_FILE", &mapping),
    ];
    let email = [("EMAIL_SMTP_HOST", "mail.example"), ("EMAIL_FROM", "camunda@firma.example")];
    let openproject = [
        ("OPENPROJECT_URL", "https://openproject.example"),
        ("OPENPROJECT_TOKEN", "canary-token"),
        ("OPENPROJECT_TASK_ID_FIELD", "customField7"),
    ];
    let python = [("PYTHON_TOPIC_URLS", "data_processing=https://services.example/tasks")];
    let record = [("DEFAULT_ACTION", "record")];
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case; 7] = [
        ("1c", "1c_create_counterparty", &onec, "variables.name"),
        ("email", "send_email", &email, "which an e-mail cannot bring"),
        ("openproject", "op_create_task", &openproject, "it has no project"),
        ("python-services", "no_such_topic", &python, "its topic has no address"),
        ("telegram", "send_telegram", &[("TELEGRAM_BOT_TOKEN", "123456:canary-bot-token")], "no chat: "),
        ("default", "no_such_topic", &record, "the process expects an answer"),
        ("email", "send_email", &record, "it belongs to email, which is off"),
    ];
    for (system, topic, settings, why) in cases {
        let asks = json!({"extensionProperties": {"UF_RESULT_EXPECTED": "true"}});
        let message = json!({"task_id": "1", "topic": topic, "system": system, "metadata": asks});
        explain(&format!("parked {system}"), message.to_string(), settings)
            .ended_with(1)
            .has("would be parked")
            .has(why);
    }
}

#[test]
fn what_a_mail_or_a_telegram_message_is_made_of_is_used() {
    let variables = json!({
        "to": "anna@firma.example", "bcc": "ivan@firma.example", "reply_to": "office@firma.example",
        "subject": "Счёт", "text": "Срок", "html": "<p>Срок</p>", "description_additional": "Завтра",
    });
    let mail = json!({"task_id": "1", "topic": "send_email", "variables": variables}).to_string();
    let email = [("EMAIL_SMTP_HOST", "mail.example"), ("EMAIL_FROM", "camunda@firma.example")];
    explain("mail", mail, &email).ended_with(0).has("variables.to, variables.bcc").has_not("not used: ");
    let asks = json!({"extensionProperties": {"UF_RESULT_EXPECTED": "true"}});
    let variables = json!({"chat_id": 7, "title": "Счёт", "text": "Срок"});
    let task = json!({"task_id": "1", "topic": "telegram_task", "variables": variables, "metadata": asks}).to_string();
    let telegram = [("TELEGRAM_BOT_TOKEN", "123456:canary-bot-token")];
    explain("buttons", task, &telegram).ended_with(0).has("buttons").has_not("not used: ");
}

#[test]
fn a_topic_names_its_system_before_the_message_does() {
    let by_topic = explain("topic", r#"{"task_id": "1", "topic": "send_email", "system": "python-services"}"#, &[]);
    by_topic.ended_with(0).has("queue     email.queue\n").has("no recipient: variables.to names nobody");
    let unknown = explain("unknown", r#"{"task_id": "1", "topic": "no_such_topic", "system": "default"}"#, &[]);
    unknown.ended_with(0).has("queue     default.queue\n").has("default is off (DEFAULT_ACTION is not set)");
}
