//! Tags, accomplices and checklists: lists, and texts that hold a list. It does not know how a checklist gets to the
//! portal.

use std::collections::HashSet;

use serde_json::Value;

use super::{CHECKLISTS, Fields};
use crate::message::given::{self, Place, Sourced};
use crate::message::{Task, document, text};

/// The tags that people search by.
pub fn tags(task: &Task, made: &mut Fields) -> Option<Sourced<Value>> {
    let Sourced { value, origin } = given::value(task, Place::Variables, "tags", &mut made.warnings)?;
    let tag = |entry: &Value| text(entry).filter(|_| !given::is_java(entry));
    let tags = usable(&entries(value), tag, "tags", "no texts", made);
    (!tags.is_empty()).then(|| Sourced { value: tags.into(), origin })
}

/// The accomplices. The variable is read when the extension property has none.
pub fn accomplices(task: &Task, made: &mut Fields) -> Option<Sourced<Value>> {
    let (all, origin) = [Place::Extensions, Place::Variables].into_iter().find_map(|place| {
        let Sourced { value, origin } = given::value(task, place, "accomplices", &mut made.warnings)?;
        Some((entries(value), origin)).filter(|(all, _)| !all.is_empty())
    })?;
    let mut ids = usable(&all, given::positive, "accomplices", "no numbers of users", made);
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(*id));
    (!ids.is_empty()).then(|| Sourced { value: ids.into(), origin })
}

/// The readable entries, with one warning for all that are `others`.
fn usable<T>(all: &[Value], read: impl Fn(&Value) -> Option<T>, name: &str, others: &str, made: &mut Fields) -> Vec<T> {
    let usable: Vec<T> = all.iter().filter_map(&read).collect();
    if let Some(first) = all.iter().find(|entry| read(entry).is_none()) {
        let (wrong, all, first) = (all.len() - usable.len(), all.len(), given::shown(first));
        made.warnings.push(format!("{name}: {wrong} of {all} left out, being {others}, the first is {first}"));
    }
    usable
}

/// The entries of a list, or of a text that holds one: as JSON, as Java writes it (`[a, b]`), or with commas. Blank
/// ones are left out.
fn entries(value: &Value) -> Vec<Value> {
    let mut entries = match value {
        Value::Array(entries) => entries.clone(),
        Value::String(text) => in_text(text.trim()),
        other => vec![other.clone()],
    };
    entries.retain(|entry| !given::is_blank(entry));
    entries
}

fn in_text(text: &str) -> Vec<Value> {
    match document::read(text.as_bytes()) {
        Ok(Value::Array(entries)) => entries,
        Ok(object @ Value::Object(_)) => vec![object],
        _ => {
            let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            inside.split(',').map(|entry| entry.trim().into()).collect()
        }
    }
}

/// The checklists to add, with a warning for every value that is no checklist.
pub fn checklists(task: &Task, made: &mut Fields) {
    if let Some(Sourced { value, origin }) = given::checklists::checklists(task, &mut made.warnings) {
        made.checklists = value;
        made.origins.insert(CHECKLISTS.into(), origin);
    }
}

#[cfg(test)]
mod tests;
