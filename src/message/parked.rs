//! The parked message: a message that cannot go on, why, and what a person should do.
//!
//! It decides nothing: which message is parked, and for which cause, is decided where it failed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Original, document, encode, now_ms, text};

/// Why a message is parked: the `error_type` of the parked message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Not JSON, not an object, or without a `task_id`.
    InvalidMessage,
    /// The target refused the request for good.
    RequestError,
    /// The message belongs to no system that is on.
    NoSystem,
    /// The message failed by itself as often as it may.
    RetryLimitExceeded,
    /// The target took the task and then failed over it.
    TaskFailed,
    /// The target no longer knows the task.
    TaskNotFound,
    /// A record in the sent queue that cannot be read.
    InvalidRecord,
    /// RabbitMQ takes no message of the size that its record or response would have.
    MessageTooLarge,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 8] = [
        Cause::InvalidMessage,
        Cause::RequestError,
        Cause::NoSystem,
        Cause::RetryLimitExceeded,
        Cause::TaskFailed,
        Cause::TaskNotFound,
        Cause::InvalidRecord,
        Cause::MessageTooLarge,
    ];

    /// The cause of this name, as it is spelled on the wire.
    pub fn named(name: &str) -> Option<Cause> {
        Cause::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// The spelling on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Cause::InvalidMessage => "INVALID_MESSAGE",
            Cause::RequestError => "REQUEST_ERROR",
            Cause::NoSystem => "NO_SYSTEM",
            Cause::RetryLimitExceeded => "RETRY_LIMIT_EXCEEDED",
            Cause::TaskFailed => "TASK_FAILED",
            Cause::TaskNotFound => "TASK_NOT_FOUND",
            Cause::InvalidRecord => "INVALID_RECORD",
            Cause::MessageTooLarge => "MESSAGE_TOO_LARGE",
        }
    }

    /// What the person who finds the parked message should do; `replay` is the command that repeats it.
    pub fn suggested_action(self, replay: &str) -> String {
        match self {
            Cause::InvalidMessage => "correct the sender, then publish a valid message with the same task_id".into(),
            Cause::RequestError => format!("correct what the target objects to, then repeat it: {replay}"),
            Cause::NoSystem => {
                format!("correct the topic in the model, or switch its system on, then repeat it: {replay}")
            }
            Cause::RetryLimitExceeded | Cause::TaskFailed => {
                format!("find out from error_message what fails, then repeat it: {replay}")
            }
            Cause::TaskNotFound => format!(
                "the task was deleted, or is hidden from our account there: complete the external task in Camunda by hand, \
                 or create it again: {replay}"
            ),
            Cause::MessageTooLarge => {
                format!("raise max_message_size of RabbitMQ and start the worker again, then repeat it: {replay}")
            }
            Cause::InvalidRecord => "find out who wrote the record, then put a valid one into source_queue".into(),
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

/// A task that is parked, as far as Camunda's engine has to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedTask {
    /// The external task's id.
    pub id: String,
    /// Who has locked it in the engine, if the message says so.
    pub worker_id: Option<String>,
    /// Why it is parked, as one word.
    pub cause: String,
    /// What exactly went wrong.
    pub error: String,
}

impl ParkedTask {
    /// The task in the body of a parked message; `None` where it names no external task.
    pub fn read(body: &[u8]) -> Option<ParkedTask> {
        let members = document::members(body).ok()?;
        let (cause, error) = (member(&members, "error_type")?, member(&members, "error_message"));
        ParkedTask::of(&original(&members)?, &cause, &error.unwrap_or_default())
    }

    /// The error that the body of a parked message names.
    pub fn error_in(body: &[u8]) -> Option<String> {
        member(&document::members(body).ok()?, "error_message")
    }

    /// The task in a message, or in a record, that was parked as it came.
    pub fn of(original: &[u8], cause: &str, error: &str) -> Option<ParkedTask> {
        let members = document::members(original).ok()?;
        let Some(id) = member(&members, "task_id") else {
            return ParkedTask::of(members.get("original_message")?.get().as_bytes(), cause, error);
        };
        let worker_id = member(&members, "worker_id");
        Some(ParkedTask { id, worker_id, cause: cause.to_owned(), error: error.to_owned() })
    }
}

fn member(members: &BTreeMap<String, Box<RawValue>>, name: &str) -> Option<String> {
    text(&document::read(members.get(name)?.get().as_bytes()).ok()?)
}

/// The original in a parked message with these members, byte for byte.
pub fn original(members: &BTreeMap<String, Box<RawValue>>) -> Option<Vec<u8>> {
    match members.get("original_message").map(|raw| raw.get()) {
        Some(json) if json != "null" => Some(json.as_bytes().to_vec()),
        _ => {
            let encoded: String = serde_json::from_str(members.get("original_body_base64")?.get()).ok()?;
            STANDARD.decode(encoded).ok()
        }
    }
}

impl Parked<'_> {
    /// The body for the error queue; `replay` is the command that repeats this message.
    pub fn body(&self, original: &Original, replay: &str) -> Vec<u8> {
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
            suggested_action: String,
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
            suggested_action: self.cause.suggested_action(replay),
            attempts: self.attempts,
        })
    }
}

/// The name of a message without a task id, in the log and in `parked list`: its [`hash`].
pub fn fingerprint(message: &[u8]) -> String {
    format!("{:016x}", hash(message))
}

/// A number for the bytes of a message. FNV-1a, since std promises no hash that stays the same in every version.
pub fn hash(message: &[u8]) -> u64 {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    message.iter().fold(START, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}
