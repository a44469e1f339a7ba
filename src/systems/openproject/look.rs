//! What OpenProject shows of a task to somebody who asks for it by its id in Camunda. It reads only.

use serde_json::Value;

use super::Settings;
use super::client::Client;
use super::look_up;
use super::statuses::Statuses;
use super::work_package::{custom_text, linked_id};
use crate::message::text;
use crate::systems::seen::{Looked, Seen, State, cannot_look};

/// One result for each id.
pub fn look(client: &Client, settings: &Settings, task_ids: &[&str]) -> Vec<Looked> {
    let Some(field) = &settings.marker_field else { return cannot_look(task_ids) };
    let mut statuses = Statuses::default();
    let mut one = |id: &&str| {
        if let (_, Some((number, row))) = look_up::marked(client, field, id)? {
            return Ok(Some(work_package(client, settings, number, &row, &mut statuses)));
        }
        let (_, row) = look_up::project(client, id)?;
        Ok(row.as_ref().and_then(project))
    };
    task_ids.iter().map(&mut one).collect()
}

fn work_package(client: &Client, settings: &Settings, id: u64, row: &Value, statuses: &mut Statuses) -> Seen {
    let titled = |link: &str| text(&row["_links"][link]["title"]);
    let status = linked_id(row, "status");
    if let Err(err) = statuses.learn(client, status.into_iter()) {
        log::debug!("the state of work package {id} is not known: {err}");
    }
    let is_listed = status.is_some_and(|status| settings.finished_statuses.contains(&status));
    let state = match status.and_then(|status| statuses.is_closed(status)) {
        Some(true) => State::Finished,
        _ if is_listed => State::Finished,
        Some(false) => State::Open,
        None => State::Unknown,
    };
    Seen {
        target_id: id.to_string(),
        link: Some(settings.link(id)),
        state,
        status: titled("status").or_else(|| status.map(|status| status.to_string())),
        responsible: titled("assignee").or_else(|| titled("responsible")),
        created: text(&row["createdAt"]),
        changed: text(&row["updatedAt"]),
        deadline: text(&row["dueDate"]).or_else(|| text(&row["date"])),
        answer: settings.answer_field.as_ref().and_then(|field| custom_text(row, field)),
        ..Seen::default()
    }
}

/// A project is finished when it is there.
fn project(row: &Value) -> Option<Seen> {
    Some(Seen {
        target_id: text(&row["id"])?,
        state: State::Finished,
        status: Some("created".into()),
        created: text(&row["createdAt"]),
        changed: text(&row["updatedAt"]),
        ..Seen::default()
    })
}
