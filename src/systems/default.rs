//! The default system: what belongs to no system that is on, and lies in `default.queue`, is parked for a person.
//!
//! It has no target and creates nothing. What belongs to another system that is on never comes here: its lane has moved
//! it. It is off until somebody says with `DEFAULT_ACTION` what becomes of such messages.

use std::time::Duration;

use anyhow::anyhow;

use super::routing::Routes;
use super::{
    Configured, Connected, Created, Explanation, Failure, Found, Handler, Missing, Progress, Surroundings, System,
    Tracker,
};
use crate::message::{Cause, Record, Task};
use crate::report::Report;
use crate::settings::{Secret, Variables};

/// Its name in the table.
const NAME: &str = "default";
/// The setting, and the one action that there is so far.
const ACTION: &str = "DEFAULT_ACTION";
const PARK: &str = "park";

/// Parks whatever comes.
#[derive(Debug)]
struct Default;

/// Reads the settings; without `DEFAULT_ACTION` the system is off.
pub fn open(variables: &mut Variables) -> Configured {
    let known = |action: &str| match action {
        PARK => Ok(Default),
        other => Err(format!("is {other:?}; the only action so far is {PARK}")),
    };
    match variables.parsed(ACTION, &format!("{ACTION}={PARK}"), known) {
        Some(default) => Configured::On(Box::new(default)),
        None => Configured::Off("DEFAULT_ACTION is not set"),
    }
}

/// The same where nothing will be sent.
pub fn open_without_target(variables: &mut Variables) -> Configured {
    open(variables);
    Configured::On(Box::new(Default))
}

impl System for Default {
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
        let handler = Box::new(Parking { routes: around.routes.clone() });
        Ok(Connected { handler, tracker: Box::new(NothingToTrack) })
    }

    fn check(&self, _around: &Surroundings, report: &mut Report) {
        report.ok(self.target());
    }

    fn explain(&self, _task: &Task) -> Explanation {
        let note = "default creates nothing: a message that belongs to no system that is on is parked from here";
        Explanation { notes: vec![note.into()], ..Explanation::default() }
    }

    fn parks(&self) -> Option<Cause> {
        Some(Cause::RequestError)
    }
}

/// Refuses every task, with the reason why nobody else takes it.
struct Parking {
    routes: Routes,
}

impl Parking {
    fn refused(&self, task: &Task) -> Failure {
        Failure::Permanent(anyhow!(self.routes.why_left_to(NAME, task)))
    }
}

impl Handler for Parking {
    fn visible_within(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    /// At the first look, so that nothing waits for a create that there never is.
    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|task| Err(self.refused(task))).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        missing.iter().map(|missing| Err(self.refused(missing.task))).collect()
    }
}

/// There are no records, but for those that somebody else has put there.
struct NothingToTrack;

impl Tracker for NothingToTrack {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        records.iter().map(|_| Ok(Progress::Open)).collect()
    }
}
