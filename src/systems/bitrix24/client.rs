//! Calls a Bitrix24 portal: one call plainly, many as batches, all within the portal's request budget.
//!
//! It knows URLs, encodings and the portal's way of answering. What an answer means for a task is [`super::handler`]'s and
//! [`super::tracker`]'s business, what an error means is [`super::errors`]'.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::{Map, Value};

use super::budget::Budget;
use super::errors::{ApiError, Kind};
use super::{Settings, Webhook};
use crate::backoff;
use crate::stop::Stop;
use crate::systems::Batch;
use crate::systems::http::{Answer, Http, NoAnswer};

/// The most commands that a portal takes in one batch.
const LARGEST_BATCH: usize = 50;
/// The most that the commands of one batch may have together, in bytes; servers refuse bodies over a few megabytes.
const LARGEST_COMMANDS: usize = 1 << 20;
/// Commands in the first batch of a method, while nothing is known of its speed.
const FIRST_BATCH: usize = 10;
/// The cloud cuts a request at 60 s; a batch is sized to stay far below, since its speed changes.
const BATCH_TIME: Duration = Duration::from_secs(15);
/// How often a refusal for too many requests is waited out before the caller hears of it.
const REFUSALS: u32 = 5;
/// A turn that is no further away than this is waited for even while the worker stops.
const SOON: Duration = Duration::from_secs(5);
/// What may stand in a command as it is: the brackets of nested names need no encoding.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A method and its parameters, in order: the old `task.*` methods take them by position.
#[derive(Clone, Debug)]
pub struct Call {
    /// Such as `tasks.task.add`.
    pub method: &'static str,
    /// Names and values.
    pub params: Vec<(&'static str, Value)>,
}

impl Serialize for Call {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.params.len()))?;
        for (name, value) in &self.params {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A portal, seen through one webhook.
pub struct Client {
    http: Http,
    webhook: Webhook,
    budget: Budget,
    request_timeout: Duration,
    /// A turn was waited for ahead of its request. At most one: a turn that nobody uses must not be saved up.
    turn_taken: AtomicBool,
    /// How long one command of a method takes within a batch, of late. Shared by all threads that call the portal.
    pace: Mutex<HashMap<&'static str, Duration>>,
    stop: Stop,
}

impl Client {
    /// A client for the portal of these settings.
    pub fn new(settings: &Settings, stop: &Stop) -> Client {
        Client {
            http: Http::new(settings.request_timeout),
            webhook: settings.webhook.clone(),
            budget: Budget::new(settings.rate, settings.burst),
            request_timeout: settings.request_timeout,
            turn_taken: AtomicBool::new(false),
            pace: Mutex::new(HashMap::new()),
            stop: stop.clone(),
        }
    }

    /// Waits for the next turn at the portal, which the next request then has, and says how many calls should travel in it.
    pub fn ready(&self) -> Batch {
        if !self.budget.limited() {
            return Batch::Spread(LARGEST_BATCH);
        }
        if self.await_turn().is_ok() {
            self.turn_taken.store(true, Ordering::Relaxed);
        }
        Batch::Packed(LARGEST_BATCH)
    }

    /// Makes one call. The reply is the whole one: an object with `result` and mostly `time`.
    ///
    /// # Errors
    /// [`ApiError`], which says whether the call may have had an effect.
    pub fn call(&self, call: &Call) -> Result<Value, ApiError> {
        let body = serde_json::to_vec(call).expect("parameters are JSON values");
        self.request(call.method, &body)
    }

    /// Makes many calls that do not depend on each other; one result for each, in order.
    pub fn call_all(&self, calls: &[Call]) -> Vec<Result<Value, ApiError>> {
        let mut results = Vec::with_capacity(calls.len());
        while let Some(next) = calls.get(results.len()) {
            let rest = &calls[results.len()..];
            let commands = self.next_batch(next.method, rest);
            match commands.len() {
                1 => results.push(self.call(next)),
                _ => results.extend(self.batch(next.method, &commands)),
            }
        }
        results
    }

    /// As many of the calls, as commands, as the method's pace allows in one batch; at least one.
    fn next_batch(&self, method: &'static str, calls: &[Call]) -> Vec<String> {
        let pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner).get(method).copied();
        let in_time = pace.map_or(FIRST_BATCH, |pace| {
            let time = BATCH_TIME.min(self.request_timeout / 2);
            (time.as_secs_f64() / pace.as_secs_f64().max(1e-6)) as usize
        });
        let mut bytes = 0;
        let commands = calls.iter().take(in_time.clamp(1, LARGEST_BATCH)).map(command);
        commands
            .enumerate()
            .take_while(|(index, command)| {
                bytes += command.len();
                *index == 0 || bytes <= LARGEST_COMMANDS
            })
            .map(|(_, command)| command)
            .collect()
    }

    fn batch(&self, method: &'static str, commands: &[String]) -> Vec<Result<Value, ApiError>> {
        // Keys start with a letter: with numbers the reply's maps become lists and nothing can be told apart.
        let cmd: Map<String, Value> =
            commands.iter().enumerate().map(|(index, command)| (key(index), command.as_str().into())).collect();
        let body = serde_json::json!({"halt": 0, "cmd": cmd}).to_string();
        let started = Instant::now();
        let reply = match self.request("batch", body.as_bytes()) {
            Ok(reply) => reply,
            Err(err) => return commands.iter().map(|_| Err(err.clone())).collect(),
        };
        let each = started.elapsed() / u32::try_from(commands.len()).unwrap_or(u32::MAX);
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).insert(method, each);
        (0..commands.len()).map(|index| command_result(&reply["result"], &key(index))).collect()
    }

    /// Sends one HTTP request when it is its turn. A refusal for too many requests had no effect: it is waited out here.
    fn request(&self, method: &str, body: &[u8]) -> Result<Value, ApiError> {
        let url = self.webhook.url(method);
        for refusal in 1.. {
            if !self.turn_taken.swap(false, Ordering::Relaxed) {
                self.await_turn()?;
            }
            let result = match self.http.post_json(&url, body) {
                Ok(answer) => reply(&answer),
                Err(NoAnswer::NotSent(why)) => Err(ApiError::new(Kind::Unreachable, why)),
                Err(NoAnswer::Unknown(why)) => Err(ApiError::new(Kind::Unknown, why)),
            };
            match result {
                Err(err) if err.kind == Kind::TooFast && refusal <= REFUSALS && !self.stop.raised() => {
                    let pause = backoff::delay(refusal, Duration::from_secs(1), Duration::from_secs(8));
                    log::warn!("{method}: {err}; all requests to the portal wait {pause:?}");
                    self.budget.refused(Instant::now(), pause);
                }
                result => {
                    log::debug!("{method}: {}", if result.is_ok() { "answered" } else { "failed" });
                    return result.map_err(|err| err.of(method));
                }
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Waits until the budget allows the next request. When the worker stops, what is in hand goes on, unless its turn
    /// is too far away.
    fn await_turn(&self) -> Result<(), ApiError> {
        let pause = self.budget.take(Instant::now());
        let turn = Instant::now() + pause;
        if pause.is_zero() || !self.stop.pause(pause) {
            return Ok(());
        }
        let rest = turn.saturating_duration_since(Instant::now());
        if rest > SOON {
            return Err(ApiError::new(Kind::Unreachable, "not sent: the worker stops".into()));
        }
        let _ = crossbeam_channel::after(rest).recv();
        Ok(())
    }
}

/// The reply in an answer, or the error that it is.
fn reply(answer: &Answer) -> Result<Value, ApiError> {
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(reply) if answer.status == 200 && reply.get("error").is_none() && reply.get("result").is_some() => Ok(reply),
        Ok(reply) => Err(ApiError::from_reply(answer.status, &reply)),
        Err(_) => Err(ApiError::from_page(answer.status, &answer.body)),
    }
}

/// What a batch's result says about one command, in the form of a plain reply.
fn command_result(batch: &Value, key: &str) -> Result<Value, ApiError> {
    // An empty map comes as an empty list, which has no members either.
    if let Some(error) = batch["result_error"].get(key) {
        return Err(ApiError::from_command(error));
    }
    let Some(result) = batch["result"].get(key) else {
        return Err(ApiError::new(Kind::Unknown, "the batch's reply does not mention this command".into()));
    };
    let mut reply = Map::from_iter([("result".to_owned(), result.clone())]);
    if let Some(time) = batch["result_time"].get(key) {
        reply.insert("time".into(), time.clone());
    }
    Ok(Value::Object(reply))
}

fn key(index: usize) -> String {
    format!("c{index}")
}

/// The call as a batch command: a query string whose values are encoded once. Null cannot be written and is left out.
fn command(call: &Call) -> String {
    let mut command = call.method.to_owned();
    let mut separator = '?';
    for (name, value) in &call.params {
        append(&mut command, &mut separator, name, value);
    }
    command
}

fn append(command: &mut String, separator: &mut char, name: &str, value: &Value) {
    let text = match value {
        Value::Null => return,
        Value::Object(members) => {
            let encoded = |member: &str| format!("{name}[{}]", utf8_percent_encode(member, ENCODED));
            return members.iter().for_each(|(member, value)| append(command, separator, &encoded(member), value));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            return items.for_each(|(index, item)| append(command, separator, &format!("{name}[{index}]"), item));
        }
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
    };
    command.push(*separator);
    *separator = '&';
    command.push_str(name);
    command.push('=');
    command.extend(utf8_percent_encode(&text, ENCODED));
}

#[cfg(test)]
mod tests;
