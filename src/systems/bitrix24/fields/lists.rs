//! Tags, accomplices and checklists: lists, and texts that hold a list. It does not know how a checklist gets to the
//! portal.

use std::collections::HashSet;

use serde_json::Value;

use super::given::{self, Place};
use super::{CHECKLISTS, Checklist, Fields, Sourced};
use crate::message::{Task, document, text};

/// The tags that people search by.
pub fn tags(task: &Task, made: &mut Fields) -> Option<Sourced<Value>> {
    let Sourced { value, origin } = given::value(task, Place::Variables, "tags", made)?;
    let tag = |entry: &Value| text(entry).filter(|_| !given::is_java(entry));
    let tags = usable(&entries(value), tag, "tags", "no texts", made);
    (!tags.is_empty()).then(|| Sourced { value: tags.into(), origin })
}

/// The accomplices. The variable is read when the extension property has none.
pub fn accomplices(task: &Task, made: &mut Fields) -> Option<Sourced<Value>> {
    let (all, origin) = [Place::Extensions, Place::Variables].into_iter().find_map(|place| {
        let Sourced { value, origin } = given::value(task, place, "accomplices", made)?;
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
    let Some(Sourced { value, origin }) = given::value(task, Place::Extensions, CHECKLISTS, made) else { return };
    let lists = match value {
        Value::String(text) => document::read(text.as_bytes()).unwrap_or_default(),
        other => other.clone(),
    };
    let Value::Array(lists) = lists else {
        made.warnings.push("checklists is not a JSON list; the task has none".into());
        return;
    };
    let mut unusable = 0;
    made.checklists = lists.iter().filter_map(|list| checklist(list, &mut unusable)).collect();
    if unusable > 0 {
        made.warnings.push(format!("{unusable} part(s) of {} are no checklists or lines; left out", origin.concat()));
    }
    made.origins.insert(CHECKLISTS.into(), origin);
}

/// The checklist, if it is one, whatever its parts are. Counts the values in it that cannot be used.
fn checklist(list: &Value, unusable: &mut usize) -> Option<Checklist> {
    let mut is_usable = |value: &Value, usable: bool| {
        *unusable += usize::from(!usable && !given::is_blank(value));
        usable
    };
    if !is_usable(list, list.is_object()) {
        return None;
    }
    let (name, items) = (&list["name"], &list["items"]);
    is_usable(name, text(name).is_some());
    is_usable(items, items.is_array());
    let items = items.as_array().into_iter().flatten().filter(|item| is_usable(item, text(item).is_some()));
    Some(Checklist {
        name: text(name).unwrap_or_else(|| "Без названия".into()),
        items: items.filter_map(text).collect(),
    })
}

#[cfg(test)]
mod tests;
