//! The shapes on the wire: a [`Task`] comes in, a [`Record`] lies in the sent queue between, a response goes out, and
//! what cannot go on is [`Parked`]. Described field by field in the README, "Message formats".
//!
//! This file knows JSON and nothing else: no queue, no target system, no setting.

pub mod document;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The longest task id, in bytes: it becomes the AMQP `message_id`, a short string, and a longer one would corrupt the
/// frame (amiquip does not check).
const LONGEST_TASK_ID: usize = 255;

/// The largest body that is worked on, in bytes. RabbitMQ 4 takes messages up to 16 MiB; what follows from this one
/// (its parked form in base64, or its record with the target's reply) has to fit as well.
pub const LARGEST_BODY: usize = 11 << 20;

/// One Camunda external task, as the bridge published it.
#[derive(Debug)]
pub struct Task {
    /// The external task's id: the identity of the work, never blank.
    pub id: String,
    /// What kind of work it is, such as `bitrix_create_task`.
    pub topic: String,
    /// The process variables, each without its `{"value": …, "type": …}` wrapping.
    pub variables: Map<String, Value>,
    /// `metadata.extensionProperties`.
    pub extension_properties: Map<String, Value>,
    /// `metadata.processProperties`.
    pub process_properties: Map<String, Value>,
    /// `metadata.activityInfo.name`.
    pub activity_name: Option<String>,
    /// The key of the process definition.
    pub process_definition_key: Option<String>,
    /// The id of the process instance.
    pub process_instance_id: Option<String>,
    /// The message's own time, in seconds since 1970.
    pub timestamp: Option<f64>,
    /// True when an earlier delivery of this message may have posted a create whose effect cannot be seen yet: it was
    /// delivered before, and this process does not know what became of it.
    pub may_exist: bool,
    /// The message as it came, number literals and order of keys included.
    pub body: Box<RawValue>,
}

/// A message that is not a task, and why.
#[derive(Debug)]
pub struct Unreadable {
    /// What is wrong, for the parked message and the log.
    pub reason: String,
    /// The message as it came.
    pub original: Original,
}

/// A message as it came: as JSON where it is JSON, byte for byte where it is not.
#[derive(Debug)]
pub enum Original {
    /// A JSON document that we, and whoever reads the parked message, can take in.
    Json(Box<RawValue>),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Task {
    /// Reads a message in any of its forms. What is absent, null or of another type than expected counts as absent.
    ///
    /// # Errors
    /// [`Unreadable`] when the body is not a JSON object with a `task_id`; the body is inside, unchanged.
    pub fn parse(body: Vec<u8>) -> Result<Task, Unreadable> {
        if body.len() > LARGEST_BODY {
            let reason = format!("the body has {} bytes; {LARGEST_BODY} are the most", body.len());
            return Err(Unreadable { reason, original: Original::Bytes(body) });
        }
        let json = match document::read(&body) {
            Ok(json) => json,
            Err(err) => {
                let reason = format!("the body is not JSON: {err}");
                return Err(Unreadable { reason, original: Original::Bytes(body) });
            }
        };
        let body = raw(body)?;
        match Task::from_json(json) {
            Ok(task) => Ok(Task { body, ..task }),
            Err(reason) => Err(Unreadable { reason, original: Original::Json(body) }),
        }
    }

    /// Everything but `body` and `may_exist`.
    fn from_json(mut json: Value) -> Result<Task, String> {
        if !json.is_object() {
            return Err("the body is JSON, but not an object".into());
        }
        let id = text(&json["task_id"]).ok_or("task_id is missing, null or blank")?;
        if id.len() > LONGEST_TASK_ID {
            return Err(format!("task_id has {} bytes; {LONGEST_TASK_ID} are the most", id.len()));
        }
        let variables = members(&mut json, "variables");
        let mut metadata = Value::Object(members(&mut json, "metadata"));
        let activity = &metadata["activityInfo"];
        let either = |names: [&str; 2]| {
            let places = [&json, activity].into_iter().flat_map(|place| names.map(|name| &place[name]));
            places.into_iter().find_map(text)
        };
        let definition_id = either(["process_definition_id", "processDefinitionId"]);
        let key_in_id = definition_id.and_then(|id| id.split(':').next().and_then(|key| text(&key.into())));
        Ok(Task {
            id,
            topic: text(&json["topic"]).unwrap_or_default(),
            activity_name: text(&activity["name"]),
            process_definition_key: either(["process_definition_key", "processDefinitionKey"]).or(key_in_id),
            process_instance_id: either(["process_instance_id", "processInstanceId"]),
            timestamp: json["timestamp"].as_f64().map(seconds),
            variables: variables.into_iter().map(|(name, value)| (name, unwrapped(value))).collect(),
            extension_properties: members(&mut metadata, "extensionProperties"),
            process_properties: members(&mut metadata, "processProperties"),
            may_exist: false,
            body: RawValue::NULL.to_owned(),
        })
    }

    /// The first of these variables that has a text that is not blank.
    pub fn variable(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| text(self.variables.get(*name)?))
    }

    /// The extension property of this name, unless it is blank.
    pub fn extension(&self, name: &str) -> Option<String> {
        text(self.extension_properties.get(name)?)
    }

    /// The process property of this name, unless it is blank.
    pub fn process_property(&self, name: &str) -> Option<String> {
        text(self.process_properties.get(name)?)
    }
}

/// A text that is not blank, trimmed; a number or a boolean counts as its own spelling.
pub fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The bytes of a document that has already been read once, as its own text.
fn raw(body: Vec<u8>) -> Result<Box<RawValue>, Unreadable> {
    // Read before, so this cannot fail; if it ever does, the message is parked and not lost.
    serde_json::from_slice(&body).map_err(|err| {
        let reason = format!("the body is not JSON: {err}");
        Unreadable { reason, original: Original::Bytes(body) }
    })
}

/// Takes the members of an object in an object out of it.
fn members(json: &mut Value, name: &str) -> Map<String, Value> {
    match json.get_mut(name).map(Value::take) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// A variable without the `{"value": …, "type": …}` that the specification's form puts around it.
fn unwrapped(variable: Value) -> Value {
    match variable {
        Value::Object(mut typed)
            if typed.contains_key("value")
                && typed.keys().all(|key| matches!(key.as_str(), "value" | "type" | "valueInfo" | "local")) =>
        {
            typed.remove("value").unwrap_or_default()
        }
        plain => plain,
    }
}

/// Seconds since 1970 from a `timestamp` that may be in milliseconds: above 10^11 it is.
fn seconds(timestamp: f64) -> f64 {
    if timestamp > 1e11 { timestamp / 1000.0 } else { timestamp }
}

/// Seconds since 1970, with a fraction, for the time members of our own messages.
pub fn now() -> f64 {
    since_1970().as_secs_f64()
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    // A clock before 1970 gives 0, which harms nobody: these times are for people to read.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The sent record of a task that was just created: the body for `<system>.sent.queue`.
///
/// `reply` is the target's whole reply; `success: true` is added to it.
pub fn sent_record(task: &Task, original_queue: &str, reply: &Value) -> Vec<u8> {
    #[derive(Serialize)]
    struct Sent<'a> {
        timestamp: f64,
        original_queue: &'a str,
        original_message: &'a RawValue,
        response_data: Value,
        processing_status: &'static str,
        processed_at: f64,
    }
    let now = now();
    encode(&Sent {
        timestamp: task.timestamp.unwrap_or(now),
        original_queue,
        original_message: &task.body,
        response_data: successful(reply.clone()),
        processing_status: "success",
        processed_at: now,
    })
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
    /// The members that are passed on as they are, whoever wrote the record.
    rest: BTreeMap<String, Box<RawValue>>,
}

impl Record {
    /// Reads a sent record, our own or one that the Python worker wrote.
    ///
    /// # Errors
    /// [`Unreadable`] when it is not a JSON object with an `original_message` that is a task.
    pub fn parse(body: Vec<u8>) -> Result<Record, Unreadable> {
        let mut rest: BTreeMap<String, Box<RawValue>> = match serde_json::from_slice(&body) {
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

    /// The response for Camunda: this record with the finished task in place of the reply to its create.
    pub fn response(&self, finished: Value) -> Vec<u8> {
        #[derive(Serialize)]
        struct Response<'a> {
            original_message: &'a RawValue,
            response_data: Value,
            /// The bridge acknowledges and ignores a response with any other status than this or `completed`.
            processing_status: &'static str,
            processed_at: f64,
            #[serde(flatten)]
            rest: BTreeMap<&'a str, &'a RawValue>,
        }
        let own = ["processing_status", "processed_at"];
        encode(&Response {
            original_message: &self.task.body,
            response_data: successful(serde_json::json!({"result": {"task": finished}})),
            processing_status: "completed_by_tracker",
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

    /// How long ago the task was created, by the record's own `processed_at`.
    pub fn age(&self) -> Option<Duration> {
        let created: f64 = serde_json::from_str(self.rest.get("processed_at")?.get()).ok()?;
        Duration::try_from_secs_f64(now() - created).ok()
    }
}

/// Why a message is parked: the `error_type` of the parked message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Not JSON, not an object, or without a `task_id`.
    InvalidMessage,
    /// The target refused the request for good.
    RequestError,
    /// The message failed by itself as often as it may.
    RetryLimitExceeded,
    /// The target no longer knows the task.
    TaskNotFound,
    /// A record in the sent queue that cannot be read.
    InvalidRecord,
}

impl Cause {
    /// The spelling on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Cause::InvalidMessage => "INVALID_MESSAGE",
            Cause::RequestError => "REQUEST_ERROR",
            Cause::RetryLimitExceeded => "RETRY_LIMIT_EXCEEDED",
            Cause::TaskNotFound => "TASK_NOT_FOUND",
            Cause::InvalidRecord => "INVALID_RECORD",
        }
    }

    /// What the person who finds the parked message should do.
    fn suggested_action(self) -> &'static str {
        match self {
            Cause::InvalidMessage => "correct the sender, then publish a valid message with the same task_id",
            Cause::RequestError => "correct what the target objects to, then repeat it: task-creator parked replay",
            Cause::RetryLimitExceeded => "find out why the target fails, then repeat it: task-creator parked replay",
            Cause::TaskNotFound => {
                "the task was deleted or hidden from the webhook's owner: complete the external task in Camunda by hand, \
                 or create it anew: task-creator parked replay"
            }
            Cause::InvalidRecord => "find out who wrote the record, then put a valid one into source_queue",
        }
    }
}

/// A message that goes to the error queue, for a person to decide.
#[derive(Clone, Copy, Debug)]
pub struct Parked<'a> {
    /// Why.
    pub cause: Cause,
    /// What exactly went wrong.
    pub error: &'a str,
    /// The system whose lane parks it.
    pub system: &'a str,
    /// The queue it came from.
    pub source_queue: &'a str,
    /// How often it has failed by itself.
    pub attempts: u32,
}

impl Parked<'_> {
    /// The body for the error queue.
    pub fn body(&self, original: &Original) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            timestamp: u64,
            original_message: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            original_body_base64: Option<String>,
            error_type: &'static str,
            error_message: &'a str,
            system: &'a str,
            source_queue: &'a str,
            requires_manual_intervention: bool,
            suggested_action: &'static str,
            attempts: u32,
        }
        let (original_message, original_body_base64) = match original {
            Original::Json(json) => (Some(&**json), None),
            Original::Bytes(bytes) => (None, Some(STANDARD.encode(bytes))),
        };
        encode(&Body {
            timestamp: now_ms(),
            original_message,
            original_body_base64,
            error_type: self.cause.name(),
            error_message: self.error,
            system: self.system,
            source_queue: self.source_queue,
            requires_manual_intervention: true,
            suggested_action: self.cause.suggested_action(),
            attempts: self.attempts,
        })
    }
}

fn encode(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("our own messages have text keys and no failing members")
}

#[cfg(test)]
mod tests;
