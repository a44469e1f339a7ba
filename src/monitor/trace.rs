//! Where one task is, asked through the API: the worker's memory is read here, the rest is asked as [`crate::trace`] does
//! it for everybody.
//!
//! It holds up no lane: a lane that is busy is not waited for, and all sources together end within their time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::api::{Call, json};
use super::hub::{Hub, LaneHandle};
use super::problem::{Problem, TOO_MANY_TRACES};
use super::time;
use crate::camunda::Engine;
use crate::http::server::Page;
use crate::lane::tasks::{Tracked, UnderWay};
use crate::stats::condition::Obstacle;
use crate::stop;
use crate::systems::table;
use crate::trace::facts::{Held, HeldState, Lane};
use crate::trace::{Event, Remembered, Sources, Target, Trace, trace};

/// For all sources together.
const TIME: Duration = Duration::from_secs(15);
/// A trace asks targets and may browse queues; each has a few threads.
const MOST_AT_ONCE: usize = 4;

/// Answers where the task of the path is.
///
/// # Errors
/// [`TOO_MANY_TRACES`]: others ask as well.
pub fn task(call: &Call<'_>) -> Result<Page, Problem> {
    let browse = call.query.flag("browse")?;
    let id = call.path.first().map(String::as_str).unwrap_or_default();
    let _turn = Turn::take().ok_or_else(|| {
        Problem::new(TOO_MANY_TRACES, format!("{MOST_AT_ONCE} traces are under way; ask again in a moment"))
    })?;
    Ok(json(200, &of(call.hub, id, browse)))
}

/// Where the task with this id is.
pub fn of(hub: &Arc<Hub>, task_id: &str, browse: bool) -> Trace {
    let config = &hub.config;
    // A browse that takes too long ends with this function.
    let (_stopper, stop) = stop::signal();
    let target = |lane: &LaneHandle| Target { system: lane.name.to_owned(), handler: Arc::clone(&lane.handler) };
    let camunda = config.camunda.as_ref().map(|camunda| Arc::new(Engine::new(&camunda.within(TIME), &config.https)));
    let sources = Sources {
        config: config.clone(),
        targets: hub.lanes.iter().map(target).collect(),
        routes: table::routes(|name| hub.lane(name).is_some()),
        camunda,
        browse,
        time: TIME,
        stop,
    };
    let found = trace(task_id, &sources, &|| remembered(hub, task_id));
    let events = hub.events.naming(task_id).into_iter();
    Trace { events: events.map(|event| Event { at: time::text(event.at), text: event.text }).collect(), ..found }
}

/// One of the traces that may be under way.
struct Turn;

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

impl Turn {
    fn take() -> Option<Turn> {
        let free = |count: usize| (count < MOST_AT_ONCE).then_some(count + 1);
        UNDER_WAY.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the lanes have of the task. One that is busy may have it.
fn remembered(hub: &Hub, task_id: &str) -> Remembered {
    let (mut held, mut complete) = (Vec::new(), true);
    for (lane, tasks) in hub.lanes.iter().zip(hub.tasks()) {
        complete &= tasks.is_some();
        let under_way = tasks.unwrap_or_default().into_iter().filter(|task| task.id == task_id);
        held.extend(under_way.map(|task| in_hand(lane, task)));
        let swept = lane.control.swept();
        complete &= swept.is_complete && swept.number > 0;
        let tracked = swept.open.iter().chain(&swept.unanswered).filter(|task| task.id == task_id);
        held.extend(tracked.map(|task| followed(lane, task)));
    }
    Remembered::Looked { held, complete }
}

fn in_hand(lane: &LaneHandle, task: UnderWay) -> Held {
    let until = |at: Instant| at.saturating_duration_since(Instant::now()).as_secs();
    Held {
        system: lane.name.to_owned(),
        state: if task.is_retrying { HeldState::Retrying } else { HeldState::InHand },
        since: task.since.and_then(|since| ago(since.elapsed())),
        attempts: task.attempts,
        next_try_in_seconds: task.next_try.map(until),
        error: task.error,
        step: Some(task.step.text().to_owned()),
        title: task.about.title,
        process_id: task.about.process,
        lane: state(lane),
        ..Held::default()
    }
}

fn followed(lane: &LaneHandle, task: &Tracked) -> Held {
    let created = task.created_at.and_then(|at| DateTime::from_timestamp_millis(i64::try_from(at).ok()?));
    Held {
        system: lane.name.to_owned(),
        state: if task.why.is_some() { HeldState::Unanswered } else { HeldState::Open },
        since: created.map(time::text),
        error: task.why.clone(),
        target_id: task.target_id.clone(),
        title: task.about.title.clone(),
        process_id: task.about.process.clone(),
        lane: state(lane),
        ..Held::default()
    }
}

fn ago(elapsed: Duration) -> Option<String> {
    Some(time::text(Utc::now() - TimeDelta::from_std(elapsed).ok()?))
}

/// What keeps the lane from working, in the words of its API.
fn state(lane: &LaneHandle) -> Lane {
    let Some(shown) = lane.stats.condition.shown() else {
        return Lane { state: "works".into(), reason: None };
    };
    let state = match shown.obstacle {
        Obstacle::NoSession => "no_session",
        Obstacle::Alarm => "alarm",
        Obstacle::FullQueue => "full_queue",
        Obstacle::Paused => "paused",
        Obstacle::Target => "target_away",
    };
    Lane { state: state.into(), reason: Some(shown.why) }
}
