//! What the fake remembers of tasks and processes, as an engine at history level FULL does.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::http_fake::{Asked, Target as _};
use super::{Camunda, ExternalTask, shown, written};
use crate::http::server::Page;

/// In memory.
#[derive(Default)]
pub struct History {
    /// An entry for each event of each task, oldest first.
    log: Vec<Value>,
    processes: BTreeMap<String, Process>,
}

struct Process {
    state: &'static str,
    started: DateTime<Utc>,
    ended: Option<DateTime<Utc>>,
}

impl History {
    /// Forgets everything, as a clean-up does.
    pub fn clean_up(&mut self) {
        *self = History::default();
    }

    pub(super) fn started(&mut self, process: &str) {
        let running = Process { state: "ACTIVE", started: Utc::now(), ended: None };
        self.processes.insert(process.to_owned(), running);
    }

    pub(super) fn ended(&mut self, process: &str, state: &'static str) {
        if let Some(process) = self.processes.get_mut(process) {
            (process.state, process.ended) = (state, Some(Utc::now()));
        }
    }

    /// `kind` is the member that says what has happened.
    pub(super) fn note(&mut self, kind: &str, id: &str, task: &ExternalTask) {
        let mut entry = json!({
            "externalTaskId": id,
            "timestamp": written(Utc::now()),
            "topicName": task.topic,
            "workerId": task.worker,
            "retries": task.retries,
            "errorMessage": task.error,
            "processInstanceId": task.process,
            "activityId": task.activity,
            "creationLog": false,
            "failureLog": false,
            "successLog": false,
            "deletionLog": false,
        });
        entry[kind] = true.into();
        self.log.push(entry);
    }

    /// As the engine does it: a filter that it does not know is ignored.
    pub(super) fn log(&self, request: &Asked) -> Page {
        let of_task = |entry: &&Value| request.query("externalTaskId").is_none_or(|id| entry["externalTaskId"] == *id);
        let mut entries: Vec<&Value> = self.log.iter().filter(of_task).collect();
        if request.query("sortOrder") == Some("desc") {
            entries.reverse();
        }
        let most = request.query("maxResults").and_then(|most| most.parse().ok()).unwrap_or(usize::MAX);
        entries.truncate(most);
        shown(&json!(entries))
    }

    pub(super) fn process(&self, id: &str) -> Page {
        let Some(process) = self.processes.get(id) else {
            let told = format!("Historic process instance with id {id} does not exist");
            return Camunda::refusal(404, "InvalidRequestException", &told);
        };
        shown(&json!({
            "id": id,
            "processDefinitionKey": "demo",
            "businessKey": null,
            "startTime": written(process.started),
            "endTime": process.ended.map(written),
            "state": process.state,
            "deleteReason": null,
        }))
    }
}
