//! Bitrix24: the system, and how its parts fit together.
//!
//! Reading order: [`settings`] with [`webhook`] (what it is told), [`fields`] (what a task becomes), [`handler`] with
//! [`look_up`], [`owner`] and [`checklists`] (find, create, complete, synchronise), [`tracker`] with [`answers`]
//! (finished?), [`client`] with [`batch`], [`preamble`] and [`errors`] (the portal's REST), [`combiner`],
//! [`concurrency`], [`learnt`], [`rate_limiter`] and [`cool_downs`] (when to ask, and how much at once), [`counters`],
//! [`check`] with [`custom_fields`] (is the portal ready?), [`explain`] (what would it be asked?). The README beside
//! this file says what the portal does and why the worker acts as it does.

pub mod answers;
pub mod batch;
pub mod check;
pub mod checklists;
pub mod client;
pub mod combiner;
pub mod concurrency;
pub mod cool_downs;
pub mod counters;
pub mod custom_fields;
pub mod errors;
pub mod explain;
pub mod fields;
pub mod handler;
pub mod learnt;
pub mod look_up;
pub mod owner;
pub mod preamble;
pub mod rate_limiter;
pub mod settings;
pub mod tracker;
pub mod webhook;

use std::sync::Arc;

use serde_json::Value;

use super::{Configured, Connected, Explanation, Surroundings, System};
use crate::message::Task;
use crate::report::Report;
use crate::settings::{Secret, Variables};

pub use settings::Settings;
pub use webhook::Webhook;

/// A portal, and how tasks are created there.
#[derive(Debug)]
struct Bitrix24(Settings);

/// Reads the settings; without `BITRIX_WEBHOOK_URL` the system is off.
pub fn open(variables: &mut Variables) -> Configured {
    match Settings::from_variables(variables) {
        Some(settings) => Configured::On(Box::new(Bitrix24(settings))),
        None => Configured::Off("BITRIX_WEBHOOK_URL is not set"),
    }
}

/// The same without a portal, when nothing will be sent.
pub fn open_without_target(variables: &mut Variables) -> Configured {
    Configured::On(Box::new(Bitrix24(Settings::without_portal(variables))))
}

impl System for Bitrix24 {
    fn target(&self) -> String {
        format!("Bitrix24 at {}", self.0.webhook)
    }

    fn uses_https(&self) -> bool {
        self.0.webhook.is_https()
    }

    fn secrets(&self) -> Vec<Secret> {
        self.0.webhook.secrets()
    }

    fn connect(&self, around: &Surroundings) -> anyhow::Result<Connected> {
        let Surroundings { https, threads, stop, .. } = *around;
        // Shared by the handler threads and the tracker: the portal counts all their requests together.
        let client = Arc::new(client::Client::new(&self.0, https, threads, stop));
        Ok(Connected {
            handler: Arc::new(handler::BitrixHandler::new(self.0.clone(), Arc::clone(&client))),
            tracker: Box::new(tracker::BitrixTracker::new(self.0.clone(), client)),
        })
    }

    fn check(&self, around: &Surroundings, report: &mut Report) {
        check::run(&self.0, around, report);
    }

    fn prepare(&self, around: &Surroundings, report: &mut Report) {
        check::prepare(&self.0, around, report);
    }

    fn explain(&self, task: &Task) -> Explanation {
        explain::run(task, &self.0)
    }
}

/// A member of a portal's object. Requests spell a name `UF_RESULT_EXPECTED`, replies `ufResultExpected`: case and `_`
/// are ignored.
fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let spelling = |name: &str| name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect::<String>();
    let wanted = spelling(name);
    object.as_object()?.iter().find(|(name, _)| spelling(name) == wanted).map(|(_, value)| value)
}

/// The rows of a list call.
fn rows(reply: &Value) -> Option<&Vec<Value>> {
    reply["result"]["tasks"].as_array()
}

#[cfg(test)]
mod tests;
