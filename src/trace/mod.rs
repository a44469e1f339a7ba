//! Where one task is: every source is asked for it, the cheapest first, and a verdict follows from what they say.
//!
//! [`facts`] are what the sources say, [`verdict`] is the table of what follows. `targets`, `engine` and `places` ask
//! the targets, Camunda's engine and the queues. What the worker remembers is told by whoever asks: the command through
//! the API, the API from the lanes. It reads only, and it is bound in time: a source that does not answer is said. It
//! does not know how a trace is shown.

mod engine;
pub mod facts;
mod places;
mod targets;
pub mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use crossbeam_channel::bounded;
use serde::Serialize;

use self::facts::{Facts, Held, Worker};
use self::verdict::{Suggestion, Verdict};
use crate::camunda::Engine;
use crate::config::Config;
use crate::redact::clean;
use crate::stop::Stop;
use crate::systems::Handler;
use crate::systems::routing::Routes;

/// What is known of a task, and what follows.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// The external task's id.
    pub task_id: String,
    /// The process instance, if a source has named it.
    pub process_id: Option<String>,
    /// What people call it.
    pub title: Option<String>,
    /// When it was looked at, ISO 8601.
    pub snapshot_at: String,
    /// What each source says, in the order in which they were asked.
    pub steps: Vec<Step>,
    /// What the worker has told of it; empty where it was not asked.
    pub events: Vec<Event>,
    /// Where it is.
    pub verdict: Verdict,
    /// What somebody should do.
    pub suggestion: Suggestion,
}

/// What one source says.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Who was asked.
    pub source: Source,
    /// The system, where it is one of them.
    pub system: Option<String>,
    /// Whether it could be asked.
    pub looked: Looked,
    /// Whether it has the task; `None` where it was not asked.
    pub found: Option<bool>,
    /// In a word.
    pub code: &'static str,
    /// In a sentence.
    pub text: String,
    /// The time that it names, ISO 8601.
    pub at: Option<String>,
    /// What it says of the task.
    pub details: BTreeMap<&'static str, String>,
}

/// Who can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// What the worker remembers.
    Worker,
    /// The target of a system.
    Target,
    /// Camunda's engine.
    Camunda,
    /// A queue.
    Queues,
}

/// Whether a source was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Looked {
    /// It has answered.
    Looked,
    /// It was not asked.
    NotLooked,
    /// It was asked, and has not answered.
    CouldNot,
}

/// Something that the worker has told of the task.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When, ISO 8601.
    pub at: String,
    /// What.
    pub text: String,
}

/// What the worker remembers of the task, as whoever asks has found out.
#[derive(Clone, Debug)]
pub enum Remembered {
    /// It was not asked, and why.
    NotLooked(String),
    /// It has not answered, and why.
    CouldNot(String),
    /// It was asked.
    Looked {
        /// What it has of the task.
        held: Vec<Held>,
        /// It has named all that it has.
        complete: bool,
    },
}

/// Who is asked.
pub struct Sources {
    /// The queues and the broker.
    pub config: Config,
    /// The target of every system that is on.
    pub targets: Vec<Target>,
    /// Which system each topic belongs to.
    pub routes: Routes,
    /// The engine, where it is known.
    pub camunda: Option<Arc<Engine>>,
    /// Look into the queues as well.
    pub browse: bool,
    /// How long all of it may take.
    pub time: Duration,
    /// Ends every wait.
    pub stop: Stop,
}

/// The target of a system.
#[derive(Clone)]
pub struct Target {
    /// The system's name.
    pub system: String,
    /// Looks tasks up.
    pub handler: Arc<dyn Handler>,
}

/// Asks all of them for the task with this id. `remember` asks the worker. Where a task seems to be lost, the worker,
/// the queues and the engine are asked once more, since a message may have moved meanwhile.
pub fn trace(task_id: &str, sources: &Sources, remember: &dyn Fn() -> Remembered) -> Trace {
    let mut tracing = Tracing::new(task_id, sources);
    tracing.ask_worker(remember());
    let system = tracing.system();
    tracing.ask_targets(system.as_deref());
    tracing.ask_engine();
    tracing.note_who_shows_nothing();
    let system = tracing.system();
    tracing.look_into_queues(system.as_deref());
    let (mut verdict, mut suggestion) = verdict::verdict(task_id, &tracing.facts);
    if verdict.moving == Some(false) && tracing.facts.is_nowhere() && tracing.facts.waits().is_some() {
        tracing.ask_worker(remember());
        tracing.look_into_queues(system.as_deref());
        tracing.ask_engine();
        (verdict, suggestion) = verdict::verdict(task_id, &tracing.facts);
    }
    tracing.ended(verdict, suggestion)
}

/// A trace that is being made.
struct Tracing<'a> {
    task_id: &'a str,
    sources: &'a Sources,
    until: Instant,
    facts: Facts,
    steps: Vec<Step>,
    process_id: Option<String>,
    title: Option<String>,
}

impl<'a> Tracing<'a> {
    fn new(task_id: &'a str, sources: &'a Sources) -> Tracing<'a> {
        let until = Instant::now() + sources.time;
        let (facts, steps) = Default::default();
        Tracing { task_id, sources, until, facts, steps, process_id: None, title: None }
    }

    /// The system that has the task, if the worker or a target has said so. The topic does not say where its message
    /// is.
    fn system(&self) -> Option<String> {
        let held = self.facts.held().map(|held| held.system.clone());
        held.or_else(|| self.facts.seen().map(|(system, _)| system.to_owned()))
    }

    fn ask_worker(&mut self, remembered: Remembered) {
        self.steps.retain(|step| step.source != Source::Worker);
        let step = match remembered {
            Remembered::NotLooked(why) => Step::not_looked(Source::Worker, None, "no_monitor", why),
            Remembered::CouldNot(why) => Step::could_not(Source::Worker, None, why),
            Remembered::Looked { held, complete } => {
                let step = remembered_step(&held, complete);
                for held in &held {
                    self.note(held.process_id.clone(), held.title.clone());
                }
                self.facts.worker = Worker::Looked { held, complete };
                step
            }
        };
        self.steps.insert(0, step);
    }

    fn note(&mut self, process_id: Option<String>, title: Option<String>) {
        self.process_id = self.process_id.take().or(process_id);
        self.title = self.title.take().or(title);
    }

    /// `work` on a thread of its own; `None` when it takes too long, or breaks off.
    fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Waiting<T> {
        let (done, result) = bounded(1);
        let started = thread::Builder::new().name("trace".into()).spawn(move || drop(done.send(work())));
        Waiting { result: started.is_ok().then_some(result), until: self.until }
    }

    fn ended(self, verdict: Verdict, suggestion: Suggestion) -> Trace {
        let cleaned = |step: Step| Step {
            text: clean(&step.text),
            details: step.details.into_iter().map(|(name, value)| (name, clean(&value))).collect(),
            ..step
        };
        Trace {
            task_id: self.task_id.to_owned(),
            process_id: self.process_id,
            title: self.title.map(|title| clean(&title)),
            snapshot_at: now(),
            steps: self.steps.into_iter().map(cleaned).collect(),
            events: Vec::new(),
            verdict: Verdict { text: clean(&verdict.text), ..verdict },
            suggestion,
        }
    }
}

/// Work on another thread that is waited for.
struct Waiting<T> {
    /// `None`: there is no such thread.
    result: Option<crossbeam_channel::Receiver<T>>,
    until: Instant,
}

impl<T> Waiting<T> {
    fn wait(self) -> Option<T> {
        self.result?.recv_deadline(self.until).ok()
    }
}

/// Why a source counts as silent.
const TOO_LATE: &str = "no answer in time";

impl Step {
    fn new(source: Source, system: Option<&str>, looked: Looked, code: &'static str, text: String) -> Step {
        let system = system.map(str::to_owned);
        Step { source, system, looked, found: None, code, text, at: None, details: BTreeMap::new() }
    }

    fn found(source: Source, system: Option<&str>, code: &'static str, text: String) -> Step {
        Step { found: Some(true), ..Step::new(source, system, Looked::Looked, code, text) }
    }

    fn nothing(source: Source, system: Option<&str>, code: &'static str, text: String) -> Step {
        Step { found: Some(false), ..Step::new(source, system, Looked::Looked, code, text) }
    }

    fn not_looked(source: Source, system: Option<&str>, code: &'static str, why: String) -> Step {
        Step::new(source, system, Looked::NotLooked, code, why)
    }

    fn could_not(source: Source, system: Option<&str>, why: String) -> Step {
        Step::new(source, system, Looked::CouldNot, "failed", why)
    }

    fn at(self, at: Option<String>) -> Step {
        Step { at, ..self }
    }

    fn with(mut self, details: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Step {
        self.details.extend(details.into_iter().filter_map(|(name, value)| Some((name, value?))));
        self
    }
}

fn remembered_step(held: &[Held], complete: bool) -> Step {
    let Some(first) = held.first() else {
        let (code, but) =
            if complete { ("nothing", "") } else { ("nothing_seen", ", as far as it can name its tasks") };
        return Step::nothing(Source::Worker, None, code, format!("the worker does not have it{but}"));
    };
    let (code, state) = match first.state {
        facts::HeldState::InHand => ("in_hand", "has it in hand"),
        facts::HeldState::Retrying => ("retrying", "tries it again later"),
        facts::HeldState::Open => ("followed", "follows it until it is finished"),
        facts::HeldState::Unanswered => ("unanswered", "has seen it finished, without an answer"),
        facts::HeldState::Parked => ("parked", "has parked it"),
    };
    let next_try = first.next_try_in_seconds.map(|seconds| format!("in {seconds} s"));
    let attempts = Some(first.attempts).filter(|attempts| *attempts > 0).map(|attempts| attempts.to_string());
    let lane = Some(first.lane.state.clone()).filter(|state| !state.is_empty());
    let step = Step::found(Source::Worker, Some(&first.system), code, format!("the worker {state}"));
    step.at(first.since.clone()).with([
        ("step", first.step.clone()),
        ("attempts", attempts),
        ("next_try", next_try),
        ("error", first.error.clone()),
        ("target_id", first.target_id.clone()),
        ("link", first.link.clone()),
        ("lane", lane),
        ("lane_reason", first.lane.reason.clone()),
    ])
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}
