//! What the methods on tasks accept, refuse and show.

use super::super::methods::tests::{refused, result};
use super::*;

/// Creates a task and returns its id.
fn create(portal: &mut Portal, fields: Value) -> u64 {
    let added = result(portal, "tasks.task.add", json!({"fields": fields}));
    integer(&added["task"]["id"]).and_then(|id| u64::try_from(id).ok()).expect("an id in text")
}

#[test]
fn a_created_task_reads_back_in_the_portals_spelling() {
    let portal = &mut Portal::default();
    let id = create(
        portal,
        json!({
            "TITLE": "ДА", "RESPONSIBLE_ID": 7, "UF_RESULT_EXPECTED": "Y", "UF_UNKNOWN": "x", "TAGS": ["a"],
            "UF_CAMUNDA_ID_EXTERNAL_TASK": "m-1", "SE_CHECKLIST": [{"TITLE": "does nothing"}],
        }),
    );
    let select = json!(["ID", "STATUS", "RESPONSIBLE_ID", "TAGS", "UF_*"]);
    let read = result(portal, "tasks.task.get", json!({"taskId": id.to_string(), "select": select}));
    let task = &read["task"];
    assert_eq!((&task["status"], &task["responsibleId"]), (&json!("2"), &json!("7")));
    assert_eq!((&task["ufResultExpected"], &task["tags"]), (&json!("1"), &json!(["a"])));
    assert_eq!(task["ufCamundaIdExternalTask"], "m-1");
    assert_eq!((&task["ufResultAnswer"], &task["ufCrmTask"]), (&Value::Null, &json!(false)));
    assert!(task.get("ufUnknown").is_none() && task.get("title").is_none());
    assert!(portal.checklist(id).is_empty());
}

#[test]
fn a_missing_task_is_an_empty_list() {
    assert_eq!(result(&mut Portal::default(), "tasks.task.get", json!({"taskId": 5})), json!([]));
}

#[test]
fn an_add_with_missing_or_wrong_fields_is_refused() {
    let portal = &mut Portal::default();
    portal.rules.denied_groups.insert(5);
    for (fields, code) in [
        (json!({"RESPONSIBLE_ID": 1}), "ERROR_CORE"),
        (json!({"TITLE": " ", "RESPONSIBLE_ID": 1}), "ERROR_CORE"),
        (json!({"TITLE": "t"}), "ERROR_CORE"),
        (json!({"TITLE": "t", "RESPONSIBLE_ID": 101}), "ERROR_CORE"),
        (json!({"TITLE": "t", "RESPONSIBLE_ID": 1, "STATUS": 9}), "ERROR_CORE"),
        (json!({"TITLE": "t", "RESPONSIBLE_ID": 1, "STATUS": "7"}), "ERROR_CORE"),
        (json!({"TITLE": "t", "RESPONSIBLE_ID": 1, "PARENT_ID": 77}), "4"),
        (json!({"TITLE": "t", "RESPONSIBLE_ID": 1, "GROUP_ID": "5"}), "ERROR_TASK_CREATE_ACCESS_DENIED"),
        (json!({}), "100"),
    ] {
        assert_eq!(refused(portal, "tasks.task.add", json!({"fields": fields})), (400, code.into()), "{fields}");
    }
    assert_eq!(portal.tasks().count(), 0);
}

#[test]
fn a_mandatory_field_is_demanded_of_every_new_task() {
    let portal = &mut Portal::default();
    let field = json!({"FIELD_NAME": "UF_NEEDED", "USER_TYPE_ID": "string", "MANDATORY": "Y"});
    result(portal, "task.item.userfield.add", json!({"PARAMS": field}));
    let mut fields = json!({"TITLE": "t", "RESPONSIBLE_ID": 1});
    assert_eq!(refused(portal, "tasks.task.add", json!({"fields": fields})), (400, "ERROR_CORE".into()));
    fields["UF_NEEDED"] = "x".into();
    create(portal, fields);
}

#[test]
fn a_dismissed_responsible_is_taken_like_any_other() {
    let portal = &mut Portal::default();
    portal.rules.dismissed.insert(17);
    create(portal, json!({"TITLE": "t", "RESPONSIBLE_ID": 17}));
}

#[test]
fn a_parent_that_is_there_is_kept() {
    let portal = &mut Portal::default();
    let parent = create(portal, json!({"TITLE": "t", "RESPONSIBLE_ID": 1}));
    let child = create(portal, json!({"TITLE": "t", "RESPONSIBLE_ID": 1, "PARENT_ID": parent}));
    let read = result(portal, "tasks.task.get", json!({"taskId": child}));
    assert_eq!(read["task"]["parentId"], parent.to_string());
}

#[test]
fn a_task_that_the_owner_may_not_see_is_created_and_hidden() {
    let portal = &mut Portal::default();
    portal.rules.owner_is_admin = false;
    let foreign = json!({"TITLE": "t", "RESPONSIBLE_ID": 7, "CREATED_BY": 8, "XML_ID": "m"});
    assert_eq!(result(portal, "tasks.task.add", json!({"fields": foreign})), json!([]));
    let id = portal.tasks().next().expect("it is there all the same").id;
    assert_eq!(result(portal, "tasks.task.get", json!({"taskId": id})), json!([]));
    let search = json!({"filter": {"XML_ID": "m"}});
    assert_eq!(result(portal, "tasks.task.list", search.clone()), json!({"tasks": []}));
    let item = json!({"TASKID": id, "FIELDS": {"TITLE": "t"}});
    assert_eq!(refused(portal, "task.checklistitem.add", item), (400, "ERROR_CORE".into()));
    portal.write(id, "AUDITORS", &json!([1, 2]));
    assert_eq!(result(portal, "tasks.task.list", search.clone())["tasks"][0]["id"], id.to_string());
    portal.write(id, "AUDITORS", &Value::Null);
    portal.rules.owner_is_admin = true;
    assert_eq!(result(portal, "tasks.task.list", search)["tasks"][0]["id"], id.to_string());
}

#[test]
fn only_the_reply_to_its_add_shows_a_concealed_task() {
    let portal = &mut Portal::default();
    portal.conceal_new();
    let id = create(portal, json!({"TITLE": "t", "RESPONSIBLE_ID": 1, "XML_ID": "m"}));
    let search = json!({"filter": {"XML_ID": ["m"]}});
    assert_eq!(result(portal, "tasks.task.list", search.clone()), json!({"tasks": []}));
    assert_eq!(result(portal, "tasks.task.get", json!({"taskId": id})), json!([]));
    portal.reveal();
    assert_eq!(result(portal, "tasks.task.list", search)["tasks"][0]["id"], id.to_string());
}

#[test]
fn an_update_changes_status_and_fields() {
    let portal = &mut Portal::default();
    let id = create(portal, json!({"TITLE": "old", "RESPONSIBLE_ID": 1}));
    let change = json!({"taskId": id, "fields": {"TITLE": "new", "STATUS": 5}});
    let task = &result(portal, "tasks.task.update", change)["task"];
    assert_eq!((&task["title"], &task["status"]), (&json!("new"), &json!("5")));
    assert!(task["closedDate"].is_string());
}
