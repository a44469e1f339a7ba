//! Looking at the error queue: list, groups, one message in full, and the export; none of them takes anything out,
//! whatever is in the queue.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::broker::header;
use crate::support::parked::*;
use crate::support::*;
use amiquip::{AmqpValue, FieldTable};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Text with control characters for a terminal, and with line breaks.
const HOSTILE: &str = "\u{1b}[31mred\r\nFAIL  forged\u{202e}\u{9b}2J\0";

fn look(queues: &Queues, arguments: &[&str]) -> Ended {
    run_with(&[&["parked"], arguments].concat(), queues, "", &[("TZ", "UTC")])
}

fn quorum() -> FieldTable {
    FieldTable::from_iter([
        ("x-queue-type".to_owned(), header("quorum")),
        // The default of RabbitMQ 4.
        ("x-delivery-limit".to_owned(), AmqpValue::LongInt(20)),
    ])
}

/// One message of each kind that may be in an error queue.
fn one_of_each(queues: &Queues) -> Vec<String> {
    let bodies = vec![
        parked(&field_text("task-1"), "REQUEST_ERROR", "http status 400: user 17 is not there", &queues.input()),
        format!(r#"{{"timestamp":1795409858911,"original_message":null,"original_body_base64":"{}","error_type":"INVALID_MESSAGE","error_message":"the body is not JSON","system":"bitrix24","source_queue":"{}","attempts":1}}"#,
            STANDARD.encode("\u{0}not JSON"), queues.input()),
        // As the Python worker or any other program may write it.
        r#"{"timestamp":"2026-11-23T10:00:00+03:00","original_message":{"task_id":"python-1"},"error":"x","extra":[1]}"#.into(),
        r#"{"original_message": {"task_id": "bare-1"}}"#.into(),
        // No parked messages.
        "neither JSON\nnor anything else".into(),
        "[1, 2]".into(),
        "{}".into(),
        parked(&small_task("task-1"), "RETRY_LIMIT_EXCEEDED", "no answer in time", &queues.input()),
    ];
    put(queues, &bodies);
    bodies
}

#[test]
fn a_list_shows_whatever_is_in_the_queue() {
    let queues = Queues::new("parked list");
    one_of_each(&queues);
    let listed = look(&queues, &["list"]);
    listed.ended_with(0).has("PARKED").has(&format!("8 message(s) in {}", queues.errors()));
    listed.has("REQUEST_ERROR         bitrix24  task-1                                http status 400: user 17");
    listed.has("INVALID_MESSAGE       bitrix24").has("python-1").has("bare-1").has("not a parked message (30 bytes)");
    listed.has("\n2026-11-23 04:57:38  REQUEST_ERROR ");
    let json = json_lines(&look(&queues, &["list", "--json"]).ended_with(0).output);
    let of = |name: &str| json.iter().map(|line| line[name].clone()).collect::<Vec<Value>>();
    assert_eq!(of("is_parked_message"), [true, true, true, true, false, false, false, true].map(Value::from));
    assert_eq!(json[0]["id"], "task-1");
    assert_eq!(json[0]["parked_at"], "2026-11-23T04:57:38.911Z");
    assert_eq!((&json[0]["attempts"], &json[0]["source_queue"]), (&json!(3), &json!(queues.input())));
    assert_eq!((&json[2]["parked_at"], &json[2]["error_type"]), (&json!("2026-11-23T07:00:00.000Z"), &Value::Null));
    // The id of a message without a task is the same in every run, and unique.
    let ids: Vec<String> = of("id").iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    let hashes: Vec<&String> = [1, 4, 5, 6].map(|n: usize| &ids[n]).to_vec();
    assert!(hashes.iter().all(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit())), "{ids:?}");
    assert_eq!(ids[5], "c98138ef69051018", "a hash over the body and nothing else");
    assert_eq!(ids[7], "task-1", "the same task, parked twice");
}

#[test]
fn a_body_too_large_to_be_wrapped_is_listed_by_its_headers() {
    let queues = Queues::new("parked raw");
    let headers = [("error_type", "INVALID_MESSAGE"), ("system", "bitrix24"), ("source_queue", &*queues.input())];
    let headers: FieldTable = headers.map(|(name, text)| (name.to_owned(), header(text))).into_iter().collect();
    // What the body says about itself does not count.
    queues.publish(&queues.errors(), parked("{}", "TASK_NOT_FOUND", "", "elsewhere"), headers);
    let line = json_lines(&look(&queues, &["list", "--json"]).output).remove(0);
    assert_eq!((&line["error_type"], &line["source_queue"]), (&json!("INVALID_MESSAGE"), &json!(queues.input())));
    assert!(line["parked_at"].is_string() && line["is_parked_message"] == true, "{line}");
    look(&queues, &["show", line["id"].as_str().unwrap()]).has(&format!("would go to {}", queues.input()));
}

#[test]
fn nothing_is_taken_out_and_the_order_stays() {
    let queues = Queues::new("parked order");
    let put = [one_of_each(&queues), put_tasks(&queues, 1000)].concat();
    let file = scratch("order");
    for _ in 0..2 {
        look(&queues, &["list"]).ended_with(0).has("1008 message(s)");
        look(&queues, &["list", "--group"]).ended_with(0);
        look(&queues, &["show", "task-500"]).ended_with(0);
        look(&queues, &["replay", "--all", "--dry-run"]).ended_with(1).has("would replay 1003, skipped 5");
        look(&queues, &["replay", "--all", "--dry-run", "--limit", "3"]).ended_with(1).has("would replay 3, skipped 5");
        look(&queues, &["export", "--force", file.to_str().unwrap()]).ended_with(0).has("exported 1008 message(s)");
    }
    assert_eq!(bodies(&queues, &queues.errors()), put);
    assert_eq!(queues.count(&queues.input()), 0);
    fs::remove_file(file).unwrap();
}

#[test]
fn similar_messages_are_counted_together() {
    let queues = Queues::new("parked groups");
    put_tasks(&queues, 20);
    let later =
        parked(&small_task("late"), "REQUEST_ERROR", "tasks.task.add: http status 400: user 4711 is not there", "x");
    let other = parked(&small_task("o"), "REQUEST_ERROR", "tasks.task.add: http status 403: user 4 is not there", "x");
    put(&queues, &[later.replace("1795409858911", "1795409958911"), other, "nothing".into()]);
    let listed = look(&queues, &["list", "--group"]);
    listed.ended_with(0).has("23 message(s)").has("in 3 group(s)");
    listed.has("http status 400: user # is not there, such as task-000");
    let groups = json_lines(&look(&queues, &["list", "--group", "--json"]).output);
    assert_eq!((&groups[0]["count"], &groups[0]["error_type"]), (&json!(21), &json!("REQUEST_ERROR")));
    assert_eq!(groups[0]["oldest"], "2026-11-23T04:57:38.911Z");
    assert_eq!(groups[0]["newest"], "2026-11-23T04:59:18.911Z");
    assert_eq!(groups.len(), 3);
}

#[test]
fn one_is_shown_in_full_by_its_id_or_the_beginning_of_it() {
    let queues = Queues::new("parked show");
    one_of_each(&queues);
    let shown = look(&queues, &["show", "python"]);
    shown
        .ended_with(0)
        .has("id            python-1")
        .has("not possible: it does not name its source_queue")
        .has("\"extra\": [\n");
    // Both copies of the same task.
    let shown = look(&queues, &["show", "task-1"]);
    shown
        .ended_with(0)
        .has("REQUEST_ERROR")
        .has("RETRY_LIMIT_EXCEEDED")
        .has("12345678901234567890")
        .has("\"n\": 1.10,");
    shown.has(&format!("would go to {}", queues.input())).has("what to do    do something");
    let json = json_lines(&look(&queues, &["show", "task-1", "--json"]).output);
    assert_eq!(json.len(), 2);
    assert_eq!(json[0]["body"]["original_message"], field_message("task-1"));
    look(&queues, &["show", "c98138"]).ended_with(0).has("not a parked message");
    look(&queues, &["show", "nobody"]).ended_with(1).has("there is no parked message nobody");
    put_tasks(&queues, 3);
    look(&queues, &["show", "task-"])
        .ended_with(1)
        .has("task- fits several parked messages: task-000, task-001, task-002, t");
    let of_bytes = json_lines(&look(&queues, &["list", "--json"]).output).remove(1);
    look(&queues, &["show", of_bytes["id"].as_str().unwrap()]).has("what was parked (9 bytes):\n\\u{0}not JSON\n");
}

#[test]
fn hostile_texts_are_shown_and_do_nothing() {
    let queues = Queues::new("parked hostile");
    let task = json!({"task_id": HOSTILE, "variables": {"title": HOSTILE}}).to_string();
    let own = parked(&task, "X", HOSTILE, "y").replace("\"bitrix24\"", &Value::from(HOSTILE).to_string());
    put(&queues, &[own.clone(), HOSTILE.into(), "\"guest-canary\"".into()]);
    let id = format!("{:?}", HOSTILE);
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["list", "--group"],
        &["list", "--group", "--json"],
        &["show", "\\u{1b}[31mred"],
        &["show", "\\u{1b}[31mred", "--json"],
        &["replay", "--all", "--dry-run"],
        &["replay", "--all", "--json"],
        &["replay", HOSTILE.split('\0').next().unwrap()],
        &["discard", "\u{1b}[31mgreen", "--yes"],
    ] {
        let ended = look(&queues, arguments);
        let harmful = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202e}' | '\u{9b}');
        assert!(!ended.output.contains(harmful), "{arguments:?}: {id}\n{:?}", ended.output);
        ended.has_not("\nFAIL");
        json_lines(&ended.output);
    }
    let shown = json_lines(&look(&queues, &["show", "\\u{1b}", "--json"]).output);
    assert_eq!(shown[0]["body"]["original_message"]["variables"]["title"], HOSTILE, "a script gets it to the letter");
    assert_eq!(bodies(&queues, &queues.errors())[0], own);
}

#[test]
fn an_export_holds_everything_and_is_for_the_owner_only() {
    let queues = Queues::new("parked export");
    let put = one_of_each(&queues);
    let file = scratch("export");
    fs::write(&file, "older").unwrap();
    let refused = look(&queues, &["export", file.to_str().unwrap()]);
    refused.ended_with(1).has("exists already and is left as it is").has(" --force`").has_not("exported");
    assert_eq!(fs::read_to_string(&file).unwrap(), "older");
    look(&queues, &["export", "--force", file.to_str().unwrap()]).ended_with(0).has("exported 8 message(s)");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"serial\": 12345678901234567890,"), "{text}");
    let lines = json_lines(&text);
    assert_eq!((lines.len(), text.lines().count()), (8, 8));
    for (line, body) in lines.iter().zip(&put) {
        match serde_json::from_str::<Value>(body) {
            Ok(json) => assert_eq!(line["body"], json),
            Err(_) => assert_eq!(line["body_base64"], STANDARD.encode(body)),
        }
    }
    assert_eq!(lines[0]["error_type"], "REQUEST_ERROR");
    fs::remove_file(&file).unwrap();
    look(&queues, &["export", "no-such-folder/file"]).ended_with(1).has("No such file or directory");
    look(&queues, &["export", "/"]).ended_with(1).has("is not the name of a file");
    fs::create_dir(&file).unwrap();
    for force in [None, Some("--force")] {
        let arguments: Vec<&str> = ["export", file.to_str().unwrap()].into_iter().chain(force).collect();
        look(&queues, &arguments).ended_with(1).has("exists and is no file");
    }
    let beside = fs::read_dir(file.parent().unwrap()).unwrap().flatten();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(
        beside.filter(|entry| entry.file_name().to_string_lossy().contains(&name)).count(),
        1,
        "nothing is left"
    );
    fs::remove_dir(&file).unwrap();
}

#[test]
fn a_quorum_queue_deletes_nothing_however_often_it_is_looked_at() {
    let queues = Queues::undeclared("parked quorum");
    queues.declare_with(&queues.errors(), &quorum());
    let mut put = put_tasks(&queues, 120);
    for _ in 0..30 {
        look(&queues, &["list"]).ended_with(0).has("120 message(s)");
    }
    look(&queues, &["show", "task-007"]).ended_with(0);
    let mut left = bodies(&queues, &queues.errors());
    // RabbitMQ 3.10 changes the order of requeued messages in a queue with a delivery limit.
    put.sort();
    left.sort();
    assert_eq!(left, put);
}

#[test]
fn without_an_error_queue_or_with_an_empty_one_it_says_so() {
    let queues = Queues::undeclared("parked nothing");
    look(&queues, &["list"]).ended_with(1).has(&format!("there is no queue {}", queues.errors()));
    assert!(queues.state(&queues.errors()).is_none(), "looking makes no queue");
    queues.declare(&queues.errors());
    look(&queues, &["list"]).ended_with(0).has(&format!("0 message(s) in {}", queues.errors())).has_not("PARKED");
    look(&queues, &["list", "--json"]).ended_with(0);
    look(&queues, &["replay", "--all"]).ended_with(0).has("replayed 0, skipped 0");
    run_with(&["parked", "list"], &queues, "", &[("RABBITMQ_PORT", "1")]).ended_with(1).has("RabbitMQ at 127.0.0.1:1");
}

#[test]
fn wrong_usage_touches_nothing() {
    for arguments in
        [&["parked"][..], &["parked", "replay"], &["parked", "discard", "task-1"], &["parked", "list", "x"]]
    {
        run(arguments, &[]).ended_with(64).has("/task-creator parked --help");
    }
    run(&["parked", "discard", "task-1"], &[]).has("it needs --yes");
    run(&["parked", "--help"], &[]).ended_with(0);
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("task-creator-parked-{name}-{}", std::process::id()))
}

#[test]
fn json_stays_json_where_a_secret_is_a_part_of_it() {
    let queues = Queues::new("parked secret");
    let digits = parked(
        r#"{"task_id":"digits-1","n":12345678901234567890,"s":"12345678","u":"\u0073ecret-word"}"#,
        "X",
        "y",
        &queues.input(),
    );
    put(&queues, &[digits]);
    let show = |password: &str| {
        let webhook = format!("http://somebody:{password}@127.0.0.1:9/rest/1/portal-canary-token/");
        let shown = run_with(&["parked", "show", "digits-1", "--json"], &queues, &webhook, &[]);
        shown.ended_with(0).output.clone()
    };
    let message = json_lines(&show("12345678")).remove(0)["body"]["original_message"].clone();
    assert_eq!(message["n"].to_string(), "12345678901234567890");
    assert_eq!((&message["s"], &message["u"]), (&json!("***"), &json!("secret-word")));
    assert_eq!(json_lines(&show("secret-word")).remove(0)["body"]["original_message"]["u"], "***");
}
