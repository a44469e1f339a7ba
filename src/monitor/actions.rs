//! What an operator may do: each function carries one route out, and leaves an event with the name of the token.

use std::time::Duration;

use log::LevelFilter;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::{self, Call};
use super::hub::LaneHandle;
use super::problem::{LANE_IS_BUSY, Problem, UNKNOWN_SYSTEM, WRONG_BODY};
use super::query::{body, no_body, whole};
use super::{lanes, time};
use crate::http::server::Page;
use crate::lane::control::{Answer, Busy};
use crate::logging;

/// In seconds.
const USUAL_LEVEL_TIME: u64 = 600;
const LONGEST_LEVEL_TIME: u64 = 86_400;
/// A week, in seconds.
const LONGEST_PAUSE: u64 = 604_800;
/// In characters.
const LONGEST_REASON: usize = 200;
/// A lane that is opening a session carries commands out afterwards.
const PATIENCE: Duration = Duration::from_secs(3);
/// When an order comes true that has not come true within that time.
const LATER: &str = "the lane has done what it is doing, such as opening a session with RabbitMQ";

/// The lane that the path names.
///
/// # Errors
/// [`UNKNOWN_SYSTEM`]
pub fn lane<'c>(call: &'c Call<'_>) -> Result<&'c LaneHandle, Problem> {
    let system = call.path.first().map(String::as_str).unwrap_or_default();
    call.hub.lane(system).ok_or_else(|| {
        let on = call.hub.lanes.iter().map(|lane| lane.name).collect::<Vec<_>>().join(", ");
        Problem::new(UNKNOWN_SYSTEM, format!("{system:?} is not on here; there are: {on}"))
    })
}

/// Starts a sweep of a lane now. It is done when the lane's `last_sweep_at` has changed.
pub fn sweep(call: &Call<'_>) -> Result<Page, Problem> {
    let lane = lane(call)?;
    no_body(call.request)?;
    let _ = lane.control.sweep_now();
    call.hub.events.operator(call.caller.name(), &format!("{}: a sweep is asked for", lane.name));
    Ok(api::json(202, &json!({ "system": lane.name, "asked": true })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    state: Wanted,
    reason: Option<String>,
    #[serde(default, deserialize_with = "whole")]
    for_seconds: Option<u64>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Paused,
    Running,
}

/// Pauses or resumes a lane, and answers when the lane has carried it out, or that it will.
pub fn set_state(call: &Call<'_>) -> Result<Page, Problem> {
    let (lane, order) = (lane(call)?, body::<Order>(call.request)?);
    let (by, state) = (call.caller.name(), order.state);
    let (asked, done) = order.give(lane, by)?;
    let carried_out = asked.within(PATIENCE).is_ok();
    call.hub.forget_snapshots();
    let how = if carried_out { "" } else { "asked for, and comes later: " };
    call.hub.events.operator(by, &format!("{}: {how}{done}", lane.name));
    Ok(match carried_out {
        true => api::json(200, &lanes::one(call.hub, lane.name)),
        false => api::json(202, &json!({ "system": lane.name, "asked": true, "state": state, "comes_when": LATER })),
    })
}

impl Order {
    /// Gives it to the lane. Returns what is done by it, in words.
    fn give(self, lane: &LaneHandle, by: &str) -> Result<(Answer<()>, String), Problem> {
        let wrong = |detail: String| Problem::new(WRONG_BODY, detail);
        let busy = |busy: Busy| Problem::new(LANE_IS_BUSY, busy.to_string());
        let (reason, for_seconds) = match self {
            Order { state: Wanted::Running, reason: None, for_seconds: None } => {
                return Ok((lane.control.resume().map_err(busy)?, "resumed".into()));
            }
            Order { state: Wanted::Running, .. } => {
                return Err(wrong("reason and for_seconds go with paused only".into()));
            }
            Order { state: Wanted::Paused, reason, for_seconds } => (reason.unwrap_or_default(), for_seconds),
        };
        let reason = reason.trim();
        if !(1..=LONGEST_REASON).contains(&reason.chars().count()) {
            return Err(wrong(format!("give a reason of 1 to {LONGEST_REASON} characters")));
        }
        if for_seconds.is_some_and(|seconds| !(1..=LONGEST_PAUSE).contains(&seconds)) {
            return Err(wrong(format!("for_seconds is not 1 to {LONGEST_PAUSE}")));
        }
        let asked = lane.control.pause(by, reason, for_seconds.map(Duration::from_secs)).map_err(busy)?;
        let time = for_seconds.map_or_else(|| "until it is resumed".into(), |seconds| format!("for {seconds} s"));
        Ok((asked, format!("paused {time}: {reason}")))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    level: Named,
    #[serde(default, deserialize_with = "whole")]
    for_seconds: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Named {
    Debug,
    Info,
    Warning,
    Error,
}

/// Another log level for a time.
pub fn log_level(call: &Call<'_>) -> Result<Page, Problem> {
    let Level { level, for_seconds } = body(call.request)?;
    let seconds = for_seconds.unwrap_or(USUAL_LEVEL_TIME);
    if !(1..=LONGEST_LEVEL_TIME).contains(&seconds) {
        return Err(Problem::new(WRONG_BODY, format!("for_seconds is {seconds}, not 1 to {LONGEST_LEVEL_TIME}")));
    }
    let (level, name) = match level {
        Named::Debug => (LevelFilter::Debug, "DEBUG"),
        Named::Info => (LevelFilter::Info, "INFO"),
        Named::Warning => (LevelFilter::Warn, "WARNING"),
        Named::Error => (LevelFilter::Error, "ERROR"),
    };
    logging::change_level(level, Duration::from_secs(seconds));
    call.hub.events.operator(call.caller.name(), &format!("the log level is {name} for {seconds} s"));
    Ok(api::json(200, &json!({ "level": name, "until": time::in_seconds(seconds) })))
}
