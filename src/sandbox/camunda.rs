//! A fake of Camunda 7's engine, as far as external tasks go: who has locked each, until when, its retries and its
//! incident.
//!
//! It keeps the engine's rules: only who has locked a task may report its failure; a failure ends the lock unless it says
//! for how long; no retries are an incident; what has retries and no lock is fetched. It refuses members that it does not
//! know. It knows nothing of the worker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::http_fake::{Asked, Target};
use crate::http::server::Page;

/// Who may ask.
pub const USER: &str = "task-creator";
/// Fixed, so that a `.env` stays valid from run to run.
pub const PASSWORD: &str = "sandbox-camunda-password";
/// Where the REST interface is.
pub const ROOT: &str = "/engine-rest";
/// The lock of the bridge.
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// In UTF-16 units.
const LONGEST_MESSAGE: usize = 666;
const FAILURE: &[&str] = &["workerId", "errorMessage", "errorDetails", "retries", "retryTimeout"];

/// An engine in memory.
#[derive(Default)]
pub struct Camunda {
    tasks: BTreeMap<String, ExternalTask>,
}

/// An external task.
#[derive(Clone, Debug)]
pub struct ExternalTask {
    /// Who has locked it last.
    pub worker: String,
    /// The lock ends.
    pub locked_until: Instant,
    /// None has ever been set at first.
    pub retries: Option<u64>,
    /// What the cockpit shows.
    pub incident: Option<String>,
    /// What it shows on demand.
    pub details: Option<String>,
}

impl Camunda {
    /// The bridge has fetched a task and locked it for a year.
    pub fn lock(&mut self, id: &str, worker: &str) {
        let locked_until = Instant::now() + YEAR;
        let task =
            ExternalTask { worker: worker.to_owned(), locked_until, retries: None, incident: None, details: None };
        self.tasks.insert(id.to_owned(), task);
    }

    /// A task that is not finished.
    pub fn task(&self, id: &str) -> Option<&ExternalTask> {
        self.tasks.get(id)
    }

    /// What the bridge would fetch now.
    pub fn fetchable(&self) -> Vec<&str> {
        let is_free = |task: &ExternalTask| task.retries != Some(0) && task.locked_until <= Instant::now();
        self.tasks.iter().filter(|(_, task)| is_free(task)).map(|(id, _)| id.as_str()).collect()
    }

    fn fail(&mut self, id: &str, failure: &Value) -> Page {
        if let Some(unknown) = failure.as_object().and_then(|members| members.keys().find(|name| !is_known(name))) {
            return Self::refusal(400, "InvalidRequestException", &format!("Unrecognized field \"{unknown}\""));
        }
        let Some(worker) = failure["workerId"].as_str() else {
            return Self::refusal(500, "NullValueException", "workerId is null");
        };
        let Some(task) = self.tasks.get_mut(id) else { return missing(id) };
        if task.worker != worker {
            let told = format!(
                "Failure of External Task {id} cannot be reported by worker '{worker}'. It is locked by worker '{}'.",
                task.worker
            );
            return Self::refusal(400, "RestException", &told);
        }
        let (retries, rest) = (failure["retries"].as_u64().unwrap_or(0), failure["retryTimeout"].as_u64().unwrap_or(0));
        task.locked_until = Instant::now() + Duration::from_millis(rest);
        task.details = failure["errorDetails"].as_str().map(str::to_owned);
        let message = failure["errorMessage"].as_str().map(cut).unwrap_or_default();
        set_retries(task, retries, message);
        done()
    }

    fn give_retries(&mut self, id: &str, given: &Value) -> Page {
        let Some(retries) = given["retries"].as_u64() else {
            return Self::refusal(400, "InvalidRequestException", "The number of retries cannot be null.");
        };
        let Some(task) = self.tasks.get_mut(id) else { return missing(id) };
        set_retries(task, retries, String::new());
        done()
    }
}

/// An incident comes when the last retry goes, and goes when there is one again.
fn set_retries(task: &mut ExternalTask, retries: u64, message: String) {
    let had_some = task.retries != Some(0);
    match retries {
        0 if had_some => task.incident = Some(message),
        0 => {}
        _ => task.incident = None,
    }
    task.retries = Some(retries);
}

fn is_known(member: &str) -> bool {
    FAILURE.contains(&member)
}

fn cut(message: &str) -> String {
    let units: Vec<u16> = message.encode_utf16().take(LONGEST_MESSAGE).collect();
    String::from_utf16_lossy(&units)
}

fn missing(id: &str) -> Page {
    Camunda::refusal(404, "RestException", &format!("External task with id {id} does not exist"))
}

fn done() -> Page {
    Page::new(204, "", "")
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
            ("GET", ["version"]) => Page::new(200, "application/json", json!({"version": "7.20.0"}).to_string()),
            ("POST", ["external-task", id, "failure"]) => self.fail(&decoded(id), &request.json()),
            ("PUT", ["external-task", id, "retries"]) => self.give_retries(&decoded(id), &request.json()),
            _ => Self::refusal(404, "NotFoundException", "RESTEASY003210: Could not find resource for full path"),
        }
    }

    fn refusal(status: u16, code: &str, text: &str) -> Page {
        Page::new(status, "application/json", json!({"type": code, "message": text}).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Camunda {
        let mut engine = Camunda::default();
        engine.lock("task-1", "bridge");
        engine
    }

    #[test]
    fn a_failure_without_a_time_ends_the_lock_so_that_a_task_with_retries_is_fetched_again() {
        let mut engine = engine();
        assert_eq!(
            engine.fail("task-1", &json!({"workerId": "bridge", "retries": 0, "errorMessage": "no"})).status(),
            204
        );
        assert_eq!(engine.task("task-1").and_then(|task| task.incident.as_deref()), Some("no"));
        assert_eq!(engine.fetchable(), Vec::<&str>::new());
        assert_eq!(engine.give_retries("task-1", &json!({"retries": 1})).status(), 204);
        assert_eq!((engine.fetchable(), &engine.tasks["task-1"].incident), (vec!["task-1"], &None));
    }

    #[test]
    fn only_who_has_locked_a_task_may_report_its_failure() {
        let mut engine = engine();
        let status = |engine: &mut Camunda, id: &str, failure| engine.fail(id, &failure).status();
        assert_eq!(status(&mut engine, "task-1", json!({"workerId": "other", "retries": 0})), 400);
        assert_eq!(status(&mut engine, "task-1", json!({"retries": 0})), 500);
        assert_eq!(status(&mut engine, "task-1", json!({"workerId": "bridge", "worker_id": "bridge"})), 400);
        assert_eq!(status(&mut engine, "task-2", json!({"workerId": "bridge", "retries": 0})), 404);
        assert_eq!(engine.give_retries("task-2", &json!({"retries": 1})).status(), 404);
        assert!(engine.tasks["task-1"].incident.is_none());
    }
}
