//! Finds what a task has made before: a work package by its marker, whatever its state, a project by its identifier.
//! Every row is compared: a filter says only what was asked for.

use std::time::Instant;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::Settings;
use super::client::{Call, Client};
use super::errors::{Kind, not_looked_up};
use super::fields::{Work, identifier};
use super::work_package::{self, custom_text};
use crate::message::Task;
use crate::systems::{Failure, Found};

/// A marker that nobody has.
const NOBODY: &str = "task-creator-probe";
/// The most rows of one marker. More than one row is the work of somebody else.
const ROWS: usize = 20;

/// Asks for the work packages with this marker.
pub fn by_marker(field: &str, marker: &str) -> Call {
    // Without a filter by state only open ones would show.
    let filters = json!([
        {field: {"operator": "=", "values": [marker]}},
        {"status": {"operator": "*", "values": []}},
    ]);
    Call::list("/work_packages", &filters, 1, ROWS)
}

/// Asks for the projects with this identifier.
pub fn by_identifier(identifier: &str) -> Call {
    Call::list("/projects", &json!([{"name_and_identifier": {"operator": "=", "values": [identifier]}}]), 1, ROWS)
}

/// The rows of a page.
pub fn rows(reply: &Value) -> Option<&Vec<Value>> {
    reply["_embedded"]["elements"].as_array()
}

/// Is what this task asks for there?
pub fn find(client: &Client, settings: &Settings, task: &Task) -> Result<Found, Failure> {
    let (asked, found) = match (Work::of(task), &settings.marker_field) {
        // To change something twice is to change it once.
        (Work::Update, _) | (Work::Task | Work::Milestone, None) => (Instant::now(), None),
        (Work::Project, _) => {
            let (asked, row) = project(client, &task.id)?;
            (asked, row.and_then(|row| work_package::project(task, &row)))
        }
        (Work::Task | Work::Milestone, Some(field)) => {
            let (asked, marked) = marked(client, field, &task.id)?;
            (asked, marked.map(|(id, row)| work_package::created(task, settings, id, &row)))
        }
    };
    Ok(found.map_or(Found::Nothing(asked), Found::There))
}

/// Can work packages be found by this field?
///
/// # Errors
/// They cannot, and what to do.
pub fn probe(client: &Client, field: &str) -> Result<(), Failure> {
    let (_, rows) = ask(client, field, NOBODY)?;
    if rows.is_empty() { Ok(()) } else { Err(ignored(field)) }
}

/// When it was asked, and what is there.
pub type Looked<T> = Result<(Instant, T), Failure>;

/// The work package with exactly this marker, and its number.
///
/// # Errors
/// OpenProject does not answer, or cannot search by the field.
pub fn marked(client: &Client, field: &str, task_id: &str) -> Looked<Option<(u64, Value)>> {
    let (asked, rows) = ask(client, field, task_id)?;
    let marked: Vec<(Option<String>, Value)> = rows.into_iter().map(|row| (custom_text(&row, field), row)).collect();
    // A row with the same marker in other spelling is another task. Any other row was not asked for.
    let is_alike = |marker: &String| marker.trim().eq_ignore_ascii_case(task_id.trim());
    if marked.iter().any(|(marker, _)| !marker.as_ref().is_some_and(is_alike)) {
        return Err(ignored(field));
    }
    let own = marked.into_iter().filter(|(marker, _)| marker.as_deref() == Some(task_id));
    // If there are several, the oldest counts.
    Ok((asked, own.filter_map(|(_, row)| Some((row["id"].as_u64()?, row))).min_by_key(|(id, _)| *id)))
}

fn ask(client: &Client, field: &str, marker: &str) -> Looked<Vec<Value>> {
    let (asked, reply) = client.look_up(&by_marker(field, marker));
    let reply = reply.map_err(|err| {
        let err = match err.kind {
            Kind::InvalidQuery => err.with(&format!(
                "work packages cannot be found by {field}: it must be a custom field of type text, with \"Used as a filter\" \
                 and \"For all projects\"; correct it, or OPENPROJECT_TASK_ID_FIELD"
            )),
            _ => err,
        };
        not_looked_up(err)
    })?;
    let no_rows = || Failure::Transient { error: anyhow!("GET work_packages: the reply has no list") };
    Ok((asked, rows(&reply).cloned().ok_or_else(no_rows)?))
}

fn ignored(field: &str) -> Failure {
    let error = anyhow!(
        "OpenProject does not filter by {field}: it shows work packages that were not asked for; correct \
         OPENPROJECT_TASK_ID_FIELD"
    );
    Failure::Unavailable { error, until: None }
}

/// The project with the identifier that this task gives.
///
/// # Errors
/// OpenProject does not answer.
pub fn project(client: &Client, task_id: &str) -> Looked<Option<Value>> {
    let Some(identifier) = identifier(task_id) else { return Ok((Instant::now(), None)) };
    let (asked, reply) = client.look_up(&by_identifier(&identifier));
    let reply = reply.map_err(not_looked_up)?;
    let row = rows(&reply).into_iter().flatten().find(|row| row["identifier"] == *identifier);
    Ok((asked, row.cloned()))
}
