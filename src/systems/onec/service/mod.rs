//! 1C by an HTTP service of the configuration's own: what a topic becomes, by addresses and JSON pointers that the
//! mapping names, since every such service has a form of its own.
//!
//! [`handler`] finds and creates, [`tracker`] asks for the state, [`look`] shows one to whoever asks, [`check`] looks
//! whether 1C is ready, [`explain`] says what would be sent.

pub mod check;
pub mod explain;
pub mod handler;
pub mod look;
pub mod tracker;

use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Settings;
use super::client::{Call, Client};
use super::mapping::{self, Answer, Condition, Fields, Mapping};
use crate::message::{Task, text};
use crate::systems::Connected;

/// In a path, in place of Camunda's task id.
const TASK_ID: &str = "{task_id}";
/// In a path, in place of the id that 1C has given.
const ID: &str = "{id}";

/// What a topic becomes at a service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Where it is created: a path below `ONEC_URL`.
    pub create: String,
    /// The body; none: the message as it came.
    pub fields: Option<Fields>,
    /// Where the id is in an answer: a JSON pointer.
    pub id: String,
    /// Where one is found by the task's id; none: it cannot be.
    pub find: Option<String>,
    /// Where its state is asked for; none: it is finished at once.
    pub status: Option<String>,
    /// When it is finished.
    pub finished: Option<Condition>,
    /// When it is not to be finished any more.
    pub gone: Option<Condition>,
    /// Where a person's answer stands.
    pub answer: Option<Answer>,
    /// Where its title is: a JSON pointer.
    pub title: Option<String>,
}

impl mapping::Topic for Topic {
    fn check(&self) -> Result<(), String> {
        let paths = [("create", Some(&self.create), false), ("find", self.find.as_ref(), false)];
        for (name, path, may_have_id) in paths.into_iter().chain([("status", self.status.as_ref(), true)]) {
            path.map_or(Ok(()), |path| check_path(path, may_have_id))
                .map_err(|wrong| format!("has a {name} {wrong}"))?;
        }
        if self.find.as_ref().is_some_and(|find| !find.contains(TASK_ID)) {
            return Err(format!("has a find without {TASK_ID}, so it would find anything"));
        }
        if self.status.is_some() != self.finished.is_some() {
            return Err("needs both \"status\" and \"finished\", or neither of them".into());
        }
        let conditions = self.finished.iter().chain(&self.gone).map(|condition| &condition.field);
        let pointers =
            conditions.chain(self.answer.iter().map(|answer| &answer.field)).chain([&self.id]).chain(&self.title);
        if let Some(wrong) = pointers.into_iter().find(|pointer| !pointer.starts_with('/')) {
            return Err(format!("has {wrong:?} for a JSON pointer, which starts with /"));
        }
        self.fields.as_ref().map_or(Ok(()), |fields| mapping::check(fields, false))
    }
}

fn check_path(path: &str, may_have_id: bool) -> Result<(), String> {
    let bare = path.replace(TASK_ID, "").replace(ID, "");
    // Its host is that of ONEC_URL, and nothing in it leads elsewhere.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~%/?=&".contains(c);
    if !path.starts_with('/') || path.starts_with("//") || path.contains("..") || !bare.chars().all(is_plain) {
        return Err(format!("{path:?}, which is no path below ONEC_URL, percent-encoded"));
    }
    if path.contains(ID) && !may_have_id {
        return Err(format!("{path:?} with {ID}, which is not known there"));
    }
    Ok(())
}

impl Topic {
    /// Why a process would wait for its answer for ever, if it would.
    fn unanswerable(&self, task: &Task, settings: &Settings) -> Option<&'static str> {
        super::unanswerable(task, settings, self.status.is_none(), self.answer.is_some())
    }

    /// The question for the task's own.
    fn find_call(&self, task_id: &str) -> Option<Call> {
        self.find.as_ref().map(|path| Call::get(filled(path, task_id, "")))
    }

    /// The question for its state.
    fn status_call(&self, task_id: &str, id: &str) -> Option<Call> {
        self.status.as_ref().map(|path| Call::get(filled(path, task_id, id)))
    }

    /// The order to create it; a service that knows the header takes it once only.
    fn create_call(&self, task_id: &str, body: Value) -> Call {
        Call::post(filled(&self.create, task_id, ""), Some(body)).with("Idempotency-Key", &printable(task_id))
    }

    /// The id in an answer.
    fn id_in(&self, answer: &Value) -> Option<String> {
        answer.pointer(&self.id).and_then(text)
    }

    /// The answer as Camunda is told of it.
    fn shown(&self, answer: &Value, id: &str) -> Value {
        let at = |pointer: Option<&str>| pointer.and_then(|pointer| answer.pointer(pointer)).and_then(text);
        let title = at(self.title.as_deref()).unwrap_or_default();
        let status = at(self.finished.as_ref().map(|condition| &*condition.field)).unwrap_or_default();
        json!({"id": id, "title": title, "status": status, "answer": answer})
    }
}

/// The path without its slash, with the ids in their places.
fn filled(path: &str, task_id: &str, id: &str) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    path.trim_start_matches('/').replace(TASK_ID, &encoded(task_id)).replace(ID, &encoded(id))
}

/// As a header can have it.
fn printable(task_id: &str) -> String {
    utf8_percent_encode(task_id, percent_encoding::CONTROLS).to_string()
}

/// What the lane works with.
pub fn connect(settings: &Settings, mapping: &Mapping<Topic>, client: Arc<Client>) -> Connected {
    Connected {
        handler: Arc::new(handler::ServiceHandler::new(settings.clone(), mapping.clone(), Arc::clone(&client))),
        tracker: Box::new(tracker::ServiceTracker::new(settings.clone(), mapping.clone(), client)),
    }
}

#[cfg(test)]
mod tests;
