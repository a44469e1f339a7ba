//! The sandbox's portal behind a scripted server: the default answers of a [`Portal`](super::Portal). A test overrides
//! single calls, and injects its faults before or after asking it. It knows no HTTP, batches or queues.
//!
//! The model is the sandbox's [`Memory`]. This file only has what tests ask and change by a task's marker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use task_creator::sandbox::{self, Broken, Memory};

use super::http::Reply;
use super::portal::{Answer, Call};

const MARKER: &str = "UF_CAMUNDA_ID_EXTERNAL_TASK";

/// Clones share the same tasks: one for the script, one for the test.
#[derive(Clone)]
pub struct Tasks {
    memory: Memory,
    marker_field: String,
    checklists: Arc<Mutex<Vec<Value>>>,
}

impl Tasks {
    pub fn new() -> Tasks {
        Tasks::marked_by(MARKER)
    }

    /// For another `BITRIX_TASK_ID_FIELD`.
    pub fn marked_by(marker_field: &str) -> Tasks {
        let memory = Memory::new();
        if marker_field != MARKER {
            memory.forget_field(MARKER);
        }
        if marker_field.starts_with("UF_") {
            memory.make_field(marker_field, "string");
        }
        Tasks { memory, marker_field: marker_field.to_string(), checklists: Arc::default() }
    }

    /// The model itself: for its rules, its faults, its users.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The portal's answer to this call.
    pub fn answer(&self, call: &Call) -> Answer {
        let Call { method, params, batched, .. } = call.clone();
        let answer = match self.memory.ask(&sandbox::Call { method, params, batched }) {
            Ok(Ok(answer)) => answer,
            Ok(Err(refusal)) => return Answer::refused(refusal.status, &refusal.code, &refusal.description),
            Err(broken) => return Answer::Http(reply(broken)),
        };
        match call.method.as_str() {
            "tasks.task.list" | "task.item.userfield.getlist" => {
                return Answer::Page { result: answer.result, total: answer.total, next: answer.next };
            }
            "task.checklistitem.add" => {
                let mut item = call.params.clone();
                item["id"] = answer.result.clone();
                self.noted().push(item);
            }
            _ => {}
        }
        Answer::Done(answer.result)
    }

    /// The marker of every task, in the order of creation; a duplicate comes twice.
    pub fn markers(&self) -> Vec<String> {
        self.memory.tasks().iter().map(|task| self.marker_of(task.id)).collect()
    }

    /// The markers of the tasks whose status is 4 or 5.
    pub fn finished(&self) -> Vec<String> {
        let tasks = self.memory.tasks();
        tasks.iter().filter(|task| matches!(task.status, 4 | 5)).map(|task| self.marker_of(task.id)).collect()
    }

    pub fn ids_of(&self, marker: &str) -> Vec<u64> {
        if self.marker_field == MARKER {
            return self.memory.ids_of(marker);
        }
        let tasks = self.memory.tasks();
        tasks.iter().map(|task| task.id).filter(|id| self.marker_of(*id) == marker).collect()
    }

    /// The only task with this marker, by its upper-case field names.
    #[track_caller]
    pub fn task(&self, marker: &str) -> Map<String, Value> {
        let ids = self.ids_of(marker);
        assert_eq!(ids.len(), 1, "tasks with marker {marker}");
        self.memory.fields(ids[0]).expect("it is there")
    }

    /// Creates a task as a person or an earlier worker would; returns its id.
    pub fn put(&self, marker: &str) -> u64 {
        let fields = [("TITLE", "made earlier"), ("RESPONSIBLE_ID", "1"), (self.marker_field.as_str(), marker)];
        self.memory.put(&fields.into_iter().map(|(name, value)| (name.to_string(), value.into())).collect())
    }

    /// Sets the status of every task with this marker: 4 awaiting control, 5 completed.
    pub fn set_status(&self, marker: &str, status: u8) {
        for id in self.ids_of(marker) {
            self.memory.finish(id, status, None);
        }
    }

    /// Sets a field, by its upper-case name, of every task with this marker.
    pub fn set(&self, marker: &str, field: &str, value: Value) {
        for id in self.ids_of(marker) {
            self.memory.write(id, field, &value);
        }
    }

    /// Deletes every task with this marker.
    pub fn delete(&self, marker: &str) {
        for id in self.ids_of(marker) {
            self.memory.delete(id);
        }
    }

    /// From now on new tasks exist, but no search and no get shows them: the portal is still busy with them.
    pub fn conceal_new(&self) {
        self.memory.conceal_new();
    }

    pub fn reveal(&self) {
        self.memory.reveal();
    }

    /// Removes a custom field; a filter by it is ignored from now on.
    pub fn forget_field(&self, name: &str) {
        self.memory.forget_field(name);
    }

    /// The parameters of every checklist call that succeeded, with the `id` that it got.
    pub fn checklists(&self) -> Vec<Value> {
        self.noted().clone()
    }

    /// The parameters of every `imena.camunda.sync` that succeeded.
    pub fn syncs(&self) -> Vec<Value> {
        let syncs = self.memory.syncs().into_iter();
        let params = syncs.map(|sync| {
            json!({
                "processDefinitionKey": sync.process_definition_key,
                "processInstanceId": sync.process_instance_id,
            })
        });
        params.collect()
    }

    fn marker_of(&self, id: u64) -> String {
        let field = |name: &str| self.memory.field(id, name)?.as_str().map(str::to_string);
        field(&self.marker_field).or_else(|| field("XML_ID")).unwrap_or_default()
    }

    fn noted(&self) -> MutexGuard<'_, Vec<Value>> {
        self.checklists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reply(broken: Broken) -> Reply {
    match broken {
        Broken::Raw { status, content_type, body } => Reply::Raw { status, content_type: content_type.into(), body },
        Broken::Half => Reply::Half(200, json!({"result": {"task": {"id": "1"}}})),
        Broken::Close => Reply::Close,
        Broken::Reset => Reply::Reset,
    }
}

/// Whether this call looks for the task with this marker, alone or among others. Each look-up is counted once: it has a
/// second call, by `XML_ID`.
pub fn looks_up(call: &Call, marker: &str) -> bool {
    let is_asked = |asked: &Value| asked == marker || asked.as_array().is_some_and(|all| all.contains(&marker.into()));
    call.method == "tasks.task.list" && is_asked(&call.params["filter"][MARKER])
}

/// Whether this call creates the task with this marker.
pub fn creates(call: &Call, marker: &str) -> bool {
    call.method == "tasks.task.add" && [MARKER, "XML_ID"].iter().any(|field| call.params["fields"][field] == marker)
}
