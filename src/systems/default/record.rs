//! `DEFAULT_ACTION=record`: every message is finished at once, and Camunda is told that nothing had to be done.
//!
//! It has no target. What nobody may finish for somebody else is parked: a task of a system that is off, and a
//! question.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::{Value, json};

use super::{NAMED, NothingToTrack, park};
use crate::message::{Cause, Task};
use crate::report::Report;
use crate::settings::Secret;
use crate::systems::http_jobs::fields::title_and_origin;
use crate::systems::routing::Routes;
use crate::systems::{
    Connected, Created, Explained, Explanation, Failure, Found, Handler, Missing, Surroundings, System, create,
    question,
};

/// The state that Camunda is told.
const RECORDED: &str = "recorded";

/// Finishes whatever comes.
#[derive(Debug)]
pub struct RecordOnly;

impl System for RecordOnly {
    fn target(&self) -> String {
        "default: finishes at once what belongs to no system".into()
    }

    fn uses_https(&self) -> bool {
        false
    }

    fn secrets(&self) -> Vec<Secret> {
        Vec::new()
    }

    fn connect(&self, around: &Surroundings) -> anyhow::Result<Connected> {
        let handler = Arc::new(Recording { routes: around.routes.clone() });
        Ok(Connected { handler, tracker: Box::new(NothingToTrack) })
    }

    fn check(&self, _around: &Surroundings, report: &mut Report) {
        report.ok(self.target());
    }

    fn explain(&self, task: &Task) -> Explanation {
        let (title, origin) = title_and_origin(task);
        let value = |name: &str, value: &str, origin: &str| Explained {
            name: name.into(),
            value: value.into(),
            origin: vec![origin.to_owned()],
        };
        let values =
            vec![value("id", &task.id, "task_id"), value("title", &title, origin), value("status", RECORDED, "fixed")];
        let told = "it would be finished at once: Camunda is told these values, and nobody does anything";
        let (parked, notes) = match answer(task) {
            Ok(_) => (Vec::new(), vec![told.to_owned()]),
            Err(failure) => (vec![failure.to_string()], Vec::new()),
        };
        Explanation { values, parked, notes, ..Explanation::default() }
    }

    fn parks(&self, task: &Task, routes: &Routes) -> Option<Cause> {
        is_of_another(task, routes).then_some(Cause::NoSystem)
    }
}

/// Finishes every task that it may.
struct Recording {
    routes: Routes,
}

impl Handler for Recording {
    /// There is nothing to be looked up. A message that comes twice may be answered twice, and the bridge ignores the
    /// second answer.
    fn visible_within(&self) -> Option<Duration> {
        None
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|_| Ok(Found::Nothing(Instant::now()))).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        create::one_by_one(missing, |task| self.finish(task))
    }
}

impl Recording {
    fn finish(&self, task: &Task) -> Result<Created, Failure> {
        match is_of_another(task, &self.routes) {
            true => Err(park::refused(&self.routes, task)),
            false => Ok(Created::finished(answer(task)?, task.id.clone())),
        }
    }
}

/// Whether the task belongs to another system, which is off: otherwise the message would not be here.
fn is_of_another(task: &Task, routes: &Routes) -> bool {
    routes.system_of(task).is_some_and(|route| route.name != NAMED.system)
}

/// What Camunda is told, in the form that the bridge reads.
fn answer(task: &Task) -> Result<Value, Failure> {
    if question::is_expected(task) {
        let why = anyhow!("the process expects an answer, which nobody gives here; without one it would wait for ever");
        return Err(Failure::Permanent(why));
    }
    let (title, _) = title_and_origin(task);
    Ok(question::result(json!({"id": task.id, "title": title, "status": RECORDED}), false, ""))
}
