//! Camunda's engine over its REST interface: tells it that a task has failed for good, gives a task its retries back,
//! and ends a lock. [`tasks`] reads what it has now, [`history`] what it had.
//!
//! It knows no queue and no lane, and tries nothing twice: who calls it says what follows from a failure.

pub mod history;
mod settings;
pub mod tasks;
mod time;

use std::time::Duration;

use anyhow::{anyhow, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

pub use self::settings::Settings;

use crate::http::{self, Answer, Failed, Http, Method, NoAnswer, Request};
use crate::message::ParkedTask;
use crate::redact;
use crate::tls::RootCertificates;

/// The engine cuts the error message of a task after so many UTF-16 units.
const LONGEST_MESSAGE: usize = 666;
/// What the engine answers with a success that has no content.
const NO_CONTENT: u16 = 204;
const NOT_FOUND: u16 = 404;
/// What an id may have in a path as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The engine.
pub struct Engine {
    http: Http,
    settings: Settings,
}

/// What the engine has made of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has done it.
    Done,
    /// It has no such task: nobody waits for it any more.
    NoTask,
}

impl Engine {
    /// The engine of these settings.
    pub fn new(settings: &Settings, https: &RootCertificates) -> Engine {
        Engine { http: Http::new(settings.timeout(), https), settings: settings.clone() }
    }

    /// How long the bridge locks a task.
    pub fn lock_duration(&self) -> Duration {
        self.settings.lock_duration()
    }

    /// Reports that the task has failed for good, which the engine shows as an incident. Only who has locked the task
    /// may do so, and that is whom its message names.
    ///
    /// # Errors
    /// The engine was not reached, or has refused it.
    pub fn fail(&self, task: &ParkedTask) -> anyhow::Result<Told> {
        let Some(worker_id) = &task.worker_id else {
            bail!("its message has no worker_id, so it is not known who has locked it");
        };
        let error = redact::clean(&task.error);
        let body = json!({
            "workerId": worker_id,
            "retries": 0,
            // The task stays locked. The engine ends the lock at once if nobody says otherwise; then the bridge would
            // fetch the task again as soon as it has its retries back, and its message would be there twice.
            "retryTimeout": u64::try_from(self.lock_duration().as_millis()).unwrap_or(u64::MAX),
            "errorMessage": beginning(&format!("{}: {error}", task.cause)),
            "errorDetails": error,
        });
        self.change(Method::POST, &task.id, "failure", &body)
    }

    /// Gives the task one retry again, which resolves its incident.
    ///
    /// # Errors
    /// As [`Engine::fail`].
    pub fn give_retry(&self, id: &str) -> anyhow::Result<Told> {
        self.change(Method::PUT, id, "retries", &json!({"retries": 1}))
    }

    /// Ends the lock of the task, whoever has it: the bridge fetches it again and publishes it again. A task without
    /// retries is not fetched.
    ///
    /// # Errors
    /// As [`Engine::fail`].
    pub fn unlock(&self, id: &str) -> anyhow::Result<Told> {
        // The engine takes no body here.
        self.changed(Request::new(Method::POST, &self.task_url(id, "/unlock")))
    }

    fn version(&self) -> anyhow::Result<String> {
        let answer = http::json(self.send(Request::new(Method::GET, &format!("{}/version", self.settings.url()))))?;
        answer["version"].as_str().map(redact::clean).ok_or_else(|| anyhow!("the answer has no version in it"))
    }

    fn change(&self, method: Method, id: &str, what: &str, body: &Value) -> anyhow::Result<Told> {
        let body = body.to_string();
        self.changed(Request::new(method, &self.task_url(id, &format!("/{what}"))).json(body.as_bytes()))
    }

    fn changed(&self, request: Request<'_>) -> anyhow::Result<Told> {
        match self.send(request) {
            Ok(answer) if is_none(&answer) => Ok(Told::NoTask),
            answer => match http::classify(answer)?.status {
                NO_CONTENT => Ok(Told::Done),
                status => bail!("http status {status}, which is no answer of Camunda's engine: is CAMUNDA_URL right?"),
            },
        }
    }

    /// What is at this address; `None` where the engine says that there is no such thing.
    fn read(&self, url: &str) -> anyhow::Result<Option<Value>> {
        match self.send(Request::new(Method::GET, url).header("Accept", "application/json")) {
            Ok(answer) if is_none(&answer) => Ok(None),
            answer => Ok(Some(http::json(answer)?)),
        }
    }

    fn ask(&self, url: &str, body: &Value) -> anyhow::Result<Value> {
        let body = body.to_string();
        Ok(http::json(self.send(Request::new(Method::POST, url).json(body.as_bytes())))?)
    }

    fn task_url(&self, id: &str, rest: &str) -> String {
        format!("{}/external-task/{}{rest}", self.settings.url(), in_path(id))
    }

    fn send(&self, request: Request<'_>) -> Result<Answer, NoAnswer> {
        match self.settings.sign_in() {
            Some((user, password)) => self.http.send(request.basic(user, password.expose())),
            None => self.http.send(request),
        }
    }
}

fn in_path(id: &str) -> String {
    utf8_percent_encode(id, IN_PATH).to_string()
}

/// Is this failure one of the whole engine, so that a further call would only wait for the same?
pub fn is_away(err: &anyhow::Error) -> bool {
    err.downcast_ref::<Failed>().is_some_and(|failed| failed.status.is_none())
}

/// Does the engine say that there is no such thing? It names the kind of each error. `NotFoundException` means that
/// there is no such path, so no engine either.
fn is_none(answer: &Answer) -> bool {
    let error: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    answer.status == NOT_FOUND && error["type"].as_str().is_some_and(|kind| kind != "NotFoundException")
}

/// As much of the text as the engine keeps, with no character cut in half.
fn beginning(text: &str) -> String {
    let mut units = 0;
    let fits = |character: &char| {
        units += character.len_utf16();
        units <= LONGEST_MESSAGE
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests;
