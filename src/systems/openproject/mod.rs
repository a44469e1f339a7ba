//! OpenProject: the system, and how its parts fit together.
//!
//! Reading order: [`settings`] (what it is told), [`fields`] with [`schema`] (what a task becomes), [`handler`] with
//! [`look_up`] and [`update`] (find, create, change), [`look`] (show it to whoever asks), [`tracker`] with [`reading`],
//! [`statuses`] and [`work_package`] (finished?), [`client`] with [`errors`] (its REST interface), [`check`] (is it
//! ready?), [`explain`] (what would it be asked?). What OpenProject does and why is in the README beside this file.

pub mod check;
pub mod client;
pub mod errors;
pub mod explain;
pub mod fields;
pub mod handler;
pub mod look;
pub mod look_up;
pub mod reading;
pub mod schema;
pub mod settings;
pub mod statuses;
pub mod tracker;
pub mod update;
pub mod work_package;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Configured, Connected, Explanation, Surroundings, System};
use crate::message::Task;
use crate::report::Report;
use crate::settings::{Secret, Variables};

pub use settings::Settings;

/// An OpenProject, and how tasks are put there.
#[derive(Debug)]
struct OpenProject(Settings);

/// Reads the settings; without `OPENPROJECT_URL` the system is off.
pub fn open(variables: &mut Variables) -> Configured {
    match Settings::from_variables(variables) {
        Some(settings) => Configured::On(Box::new(OpenProject(settings))),
        None => Configured::Off("OPENPROJECT_URL is not set"),
    }
}

/// The same where no OpenProject is needed, since nothing will be sent.
pub fn open_without_target(variables: &mut Variables) -> Configured {
    Configured::On(Box::new(OpenProject(Settings::without_target(variables))))
}

impl System for OpenProject {
    fn target(&self) -> String {
        format!("OpenProject at {}", self.0.url)
    }

    fn uses_https(&self) -> bool {
        self.0.url.starts_with("https://")
    }

    fn secrets(&self) -> Vec<Secret> {
        let token = &self.0.token;
        vec![token.clone(), Secret::new(STANDARD.encode(format!("{}:{}", client::USER, token.expose())))]
    }

    fn connect(&self, around: &Surroundings) -> anyhow::Result<Connected> {
        // It is shared, so that handler and tracker together keep to the number of requests at once.
        let client = Arc::new(client::Client::new(&self.0, around.https, around.stop));
        Ok(Connected {
            handler: Arc::new(handler::OpenProjectHandler::new(self.0.clone(), Arc::clone(&client))),
            tracker: Box::new(tracker::OpenProjectTracker::new(self.0.clone(), client)),
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
