//! What an entry says about itself, whoever wrote it. Listing and replaying are tested with a broker.

use super::*;

fn read(body: &str) -> ParkedEntry {
    ParkedEntry::read(body.as_bytes().to_vec(), Headers::new(), Some(1_795_409_858))
}

#[test]
fn a_time_is_read_in_every_form_in_use() {
    let expected = moment("2026-11-23T04:57:38Z");
    assert!(expected.is_some());
    for form in ["1795409858000", "1795409858", "1795409858.0", "2026-11-23T07:57:38+03:00", "2026-11-23T04:57:38.000Z"]
    {
        assert_eq!(moment(form), expected, "{form}");
    }
    for wrong in ["", "yesterday", "NaN", "1e400", "2026-13-45T00:00:00Z"] {
        assert!(moment(wrong).is_none_or(|time| time.timestamp() == 0), "{wrong}: {:?}", moment(wrong));
    }
    assert_eq!(read(r#"{"timestamp": "yesterday"}"#).about.parked_at, expected, "without a time, when it was sent");
}

#[test]
fn the_id_is_that_of_the_task_in_a_message_or_in_a_record() {
    assert_eq!(read(r#"{"original_message": {"task_id": " a "}}"#).id, "a");
    assert_eq!(read(r#"{"original_message": {"original_message": {"task_id": 7}, "n": 1}}"#).id, "7");
    let base64 = STANDARD.encode(r#"{"task_id": "b"}"#);
    assert_eq!(read(&format!(r#"{{"original_message": null, "original_body_base64": "{base64}"}}"#)).id, "b");
}

#[test]
fn a_message_without_a_task_id_gets_an_id_that_never_changes() {
    assert_eq!(read("").id, "cbf29ce484222325");
    assert_eq!(read("foobar").id, "85944171f73967e8");
    assert_ne!(read("[1]").id, read("[2]").id);
}

#[test]
fn a_parked_message_may_have_half_a_character_or_a_byte_order_mark() {
    let original = r#"{"task_id": "a", "title": "ok \ud83d"}"#;
    for entry in [
        read(&format!(r#"{{"original_message": {original}, "error_message": "\ud83d?", "\udfff": 1}}"#)),
        read(&format!("\u{feff}{{\"original_message\": {original}, \"error_message\": \"\u{fffd}?\"}}")),
    ] {
        assert_eq!((entry.id.as_str(), entry.about.error_message.as_deref()), ("a", Some("\u{fffd}?")));
        assert_eq!(entry.original.as_deref(), Some(original.as_bytes()));
    }
}

#[test]
fn what_was_parked_is_kept_byte_for_byte() {
    let original = r#"{ "b":1.10,"a" : 12345678901234567890, "b":"я" }"#;
    assert_eq!(read(&format!(r#"{{"original_message":{original}}}"#)).original, Some(original.into()));
    let bytes = b"\xff\0{";
    let base64 = STANDARD.encode(bytes);
    let wrapped = format!(r#"{{"original_message":null,"original_body_base64":"{base64}"}}"#);
    assert_eq!(read(&wrapped).original.as_deref(), Some(&bytes[..]));
    for nothing in [r#"{"original_message":null}"#, r#"{"original_body_base64":"%"}"#, "[]", "x"] {
        assert!(read(nothing).original.is_none(), "{nothing}");
    }
}
