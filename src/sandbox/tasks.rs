//! The methods on tasks: create, read, list, change, and their checklists. Knows no HTTP.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::list;
use super::portal::Portal;
use super::reply::{Answer, Outcome, Refusal};
use super::request::{integer, text};

/// Users with these ids exist; any other responsible is refused.
const USERS: RangeInclusive<i64> = 1..=100;

pub(super) fn add(portal: &mut Portal, params: &Value) -> Outcome {
    let fields = &params["fields"];
    require_fields(fields)?;
    if text(&fields["TITLE"]).is_none_or(|title| title.trim().is_empty()) {
        return Err(Refusal::core("Не указано название задачи"));
    }
    if fields["RESPONSIBLE_ID"].is_null() {
        return Err(Refusal::core("Не указан исполнитель"));
    }
    check_values(portal, fields)?;
    let id = portal.create();
    write_fields(portal, id, fields);
    task_reply(portal, id, &json!(["*", "UF_*"]))
}

pub(super) fn update(portal: &mut Portal, params: &Value) -> Outcome {
    let fields = &params["fields"];
    require_fields(fields)?;
    let id = task_id(&params["taskId"])?;
    if portal.task(id).is_none() {
        return Err(Refusal::new(400, "1048582", "Действие над задачей не разрешено"));
    }
    check_values(portal, fields)?;
    write_fields(portal, id, fields);
    task_reply(portal, id, &json!(["*", "UF_*"]))
}

fn require_fields(fields: &Value) -> Result<(), Refusal> {
    match fields.as_object() {
        Some(fields) if !fields.is_empty() => Ok(()),
        _ => Err(Refusal::new(400, "100", "Could not find value for parameter {fields}")),
    }
}

/// The checks of values that add and update share.
fn check_values(portal: &Portal, fields: &Value) -> Result<(), Refusal> {
    let given = |name: &str| Some(&fields[name]).filter(|value| !value.is_null());
    if given("RESPONSIBLE_ID").is_some_and(|user| !integer(user).is_some_and(|user| USERS.contains(&user))) {
        return Err(Refusal::core("Пользователь, указанный в поле «Исполнитель», не найден"));
    }
    if given("STATUS").is_some_and(|status| !integer(status).is_some_and(|status| (1..=7).contains(&status))) {
        return Err(Refusal::core("Неверный статус задачи"));
    }
    let parent = given("PARENT_ID").and_then(integer).and_then(|parent| u64::try_from(parent).ok());
    if parent.is_some_and(|parent| parent != 0 && portal.task(parent).is_none()) {
        return Err(Refusal::core("Задача, указанная в поле «Базовая задача», не найдена"));
    }
    Ok(())
}

fn write_fields(portal: &mut Portal, id: u64, fields: &Value) {
    for (name, value) in fields.as_object().into_iter().flatten() {
        portal.write(id, name, value);
    }
    if let Some(status) = integer(&fields["STATUS"]).and_then(|status| u8::try_from(status).ok()) {
        portal.set_status(id, status);
    }
}

pub(super) fn get(portal: &mut Portal, params: &Value) -> Outcome {
    let select = &params["select"];
    if select.as_object().is_some_and(serde_json::Map::is_empty) {
        return Err(Refusal::new(400, "100", "Invalid value {} to match with parameter {select}"));
    }
    task_reply(portal, task_id(&params["taskId"])?, select)
}

/// `result.task` with what the portal adds unasked; an empty list for a task that is not there.
fn task_reply(portal: &Portal, id: u64, select: &Value) -> Outcome {
    let Some(task) = portal.task(id) else {
        return Ok(json!([]).into());
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
    Ok(json!({"task": row}).into())
}

pub(super) fn list(portal: &mut Portal, params: &Value) -> Outcome {
    let page = list::page(portal, params)?;
    let selected = list::selected(&portal.fields, &params["select"]);
    let rows: Vec<Value> = page.tasks.iter().map(|task| list::row(portal, task, &selected).into()).collect();
    Ok(Answer { result: json!({"tasks": rows}), total: Some(page.total), next: page.next })
}

fn task_id(value: &Value) -> Result<u64, Refusal> {
    let id = integer(value).and_then(|id| u64::try_from(id).ok());
    id.ok_or_else(|| Refusal::new(400, "0", "Invalid value of taskId"))
}

pub(super) fn add_checklist_item(portal: &mut Portal, params: &Value) -> Outcome {
    let (task, fields) = (task_id(&params["TASKID"])?, &params["FIELDS"]);
    let Some(title) = text(&fields["TITLE"]).filter(|title| !title.is_empty()) else {
        return Err(Refusal::core("Не указано название пункта чек-листа"));
    };
    let parent = integer(&fields["PARENT_ID"]).and_then(|parent| u64::try_from(parent).ok());
    let item = portal.add_checklist_item(task, parent.unwrap_or(0), title);
    item.map(|item| Value::from(item).into()).ok_or_else(|| Refusal::core("Задача не найдена или недоступна"))
}

#[cfg(test)]
mod tests {
    use super::super::methods::tests::{refused, result};
    use super::*;

    #[test]
    fn a_created_task_reads_back_in_the_portals_spelling() {
        let portal = &mut Portal::default();
        let fields = json!({
            "TITLE": "ДА", "RESPONSIBLE_ID": 7, "UF_RESULT_EXPECTED": "Y", "UF_UNKNOWN": "x", "TAGS": ["a"],
            "UF_CAMUNDA_ID_EXTERNAL_TASK": "m-1",
        });
        let added = result(portal, "tasks.task.add", json!({"fields": fields}));
        assert_eq!(added["task"]["id"], "1");
        let select = json!(["ID", "STATUS", "RESPONSIBLE_ID", "TAGS", "UF_*"]);
        let read = result(portal, "tasks.task.get", json!({"taskId": "1", "select": select}));
        let task = &read["task"];
        assert_eq!((&task["status"], &task["responsibleId"]), (&json!("2"), &json!("7")));
        assert_eq!((&task["ufResultExpected"], &task["tags"]), (&json!("1"), &json!(["a"])));
        assert_eq!(task["ufCamundaIdExternalTask"], "m-1");
        assert_eq!((&task["ufResultAnswer"], &task["ufCrmTask"]), (&Value::Null, &json!(false)));
        assert!(task.get("ufUnknown").is_none() && task.get("title").is_none());
    }

    #[test]
    fn a_missing_task_is_an_empty_list() {
        assert_eq!(result(&mut Portal::default(), "tasks.task.get", json!({"taskId": 5})), json!([]));
    }

    #[test]
    fn an_add_without_title_or_known_responsible_is_refused() {
        let portal = &mut Portal::default();
        let wrong = [
            json!({"RESPONSIBLE_ID": 1}),
            json!({"TITLE": "t"}),
            json!({"TITLE": "t", "RESPONSIBLE_ID": 101}),
            json!({"TITLE": "t", "RESPONSIBLE_ID": 1, "STATUS": 9}),
            json!({"TITLE": "t", "RESPONSIBLE_ID": 1, "PARENT_ID": 77}),
        ];
        for fields in wrong {
            assert_eq!(refused(portal, "tasks.task.add", json!({"fields": fields})), (400, "ERROR_CORE"));
        }
        assert_eq!(refused(portal, "tasks.task.add", json!({"fields": {}})), (400, "100"));
        assert_eq!(portal.tasks().count(), 0);
    }

    #[test]
    fn an_update_changes_status_and_fields() {
        let portal = &mut Portal::default();
        result(portal, "tasks.task.add", json!({"fields": {"TITLE": "old", "RESPONSIBLE_ID": 1}}));
        let change = json!({"taskId": 1, "fields": {"TITLE": "new", "STATUS": 5}});
        let task = &result(portal, "tasks.task.update", change)["task"];
        assert_eq!((&task["title"], &task["status"]), (&json!("new"), &json!("5")));
        assert!(task["closedDate"].is_string());
    }

    #[test]
    fn a_checklist_and_its_item_get_bare_ids() {
        let portal = &mut Portal::default();
        result(portal, "tasks.task.add", json!({"fields": {"TITLE": "t", "RESPONSIBLE_ID": 1}}));
        let list = json!({"TASKID": 1, "FIELDS": {"TITLE": "list", "PARENT_ID": 0}});
        assert_eq!(result(portal, "task.checklistitem.add", list), json!(1));
        let item = json!({"TASKID": "1", "FIELDS": {"TITLE": "item", "PARENT_ID": "1"}});
        assert_eq!(result(portal, "task.checklistitem.add", item), json!(2));
        let task = portal.snapshot(portal.task(1).expect("just created"));
        let items: Vec<_> = task.checklist.iter().map(|item| (item.parent, item.title.as_str())).collect();
        assert_eq!(items, [(0, "list"), (1, "item")]);
    }
}
