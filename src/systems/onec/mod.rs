//! 1C:Enterprise: the system, and how its parts fit together.
//!
//! Reading order: [`settings`] with [`mapping`] (what it is told), [`fields`] with [`key`] (what a task becomes),
//! [`client`] with [`errors`] (how 1C is asked, and what its answers mean), then the two ways to speak to it:
//! [`odata`], the standard interface of every configuration, and [`service`], an HTTP service that a configuration has
//! of its own. What 1C does and why is in the README beside this file.

pub mod client;
pub mod errors;
pub mod fields;
pub mod key;
pub mod mapping;
pub mod odata;
pub mod service;
pub mod settings;

use std::sync::Arc;

use client::{Call, Client, Turn};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::question::{self, MissingAnswer};
use super::{
    Configured, Connected, Created, Explained, Explanation, Failure, Found, Missing, Request, Surroundings, System,
};
use crate::message::Task;
use crate::report::Report;
use crate::settings::{Secret, Variables};

use mapping::Answer;
pub use settings::{Mode, Settings};

/// An infobase, and how tasks are put there.
#[derive(Debug)]
struct Onec(Settings);

/// Reads the settings; without `ONEC_URL` the system is off.
pub fn open(variables: &mut Variables) -> Configured {
    match Settings::from_variables(variables) {
        Some(settings) => Configured::On(Box::new(Onec(settings))),
        None => Configured::Off("ONEC_URL is not set"),
    }
}

/// The same where no infobase is needed, since nothing will be sent.
pub fn open_without_target(variables: &mut Variables) -> Configured {
    Configured::On(Box::new(Onec(Settings::without_target(variables))))
}

impl System for Onec {
    fn target(&self) -> String {
        format!("1C at {}", self.0.address.url)
    }

    fn uses_https(&self) -> bool {
        self.0.address.is_https()
    }

    fn secrets(&self) -> Vec<Secret> {
        self.0.secrets()
    }

    fn connect(&self, around: &Surroundings) -> anyhow::Result<Connected> {
        // Shared by the handler threads and the tracker: 1C counts their sessions together.
        let client = Arc::new(Client::new(&self.0, around.https, around.stop));
        Ok(match &self.0.mode {
            Mode::Odata(mapping) => odata::connect(&self.0, mapping, client),
            Mode::Service(mapping) => service::connect(&self.0, mapping, client),
        })
    }

    fn check(&self, around: &Surroundings, report: &mut Report) {
        if let Some(host) = self.0.address.unprotected_host() {
            let wrong = format!("the password and all tasks travel to {host} unencrypted");
            report.warn(format!("1c: {wrong}; advised: https:// in ONEC_URL"));
        }
        let client = Client::new(&self.0, around.https, around.stop);
        match &self.0.mode {
            Mode::Odata(mapping) => odata::check::run(mapping, &client, report),
            Mode::Service(mapping) => service::check::run(mapping, &client, report),
        }
    }

    fn explain(&self, task: &Task) -> Explanation {
        match &self.0.mode {
            Mode::Odata(mapping) => odata::explain::run(task, &self.0, mapping),
            Mode::Service(mapping) => service::explain::run(task, &self.0, mapping),
        }
    }
}

/// Creates when there is a turn. Where that comes so late that the look-up says nothing any more, another one goes
/// first.
fn in_turn(
    client: &Client,
    missing: &Missing,
    look: impl FnOnce(&Turn) -> Result<Found, Failure>,
    create: impl FnOnce(&Turn) -> Result<Created, Failure>,
) -> Result<Created, Failure> {
    let turn = client.turn()?;
    let mut missing = *missing;
    if !missing.claim().is_held() {
        match look(&turn)? {
            Found::There(created) => return Ok(Created { existed: true, ..created }),
            Found::Nothing(asked) => missing = missing.asked_again(asked),
        }
    }
    if missing.claim().is_held() { create(&turn) } else { Err(Failure::Outdated) }
}

/// Why a process would wait for its answer for ever, if it would: nobody can give one.
fn unanswerable(task: &Task, settings: &Settings, is_at_once: bool, has_answer: bool) -> Option<&'static str> {
    if !question::is_expected(task) {
        return None;
    }
    match (is_at_once, has_answer, settings.missing_answer) {
        (true, ..) => Some("the process expects an answer, and this topic is finished at once"),
        (false, false, MissingAnswer::Wait) => {
            Some("the process expects an answer, and ONEC_MAPPING_FILE has no \"answer\" for this topic")
        }
        _ => None,
    }
}

/// What is explained of the fields, and of the answer that is awaited there.
fn explained(made: fields::Made, unanswerable: Option<&str>, answer: Option<&Answer>, task: &Task) -> Explanation {
    let parked = made.missing.into_iter().chain(unanswerable.map(str::to_owned)).collect();
    let mut origins = made.origins;
    let value =
        |(name, value): (String, Value)| Explained { origin: origins.remove(&name).unwrap_or_default(), name, value };
    let awaited = answer.filter(|_| question::is_expected(task)).map(|answer| Explained {
        name: "(the answer)".into(),
        value: format!("what will stand in {}", answer.field).into(),
        origin: vec!["metadata.extensionProperties.UF_RESULT_EXPECTED".into()],
    });
    Explanation {
        parked,
        notes: made.warnings,
        values: made.fields.into_iter().map(value).chain(awaited).collect(),
        requests: Vec::new(),
    }
}

/// A request with its address as people read it.
fn request(call: &Call, when: &str) -> Request {
    let path = percent_decode_str(&call.path).decode_utf8_lossy();
    let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
    Request { method: format!("{} {path}", call.method), when: when.to_owned(), body }
}

#[cfg(test)]
mod tests;
