//! Users, groups and tasks that a message names by their number. It cannot know whether the portal has them.

use serde_json::json;

use super::super::Settings;
use super::{Fields, PARENT, RESPONSIBLE, lists};
use crate::message::Task;
use crate::message::given::Place::{Extensions, Process, Variables};
use crate::message::given::{self, Sourced};

/// What happens to a value that is no id.
const NOT_USED: &str = "it is not used";

/// Puts all users, groups and tasks.
pub fn put(task: &Task, settings: &Settings, made: &mut Fields) {
    let default = settings.default_responsible;
    let otherwise = format!("responsible is the default, {default}");
    let responsible = given::first_id(task, &[(Extensions, "assigneeId")], &otherwise, &mut made.warnings);
    made.put(RESPONSIBLE, responsible.or_else(|| Some(Sourced::new(default, "BITRIX_DEFAULT_RESPONSIBLE_ID"))));
    let author = given::first_id(task, &[(Variables, "startedBy")], NOT_USED, &mut made.warnings);
    made.put("CREATED_BY", author);
    let auditor = given::first_id(task, &[(Process, "originatorId")], NOT_USED, &mut made.warnings);
    made.put("AUDITORS", auditor.map(|auditor| auditor.map(|id| json!([id]))));
    let accomplices = lists::accomplices(task, made);
    made.put("ACCOMPLICES", accomplices);
    let groups = [(Variables, "group_id"), (Variables, "groupId"), (Variables, "project_id"), (Process, "groupId")];
    let group = given::first_id(task, &groups, NOT_USED, &mut made.warnings);
    made.put("GROUP_ID", group);
    let parents = [(Variables, "parentTaskId"), (Variables, "parent_task_id")];
    let parent = given::first_id(task, &parents, NOT_USED, &mut made.warnings);
    made.put(PARENT, parent);
}

#[cfg(test)]
mod tests;
