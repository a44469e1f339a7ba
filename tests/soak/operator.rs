//! The operator of the soak: through the worker's control API he pauses, resumes and sweeps the lane, replays what is
//! parked, and looks for lost tasks. None of it may lose or double anything, whatever else is wrong at that moment.
//!
//! He knows nothing of faults: a worker that does not answer is left alone until the next time.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::random::Random;
use super::support::api::Api;

/// A lane that nobody resumes resumes by itself before it can disturb the end of a round for long.
const LONGEST_PAUSE: u64 = 3;
/// For a replay or a reconciliation to end. It has limits of its own; this one is for a worker that was killed
/// meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);
const SYSTEM: &str = "bitrix24";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    Pause,
    Resume,
    Sweep,
    Replay,
    Reconcile,
}

/// How often each is drawn, as a weight.
const WEIGHTS: [(Act, u64); 5] =
    [(Act::Pause, 3), (Act::Resume, 1), (Act::Sweep, 2), (Act::Replay, 2), (Act::Reconcile, 3)];

impl Act {
    pub fn draw(random: &mut Random) -> Act {
        let mut left = random.below(WEIGHTS.iter().map(|(_, weight)| weight).sum());
        for (act, weight) in WEIGHTS {
            if left < weight {
                return act;
            }
            left -= weight;
        }
        Act::Sweep
    }
}

/// What an act has led to.
#[derive(Debug, Default)]
pub struct Done {
    /// The worker has done it.
    pub done: bool,
    /// How many messages were published again.
    pub replayed: usize,
    /// What must not be.
    pub wrong: Option<String>,
}

pub fn act(act: Act, api: &Api, random: &mut Random) -> Done {
    match act {
        Act::Pause => {
            let seconds = 1 + random.below(LONGEST_PAUSE);
            let state = json!({"state": "paused", "reason": "the soak", "for_seconds": seconds});
            simple(api, "PUT", "state", Some(&state))
        }
        Act::Resume => simple(api, "PUT", "state", Some(&json!({"state": "running"}))),
        Act::Sweep => simple(api, "POST", "sweeps", None),
        Act::Replay => {
            let order = json!({"all": true, "limit": 3, "per_second": 20, "stop_on_failure": false});
            let Some(replay) = run(api, "/api/v1/replays", &order) else { return Done::default() };
            let replayed = replay["replayed"].as_u64().unwrap_or_default() as usize;
            Done { done: true, replayed, wrong: None }
        }
        Act::Reconcile => {
            let order = json!({"older_than_seconds": 1, "repair": true, "limit": 50, "per_second": 50});
            let Some(found) = run(api, "/api/v1/reconciliations", &order) else { return Done::default() };
            let repaired = found["repaired"].as_u64().unwrap_or_default();
            // Nothing is ever lost here, so whatever is repaired was not broken.
            let wrong = (repaired > 0).then(|| format!("a reconciliation has repaired what is not lost: {found}"));
            Done { done: true, replayed: repaired as usize, wrong }
        }
    }
}

fn simple(api: &Api, method: &str, what: &str, body: Option<&Value>) -> Done {
    let answer = api.ask(method, &format!("/api/v1/lanes/{SYSTEM}/{what}"), body);
    Done { done: answer.is_ok_and(|answer| answer.status < 300), ..Done::default() }
}

/// Starts it and waits for its end; `None` when there is no answer.
fn run(api: &Api, path: &str, order: &Value) -> Option<Value> {
    let started = api.ask("POST", path, Some(order)).ok().filter(|answer| answer.status == 202)?;
    let place = started.header("location")?.to_owned();
    let until = Instant::now() + PATIENCE;
    loop {
        let state = api.get(&place).ok().filter(|answer| answer.status == 200)?.json();
        // "waiting": everything is published, and the outcomes of some are not known yet.
        if state["state"] != "running" || Instant::now() > until {
            return Some(state);
        }
        thread::sleep(Duration::from_millis(200));
    }
}
