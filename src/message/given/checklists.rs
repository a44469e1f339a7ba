//! Checklists as a process model gives them. It does not know how one gets to a target.

use serde_json::Value;

use super::{Place, Sourced, Warnings, is_blank};
use crate::message::{Task, document, text};

/// The extension property that holds them.
pub const CHECKLISTS: &str = "checklists";

/// A checklist of a task.
#[derive(Debug, PartialEq, Eq)]
pub struct Checklist {
    /// Its heading.
    pub name: String,
    /// Its lines, none of them blank.
    pub items: Vec<String>,
}

/// The checklists of this task, with a warning for every value that is no checklist.
pub fn checklists(task: &Task, warnings: &mut Warnings) -> Option<Sourced<Vec<Checklist>>> {
    let given = super::value(task, Place::Extensions, CHECKLISTS, warnings)?;
    let lists = match given.value {
        Value::String(text) => document::read(text.as_bytes()).unwrap_or_default(),
        other => other.clone(),
    };
    let Value::Array(lists) = lists else {
        warnings.push("checklists is not a JSON list; the task has none".into());
        return None;
    };
    let mut unusable = 0;
    let made = lists.iter().filter_map(|list| checklist(list, &mut unusable)).collect();
    if unusable > 0 {
        let place = given.origin.concat();
        warnings.push(format!("{unusable} part(s) of {place} are no checklists or lines; left out"));
    }
    Some(given.map(|_| made))
}

/// The checklist, if it is one, whatever its parts are. Counts the values in it that cannot be used.
fn checklist(list: &Value, unusable: &mut usize) -> Option<Checklist> {
    let mut is_usable = |value: &Value, usable: bool| {
        *unusable += usize::from(!usable && !is_blank(value));
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
