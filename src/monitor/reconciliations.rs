//! The routes of reconciliations, and the reconciliations themselves: one runs at a time, on a thread of its own, and
//! its report is kept when the client goes. What a reconciliation does is in [`crate::reconcile`]; `lost` keeps which
//! tasks are lost over several of them.

mod lost;

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, bounded, select};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use self::lost::Lost;
use super::api::{Call, json as page};
use super::hub::Hub;
use super::parked::id;
use super::problem::{NO_CAMUNDA, Problem, RECONCILIATION_IS_RUNNING, UNKNOWN_RECONCILIATION, WRONG_BODY};
use super::query::{body, no_body, whole};
use super::time;
use crate::camunda::Engine;
use crate::http::server::Page;
use crate::reconcile::{self, Counts, Options, Report, Sources, Told};
use crate::redact::clean;
use crate::stop::{self, Stop, Stopper};

/// So many are kept.
const KEPT: usize = 10;
/// In seconds.
const LONGEST_AGE: u64 = 400 * 86_400;
const MOST: usize = 10_000;
/// In tasks a second.
const SLOWEST: f64 = 0.01;
const FASTEST: f64 = 1_000.0;

/// The reconciliations since the start of the worker.
#[derive(Debug, Default)]
pub struct Reconciliations(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    last: u64,
    /// The oldest first; only the newest can be running.
    kept: VecDeque<Reconciliation>,
    /// Ends the one that is running.
    stopper: Option<Stopper>,
    lost: Lost,
}

/// One of them.
#[derive(Clone, Debug, Serialize)]
struct Reconciliation {
    id: String,
    state: State,
    by: String,
    #[serde(serialize_with = "time::iso")]
    started_at: DateTime<Utc>,
    #[serde(serialize_with = "some_iso")]
    ended_at: Option<DateTime<Utc>>,
    repair: bool,
    error: Option<String>,
    /// Empty while it is running.
    #[serde(flatten)]
    report: Report,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Running,
    Done,
    Failed,
    /// Somebody has stopped it, or the worker stops.
    Stopped,
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default, deserialize_with = "whole")]
    older_than_seconds: Option<u64>,
    #[serde(default)]
    repair: bool,
    #[serde(default, deserialize_with = "whole")]
    limit: Option<u64>,
    per_second: Option<f64>,
}

/// Starts one.
pub fn start(call: &Call<'_>) -> Result<Page, Problem> {
    let options = body::<Request>(call.request)?.options()?;
    let (stopper, stop) = stop::signal();
    let sources = sources(call.hub, stop)?;
    let started = Reconciliations::begin(call.hub, call.caller.name(), (sources, stopper), options)?;
    let place = format!("/api/v1/reconciliations/{}", started.id);
    Ok(page(202, &started).with("Location", place))
}

/// How one stands.
pub fn show(call: &Call<'_>) -> Result<Page, Problem> {
    Ok(page(200, call.hub.reconciliations.lock().find(call)?))
}

/// Stops one; what was unlocked until then stays unlocked.
pub fn stop(call: &Call<'_>) -> Result<Page, Problem> {
    no_body(call.request)?;
    let mut book = call.hub.reconciliations.lock();
    let found = book.find(call)?.clone();
    if found.state == State::Running {
        book.stopper = None;
        drop(book);
        call.hub.events.operator(call.caller.name(), &format!("stopped reconciliation {}", found.id));
    }
    Ok(page(202, &found))
}

impl Book {
    fn find(&self, call: &Call<'_>) -> Result<&Reconciliation, Problem> {
        let found = self.kept.iter().find(|one| one.id == id(call));
        found.ok_or_else(|| Problem::new(UNKNOWN_RECONCILIATION, format!("the last {KEPT} are kept")))
    }
}

impl Request {
    fn options(self) -> Result<Options, Problem> {
        let usual = Options::default();
        let wrong = |name: &str, range: &str| Err(Problem::new(WRONG_BODY, format!("{name} is not {range}")));
        let older_than = self.older_than_seconds.map_or(usual.older_than, Duration::from_secs);
        if older_than.as_secs() > LONGEST_AGE {
            return wrong("older_than_seconds", &format!("0 to {LONGEST_AGE}"));
        }
        let limit = self.limit.map_or(usual.limit, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if !(1..=MOST).contains(&limit) {
            return wrong("limit", &format!("1 to {MOST}"));
        }
        let per_second = self.per_second.unwrap_or(1.0);
        if !(SLOWEST..=FASTEST).contains(&per_second) {
            return wrong("per_second", &format!("{SLOWEST} to {FASTEST}"));
        }
        let pause = Duration::from_secs_f64(1.0 / per_second);
        Ok(Options { older_than, repair: self.repair, limit, pause, ..usual })
    }
}

fn some_iso<S: Serializer>(time: &Option<DateTime<Utc>>, out: S) -> Result<S::Ok, S::Error> {
    time.map(time::text).serialize(out)
}

fn sources(hub: &Arc<Hub>, stop: Stop) -> Result<Sources, Problem> {
    let Some(camunda) = &hub.config.camunda else {
        return Err(Problem::new(NO_CAMUNDA, "set CAMUNDA_URL and start the worker again"));
    };
    Ok(Sources {
        config: hub.config.clone(),
        targets: hub.targets(),
        routes: hub.routes(),
        engine: Arc::new(Engine::new(camunda, &hub.config.https)),
        stop,
    })
}

/// The tasks that the lanes have taken.
fn told(hub: &Hub) -> Told {
    let lanes = hub.lanes.iter().zip(hub.snapshots());
    let consuming = lanes.filter(|(_, snapshot)| snapshot.as_ref().is_some_and(|snapshot| snapshot.is_consuming));
    let consuming = consuming.map(|(lane, _)| lane.name.to_owned()).collect();
    let mut tasks = HashSet::new();
    for (lane, taken) in hub.lanes.iter().zip(hub.tasks()) {
        let Some(taken) = taken else { return Told::Nothing(format!("the lane {} is busy", lane.name)) };
        tasks.extend(taken.into_iter().map(|task| task.id));
    }
    Told::Tasks { tasks, consuming }
}

impl Reconciliations {
    /// The one that is running, or the last one, without its items.
    pub fn newest(&self) -> Option<Value> {
        let newest = self.lock().kept.back().cloned()?;
        let short = Reconciliation { report: Report { items: Vec::new(), ..newest.report }, ..newest };
        let mut shown = serde_json::to_value(short).ok()?;
        shown.as_object_mut()?.remove("items");
        Some(shown)
    }

    /// When the last one ended that was completed, and what it has found. As lost count those of [`Self::lost`].
    pub fn last_done(&self) -> Option<(DateTime<Utc>, Counts)> {
        let book = self.lock();
        let last = book.kept.iter().rev().find(|one| one.state == State::Done)?;
        Some((last.ended_at?, Counts { lost: book.lost.count(), ..last.report.counts }))
    }

    /// How many tasks are lost, as far as it is known.
    pub fn lost(&self) -> u64 {
        self.lock().lost.count()
    }

    fn begin(
        hub: &Arc<Hub>,
        by: &str,
        (sources, stopper): (Sources, Stopper),
        options: Options,
    ) -> Result<Reconciliation, Problem> {
        let mut book = hub.reconciliations.lock();
        if let Some(running) = book.kept.back().filter(|newest| newest.state == State::Running) {
            let told = format!("look at reconciliation {}; one runs at a time", running.id);
            return Err(Problem::new(RECONCILIATION_IS_RUNNING, told));
        }
        book.last += 1;
        let started = Reconciliation {
            id: book.last.to_string(),
            state: State::Running,
            by: by.to_owned(),
            started_at: Utc::now(),
            ended_at: None,
            repair: options.repair,
            error: None,
            report: Report::default(),
        };
        book.kept.push_back(started.clone());
        if book.kept.len() > KEPT {
            book.kept.pop_front();
        }
        book.stopper = Some(stopper);
        drop(book);
        let what = if options.repair { "a reconciliation with repair" } else { "a reconciliation" };
        hub.events.operator(by, &format!("{what} is started: {}", started.id));
        // It ends by a stop signal; nobody waits for it.
        let running = thread::Builder::new().name("reconcile".into()).spawn({
            let (hub, by) = (Arc::clone(hub), by.to_owned());
            move || run(&hub, &by, &sources, &options)
        });
        if let Err(err) = running {
            hub.reconciliations.end(Err((State::Failed, format!("a thread cannot be started: {err}"))));
        }
        Ok(started)
    }

    fn end(&self, result: Result<(Report, Duration), (State, String)>) {
        let book = &mut *self.lock();
        book.stopper = None;
        let Some(newest) = book.kept.back_mut() else { return };
        newest.ended_at = Some(Utc::now());
        match result {
            Ok((mut report, older_than)) => {
                book.lost.learn(&report, older_than, Instant::now());
                report.cut();
                (newest.state, newest.report) = (State::Done, report);
            }
            Err((state, why)) => (newest.state, newest.error) = (state, Some(clean(&why))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        // What is in there is whole after each step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(hub: &Arc<Hub>, by: &str, sources: &Sources, options: &Options) {
    let audit = |line: &str| hub.events.operator(by, line);
    let done = catch_unwind(AssertUnwindSafe(|| {
        thread::scope(|scope| {
            let (_ended, has_ended) = bounded::<()>(0);
            scope.spawn(move || stop_with(hub, &has_ended));
            reconcile::reconcile(sources, options, &|| told(hub), &audit)
        })
    }));
    let result = match done {
        Ok(Ok(report)) => Ok((report, options.older_than)),
        Ok(Err(_)) if hub.stop.raised() => Err((State::Stopped, "the worker stops".to_owned())),
        Ok(Err(_)) if sources.stop.raised() => Err((State::Stopped, "somebody has stopped it".to_owned())),
        Ok(Err(err)) => Err((State::Failed, format!("{err:#}"))),
        Err(_) => Err((State::Failed, "it panicked; worker_errors.log says where".to_owned())),
    };
    let told = match &result {
        Ok((report, _)) => format!("the reconciliation has ended: {}", json!(report.counts)),
        Err((_, why)) => format!("the reconciliation has ended early: {why}"),
    };
    hub.reconciliations.end(result);
    hub.events.operator(by, &told);
}

/// Stops the reconciliation when the worker stops, unless it has ended before.
fn stop_with(hub: &Hub, has_ended: &Receiver<()>) {
    select! {
        recv(hub.stop.receiver()) -> _ => hub.reconciliations.lock().stopper = None,
        recv(has_ended) -> _ => {}
    }
}
