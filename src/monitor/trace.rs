//! Where one task is, asked through the API: the worker's memory is read here, the rest is asked as [`crate::trace`]
//! does it for everybody.
//!
//! It holds up no lane: a lane that is busy is not waited for, and all sources together end within their time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::api::{Call, json};
use super::hub::Hub;
use super::problem::{Problem, TOO_MANY_TRACES};
use super::tasks::{self, Filter};
use super::{lanes, time};
use crate::camunda::Engine;
use crate::http::server::Page;
use crate::stop;
use crate::trace::facts::Held;
use crate::trace::{Event, Remembered, Sources, Trace, trace};

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
    let camunda = config.camunda.as_ref().map(|camunda| Arc::new(Engine::new(&camunda.within(TIME), &config.https)));
    let (targets, routes) = (hub.targets(), hub.routes());
    let sources = Sources { config: config.clone(), targets, routes, camunda, browse, time: TIME, stop };
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

/// What the lanes have of the task. It is read in the form of the API, as the command reads it.
fn remembered(hub: &Hub, task_id: &str) -> Remembered {
    let known = tasks::known(hub, &Filter::default());
    let own = known.tasks.into_iter().filter(|task| task.task_id == task_id);
    let mut held: Vec<Held> = own.filter_map(|task| as_told(&task)).collect();
    if !held.is_empty() {
        let lanes = lanes::all(hub);
        for held in &mut held {
            let lane = lanes.iter().find(|lane| lane.system == held.system);
            held.lane = lane.and_then(as_told).unwrap_or_default();
        }
    }
    Remembered::Looked { held, complete: known.complete }
}

fn as_told<T: DeserializeOwned>(told: &impl Serialize) -> Option<T> {
    serde_json::to_value(told).and_then(serde_json::from_value).inspect_err(|err| log::debug!("trace: {err}")).ok()
}
