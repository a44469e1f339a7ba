//! What can be read: each function answers one route with what the cores say. It changes nothing.

use serde::Serialize;
use serde_json::json;

use super::access::Access;
use super::api::{self, Call};
use super::events::Excerpt;
use super::problem::{Problem, WRONG_QUERY};
use super::tasks::{self, Filter, TaskState};
use super::{actions, health, lanes, metrics, query, status, time};
use crate::http::server::Page;
use crate::stats::prometheus;

const TEXT: &str = "text/plain; charset=utf-8";
/// In seconds; nothing is older.
const LONGEST_AGE: u64 = 100 * 366 * 86_400;

const OPENAPI: &str = include_str!("openapi.json");

/// The process is there and answers.
pub fn livez(_: &Call<'_>) -> Result<Page, Problem> {
    Ok(Page::new(200, TEXT, "alive\n"))
}

/// Whether every lane works. Why not is told to those who may read.
pub fn readyz(call: &Call<'_>) -> Result<Page, Problem> {
    let (verbose, readiness) = (call.query.flag("verbose")?, health::readiness(call.hub));
    let status = if readiness.ready { 200 } else { 503 };
    let text = match call.caller.access() >= Access::Read {
        true => readiness.text(verbose),
        false => readiness.head(),
    };
    Ok(Page::new(status, TEXT, text))
}

/// The metrics for Prometheus.
pub fn metrics(call: &Call<'_>) -> Result<Page, Problem> {
    Ok(Page::new(200, prometheus::CONTENT_TYPE, metrics::text(call.hub)))
}

/// The whole worker, for whoever polls it.
pub fn status(call: &Call<'_>) -> Result<Page, Problem> {
    let access = if call.caller.access() == Access::Control { "control" } else { "read" };
    let replay = call.hub.replays.last().map(|replay| json!(replay));
    let besides = status::Besides { replay, reconciliation: call.hub.reconciliations.newest() };
    Ok(call.json_with_etag(&json!(status::now(call.hub, access, besides))))
}

/// Every lane.
pub fn lanes(call: &Call<'_>) -> Result<Page, Problem> {
    Ok(api::json(200, &json!({ "snapshot_at": time::now(), "lanes": lanes::all(call.hub) })))
}

/// One lane.
pub fn lane(call: &Call<'_>) -> Result<Page, Problem> {
    let name = actions::lane(call)?.name;
    Ok(api::json(200, &lanes::one(call.hub, name)))
}

/// The tasks that the lanes know of.
pub fn tasks(call: &Call<'_>) -> Result<Page, Problem> {
    let query = &call.query;
    let state = query.text("state").map(task_state).transpose()?;
    let text = |name| query.some_text(name).map(str::to_owned);
    let older_than = query.number("older_than", 0..=LONGEST_AGE)?;
    let filter = Filter { state, system: text("system"), older_than, q: text("q") };
    let (cursor, limit) = (query.cursor()?, query.limit()?);
    let known = match state {
        Some(TaskState::Parked) => tasks::parked(call.hub, cursor.is_none())?,
        _ => tasks::known(call.hub, &filter),
    };
    let mut page = tasks::page(known, &filter, cursor.as_deref(), limit);
    page.next_cursor = page.next_cursor.as_deref().map(query::cursor);
    Ok(api::json(200, &page))
}

fn task_state(name: &str) -> Result<TaskState, Problem> {
    let all = "in_hand, retrying, open, unanswered, parked";
    TaskState::named(name).ok_or_else(|| Problem::new(WRONG_QUERY, format!("state is {name:?}, none of {all}")))
}

/// The description of this API.
pub fn openapi(_: &Call<'_>) -> Result<Page, Problem> {
    Ok(Page::new(200, "application/json", OPENAPI))
}

/// What happened lately.
pub fn events(call: &Call<'_>) -> Result<Page, Problem> {
    #[derive(Serialize)]
    struct Shown {
        snapshot_at: String,
        #[serde(flatten)]
        excerpt: Excerpt,
    }
    let excerpt = call.hub.events.after(call.query.number("after", 0..=u64::MAX)?, call.query.limit()?);
    Ok(api::json(200, &Shown { snapshot_at: time::now(), excerpt }))
}
