//! Shortens a record or a response that the broker refuses for its size. It follows a fixed rule, and writes into the
//! message what is left out.
//!
//! First long texts and lists of the target's reply are cut, then the largest variables of the message become null.
//! Everything that the answer to Camunda needs stays: the ids of the task, of the process and at the target, and the
//! answer. It knows no broker; the caller says how much fits.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::{document, encode};

/// So many characters of a text in a reply stay. An answer is shorter.
const LONGEST_TEXT: usize = 200;
/// So many entries of a list in a reply stay.
const LONGEST_LIST: usize = 100;
/// Room for the rest of a record: the cut reply, and our own members.
const BESIDE: usize = 32 << 10;
/// The member that names what is left out.
const LEFT_OUT: &str = "left_out";

/// The record or response in at most `most` bytes, and the names of what is left out. `None`: it is neither, or what
/// must stay is larger.
pub fn to_fit(body: &[u8], most: usize) -> Option<(Vec<u8>, Vec<String>)> {
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
    let mut reply = document::read(members.get("response_data")?.get().as_bytes()).ok()?;
    let before = members.get(LEFT_OUT).and_then(|raw| serde_json::from_str(raw.get()).ok());
    let mut left_out: Vec<String> = before.unwrap_or_default();
    if cut(&mut reply) {
        note(&mut left_out, "response_data: long texts and lists".into());
        members.insert("response_data".into(), raw(&reply)?);
    }
    members.insert(LEFT_OUT.into(), raw(&left_out)?);
    let mut shorter = encode(&members);
    if shorter.len() > most {
        let (message, names) = without_variables(members.get("original_message")?.get(), shorter.len() - most)?;
        names.into_iter().for_each(|name| note(&mut left_out, format!("original_message.variables.{name}")));
        members.insert("original_message".into(), RawValue::from_string(message).ok()?);
        members.insert(LEFT_OUT.into(), raw(&left_out)?);
        shorter = encode(&members);
    }
    (shorter.len() <= most).then_some((shorter, left_out))
}

/// Can a task that is made from this message be recorded in `most` bytes, whatever its target replies?
pub fn can_be_recorded(message: &str, most: usize) -> bool {
    let excess = (message.len() + BESIDE).saturating_sub(most);
    excess == 0 || without_variables(message, excess).is_some()
}

fn note(left_out: &mut Vec<String>, what: String) {
    if !left_out.contains(&what) {
        left_out.push(what);
    }
}

fn raw(value: &impl serde::Serialize) -> Option<Box<RawValue>> {
    to_raw_value(value).ok()
}

/// Cuts long texts and lists. Returns whether there was one.
fn cut(value: &mut Value) -> bool {
    match value {
        Value::String(text) => match text.char_indices().nth(LONGEST_TEXT) {
            Some((end, _)) => {
                text.truncate(end);
                text.push('…');
                true
            }
            None => false,
        },
        Value::Array(entries) => {
            let long = entries.len() > LONGEST_LIST;
            entries.truncate(LONGEST_LIST);
            entries.iter_mut().fold(long, |cut_before, entry| cut(entry) | cut_before)
        }
        Value::Object(members) => members.values_mut().fold(false, |cut_before, member| cut(member) | cut_before),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The message, shorter by at least `excess` bytes: its largest variables become null, the rest stays as it came.
/// Returns the names of these variables too. The names are listed in the record, so their length counts.
fn without_variables(message: &str, excess: usize) -> Option<(String, Vec<String>)> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        variables: BTreeMap<String, &'a RawValue>,
    }
    const NULL: &str = "null";
    let variables = serde_json::from_str::<Message>(message).ok()?.variables;
    let saved = |name: &str, text: &str| text.len().saturating_sub(NULL.len() + encode(&name).len() + 40);
    let mut largest: Vec<(String, &str)> = variables.into_iter().map(|(name, raw)| (name, raw.get())).collect();
    largest.sort_by_key(|(name, text)| std::cmp::Reverse(saved(name, text)));
    let mut sum = 0;
    let enough = largest.iter().position(|(name, text)| {
        sum += saved(name, text);
        sum >= excess
    })?;
    largest.truncate(enough + 1);
    let names = largest.iter().map(|(name, _)| name.clone()).collect();
    // From the end of the text on, so that the positions of the others stay valid.
    largest.sort_by_key(|(_, text)| std::cmp::Reverse(text.as_ptr()));
    let mut shorter = message.to_owned();
    for (_, text) in largest {
        let start = text.as_ptr().addr() - message.as_ptr().addr();
        shorter.replace_range(start..start + text.len(), NULL);
    }
    Some((shorter, names))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(file: &str, note: &str) -> String {
        // Its order of keys and its digits must survive.
        format!(
            r#"{{"task_id":"t-1","variables":{{"note":{},"n":1.10,"file":{{"value":{},"type":"Bytes"}}}},"activity_id":"a"}}"#,
            json!(note),
            json!(file)
        )
    }

    fn record(message: &str, description: &str) -> Vec<u8> {
        let reply = json!({"result": {"task": {"id": "7", "description": description, "ufResultAnswer_text": "ДА"}}});
        format!(r#"{{"original_queue":"q","original_message":{message},"response_data":{reply}}}"#).into_bytes()
    }

    #[test]
    fn the_reply_is_cut_before_the_message_is_touched() {
        let (shorter, left_out) = to_fit(&record(&message("f", "n"), &"д".repeat(5_000)), 1_000).expect("it fits");
        let read: Value = serde_json::from_slice(&shorter).expect("JSON");
        let task = &read["response_data"]["result"]["task"];
        assert_eq!((&task["id"], &task["ufResultAnswer_text"]), (&json!("7"), &json!("ДА")));
        assert_eq!(task["description"].as_str().expect("a text").chars().count(), LONGEST_TEXT + 1);
        assert!(String::from_utf8(shorter).expect("text").contains(&message("f", "n")));
        assert_eq!(read["left_out"], json!(left_out));
        assert_eq!(left_out, ["response_data: long texts and lists"]);
    }

    #[test]
    fn the_largest_variables_become_null_and_the_rest_stays_as_it_came() {
        let large = message(&"f".repeat(3_000), &"n".repeat(400));
        let (shorter, left_out) = to_fit(&record(&large, ""), 1_000).expect("it fits");
        assert!(shorter.len() <= 1_000);
        assert_eq!(left_out, ["original_message.variables.file"]);
        let expected = message("f", &"n".repeat(400)).replace(r#"{"value":"f","type":"Bytes"}"#, "null");
        assert!(String::from_utf8(shorter.clone()).expect("text").contains(&expected));
        // Shortened once more: the list still names what was left out before.
        let (_, left_out) = to_fit(&shorter, shorter.len() - 100).expect("it fits");
        assert_eq!(left_out, ["original_message.variables.file", "original_message.variables.note"]);
    }

    #[test]
    fn what_must_stay_is_not_cut() {
        let large_elsewhere =
            message("f", "n").replace(r#""activity_id":"a""#, &format!(r#""x":"{}""#, "x".repeat(2_000)));
        assert_eq!(to_fit(&record(&large_elsewhere, ""), 1_000), None);
        for other in ["{}", "[]", "no JSON", r#"{"original_message":{},"error_type":"X"}"#] {
            assert_eq!(to_fit(other.as_bytes(), 1), None, "{other}");
        }
    }

    #[test]
    fn a_message_can_be_recorded_when_its_variables_are_what_is_large() {
        let most = 100_000;
        assert!(can_be_recorded(&message("f", "n"), most));
        assert!(can_be_recorded(&message(&"f".repeat(99_000), "n"), most));
        let elsewhere = message("f", "n").replace(r#""a"}"#, &format!(r#""{}"}}"#, "x".repeat(99_000)));
        assert!(!can_be_recorded(&elsewhere, most));
        assert!(!can_be_recorded(&format!(r#"{{"task_id":"{}"}}"#, "x".repeat(99_000)), most));
    }
}
