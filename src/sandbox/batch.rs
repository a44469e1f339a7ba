//! The method `batch`: up to 50 commands in one request. It knows how commands are written, in which order they run and
//! how they are answered. Its caller runs them, so that no lock is held over a whole batch.

use std::fmt;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::references::resolve;
use super::reply::{Answer, Outcome, Refusal, php, time};
use super::request::{Call, integer, is_json, nest, pairs, text};

/// Each further command is refused.
const MAX_COMMANDS: usize = 50;

/// A batch as it was sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    halt: bool,
    /// Keys and commands, in the order of the text.
    commands: Vec<(String, String)>,
}

impl Batch {
    /// Reads a request's batch. One that cannot be read has no commands.
    pub fn read(content_type: &str, query: &str, body: &[u8]) -> Batch {
        if is_json(content_type) {
            let body: Body = serde_json::from_slice(body).unwrap_or_default();
            return Batch { halt: is_yes(&body.halt), commands: body.cmd.0 };
        }
        let mut batch = Batch::default();
        let form = String::from_utf8_lossy(body);
        for (name, value) in pairs(query).chain(pairs(&form)) {
            let key = name.strip_prefix("cmd[").and_then(|rest| rest.strip_suffix(']'));
            match key {
                Some("") => {
                    let next = batch.commands.len().to_string();
                    set(&mut batch.commands, next, value);
                }
                Some(key) => set(&mut batch.commands, key.to_owned(), value),
                None if name == "halt" => batch.halt = is_yes(&value.into()),
                None => {}
            }
        }
        batch
    }

    /// Runs the batch: `run` is called for one command after the other.
    ///
    /// # Errors
    /// Only an error of `run` itself; a command's own refusal becomes part of the answer.
    pub fn run<E>(&self, mut run: impl FnMut(&Call) -> Result<Outcome, E>) -> Result<Answer, E> {
        let mut reply = Reply::default();
        let mut stale = None;
        for (number, (key, command)) in self.commands.iter().enumerate() {
            let start = SystemTime::now();
            let outcome = match command_call(command, &reply) {
                _ if number >= MAX_COMMANDS => Err(too_many()),
                call if call.is_batch() => Err(nested()),
                call => run(&call)?,
            };
            let outcome = outcome.map_err(|refusal| with_stale_text(refusal, &mut stale));
            let failed = outcome.is_err();
            reply.put(key, outcome, start);
            if failed && self.halt {
                break;
            }
        }
        Ok(reply.into_value().into())
    }
}

fn is_yes(value: &Value) -> bool {
    *value == true || integer(value).is_some_and(|number| number != 0)
}

/// A refused command leaves its text behind. A later command that lacks a right or operating time is then refused with
/// that text, as if both errors were the same.
fn with_stale_text(refusal: Refusal, stale: &mut Option<String>) -> Refusal {
    let takes_it = ["ACCESS_DENIED", "ERROR_TASK_CREATE_ACCESS_DENIED", "INSUFFICIENT_SCOPE", "OPERATION_TIME_LIMIT"];
    if refusal.code == "ERROR_CORE" {
        *stale = Some(refusal.description.clone());
    } else if let Some(text) = stale.as_ref().filter(|_| takes_it.iter().any(|code| refusal.is(code))) {
        return Refusal::new(refusal.status, "ERROR_CORE", text.clone());
    }
    refusal
}

fn nested() -> Refusal {
    Refusal::new(405, "ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage")
}

fn too_many() -> Refusal {
    Refusal::new(400, "ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded")
}

/// The JSON body of a batch.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    halt: Value,
    cmd: Commands,
}

/// A JSON object's members in the order of the text, which a [`Value`] does not keep.
#[derive(Default)]
struct Commands(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Commands {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Commands, D::Error> {
        deserializer.deserialize_any(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Commands;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch's commands")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Commands, A::Error> {
        let mut commands = Vec::new();
        while let Some((key, command)) = map.next_entry::<String, Value>()? {
            set(&mut commands, key, text(&command).unwrap_or_default());
        }
        Ok(Commands(commands))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Commands, A::Error> {
        let mut commands = Vec::new();
        while let Some(command) = list.next_element::<Value>()? {
            commands.push((commands.len().to_string(), text(&command).unwrap_or_default()));
        }
        Ok(Commands(commands))
    }
}

/// A key that comes twice keeps its first place and its last value.
fn set(commands: &mut Vec<(String, String)>, key: String, command: String) {
    match commands.iter_mut().find(|(known, _)| *known == key) {
        Some((_, known)) => *known = command,
        None => commands.push((key, command)),
    }
}

/// Reads `method?query`. References to results of earlier commands are resolved in the decoded values.
fn command_call(command: &str, reply: &Reply) -> Call {
    let (method, query) = command.split_once('?').unwrap_or((command, ""));
    let params = nest(pairs(query).map(|(key, value)| (key, resolve(value, reply))));
    Call { method: method.strip_suffix(".json").unwrap_or(method).to_owned(), params, batched: true }
}

/// The five maps of a batch's reply. A command that did not run is in none of them.
#[derive(Default)]
pub(super) struct Reply {
    result: Vec<(String, Value)>,
    error: Vec<(String, Value)>,
    total: Vec<(String, Value)>,
    next: Vec<(String, Value)>,
    time: Vec<(String, Value)>,
}

impl Reply {
    /// The map of this name, in any letter case.
    pub fn map(&self, name: &str) -> Option<&[(String, Value)]> {
        match &*name.to_ascii_lowercase() {
            "result" => Some(&self.result),
            "error" => Some(&self.error),
            "total" => Some(&self.total),
            "next" => Some(&self.next),
            "time" => Some(&self.time),
            _ => None,
        }
    }

    fn put(&mut self, key: &str, outcome: Outcome, start: SystemTime) {
        let entry = |value: Value| (key.to_owned(), value);
        match outcome {
            Ok(answer) => {
                self.total.extend(answer.total.map(|total| entry(total.into())));
                self.next.extend(answer.next.map(|next| entry(next.into())));
                self.time.push(entry(time(start, answer.operating)));
                self.result.push(entry(answer.result));
            }
            Err(refusal) => self.error.push(entry(refusal.body())),
        }
    }

    fn into_value(self) -> Value {
        json!({
            "result": php(self.result),
            "result_error": php(self.error),
            "result_total": php(self.total),
            "result_next": php(self.next),
            "result_time": php(self.time),
        })
    }
}

#[cfg(test)]
mod tests;
