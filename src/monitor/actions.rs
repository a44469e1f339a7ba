//! What an operator may do: each function carries one route out, and leaves an event with the name of the token.

use std::time::Duration;

use log::LevelFilter;
use serde::Deserialize;
use serde_json::json;

use super::api::{self, Call};
use super::hub::LaneHandle;
use super::problem::{Problem, UNKNOWN_SYSTEM, WRONG_BODY};
use super::query::{body, no_body};
use super::time;
use crate::http::server::Page;
use crate::logging;

/// In seconds.
const USUAL_LEVEL_TIME: u64 = 600;
const LONGEST_LEVEL_TIME: u64 = 86_400;

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

/// Starts a sweep of a lane now.
pub fn sweep(call: &Call<'_>) -> Result<Page, Problem> {
    let lane = lane(call)?;
    no_body(call.request)?;
    lane.control.sweep_now();
    call.hub.events.operator(call.caller.name(), &format!("{}: a sweep is asked for", lane.name));
    Ok(api::json(202, &json!({ "system": lane.name, "asked": true })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    level: Named,
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
