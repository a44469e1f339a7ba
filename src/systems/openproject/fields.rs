//! Task → the body of a work package or project. Pure: the same task, settings and schema give the same body, and
//! nothing is sent.
//!
//! The rules are section "What a task becomes" of this folder's README. [`custom`] has those for custom fields,
//! [`links`] those for things with a number. Each value remembers where it came from, for [`super::explain`].

pub mod custom;
pub mod links;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Settings;
use super::schema::Schema;
use crate::message::Task;
use crate::message::given::checklists::{CHECKLISTS, checklists};
use crate::message::given::dates::{DEADLINES, moment};
use crate::message::given::texts::{self, CUT_DESCRIPTION, CUT_TITLE, Limit, shortened};
use crate::message::given::{self, Place, Sourced, Warnings};
use crate::systems::question;

/// The column for a subject, in characters.
const LONGEST_SUBJECT: usize = 255;
/// In characters. OpenProject has no limit of its own, and shows all of it twice in every answer.
const LONGEST_DESCRIPTION: usize = 200_000;
/// Of a project's identifier, in characters.
const LONGEST_IDENTIFIER: usize = 100;
/// In front of the identifier of a project that a task has made.
const IDENTIFIER: &str = "camunda-";

/// What a topic asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A work package.
    Task,
    /// A work package that is a milestone.
    Milestone,
    /// A project.
    Project,
    /// A change of a work package that is there.
    Update,
}

impl Work {
    /// What this task asks for.
    pub fn of(task: &Task) -> Work {
        Work::of_topic(&task.topic)
    }

    /// What a task of this topic asks for.
    pub fn of_topic(topic: &str) -> Work {
        match topic {
            "op_create_milestone" => Work::Milestone,
            "op_create_project" => Work::Project,
            "op_update_task" => Work::Update,
            _ => Work::Task,
        }
    }
}

/// The body of a request, in the making.
#[derive(Debug, Default)]
pub struct Fields {
    /// Its members but for `_links`.
    pub members: Map<String, Value>,
    /// Its `_links`.
    pub links: Map<String, Value>,
    /// Whether the process waits for an answer, where the message says it.
    pub expected: Option<Sourced<bool>>,
    /// A sentence for each value of the message that could not be used.
    pub warnings: Warnings,
    /// Where each member and link came from.
    pub origins: BTreeMap<String, Vec<String>>,
}

impl Fields {
    fn put<T: Into<Value>>(&mut self, name: &str, made: Option<Sourced<T>>) {
        if let Some(Sourced { value, origin }) = made {
            self.members.insert(name.into(), value.into());
            self.origins.insert(name.into(), origin);
        }
    }

    fn link(&mut self, name: &str, made: Option<Sourced<Value>>) {
        if let Some(Sourced { value, origin }) = made {
            self.links.insert(name.into(), value);
            self.origins.insert(name.into(), origin);
        }
    }

    /// As it is sent.
    pub fn body(&self) -> Value {
        let mut body = self.members.clone();
        if !self.links.is_empty() {
            body.insert("_links".into(), self.links.clone().into());
        }
        body.into()
    }
}

/// The body for this task. Only `schema` knows the fields that have a name at OpenProject.
pub fn fields(task: &Task, settings: &Settings, schema: Option<&Schema>) -> Fields {
    let mut made = Fields::default();
    match Work::of(task) {
        work @ (Work::Task | Work::Milestone) => {
            put_texts(task, &mut made);
            links::put_place(task, work, settings, &mut made);
            put_dates(task, work, &mut made);
            put_common(task, settings, schema, &mut made);
            // It comes last, so that nothing in the message can replace it.
            if let Some(marker) = &settings.marker_field {
                made.put(marker, Some(Sourced::new(task.id.as_str(), "task_id")));
            }
        }
        Work::Update => {
            put_given_texts(task, &mut made);
            put_dates(task, Work::Update, &mut made);
            put_common(task, settings, schema, &mut made);
            if let Some(marker) = &settings.marker_field {
                // The marker stays that of the task that has made the work package.
                made.members.remove(marker);
            }
        }
        Work::Project => put_project(task, &mut made),
    }
    made.expected = given::answer(task, question::EXPECTED, &mut made.warnings);
    made
}

/// What a new work package and a change have in common.
fn put_common(task: &Task, settings: &Settings, schema: Option<&Schema>, made: &mut Fields) {
    links::put(task, settings, made);
    custom::put(task, schema, made);
}

fn put_texts(task: &Task, made: &mut Fields) {
    let title = texts::title(task, &mut made.warnings).unwrap_or_else(|| Sourced::new(by_topic(task), "topic"));
    let description = texts::description(task, &title, &mut made.warnings);
    put_description(task, description, made);
    put_subject(title, made);
}

/// For a change: only what the message itself says.
fn put_given_texts(task: &Task, made: &mut Fields) {
    if let Some(title) = given::first_text(task, Place::Variables, &["title"], &mut made.warnings) {
        put_subject(title, made);
    }
    if let Some(description) = texts::prose(task, &["description"], &mut made.warnings) {
        put_description(task, description, made);
    }
}

fn put_subject(title: Sourced<String>, made: &mut Fields) {
    // A subject is one line.
    let title = title.map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
    made.put("subject", Some(shortened(title, &[Limit::characters(LONGEST_SUBJECT)], CUT_TITLE)));
}

/// The description, with the question and the checklists, for which OpenProject has no place of their own.
fn put_description(task: &Task, description: Sourced<String>, made: &mut Fields) {
    let Sourced { value: mut raw, mut origin } = description;
    if let Some(question) = given::first_text(task, Place::Extensions, &[question::QUESTION], &mut made.warnings) {
        raw = format!("{raw}\n\n**{}**", question.value);
        origin.extend(question.origin);
    }
    if let Some(lists) = checklists(task, &mut made.warnings) {
        for list in lists.value {
            raw = format!("{raw}\n\n### {}\n", list.name);
            list.items.iter().for_each(|item| raw.push_str(&format!("\n* [ ] {item}")));
        }
        made.origins.insert(CHECKLISTS.into(), lists.origin.clone());
        origin.extend(lists.origin);
    }
    let limit = Limit::characters(LONGEST_DESCRIPTION);
    let description = shortened(Sourced { value: raw, origin }, &[limit], CUT_DESCRIPTION);
    made.put("description", Some(description.map(|raw| json!({"format": "markdown", "raw": raw}))));
}

/// What a task without a title is called.
fn by_topic(task: &Task) -> String {
    match Work::of(task) {
        Work::Milestone => "Новая веха из процесса Camunda".into(),
        Work::Project => "Новый проект из процесса Camunda".into(),
        Work::Task | Work::Update if task.topic == "op_create_task" => "Новая задача из процесса Camunda".into(),
        Work::Task | Work::Update => format!("Задача из Camunda процесса ({})", task.topic),
    }
}

/// OpenProject keeps days; a milestone is one day.
fn put_dates(task: &Task, work: Work, made: &mut Fields) {
    let day = |moment: Sourced<String>| moment.map(|moment| moment.chars().take(10).collect::<String>());
    let due = moment(task, &DEADLINES, "deadline", &mut made.warnings).map(day);
    let starts = ["start_date", "startDate"];
    let start = match work {
        Work::Milestone => due.clone(),
        Work::Task | Work::Update | Work::Project => moment(task, &starts, "start", &mut made.warnings).map(day),
    };
    let is_late = start.as_ref().zip(due.as_ref()).is_some_and(|(start, due)| start.value > due.value);
    if is_late {
        made.warnings.push("the start is after the deadline; the task has no start".into());
    }
    made.put("startDate", start.filter(|_| !is_late));
    made.put("dueDate", due);
}

fn put_project(task: &Task, made: &mut Fields) {
    let names = ["name", "title"];
    let given = given::first_text(task, Place::Variables, &names, &mut made.warnings);
    let name = given.or_else(|| texts::title(task, &mut made.warnings));
    let name = name.unwrap_or_else(|| Sourced::new(by_topic(task), "topic"));
    made.put("name", Some(shortened(name, &[Limit::characters(LONGEST_SUBJECT)], CUT_TITLE)));
    made.put("identifier", identifier(&task.id).map(|identifier| Sourced::new(identifier, "task_id")));
    if let Some(description) = texts::prose(task, &["description"], &mut made.warnings) {
        made.put("description", Some(description.map(|raw| json!({"format": "markdown", "raw": raw}))));
    }
    let parents = ["parentProjectId", "parent_project_id"].map(|name| (Place::Variables, name));
    let parent = given::first_id(task, &parents, links::NOT_USED, &mut made.warnings);
    made.link("parent", parent.map(|id| id.map(|id| links::href("projects", id))));
}

/// The identifier of the project that this task makes: each task id has its own. `None` if it would be too long.
pub fn identifier(task_id: &str) -> Option<String> {
    let escaped = task_id.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        other => format!("_{other:02x}"),
    });
    let identifier: String = [IDENTIFIER.to_owned()].into_iter().chain(escaped).collect();
    (identifier.len() <= LONGEST_IDENTIFIER).then_some(identifier)
}

#[cfg(test)]
mod tests;
