//! `DEFAULT_ACTION=park`: every message is parked, and its cause says which topics are known.
//!
//! It has no target, and creates nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;

use super::{NAMED, NothingToTrack};
use crate::message::{Cause, Task};
use crate::report::Report;
use crate::settings::Secret;
use crate::systems::routing::Routes;
use crate::systems::{Connected, Created, Explanation, Failure, Found, Handler, Missing, Surroundings, System};

/// Parks whatever comes.
#[derive(Debug)]
pub struct Park;

impl System for Park {
    fn target(&self) -> String {
        "default: parks what belongs to no system that is on".into()
    }

    fn uses_https(&self) -> bool {
        false
    }

    fn secrets(&self) -> Vec<Secret> {
        Vec::new()
    }

    fn connect(&self, around: &Surroundings) -> anyhow::Result<Connected> {
        let handler = Arc::new(Parking { routes: around.routes.clone() });
        Ok(Connected { handler, tracker: Box::new(NothingToTrack) })
    }

    fn check(&self, _around: &Surroundings, report: &mut Report) {
        report.ok(self.target());
    }

    fn explain(&self, _task: &Task) -> Explanation {
        let note = "it would be parked, since it belongs to no system that is on; DEFAULT_ACTION is park";
        Explanation { notes: vec![note.into()], ..Explanation::default() }
    }

    fn parks(&self, _task: &Task, _routes: &Routes) -> Option<Cause> {
        Some(Cause::NoSystem)
    }
}

/// Refuses every task.
struct Parking {
    routes: Routes,
}

impl Handler for Parking {
    fn visible_within(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    /// At the first look, so that nothing waits for a create that there never is.
    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|task| Err(refused(&self.routes, task))).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        missing.iter().map(|missing| Err(refused(&self.routes, missing.task))).collect()
    }
}

/// Why nobody takes this task.
pub(super) fn refused(routes: &Routes, task: &Task) -> Failure {
    Failure::NoSystem(anyhow!(routes.why_left_to(NAMED.system, task)))
}
