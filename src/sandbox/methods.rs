//! The table of all methods, and those that concern no task. Knows no HTTP; `batch` is not in the table, because it
//! calls the others.

use serde_json::{Value, json};

use super::fields::ANSWERS;
use super::portal::{Portal, Sync};
use super::reply::{Answer, Outcome, Refusal, iso, since_epoch};
use super::request::{Call, text, texts};
use super::tasks;

type Method = fn(&mut Portal, &Value) -> Outcome;

const METHODS: &[(&str, Method)] = &[
    ("tasks.task.add", tasks::add),
    ("tasks.task.get", tasks::get),
    ("tasks.task.list", tasks::list),
    ("tasks.task.update", tasks::update),
    ("tasks.task.getFields", |portal, _| Ok(portal.fields.describe().into())),
    ("task.checklistitem.add", tasks::add_checklist_item),
    ("task.item.userfield.getlist", user_field_list),
    ("task.item.userfield.add", user_field_add),
    ("imena.camunda.sync", camunda_sync),
    ("imena.camunda.userfield.list", camunda_user_fields),
    ("method.get", method_get),
    ("scope", |_, _| Ok(json!(["task", "user"]).into())),
    ("profile", profile),
    ("user.current", profile),
];

/// Calls a method and counts the call. Names are compared ignoring case.
pub(super) fn call(portal: &mut Portal, call: &Call) -> Outcome {
    let Some((name, method)) = METHODS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&call.method)) else {
        return Err(Refusal::new(404, "ERROR_METHOD_NOT_FOUND", "Method not found!"));
    };
    *portal.calls.entry((*name).to_owned()).or_default() += 1;
    method(portal, &call.params)
}

fn user_field_list(portal: &mut Portal, params: &Value) -> Outcome {
    let rows = portal.fields.describe_custom(&texts(&params["FILTER"]["FIELD_NAME"]));
    // The portal never counts here.
    Ok(Answer { result: rows.into(), total: Some(0), next: None })
}

fn user_field_add(portal: &mut Portal, params: &Value) -> Outcome {
    let member = |name: &str| text(&params["PARAMS"][name]).unwrap_or_default();
    let added = portal.fields.add_custom(&member("FIELD_NAME"), &member("USER_TYPE_ID"));
    added.map(|id| Value::from(id).into()).map_err(Refusal::core)
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
    let mut rows = portal.fields.describe_custom(&[]);
    for row in rows.iter_mut().filter(|row| row["FIELD_NAME"] == "UF_RESULT_ANSWER") {
        let values = ANSWERS.map(|(id, text)| json!({"ID": id, "VALUE": text}));
        row["ENUM_VALUES"] = values.as_slice().into();
    }
    Ok(json!({"userFields": rows}).into())
}

fn method_get(_portal: &mut Portal, params: &Value) -> Outcome {
    let name = text(&params["name"]).unwrap_or_default();
    let known = METHODS.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) || name == "batch";
    Ok(json!({"isExisting": known, "isAvailable": known}).into())
}

fn profile(_portal: &mut Portal, _params: &Value) -> Outcome {
    let owner = json!({"ID": "1", "ADMIN": true, "NAME": "Sandbox", "LAST_NAME": "User", "TIME_ZONE": ""});
    Ok(owner.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn ask(portal: &mut Portal, method: &str, params: Value) -> Outcome {
        call(portal, &Call { method: method.into(), params })
    }

    pub fn result(portal: &mut Portal, method: &str, params: Value) -> Value {
        ask(portal, method, params).expect("the method succeeds").result
    }

    pub fn refused(portal: &mut Portal, method: &str, params: Value) -> (u16, &'static str) {
        let refusal = ask(portal, method, params).expect_err("the method refuses");
        (refusal.status, refusal.code)
    }

    #[test]
    fn a_field_made_through_rest_can_be_used_as_a_marker() {
        let portal = &mut Portal::default();
        let field = json!({"PARAMS": {"USER_TYPE_ID": "string", "FIELD_NAME": "UF_OWN_MARK"}});
        assert!(result(portal, "task.item.userfield.add", field.clone()).is_number());
        assert_eq!(refused(portal, "task.item.userfield.add", field), (400, "ERROR_CORE"));
        let fields = json!({"TITLE": "t", "RESPONSIBLE_ID": 1, "UF_OWN_MARK": "x"});
        result(portal, "tasks.task.add", json!({"fields": fields}));
        let found = result(portal, "tasks.task.list", json!({"filter": {"UF_OWN_MARK": "y"}}));
        assert_eq!(found, json!({"tasks": []}));
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
        assert_eq!(refused(portal, "tasks.task.explode", json!({})), (404, "ERROR_METHOD_NOT_FOUND"));
        let known = result(portal, "method.get", json!({"name": "imena.camunda.sync"}));
        assert_eq!(known, json!({"isExisting": true, "isAvailable": true}));
    }
}
