//! How a task is read, and the members of every message that goes out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

mod careless;

/// The form that comes in production, with all that a careless parser loses: order, digits, escapes, a repeated key.
const FIELD: &str = r#"{ "zeta": 1, "task_id": " field-1 ", "topic": "bitrix_create_task", "alpha": 12345678901234567890,
  "variables": {"amount": 1.10, "serial": -98765432109876543210, "": "безымянная", "initiator": null, "agreed": false,
    "comment": "\u00ab\"\\\/\n😀", "tiny": 1E-400, "amount": 2.0},
  "process_instance_id": "instance", "process_definition_key": "Process_field", "activity_id": "Activity_1",
  "retries": null, "timestamp": 1795409859911,
  "metadata": {"extensionProperties": {"assigneeId": "17"}, "processProperties": {"groupId": "42"},
    "activityInfo": {"name": "Согласовать", "processInstanceId": "not this one"}} }"#;

fn parsed(body: &str) -> Task {
    Task::parse(body.as_bytes().to_vec()).expect("a task")
}

fn task(mut message: Value) -> Task {
    message["task_id"] = "task-1".into();
    parsed(&message.to_string())
}

fn variable(task: &Task, name: &str) -> Option<String> {
    text(task.variables.get(name)?)
}

fn unreadable(body: impl AsRef<[u8]>) -> Unreadable {
    Task::parse(body.as_ref().to_vec()).expect_err("not a task")
}

#[test]
fn the_form_in_production_is_read() {
    let task = parsed(FIELD);
    assert_eq!(task.id, "field-1");
    assert_eq!(task.topic, "bitrix_create_task");
    assert_eq!(variable(&task, "comment").as_deref(), Some("«\"\\/\n😀"));
    assert_eq!(variable(&task, "agreed").as_deref(), Some("false"));
    assert_eq!(variable(&task, "serial").as_deref(), Some("-98765432109876543210"));
    assert_eq!(variable(&task, "").as_deref(), Some("безымянная"));
    assert_eq!(variable(&task, "initiator"), None);
    assert_eq!(task.extension_properties["assigneeId"], "17");
    assert_eq!(task.process_properties["groupId"], "42");
    assert_eq!(task.activity_name.as_deref(), Some("Согласовать"));
    assert_eq!(task.process_definition_key.as_deref(), Some("Process_field"));
    assert_eq!(task.process_instance_id.as_deref(), Some("instance"));
    assert_eq!(task.timestamp, Some(1_795_409_859.911));
    assert_eq!(task.earlier, Earlier::None);
}

#[test]
fn the_other_form_is_read() {
    let task = task(json!({
        "variables": {
            "title": {"value": "Счёт", "type": "String"},
            "amount": {"value": 5, "type": "Long", "valueInfo": {}},
            "nothing": {"value": null, "type": "Null"},
        },
        "processInstanceId": "instance", "processDefinitionKey": "Process_seed", "timestamp": 1_672_531_200,
    }));
    assert_eq!(variable(&task, "title").as_deref(), Some("Счёт"));
    assert_eq!(task.variables["amount"], 5);
    assert_eq!(task.variables["nothing"], Value::Null);
    assert_eq!(task.process_definition_key.as_deref(), Some("Process_seed"));
    assert_eq!(task.process_instance_id.as_deref(), Some("instance"));
    assert_eq!(task.timestamp, Some(1_672_531_200.0));
}

#[test]
fn an_object_that_is_a_value_by_itself_is_not_unwrapped() {
    let task = task(json!({"variables": {"own": {"value": 1, "unit": "m"}, "list": [{"value": 1}]}}));
    assert_eq!(task.variables["own"], json!({"value": 1, "unit": "m"}));
    assert_eq!(task.variables["list"], json!([{"value": 1}]));
}

#[test]
fn the_process_is_found_in_both_spellings_in_both_places() {
    for (instance, key) in [
        ("process_instance_id", "process_definition_key"),
        ("processInstanceId", "processDefinitionKey"),
        ("process_instance_id", "processDefinitionKey"),
    ] {
        let names = json!({instance: "instance", key: "key"});
        for message in [names.clone(), json!({"metadata": {"activityInfo": names}})] {
            let task = task(message.clone());
            assert_eq!(task.process_instance_id.as_deref(), Some("instance"), "{message}");
            assert_eq!(task.process_definition_key.as_deref(), Some("key"), "{message}");
        }
    }
}

#[test]
fn the_key_of_the_process_falls_back_to_the_first_part_of_its_id() {
    let key = |message| task(message).process_definition_key;
    for name in ["processDefinitionId", "process_definition_id"] {
        assert_eq!(key(json!({name: "Process_x:4:0e2e"})).as_deref(), Some("Process_x"));
        assert_eq!(key(json!({"metadata": {"activityInfo": {name: "Process_x:4"}}})).as_deref(), Some("Process_x"));
    }
    assert_eq!(key(json!({"processDefinitionId": "Process_x"})).as_deref(), Some("Process_x"));
    assert_eq!(key(json!({"processDefinitionId": ":4:0e2e"})), None);
    assert_eq!(key(json!({"processDefinitionId": "Other:1", "processDefinitionKey": "Own"})).as_deref(), Some("Own"));
    let blank_above =
        json!({"process_definition_key": " ", "metadata": {"activityInfo": {"processDefinitionKey": "x"}}});
    assert_eq!(key(blank_above).as_deref(), Some("x"));
}

#[test]
fn everything_but_the_task_id_may_be_absent_null_or_of_another_type() {
    let names = ["topic", "variables", "process_instance_id", "process_definition_key", "timestamp", "metadata"];
    for wrong in [json!(null), json!([]), json!({}), json!(true), json!("")] {
        let message: Map<String, Value> = names.iter().map(|name| (name.to_string(), wrong.clone())).collect();
        let task = task(message.into());
        assert!(
            task.variables.is_empty() && task.extension_properties.is_empty() && task.process_properties.is_empty()
        );
        assert_eq!((task.activity_name, task.timestamp), (None, None));
    }
    let parts = ["extensionProperties", "inputParameters", "activityInfo", "processProperties"];
    let metadata: Map<String, Value> = parts.iter().map(|part| (part.to_string(), Value::Null)).collect();
    assert!(task(json!({"metadata": metadata})).extension_properties.is_empty());
    assert_eq!(task(json!({"metadata": {"activityInfo": {"name": ""}}})).activity_name, None);
}

#[test]
fn a_timestamp_above_ten_to_the_eleventh_is_in_milliseconds() {
    let timestamp = |timestamp: Value| task(json!({"timestamp": timestamp})).timestamp;
    assert_eq!(timestamp(json!(100_000_000_000_u64)), Some(100_000_000_000.0));
    assert_eq!(timestamp(json!(100_000_000_001_u64)), Some(100_000_000.001));
    assert_eq!(timestamp(json!(1_672_531_200.5)), Some(1_672_531_200.5));
    assert_eq!(timestamp(json!("1672531200")), None);
}

#[test]
fn the_message_is_kept_character_by_character() {
    assert_eq!(parsed(FIELD).body.get(), FIELD);
    let record =
        sent_record(&parsed(FIELD), "bitrix24.queue", json!({"result": {"task": {"id": "7"}}}), Some("bitrix.example"));
    let record = String::from_utf8(record).expect("JSON is UTF-8");
    assert!(record.contains(FIELD), "{record}");
    let response =
        Record::parse(record.into_bytes()).expect("a record").response(json!({"result": {"task": {"id": "7"}}}));
    assert!(String::from_utf8(response).expect("JSON is UTF-8").contains(FIELD));
    let Ok(Task { body, .. }) = Task::parse(FIELD.into()) else { panic!("not a task") };
    let parked = about("400").body(&Original::Json(body), REPLAY);
    assert!(String::from_utf8(parked).expect("JSON is UTF-8").contains(FIELD));
}

#[test]
fn the_last_of_repeated_keys_counts_as_for_python() {
    let task = parsed(r#"{"task_id": "first", "task_id": "last", "variables": {"title": "a", "title": "b"}}"#);
    assert_eq!((task.id.as_str(), variable(&task, "title").as_deref()), ("last", Some("b")));
}

#[test]
fn a_message_without_a_task_id_is_unreadable_and_kept_as_json() {
    for id in ["null", r#""""#, r#"" \n\t""#, "{}", "[]", r#"["task-1"]"#] {
        let body = format!(r#"{{"topic": "x", "task_id": {id}}}"#);
        let Unreadable { reason, original } = unreadable(&body);
        assert_eq!(reason, "task_id is missing, null or blank", "{body}");
        assert!(matches!(original, Original::Json(json) if json.get() == body));
    }
    for body in ["{}", r#"{"metadata": {"task_id": "inside"}}"#] {
        assert_eq!(unreadable(body).reason, "task_id is missing, null or blank");
    }
    for body in ["null", "[]", r#"[{"task_id": "x"}]"#, "7", r#""task_id""#, "true"] {
        let Unreadable { reason, original } = unreadable(body);
        assert_eq!(reason, "the body is JSON, but not an object");
        assert!(matches!(original, Original::Json(json) if json.get() == body));
    }
}

#[test]
fn a_task_id_must_fit_into_a_message_id() {
    let with_id = |id: &str| format!(r#"{{"task_id": "{id}"}}"#);
    assert_eq!(parsed(&with_id(&"x".repeat(255))).id.len(), 255);
    assert_eq!(unreadable(with_id(&"x".repeat(256))).reason, "task_id has 256 bytes; 255 are the most");
    assert_eq!(unreadable(with_id(&"я".repeat(128))).reason, "task_id has 256 bytes; 255 are the most");
    assert_eq!(parsed(r#"{"task_id": 12345678901234567890}"#).id, "12345678901234567890");
}

#[test]
fn a_body_that_is_not_json_is_kept_byte_for_byte() {
    let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
    let deep_inside = [br#"{"task_id": "x", "variables": "#, deep.as_slice(), b"}"].concat();
    let bodies: [&[u8]; 11] = [
        b"",
        b" ",
        b"not JSON",
        b"{\"task_id\": \"x\"",
        b"{\"task_id\": \"x\"} {}",
        b"{\"task_id\": \"\xff\xfe\"}",
        b"\xff",
        b"\xef\xbb\xbf",
        br#"{"task_id": "x", "n": NaN}"#,
        &deep,
        &deep_inside,
    ];
    for body in bodies {
        let Unreadable { reason, original } = unreadable(body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
        assert!(reason.starts_with("the body is not JSON: "), "{shown}: {reason}");
        assert!(matches!(original, Original::Bytes(bytes) if bytes == body), "{shown}");
    }
}

#[test]
fn a_body_that_is_too_large_is_not_worked_on() {
    let filler = "x".repeat(LARGEST_BODY - r#"{"task_id":"","n":"1"}"#.len());
    let largest = format!(r#"{{"task_id":"{}","n":"{filler}"}}"#, 1);
    assert_eq!(largest.len(), LARGEST_BODY);
    assert_eq!(parsed(&largest).id, "1");
    let larger = format!("{largest} ");
    let Unreadable { reason, original } = unreadable(&larger);
    assert_eq!(reason, format!("the body has {} bytes; {LARGEST_BODY} are the most", LARGEST_BODY + 1));
    assert!(matches!(original, Original::Bytes(bytes) if bytes == larger.as_bytes()));
}

/// serde_json gives some keys a private meaning; under one of them the depth is counted from zero again.
#[test]
fn nested_texts_cannot_overflow_the_stack() {
    let mut nested = "1".to_owned();
    for _ in 0..14 {
        nested = format!("{}{}{}", "[".repeat(120), nested, "]".repeat(120));
        nested = json!({"$serde_json::private::RawValue": nested}).to_string();
    }
    let body = format!(r#"{{"task_id": "x", "variables": {{"deep": {nested}}}}}"#);
    let parse = move || Task::parse(body.clone().into_bytes()).map(|task| task.body.get() == body);
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(parse).expect("a thread to spare");
    assert!(thread.join().expect("no panic").is_ok_and(|unchanged| unchanged));
}

#[test]
fn only_what_is_not_blank_counts_as_a_text() {
    let texts =
        [json!(" a "), json!(0), json!(1.10), json!(false), json!(" \u{a0}"), json!(null), json!([1]), json!({})];
    let texts = texts.each_ref().map(text);
    let expected = [Some("a"), Some("0"), Some("1.1"), Some("false"), None, None, None, None];
    assert_eq!(texts.each_ref().map(Option::as_deref), expected);
}

#[test]
fn a_sent_record_has_the_members_of_the_contract_and_no_others() {
    let reply = json!({"result": {"task": {"id": "12345", "title": "x"}}, "time": {"start": 1.5}});
    let before = now();
    let record: Value =
        serde_json::from_slice(&sent_record(&parsed(FIELD), "bitrix24.queue", reply.clone(), Some("bitrix.example")))
            .expect("JSON");
    let mut names: Vec<&String> = record.as_object().expect("an object").keys().collect();
    names.sort();
    let members = [
        "original_message",
        "original_queue",
        "processed_at",
        "processing_status",
        "response_data",
        "target_host",
        "timestamp",
    ];
    assert_eq!(names, members);
    assert_eq!(record["target_host"], "bitrix.example");
    assert_eq!(record["timestamp"].to_string(), "1795409859.911");
    assert_eq!(record["original_queue"], "bitrix24.queue");
    assert_eq!(record["processing_status"], "success");
    assert_eq!(record["response_data"]["result"], reply["result"]);
    assert_eq!(record["response_data"]["time"], reply["time"]);
    assert_eq!(record["response_data"]["success"], true);
    let processed_at = record["processed_at"].as_f64().expect("a number");
    assert!(processed_at >= before && processed_at <= now() && record["processed_at"].to_string().contains('.'));
}

#[test]
fn whole_seconds_keep_their_fraction_and_a_message_without_time_gets_ours() {
    let timestamp = |message: Value| {
        let record: Value = serde_json::from_slice(&sent_record(&task(message), "q", json!({}), None)).expect("JSON");
        record["timestamp"].clone()
    };
    assert_eq!(timestamp(json!({"timestamp": 1_672_531_200})).to_string(), "1672531200.0");
    assert!((timestamp(json!({})).as_f64().expect("a number") - now()).abs() < 5.0);
}

#[test]
fn a_reply_that_is_no_object_is_wrapped() {
    let record: Value = serde_json::from_slice(&sent_record(&parsed(FIELD), "q", json!([]), None)).expect("JSON");
    assert_eq!(record["response_data"], json!({"result": [], "success": true}));
}

#[test]
fn a_record_of_the_python_worker_is_answered_with_all_its_members() {
    let record = format!(
        r#"{{"processed_at": 1672531205.25, "processing_status": "success", "response_data": {{"result": {{"task":
        {{"id": 12345, "status": "2"}}}}, "success": true}}, "original_message": {FIELD}, "original_queue":
        "bitrix24.queue", "timestamp": 1672531200.10, "system": "bitrix24", "serial": 12345678901234567890}}"#
    );
    let record = Record::parse(record.into_bytes()).expect("a record");
    assert_eq!(record.task.id, "field-1");
    assert_eq!(record.response_data["result"]["task"]["id"], 12345);
    assert!(record.age().expect("it has a time") > Duration::from_secs(1_000_000));

    let finished = json!({"result": {"task": {"id": "12345", "status": "5"}}});
    let response = String::from_utf8(record.response(finished)).expect("JSON is UTF-8");
    assert!(response.contains(r#""timestamp":1672531200.10"#), "{response}");
    assert!(response.contains(r#""serial":12345678901234567890"#), "{response}");
    let response: Value = serde_json::from_str(&response).expect("JSON");
    assert_eq!(response.as_object().expect("an object").len(), 8);
    assert_eq!(response["processing_status"], "completed_by_tracker");
    assert_eq!(response["original_queue"], "bitrix24.queue");
    assert_eq!(response["system"], "bitrix24");
    assert_eq!(response["response_data"], json!({"result": {"task": {"id": "12345", "status": "5"}}, "success": true}));
    assert!((response["processed_at"].as_f64().expect("a number") - now()).abs() < 5.0);
}

#[test]
fn a_response_at_once_equals_the_response_from_a_record() {
    let (task, host, answer) = (parsed(FIELD), Some("service.example"), json!({"sum": 3}));
    let at_once = response_at_once(&task, "q", answer.clone(), host);
    let record = Record::parse(sent_record(&task, "q", json!({}), host)).expect("a record");
    let members = |response: Vec<u8>| {
        let mut response: Value = serde_json::from_slice(&response).expect("JSON");
        response["processed_at"].take();
        response
    };
    assert!(String::from_utf8_lossy(&at_once).contains(FIELD));
    assert_eq!(members(at_once), members(record.response(answer)));
}

#[test]
fn a_record_that_cannot_be_read_is_kept_byte_for_byte() {
    for (body, reason) in [
        ("nothing", "the record is not a JSON object: "),
        ("[]", "the record is not a JSON object: "),
        (r#"{"response_data": {}}"#, "no original_message"),
        (r#"{"original_message": 5}"#, "original_message: the body is JSON, but not an object"),
        (r#"{"original_message": {"topic": "x"}}"#, "original_message: task_id is missing, null or blank"),
    ] {
        let unreadable = Record::parse(body.into()).expect_err("not a record");
        assert!(unreadable.reason.starts_with(reason), "{}", unreadable.reason);
        assert!(matches!(unreadable.original, Original::Bytes(bytes) if bytes == body.as_bytes()));
    }
    let record = Record::parse(br#"{"original_message": {"task_id": "x"}}"#.to_vec()).expect("a record");
    assert_eq!((record.response_data.clone(), record.age()), (Value::Null, None));
}

const REPLAY: &str = "./task-creator parked replay 4238";

fn about(error: &str) -> Parked<'_> {
    let (system, source_queue) = ("bitrix24", "bitrix24.queue");
    Parked { cause: Cause::RequestError, error, system, source_queue, attempts: 3 }
}

#[test]
fn a_parked_message_has_the_members_of_the_contract() {
    let Unreadable { original, .. } = unreadable(r#"{"n": 1.5}"#);
    let parked: Value = serde_json::from_slice(&about("400: «нет»\n").body(&original, REPLAY)).expect("JSON");
    let timestamp = parked["timestamp"].as_u64().expect("whole milliseconds");
    assert!(now_ms() - timestamp < 5_000);
    let expected = json!({
        "timestamp": timestamp, "original_message": {"n": 1.5}, "error_type": "REQUEST_ERROR",
        "error_message": "400: «нет»\n", "system": "bitrix24", "source_queue": "bitrix24.queue",
        "requires_manual_intervention": true, "suggested_action": parked["suggested_action"], "attempts": 3,
    });
    assert_eq!(parked, expected);
    // It ends with the command, ready to be pasted.
    assert!(parked["suggested_action"].as_str().expect("a text").ends_with(REPLAY));
}

#[test]
fn what_is_not_json_is_parked_as_base64() {
    let bytes = b"\xff\0\"\n".to_vec();
    let parked: Value = serde_json::from_slice(&about("").body(&Original::Bytes(bytes.clone()), REPLAY)).expect("JSON");
    assert_eq!(parked["original_message"], Value::Null);
    let base64 = parked["original_body_base64"].as_str().expect("a text");
    assert_eq!(STANDARD.decode(base64).expect("base64"), bytes);
}

#[test]
fn each_cause_has_its_spelling_and_says_what_to_do() {
    let causes = [
        (Cause::InvalidMessage, "INVALID_MESSAGE"),
        (Cause::RequestError, "REQUEST_ERROR"),
        (Cause::NoSystem, "NO_SYSTEM"),
        (Cause::RetryLimitExceeded, "RETRY_LIMIT_EXCEEDED"),
        (Cause::TaskFailed, "TASK_FAILED"),
        (Cause::TaskNotFound, "TASK_NOT_FOUND"),
        (Cause::InvalidRecord, "INVALID_RECORD"),
        (Cause::MessageTooLarge, "MESSAGE_TOO_LARGE"),
    ];
    assert_eq!(causes.map(|(cause, _)| cause), Cause::ALL);
    for (cause, name) in causes {
        assert_eq!(cause.name(), name);
        assert!(!cause.suggested_action(REPLAY).is_empty());
    }
}

#[test]
fn a_very_long_variable_is_read_to_one_mib_and_passed_on_whole() {
    let text = "я".repeat(1 << 20);
    let body = format!(r#"{{"task_id":"t","variables":{{"a":"{text}","b":"short"}}}}"#);
    let task = Task::parse(body.clone().into_bytes()).expect("a task");
    let variable = |name: &str| task.variables[name].as_str();
    assert_eq!(variable("a").map(str::len), Some(1 << 20));
    assert_eq!((variable("b"), task.body.get()), (Some("short"), body.as_str()));
}
