//! The table of all methods, and the methods that are not about tasks. It knows no HTTP. `batch` is not in the table,
//! because it calls the others.

use std::time::Instant;

use serde_json::{Value, json};

use super::fields::ANSWERS;
use super::portal::{Portal, Sync};
use super::reply::{Answer, Outcome, Refusal, iso, since_epoch};
use super::request::{Call, text};
use super::{checklists, tasks, users};

/// A method of the portal.
pub(super) struct Method {
    pub name: &'static str,
    /// The right that a webhook needs for it.
    scope: &'static str,
    run: fn(&mut Portal, &Value) -> Outcome,
}

/// In place of a right: every webhook may call the method.
const ANYBODY: &str = "";

const fn method(name: &'static str, scope: &'static str, run: fn(&mut Portal, &Value) -> Outcome) -> Method {
    Method { name, scope, run }
}

const METHODS: &[Method] = &[
    method("tasks.task.add", "task", tasks::add),
    method("tasks.task.get", "task", tasks::get),
    method("tasks.task.list", "task", tasks::list),
    method("tasks.task.update", "task", tasks::update),
    method("tasks.task.getFields", "task", |portal, _| Ok(portal.fields.describe().into())),
    method("task.checklistitem.add", "task", checklists::add),
    method("task.checklistitem.getlist", "task", checklists::get_list),
    method("task.checklistitem.update", "task", checklists::update),
    method("task.checklistitem.complete", "task", checklists::tick),
    method("task.checklistitem.renew", "task", checklists::untick),
    method("task.checklistitem.delete", "task", checklists::delete),
    method("task.item.userfield.getlist", "task", user_field_list),
    method("task.item.userfield.add", "task", user_field_add),
    method("imena.camunda.sync", ANYBODY, camunda_sync),
    method("imena.camunda.userfield.list", ANYBODY, camunda_user_fields),
    method("method.get", ANYBODY, method_get),
    method("scope", ANYBODY, |portal, _| Ok(json!(portal.rules.scopes).into())),
    method("profile", ANYBODY, users::profile),
    method("user.current", "user", users::current),
    method("user.admin", ANYBODY, users::admin),
    method("user.get", "user", users::get),
];

/// The method of this name. Names are compared ignoring case.
pub(super) fn find(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name.eq_ignore_ascii_case(name))
}

/// The names of all methods.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|method| method.name)
}

/// Calls a method.
pub(super) fn call(portal: &mut Portal, call: &Call) -> Outcome {
    let Some(method) = find(&call.method) else {
        return Err(unknown());
    };
    if !may_call(portal, method) {
        let text = "The request requires higher privileges than provided by the webhook token";
        return Err(Refusal::new(401, "insufficient_scope", text));
    }
    portal.settle(Instant::now());
    (method.run)(portal, &call.params)
}

/// The refusal of an unknown method.
pub(super) fn unknown() -> Refusal {
    Refusal::new(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
}

fn may_call(portal: &Portal, method: &Method) -> bool {
    method.scope == ANYBODY || portal.rules.scopes.contains(method.scope)
}

fn user_field_list(portal: &mut Portal, params: &Value) -> Outcome {
    // The portal ignores a list of names, and returns all fields.
    let rows = portal.fields.describe_custom(text(&params["FILTER"]["FIELD_NAME"]).as_deref());
    // The portal never counts here.
    Ok(Answer::page(rows.into(), Some(0), None))
}

fn user_field_add(portal: &mut Portal, params: &Value) -> Outcome {
    let member = |name: &str| text(&params["PARAMS"][name]).unwrap_or_default();
    let name = member("FIELD_NAME");
    let added = portal.fields.add_custom(&name, &member("USER_TYPE_ID")).map_err(Refusal::core)?;
    if member("MANDATORY") == "Y" {
        portal.fields.require(&name);
    }
    Ok(Value::from(added).into())
}

fn camunda_sync(portal: &mut Portal, params: &Value) -> Outcome {
    let member = |name: &str| text(&params[name]).filter(|text| !text.is_empty());
    let (Some(key), Some(instance)) = (member("processDefinitionKey"), member("processInstanceId")) else {
        let message = "processDefinitionKey and processInstanceId are required";
        return Ok(json!({"success": false, "message": message}).into());
    };
    let mut timestamp = iso(since_epoch(std::time::SystemTime::now()).as_secs()).replace('T', " ");
    timestamp.truncate("2025-10-23 08:08:57".len());
    let result = json!({
        "success": true,
        "message": "Webhook received",
        "processInstanceId": instance,
        "processDefinitionKey": key,
        "timestamp": timestamp,
    });
    portal.syncs.push(Sync { process_definition_key: key, process_instance_id: instance });
    Ok(result.into())
}

fn camunda_user_fields(portal: &mut Portal, _params: &Value) -> Outcome {
    let mut rows = portal.fields.describe_custom(None);
    for row in rows.iter_mut().filter(|row| row["FIELD_NAME"] == "UF_RESULT_ANSWER") {
        let values = ANSWERS.map(|(id, text)| json!({"ID": id, "VALUE": text}));
        row["ENUM_VALUES"] = values.as_slice().into();
    }
    Ok(json!({"userFields": rows}).into())
}

fn method_get(portal: &mut Portal, params: &Value) -> Outcome {
    let name = text(&params["name"]).unwrap_or_default();
    let (exists, available) = match find(&name) {
        Some(method) => (true, may_call(portal, method)),
        None => (name == "batch", name == "batch"),
    };
    Ok(json!({"isExisting": exists, "isAvailable": available}).into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::borrow::Cow;

    fn ask(portal: &mut Portal, method: &str, params: Value) -> Outcome {
        call(portal, &Call::plain(method, params))
    }

    pub fn result(portal: &mut Portal, method: &str, params: Value) -> Value {
        ask(portal, method, params).expect("the method succeeds").result
    }

    pub fn refused(portal: &mut Portal, method: &str, params: Value) -> (u16, Cow<'static, str>) {
        let refusal = ask(portal, method, params).expect_err("the method refuses");
        (refusal.status, refusal.code)
    }

    #[test]
    fn a_field_made_through_rest_can_be_used_as_a_marker() {
        let portal = &mut Portal::default();
        let field = json!({"PARAMS": {"USER_TYPE_ID": "string", "FIELD_NAME": "UF_OWN_MARK"}});
        assert!(result(portal, "task.item.userfield.add", field.clone()).is_number());
        assert_eq!(refused(portal, "task.item.userfield.add", field), (400, "ERROR_CORE".into()));
        let fields = json!({"TITLE": "t", "RESPONSIBLE_ID": 1, "UF_OWN_MARK": "x"});
        result(portal, "tasks.task.add", json!({"fields": fields}));
        let found = result(portal, "tasks.task.list", json!({"filter": {"UF_OWN_MARK": "y"}}));
        assert_eq!(found, json!({"tasks": []}));
    }

    #[test]
    fn fields_are_listed_by_one_name_and_a_list_of_names_is_ignored() {
        let portal = &mut Portal::default();
        let named = |portal: &mut Portal, name: Value| {
            let rows = result(portal, "task.item.userfield.getlist", json!({"FILTER": {"FIELD_NAME": name}}));
            rows.as_array().map_or(0, Vec::len)
        };
        assert_eq!(named(portal, json!("UF_RESULT_ANSWER")), 1);
        assert_eq!(named(portal, json!("UF_NONE")), 0);
        assert_eq!(named(portal, json!(["UF_RESULT_ANSWER"])), 5);
    }

    #[test]
    fn a_webhook_without_the_right_is_refused() {
        let portal = &mut Portal::default();
        portal.rules.scopes.remove("task");
        assert_eq!(refused(portal, "tasks.task.list", json!({})), (401, "insufficient_scope".into()));
        let told = result(portal, "method.get", json!({"name": "tasks.task.list"}));
        assert_eq!(told, json!({"isExisting": true, "isAvailable": false}));
        assert_eq!(result(portal, "scope", json!([])), json!(["user"]));
    }

    #[test]
    fn a_sync_is_confirmed_and_the_answers_have_texts() {
        let portal = &mut Portal::default();
        let sync = json!({"processDefinitionKey": "Process_1", "processInstanceId": "i-1"});
        assert_eq!(result(portal, "imena.camunda.sync", sync)["success"], true);
        assert_eq!(portal.syncs.len(), 1);
        let fields = result(portal, "imena.camunda.userfield.list", json!([]));
        let rows = fields["userFields"].as_array().expect("a list");
        let answer = rows.iter().find(|row| row["FIELD_NAME"] == "UF_RESULT_ANSWER").expect("the field");
        assert_eq!(answer["ENUM_VALUES"][0], json!({"ID": "26", "VALUE": "ДА"}));
    }

    #[test]
    fn an_unknown_method_is_not_found() {
        let portal = &mut Portal::default();
        assert_eq!(refused(portal, "tasks.task.explode", json!({})), (404, "ERROR_METHOD_NOT_FOUND".into()));
        let known = result(portal, "method.get", json!({"name": "imena.camunda.sync"}));
        assert_eq!(known, json!({"isExisting": true, "isAvailable": true}));
    }
}
