//! A service that does what is posted to it: it answers with the result, or with a job that is asked for until it has
//! one. Written once for every system that is such a service; an address for each topic, or one for all.
//!
//! It knows no system but by its [`Named`], no queue and no retry. Reading order: [`settings`], [`fields`] (what is
//! posted), [`handler`], [`job`] (what of it stands in the record), [`tracker`], [`outcome`] (what Camunda is told),
//! [`client`] (the requests), [`check`], [`explain`].

pub mod check;
pub mod client;
pub mod explain;
pub mod fields;
pub mod handler;
pub mod job;
pub mod outcome;
pub mod settings;
pub mod tracker;

use std::sync::Arc;

use self::client::Client;
pub use self::settings::{FailedJob, Settings};
use super::{Configured, Connected, Explanation, Surroundings, System};
use crate::message::Task;
use crate::report::Report;
use crate::settings::{Secret, Variables};

/// What a system that is such a service is called.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// In the table and in queues.
    pub system: &'static str,
    /// For people.
    pub what: &'static str,
    /// What its settings start with, such as `PYTHON` in `PYTHON_URL`.
    pub prefix: &'static str,
    /// Why it is off where no address is set.
    pub off: &'static str,
}

impl Named {
    /// The name of a setting.
    pub fn setting(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }
}

/// A service, as its settings say it is.
#[derive(Debug)]
struct HttpJobs(Settings);

/// Reads the settings; without an address the system is off.
pub fn open(named: &Named, variables: &mut Variables) -> Configured {
    let settings = Settings::from_variables(named, variables);
    match settings.urls.is_empty() {
        true => Configured::Off(named.off),
        false => Configured::On(Box::new(HttpJobs(settings))),
    }
}

/// The same where nothing will be sent.
pub fn open_without_target(named: &Named, variables: &mut Variables) -> Configured {
    Configured::On(Box::new(HttpJobs(Settings::from_variables(named, variables))))
}

impl System for HttpJobs {
    fn target(&self) -> String {
        let places: Vec<String> = self.0.urls.origins().into_iter().collect();
        format!("{} at {}", self.0.named.what, places.join(", "))
    }

    fn uses_https(&self) -> bool {
        self.0.urls.all().any(|url| url.scheme() == "https")
    }

    fn secrets(&self) -> Vec<Secret> {
        self.0.token.iter().cloned().collect()
    }

    fn connect(&self, around: &Surroundings) -> anyhow::Result<Connected> {
        // Shared by the handler threads and the tracker, so that they share connections.
        let client = Arc::new(Client::new(&self.0, around.https));
        Ok(Connected {
            handler: Arc::new(handler::JobHandler::new(self.0.clone(), Arc::clone(&client))),
            tracker: Box::new(tracker::JobTracker::new(self.0.clone(), client, around.stop)),
        })
    }

    fn check(&self, around: &Surroundings, report: &mut Report) {
        check::run(&self.0, around, report);
    }

    fn explain(&self, task: &Task) -> Explanation {
        explain::run(task, &self.0)
    }
}

#[cfg(test)]
mod tests;
