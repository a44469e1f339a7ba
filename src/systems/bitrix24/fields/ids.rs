//! Users, groups and tasks that a message names by their number. It cannot know whether the portal has them.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::super::Settings;
use super::{EXTENSIONS, Fields, PARENT, RESPONSIBLE, Sourced, extension, process_property, variable};
use crate::message::{Task, text};

/// Puts everybody and everything that is named by number.
pub fn put(task: &Task, settings: &Settings, made: &mut Fields) {
    let responsible = responsible(task, settings, &mut made.warnings);
    made.put(RESPONSIBLE, Some(responsible));
    let author = number([variable(task, &["startedBy"])], &mut made.passed_over);
    made.put("CREATED_BY", author);
    let auditor = number([process_property(task, "originatorId")], &mut made.passed_over);
    made.put("AUDITORS", auditor.map(|auditor| auditor.map(|id| json!([id]))));
    let accomplices = accomplices(task, &mut made.warnings);
    made.put("ACCOMPLICES", accomplices);
    let group = number(groups(task), &mut made.passed_over);
    made.put("GROUP_ID", group);
    let parent = ["parentTaskId", "parent_task_id"].map(|name| variable(task, &[name]));
    let parent = number(parent, &mut made.passed_over);
    made.put(PARENT, parent);
}

fn responsible(task: &Task, settings: &Settings, warnings: &mut Vec<String>) -> Sourced<u64> {
    let default = settings.default_responsible;
    let by_default = || Sourced::new(default, "BITRIX_DEFAULT_RESPONSIBLE_ID");
    let Some(Sourced { value: assignee, origin }) = extension(task, "assigneeId") else { return by_default() };
    match positive(&assignee) {
        Some(value) => Sourced { value, origin },
        None => {
            warnings
                .push(format!("assigneeId {assignee:?} is not a user's number; responsible is the default, {default}"));
            by_default()
        }
    }
}

fn groups(task: &Task) -> impl Iterator<Item = Option<Sourced<String>>> {
    let variables = ["group_id", "groupId", "project_id"].map(|name| variable(task, &[name]));
    variables.into_iter().chain([process_property(task, "groupId")])
}

/// A positive whole number, written in digits only.
fn positive(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().filter(|number| *number > 0)).flatten()
}

/// The first of these that is a positive whole number.
fn number(
    given: impl IntoIterator<Item = Option<Sourced<String>>>,
    passed_over: &mut Vec<String>,
) -> Option<Sourced<u64>> {
    given.into_iter().flatten().find_map(|Sourced { value, origin }| {
        let number = positive(&value);
        if number.is_none() {
            passed_over.push(format!("{} {value:?} is not a positive whole number", origin.concat()));
        }
        Some(Sourced { value: number?, origin })
    })
}

/// Those that take part. The variable has its turn where the extension property says nothing.
fn accomplices(task: &Task, warnings: &mut Vec<String>) -> Option<Sourced<Value>> {
    let named = |members: &Map<String, Value>| members.get("accomplices").map(entries).filter(|all| !all.is_empty());
    let (all, place) = named(&task.extension_properties)
        .map(|all| (all, EXTENSIONS))
        .or_else(|| named(&task.variables).map(|all| (all, "variables")))?;
    let mut seen = HashSet::new();
    let ids: Vec<u64> = all.iter().filter_map(|entry| positive(entry)).filter(|id| seen.insert(*id)).collect();
    let mut wrong = all.iter().filter(|entry| positive(entry).is_none());
    if let Some(first) = wrong.next() {
        let (wrong, all) = (1 + wrong.count(), all.len());
        warnings
            .push(format!("accomplices: {wrong} of {all} left out, being no numbers of users, the first is {first:?}"));
    }
    (!ids.is_empty()).then(|| Sourced::new(ids.into(), format!("{place}.accomplices")))
}

/// The members of a list, or of a text with commas, without blank ones.
fn entries(list: &Value) -> Vec<String> {
    let spelt = |entry: &Value| match entry {
        Value::Array(_) | Value::Object(_) => Some(entry.to_string()),
        plain => text(plain),
    };
    match list {
        Value::Array(entries) => entries.iter().filter_map(spelt).collect(),
        Value::Object(_) => vec![list.to_string()],
        plain => {
            let plain = text(plain).unwrap_or_default();
            plain.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
        }
    }
}

#[cfg(test)]
mod tests;
