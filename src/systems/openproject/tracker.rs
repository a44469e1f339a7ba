//! Finds out which work packages are finished: many ids a request.
//!
//! One id that is not there, or not shown, makes OpenProject refuse the whole request. Then it is asked for halves, and what
//! is missing is remembered and asked for by itself from then on. An id alone says nothing: each row's marker is compared.
//! What becomes of a record is decided in [`crate::lane::tracking`].

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::Settings;
use super::client::{Call, Client};
use super::errors::{ApiError, Kind, not_looked_up};
use super::fields::{Work, expects_answer};
use super::look_up::rows;
use super::statuses::Statuses;
use super::work_package::{self, custom_text, linked_id};
use crate::message::{Record, text};
use crate::systems::answer::{self, MissingAnswer};
use crate::systems::place::Here;
use crate::systems::{Failure, Progress, Tracker};

/// Ids in a request: an instance shows at least 50 rows a page, mostly 1,000, and the address stays below 2 KB.
const IDS: usize = 100;
/// Of failures in one sweep that are answered by asking for less: enough to find one row among a hundred, twice.
const MOST_FAILURES: u32 = 16;
/// Of ids that are missing; more are forgotten, and found again by halving.
const MOST_MISSING: usize = 10_000;

/// The tracker; one thread uses it.
pub struct OpenProjectTracker {
    settings: Settings,
    client: Arc<Client>,
    statuses: Statuses,
    /// Those that were not there when last asked for.
    missing: BTreeSet<u64>,
}

impl OpenProjectTracker {
    /// A tracker for the OpenProject of these settings.
    pub fn new(settings: Settings, client: Arc<Client>) -> OpenProjectTracker {
        OpenProjectTracker { settings, client, statuses: Statuses::default(), missing: BTreeSet::new() }
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

/// For each id the work package, or `None` where it is not there or not shown.
type Rows = HashMap<u64, Result<Option<Value>, ApiError>>;

impl Tracker for OpenProjectTracker {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        let asked: Vec<Asked> = records.iter().map(|record| self.to_ask(record)).collect();
        let ids: BTreeSet<u64> = asked.iter().filter_map(Asked::id).collect();
        let rows = self.read(&ids);
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

    fn read(&mut self, ids: &BTreeSet<u64>) -> Rows {
        let mut found = Rows::new();
        // Nobody is there, or wants to be asked: the next request would say the same.
        let mut in_vain: Option<ApiError> = None;
        let mut failures = 0;
        let (doubtful, sure): (Vec<u64>, Vec<u64>) = ids.iter().partition(|id| self.missing.contains(id));
        for chunk in sure.chunks(IDS).chain(doubtful.chunks(1)) {
            match (&in_vain, chunk) {
                (Some(err), _) => found.extend(chunk.iter().map(|id| (*id, Err(ApiError::clone(err))))),
                (None, [id]) if self.missing.contains(id) => drop(found.insert(*id, self.read_one(*id))),
                (None, _) => self.read_chunk(chunk, &mut failures, &mut found),
            }
            let failed = chunk.first().and_then(|id| found.get(id)?.as_ref().err());
            in_vain = failed.filter(|err| err.kind == Kind::Unavailable).cloned();
        }
        self.note_missing(&found);
        found
    }

    fn note_missing(&mut self, found: &Rows) {
        for (id, row) in found {
            match row {
                Ok(None) => drop(self.missing.insert(*id)),
                Ok(Some(_)) => drop(self.missing.remove(id)),
                Err(_) => {}
            }
        }
        if self.missing.len() > MOST_MISSING {
            self.missing.clear();
        }
    }

    /// Reads these, in halves where one of them makes OpenProject refuse all, or fail.
    fn read_chunk(&self, ids: &[u64], failures: &mut u32, found: &mut Rows) {
        match (self.read_pages(ids), ids) {
            (Ok(rows), _) => {
                // What a complete answer does not show is asked for by itself: it counts as gone when nobody has it.
                let missing: Vec<u64> = ids.iter().copied().filter(|id| !rows.contains_key(id)).collect();
                found.extend(rows.into_iter().map(|(id, row)| (id, Ok(Some(row)))));
                found.extend(missing.into_iter().map(|id| (id, self.read_one(id))));
            }
            (Err(err), [id]) if err.kind == Kind::InvalidQuery => drop(found.insert(*id, self.read_one(*id))),
            (Err(err), [_, _, ..]) if asks_for_halves(&err, failures) => {
                let (left, right) = ids.split_at(ids.len() / 2);
                self.read_chunk(left, failures, found);
                self.read_chunk(right, failures, found);
            }
            (Err(err), _) => found.extend(ids.iter().map(|id| (*id, Err(err.clone())))),
        }
    }

    /// All pages: an instance may show fewer rows than were asked for.
    fn read_pages(&self, ids: &[u64]) -> Result<HashMap<u64, Value>, ApiError> {
        let mut read = HashMap::new();
        for page in 1.. {
            let reply = self.client.call(&list(ids, page))?;
            let rows = rows(&reply).ok_or_else(|| ApiError::unclear("GET work_packages: the reply has no list"))?;
            let before = read.len();
            let asked = rows.iter().filter_map(|row| Some((row["id"].as_u64().filter(|id| ids.contains(id))?, row)));
            read.extend(asked.map(|(id, row)| (id, row.clone())));
            let total = reply["total"].as_u64().and_then(|total| usize::try_from(total).ok()).unwrap_or(0);
            // A page that brings nothing new is the last one, whatever the total says.
            if read.len() >= ids.len() || read.len() >= total || read.len() == before {
                break;
            }
        }
        Ok(read)
    }

    fn read_one(&self, id: u64) -> Result<Option<Value>, ApiError> {
        match self.client.call(&Call::get(format!("/work_packages/{id}"))) {
            Ok(row) if row["id"] == id => Ok(Some(row)),
            Ok(_) => Err(ApiError::unclear("GET work_packages: the reply is about another one")),
            Err(err) if err.kind == Kind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }
}

/// A server that fails over everything is not asked for ever less of it.
fn asks_for_halves(err: &ApiError, failures: &mut u32) -> bool {
    *failures += u32::from(err.kind == Kind::TooMuch);
    err.kind == Kind::InvalidQuery || (err.kind == Kind::TooMuch && *failures <= MOST_FAILURES)
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

    /// Why this is not the record's work package, if it has another task's marker, or none although it has the field. One that
    /// was changed only has the marker of the task that made it.
    fn another(&self, record: &Record, row: &Value) -> Option<String> {
        let field = self.settings.marker_field.as_ref().filter(|_| Work::of(&record.task) != Work::Update)?;
        let id = &row["id"];
        // Where the project or type does not have the field, nothing shows whose it is.
        row.get(field)?;
        match custom_text(row, field) {
            Some(marker) if marker == record.task.id => None,
            Some(_) => Some(format!("work package {id} has another message's {field}")),
            None => Some(format!("work package {id} has no {field}")),
        }
    }

    fn finished(&self, record: &Record, row: &Value) -> Progress {
        let expected = expects_answer(&record.task);
        let given = self.settings.answer_field.as_ref().and_then(|field| custom_text(row, field));
        let text = match (given, &self.settings.answer_field) {
            (Some(given), _) => given,
            (None, _) if !expected => String::new(),
            (None, _) if self.settings.missing_answer == MissingAnswer::No => answer::NO.into(),
            (None, Some(_)) => return Progress::Waiting("nobody has answered yet".into()),
            (None, None) => {
                let why = "an answer is expected, and OPENPROJECT_ANSWER_FIELD does not say where people give it";
                return Progress::Waiting(why.into());
            }
        };
        Progress::Finished(work_package::response(row, expected, &text))
    }
}

/// Asks for work packages by their ids, whatever their state.
pub fn list(ids: &[u64], page: usize) -> Call {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    Call::list("/work_packages", &json!([{"id": {"operator": "=", "values": ids}}]), page, IDS)
}

#[cfg(test)]
mod tests;
