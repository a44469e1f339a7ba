//! A work package as OpenProject shows it: its state, its custom fields, and what Camunda is told of it.

use serde_json::{Value, json};

use super::Settings;
use super::fields::expects_answer;
use crate::message::{Task, text};
use crate::systems::{Created, answer};

/// The number at the end of a link's address.
pub fn linked_id(row: &Value, link: &str) -> Option<u64> {
    row["_links"][link]["href"].as_str()?.rsplit('/').next()?.parse().ok()
}

/// The text of a custom field: its own, a long one's Markdown, or the title of what it links to. Of several the first
/// counts.
pub fn custom_text(row: &Value, field: &str) -> Option<String> {
    let value = &row[field];
    let linked = &row["_links"][field];
    let linked = linked.as_array().map_or(Some(linked), |links| links.first()).map(|link| &link["title"]);
    [Some(value), Some(&value["raw"]), linked].into_iter().flatten().find_map(text)
}

/// The task as the bridge reads it.
pub fn task(row: &Value, expected: bool, answer_text: &str) -> Value {
    json!({
        "id": text(&row["id"]),
        "title": row["subject"],
        "status": linked_id(row, "status").map(|id| id.to_string()),
        "statusName": row["_links"]["status"]["title"],
        "percentageDone": row["percentageDone"],
        "dueDate": row["dueDate"],
        answer::EXPECTED: answer::expected(expected),
        answer::TEXT: answer_text,
    })
}

/// What is told of it as a whole, in records and responses.
pub fn response(row: &Value, expected: bool, answer_text: &str) -> Value {
    json!({"result": {"task": task(row, expected, answer_text), "workPackage": row}})
}

/// A work package that is there.
pub fn created(of: &Task, settings: &Settings, id: u64, row: &Value) -> Created {
    let reply = response(row, expects_answer(of), "");
    Created::new(reply, id.to_string()).at(&settings.host(), settings.link(id))
}

/// A project that is there: nobody has to finish it. `None` where the reply names none.
pub fn project(of: &Task, row: &Value) -> Option<Created> {
    let id = text(&row["id"])?;
    let task = json!({
        "id": id,
        "title": row["name"],
        "status": "created",
        "identifier": row["identifier"],
        answer::EXPECTED: answer::expected(expects_answer(of)),
        answer::TEXT: "",
    });
    Some(Created::finished(json!({"result": {"task": task, "project": row}}), id))
}
