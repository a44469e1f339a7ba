//! Calls a Bitrix24 portal: one call plainly, many as batches, all within the portal's request budget.
//!
//! It knows URLs, encodings and the portal's way of answering. What an answer means for a task is [`super::handler`]'s and
//! [`super::tracker`]'s business, what an error means is [`super::errors`]'.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::Value;

use super::budget::Budget;
use super::errors::{ApiError, Kind};
use super::holds::Holds;
use super::{Settings, Webhook, batch};
use crate::backoff;
use crate::message::document;
use crate::stop::Stop;
use crate::systems::Batch;
use crate::systems::http::{Answer, Http, NoAnswer};
use crate::tls::Authorities;

/// The cloud cuts a request at 60 s; a batch is sized to stay far below, since its speed changes.
const BATCH_TIME: Duration = Duration::from_secs(15);
/// A portal that answers a request within this time is kept busy by few of them.
const FAST: Duration = Duration::from_millis(5);
/// How often a refusal for too many requests is waited out before the caller hears of it.
const REFUSALS: u32 = 5;
/// A turn that is no further away than this is waited for even while the worker stops.
const SOON: Duration = Duration::from_secs(5);

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
    holds: Holds,
    request_timeout: Duration,
    /// A turn was waited for ahead of its request. At most one: a turn that nobody uses must not be saved up.
    turn_taken: AtomicBool,
    /// The most calls in one request; fewer after an answer that was too large to be read.
    most_calls: AtomicUsize,
    /// How long the last request took, in microseconds.
    last_took_us: AtomicU64,
    /// How long one command of a method takes within a batch, of late. Shared by all threads that call the portal.
    pace: Mutex<HashMap<&'static str, Duration>>,
    stop: Stop,
}

impl Client {
    /// A client for the portal of these settings.
    pub fn new(settings: &Settings, authorities: &Authorities, stop: &Stop) -> Client {
        Client {
            http: Http::new(settings.request_timeout, authorities),
            webhook: settings.webhook.clone(),
            budget: Budget::new(settings.rate, settings.burst),
            holds: Holds::default(),
            request_timeout: settings.request_timeout,
            turn_taken: AtomicBool::new(false),
            most_calls: AtomicUsize::new(batch::LARGEST),
            last_took_us: AtomicU64::new(u64::MAX),
            pace: Mutex::new(HashMap::new()),
            stop: stop.clone(),
        }
    }

    /// Waits for the next turn at the portal unless one is there, which the next request then has, and says how many calls
    /// should travel in it.
    pub fn ready(&self) -> Batch {
        if !self.budget.limited() {
            let fast = Duration::from_micros(self.last_took_us.load(Ordering::Relaxed)) < FAST;
            return if fast { Batch::Gathered(batch::LARGEST) } else { Batch::Spread(batch::LARGEST) };
        }
        if !self.turn_taken.load(Ordering::Relaxed) && self.await_turn().is_ok() {
            self.turn_taken.store(true, Ordering::Relaxed);
        }
        Batch::Packed(batch::LARGEST)
    }

    /// Makes one call. The reply is the whole one: an object with `result` and mostly `time`.
    ///
    /// # Errors
    /// [`ApiError`], which says whether the call may have had an effect.
    pub fn call(&self, call: &Call) -> Result<Value, ApiError> {
        self.may_call(call.method)?;
        let body = serde_json::to_vec(call).expect("parameters are JSON values");
        self.learn(call.method, self.request(call.method, &body, std::slice::from_ref(call)))
    }

    /// Makes many calls of one method that do not depend on each other; one result for each, in order. When a request gets
    /// no usable answer, the rest is not sent: the portal is in trouble.
    pub fn call_all(&self, calls: &[Call]) -> Vec<Result<Value, ApiError>> {
        let all = calls.len();
        let mut results = Vec::with_capacity(all);
        while results.len() < all {
            let rest = &calls[results.len()..];
            let commands = batch::commands(rest, self.batch_size(rest[0].method));
            let calls = &rest[..commands.len()];
            match self.may_call(rest[0].method).and_then(|()| self.batch(calls, &commands)) {
                Ok(replies) => results.extend(replies),
                // None of the commands has run, and which of them is to blame shows when each goes alone.
                Err(err) if err.kind == Kind::Refused => results.extend(calls.iter().map(|call| self.call(call))),
                Err(err) => {
                    results.extend(calls.iter().map(|_| Err(err.clone())));
                    let not_sent = ApiError::new(Kind::Unreachable, format!("not sent, since another failed: {err}"));
                    results.resize_with(all, || Err(not_sent.clone()));
                }
            }
        }
        results
    }

    /// A single call goes plainly: it is the fastest way, and says the most when it fails.
    fn batch(&self, calls: &[Call], commands: &[String]) -> Result<Vec<Result<Value, ApiError>>, ApiError> {
        if let [call] = calls {
            return Ok(vec![self.call(call)]);
        }
        let mut reply = self.learn(calls[0].method, self.request("batch", &batch::body(commands), calls))?;
        let mut results = reply["result"].take();
        let result = |(index, call): (usize, &Call)| {
            let result = batch::result(&mut results, index).map_err(|err| err.of(call.method));
            self.learn(call.method, result)
        };
        Ok(calls.iter().enumerate().map(result).collect())
    }

    fn may_call(&self, method: &'static str) -> Result<(), ApiError> {
        match self.holds.rest(method, Instant::now()) {
            None => Ok(()),
            Some(rest) => {
                let text =
                    format!("{method}: not called for {rest:.0?}: it has used up its running time at the portal");
                Err(ApiError::new(Kind::MethodHeld, text).method_held(rest))
            }
        }
    }

    fn learn(&self, method: &'static str, result: Result<Value, ApiError>) -> Result<Value, ApiError> {
        let now = Instant::now();
        self.holds.note(method, &result, now);
        result.map_err(|err| err.method_held(self.holds.rest(method, now).unwrap_or_default()))
    }

    /// How many calls of this method one request should carry, going by how long the last ones took.
    fn batch_size(&self, method: &'static str) -> usize {
        let pace = self.lock_pace().get(method).copied();
        let in_time = batch::size(pace, BATCH_TIME.min(self.request_timeout / 2));
        in_time.min(self.most_calls.load(Ordering::Relaxed))
    }

    /// A request with these calls has taken so long. One that ended without an answer has shown that they are too many; a
    /// refusal shows nothing, be it of the whole or of each command.
    fn note_pace(&self, calls: &[Call], took: Duration, result: &Result<Value, ApiError>) {
        let each = took / u32::try_from(calls.len()).unwrap_or(u32::MAX);
        match result {
            Ok(reply) if calls.len() == 1 || batch::any_ran(&reply["result"]) => {
                self.last_took_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
                self.lock_pace().insert(calls[0].method, each);
            }
            Err(err) if err.kind == Kind::Unknown => {
                let mut paces = self.lock_pace();
                let pace = paces.entry(calls[0].method).or_default();
                *pace = each.max(*pace);
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn lock_pace(&self) -> MutexGuard<'_, HashMap<&'static str, Duration>> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one HTTP request when it is its turn. A refusal for too many requests had no effect: it is waited out here.
    fn request(&self, method: &str, body: &[u8], calls: &[Call]) -> Result<Value, ApiError> {
        let url = self.webhook.url(method);
        for refusal in 1.. {
            if !self.turn_taken.swap(false, Ordering::Relaxed) {
                self.await_turn()?;
            }
            let started = Instant::now();
            let answer = self.http.post_json(&url, body);
            let took = started.elapsed();
            let result = match answer {
                Ok(Answer { status, body }) => reply(status, &self.webhook.hide_token(body)),
                Err(NoAnswer::NotSent(why)) => Err(ApiError::new(Kind::Unreachable, why)),
                Err(NoAnswer::Unknown(why)) => Err(ApiError::new(Kind::Unknown, why)),
                Err(NoAnswer::TooLarge(why)) => {
                    // One call cannot be made smaller.
                    if calls.len() > 1 {
                        self.most_calls.fetch_min(calls.len() / 2, Ordering::Relaxed);
                    }
                    Err(ApiError::new(Kind::Unknown, why))
                }
            };
            match result {
                Err(err) if err.kind == Kind::TooFast && refusal <= REFUSALS && !self.stop.raised() => {
                    let pause = backoff::delay(refusal, Duration::from_secs(1), Duration::from_secs(8));
                    log::warn!("{method}: {err}; all requests to the portal wait {pause:?}");
                    self.budget.refused(Instant::now(), pause);
                }
                result => {
                    self.note_pace(calls, took, &result);
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
fn reply(status: u16, body: &[u8]) -> Result<Value, ApiError> {
    match document::read(body) {
        Ok(reply) if status == 200 && reply.get("error").is_none() && reply.get("result").is_some() => Ok(reply),
        Ok(reply) => Err(ApiError::from_reply(status, &reply)),
        Err(_) => Err(ApiError::from_page(status, body)),
    }
}

#[cfg(test)]
mod tests;
