//! A fake of Camunda 7's engine, as far as external tasks go: who has locked each, until when, its retries and its
//! incident, and what has happened to it.
//!
//! It keeps the engine's rules: what has retries and no lock and is not suspended is fetched; only who has locked a
//! task may complete it or report its failure, also after the lock has ended; anybody may unlock it; a failure ends the
//! lock unless it says for how long; no retries are an incident; what is finished is gone, except from the history. It
//! refuses members that it does not know. It knows nothing of the worker. `list` selects and sorts, [`history`]
//! remembers.

mod changes;
pub mod history;
mod list;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use self::history::History;
use super::http_fake::{Asked, Target};
use crate::http::server::Page;

/// Who may ask.
pub const USER: &str = "task-creator";
/// Fixed, so that a `.env` stays valid from run to run.
pub const PASSWORD: &str = "sandbox-camunda-password";
/// Where the REST interface is.
pub const ROOT: &str = "/engine-rest";
/// How long the bridge locks a task.
pub const YEAR: TimeDelta = TimeDelta::days(365);

/// An engine in memory.
#[derive(Default)]
pub struct Camunda {
    tasks: BTreeMap<String, ExternalTask>,
    /// What has happened to tasks and processes, for whoever asks later.
    pub history: History,
}

/// An external task.
#[derive(Clone, Debug, Default)]
pub struct ExternalTask {
    /// What kind of work it is.
    pub topic: String,
    /// The process it belongs to.
    pub process: String,
    /// Its place in the process.
    pub activity: String,
    /// What the process knows; each value with its type, as the engine shows it.
    pub variables: Value,
    /// Who has locked it last; none after an unlock.
    pub worker: Option<String>,
    /// The lock ends, or has ended.
    pub locked_until: Option<DateTime<Utc>>,
    /// None has ever been set at first.
    pub retries: Option<u64>,
    /// What the cockpit shows.
    pub incident: Option<String>,
    /// Of the last failure.
    pub error: Option<String>,
    /// What it shows on demand.
    pub details: Option<String>,
    /// Nobody fetches or completes it meanwhile.
    pub suspended: bool,
}

impl ExternalTask {
    fn is_locked(&self) -> bool {
        self.locked_until.is_some_and(|until| until > Utc::now())
    }

    fn is_fetched(&self) -> bool {
        self.retries != Some(0) && !self.is_locked() && !self.suspended
    }
}

impl Camunda {
    /// A process has come to this task, which nobody has fetched yet. The process is called after the task.
    pub fn add(&mut self, id: &str, topic: &str) {
        let process = format!("process-of-{id}");
        self.history.started(&process);
        let task = ExternalTask {
            topic: topic.to_owned(),
            process,
            activity: "Activity_1".to_owned(),
            variables: json!({}),
            ..ExternalTask::default()
        };
        self.history.note("creationLog", id, &task);
        self.tasks.insert(id.to_owned(), task);
    }

    /// The bridge has fetched a task and locked it for a year.
    pub fn lock(&mut self, id: &str, worker: &str) {
        if !self.tasks.contains_key(id) {
            self.add(id, "bitrix_create_task");
        }
        self.change(id, |task| {
            task.worker = Some(worker.to_owned());
            task.locked_until = Some(Utc::now() + YEAR);
        });
    }

    /// The task was fetched this much earlier.
    pub fn age(&mut self, id: &str, by: TimeDelta) {
        self.change(id, |task| task.locked_until = task.locked_until.map(|until| until - by));
    }

    /// Changes a task, if it is there.
    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut ExternalTask)) {
        if let Some(task) = self.tasks.get_mut(id) {
            change(task);
        }
    }

    /// Somebody has cancelled the process of this task.
    pub fn cancel(&mut self, id: &str) {
        if let Some(task) = self.tasks.remove(id) {
            self.history.note("deletionLog", id, &task);
            self.history.ended(&task.process, "EXTERNALLY_TERMINATED");
        }
    }

    /// Who has locked the task has completed it.
    pub fn finish(&mut self, id: &str) {
        if let Some(task) = self.tasks.remove(id) {
            self.history.note("successLog", id, &task);
            self.history.ended(&task.process, "COMPLETED");
        }
    }

    /// A task that is not finished.
    pub fn task(&self, id: &str) -> Option<&ExternalTask> {
        self.tasks.get(id)
    }

    /// What the bridge would fetch now.
    pub fn fetchable(&self) -> Vec<&str> {
        self.tasks.iter().filter(|(_, task)| task.is_fetched()).map(|(id, _)| id.as_str()).collect()
    }
}

/// As the engine writes it.
fn written(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string()
}

fn missing(id: &str) -> Page {
    Camunda::refusal(404, "RestException", &format!("External task with id {id} does not exist"))
}

fn shown(value: &Value) -> Page {
    Page::new(200, "application/json", value.to_string())
}

fn done() -> Page {
    Page::new(204, "", "")
}

/// A refusal of a body with a member that is not among these.
fn unknown_member(body: &Value, known: &[&str]) -> Option<Page> {
    let unknown = body.as_object()?.keys().find(|name| !known.contains(&name.as_str()))?;
    Some(Camunda::refusal(400, "InvalidRequestException", &format!("Unrecognized field \"{unknown}\"")))
}

impl Target for Camunda {
    fn answer(&mut self, request: &Asked) -> Page {
        let sign_in = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        if request.header("Authorization") != Some(&sign_in) {
            return Page::new(401, "", "").with("WWW-Authenticate", "Basic realm=\"default\"");
        }
        let path = request.path.strip_prefix(ROOT).unwrap_or_default();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let decoded = |id: &str| percent_decode_str(id).decode_utf8_lossy().into_owned();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["version"]) => shown(&json!({"version": "7.20.0"})),
            ("POST", ["external-task"]) => self.list(request),
            ("POST", ["external-task", "count"]) => self.count(&request.json()),
            ("POST", ["external-task", "fetchAndLock"]) => self.fetch(&request.json()),
            ("GET", ["external-task", id]) => self.show(&decoded(id)),
            ("POST", ["external-task", id, "complete"]) => self.complete(&decoded(id), &request.json()),
            ("POST", ["external-task", id, "failure"]) => self.fail(&decoded(id), &request.json()),
            ("POST", ["external-task", id, "unlock"]) => self.unlock(&decoded(id)),
            ("PUT", ["external-task", id, "retries"]) => self.give_retries(&decoded(id), &request.json()),
            ("GET", ["history", "external-task-log"]) => self.history.log(request),
            ("GET", ["history", "process-instance", id]) => self.history.process(&decoded(id)),
            _ => Self::refusal(404, "NotFoundException", "RESTEASY003210: Could not find resource for full path"),
        }
    }

    fn refusal(status: u16, code: &str, text: &str) -> Page {
        Page::new(status, "application/json", json!({"type": code, "message": text}).to_string())
    }
}
