//! The messages: a [`Task`] comes in, a [`Record`] waits in the sent queue, a response goes out, and a message that
//! cannot go on is [`Parked`]. [`crate::docs::messages`] describes them member by member.
//!
//! This file reads a task, [`given`] reads its values, [`record`] and [`parked`] write the rest, and a [`claim`] says
//! whether the message is still ours. [`document`] reads JSON that anybody wrote, `note` is what a try leaves for the
//! next one, [`shorten`] makes a message smaller. They know JSON only: no queue, no setting, and nothing of a target
//! but its reply.

pub mod claim;
pub mod document;
pub mod given;
mod note;
pub mod parked;
pub mod record;
pub mod shorten;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use claim::Claim;
pub use note::Note;
pub use parked::{Cause, Parked, ParkedTask, fingerprint, hash};
pub use record::{Record, response_at_once, sent_record};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The longest task id, in bytes: it becomes the AMQP `message_id`, a short string, and a longer one would corrupt the
/// frame (amiquip does not check).
const LONGEST_TASK_ID: usize = 255;

/// The largest body that is worked on, in bytes. RabbitMQ 4 takes messages up to 16 MiB, and the parked message (in
/// base64) or the record (with the target's reply) has to fit as well.
pub const LARGEST_BODY: usize = 11 << 20;

/// A variable's text is read up to this length, in bytes. A longer one is still passed on whole.
const LONGEST_VARIABLE: usize = 1 << 20;
/// The types of variables whose value may be JSON in a text.
const JSON_TYPES: [&str; 2] = ["Json", "Object"];
/// In bytes. Longer JSON in a text stays a text: no field of a task takes as much, and parsed it would take many times
/// the memory.
const LONGEST_JSON: usize = 256 << 10;

/// One Camunda external task, as the bridge published it.
#[derive(Debug)]
pub struct Task {
    /// The external task's id: the identity of the work, never blank.
    pub id: String,
    /// What kind of work it is, such as `bitrix_create_task`.
    pub topic: String,
    /// Which system it is meant for, as the bridge has it; a topic may say otherwise.
    pub system: String,
    /// The process variables, each without its `{"value": …, "type": …}` wrapping, and none longer than a MiB.
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
    /// What an earlier delivery of this message may have done.
    pub earlier: Earlier,
    /// What earlier tries have done of it, in the words of its handler.
    pub note: Note,
    /// The right to work on it.
    pub claim: Claim,
    /// The document as it came, number literals and order of keys included.
    pub body: Box<RawValue>,
    /// A byte order mark stood before the document. It cannot stand inside another document, such as a record.
    pub marked: bool,
}

/// What an earlier delivery of a message may have done at the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing, or what it did is known.
    #[default]
    None,
    /// It may have posted a create whose effect cannot be seen yet: the message was delivered before, and this process
    /// does not know the outcome.
    MayExist,
    /// The same, and by now its effect can be seen: what the next look-up does not find does not exist, if the target
    /// shows us all tasks.
    WouldShow,
    /// It has created the task, and the target does not show it to us.
    Unseen,
}

impl Earlier {
    /// May a task be created that the next look-up does not find?
    pub fn look_up_decides(self) -> bool {
        matches!(self, Earlier::None | Earlier::WouldShow)
    }
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
    /// A JSON document that we and the readers of the parked message can parse.
    Json(Box<RawValue>),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Original {
    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Original::Json(json) => json.get().as_bytes(),
            Original::Bytes(bytes) => bytes,
        }
    }
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
                let reason = match is_utf16(&body) {
                    true => "the body is not JSON in UTF-8: it is UTF-16".into(),
                    false => format!("the body is not JSON: {err}"),
                };
                return Err(Unreadable { reason, original: Original::Bytes(body) });
            }
        };
        let marked = body.starts_with(document::BYTE_ORDER_MARK);
        let body = raw(body)?;
        match Task::from_json(json) {
            Ok(task) => Ok(Task { body, marked, ..task }),
            Err(reason) => Err(Unreadable { reason, original: Original::Json(body) }),
        }
    }

    /// The process variables as in [`Task::variables`], but each in full.
    pub fn whole_variables(&self) -> Map<String, Value> {
        // It was read before, so this cannot fail.
        let mut json = document::read(self.body.get().as_bytes()).unwrap_or_default();
        members(&mut json, "variables").into_iter().map(|(name, value)| (name, unwrapped(value))).collect()
    }

    /// The message for a queue: as it came, without white space around it.
    pub fn message(&self) -> Vec<u8> {
        let mark = if self.marked { document::BYTE_ORDER_MARK } else { b"" };
        [mark, self.body.get().as_bytes()].concat()
    }

    /// A number that two messages share if they are the same.
    pub fn hash(&self) -> u64 {
        hash(self.body.get().as_bytes())
    }

    /// A task of which nothing but its id is known: enough to look it up.
    pub fn of_id(id: &str) -> Task {
        Task {
            id: id.to_owned(),
            topic: String::new(),
            system: String::new(),
            variables: Map::new(),
            extension_properties: Map::new(),
            process_properties: Map::new(),
            activity_name: None,
            process_definition_key: None,
            process_instance_id: None,
            timestamp: None,
            earlier: Earlier::None,
            note: Note::default(),
            claim: Claim::default(),
            body: RawValue::NULL.to_owned(),
            marked: false,
        }
    }

    /// Everything but `body`, `marked`, `earlier`, `note` and `claim`.
    fn from_json(mut json: Value) -> Result<Task, String> {
        if !json.is_object() {
            return Err("the body is JSON, but not an object".into());
        }
        let id = text(&json["task_id"]).ok_or("task_id is missing, null or blank")?;
        if id.len() > LONGEST_TASK_ID {
            return Err(format!("task_id has {} bytes; {LONGEST_TASK_ID} are the most", id.len()));
        }
        // Two ids that differ only in the unreadable character would count as one task.
        if id.contains(char::REPLACEMENT_CHARACTER) {
            return Err("task_id holds half a character (U+FFFD), so it is not known which task it is".into());
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
            system: text(&json["system"]).unwrap_or_default(),
            activity_name: text(&activity["name"]),
            process_definition_key: either(["process_definition_key", "processDefinitionKey"]).or(key_in_id),
            process_instance_id: either(["process_instance_id", "processInstanceId"]),
            timestamp: json["timestamp"].as_f64().map(seconds),
            variables: variables.into_iter().map(|(name, value)| (name, shortened(unwrapped(value)))).collect(),
            extension_properties: members(&mut metadata, "extensionProperties"),
            process_properties: members(&mut metadata, "processProperties"),
            earlier: Earlier::None,
            note: Note::default(),
            claim: Claim::default(),
            body: RawValue::NULL.to_owned(),
            marked: false,
        })
    }

    /// The task without its variables and its body, which may be large and are in its record.
    pub fn without_message(self) -> Task {
        Task { variables: Map::new(), body: RawValue::NULL.to_owned(), ..self }
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

/// The whole number that a text spells: in digits, or as others write a whole Double (`42.0`, `1.2345678E7`).
pub fn whole(text: &str) -> Option<u64> {
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<usize>().ok().filter(|exponent| *exponent < 20)?),
        None => (text, 0),
    };
    let (units, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(units) || !are_digits(fraction) {
        return None;
    }
    let fraction = format!("{fraction:0<exponent$}");
    let (whole, rest) = fraction.split_at(exponent);
    let is_whole = rest.bytes().all(|digit| digit == b'0');
    is_whole.then(|| format!("{units}{whole}").parse().ok()).flatten()
}

/// The bytes of a document that has already been read once, as its own text.
fn raw(body: Vec<u8>) -> Result<Box<RawValue>, Unreadable> {
    // Read before, so this cannot fail; if it ever does, the message is parked and not lost.
    serde_json::from_slice(document::without_mark(&body)).map_err(|err| {
        let reason = format!("the body is not JSON: {err}");
        Unreadable { reason, original: Original::Bytes(body) }
    })
}

/// Takes the members of an inner object out of its object.
fn members(json: &mut Value, name: &str) -> Map<String, Value> {
    match json.get_mut(name).map(Value::take) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// Does the byte order mark say UTF-16?
fn is_utf16(body: &[u8]) -> bool {
    body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff")
}

/// A variable without the `{"value": …, "type": …}` that one of the two forms puts around it. A text of type Json or
/// Object is parsed too, where Camunda has not done so.
fn unwrapped(variable: Value) -> Value {
    let mut typed = match variable {
        Value::Object(typed)
            if typed.contains_key("value")
                && typed.keys().all(|key| matches!(key.as_str(), "value" | "type" | "valueInfo" | "local")) =>
        {
            typed
        }
        plain => return plain,
    };
    let value = typed.remove("value").unwrap_or_default();
    let kind = typed.get("type").and_then(Value::as_str).unwrap_or_default();
    let holds_json = JSON_TYPES.iter().any(|json| kind.eq_ignore_ascii_case(json));
    match &value {
        Value::String(text) if holds_json && text.len() <= LONGEST_JSON => {
            // A text that is not JSON, such as a serialised Java object, stays a text.
            document::read(text.as_bytes()).unwrap_or(value)
        }
        _ => value,
    }
}

/// Cuts a text that is longer than any target takes: the body holds the whole of it already.
fn shortened(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > LONGEST_VARIABLE => {
            text[..text.floor_char_boundary(LONGEST_VARIABLE)].into()
        }
        short => short,
    }
}

/// Seconds since 1970 from a time that may be in milliseconds: above 10^11 it is in milliseconds.
pub fn seconds(timestamp: f64) -> f64 {
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

/// The time since 1970. A clock before 1970 gives 0, which harms nobody.
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The bytes of a message of our own.
fn encode(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("our own messages have text keys and no failing members")
}

#[cfg(test)]
mod tests;
