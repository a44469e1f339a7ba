//! What changes a task of the fake: fetching it, completing it, a failure, an unlock, new retries.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::super::http_fake::Target as _;
use super::{Camunda, ExternalTask, done, missing, shown, unknown_member};
use crate::http::server::Page;

/// In UTF-16 units.
const LONGEST_MESSAGE: usize = 666;
const FAILURE: &[&str] = &["workerId", "errorMessage", "errorDetails", "retries", "retryTimeout"];
const COMPLETE: &[&str] = &["workerId", "variables", "localVariables"];
const FETCH: &[&str] = &["workerId", "maxTasks", "usePriority", "asyncResponseTimeout", "topics"];

impl Camunda {
    pub(super) fn fetch(&mut self, asked: &Value) -> Page {
        if let Some(refusal) = unknown_member(asked, FETCH) {
            return refusal;
        }
        let Some(worker) = asked["workerId"].as_str() else {
            return Self::refusal(500, "NullValueException", "workerId is null");
        };
        let most = asked["maxTasks"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or_default();
        let topics = asked["topics"].as_array().cloned().unwrap_or_default();
        let lock = |task: &ExternalTask| {
            let topic = topics.iter().find(|topic| topic["topicName"] == *task.topic)?;
            topic["lockDuration"].as_i64().and_then(TimeDelta::try_milliseconds)
        };
        let free = self.tasks.iter_mut().filter(|(_, task)| task.is_fetched());
        let locks = free.filter_map(|(id, task)| lock(task).map(|lock| (id, task, lock)));
        let fetched = locks.take(most).map(|(id, task, lock)| {
            task.worker = Some(worker.to_owned());
            task.locked_until = Some(Utc::now() + lock);
            let mut row = task.row(id);
            row["variables"] = task.variables.clone();
            row
        });
        shown(&Value::Array(fetched.collect()))
    }

    pub(super) fn complete(&mut self, id: &str, completion: &Value) -> Page {
        if let Some(refusal) = unknown_member(completion, COMPLETE) {
            return refusal;
        }
        if let Err(refusal) = self.of_worker(id, &completion["workerId"], "cannot be completed") {
            return refusal;
        }
        if let Some(task) = self.tasks.remove(id) {
            self.history.note("successLog", id, &task);
            self.history.ended(&task.process, "COMPLETED");
        }
        done()
    }

    pub(super) fn fail(&mut self, id: &str, failure: &Value) -> Page {
        if let Some(refusal) = unknown_member(failure, FAILURE) {
            return refusal;
        }
        let task = match self.of_worker(id, &failure["workerId"], "cannot be reported") {
            Ok(task) => task,
            Err(refusal) => return refusal,
        };
        let rest = failure["retryTimeout"].as_i64().and_then(TimeDelta::try_milliseconds).unwrap_or_default();
        task.locked_until = Some(Utc::now() + rest);
        task.details = failure["errorDetails"].as_str().map(str::to_owned);
        task.error = failure["errorMessage"].as_str().map(cut);
        set_retries(task, failure["retries"].as_u64().unwrap_or(0));
        let task = task.clone();
        self.history.note("failureLog", id, &task);
        done()
    }

    /// Anybody may.
    pub(super) fn unlock(&mut self, id: &str) -> Page {
        let Some(task) = self.tasks.get_mut(id) else { return missing(id) };
        (task.worker, task.locked_until) = (None, None);
        done()
    }

    pub(super) fn give_retries(&mut self, id: &str, given: &Value) -> Page {
        let Some(retries) = given["retries"].as_u64() else {
            return Self::refusal(400, "InvalidRequestException", "The number of retries cannot be null.");
        };
        let Some(task) = self.tasks.get_mut(id) else { return missing(id) };
        set_retries(task, retries);
        done()
    }

    /// The task, if this worker is the one who has locked it last.
    fn of_worker(&mut self, id: &str, worker: &Value, what: &str) -> Result<&mut ExternalTask, Page> {
        let Some(worker) = worker.as_str() else {
            return Err(Self::refusal(500, "NullValueException", "workerId is null"));
        };
        let Some(task) = self.tasks.get_mut(id) else { return Err(missing(id)) };
        if task.worker.as_deref() != Some(worker) {
            let other = task.worker.as_deref().unwrap_or("null");
            let told = format!("External Task {id} {what} by worker '{worker}'. It is locked by worker '{other}'.");
            return Err(Self::refusal(400, "RestException", &told));
        }
        if task.suspended {
            let told = format!("External task with id '{id}' is suspended.");
            return Err(Self::refusal(500, "SuspendedEntityInteractionException", &told));
        }
        Ok(task)
    }
}

impl ExternalTask {
    /// As the engine shows it.
    pub(super) fn row(&self, id: &str) -> Value {
        json!({
            "id": id,
            "topicName": self.topic,
            "processInstanceId": self.process,
            "processDefinitionKey": "demo",
            "activityId": self.activity,
            "workerId": self.worker,
            "lockExpirationTime": self.locked_until.map(super::written),
            "retries": self.retries,
            "errorMessage": self.error,
            "suspended": self.suspended,
            "priority": 0,
            "businessKey": null,
        })
    }
}

/// An incident comes when the last retry goes, and goes when there is one again.
fn set_retries(task: &mut ExternalTask, retries: u64) {
    let had_some = task.retries != Some(0);
    match retries {
        0 if had_some => task.incident = Some(task.error.clone().unwrap_or_default()),
        0 => {}
        _ => task.incident = None,
    }
    task.retries = Some(retries);
}

fn cut(message: &str) -> String {
    let units: Vec<u16> = message.encode_utf16().take(LONGEST_MESSAGE).collect();
    String::from_utf16_lossy(&units)
}
