//! What Camunda is told of a task that a service has done, or has failed over.
//!
//! The service's own JSON is passed on whole; of it only the answer that the process expects is looked for.

use anyhow::bail;
use serde_json::{Value, json};

use super::fields::title;
use crate::http::text::plain;
use crate::message::{Task, text};
use crate::systems::question::{self, NO, YES};

/// The response of a task that is done. `result` is the part of `reply` in which the answer is looked for, at
/// `pointer`.
///
/// # Errors
/// The process expects an answer, and the result has none: told without it, the process would wait for ever.
pub fn done(task: &Task, id: &str, reply: &Value, result: &Value, pointer: &str) -> anyhow::Result<Value> {
    let answer = result.pointer(pointer).and_then(answer);
    if answer.is_none() && question::is_expected(task) {
        bail!("the task is done, but the process expects an answer, and the result has none at {pointer}");
    }
    Ok(told(task, id, "succeeded", &answer.unwrap_or_default(), reply))
}

/// The response of a task that the service has failed over, where Camunda is to be told. A process that expects an
/// answer gets a no.
pub fn failed(task: &Task, id: &str, reply: &Value) -> Value {
    let answer = if question::is_expected(task) { NO } else { "" };
    told(task, id, "failed", answer, reply)
}

/// What the service says of a task that it has failed over.
pub fn words_of(reply: &Value) -> String {
    let said = reply.get("error").filter(|error| !error.is_null()).unwrap_or(reply);
    plain(&text(said).unwrap_or_else(|| said.to_string()))
}

/// What the response, or the record before it, holds: the task as the bridge reads it, and what the service has said.
pub fn told(task: &Task, id: &str, status: &str, answer: &str, reply: &Value) -> Value {
    let shown = json!({"id": id, "title": title(task), "status": status});
    let mut told = question::result(shown, question::is_expected(task), answer);
    told["reply"] = reply.clone();
    told
}

/// A JSON `true` or `false` is spelt as the bridge expects it; any other text is the service's own.
fn answer(value: &Value) -> Option<String> {
    match value {
        Value::Bool(true) => Some(YES.into()),
        Value::Bool(false) => Some(NO.into()),
        other => text(other),
    }
}
