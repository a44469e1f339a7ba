//! What careless programs write: half characters, byte order marks, JSON within texts, Doubles where ids belong.

use super::*;

#[test]
fn half_a_character_is_read_as_u_fffd_and_passed_on_as_it_came() {
    let body =
        r#"{"task_id": "t", "unused": "\udfff", "variables": {"title": "ok \ud83d", "\ud83d": ["\ud800\u00ab"]}}"#;
    let task = parsed(body);
    assert_eq!(variable(&task, "title").as_deref(), Some("ok \u{fffd}"));
    assert_eq!(task.variables["\u{fffd}"], json!(["\u{fffd}«"]));
    assert_eq!(task.message(), body.as_bytes());
    let record = Record::parse(sent_record(&task, "q", json!({"result": "7"}), None)).expect("a record");
    assert_eq!((record.task.id.as_str(), record.task.body.get()), ("t", body));
    let has_body = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8").contains(body);
    assert!(has_body(record.response(json!({"title": "ok \u{fffd}"}))) && has_body(record.document().get().into()));
    assert!(has_body(about("400").body(&Original::Json(task.body), REPLAY)));
    // A message that is no task is parked as it came, too.
    let nameless = r#"{"task_id": null, "title": "\ud83d"}"#;
    assert!(matches!(unreadable(nameless).original, Original::Json(json) if json.get() == nameless));
}

#[test]
fn a_task_id_with_half_a_character_is_refused() {
    for id in [r"task-\ud83d", r"\ude00", "task-\u{fffd}"] {
        let Unreadable { reason, original } = unreadable(format!(r#"{{"task_id": "{id}"}}"#));
        assert_eq!(reason, "task_id holds half a character (U+FFFD), so it is not known which task it is");
        assert!(matches!(original, Original::Json(json) if json.get().contains(id)));
    }
}

#[test]
fn a_byte_order_mark_stays_before_the_message_and_gets_into_no_other_document() {
    let body = [document::BYTE_ORDER_MARK, FIELD.as_bytes()].concat();
    let task = Task::parse(body.clone()).expect("a task");
    assert_eq!((task.id.as_str(), task.body.get()), ("field-1", FIELD));
    assert_eq!(task.message(), body);
    assert_eq!(parsed(&format!(" {FIELD}\n")).message(), FIELD.as_bytes());
    let record = sent_record(&task, "bitrix24.queue", json!({}), None);
    let record = String::from_utf8(record).expect("UTF-8");
    assert!(record.contains(FIELD) && !record.contains('\u{feff}'));
    // A record that somebody's editor has saved.
    let record = Record::parse([document::BYTE_ORDER_MARK, record.as_bytes()].concat()).expect("a record");
    assert_eq!((record.task.body.get(), record.task.marked), (FIELD, false));
    let Unreadable { reason, original } = unreadable(b"\xef\xbb\xbf{}");
    assert_eq!(reason, "task_id is missing, null or blank");
    assert!(matches!(original, Original::Json(json) if json.get() == "{}"));
}

#[test]
fn a_body_in_utf_16_is_named_so() {
    for body in [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}"] {
        let Unreadable { reason, original } = unreadable(body);
        assert_eq!(reason, "the body is not JSON in UTF-8: it is UTF-16");
        assert!(matches!(original, Original::Bytes(bytes) if bytes == body));
    }
}

#[test]
fn a_member_of_a_record_is_passed_on_with_its_half_character() {
    let record = r#"{"original_message": {"task_id": "t"}, "note": "\ud83d", "\ud83d": "\udfff", "processed_at": 5.5}"#;
    let record = Record::parse(record.into()).expect("a record");
    let response = String::from_utf8(record.response(json!({}))).expect("UTF-8");
    assert!(response.contains(r#""note":"\ud83d""#) && response.contains(r#":"\udfff""#), "{response}");
    assert!(record.age().is_some());
}

/// The Python worker, which reads and writes half characters, has left such records.
#[test]
fn the_reply_in_a_record_is_read_with_its_half_character() {
    let reply = r#"{"result": {"task": {"id": 7, "title": "ok \ud83d"}}, "\udfff": 1}"#;
    let record = format!(r#"{{"original_message": {{"task_id": "t"}}, "response_data": {reply}}}"#);
    let record = Record::parse(record.into_bytes()).expect("a record");
    assert_eq!(record.response_data["result"]["task"], json!({"id": 7, "title": "ok \u{fffd}"}));
}

#[test]
fn json_in_a_text_of_type_json_or_object_is_parsed() {
    let unwrapped = |kind: &str, text: Value| {
        let variables =
            json!({"v": {"value": text, "type": kind, "valueInfo": {"serializationDataFormat": "application/json"}}});
        task(json!({"variables": variables})).variables["v"].clone()
    };
    for kind in ["Json", "json", "Object", "OBJECT"] {
        assert_eq!(unwrapped(kind, json!("\"Счёт №5\"")), "Счёт №5");
        assert_eq!(unwrapped(kind, json!("[\"договор\",\"\\ud83d\"]")), json!(["договор", "\u{fffd}"]));
        assert_eq!(unwrapped(kind, json!(" {\"n\": 1.10}")).to_string(), r#"{"n":1.10}"#);
        assert_eq!(unwrapped(kind, json!("null")), Value::Null);
        // Camunda adds only one layer.
        assert_eq!(unwrapped(kind, json!(r#""\"twice\"""#)), "\"twice\"");
        assert_eq!(unwrapped(kind, json!([2025, 7, 11])), json!([2025, 7, 11]));
        for text in ["rO0ABXNyAA==", "договор", "[a, b]", "", "\"half"] {
            assert_eq!(unwrapped(kind, text.into()), text);
        }
    }
    for kind in ["String", "Xml", ""] {
        assert_eq!(unwrapped(kind, json!("\"Счёт №5\"")), "\"Счёт №5\"", "{kind}");
    }
    let long = format!("\"{}\"", "x".repeat(LONGEST_JSON));
    assert_eq!(unwrapped("Json", long.as_str().into()), long);
}

#[test]
fn a_whole_number_may_be_written_as_a_double() {
    for (text, number) in [
        ("0", 0),
        ("42", 42),
        ("42.0", 42),
        ("42.000", 42),
        ("007", 7),
        ("1e3", 1_000),
        ("1.5E1", 15),
        ("1.2345678E7", 12_345_678),
        ("1.2E+7", 12_000_000),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(whole(text), Some(number), "{text}");
    }
    let others = [
        "",
        ".",
        "42.",
        ".0",
        "42.5",
        "1.55E1",
        "-1",
        "+1",
        "1e",
        "1e-1",
        "1e99999999999",
        "4 2",
        "42,0",
        "٣",
        "0x1",
        "NaN",
    ];
    for other in others.into_iter().chain(["18446744073709551616", "1e20", "1e19.0", "42.0.0"]) {
        assert_eq!(whole(other), None, "{other}");
    }
}
