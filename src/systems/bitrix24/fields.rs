//! Task → the fields of a Bitrix24 task. Pure: the same task and settings give the same fields, and nothing is sent.
//!
//! The rules are section "Bitrix24 task" of this folder's README: [`texts`] has those for title and description,
//! [`ids`] those for users, groups and tasks, [`lists`] those for tags, accomplices and checklists, [`custom`] what a
//! process model sets, [`concessions`](mod@concessions) what to try when the portal refuses. All of them read the
//! message through [`given`], so that no part of it is dropped in silence. Each value remembers where it came from, for
//! [`super::explain`].

pub mod concessions;
pub mod custom;
pub mod ids;
pub mod lists;
pub mod texts;

use std::collections::BTreeMap;

pub use concessions::{Concession, concessions};
pub use custom::is_custom_field;
use serde_json::{Map, Value};

use super::Settings;
pub use crate::message::given::checklists::{CHECKLISTS, Checklist};
pub use crate::message::given::is_yes;
use crate::message::given::{self, Place, Sourced, dates};
use crate::message::{Task, text, whole};

/// Every portal has this field for the id of another program, and writes it together with the task: the second marker.
/// A custom field is written later, and an abort may leave the task without it.
pub const XML_ID: &str = "XML_ID";
/// The portal's column for [`XML_ID`], in bytes.
const LONGEST_XML_ID: usize = 50;
const RESPONSIBLE: &str = "RESPONSIBLE_ID";
const PARENT: &str = "PARENT_ID";

/// A task as Bitrix24 gets it.
#[derive(Debug, Default)]
pub struct Fields {
    /// The `fields` of `tasks.task.add`.
    pub fields: Map<String, Value>,
    /// The checklists to add once the task exists.
    pub checklists: Vec<Checklist>,
    /// A sentence for each value of the message that could not be used.
    pub warnings: Vec<String>,
    /// What is left out without a warning.
    pub left_out: Vec<String>,
    /// Where each field, and [`CHECKLISTS`], came from: places in the message, settings, and what was done to it.
    pub origins: BTreeMap<String, Vec<String>>,
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
    let priority = priority(task, &mut made);
    made.put("PRIORITY", priority.or_else(|| Some(Sourced::new(settings.default_priority, "BITRIX_DEFAULT_PRIORITY"))));
    let deadline = dates::moment(task, &dates::DEADLINES, "deadline", &mut made.warnings);
    made.put("DEADLINE", deadline);
    let tags = lists::tags(task, &mut made);
    made.put("TAGS", tags);
    custom::put(task, &mut made);
    // After the message's fields, so that none of them can replace a marker.
    put_markers(task, settings, &mut made);
    lists::checklists(task, &mut made);
    made
}

/// Bitrix24 knows 0 (low), 1 (normal) and 2 (high).
fn priority(task: &Task, made: &mut Fields) -> Option<Sourced<u8>> {
    let names = ["priority", "task_priority", "urgency", "importance"];
    let Sourced { value, origin } =
        names.iter().find_map(|name| given::value(task, Place::Variables, name, &mut made.warnings))?;
    let spelt = text(value).unwrap_or_default().to_lowercase();
    let priority = match spelt.as_str() {
        "low" => 0,
        "normal" => 1,
        "high" => 2,
        digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => up_to_high(digits),
        double if whole(double).is_some() => up_to_high(double),
        _ => {
            let what = "is no priority: BITRIX_DEFAULT_PRIORITY counts";
            made.warnings.push(format!("{} {} {what}", origin.concat(), given::shown(value)));
            return None;
        }
    };
    Some(Sourced { value: priority, origin })
}

/// A number of any size.
fn up_to_high(number: &str) -> u8 {
    whole(number).and_then(|number| u8::try_from(number).ok()).unwrap_or(2).min(2)
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
                false => made.left_out.push(format!("{long}: it is not sent")),
            }
        }
    }
}

/// The checklists for this task alone.
pub fn checklists(task: &Task) -> Vec<Checklist> {
    let mut made = Fields::default();
    lists::checklists(task, &mut made);
    made.checklists
}

#[cfg(test)]
mod tests;
