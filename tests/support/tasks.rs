//! A small Bitrix24 that behaves: tasks found by their marker, their states, checklists and the portal's own methods.
//! It is the default of a [`Portal`](super::Portal)'s script; a test overrides single calls and injects its faults
//! before or after asking it. Knows nothing of HTTP, batches or queues.
//!
//! It keeps the traps of the real one: an unknown filter key is ignored and every task comes back, a missing task is
//! `[]`, ids are strings, only selected fields are shown, and nothing stops a second task with the same marker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use super::portal::{Answer, Call};

/// Every page of a list has at most this many rows.
const PAGE: usize = 50;

/// Filter keys that the portal knows besides its user fields.
const FILTERS: [&str; 9] =
    ["ID", "GROUP_ID", "CREATED_BY", "RESPONSIBLE_ID", "TITLE", "PRIORITY", "REAL_STATUS", "PARENT_ID", "XML_ID"];

/// Clones share the same tasks: one goes into the script, one stays with the test.
#[derive(Clone)]
pub struct Tasks {
    state: Arc<Mutex<State>>,
}

struct State {
    marker_field: String,
    user_fields: BTreeSet<String>,
    tasks: BTreeMap<u64, Map<String, Value>>,
    checklists: Vec<Value>,
    syncs: Vec<Value>,
    concealed: BTreeSet<u64>,
    concealing: bool,
    next_id: u64,
}

impl Tasks {
    pub fn new() -> Tasks {
        Tasks::marked_by("UF_CAMUNDA_ID_EXTERNAL_TASK")
    }

    /// For another `BITRIX_TASK_ID_FIELD`.
    pub fn marked_by(marker_field: &str) -> Tasks {
        let own = [marker_field, "UF_RESULT_EXPECTED", "UF_RESULT_QUESTION", "UF_RESULT_ANSWER", "UF_CRM_TASK"];
        let state = State {
            marker_field: marker_field.to_string(),
            user_fields: own.into_iter().filter(|name| name.starts_with("UF_")).map(str::to_string).collect(),
            tasks: BTreeMap::new(),
            checklists: Vec::new(),
            syncs: Vec::new(),
            concealed: BTreeSet::new(),
            concealing: false,
            // Far from the positions in a list, so that the two are not mixed up unnoticed.
            next_id: 1001,
        };
        Tasks { state: Arc::new(Mutex::new(state)) }
    }

    /// What a well-behaved portal answers to this call.
    pub fn answer(&self, call: &Call) -> Answer {
        let mut state = self.state();
        let params = &call.params;
        match call.method.as_str() {
            "tasks.task.add" => state.add(params),
            "tasks.task.get" => state.get(params),
            "tasks.task.list" => state.list(params),
            "task.checklistitem.add" => state.add_checklist_item(params),
            "imena.camunda.sync" => state.sync(params),
            "task.item.userfield.getlist" => state.user_fields(params),
            "task.item.userfield.add" => state.add_user_field(params),
            _ => fixed_answer(call),
        }
    }

    /// The marker of every task, in the order of creation: a duplicate is there twice.
    pub fn markers(&self) -> Vec<String> {
        let state = self.state();
        state.tasks.values().map(|task| text(&task[&state.marker_field])).collect()
    }

    /// The markers of the tasks whose status is 4 or 5.
    pub fn finished(&self) -> Vec<String> {
        let state = self.state();
        let finished = state.tasks.values().filter(|task| matches!(text(&task["STATUS"]).as_str(), "4" | "5"));
        finished.map(|task| text(&task[&state.marker_field])).collect()
    }

    pub fn ids_of(&self, marker: &str) -> Vec<u64> {
        let state = self.state();
        let found = state.tasks.iter().filter(|(_, task)| text(&task[&state.marker_field]) == marker);
        found.map(|(id, _)| *id).collect()
    }

    /// The only task with this marker, by its upper-case field names.
    #[track_caller]
    pub fn task(&self, marker: &str) -> Map<String, Value> {
        let ids = self.ids_of(marker);
        assert_eq!(ids.len(), 1, "tasks with marker {marker}");
        self.state().tasks[&ids[0]].clone()
    }

    /// Puts a task there as if a person or an earlier worker had made it; returns its id.
    pub fn put(&self, marker: &str) -> u64 {
        let mut state = self.state();
        let field = state.marker_field.clone();
        state.create(&json!({"TITLE": "made earlier", "RESPONSIBLE_ID": "1", field: marker}))
    }

    /// Sets the status of every task with this marker: 4 awaiting control, 5 completed.
    pub fn set_status(&self, marker: &str, status: u8) {
        self.set(marker, "STATUS", json!(status.to_string()));
    }

    /// Sets a field, by its upper-case name, of every task with this marker.
    pub fn set(&self, marker: &str, field: &str, value: Value) {
        for id in self.ids_of(marker) {
            if let Some(task) = self.state().tasks.get_mut(&id) {
                task.insert(field.to_string(), value.clone());
            }
        }
    }

    /// Deletes every task with this marker.
    pub fn delete(&self, marker: &str) {
        for id in self.ids_of(marker) {
            self.state().tasks.remove(&id);
        }
    }

    /// From now on new tasks exist, but no search and no get shows them: the portal is still busy with them.
    pub fn conceal_new(&self) {
        self.state().concealing = true;
    }

    pub fn reveal(&self) {
        let mut state = self.state();
        state.concealing = false;
        state.concealed.clear();
    }

    /// Takes a user field away; a filter by it is ignored from now on.
    pub fn forget_field(&self, name: &str) {
        self.state().user_fields.remove(name);
    }

    /// The parameters of every checklist call that succeeded, with the `id` that was given.
    pub fn checklists(&self) -> Vec<Value> {
        self.state().checklists.clone()
    }

    /// The parameters of every `imena.camunda.sync` that succeeded.
    pub fn syncs(&self) -> Vec<Value> {
        self.state().syncs.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, params: &Value) -> Answer {
        let fields = &params["fields"];
        if fields.as_object().is_none_or(Map::is_empty) {
            return Answer::refused(400, "100", "Could not find value for parameter {fields}");
        }
        if text(&fields["TITLE"]).is_empty() {
            return Answer::refused(400, "ERROR_CORE", "Не указано название задачи<br>");
        }
        if text(&fields["RESPONSIBLE_ID"]).is_empty() {
            return Answer::refused(400, "ERROR_CORE", "Не указан ответственный<br>");
        }
        let id = self.create(fields);
        Answer::Done(json!({"task": self.shown(id, &[])}))
    }

    fn create(&mut self, fields: &Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let mut task = Map::new();
        for (name, value) in [("STATUS", "2"), ("PRIORITY", "1"), ("CREATED_BY", "1"), (&self.marker_field, "")] {
            task.insert(name.to_string(), json!(value));
        }
        for (name, value) in fields.as_object().into_iter().flatten() {
            // Unknown user fields are dropped, and a boolean one is read back as a digit.
            if !name.starts_with("UF_") || self.user_fields.contains(name) {
                task.insert(name.clone(), if name == "UF_RESULT_EXPECTED" { digit(value) } else { value.clone() });
            }
        }
        task.insert("ID".into(), json!(id.to_string()));
        self.tasks.insert(id, task);
        if self.concealing {
            self.concealed.insert(id);
        }
        id
    }

    fn get(&self, params: &Value) -> Answer {
        let id = text(&params["taskId"]).parse().unwrap_or(0);
        if !self.tasks.contains_key(&id) || self.concealed.contains(&id) {
            return Answer::Done(json!([]));
        }
        Answer::Done(json!({"task": self.shown(id, &selected(params))}))
    }

    fn list(&self, params: &Value) -> Answer {
        let start: i64 = text(&params["start"]).parse().unwrap_or(0);
        let matching: Vec<u64> = self.tasks.keys().copied().filter(|id| self.matches(*id, &params["filter"])).collect();
        let from = usize::try_from(start).unwrap_or(0);
        let select = selected(params);
        let rows: Vec<Value> = matching.iter().skip(from).take(PAGE).map(|id| self.shown(*id, &select)).collect();
        let shown = from + rows.len();
        // A start of -1 asks the portal not to count.
        let total = if start < 0 { 0 } else { matching.len() as u64 };
        let next = (start >= 0 && shown < matching.len()).then_some(shown as u64);
        Answer::Page { result: json!({"tasks": rows}), total: Some(total), next }
    }

    fn matches(&self, id: u64, filter: &Value) -> bool {
        let task = &self.tasks[&id];
        !self.concealed.contains(&id)
            && filter.as_object().into_iter().flatten().all(|(key, wanted)| {
                let (negated, name) = match key.strip_prefix('!') {
                    Some(name) => (true, name),
                    None => (false, key.as_str()),
                };
                let name = name.strip_prefix('=').unwrap_or(name);
                let name = if name == "STATUS" { "REAL_STATUS" } else { name };
                let known = FILTERS.contains(&name) || self.user_fields.contains(name);
                let wanted: Vec<String> = match wanted {
                    Value::Array(several) => several.iter().map(text).collect(),
                    single => vec![text(single)],
                };
                let field = if name == "REAL_STATUS" { "STATUS" } else { name };
                let holds = wanted.contains(&task.get(field).map(text).unwrap_or_default());
                !known || wanted.is_empty() || holds != negated
            })
    }

    /// In the spelling of replies. Without a selection: what the portal shows by itself, which is no user field.
    fn shown(&self, id: u64, select: &[String]) -> Value {
        let all_user_fields = select.iter().any(|name| name == "UF_*");
        let everything = select.is_empty() || select.iter().any(|name| name == "*");
        let task = &self.tasks[&id];
        let user_fields = self.user_fields.iter().filter(|name| !task.contains_key(*name));
        let unset = user_fields.map(|name| (name.as_str(), json!(false)));
        let set = task.iter().map(|(name, value)| (name.as_str(), shown_value(value)));
        let chosen = set.chain(unset).filter(|(name, _)| {
            let by_kind = if name.starts_with("UF_") { all_user_fields } else { everything };
            *name == "ID" || by_kind || select.iter().any(|selected| selected == name)
        });
        Value::Object(chosen.map(|(name, value)| (camel(name), value)).collect())
    }

    fn add_checklist_item(&mut self, params: &Value) -> Answer {
        let task = text(&params["TASKID"]).parse().unwrap_or(0);
        if !self.tasks.contains_key(&task) {
            return Answer::refused(400, "ERROR_CORE", "TASKS_ERROR_EXCEPTION_#8; Action failed; 8/TE/ACTION_FAILED");
        }
        let id = 1 + self.checklists.len() as u64;
        let mut item = params.clone();
        item["id"] = json!(id);
        self.checklists.push(item);
        Answer::Done(json!(id))
    }

    fn sync(&mut self, params: &Value) -> Answer {
        self.syncs.push(params.clone());
        Answer::Done(json!({
            "success": true,
            "message": "Webhook received",
            "processInstanceId": params["processInstanceId"],
            "processDefinitionKey": params["processDefinitionKey"],
        }))
    }

    fn user_fields(&self, params: &Value) -> Answer {
        let wanted: Vec<String> = match &params["FILTER"]["FIELD_NAME"] {
            Value::Array(names) => names.iter().map(text).collect(),
            Value::String(name) => vec![name.clone()],
            _ => Vec::new(),
        };
        let shown = self.user_fields.iter().filter(|name| wanted.is_empty() || wanted.contains(name));
        let rows = shown.enumerate().map(|(position, name)| {
            let kind = if name == "UF_RESULT_EXPECTED" { "boolean" } else { "string" };
            let id = (position + 1).to_string();
            json!({
                "ID": id, "FIELD_NAME": name, "USER_TYPE_ID": kind, "MULTIPLE": "N", "MANDATORY": "N", "SETTINGS": [],
            })
        });
        Answer::Page { result: rows.collect(), total: Some(0), next: None }
    }

    fn add_user_field(&mut self, params: &Value) -> Answer {
        let name = text(&params["PARAMS"]["FIELD_NAME"]);
        if name.is_empty() || !self.user_fields.insert(name) {
            return Answer::refused(400, "ERROR_CORE", "Поле уже существует<br>");
        }
        Answer::Done(json!(self.user_fields.len()))
    }
}

/// Methods whose answer depends on no task.
fn fixed_answer(call: &Call) -> Answer {
    match call.method.as_str() {
        "imena.camunda.userfield.list" => Answer::Done(json!({"userFields": [
            {"FIELD_NAME": "UF_RESULT_EXPECTED", "USER_TYPE_ID": "boolean"},
            {"FIELD_NAME": "UF_RESULT_ANSWER", "USER_TYPE_ID": "enumeration",
             "ENUM_VALUES": [{"ID": "26", "VALUE": "ДА"}, {"ID": "27", "VALUE": "НЕТ"}]},
        ]})),
        "method.get" => Answer::Done(json!({"isExisting": true, "isAvailable": true})),
        "methods" => Answer::Done(json!(["batch", "tasks.task.add", "tasks.task.get", "tasks.task.list"])),
        "scope" => Answer::Done(json!(["task", "tasks", "user_brief"])),
        "profile" => Answer::Done(json!({"ID": "1", "ADMIN": true, "NAME": "Портал", "LAST_NAME": "Тестовый"})),
        "user.current" => Answer::Done(json!({"ID": "1", "ACTIVE": true, "NAME": "Портал"})),
        "user.admin" => Answer::Done(json!(true)),
        "server.time" => Answer::Done(json!("2026-11-23T10:00:00+03:00")),
        _ => Answer::refused(404, "ERROR_METHOD_NOT_FOUND", "Method not found!"),
    }
}

/// Does this call look for the task with this marker, by the default marker field?
pub fn looks_up(call: &Call, marker: &str) -> bool {
    call.method == "tasks.task.list" && call.params["filter"]["UF_CAMUNDA_ID_EXTERNAL_TASK"] == marker
}

/// Does this call create the task with this marker?
pub fn creates(call: &Call, marker: &str) -> bool {
    call.method == "tasks.task.add" && call.params["fields"]["UF_CAMUNDA_ID_EXTERNAL_TASK"] == marker
}

fn selected(params: &Value) -> Vec<String> {
    params["select"].as_array().into_iter().flatten().map(text).collect()
}

/// Values of a task are compared and shown as text; `null` is the empty one.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn digit(value: &Value) -> Value {
    json!(if matches!(text(value).as_str(), "Y" | "1" | "true") { "1" } else { "0" })
}

/// Numbers come back as strings.
fn shown_value(value: &Value) -> Value {
    if value.is_number() { json!(value.to_string()) } else { value.clone() }
}

/// `UF_RESULT_EXPECTED` is `ufResultExpected` in a reply.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_lowercase();
    let rest = words.map(|word| match word.split_at_checked(1) {
        Some((initial, tail)) => initial.to_uppercase() + &tail.to_lowercase(),
        None => String::new(),
    });
    first + &rest.collect::<String>()
}
