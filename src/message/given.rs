//! A value of the message as a text, a number, or a yes or no; and the warning when it is none of these. It is the same
//! for every system. It knows places and forms, and no field of any target.
//!
//! A value that is null, blank or empty counts as not given, without a warning. Each value remembers where it came
//! from.

pub mod checklists;
pub mod dates;
pub mod named;
pub mod texts;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Task, text, whole};

/// Of a value in a warning, in characters.
const LONGEST_SHOWN: usize = 60;
/// With these bytes an object starts that Java has serialised.
const JAVA: &[u8] = &[0xac, 0xed, 0x00, 0x05];

/// What could not be used, a sentence each.
pub type Warnings = Vec<String>;

/// A value, and where it came from.
#[derive(Clone, Debug)]
pub struct Sourced<T> {
    /// What is given.
    pub value: T,
    /// Places in the message, settings, and what was done to it.
    pub origin: Vec<String>,
}

impl<T> Sourced<T> {
    /// A value from one place.
    pub fn new(value: T, origin: impl Into<String>) -> Sourced<T> {
        Sourced { value, origin: vec![origin.into()] }
    }

    /// The same place, with what this makes of the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: change(self.value), origin: self.origin }
    }
}

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

/// The value with this name, if it is given and can be read.
pub fn value<'a>(task: &'a Task, place: Place, name: &str, warnings: &mut Warnings) -> Option<Sourced<&'a Value>> {
    let value = place.members(task).get(name).filter(|value| !is_blank(value))?;
    if is_java(value) {
        warnings.push(format!(
            "{} is a serialised Java object ({}): it is not used; let the process set it as a text or as JSON",
            place.of(name),
            shown(value)
        ));
        return None;
    }
    Some(Sourced::new(value, place.of(name)))
}

/// The first of these that is a text; of a number or a boolean, its spelling.
pub fn first_text(task: &Task, place: Place, names: &[&str], warnings: &mut Warnings) -> Option<Sourced<String>> {
    names.iter().find_map(|name| {
        let Sourced { value, origin } = value(task, place, name, warnings)?;
        let text = text(value);
        if text.is_none() {
            warnings.push(format!("{} is {}, not a text: it is not used", origin.concat(), shown(value)));
        }
        Some(Sourced { value: text?, origin })
    })
}

/// The first of these that is a positive whole number; `otherwise` says what happens to any other value.
pub fn first_id(
    task: &Task,
    named: &[(Place, &str)],
    otherwise: &str,
    warnings: &mut Warnings,
) -> Option<Sourced<u64>> {
    named.iter().find_map(|(place, name)| {
        let Sourced { value, origin } = value(task, *place, name, warnings)?;
        let id = positive(value);
        if id.is_none() {
            let what = "is not a positive whole number";
            warnings.push(format!("{} {} {what}: {otherwise}", origin.concat(), shown(value)));
        }
        Some(Sourced { value: id?, origin })
    })
}

/// The positive whole number that a number or a text is.
pub fn positive(value: &Value) -> Option<u64> {
    let spelt = text(value).filter(|_| !value.is_boolean())?;
    whole(&spelt).filter(|number| *number > 0)
}

/// The yes or no of an extension property; blank is a no.
pub fn answer(task: &Task, name: &str, warnings: &mut Warnings) -> Option<Sourced<bool>> {
    let given = Place::Extensions.members(task).get(name).filter(|value| !value.is_null())?;
    let yes = is_yes(given);
    if !yes && !is_no(given) {
        let (place, shown) = (Place::Extensions.of(name), shown(given));
        warnings.push(format!("{place} {shown} is neither yes nor no: it counts as no"));
    }
    Some(Sourced::new(yes, Place::Extensions.of(name)))
}

/// The spellings of "yes" in a process model and at a portal.
pub fn is_yes(value: &Value) -> bool {
    is_one_of(value, &["true", "да", "yes", "y"], 1)
}

/// Those of "no"; a blank value is one.
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
