//! Finds out which work packages are finished, from what [`super::reading`] reads of them.
//!
//! An id alone proves nothing, so each row's marker is compared. [`crate::lane::checking`] decides what happens to a
//! record.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::anyhow;
use serde_json::Value;

use super::Settings;
use super::client::Client;
use super::errors::not_looked_up;
use super::fields::Work;
use super::reading::Reader;
use super::statuses::Statuses;
use super::work_package::{self, custom_text, linked_id};
use crate::message::{Record, text};
use crate::systems::place::Here;
use crate::systems::question::{self, MissingAnswer};
use crate::systems::{Failure, Progress, Tracker};

/// Why an answer that is expected cannot come.
const NO_ANSWER_FIELD: &str = "an answer is expected, and OPENPROJECT_ANSWER_FIELD does not say where people give it";

/// The tracker; one thread uses it.
pub struct OpenProjectTracker {
    settings: Settings,
    client: Arc<Client>,
    statuses: Statuses,
    reader: Reader,
}

impl OpenProjectTracker {
    /// A tracker for the OpenProject of these settings.
    pub fn new(settings: Settings, client: Arc<Client>) -> OpenProjectTracker {
        let reader = Reader::new(Arc::clone(&client));
        OpenProjectTracker { settings, client, reader, statuses: Statuses::default() }
    }
}

/// What is to be asked for a record.
enum Asked {
    /// How this work package is doing.
    Id(u64),
    /// Nothing: this is known without.
    Settled(Result<Progress, Failure>),
}

impl Asked {
    fn id(&self) -> Option<u64> {
        match self {
            Asked::Id(id) => Some(*id),
            Asked::Settled(_) => None,
        }
    }
}

impl Tracker for OpenProjectTracker {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        let asked: Vec<Asked> = records.iter().map(|record| self.to_ask(record)).collect();
        let ids: BTreeSet<u64> = asked.iter().filter_map(Asked::id).collect();
        let rows = self.reader.read(&ids);
        let states = rows.values().filter_map(|row| linked_id(row.as_ref().ok()?.as_ref()?, "status"));
        if let Err(err) = self.statuses.learn(&self.client, states) {
            return records.iter().map(|_| Err(not_looked_up(err.clone()))).collect();
        }
        let progress = |(record, asked): (&Record, Asked)| match asked {
            Asked::Settled(settled) => settled,
            Asked::Id(id) => match rows.get(&id) {
                Some(Ok(Some(row))) => self.progress(record, row),
                Some(Ok(None)) => Ok(Progress::Gone),
                Some(Err(err)) => Err(not_looked_up(err.clone())),
                None => Err(Failure::Transient { error: anyhow!("not asked for") }),
            },
        };
        records.iter().zip(asked).map(progress).collect()
    }
}

/// Asking.
impl OpenProjectTracker {
    fn to_ask(&self, record: &Record) -> Asked {
        let here = Here { host: self.settings.host(), former: &self.settings.former_hosts };
        if let Some(why) = here.elsewhere(record, ["OPENPROJECT_URL", "OPENPROJECT_FORMER_HOSTS"]) {
            return Asked::Settled(Ok(Progress::Foreign(why)));
        }
        match text(&record.response_data["result"]["task"]["id"]).and_then(|id| id.parse().ok()) {
            Some(id) => Asked::Id(id),
            None => Asked::Settled(Err(Failure::Permanent(anyhow!(
                "the record does not name a work package in response_data.result.task.id"
            )))),
        }
    }
}

/// Judging.
impl OpenProjectTracker {
    fn progress(&self, record: &Record, row: &Value) -> Result<Progress, Failure> {
        if let Some(why) = self.another(record, row) {
            return Ok(Progress::Foreign(why));
        }
        let status = linked_id(row, "status");
        let is_listed = status.is_some_and(|status| self.settings.finished_statuses.contains(&status));
        match status.and_then(|status| self.statuses.is_closed(status)) {
            Some(closed) if closed || is_listed => Ok(self.finished(record, row)),
            Some(_) => Ok(Progress::Open),
            None => {
                Err(Failure::Transient { error: anyhow!("GET statuses: the state of the work package is not there") })
            }
        }
    }

    /// Why this is not the record's work package: it has another task's marker, or none although it has the field. A
    /// work package that was only changed has the marker of the task that made it.
    fn another(&self, record: &Record, row: &Value) -> Option<String> {
        let field = self.settings.marker_field.as_ref().filter(|_| Work::of(&record.task) != Work::Update)?;
        let id = &row["id"];
        // If the project or type does not have the field, nothing shows whose it is.
        row.get(field)?;
        match custom_text(row, field) {
            Some(marker) if marker == record.task.id => None,
            Some(_) => Some(format!("work package {id} has another message's {field}")),
            None => Some(format!("work package {id} has no {field}")),
        }
    }

    fn finished(&self, record: &Record, row: &Value) -> Progress {
        let missing = self.settings.missing_answer;
        let answer = match &self.settings.answer_field {
            Some(field) => custom_text(row, field).map(Ok),
            None if missing == MissingAnswer::Wait => Some(Err(NO_ANSWER_FIELD.into())),
            None => None,
        };
        let is_expected = question::is_expected(&record.task);
        match question::finished(work_package::task(row), is_expected, answer, missing) {
            Progress::Finished(response) => Progress::Finished(work_package::with_row(response, row)),
            progress => progress,
        }
    }
}

#[cfg(test)]
mod tests;
