//! Messages that nobody should send: each is worked on, or parked byte for byte. The next one proceeds, and one event
//! stays one line of the log.

use std::fs;

use crate::support::*;
use amiquip::{AmqpProperties, AmqpValue, FieldTable};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use task_creator::message::{Original, Record, Task, sent_record};
use task_creator::settings::{Variables, right};
use task_creator::systems::bitrix24::{Settings, fields};

/// A byte order mark, which is no part of the document after it.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Line ends, terminal codes, NUL, C1, line separators, bidirectional marks.
const HOSTILE: &str = "a\r\nb\u{1b}[31mc\0\u{7f}\u{85}\u{9b}\u{2028}\u{202e}\u{2066}\u{200f}\t\u{8}ё😀";

fn start(queues: &Queues, portal: &Portal, changes: &[(&str, &str)]) -> Worker {
    let quick = [("RETRY_DELAY", "0.1"), ("BITRIX_RATE", "0"), ("LOG_LEVEL", "DEBUG"), ("BITRIX_REQUEST_TIMEOUT", "2")];
    Worker::start(queues, &portal.webhook(), &[&quick, changes].concat())
}

/// Each with the reason why it is not worked on; `None`: it becomes a task.
fn corpus() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mut nested = "1".to_owned();
    for _ in 0..14 {
        nested = json!({"$serde_json::private::RawValue": format!("[[[{nested}]]]")}).to_string();
    }
    let text = |text: &str| text.as_bytes().to_vec();
    let not_json = Some("the body is not JSON: ");
    let no_id = Some("task_id is missing, null or blank");
    let no_object = Some("the body is JSON, but not an object");
    vec![
        ("not UTF-8", b"{\"task_id\": \"\xff\xfe\"}".to_vec(), not_json),
        ("bytes", (0..=255).collect(), not_json),
        ("empty", Vec::new(), not_json),
        ("null", text("null"), no_object),
        ("array", text(r#"[{"task_id": "x"}]"#), no_object),
        ("number", text("12345678901234567890.10"), no_object),
        ("string", text(r#""task""#), no_object),
        ("depth", text(&deep(10_000)), not_json),
        ("depth inside", text(&format!(r#"{{"task_id": "d", "variables": {{"v": {}}}}}"#, deep(10_000))), not_json),
        ("open", text(&format!(r#"{{"task_id": "o", "v": {}"#, "[".repeat(10_000))), not_json),
        ("nested", text(&format!(r#"{{"task_id": "nested", "variables": {{"v": {nested}}}}}"#)), None),
        ("numbers", text(r#"{"task_id": "numbers", "n": [18446744073709551616, -1e999999, 1.10, 0e0]}"#), None),
        ("huge time", text(r#"{"task_id": "time", "timestamp": 1e999, "retries": 99999999999999999999}"#), None),
        ("NaN", text(r#"{"task_id": "nan", "n": NaN}"#), not_json),
        ("infinity", text(r#"{"task_id": "inf", "n": -Infinity}"#), not_json),
        ("twice", text(r#"{"task_id": "first", "task_id": "twice", "n": 1, "n": 2}"#), None),
        ("surrogate", text(r#"{"task_id": "s", "variables": {"title": "\ud800", "\udfff": "\ud83d"}}"#), None),
        ("surrogate id", text(r#"{"task_id": "s\ud83d"}"#), Some("task_id holds half a character")),
        ("BOM", [BOM, br#"{"task_id": "bom"}"#].concat(), None),
        ("BOM alone", BOM.to_vec(), not_json),
        ("long id", text(&json!({"task_id": "x".repeat(300)}).to_string()), Some("task_id has 300 bytes")),
        ("longest id", text(&json!({"task_id": "y".repeat(255)}).to_string()), None),
        ("blank id", text(r#"{"task_id": " \t\u00a0"}"#), no_id),
        ("number id", text(r#"{"task_id": 12345678901234567890}"#), None),
        ("object id", text(r#"{"task_id": {"value": "x", "type": "String"}}"#), no_id),
        ("no id", text("{}"), no_id),
        ("hostile", text(&hostile_message("hostile").to_string()), None),
        ("hostile id", text(&hostile_message(HOSTILE).to_string()), None),
        ("hostile no id", text(&json!({"topic": HOSTILE, "task_id": null}).to_string()), no_id),
        ("title", text(&json!({"task_id": "title", "variables": {"title": "Ё".repeat(500_000)}}).to_string()), None),
        ("wrong types", text(r#"{"task_id": "types", "variables": [], "metadata": 7, "topic": {}}"#), None),
    ]
}

fn hostile_message(id: &str) -> Value {
    json!({
        "task_id": id, "topic": HOSTILE,
        "variables": {"title": HOSTILE, "description": HOSTILE, "deadline": HOSTILE, "tags": HOSTILE, HOSTILE: HOSTILE},
        "process_instance_id": HOSTILE, "process_definition_key": HOSTILE,
        "metadata": {"extensionProperties": {
            "assigneeId": HOSTILE, "UF_X": HOSTILE, HOSTILE: "1",
            "checklists": json!([{"name": format!("refuse {HOSTILE}"), "items": [HOSTILE]}]).to_string(),
        }},
    })
}

/// The bytes of the message within a parked one.
fn parked_bytes(parked: &Message) -> Vec<u8> {
    let body = parked.json();
    if let Some(base64) = body["original_body_base64"].as_str() {
        assert_eq!(body["original_message"], Value::Null);
        return STANDARD.decode(base64).expect("base64");
    }
    let members: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
        serde_json::from_slice(&parked.body).expect("JSON");
    members["original_message"].get().as_bytes().to_vec()
}

#[track_caller]
fn assert_log_is_clean(worker: &Worker) {
    for file in ["logs/worker.log", "logs/worker_errors.log", "output"] {
        let bytes = fs::read(worker.folder().join(file)).expect("the file is there");
        let text = String::from_utf8(bytes).expect("UTF-8");
        for line in text.lines() {
            let starts = line.get(..4).is_some_and(|year| year.parse::<u32>().is_ok()) && line.contains(" [");
            assert!(starts, "{file}: this line is no event of its own: {line:?}");
        }
        let harmful = |c: char| {
            c.is_control() && c != '\n'
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c)
                || ['\u{2028}', '\u{2029}', '\u{200e}', '\u{200f}'].contains(&c)
        };
        assert_eq!(text.chars().find(|c| harmful(*c)), None, "{file}");
    }
}

#[test]
fn every_body_is_worked_on_or_parked_with_all_its_bytes_and_the_next_one_proceeds() {
    let queues = Queues::new("hostile");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        // A refusal is logged with the message's own text.
        Portal::start(move |call| match call.params["FIELDS"]["TITLE"].as_str() {
            Some(title) if title.starts_with("refuse") => Answer::refused(400, "ERROR_CORE", HOSTILE),
            _ => tasks.answer(call),
        })
    };
    let mut worker = start(&queues, &portal, &[]);
    let (mut parked, mut created) = (0, 0);
    for (name, body, reason) in corpus() {
        queues.publish(&queues.input(), &body, FieldTable::new());
        let next = format!("next after {name}");
        queues.publish_task(&json!({"task_id": next}));
        eventually(&next, PATIENCE, || tasks.ids_of(&next).len() == 1);
        *(if reason.is_some() { &mut parked } else { &mut created }) += 1;
    }
    queues.await_count(&queues.errors(), parked, PATIENCE);
    eventually("every task", PATIENCE, || tasks.markers().len() == created + corpus().len());
    worker.signal("INT");
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));

    let parked = queues.peek_all(&queues.errors());
    let sent = queues.peek_all(&queues.sent());
    for (name, body, reason) in corpus() {
        let Some(reason) = reason else {
            let document = body.strip_prefix(BOM).unwrap_or(&body);
            let inside = |message: &Message| message.body.windows(document.len()).any(|part| part == document);
            assert!(sent.iter().any(inside), "{name}: no sent record has the message as it came");
            continue;
        };
        let message = parked.iter().find(|message| parked_bytes(message) == body);
        let message = message.unwrap_or_else(|| panic!("{name}: not parked as it came")).json();
        assert_eq!(
            (&message["error_type"], &message["source_queue"]),
            (&json!("INVALID_MESSAGE"), &json!(queues.input()))
        );
        assert!(message["error_message"].as_str().expect("a text").starts_with(reason), "{name}: {message}");
    }
    assert!(parked.iter().all(|message| message.headers.is_empty()), "the text of an error belongs in the body");
    let task = tasks.task("title");
    assert_eq!(task["TITLE"].as_str().expect("a text").chars().count(), 250);
    assert_eq!(task["DESCRIPTION"].as_str().expect("a text").chars().count(), 10_000);
    let hostile = tasks.task("hostile");
    assert_eq!((&hostile["TITLE"], &hostile["UF_CAMUNDA_ID_EXTERNAL_TASK"]), (&json!(HOSTILE), &json!("hostile")));
    assert!(worker.log().contains("is not a date") && worker.log().contains("\\u{1b}[31mc"));
    assert_log_is_clean(&worker);
    let unique: std::collections::BTreeSet<String> = tasks.markers().into_iter().collect();
    assert_eq!(unique.len(), tasks.markers().len());
    assert_eq!(queues.count(&queues.input()) + queues.count(&queues.retry()), 0);
}

#[test]
fn a_huge_body_is_parked_as_it_is() {
    let queues = Queues::new("huge");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let worker = start(&queues, &portal, &[]);
    let filler = "x".repeat(16_000_000);
    let huge = json!({"task_id": "huge", "variables": {"filler": filler}}).to_string();
    queues.publish(&queues.input(), &huge, FieldTable::new());
    // As large as allowed, and not JSON: in base64 it is a third larger.
    let garbage = vec![0xff_u8; 11 << 20];
    queues.publish(&queues.input(), &garbage, FieldTable::new());
    queues.publish_task(&json!({"task_id": "next"}));
    queues.await_count(&queues.errors(), 2, PATIENCE);
    eventually("the next one", PATIENCE, || tasks.ids_of("next").len() == 1);
    let parked = queues.peek_all(&queues.errors());
    let whole = parked.iter().find(|message| message.body == huge.as_bytes()).expect("as it is");
    let of_header = |name: &str| match whole.headers.get(name) {
        Some(AmqpValue::LongString(text)) => text.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(
        ["error_type", "system", "source_queue"].map(of_header),
        ["INVALID_MESSAGE", "bitrix24", &queues.input()]
    );
    assert!(parked.iter().any(|message| message.body != huge.as_bytes() && parked_bytes(message) == garbage));
    assert!(worker.memory_kib() < 400_000, "{} KiB", worker.memory_kib());
}

/// A message with these headers, whose creates fail, uses up its attempts; the next one proceeds meanwhile.
fn is_parked_in_the_end(test: &str, headers: FieldTable) {
    let queues = Queues::new(test);
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| match call.params["fields"]["UF_CAMUNDA_ID_EXTERNAL_TASK"].as_str() {
            Some("headers") => Answer::refused(500, "INTERNAL_SERVER_ERROR", ""),
            _ => tasks.answer(call),
        })
    };
    let mut worker = start(&queues, &portal, &[("BITRIX_REQUEST_TIMEOUT", "0.5")]);
    let properties = AmqpProperties::default().with_headers(headers).with_priority(9).with_expiration("3600000".into());
    queues.publish_with(&queues.input(), json!({"task_id": "headers"}).to_string(), properties);
    eventually("the first try", PATIENCE, || portal.count("tasks.task.add") == 1);
    queues.publish_task(&json!({"task_id": "next"}));
    eventually("the next one", PATIENCE, || tasks.ids_of("next").len() == 1);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    assert_eq!(portal.count("tasks.task.add"), 4);
    assert!(!worker.log().contains("no session with RabbitMQ"), "the connection was not lost");
    worker.signal("INT");
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_message_with_many_headers_uses_up_its_attempts() {
    // amiquip needs seconds for ten thousand: it starts from the beginning with each byte that does not fit.
    let headers = (0..1_000).map(|number| (format!("h{number:04}"), AmqpValue::Boolean(true)));
    is_parked_in_the_end("many headers", headers.collect());
}

/// Marsaglia's generator: enough for mutations, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn mutated(body: &[u8], random: &mut Random) -> Vec<u8> {
    const TOKENS: [&[u8]; 18] = [
        b"null",
        b"{}",
        b"[]",
        b"\"\"",
        b"1e999",
        b"-0",
        b"\\u0000",
        b"\\ud83d",
        b"\xff",
        b"\0",
        b"{\"value\":",
        b",",
        b":",
        b"\"",
        b"}",
        b"]",
        b"\"$serde_json::private::Number\":",
        b"12345678901234567890.10",
    ];
    let mut body = body.to_vec();
    for _ in 0..=random.below(4) {
        let (at, length) = (random.below(body.len() + 1), random.below(12));
        let end = (at + length).min(body.len());
        match random.below(5) {
            0 if at < body.len() => body[at] ^= 1 << random.below(8),
            1 => drop(body.drain(at..end)),
            2 => body = [&body[..at], TOKENS[random.below(TOKENS.len())], &body[end..]].concat(),
            3 => body = [&body[..at], &body[at..end], &body[at..]].concat(),
            _ => body = [&body[..at], TOKENS[random.below(TOKENS.len())], &body[at..]].concat(),
        }
    }
    body
}

#[test]
fn no_mutation_of_a_message_panics_or_changes_it() {
    let seed = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_2026_1123);
    println!("TEST_SEED={seed}");
    let lookup = |name: &str| match name {
        "BITRIX_WEBHOOK_URL" => Some("https://bitrix.example/rest/1/token".to_owned()),
        _ => None,
    };
    let settings = right(Variables::read(lookup, Settings::from_variables)).expect("right settings").expect("it is on");
    let samples = [field_text("field-1"), seed_message("seed-1").to_string(), hostile_message("hostile-1").to_string()];
    let mut random = Random(seed);
    let mut tasks = 0;
    for round in 0..6_000 {
        let body = mutated(samples[round % samples.len()].as_bytes(), &mut random);
        let trimmed = body.trim_ascii();
        match Task::parse(body.clone()) {
            Ok(task) => {
                tasks += 1;
                assert_eq!(task.body.get().as_bytes(), trimmed);
                assert!(!task.id.trim().is_empty() && task.id.len() <= 255);
                let made = fields::fields(&task, &settings).fields;
                assert_eq!(made["UF_CAMUNDA_ID_EXTERNAL_TASK"], task.id.as_str());
                let record = sent_record(&task, "bitrix24.queue", json!({"result": {"task": {"id": "1"}}}), None);
                let record = Record::parse(record).expect("our own record");
                assert_eq!((&record.task.id, record.task.body.get()), (&task.id, task.body.get()));
                let response = record.response(json!({"id": "1"}));
                assert!(response.windows(trimmed.len()).any(|part| part == trimmed));
            }
            Err(unreadable) => match unreadable.original {
                Original::Json(json) => assert_eq!(json.get().as_bytes(), trimmed),
                Original::Bytes(bytes) => assert_eq!(bytes, body),
            },
        }
    }
    println!("{tasks} of 6000 were tasks");
    assert!(tasks > 500, "the mutations are too coarse to test anything: {tasks}");
}
