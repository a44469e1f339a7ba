//! Task → the fields of a Bitrix24 task. Pure: the same task and settings give the same fields, and nothing is sent.
//!
//! The rules are section "Bitrix24 task" of this folder's README.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::{Map, Value, json};

use super::Settings;
use crate::message::{Task, document, text};

/// The longest title that Bitrix24 keeps, in characters.
const LONGEST_TITLE: usize = 255;
const CUT: &str = "[Описание обрезано]";

/// A task as Bitrix24 shall have it.
#[derive(Debug)]
pub struct Fields {
    /// The `fields` of `tasks.task.add`.
    pub fields: Map<String, Value>,
    /// The checklists to add once the task exists.
    pub checklists: Vec<Checklist>,
    /// What was in the message but could not be used, a sentence each.
    pub warnings: Vec<String>,
}

/// A checklist of a task.
#[derive(Debug, PartialEq, Eq)]
pub struct Checklist {
    /// Its heading.
    pub name: String,
    /// Its lines, none of them blank.
    pub items: Vec<String>,
}

/// The fields for this task.
pub fn fields(task: &Task, settings: &Settings) -> Fields {
    let mut warnings = Vec::new();
    let mut fields = Map::new();
    let title = title(task);
    fields.insert("DESCRIPTION".into(), description(task, &title, settings.max_description_length).into());
    fields.insert("TITLE".into(), shortened(title, LONGEST_TITLE, "…").into());
    fields.insert("RESPONSIBLE_ID".into(), responsible(task, settings, &mut warnings).into());
    fields.insert("PRIORITY".into(), priority(task, settings.default_priority).into());
    let optional = [
        ("CREATED_BY", task.variable(&["startedBy"]).as_deref().and_then(positive).map(Value::from)),
        ("AUDITORS", task.process_property("originatorId").as_deref().and_then(positive).map(|id| json!([id]))),
        ("GROUP_ID", group(task).map(Value::from)),
        ("DEADLINE", deadline(task, &mut warnings).map(Value::from)),
        ("TAGS", tags(task)),
    ];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    fields.extend(custom_fields(task));
    // Last, so that nothing in the message can replace it.
    if let Some(marker) = &settings.marker_field {
        fields.insert(marker.clone(), task.id.clone().into());
    }
    let checklists = checklists(task, &mut warnings);
    Fields { fields, checklists, warnings }
}

fn title(task: &Task) -> String {
    let named = task.variable(&["title"]).or_else(|| task.activity_name.clone());
    named.unwrap_or_else(|| match task.topic.as_str() {
        "bitrix_create_task" => "Новая задача из процесса Camunda".into(),
        "bitrix_update_task" => "Обновление задачи из процесса Camunda".into(),
        "bitrix_create_deal" => "Новая сделка из процесса Camunda".into(),
        "bitrix_update_deal" => "Обновление сделки из процесса Camunda".into(),
        "bitrix_create_contact" => "Новый контакт из процесса Camunda".into(),
        topic => format!("Задача из Camunda процесса ({topic})"),
    })
}

fn description(task: &Task, title: &str, limit: usize) -> String {
    let mut description = task.variable(&["description"]).unwrap_or_else(|| title.to_owned());
    if let Some(additional) = task.variable(&["description_additional"]) {
        description.push('\n');
        description.push_str(&additional);
    }
    shortened(description, limit, CUT)
}

/// The text, cut so that with `mark` at its end it has at most `limit` characters.
fn shortened(text: String, limit: usize, mark: &str) -> String {
    if text.chars().count() <= limit {
        return text;
    }
    let kept = limit.saturating_sub(mark.chars().count());
    text.chars().take(kept).chain(mark.chars()).collect()
}

fn responsible(task: &Task, settings: &Settings, warnings: &mut Vec<String>) -> u64 {
    let Some(assignee) = task.extension("assigneeId") else { return settings.default_responsible };
    positive(&assignee).unwrap_or_else(|| {
        let default = settings.default_responsible;
        warnings.push(format!("assigneeId {assignee:?} is not a user's number; responsible is the default, {default}"));
        default
    })
}

/// A positive whole number, written in digits only.
fn positive(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok().filter(|number| *number > 0)).flatten()
}

fn group(task: &Task) -> Option<u64> {
    let variables = ["group_id", "groupId", "project_id"].map(|name| task.variable(&[name]));
    let groups = variables.into_iter().chain([task.process_property("groupId")]).flatten();
    groups.into_iter().find_map(|group| positive(&group))
}

/// Bitrix24 knows 0 (low), 1 (normal) and 2 (high).
fn priority(task: &Task, default: u8) -> u8 {
    let Some(priority) = task.variable(&["priority", "task_priority", "urgency", "importance"]) else { return default };
    match priority.to_lowercase().as_str() {
        "low" => 0,
        "normal" => 1,
        "high" => 2,
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse::<u64>().unwrap_or(2).min(2) as u8,
        _ => default,
    }
}

fn deadline(task: &Task, warnings: &mut Vec<String>) -> Option<String> {
    let given = task.variable(&["deadline", "due_date", "end_date", "finish_date"])?;
    let deadline = iso8601(&given);
    if deadline.is_none() {
        warnings.push(format!("the deadline {given:?} is not a date; the task has none"));
    }
    deadline
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

fn tags(task: &Task) -> Option<Value> {
    let tags: Vec<String> = match task.variables.get("tags")? {
        Value::Array(tags) => tags.iter().filter_map(text).collect(),
        tags => text(tags)?.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
    };
    (!tags.is_empty()).then(|| tags.into())
}

fn custom_fields(task: &Task) -> Vec<(String, Value)> {
    let fields = task.extension_properties.iter().filter(|(name, value)| is_custom_field(name) && !value.is_null());
    let fields = fields.filter_map(|(name, value)| match name.as_str() {
        "UF_RESULT_EXPECTED" => Some((name, if is_yes(value) { "Y" } else { "N" }.into())),
        "UF_RESULT_QUESTION" => Some((name, text(value)?.into())),
        _ => Some((name, value.clone())),
    });
    fields.map(|(name, value)| (name.clone(), value)).collect()
}

/// Is this a name that a custom field can have? Nothing else of a message becomes a field's name.
pub fn is_custom_field(name: &str) -> bool {
    let rest = name.strip_prefix("UF_").unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The spellings of "yes" in a process model and at a portal.
pub fn is_yes(value: &Value) -> bool {
    text(value).is_some_and(|text| matches!(text.to_lowercase().as_str(), "true" | "1" | "да" | "yes" | "y"))
}

fn checklists(task: &Task, warnings: &mut Vec<String>) -> Vec<Checklist> {
    let Some(given) = task.extension("checklists") else { return Vec::new() };
    let Ok(Value::Array(lists)) = document::read(given.as_bytes()) else {
        warnings.push("checklists is not a JSON list; the task has none".into());
        return Vec::new();
    };
    let items = |list: &Value| list["items"].as_array().into_iter().flatten().filter_map(text).collect();
    let name = |list: &Value| text(&list["name"]).unwrap_or_else(|| "Без названия".into());
    let lists = lists.iter().filter(|list| list.is_object());
    lists.map(|list| Checklist { name: name(list), items: items(list) }).collect()
}

#[cfg(test)]
mod tests;
