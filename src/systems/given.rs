//! Where a message says something, and what its values say whatever the system: nothing, yes or no, or an object that
//! nobody but Java can read. It knows no field of any target.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::message::{Task, text, whole};

/// Of a value in a warning, in characters.
const LONGEST_SHOWN: usize = 60;
/// With these bytes an object starts that Java has serialised.
const JAVA: &[u8] = &[0xac, 0xed, 0x00, 0x05];

/// Where in a message values are looked for.
#[derive(Clone, Copy)]
pub enum Place {
    /// The process variables.
    Variables,
    /// Where process models put what has no place of its own in Camunda.
    Extensions,
    /// The properties of the process.
    Process,
}

impl Place {
    /// What is at this place.
    pub fn members(self, task: &Task) -> &Map<String, Value> {
        match self {
            Place::Variables => &task.variables,
            Place::Extensions => &task.extension_properties,
            Place::Process => &task.process_properties,
        }
    }

    /// Its name in the message, with that of a member.
    pub fn of(self, name: &str) -> String {
        let place = match self {
            Place::Variables => "variables",
            Place::Extensions => "metadata.extensionProperties",
            Place::Process => "metadata.processProperties",
        };
        format!("{place}.{name}")
    }
}

/// The spellings of "yes" in a process model and at a portal.
pub fn is_yes(value: &Value) -> bool {
    is_one_of(value, &["true", "да", "yes", "y"], 1)
}

/// Those of "no"; what is blank is one.
pub fn is_no(value: &Value) -> bool {
    is_blank(value) || is_one_of(value, &["false", "нет", "no", "n"], 0)
}

fn is_one_of(value: &Value, words: &[&str], number: u64) -> bool {
    let spelt = text(value).unwrap_or_default();
    words.contains(&spelt.to_lowercase().as_str()) || whole(&spelt) == Some(number)
}

/// Does it say nothing?
pub fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.iter().all(is_blank),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Is it the base64 of an object that Java has serialised? Camunda sends that where a process keeps such an object.
pub fn is_java(value: &Value) -> bool {
    // Eight characters are six bytes.
    let start = value.as_str().and_then(|text| text.trim_start().get(..8));
    start.and_then(|start| STANDARD.decode(start).ok()).is_some_and(|bytes| bytes.starts_with(JAVA))
}

/// A value for a warning: not longer than helps to find it.
pub fn shown(value: &Value) -> String {
    let spelt = value.as_str().map_or_else(|| value.to_string(), |text| format!("{text:?}"));
    match spelt.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &spelt[..end]),
        None => spelt,
    }
}
