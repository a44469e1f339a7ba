//! A message of the error queue: what it says about itself, whoever wrote it.
//!
//! Every message is accepted. Our worker writes the form of [`Parked`](crate::message::Parked), or parks a body that is
//! too large to be wrapped as it is. Other programs use other members. A message that is no parked one is an entry,
//! too. It knows no queue.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Local, NaiveDateTime, SecondsFormat, TimeZone as _, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::message::{self, Cause, Record, Task, document, fingerprint, given, parked, text};
use crate::rabbitmq::Headers;

/// A message of the error queue.
#[derive(Debug)]
pub struct ParkedEntry {
    /// The id of the task in it; without one, the [`fingerprint`] of what was parked, as in the log. Two messages may
    /// share it: then the same one was parked twice.
    pub id: String,
    /// What it says about itself.
    pub about: About,
    /// The task in it, if it names one.
    pub task: Option<TaskOf>,
    /// What was parked, byte for byte; `None` when this is no parked message.
    pub original: Option<Vec<u8>>,
    /// The whole body.
    pub body: Vec<u8>,
    /// The headers.
    pub headers: Headers,
}

/// The external task in Camunda that a message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskOf {
    /// Its id.
    pub id: String,
    /// Its title, if the message gives one.
    pub title: Option<String>,
    /// The id of its process instance.
    pub process_id: Option<String>,
}

/// What a parked message says about itself; `None` for what it does not say.
#[derive(Debug)]
pub struct About {
    /// When it was parked.
    pub parked_at: Option<DateTime<Utc>>,
    /// Why, as one word.
    pub error_type: Option<String>,
    /// Why, as a sentence.
    pub error_message: Option<String>,
    /// The system whose lane parked it.
    pub system: Option<String>,
    /// The queue it came from.
    pub source_queue: Option<String>,
    /// How many attempts had failed.
    pub attempts: Option<String>,
    /// What somebody should do.
    pub suggested_action: Option<String>,
}

impl ParkedEntry {
    /// Reads a message. `sent` is its timestamp, in seconds since 1970, if it has one.
    pub fn read(body: Vec<u8>, headers: Headers, sent: Option<u64>) -> ParkedEntry {
        let (original, about) = match raw_parked(&headers, sent) {
            Some(about) => (Some(body.clone()), about),
            None => {
                let members: Members = document::members(&body).unwrap_or_default();
                (parked::original(&members), About::of(&members, sent))
            }
        };
        let task = original.as_deref().and_then(task_of);
        let nameless = || fingerprint(original.as_deref().unwrap_or(&body));
        let id = task.as_ref().map_or_else(nameless, |task| task.id.clone());
        ParkedEntry { id, about, task, original, body, headers }
    }

    /// Tells this message from another one, also from a later one with the same id. It stays the same while the message
    /// is parked, whoever looks at it.
    pub fn etag(&self) -> String {
        // What a queue adds to the headers does not count.
        let own = ["error_type", "error_message", "system", "source_queue"].map(|name| self.headers.text(name));
        let own = own.into_iter().flat_map(|text| text.unwrap_or_default().bytes().chain([0]));
        fingerprint(&self.body.iter().copied().chain([0]).chain(own).collect::<Vec<u8>>())
    }

    /// How many attempts had failed, if it says a number.
    pub fn attempts(&self) -> Option<u64> {
        self.about.attempts.as_deref()?.parse().ok()
    }

    /// What somebody should do: as the message says, else as its cause does.
    pub fn advice(&self) -> Option<String> {
        let of_cause = || Some(Cause::named(self.about.error_type.as_deref()?)?.suggested_action("replay it"));
        self.about.suggested_action.clone().or_else(of_cause)
    }

    /// The texts in which a person may look for it.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let task = self.task.iter().flat_map(|task| [task.title.as_deref(), task.process_id.as_deref()]);
        let about = [self.about.error_type.as_deref(), self.about.error_message.as_deref()];
        task.chain(about).flatten().chain([self.id.as_str()])
    }

    /// The entry for scripts: one JSON object on one line, without the message itself.
    pub fn summary(&self) -> String {
        encode(&self.outline())
    }

    /// The same with the whole message: `body` as JSON, or `body_base64`, and the headers that are texts.
    pub fn whole(&self) -> String {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            outline: Outline<'a>,
            headers: BTreeMap<&'a str, &'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            body: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            body_base64: Option<String>,
        }
        let body: Option<&RawValue> = serde_json::from_slice(&self.body).ok();
        let body_base64 = body.is_none().then(|| STANDARD.encode(&self.body));
        let whole =
            encode(&Whole { outline: self.outline(), headers: self.headers.texts().collect(), body, body_base64 });
        // In JSON no text contains a line break.
        whole.replace(['\n', '\r'], " ")
    }

    fn outline(&self) -> Outline<'_> {
        let About { error_type, error_message, system, source_queue, .. } = &self.about;
        Outline {
            id: &self.id,
            parked_at: self.about.parked_at.map(iso),
            error_type: error_type.as_deref(),
            error_message: error_message.as_deref(),
            system: system.as_deref(),
            source_queue: source_queue.as_deref(),
            attempts: self.attempts(),
            bytes: self.body.len(),
            is_parked_message: self.original.is_some(),
        }
    }
}

#[derive(Serialize)]
struct Outline<'a> {
    id: &'a str,
    parked_at: Option<String>,
    error_type: Option<&'a str>,
    error_message: Option<&'a str>,
    system: Option<&'a str>,
    source_queue: Option<&'a str>,
    attempts: Option<u64>,
    bytes: usize,
    is_parked_message: bool,
}

fn encode(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("texts, numbers and JSON can be written as JSON")
}

/// ISO 8601 in UTC, for scripts.
pub fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

type Members = BTreeMap<String, Box<RawValue>>;

impl About {
    fn of(members: &Members, sent: Option<u64>) -> About {
        let member = |name: &str| text(&document::read(members.get(name)?.get().as_bytes()).ok()?);
        About {
            parked_at: member("timestamp").as_deref().and_then(moment).or_else(|| sent.and_then(seconds)),
            error_type: member("error_type"),
            error_message: member("error_message"),
            system: member("system"),
            source_queue: member("source_queue"),
            attempts: member("attempts"),
            suggested_action: member("suggested_action"),
        }
    }
}

/// A body too large to be wrapped was parked as it is, and its headers say why. They count, not the body: anybody may
/// have written that.
fn raw_parked(headers: &Headers, sent: Option<u64>) -> Option<About> {
    let header = |name: &str| headers.text(name).map(str::to_owned);
    let (error_type, source_queue) = (header("error_type")?, header("source_queue")?);
    Some(About {
        parked_at: sent.and_then(seconds),
        error_type: Some(error_type),
        error_message: header("error_message").or(Some("too large to be wrapped, parked as it came".into())),
        system: header("system"),
        source_queue: Some(source_queue),
        attempts: None,
        suggested_action: None,
    })
}

/// The task in a message, or in a record of the sent queue.
fn task_of(original: &[u8]) -> Option<TaskOf> {
    let task = Task::parse(original.to_vec()).or_else(|_| Record::parse(original.to_vec()).map(|record| record.task));
    let task = task.ok()?;
    let title = given::texts::title(&task, &mut Vec::new()).map(|title| title.value);
    Some(TaskOf { title, process_id: task.process_instance_id, id: task.id })
}

/// A time in any form in use: a number of milliseconds or seconds, ISO 8601 with an offset or without.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(number) = text.parse::<f64>() {
        return DateTime::from_timestamp_millis((message::seconds(number) * 1000.0).round() as i64);
    }
    let with_offset = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    with_offset.or_else(|| {
        let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
        Local.from_local_datetime(&naive).earliest().map(|time| time.to_utc())
    })
}

fn seconds(since_1970: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::try_from(since_1970).ok()?, 0)
}

#[cfg(test)]
mod tests;
