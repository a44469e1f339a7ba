//! Task → the fields of a Bitrix24 task. Pure: the same task and settings give the same fields, and nothing is sent.
//!
//! The rules are section "Bitrix24 task" of this folder's README: [`texts`] has those for what people read, [`ids`] for
//! whom and what it names, [`custom`] for what a process model sets, [`concessions`](mod@concessions) for what to try when
//! the portal refuses. Each value remembers where it came from, for [`super::explain`].

pub mod concessions;
pub mod custom;
pub mod ids;
pub mod texts;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
pub use concessions::{Concession, concessions};
pub use custom::{is_custom_field, is_yes};
use serde_json::{Map, Value};

use super::Settings;
use crate::message::{Task, document, text};

/// Where process models put what has no place of its own in Camunda.
const EXTENSIONS: &str = "metadata.extensionProperties";
/// The extension property that holds them.
pub const CHECKLISTS: &str = "checklists";
/// The field that every portal has for an id of somebody else's, and writes together with the task: the second marker. A
/// custom field is written later, and an abort may leave the task without it.
pub const XML_ID: &str = "XML_ID";
/// The portal's column for [`XML_ID`], in bytes.
const LONGEST_XML_ID: usize = 50;
const RESPONSIBLE: &str = "RESPONSIBLE_ID";
const PARENT: &str = "PARENT_ID";

/// A task as Bitrix24 shall have it.
#[derive(Debug, Default)]
pub struct Fields {
    /// The `fields` of `tasks.task.add`.
    pub fields: Map<String, Value>,
    /// The checklists to add once the task exists.
    pub checklists: Vec<Checklist>,
    /// What was in the message but could not be used, a sentence each.
    pub warnings: Vec<String>,
    /// The same where nobody has to be warned: the field is simply not sent.
    pub passed_over: Vec<String>,
    /// Where each field, and [`CHECKLISTS`], came from: places in the message, settings, and what was done to it.
    pub origins: BTreeMap<String, Vec<String>>,
}

/// A checklist of a task.
#[derive(Debug, PartialEq, Eq)]
pub struct Checklist {
    /// Its heading.
    pub name: String,
    /// Its lines, none of them blank.
    pub items: Vec<String>,
}

/// A value, and where it came from.
#[derive(Clone)]
struct Sourced<T> {
    value: T,
    origin: Vec<String>,
}

impl<T> Sourced<T> {
    fn new(value: T, origin: impl Into<String>) -> Sourced<T> {
        Sourced { value, origin: vec![origin.into()] }
    }

    fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: change(self.value), origin: self.origin }
    }
}

impl Fields {
    fn put<T: Into<Value>>(&mut self, name: &str, made: Option<Sourced<T>>) {
        if let Some(Sourced { value, origin }) = made {
            self.fields.insert(name.into(), value.into());
            self.origins.insert(name.into(), origin);
        }
    }
}

/// The fields for this task.
pub fn fields(task: &Task, settings: &Settings) -> Fields {
    let mut made = Fields::default();
    texts::put(task, settings.max_description_length, &mut made);
    ids::put(task, settings, &mut made);
    let priority = priority(task, settings.default_priority, &mut made.passed_over);
    made.put("PRIORITY", Some(priority));
    let deadline = deadline(task, &mut made.warnings);
    made.put("DEADLINE", deadline);
    made.put("TAGS", tags(task));
    custom::put(task, &mut made);
    // After what the message brings, so that nothing in it can replace them.
    put_markers(task, settings, &mut made);
    add_checklists(task, &mut made);
    made
}

fn variable(task: &Task, names: &[&str]) -> Option<Sourced<String>> {
    names.iter().find_map(|name| Some(Sourced::new(task.variable(&[name])?, format!("variables.{name}"))))
}

fn extension(task: &Task, name: &str) -> Option<Sourced<String>> {
    Some(Sourced::new(task.extension(name)?, format!("{EXTENSIONS}.{name}")))
}

fn process_property(task: &Task, name: &str) -> Option<Sourced<String>> {
    Some(Sourced::new(task.process_property(name)?, format!("metadata.processProperties.{name}")))
}

/// Bitrix24 knows 0 (low), 1 (normal) and 2 (high).
fn priority(task: &Task, default: u8, passed_over: &mut Vec<String>) -> Sourced<u8> {
    let by_default = || Sourced::new(default, "BITRIX_DEFAULT_PRIORITY");
    let given = variable(task, &["priority", "task_priority", "urgency", "importance"]);
    let Some(Sourced { value: given, origin }) = given else { return by_default() };
    let value = match given.to_lowercase().as_str() {
        "low" => 0,
        "normal" => 1,
        "high" => 2,
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse::<u64>().unwrap_or(2).min(2) as u8,
        _ => {
            passed_over.push(format!("{} {given:?} is no priority", origin.concat()));
            return by_default();
        }
    };
    Sourced { value, origin }
}

fn deadline(task: &Task, warnings: &mut Vec<String>) -> Option<Sourced<String>> {
    let given = variable(task, &["deadline", "due_date", "end_date", "finish_date"])?;
    let deadline = iso8601(&given.value);
    if deadline.is_none() {
        warnings.push(format!("the deadline {:?} is not a date; the task has none", given.value));
    }
    Some(Sourced { value: deadline?, origin: given.origin })
}

/// The date and time in ISO 8601, with the offset only where the text has one: Bitrix24 then takes its own zone. A date
/// alone begins at midnight.
fn iso8601(text: &str) -> Option<String> {
    const FORMS: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    // With "#" an offset may be Z, +03, +0300 or +03:00.
    let with_offset = FORMS.iter().find_map(|form| DateTime::parse_from_str(text, &format!("{form}%#z")).ok());
    if let Some(moment) = with_offset {
        return Some(moment.format("%Y-%m-%dT%H:%M:%S%:z").to_string());
    }
    let local = FORMS.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let midnight = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    local.or_else(midnight).map(|moment| moment.format("%Y-%m-%dT%H:%M:%S").to_string())
}

fn tags(task: &Task) -> Option<Sourced<Value>> {
    let tags: Vec<String> = match task.variables.get("tags")? {
        Value::Array(tags) => tags.iter().filter_map(text).collect(),
        tags => text(tags)?.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
    };
    (!tags.is_empty()).then(|| Sourced::new(tags.into(), "variables.tags"))
}

/// The task's id, if [`XML_ID`] can hold it.
pub fn xml_id(task_id: &str) -> Option<&str> {
    (task_id.len() <= LONGEST_XML_ID).then_some(task_id)
}

fn put_markers(task: &Task, settings: &Settings, made: &mut Fields) {
    if let Some(marker) = &settings.marker_field {
        made.put(marker, Some(Sourced::new(task.id.as_str(), "task_id")));
    }
    match xml_id(&task.id) {
        Some(id) => made.put(XML_ID, Some(Sourced::new(id, "task_id"))),
        None => {
            let long = format!("task_id has {} bytes and {XML_ID} holds {LONGEST_XML_ID}", task.id.len());
            match settings.marker_field.as_deref() == Some(XML_ID) {
                true => made.warnings.push(format!("{long}: the task cannot be found again, and may be created twice")),
                false => made.passed_over.push(format!("{long}: it is not sent")),
            }
        }
    }
}

/// The checklists for this task alone.
pub fn checklists(task: &Task) -> Vec<Checklist> {
    let mut made = Fields::default();
    add_checklists(task, &mut made);
    made.checklists
}

fn add_checklists(task: &Task, made: &mut Fields) {
    let Some(given) = extension(task, CHECKLISTS) else { return };
    let Ok(Value::Array(lists)) = document::read(given.value.as_bytes()) else {
        made.warnings.push("checklists is not a JSON list; the task has none".into());
        return;
    };
    let items = |list: &Value| list["items"].as_array().into_iter().flatten().filter_map(text).collect();
    let name = |list: &Value| text(&list["name"]).unwrap_or_else(|| "Без названия".into());
    let objects = lists.iter().filter(|list| list.is_object());
    made.checklists = objects.map(|list| Checklist { name: name(list), items: items(list) }).collect();
    if made.checklists.len() < lists.len() {
        let others = lists.len() - made.checklists.len();
        made.passed_over.push(format!("{others} member(s) of {} are no checklists", given.origin.concat()));
    }
    made.origins.insert(CHECKLISTS.into(), given.origin);
}

#[cfg(test)]
mod tests;
