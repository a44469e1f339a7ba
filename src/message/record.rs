//! The sent record of a task that exists at the target, and the response that it becomes.
//!
//! It does not know what the target's reply means.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Original, Task, Unreadable, document, encode, now};

/// The bridge drops a response with any other status than this or `completed`.
const ANSWERED: &str = "completed_by_tracker";

/// The sent record of a task that was just created: the body for `<system>.sent.queue`.
///
/// `reply` is the target's whole reply; `success: true` is added to it. `host` says where the target is.
pub fn sent_record(task: &Task, original_queue: &str, reply: Value, host: Option<&str>) -> Vec<u8> {
    record(task, original_queue, reply, host, "success")
}

/// The response for a task that is finished as soon as it is created, without a record in between.
pub fn response_at_once(task: &Task, original_queue: &str, answer: Value, host: Option<&str>) -> Vec<u8> {
    record(task, original_queue, answer, host, ANSWERED)
}

fn record(
    task: &Task,
    original_queue: &str,
    data: Value,
    host: Option<&str>,
    processing_status: &'static str,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        timestamp: f64,
        original_queue: &'a str,
        original_message: &'a RawValue,
        response_data: Value,
        processing_status: &'static str,
        processed_at: f64,
        /// Only we read it; it is passed on.
        #[serde(skip_serializing_if = "Option::is_none")]
        target_host: Option<&'a str>,
    }
    let now = now();
    encode(&Body {
        timestamp: task.timestamp.unwrap_or(now),
        original_queue,
        original_message: &task.body,
        response_data: successful(data),
        processing_status,
        processed_at: now,
        target_host: host,
    })
}

/// The person's answer, where the bridge finds it in the `response_data` of any system.
pub fn answer_text(response_data: &Value) -> Option<&str> {
    response_data["result"]["task"]["ufResultAnswer_text"].as_str().filter(|answer| !answer.is_empty())
}

/// The reply as an object with `success: true`.
fn successful(reply: Value) -> Value {
    let mut members = match reply {
        Value::Object(members) => members,
        other => Map::from_iter([("result".to_owned(), other)]),
    };
    members.insert("success".into(), true.into());
    Value::Object(members)
}

/// What the sent queue holds: a task that exists at the target, and all we know of it.
#[derive(Debug)]
pub struct Record {
    /// The message that the task was created from.
    pub task: Task,
    /// The target's reply to the create.
    pub response_data: Value,
    /// All other members: passed on as they are, also those that we do not know.
    rest: BTreeMap<String, Box<RawValue>>,
}

impl Record {
    /// Reads a sent record: our own, one of the Python worker, or one saved by an editor with a byte order mark.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not a JSON object with an `original_message` that is a task.
    pub fn parse(body: Vec<u8>) -> Result<Record, Unreadable> {
        let mut rest = match document::members(&body) {
            Ok(members) => members,
            Err(err) => {
                let reason = format!("the record is not a JSON object: {err}");
                return Err(Unreadable { reason, original: Original::Bytes(body) });
            }
        };
        let inside = |reason: String| Unreadable { reason, original: Original::Bytes(body.clone()) };
        let message = rest.remove("original_message").ok_or_else(|| inside("no original_message".into()))?;
        let task = Task::parse(Box::<str>::from(message).into_string().into_bytes())
            .map_err(|unreadable| inside(format!("original_message: {}", unreadable.reason)))?;
        let response_data = rest.remove("response_data");
        let response_data = response_data.and_then(|raw| document::read(raw.get().as_bytes()).ok()).unwrap_or_default();
        Ok(Record { task, response_data, rest })
    }

    /// The response for Camunda: this record, with the finished task as the target shows it in place of the reply to
    /// the create.
    pub fn response(&self, finished: Value) -> Vec<u8> {
        #[derive(Serialize)]
        struct Response<'a> {
            original_message: &'a RawValue,
            response_data: Value,
            processing_status: &'static str,
            processed_at: f64,
            #[serde(flatten)]
            rest: BTreeMap<&'a str, &'a RawValue>,
        }
        let own = ["processing_status", "processed_at"];
        encode(&Response {
            original_message: &self.task.body,
            response_data: successful(finished),
            processing_status: ANSWERED,
            processed_at: now(),
            rest: self
                .rest
                .iter()
                .map(|(name, raw)| (name.as_str(), &**raw))
                .filter(|(n, _)| !own.contains(n))
                .collect(),
        })
    }

    /// The record as one document again, with every member.
    pub fn document(&self) -> Box<RawValue> {
        #[derive(Serialize)]
        struct Document<'a> {
            original_message: &'a RawValue,
            response_data: &'a Value,
            #[serde(flatten)]
            rest: &'a BTreeMap<String, Box<RawValue>>,
        }
        let Record { task, response_data, rest } = self;
        let document = Document { original_message: &task.body, response_data, rest };
        serde_json::value::to_raw_value(&document).expect("a record that was read can be written")
    }

    /// Where its task is; `None` in a record of the Python worker or of an earlier version.
    pub fn target_host(&self) -> Option<String> {
        serde_json::from_str(self.rest.get("target_host")?.get()).ok()
    }

    /// The task's id at the target, where the reply names it as most targets' do; or the address of a job.
    pub fn target_id(&self) -> Option<String> {
        let data = &self.response_data;
        [&data["result"]["task"]["id"], &data["job"]["url"]].into_iter().find_map(super::text)
    }

    /// In which part of the target that is, where the reply names one: the entity in 1C, the chat in Telegram.
    pub fn target_within(&self) -> Option<String> {
        let task = &self.response_data["result"]["task"];
        [&task["entity"], &task["chatId"]].into_iter().find_map(super::text)
    }

    /// When the task was created, in milliseconds since 1970, by the record's own `processed_at`.
    pub fn created_at(&self) -> Option<u64> {
        let created: f64 = serde_json::from_str(self.rest.get("processed_at")?.get()).ok()?;
        u64::try_from(Duration::try_from_secs_f64(created).ok()?.as_millis()).ok()
    }

    /// How long ago the task was created, by the record's own `processed_at`.
    pub fn age(&self) -> Option<Duration> {
        let created: f64 = serde_json::from_str(self.rest.get("processed_at")?.get()).ok()?;
        Duration::try_from_secs_f64(now() - created).ok()
    }
}
