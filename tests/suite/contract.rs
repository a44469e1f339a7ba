//! The wire contract, member by member: messages as Python writes them go in; requests to Bitrix24, sent records and
//! responses come out. Each queue is read as the bridge and the Python worker read it. Messages of careless programs go
//! the same way.

use std::sync::{Arc, Mutex};

use crate::support::*;
use serde_json::{Value, json};

/// As `json.dumps` writes the field's form: everything beyond ASCII escaped, a space behind each comma and colon.
const FIELD: &str = r#"{"task_id": "field-1", "topic": "bitrix_create_task", "system": "bitrix24", "variables": {"startedBy": "31", "initiator": null, "serial": 12345678901234567890, "amount": 1.10, "": "\u0431\u0435\u0437\u044b\u043c\u044f\u043d\u043d\u0430\u044f", "deadline": "2026-11-23T10:00:00.000+0300", "tags": "a, b", "parentTaskId": "5"}, "process_instance_id": "instance-1", "process_definition_key": "Process_field", "activity_id": "Activity_field", "retries": null, "priority": 0, "business_key": null, "timestamp": 1795409859911, "metadata": {"extensionProperties": {"assigneeId": "17", "UF_RESULT_EXPECTED": "true", "UF_RESULT_QUESTION": "\u0414\u0430?", "accomplices": "29, 37", "taskControl": "false", "resultRequired": "true", "UF_CRM_TASK": ["L_4", true]}, "activityInfo": {"id": "Activity_field", "name": "\u0421\u043e\u0433\u043b\u0430\u0441\u043e\u0432\u0430\u0442\u044c"}, "processProperties": {"groupId": "42", "originatorId": "23"}}}"#;

/// The other form of `src/docs/messages.md`, with unknown members that stay.
const SEED: &str = r#"{"zeta": [1.0, 1e3], "task_id": "seed-1", "topic": "bitrix_create_task", "variables": {"title": {"value": "Счёт", "type": "String"}, "priority": {"value": "3", "type": "String"}}, "activity_id": "Activity_seed", "timestamp": 1672531200, "metadata": {"extensionProperties": {"assigneeId": "3", "customProperty": "customValue"}, "inputParameters": {"inputData": "processedValue"}, "activityInfo": {"name": "Выполнить", "topic": "system_create_task", "processInstanceId": "instance-2", "processDefinitionId": "Process_seed:4:0e2e"}}}"#;

fn sorted_names(object: &Value) -> Vec<String> {
    let mut names: Vec<String> = object.as_object().expect("an object").keys().cloned().collect();
    names.sort();
    names
}

fn seconds_now() -> f64 {
    std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs_f64()
}

/// Members that record and response share.
#[track_caller]
fn assert_record(message: &Message, sent: &str, timestamp: f64, status: &str) -> Value {
    let body = message.json();
    // The last but one is our own; the bridge ignores what it does not know.
    let expected = [
        "original_message",
        "original_queue",
        "processed_at",
        "processing_status",
        "response_data",
        "target_host",
        "timestamp",
    ];
    assert_eq!(sorted_names(&body), expected);
    assert_eq!(body["timestamp"].as_f64(), Some(timestamp));
    assert!(body["original_queue"].as_str().expect("a text").ends_with("bitrix24.queue"));
    assert!(message.text().contains(sent), "original_message is not what came in: {}", message.text());
    assert_eq!(body["processing_status"], status);
    assert_eq!(body["response_data"]["success"], true);
    let processed_at = &body["processed_at"];
    assert!((processed_at.as_f64().expect("a number") - seconds_now()).abs() < 30.0, "{processed_at}");
    assert!(processed_at.to_string().contains('.') && body["timestamp"].to_string().contains('.'));

    let properties = &message.properties;
    assert_eq!(properties.content_type().as_deref(), Some("application/json"));
    assert_eq!(properties.content_encoding().as_deref(), Some("utf-8"));
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(properties.message_id().as_deref(), body["original_message"]["task_id"].as_str());
    body
}

#[test]
fn a_message_that_python_wrote_becomes_a_record_and_a_response_of_the_contract() {
    let queues = Queues::new("contract");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    queues.publish_tasks([&FIELD, &SEED]);
    let mut worker = Worker::start(&queues, &portal.webhook(), &[("HEARTBEAT_INTERVAL", "5")]);
    queues.await_count(&queues.sent(), 2, PATIENCE);

    let fields = |id: &str| {
        let calls = portal.calls();
        let is_create = |call: &&Call| call.params["fields"]["UF_CAMUNDA_ID_EXTERNAL_TASK"] == id;
        let fields = calls.iter().find(is_create).expect("a create").params["fields"].clone();
        // In a batch every value is a text.
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        fields
            .as_object()
            .expect("fields")
            .iter()
            .map(|(name, value)| (name.clone(), text(value).replace('"', "")))
            .collect::<Vec<_>>()
    };
    let expected = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        pairs.sort();
        pairs
    };
    assert_eq!(
        fields("field-1"),
        expected(&[
            ("TITLE", "Согласовать"),
            ("DESCRIPTION", "Согласовать"),
            ("RESPONSIBLE_ID", "17"),
            ("CREATED_BY", "31"),
            ("AUDITORS", "[23]"),
            ("GROUP_ID", "42"),
            ("PRIORITY", "1"),
            ("DEADLINE", "2026-11-23T10:00:00+03:00"),
            ("TAGS", "[a,b]"),
            ("PARENT_ID", "5"),
            ("ACCOMPLICES", "[29,37]"),
            ("TASK_CONTROL", "N"),
            ("SE_PARAMETER", "[{CODE:3,VALUE:Y}]"),
            ("UF_CRM_TASK", "[L_4,Y]"),
            ("UF_RESULT_EXPECTED", "Y"),
            ("UF_RESULT_QUESTION", "Да?"),
            ("UF_CAMUNDA_ID_EXTERNAL_TASK", "field-1"),
            ("XML_ID", "field-1"),
        ])
    );
    assert_eq!(
        fields("seed-1"),
        expected(&[
            ("TITLE", "Счёт"),
            ("DESCRIPTION", "Счёт"),
            ("RESPONSIBLE_ID", "3"),
            ("PRIORITY", "2"),
            ("UF_CAMUNDA_ID_EXTERNAL_TASK", "seed-1"),
            ("XML_ID", "seed-1"),
        ])
    );

    let records = queues.peek_all(&queues.sent());
    let of = |messages: &[Message], id: &str| {
        messages
            .iter()
            .find(|message| message.json()["original_message"]["task_id"] == id)
            .expect("it is there")
            .clone()
    };
    for (id, sent, timestamp) in [("field-1", FIELD, 1_795_409_859.911), ("seed-1", SEED, 1_672_531_200.0)] {
        let record = assert_record(&of(&records, id), sent, timestamp, "success");
        let target = tasks.ids_of(id)[0].to_string();
        assert_eq!(record["response_data"]["result"]["task"]["id"], target);
        assert!(record["response_data"]["time"].is_object() || record["response_data"].get("time").is_none());
    }

    // Users finish the tasks while no worker runs. The next worker answers.
    worker.signal("INT");
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    tasks.set("field-1", "UF_RESULT_ANSWER", json!("27"));
    tasks.set_status("field-1", 4);
    tasks.set_status("seed-1", 5);
    worker.start_again();
    queues.await_count(&queues.responses(), 2, PATIENCE);
    let responses = queues.peek_all(&queues.responses());
    for (id, sent, timestamp, status, expected, text) in
        [("field-1", FIELD, 1_795_409_859.911, "4", "1", "НЕТ"), ("seed-1", SEED, 1_672_531_200.0, "5", "0", "")]
    {
        let response = assert_record(&of(&responses, id), sent, timestamp, "completed_by_tracker");
        assert_eq!(sorted_names(&response["response_data"]), ["result", "success"]);
        assert_eq!(sorted_names(&response["response_data"]["result"]), ["task"]);
        let task = &response["response_data"]["result"]["task"];
        assert_eq!((&task["id"], &task["status"]), (&json!(tasks.ids_of(id)[0].to_string()), &json!(status)));
        assert_eq!((&task["ufResultExpected"], &task["ufResultAnswer_text"]), (&json!(expected), &json!(text)));
        assert!(task["title"].is_string() && task["responsibleId"].is_string(), "{task}");
        assert!(sorted_names(task).iter().all(|name| name.starts_with(char::is_lowercase)), "{task}");
    }
    queues.await_count(&queues.sent(), 0, PATIENCE);
    assert_eq!(worker.log().lines().filter(|line| line.contains("] answered to Camunda ")).count(), 2);
    worker.signal("INT");
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    Audit::take(&queues, tasks.markers()).with_finished(tasks.finished()).assert_holds();
}

/// Half an emoji in an unused variable, and a byte order mark: read, retried, parked, replayed, recorded and answered
/// with the bytes that came.
#[test]
fn half_a_character_and_a_byte_order_mark_go_all_the_way_as_they_came() {
    let half = FIELD.replace("field-1", "half").replace(r#""amount": 1.10"#, r#""amount": 1.10, "note": "ok \ud83d""#);
    let plain = FIELD.replace("field-1", "marked");
    let marked = format!("\u{feff}{plain}");
    let queues = Queues::new("careless");
    let tasks = Tasks::new();
    let refusal = Arc::new(Mutex::new(Some((500, "INTERNAL_SERVER_ERROR"))));
    let portal = {
        let (tasks, refusal) = (tasks.clone(), refusal.clone());
        Portal::start(move |call| match *refusal.lock().expect("no panic") {
            Some((status, error)) if call.method == "tasks.task.add" => Answer::refused(status, error, ""),
            _ => tasks.answer(call),
        })
    };
    let quick = [("BITRIX_REQUEST_TIMEOUT", "0.5"), ("RETRY_DELAY", "0.5"), ("HEARTBEAT_INTERVAL", "0.3")];
    let mut worker = Worker::start(&queues, &portal.webhook(), &quick);
    for body in [&half, &marked] {
        queues.publish(&queues.input(), body, Default::default());
    }
    eventually("both have been tried", PATIENCE, || portal.count("tasks.task.add") >= 2);
    worker.stop();
    queues.await_count(&queues.retry(), 2, PATIENCE);
    let sorted = |bodies: Vec<Message>| {
        let mut bodies: Vec<String> = bodies.iter().map(Message::text).collect();
        bodies.sort();
        bodies
    };
    assert_eq!(sorted(queues.peek_all(&queues.retry())), [half.clone(), marked.clone()]);

    *refusal.lock().expect("no panic") = Some((400, "ERROR_CORE"));
    worker.start_again();
    queues.await_count(&queues.errors(), 2, PATIENCE);
    let parked = sorted(queues.peek_all(&queues.errors()));
    let all_hold = |bodies: &[String]| [&half, &plain].iter().all(|body| bodies.iter().any(|b| b.contains(*body)));
    assert!(all_hold(&parked) && parked.iter().all(|body| !body.contains('\u{feff}')), "{parked:?}");
    run_with(&["parked", "list"], &queues, "", &[]).ended_with(0).has(" half ").has(" marked ");

    *refusal.lock().expect("no panic") = None;
    let replayed = run_with(&["parked", "replay", "--all"], &queues, "", &[]);
    replayed.ended_with(0).has("half to ").has("marked to ").has("replayed 2, skipped 0");
    queues.await_count(&queues.sent(), 2, PATIENCE);
    for id in ["half", "marked"] {
        tasks.set(id, "UF_RESULT_ANSWER", json!("26"));
        tasks.set_status(id, 5);
    }
    queues.await_count(&queues.responses(), 2, PATIENCE);
    assert!(all_hold(&sorted(queues.peek_all(&queues.responses()))));
    assert_eq!(tasks.markers().len(), 2);
    worker.stop();
}

/// A portal with PHP's notices, or with a byte order mark from one of its files, before every answer.
#[test]
fn a_portal_that_puts_text_before_its_json_is_used_with_one_warning() {
    for (name, preamble, told) in [
        ("notice", "\u{feff}<br />\n<b>Notice</b>:  Undefined index: {x}<br />\n", "Notice : Undefined index: {x}"),
        ("mark", "\u{feff}", "start with a byte order mark"),
    ] {
        let queues = Queues::new(name);
        let tasks = Tasks::new();
        let portal = Portal::of(&tasks);
        portal.begin_answers_with(preamble);
        let ids = ["first", "second", "third"];
        queues.publish_tasks(&ids.map(field_text));
        let mut worker = Worker::start(&queues, &portal.webhook(), &[("HEARTBEAT_INTERVAL", "0.3")]);
        queues.await_count(&queues.sent(), 3, PATIENCE);
        for id in ids {
            tasks.set(id, "UF_RESULT_ANSWER", json!("26"));
            tasks.set_status(id, 5);
        }
        queues.await_count(&queues.responses(), 3, PATIENCE);
        portal.await_count_of("a synchronisation", 3, |call| call.method == "imena.camunda.sync");
        // Two lists with three lines each.
        assert_eq!(portal.count("task.checklistitem.add"), 3 * 5);
        worker.stop();
        let log = worker.log();
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains("the portal's answers")).collect();
        assert!(warnings.len() == 1 && warnings[0].contains(" WARN ") && warnings[0].contains(told), "{warnings:?}");
        assert!(!log.contains("not JSON") && worker.errors().is_empty(), "{log}");
        Audit::take(&queues, tasks.markers()).with_finished(tasks.finished()).assert_holds();
    }
}

/// The log has the beginning of a page that is no JSON, without secrets.
#[test]
fn the_beginning_of_an_answer_that_is_no_json_is_logged() {
    let queues = Queues::new("no json");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| match call.method.as_str() {
            "tasks.task.add" => {
                let page =
                    "<html><head><title>Fatal error</title></head>\r\n at /rest/1/portal-canary-token/x\u{1b}[31m";
                Answer::Http(Reply::html(413, page))
            }
            _ => tasks.answer(call),
        })
    };
    queues.publish_task(&field_text("task-1"));
    let mut worker = Worker::start(&queues, &portal.webhook(), &[]);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    worker.stop();
    let parked = queues.peek_all(&queues.errors())[0].json();
    let error = parked["error_message"].as_str().expect("a text");
    let expected = "bytes that are not JSON: Fatal error at /rest/1/***/x\\u{1b}[31m";
    assert!(error.starts_with("tasks.task.add: http status 413 and ") && error.ends_with(expected), "{error}");
    assert!(worker.log().contains(expected) && !worker.log().contains("canary"));
}

/// The worker replaces the Python worker while tasks are open.
#[test]
fn records_that_the_python_worker_left_behind_are_answered() {
    let queues = Queues::new("takeover");
    let tasks = Tasks::new();
    let id = tasks.put("old-1");
    tasks.set_status("old-1", 5);
    queues.declare(&queues.sent());
    let record = format!(
        r#"{{"timestamp": 1672531200.0, "original_queue": "bitrix24.queue", "original_message": {}, "response_data": {{"result": {{"task": {{"id": {id}}}}}, "time": {{}}}}, "processing_status": "success", "processed_at": 1672531205.5, "retry_count": 0}}"#,
        FIELD.replace("field-1", "old-1")
    );
    queues.publish(&queues.sent(), &record, Default::default());
    for broken in ["not JSON", "[]", r#"{"original_message": {"task_id": "lost"}, "response_data": {}}"#] {
        queues.publish(&queues.sent(), broken, Default::default());
    }
    tasks.set("old-1", "UF_RESULT_EXPECTED", json!("0"));
    let portal = Portal::of(&tasks);
    let worker = Worker::start(&queues, &portal.webhook(), &[]);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    let response = queues.peek_all(&queues.responses())[0].json();
    assert_eq!(response["original_message"]["task_id"], "old-1");
    assert_eq!((&response["processing_status"], &response["retry_count"]), (&json!("completed_by_tracker"), &json!(0)));
    queues.await_count(&queues.errors(), 3, PATIENCE);
    for parked in queues.peek_all(&queues.errors()) {
        let parked = parked.json();
        assert_eq!(parked["error_type"], "INVALID_RECORD");
        assert_eq!(parked["source_queue"], queues.sent());
    }
    assert_eq!(portal.count("tasks.task.add"), 0);
    drop(worker);
}

#[test]
fn a_finished_task_without_its_answer_waits_with_one_warning_and_is_counted() {
    let queues = Queues::new("unanswered");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    queues.publish_task(&FIELD);
    let worker = Worker::start(&queues, &portal.webhook(), &[("HEARTBEAT_INTERVAL", "0.3"), ("LOG_LEVEL", "DEBUG")]);
    eventually("the task", PATIENCE, || tasks.ids_of("field-1").len() == 1);
    tasks.set_status("field-1", 5);
    worker.await_log("unanswered_tasks=1", PATIENCE);
    let sweeps = portal.count("tasks.task.list");
    eventually("two more sweeps", PATIENCE, || portal.count("tasks.task.list") >= sweeps + 2);
    let log = worker.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("not answered to Camunda yet")).collect();
    assert!(
        warnings.len() == 1 && warnings[0].contains("WARN") && warnings[0].contains("task=field-1"),
        "{warnings:?}"
    );
    assert_eq!(queues.count(&queues.responses()), 0);
    tasks.set("field-1", "UF_RESULT_ANSWER", json!("26"));
    queues.await_count(&queues.responses(), 1, PATIENCE);
    let task = queues.peek_all(&queues.responses())[0].json()["response_data"]["result"]["task"].clone();
    assert_eq!((&task["ufResultExpected"], &task["ufResultAnswer_text"]), (&json!("1"), &json!("ДА")));
    drop(worker);
}

#[test]
fn a_missing_answer_can_count_as_no() {
    let queues = Queues::new("counts as no");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    queues.publish_task(&FIELD);
    let worker =
        Worker::start(&queues, &portal.webhook(), &[("BITRIX_MISSING_ANSWER", "no"), ("HEARTBEAT_INTERVAL", "0.3")]);
    eventually("the task", PATIENCE, || tasks.ids_of("field-1").len() == 1);
    tasks.set_status("field-1", 5);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    let task = queues.peek_all(&queues.responses())[0].json()["response_data"]["result"]["task"].clone();
    assert_eq!((&task["ufResultExpected"], &task["ufResultAnswer_text"]), (&json!("1"), &json!("НЕТ")));
    drop(worker);
}

#[test]
fn a_task_that_is_gone_is_parked_after_three_checks_and_one_that_comes_back_is_not() {
    let queues = Queues::new("gone");
    let tasks = Tasks::new();
    // The second task is hidden from two checks in a row, the third stays open.
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| {
            let answer = tasks.answer(call);
            let sweep = call.method == "tasks.task.list" && call.params["filter"]["ID"].is_array();
            let Answer::Page { result, total, next } = answer else { return answer };
            let hidden = tasks.ids_of("hidden").first().map_or(String::new(), u64::to_string);
            let rows = result["tasks"].as_array().cloned().unwrap_or_default();
            let hide = sweep && call.nth % 3 != 0;
            let rows: Value = rows.into_iter().filter(|row| !hide || row["id"] != hidden).collect();
            Answer::Page { result: json!({"tasks": rows}), total, next }
        })
    };
    let ids = ["gone", "hidden", "open"];
    queues.publish_tasks(&ids.map(|id| FIELD.replace("field-1", id)));
    let worker = Worker::start(&queues, &portal.webhook(), &[("HEARTBEAT_INTERVAL", "0.3")]);
    eventually("the tasks", PATIENCE, || tasks.markers().len() == 3);
    tasks.delete("gone");
    queues.await_count(&queues.errors(), 1, PATIENCE);
    let missed =
        worker.log().lines().filter(|line| line.contains("does not show the task") && line.contains("=gone")).count();
    assert_eq!(missed, 2, "the third time it is parked");
    let sweeps = portal.count("tasks.task.list");
    eventually("six more sweeps", PATIENCE, || portal.count("tasks.task.list") >= sweeps + 6);
    let parked = queues.peek_all(&queues.errors());
    assert_eq!(parked.len(), 1);
    let body = parked[0].json();
    assert_eq!((&body["error_type"], &body["attempts"]), (&json!("TASK_NOT_FOUND"), &json!(3)));
    assert_eq!(body["original_message"]["task_id"], "gone");
    assert!(parked[0].text().contains(&FIELD.replace("field-1", "gone")));
    drop(worker);
}
