//! Adds a task's checklists, and completes those that a crash or a failed call has left half done.
//!
//! Safe to repeat: if a task may have parts already, they are read back first, and only what is missing is added. What
//! people have added, renamed or ticked stays. It knows no marker and no record.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::client::{Call, Client, Reply};
use super::errors::{ApiError, Kind};
use super::fields::Checklist;
use super::member;
use crate::message::text;

/// The gap between the places of two lists or lines: what people add gets a place next to its neighbour, which is then
/// none of ours.
const GAP: u64 = 100;

/// How many titles of missing parts the log names.
const TITLES: usize = 3;

/// A task at the portal and the checklists that it should have.
pub struct Wanted<'a> {
    /// The task's id at the portal.
    pub task: &'a str,
    /// In the message's order.
    pub lists: &'a [Checklist],
    /// It may have some of them already.
    pub may_have_some: bool,
    /// More of them may still come: a portal goes on with a batch after the worker that sent it has died.
    pub may_get_more: bool,
}

/// What a task still lacks in the end, and why.
#[derive(Debug)]
pub struct Missing {
    /// Lists and lines.
    pub parts: u32,
    /// The first of their titles, for the log.
    pub titles: String,
    /// Why the last failed call failed.
    pub why: ApiError,
}

/// Adds what is missing; `None` for each task that lacks nothing. A refused part is tried once more: in a batch the
/// refusal may have been meant for another part.
pub fn complete(client: &Client, wanted: &[Wanted]) -> Vec<Option<Missing>> {
    let mut tasks: Vec<Plan> = wanted.iter().map(Plan::new).collect();
    for _ in 0..2 {
        read_back(client, &mut tasks);
        tasks.iter_mut().for_each(Plan::leave_parts_that_may_still_come);
        add(client, &mut tasks, Plan::next_lists);
        add(client, &mut tasks, Plan::next_lines);
        tasks.iter_mut().for_each(Plan::end_round);
    }
    tasks.into_iter().map(Plan::missing).collect()
}

/// What has to be added to one task.
struct Plan<'a> {
    task: &'a str,
    lists: Vec<Part>,
    /// The portal's parts must be read first.
    unread: bool,
    /// Nothing more is added for now.
    left: bool,
    /// The missing parts may still come from an earlier try.
    may_get_more: bool,
    /// Why the last failed call failed.
    why: Option<ApiError>,
}

/// A list with its lines, or a line.
struct Part {
    title: String,
    /// Its `SORT_INDEX`.
    place: u64,
    /// Its id at the portal, once it exists there.
    id: Option<String>,
    lines: Vec<Part>,
}

impl Part {
    fn new(position: usize, title: &str, lines: &[String]) -> Part {
        let lines = lines.iter().enumerate().map(|(position, line)| Part::new(position, line, &[])).collect();
        Part { title: title.to_owned(), place: place(position), id: None, lines }
    }
}

impl<'a> Plan<'a> {
    fn new(wanted: &Wanted<'a>) -> Plan<'a> {
        let lists = wanted.lists.iter().enumerate();
        let lists: Vec<Part> = lists.map(|(position, list)| Part::new(position, &list.name, &list.items)).collect();
        let unread = wanted.may_have_some && !lists.is_empty();
        Plan { task: wanted.task, lists, unread, left: false, may_get_more: wanted.may_get_more, why: None }
    }

    /// The missing lists, when it is known which lists exist.
    fn next_lists(&mut self) -> Vec<(Call, &mut Part)> {
        let (task, known) = (self.task, !self.unread && !self.left);
        let missing = self.lists.iter_mut().filter(|list| known && list.id.is_none());
        missing.map(|list| (item(task, &list.title, "0", list.place), list)).collect()
    }

    /// The missing lines of the lists that exist.
    fn next_lines(&mut self) -> Vec<(Call, &mut Part)> {
        let (task, known) = (self.task, !self.unread && !self.left);
        let lists = self.lists.iter_mut().filter(|_| known);
        let lines = lists.filter_map(|list| Some((list.id.clone()?, &mut list.lines)));
        let missing = lines.flat_map(|(list, lines)| {
            lines.iter_mut().filter(|line| line.id.is_none()).map(move |line| (list.clone(), line))
        });
        missing.map(|(list, line)| (item(task, &line.title, &list, line.place), line)).collect()
    }

    /// What is missing after the reading is added only when no earlier try can still add it.
    fn leave_parts_that_may_still_come(&mut self) {
        if std::mem::take(&mut self.may_get_more) && !self.left && !self.missing_titles().is_empty() {
            self.left = true;
            self.why = Some(ApiError::new(Kind::Unknown, "an earlier try to add them may not be over".into()));
        }
    }

    /// A part that failed may have been added all the same. Without a clear answer the portal may still add it, and
    /// after any failure but a refusal the next call fails too.
    fn end_round(&mut self) {
        self.unread |= self.why.is_some();
        self.left |= self.why.as_ref().is_some_and(|err| err.kind != Kind::Refused);
    }

    fn missing_titles(&self) -> Vec<&str> {
        let all = self.lists.iter().flat_map(|list| [list].into_iter().chain(&list.lines));
        all.filter(|part| part.id.is_none()).map(|part| part.title.as_str()).collect()
    }

    fn missing(self) -> Option<Missing> {
        let missing = self.missing_titles();
        let first: Vec<String> = missing.iter().take(TITLES).map(|title| format!("{title:?}")).collect();
        let (parts, titles) = (missing.len() as u32, first.join(", "));
        Some(Missing { parts, titles, why: self.why? }).filter(|missing| missing.parts > 0)
    }
}

/// Reads which parts the tasks have, where that is not known.
fn read_back(client: &Client, tasks: &mut [Plan]) {
    let mut unread: Vec<&mut Plan> = tasks.iter_mut().filter(|task| task.unread && !task.left).collect();
    let calls = unread.iter().map(|task| items(task.task)).collect();
    for (task, reply) in unread.iter_mut().zip(client.call_to_finish(calls)) {
        match reply.and_then(|reply| Item::all(&reply)) {
            Ok(items) => {
                task.unread = false;
                recognise(&mut task.lists, &items, "0");
            }
            Err(err) => task.why = Some(worse(task.why.take(), err)),
        }
    }
}

/// Of two errors the one that asks for more patience: a refusal must not hide a call that may be under way.
fn worse(known: Option<ApiError>, new: ApiError) -> ApiError {
    let rank = |err: &ApiError| match err.kind {
        Kind::Unknown => 2,
        Kind::TooFast
        | Kind::CoolingDown
        | Kind::Blocked
        | Kind::Configuration
        | Kind::Unreachable
        | Kind::Outdated => 1,
        Kind::Refused => 0,
    };
    known.filter(|known| rank(known) > rank(&new)).unwrap_or(new)
}

/// Adds the next parts of all tasks together.
fn add<'a>(
    client: &Client,
    tasks: &mut [Plan<'a>],
    next: impl for<'p> Fn(&'p mut Plan<'a>) -> Vec<(Call, &'p mut Part)>,
) {
    let mut calls = Vec::new();
    let mut counts = Vec::new();
    for task in tasks.iter_mut() {
        let own: Vec<Call> = next(task).into_iter().map(|(call, _)| call).collect();
        counts.push(own.len());
        calls.extend(own);
    }
    let mut replies = client.call_to_finish(calls).into_iter();
    for (task, count) in tasks.iter_mut().zip(counts) {
        let own: Vec<Reply> = replies.by_ref().take(count).collect();
        let mut failed = task.why.take();
        for ((_, part), reply) in next(task).into_iter().zip(own) {
            match reply.and_then(|reply| text(&reply["result"]).ok_or_else(no_id)) {
                Ok(id) => part.id = Some(id),
                Err(err) => failed = Some(worse(failed, err)),
            }
        }
        task.why = failed;
    }
}

/// A list or a line as the portal shows it.
struct Item {
    id: String,
    parent: String,
    title: String,
    place: Option<u64>,
}

impl Item {
    fn all(reply: &Value) -> Result<Vec<Item>, ApiError> {
        let rows = reply["result"].as_array().ok_or_else(no_list)?;
        let read = |row: &Value| {
            let text = |name: &str| member(row, name).and_then(text);
            Some(Item {
                id: text("ID")?,
                parent: text("PARENT_ID").unwrap_or_else(|| "0".into()),
                title: text("TITLE").unwrap_or_default(),
                place: text("SORT_INDEX").and_then(|place| place.parse().ok()),
            })
        };
        Ok(rows.iter().filter_map(read).collect())
    }
}

/// Finds the parts among the items under `parent`, each item once: first by title and place, since two may have the
/// same title; then by title; then, for one that somebody has renamed, by the place, which only we give.
fn recognise(parts: &mut [Part], items: &[Item], parent: &str) {
    let mut left: BTreeMap<usize, &Item> = items.iter().filter(|item| item.parent == parent).enumerate().collect();
    let same_title = |part: &Part, item: &Item| item.title.trim() == part.title.trim();
    let same_place = |part: &Part, item: &Item| item.place == Some(part.place);
    let both = |part: &Part, item: &Item| same_title(part, item) && same_place(part, item);
    for same in [&both as &dyn Fn(&Part, &Item) -> bool, &same_title, &same_place] {
        for part in parts.iter_mut().filter(|part| part.id.is_none()) {
            let found = left.iter().find(|(_, item)| same(part, item)).map(|(position, _)| *position);
            part.id = found.and_then(|position| left.remove(&position)).map(|item| item.id.clone());
        }
    }
    for part in parts {
        if let Some(id) = part.id.clone() {
            recognise(&mut part.lines, items, &id);
        }
    }
}

/// Adds a line of the list `parent` to a task, or with `0` a list, at this place among its neighbours. Without a place
/// the portal puts it on top of them.
pub fn item(task: &str, title: &str, parent: &str, place: u64) -> Call {
    let fields = json!({"TITLE": title, "PARENT_ID": parent, "SORT_INDEX": place});
    Call { method: "task.checklistitem.add", params: vec![("TASKID", task.into()), ("FIELDS", fields)] }
}

/// Reads all lists and lines of a task.
pub fn items(task: &str) -> Call {
    Call { method: "task.checklistitem.getlist", params: vec![("TASKID", task.into())] }
}

/// The place of the part at this position among its neighbours.
pub fn place(position: usize) -> u64 {
    (position as u64 + 1) * GAP
}

fn no_id() -> ApiError {
    ApiError::new(Kind::Unknown, "task.checklistitem.add: the reply has no id".into())
}

fn no_list() -> ApiError {
    ApiError::new(Kind::Unknown, "task.checklistitem.getlist: the reply has no list".into())
}

#[cfg(test)]
mod tests;
