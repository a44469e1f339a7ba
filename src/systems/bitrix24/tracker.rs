//! Finds out which Bitrix24 tasks are finished: fifty ids a command, many commands a request.
//!
//! An id alone proves nothing: another portal, or one that was set up again, gives the same ids to other tasks. So each
//! row's marker is compared. This file reads states and answers; [`crate::lane::checking`] decides what happens to a
//! record.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::answers::Answers;
use super::client::{Call, Client};
use super::errors::{ApiError, Kind};
use super::fields::{self, is_yes};
use super::{Settings, look_up, member, rows};
use crate::message::{Record, text};
use crate::systems::place::Here;
use crate::systems::{Failure, Progress, Tracker, question};

/// The most ids that one list call may name: a page has this many rows.
pub const IDS: usize = 50;
/// The fields of a task that the response shows, beside the field with its marker.
const SELECT: &[&str] = &[
    "ID",
    "TITLE",
    "STATUS",
    "PRIORITY",
    "RESPONSIBLE_ID",
    "CREATED_BY",
    "GROUP_ID",
    "DEADLINE",
    "CREATED_DATE",
    "CHANGED_DATE",
    "CLOSED_DATE",
    "CLOSED_BY",
    "UF_RESULT_EXPECTED",
    "UF_RESULT_QUESTION",
    "UF_RESULT_ANSWER",
    fields::XML_ID,
];

/// The tracker; one thread uses it.
pub struct BitrixTracker {
    settings: Settings,
    client: Arc<Client>,
    answers: Answers,
    /// The portal has ignored the filter by ids once: since then each task has a call of its own, in batches.
    one_by_one: bool,
}

impl BitrixTracker {
    /// A tracker for the portal of these settings.
    pub fn new(settings: Settings, client: Arc<Client>) -> BitrixTracker {
        let answers = Answers::new(Arc::clone(&client), settings.answer_texts.clone());
        BitrixTracker { settings, client, answers, one_by_one: false }
    }
}

impl Tracker for BitrixTracker {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        let elsewhere: Vec<Option<String>> = records.iter().map(|record| self.elsewhere(record)).collect();
        let ids: Vec<Option<String>> = records.iter().map(target_id).collect();
        let here =
            ids.iter().zip(&elsewhere).filter(|(_, elsewhere)| elsewhere.is_none()).filter_map(|(id, _)| id.as_ref());
        let asked: Vec<&str> = here.map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect();
        let rows = self.read(&asked);
        let checked = records.iter().zip(&ids).zip(elsewhere).map(|((record, id), elsewhere)| {
            if let Some(why) = elsewhere {
                return Ok(Progress::Foreign(why));
            }
            let id = id.as_deref().ok_or_else(no_target_id)?;
            match rows.get(id) {
                Some(Ok(Some(row))) => Ok(match self.another(record, row) {
                    Some(why) => Progress::Foreign(format!("task {id} at the portal {why}")),
                    None => self.progress(record, row),
                }),
                Some(Ok(None)) => Ok(Progress::Gone),
                Some(Err(err)) => Err(not_answered(err)),
                None => Err(Failure::Transient { error: anyhow!("not asked for") }),
            }
        });
        checked.collect()
    }
}

/// The id of the task at the portal; only digits ever get into a request.
fn target_id(record: &Record) -> Option<String> {
    let task = &record.response_data["result"]["task"];
    let id = member(task, "ID").and_then(text)?;
    id.bytes().all(|byte| byte.is_ascii_digit()).then_some(id)
}

fn no_target_id() -> Failure {
    Failure::Permanent(anyhow!("the record does not name a Bitrix24 task in response_data.result.task.id"))
}

/// A refused question says nothing about the task: its record stays and is asked about again.
fn not_answered(err: &ApiError) -> Failure {
    match err.clone().into_failure() {
        Failure::Permanent(error) => Failure::Transient { error },
        failure => failure,
    }
}

/// For each id the task's row, or `None` where the portal shows no such task.
type Rows = HashMap<String, Result<Option<Value>, ApiError>>;

/// Whose task a row is.
impl BitrixTracker {
    /// Why the task of this record is not looked for here: the record says that it is at another portal.
    fn elsewhere(&self, record: &Record) -> Option<String> {
        let here = Here { host: self.settings.webhook.host(), former: &self.settings.former_hosts };
        here.elsewhere(record, ["BITRIX_WEBHOOK_URL", "BITRIX_FORMER_HOSTS"])
    }

    /// Why the task in this row is another task than the record's, if it is.
    fn another(&self, record: &Record, row: &Value) -> Option<&'static str> {
        let (id, marker) = (record.task.id.as_str(), self.marker());
        let has_field = marker != fields::XML_ID;
        // Without the field a long id is not written anywhere, and the Python worker has written no marker.
        let is_marked = has_field || (fields::xml_id(id).is_some() && record.target_host().is_some());
        match look_up::carries(row, marker, id) {
            Some(true) => None,
            Some(false) => Some("has another message's marker"),
            None => is_marked.then_some("has no marker"),
        }
    }

    fn marker(&self) -> &str {
        self.settings.marker_field.as_deref().unwrap_or(fields::XML_ID)
    }

    /// The fields to ask for.
    fn select(&self) -> Value {
        let marker = self.settings.marker_field.as_deref().filter(|marker| *marker != fields::XML_ID);
        SELECT.iter().copied().chain(marker).collect::<Vec<_>>().into()
    }
}

impl BitrixTracker {
    fn read(&mut self, ids: &[&str]) -> Rows {
        if !self.one_by_one {
            if let Some(rows) = self.read_lists(ids) {
                return rows;
            }
            log::warn!("the portal ignores the filter by several ids; asking for each task by itself, in batches");
            self.one_by_one = true;
        }
        let select = self.select();
        let calls: Vec<Call> = ids.iter().map(|id| get(id, &select)).collect();
        let replies = self.client.call_in_bulk(calls).into_iter().zip(ids);
        replies.map(|(reply, id)| ((*id).to_owned(), reply.map(|reply| task_of(&reply)))).collect()
    }

    /// `None` when a reply has a row that nobody asked for: the portal has ignored the filter, so a task that is
    /// missing from the reply may exist all the same.
    fn read_lists(&self, ids: &[&str]) -> Option<Rows> {
        let lists: Vec<&[&str]> = ids.chunks(IDS).collect();
        let select = self.select();
        let calls: Vec<Call> = lists.iter().map(|ids| list(ids, &select)).collect();
        let mut found = Rows::new();
        for (ids, reply) in lists.into_iter().zip(self.client.call_in_bulk(calls)) {
            let reply = match reply {
                Ok(reply) => reply,
                Err(err) => {
                    found.extend(ids.iter().map(|id| ((*id).to_owned(), Err(err.clone()))));
                    continue;
                }
            };
            let Some(rows) = rows(&reply) else {
                let err = ApiError::new(Kind::Unknown, "tasks.task.list: the reply has no list of tasks".into());
                found.extend(ids.iter().map(|id| ((*id).to_owned(), Err(err.clone()))));
                continue;
            };
            found.extend(ids.iter().map(|id| ((*id).to_owned(), Ok(None))));
            for row in rows {
                let id = member(row, "ID").and_then(text).filter(|id| ids.contains(&id.as_str()))?;
                found.insert(id, Ok(Some(row.clone())));
            }
        }
        Some(found)
    }

    fn progress(&mut self, record: &Record, row: &Value) -> Progress {
        // `status` is the real state; `subStatus` mixes in "overdue" and the like and must never decide.
        let status = member(row, "STATUS").and_then(text).and_then(|status| status.parse::<u64>().ok());
        if !status.is_some_and(|status| self.settings.completed_statuses.contains(&status)) {
            return Progress::Open;
        }
        let stored = member(row, "UF_RESULT_ANSWER").and_then(stored_answer);
        let answer = stored.map(|stored| self.answers.text(&stored));
        question::finished(row.clone(), is_expected(record, row), answer, self.settings.missing_answer)
    }
}

/// Whether the process waits for an answer. The portal says so; if its field is unset, the message does: a portal that
/// failed while it created the task may never have written its custom fields.
fn is_expected(record: &Record, row: &Value) -> bool {
    let is_set = |value: &&Value| !value.is_null() && **value != Value::Bool(false) && **value != "";
    let at_portal = member(row, "UF_RESULT_EXPECTED").filter(is_set);
    at_portal.map_or_else(|| question::is_expected(&record.task), is_yes)
}

/// The answer as the portal stores it. PHP shows an unset field as `false`, `""`, `0` or `[]`.
pub fn stored_answer(value: &Value) -> Option<String> {
    let value = value.as_array().map_or(Some(value), |values| values.first())?;
    text(value).filter(|text| text != "0" && text != "false")
}

/// Asks for the tasks with these ids at the portal.
pub fn list(ids: &[&str], select: &Value) -> Call {
    let params = vec![("filter", json!({"ID": ids})), ("select", select.clone()), ("start", (-1).into())];
    Call { method: "tasks.task.list", params }
}

/// Asks for one of them.
pub fn get(id: &str, select: &Value) -> Call {
    Call { method: "tasks.task.get", params: vec![("taskId", id.into()), ("select", select.clone())] }
}

/// The task in a reply to `tasks.task.get`; `"result": []` says that there is none.
pub fn task_of(reply: &Value) -> Option<Value> {
    reply["result"].get("task").filter(|task| task.is_object()).cloned()
}

#[cfg(test)]
mod tests;
