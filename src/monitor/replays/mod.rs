//! The routes of replays, and the replays themselves: one runs at a time, on a thread of its own, and its progress is
//! kept when the client goes. `run` is the thread, [`progress`] what is known of it.

pub mod progress;
mod run;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use self::progress::{Asked, Progress, Replay};
use self::run::Manner;
use super::api::{Call, json};
use super::hub::Hub;
use super::parked::shelf::Fitting;
use super::parked::{self, if_match};
use super::problem::{ERROR_QUEUE_AWAY, NOT_REPLAYABLE, Problem, REPLAY_IS_RUNNING, UNKNOWN_REPLAY, WRONG_BODY};
use super::query::{body, no_body, whole};
use crate::http::server::Page;
use crate::parked::Selection;
use crate::parked::replay::{LONGEST, Plan};
use crate::parked::summary::Summary;
use crate::stop;

/// So many replays are kept.
const KEPT: usize = 20;
const USUAL_LIMIT: u64 = 20;
const MOST: u64 = 10_000;
/// In one request.
const MOST_IDS: usize = 1000;
/// In messages a second.
const USUAL_RATE: f64 = 1.0;
const SLOWEST: f64 = 0.01;
const FASTEST: f64 = 1_000.0;
/// How long a request waits for the single message that it replays.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);

/// The replays since the start of the worker.
#[derive(Debug, Default)]
pub struct Replays(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    last: u64,
    /// The oldest first.
    kept: VecDeque<Arc<Progress>>,
    threads: Vec<JoinHandle<()>>,
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    cause: Option<String>,
    ids: Option<HashSet<String>>,
    system: Option<String>,
    q: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default, deserialize_with = "whole")]
    limit: Option<u64>,
    per_second: Option<f64>,
    stop_on_failure: Option<bool>,
    #[serde(default)]
    dry_run: bool,
}

/// Starts a replay of the messages that fit.
pub fn start(call: &Call<'_>) -> Result<Page, Problem> {
    let Call { hub, .. } = call;
    let request: Request = body(call.request)?;
    let (limit, manner) = request.checked()?;
    hub.replays.refuse_if_running()?;
    let fits = |message: &Summary| {
        message.fits(request.cause.as_deref(), request.system.as_deref(), request.q.as_deref())
            && request.ids.as_ref().is_none_or(|ids| ids.contains(&message.id))
    };
    let fitting = hub.parked.fitting((&hub.config, &hub.stop), fits, limit, Duration::ZERO)?;
    let Request { cause, system, q, dry_run, .. } = request;
    let asked = Asked { by: call.caller.name().to_owned(), cause, system, q, dry_run };
    let replay = Replays::begin(hub, asked, &fitting, manner)?.shown();
    let place = format!("/api/v1/replays/{}", replay.id());
    Ok(json(202, &replay).with("Location", place))
}

/// Replays one message, and answers when it is in its queue.
pub fn one(call: &Call<'_>) -> Result<Page, Problem> {
    let (Call { hub, .. }, id) = (call, parked::id(call));
    no_body(call.request)?;
    let marks = if_match(call.request)?.flatten();
    hub.replays.refuse_if_running()?;
    let entry = parked::find(hub, id, marks.as_ref())?;
    let fitting = Fitting { messages: vec![Summary::of(&entry, true)], complete: true };
    let asked = Asked { by: call.caller.name().to_owned(), ..Asked::default() };
    let manner = Manner { pause: Duration::ZERO, stop_on_failure: false };
    let progress = Replays::begin(hub, asked, &fitting, manner)?;
    let end = Instant::now() + PATIENCE;
    while progress.is_running() && !progress.numbers().has_replayed() && Instant::now() < end && !hub.stop.pause(LOOK) {
    }
    let replay = progress.shown();
    match (replay.has_replayed(), replay.why_skipped(), replay.error()) {
        (true, ..) => Ok(json(202, &json!({ "id": id, "state": "replayed", "replay": replay }))),
        (false, Some(why), _) => Err(Problem::new(NOT_REPLAYABLE, why)),
        (false, None, Some(error)) => Err(Problem::new(ERROR_QUEUE_AWAY, error)),
        (false, None, None) if progress.is_running() => Err(Problem::new(
            REPLAY_IS_RUNNING,
            format!("RabbitMQ has not confirmed it yet; look at replay {}", replay.id()),
        )),
        // Somebody else has taken it meanwhile.
        (false, None, None) => Err(parked::not_there(id)),
    }
}

/// How a replay stands.
pub fn show(call: &Call<'_>) -> Result<Page, Problem> {
    Ok(json(200, &call.hub.replays.of(parked::id(call))?.shown()))
}

/// Stops a replay after the message that is being published.
pub fn stop(call: &Call<'_>) -> Result<Page, Problem> {
    no_body(call.request)?;
    let progress = call.hub.replays.of(parked::id(call))?;
    let replay = progress.shown();
    if progress.stop() {
        call.hub.events.operator(call.caller.name(), &format!("stopped replay {}", replay.id()));
    }
    Ok(json(202, &replay))
}

impl Request {
    /// How many messages at most, and how it goes.
    ///
    /// # Errors
    /// [`WRONG_BODY`]: a number is out of its range, or nothing says which messages are meant.
    fn checked(&self) -> Result<(usize, Manner), Problem> {
        if !self.all && self.cause.is_none() && self.ids.is_none() {
            return Err(Problem::new(WRONG_BODY, "say which messages: cause, ids, or \"all\": true"));
        }
        if self.ids.as_ref().is_some_and(|ids| !(1..=MOST_IDS).contains(&ids.len())) {
            return Err(Problem::new(WRONG_BODY, format!("ids has none, or more than {MOST_IDS}")));
        }
        let limit = self.limit.unwrap_or(USUAL_LIMIT);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::new(WRONG_BODY, format!("limit is {limit}, not 1 to {MOST}")));
        }
        let rate = self.per_second.unwrap_or(USUAL_RATE);
        if !(SLOWEST..=FASTEST).contains(&rate) {
            return Err(Problem::new(WRONG_BODY, format!("per_second is {rate}, not {SLOWEST} to {FASTEST}")));
        }
        let pause = Duration::from_secs_f64(1.0 / rate);
        let manner = Manner { pause, stop_on_failure: self.stop_on_failure.unwrap_or(true) };
        Ok((usize::try_from(limit).unwrap_or(usize::MAX), manner))
    }
}

impl Replays {
    /// The replay that runs, else the last one, without its messages.
    pub fn last(&self) -> Option<Replay> {
        let last = self.book().kept.back().map(Arc::clone);
        last.map(|progress| progress.numbers())
    }

    /// Waits for the threads of all replays, which end with the worker.
    pub fn join(&self) {
        let threads = std::mem::take(&mut self.book().threads);
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Starts a replay of these messages, in this moment's form.
    fn begin(hub: &Arc<Hub>, asked: Asked, fitting: &Fitting, manner: Manner) -> Result<Arc<Progress>, Problem> {
        let mut turn = hub.parked.turn()?;
        turn.hold();
        let messages = &fitting.messages;
        let selection = Selection {
            etags: Some(messages.iter().map(|message| message.etag.clone()).collect()),
            ..Selection::of_ids(messages.iter().map(|message| message.id.clone()))
        };
        let selected = u32::try_from(messages.len()).ok();
        let plan = Plan { selection, limit: selected, selected, held_at_most: LONGEST, dry_run: asked.dry_run };
        let (stopper, stop) = stop::signal();
        let (by, what) = (asked.by.clone(), described(&asked, messages));
        let mut book = hub.replays.book();
        book.refuse_if_running()?;
        book.last += 1;
        let progress = Arc::new(Progress::new(book.last, asked, fitting, stopper));
        let (running, known, told_by) = (Arc::clone(hub), Arc::clone(&progress), by.clone());
        let name = format!("replay/{}", book.last);
        let thread = thread::Builder::new().name(name).spawn(move || {
            run::run(&running, &plan, manner, &known, &stop, turn);
            running.events.operator(&told_by, &format!("ended: {}", known.numbers().line()));
        });
        let thread =
            thread.map_err(|err| Problem::new(ERROR_QUEUE_AWAY, format!("no thread can be started: {err}")))?;
        book.add(Arc::clone(&progress), thread);
        let number = book.last;
        drop(book);
        hub.events.operator(&by, &format!("started replay {number}: {what}"));
        Ok(progress)
    }

    fn refuse_if_running(&self) -> Result<(), Problem> {
        self.book().refuse_if_running()
    }

    fn of(&self, number: &str) -> Result<Arc<Progress>, Problem> {
        let found = self.book().kept.iter().find(|progress| progress.numbers().id() == number).map(Arc::clone);
        found.ok_or_else(|| Problem::new(UNKNOWN_REPLAY, format!("there is no replay {number:?}")))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn refuse_if_running(&self) -> Result<(), Problem> {
        match self.kept.iter().find(|progress| progress.is_running()) {
            None => Ok(()),
            Some(running) => {
                let detail = format!("{}; wait for its end, or stop it", running.numbers().line());
                Err(Problem::new(REPLAY_IS_RUNNING, detail))
            }
        }
    }

    fn add(&mut self, progress: Arc<Progress>, thread: JoinHandle<()>) {
        self.threads.retain(|thread| !thread.is_finished());
        self.threads.push(thread);
        self.kept.push_back(progress);
        if self.kept.len() > KEPT {
            // It only waits for what is not settled, and nobody could ask for it any more.
            self.kept.pop_front().map(|oldest| oldest.stop());
        }
    }
}

/// What is replayed, for the list of events.
fn described(asked: &Asked, messages: &[Summary]) -> String {
    let Asked { cause, system, q, dry_run, .. } = asked;
    let named = [("cause", cause), ("system", system), ("q", q)];
    let named = named.into_iter().filter_map(|(name, value)| Some(format!(", {name} {}", value.as_ref()?)));
    let one = if let [only] = messages { format!(", task={}", only.id) } else { String::new() };
    let dry = if *dry_run { ", dry run" } else { "" };
    format!("{} message(s){}{one}{dry}", messages.len(), named.collect::<String>())
}
