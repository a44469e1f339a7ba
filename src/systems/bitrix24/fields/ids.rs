//! Users and groups that a message names by their number. It cannot know whether the portal has them.

use serde_json::json;

use super::super::Settings;
use super::{Fields, Sourced, extension, process_property, variable};
use crate::message::Task;

/// Puts everybody and everything that is named by number.
pub fn put(task: &Task, settings: &Settings, made: &mut Fields) {
    let responsible = responsible(task, settings, &mut made.warnings);
    made.put("RESPONSIBLE_ID", Some(responsible));
    let author = number([variable(task, &["startedBy"])], &mut made.passed_over);
    made.put("CREATED_BY", author);
    let auditor = number([process_property(task, "originatorId")], &mut made.passed_over);
    made.put("AUDITORS", auditor.map(|auditor| auditor.map(|id| json!([id]))));
    let group = number(groups(task), &mut made.passed_over);
    made.put("GROUP_ID", group);
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

#[cfg(test)]
mod tests;
