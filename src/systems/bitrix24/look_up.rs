//! Finds the tasks that carry a marker: for up to 49 tasks one call for each of the two fields that hold it. Look-ups
//! of all threads share calls.
//!
//! It decides neither what a found task means nor what a failed look-up leads to; [`super::handler`] does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::anyhow;
use serde_json::{Map, Value, json};

use super::client::{Call, Client};
use super::combiner::{Carried, Carrier, Combiner};
use super::errors::{ApiError, Kind};
use super::fields::{self, XML_ID};
use super::{custom_fields, member, rows};
use crate::message::{now_ms, text};
use crate::terminal;

/// The rows of a page of `tasks.task.list`.
const PAGE: usize = 50;
/// One less than a page: behind a full page there may be more tasks.
pub const MOST: usize = PAGE - 1;

/// So many look-ups may be under way; each further one has to be full.
const AT_ONCE: usize = 3;

/// What is known about a marker.
pub type Looked = Result<Seen, NotAnswered>;

/// What a look-up has found.
#[derive(Clone, Debug)]
pub enum Seen {
    /// The row of the task.
    Task(Value),
    /// No task, at this time or later.
    Nothing(Instant),
}

/// It is not known whether the task exists.
#[derive(Clone, Debug)]
pub enum NotAnswered {
    /// The portal did not answer the question.
    Failed {
        /// What it said instead.
        err: ApiError,
        /// Every other look-up at the same time has failed too.
        everywhere: bool,
    },
    /// The portal cannot search for the marker; the text says what to do.
    NoSearch(String),
}

/// The look-ups of one portal, by one marker field and by `XML_ID`.
pub struct LookUp {
    client: Arc<Client>,
    marker: String,
    waiting: Combiner<String, Looked>,
    /// The portal has proven that it can search for the marker.
    works: AtomicBool,
    /// The portal has ignored a search by `XML_ID`.
    by_marker_only: AtomicBool,
}

impl LookUp {
    /// Look-ups by this field.
    pub fn new(client: Arc<Client>, marker: &str) -> LookUp {
        let (works, by_marker_only) = Default::default();
        LookUp { client, marker: marker.to_owned(), waiting: Combiner::default(), works, by_marker_only }
    }

    /// What is known about the task with each of these ids.
    pub fn find<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Vec<Looked> {
        self.waiting.run(self, ids.into_iter().map(str::to_owned).collect())
    }

    /// Makes sure, once, that the portal can search: asks for a marker that no task has. A portal that cannot search
    /// for it returns rows all the same. If it returns none because it has no tasks yet, this proves nothing, so it is
    /// also asked whether it has the field.
    ///
    /// # Errors
    /// The portal cannot search for the marker, or gave no usable answer.
    pub fn probe(&self) -> Result<(), NotAnswered> {
        if self.works.load(Ordering::Relaxed) {
            return Ok(());
        }
        let nobody = format!("nobody-{}-{}", std::process::id(), now_ms());
        let params = vec![("select", json!(["ID"])), ("start", (-1).into())];
        let any_task = Call { method: "tasks.task.list", params };
        let questions =
            [list(&self.marker, &[&nobody], &self.marker), any_task, list(XML_ID, &[&nobody], &self.marker)];
        let mut replies = self.client.call_first(questions.into()).0.into_iter();
        let mut next = || replies.next().unwrap_or_else(|| self.client.broken()).map_err(failed);
        rows_of(&next()?, &self.marker, &[&nobody])?;
        let shows_tasks = rows(&next()?).is_some_and(|rows| !rows.is_empty());
        if let Err(NotAnswered::NoSearch(_)) = rows_of(&next()?, XML_ID, &[&nobody]) {
            log::warn!("the portal cannot search tasks by {XML_ID}: they are looked up by {} only", self.marker);
            self.by_marker_only.store(true, Ordering::Relaxed);
        }
        if fields::is_custom_field(&self.marker) && !shows_tasks && self.lacks_field() {
            return Err(no_search(&self.marker));
        }
        self.works.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// A portal that does not list its fields is believed to have it.
    fn lacks_field(&self) -> bool {
        custom_fields::list(&self.client, json!({"FIELD_NAME": [self.marker]}))
            .is_ok_and(|rows| custom_fields::named(&rows, &self.marker).is_none())
    }

    /// The questions for these ids: which field, and which of the ids.
    fn questions<'a>(&self, ids: &[&'a str]) -> Vec<(&str, Vec<&'a str>)> {
        let mut questions = vec![(self.marker.as_str(), ids.to_vec())];
        let second: Vec<&str> = ids.iter().copied().filter(|id| fields::xml_id(id).is_some()).collect();
        if self.marker != XML_ID && !second.is_empty() && !self.by_marker_only.load(Ordering::Relaxed) {
            questions.push((XML_ID, second));
        }
        questions
    }

    /// One look-up for all of these ids; if it gets no answer, one for each half.
    fn ask(&self, ids: &[&str]) -> Vec<Looked> {
        let questions = self.questions(ids);
        let calls = questions.iter().map(|(field, ids)| list(field, ids, &self.marker)).collect();
        let mut found = HashMap::new();
        let (replies, sent) = self.client.call_first(calls);
        for ((field, asked), reply) in questions.iter().zip(replies) {
            let rows = reply.map_err(failed).and_then(|reply| rows_of(&reply, field, asked));
            match rows {
                Ok(rows) => rows.into_iter().for_each(|(id, row)| keep_older(&mut found, id, row)),
                Err(err) => return self.ask_for_fewer(ids, err),
            }
        }
        // Several threads may ask for the same one.
        ids.iter().map(|id| Ok(found.get(*id).cloned().map_or(Seen::Nothing(sent), Seen::Task))).collect()
    }

    /// One id of many may make the portal fail, or fill its page.
    fn ask_for_fewer(&self, ids: &[&str], err: NotAnswered) -> Vec<Looked> {
        let may_be_one = match &err {
            NotAnswered::Failed { err, .. } => matches!(err.kind, Kind::Refused | Kind::Unknown),
            NotAnswered::NoSearch(_) => false,
        };
        if !may_be_one || ids.len() <= 1 {
            return vec![Err(err); ids.len()];
        }
        let (first, second) = ids.split_at(ids.len() / 2);
        let mut found = self.ask(first);
        let down = found.iter().all(Result::is_err);
        // Half of them had no answer: the others would have none either, and each may take a whole deadline.
        found.extend(if down { vec![Err(err); second.len()] } else { self.ask(second) });
        if found.iter().any(Result::is_ok) {
            found.iter_mut().filter_map(|found| found.as_mut().err()).for_each(NotAnswered::is_not_everywhere);
        }
        found
    }
}

/// The more look-ups are under way, the fuller the next one has to be, so that many ids share it; a full one goes at
/// once. Where requests are scarce, or until the portal has proven that it can search, the next one waits for the one
/// before.
impl Carrier for LookUp {
    type Item = String;
    type Reply = Looked;

    fn may_start(&self, waiting: usize, under_way: usize) -> bool {
        let fullness = if self.client.is_limited() { MOST } else { under_way * MOST / AT_ONCE };
        under_way == 0 || (waiting >= fullness.min(MOST) && self.works.load(Ordering::Relaxed))
    }

    fn await_permit(&self, _: &dyn Fn() -> usize, _: usize) -> Result<(), Looked> {
        Ok(())
    }

    fn share<'a>(&self, _: impl Iterator<Item = &'a String>, waiting: usize) -> usize {
        waiting.min(MOST)
    }

    fn carry(&self, ids: Vec<String>) -> Carried<Looked> {
        if let Err(err) = self.probe() {
            return Carried { replies: vec![Err(err.clone()); ids.len()], to_the_rest: Some(Err(err)) };
        }
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        Carried { replies: self.ask(&ids), to_the_rest: None }
    }

    fn broken(&self) -> Looked {
        Err(failed(ApiError::new(Kind::Unknown, "the look-up broke off; worker_errors.log says where".into())))
    }
}

impl NotAnswered {
    fn is_not_everywhere(&mut self) {
        if let NotAnswered::Failed { everywhere, .. } = self {
            *everywhere = false;
        }
    }
}

fn failed(err: ApiError) -> NotAnswered {
    NotAnswered::Failed { err, everywhere: true }
}

fn no_search(marker: &str) -> NotAnswered {
    NotAnswered::NoSearch(format!(
        "the portal cannot search tasks by {marker}, so doubles could not be prevented: make the field with \
         `{}`, or set BITRIX_TASK_ID_FIELD=XML_ID, or none",
        terminal::command(&["check", "--create-field"])
    ))
}

/// Asks for the tasks whose `field` holds one of these ids.
fn list(field: &str, ids: &[&str], marker: &str) -> Call {
    let filter = match ids {
        [id] => json!(id),
        ids => json!(ids),
    };
    let mut select = json!(["ID", "TITLE", "STATUS", "RESPONSIBLE_ID", "CREATED_DATE", XML_ID]);
    if let Some(names) = select.as_array_mut().filter(|_| marker != XML_ID) {
        names.push(marker.into());
    }
    let params = vec![
        ("filter", Map::from_iter([(field.to_owned(), filter)]).into()),
        ("select", select),
        // Without counting, which takes minutes instead of milliseconds on a large portal.
        ("start", (-1).into()),
    ];
    Call { method: "tasks.task.list", params }
}

/// The calls that look for the task with this id, for [`super::explain`].
pub fn calls(marker: &str, id: &str) -> Vec<Call> {
    let second = fields::xml_id(id).filter(|_| marker != XML_ID).map(|id| list(XML_ID, &[id], marker));
    [list(marker, &[id], marker)].into_iter().chain(second).collect()
}

/// For each id the oldest row that carries exactly this id. A row that carries none of them shows that the portal
/// ignored the filter and returned other tasks: then nothing is known, least of all that a task does not exist. A
/// database ignores case and blanks at the end, so a row that differs in these only is simply another task.
fn rows_of<'a>(reply: &Value, field: &str, ids: &[&'a str]) -> Result<HashMap<&'a str, Value>, NotAnswered> {
    let no_list = || ApiError::new(Kind::Unknown, "tasks.task.list: the reply has no list of tasks".into());
    let rows = rows(reply).ok_or_else(|| failed(no_list()))?;
    let mut found: HashMap<&str, Value> = HashMap::new();
    for row in rows {
        let carried = member(row, field).and_then(text).unwrap_or_default();
        match ids.iter().find(|id| **id == carried) {
            Some(id) => keep_older(&mut found, id, row.clone()),
            None if ids.iter().any(|id| loosely(id) == loosely(&carried)) => {}
            None => return Err(no_search(field)),
        }
    }
    match rows.len() >= PAGE {
        // A full page hides nothing about one marker; of several, it may hide one.
        true if ids.len() > 1 => {
            Err(failed(ApiError::new(Kind::Refused, "tasks.task.list: more tasks than fit into the reply".into())))
        }
        _ => Ok(found),
    }
}

/// Whether this row of a task carries the marker of the task with this id, in the field or in [`XML_ID`]. `None` when
/// it has neither. One of them is enough: the field may never have been written, and another program may use `XML_ID`.
pub fn carries(row: &Value, marker: &str, id: &str) -> Option<bool> {
    // PHP shows an unset field as `false`.
    let written = [marker, XML_ID].into_iter().filter_map(|name| member(row, name)).filter(|value| **value != false);
    let shown: Vec<String> = written.filter_map(text).collect();
    (!shown.is_empty()).then(|| shown.iter().any(|shown| shown == id))
}

/// Somebody may have copied the task with its marker.
fn keep_older<'a>(found: &mut HashMap<&'a str, Value>, id: &'a str, row: Value) {
    if found.get(id).is_none_or(|known| target_id(&row) < target_id(known)) {
        found.insert(id, row);
    }
}

fn loosely(text: &str) -> String {
    text.trim().to_lowercase()
}

fn target_id(row: &Value) -> Option<u64> {
    member(row, "ID").and_then(text)?.parse().ok()
}

/// What the log says about a failed look-up.
impl NotAnswered {
    /// The error for the log.
    pub fn error(&self) -> anyhow::Error {
        match self {
            NotAnswered::Failed { err, .. } => anyhow!("{err}"),
            NotAnswered::NoSearch(why) => anyhow!("{why}"),
        }
    }
}

#[cfg(test)]
mod tests;
