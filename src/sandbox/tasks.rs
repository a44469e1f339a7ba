//! The methods on tasks: create, read, list, change. It knows no HTTP.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::list;
use super::portal::Portal;
use super::reply::{Answer, Outcome, Refusal};
use super::request::{integer, text};
use super::values;

pub(super) fn add(portal: &mut Portal, params: &Value) -> Outcome {
    let fields = given_fields(params)?;
    if fields.get("TITLE").and_then(text).is_none() {
        return Err(Refusal::core("Не указано название задачи"));
    }
    if fields.get("RESPONSIBLE_ID").is_none_or(Value::is_null) {
        return Err(Refusal::core("Не указан исполнитель"));
    }
    let is_missing = |name: &str| fields.get(name).and_then(text).is_none_or(|text| text.is_empty());
    if portal.fields.iter().any(|(_, field)| field.mandatory && is_missing(&field.name)) {
        return Err(Refusal::core("Не заполнено обязательное поле"));
    }
    let kept = accepted(portal, fields)?;
    let id = portal.create();
    let status = status(&kept);
    portal.write_new(id, kept, Instant::now());
    status.map(|status| portal.set_status(id, status));
    // An owner who may not see the task gets nothing, although it exists.
    let own = portal.task(id).is_some_and(|task| portal.is_own(task));
    Ok(if own { shown(portal, id, &json!(["*", "UF_*"])) } else { json!([]) }.into())
}

pub(super) fn update(portal: &mut Portal, params: &Value) -> Outcome {
    let fields = given_fields(params)?;
    let id = task_id(&params["taskId"])?;
    if portal.visible_task(id).is_none() {
        return Err(Refusal::new(400, "1048582", "Действие над задачей не разрешено"));
    }
    let kept = accepted(portal, fields)?;
    portal.write_all(id, &kept);
    status(&kept).map(|status| portal.set_status(id, status));
    Ok(shown(portal, id, &json!(["*", "UF_*"])).into())
}

fn given_fields(params: &Value) -> Result<&Map<String, Value>, Refusal> {
    let fields = params["fields"].as_object().filter(|fields| !fields.is_empty());
    fields.ok_or_else(|| Refusal::new(400, "100", "Could not find value for parameter {fields}"))
}

/// The fields as they are kept, when they are all valid.
fn accepted(portal: &Portal, fields: &Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    values::check(&portal.rules, fields)?;
    let parent = fields.get("PARENT_ID").and_then(integer).and_then(|parent| u64::try_from(parent).ok());
    if parent.is_some_and(|parent| parent != 0 && portal.visible_task(parent).is_none()) {
        return Err(Refusal::new(400, "4", "Базовая задача не найдена или недоступна"));
    }
    values::kept(&portal.rules, fields)
}

fn status(fields: &Map<String, Value>) -> Option<u8> {
    fields.get("STATUS").and_then(integer).and_then(|status| u8::try_from(status).ok())
}

pub(super) fn get(portal: &mut Portal, params: &Value) -> Outcome {
    let select = &params["select"];
    if select.as_object().is_some_and(Map::is_empty) {
        return Err(Refusal::new(400, "100", "Invalid value {} to match with parameter {select}"));
    }
    let id = task_id(&params["taskId"])?;
    let visible = portal.visible_task(id).is_some();
    Ok(if visible { shown(portal, id, select) } else { json!([]) }.into())
}

/// `result` of an existing task, with what the portal adds unasked.
fn shown(portal: &Portal, id: u64, select: &Value) -> Value {
    let Some(task) = portal.task(id) else {
        return json!([]);
    };
    let user = |name| {
        let id = portal.value(task, name).as_ref().and_then(text).unwrap_or_default();
        json!({"id": id, "name": format!("User {id}"), "link": format!("/company/personal/user/{id}/")})
    };
    let mut row = list::row(portal, task, &list::selected(&portal.fields, select));
    row.insert("group".into(), json!([]));
    row.insert("creator".into(), user("CREATED_BY"));
    row.insert("responsible".into(), user("RESPONSIBLE_ID"));
    row.insert("action".into(), json!({"accept": false, "complete": true, "edit": true, "remove": true}));
    json!({"task": row})
}

pub(super) fn list(portal: &mut Portal, params: &Value) -> Outcome {
    let page = list::page(portal, params)?;
    let selected = list::selected(&portal.fields, &params["select"]);
    let rows: Vec<Value> = page.tasks.iter().map(|task| list::row(portal, task, &selected).into()).collect();
    Ok(Answer::page(json!({"tasks": rows}), page.total, page.next))
}

pub(super) fn task_id(value: &Value) -> Result<u64, Refusal> {
    let id = integer(value).and_then(|id| u64::try_from(id).ok());
    id.ok_or_else(|| Refusal::new(400, "0", "Invalid value of taskId"))
}

#[cfg(test)]
mod tests;
