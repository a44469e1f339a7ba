//! A work package as OpenProject shows it: its state, its custom fields, and what Camunda is told of it. It sends
//! nothing and decides nothing.

use serde_json::{Value, json};

use super::Settings;
use crate::message::{Task, text};
use crate::systems::{Created, question};

/// The number at the end of a link's address.
pub fn linked_id(row: &Value, link: &str) -> Option<u64> {
    row["_links"][link]["href"].as_str()?.rsplit('/').next()?.parse().ok()
}

/// The text of a custom field: its own, the Markdown of a long one, or the title of what it links to. If there are
/// several, the first counts.
pub fn custom_text(row: &Value, field: &str) -> Option<String> {
    let value = &row[field];
    let linked = &row["_links"][field];
    let linked = linked.as_array().map_or(Some(linked), |links| links.first()).map(|link| &link["title"]);
    [Some(value), Some(&value["raw"]), linked].into_iter().flatten().find_map(text)
}

/// What the bridge is shown of it, still without an answer.
pub fn task(row: &Value) -> Value {
    json!({
        "id": text(&row["id"]),
        "title": row["subject"],
        "status": linked_id(row, "status").map(|id| id.to_string()),
        "statusName": row["_links"]["status"]["title"],
        "percentageDone": row["percentageDone"],
        "dueDate": row["dueDate"],
    })
}

/// A reply or response with the whole of it.
pub fn with_row(mut response: Value, row: &Value) -> Value {
    response["result"]["workPackage"] = row.clone();
    response
}

/// What is told of it while nobody has answered.
pub fn unanswered(row: &Value, is_expected: bool) -> Value {
    with_row(question::result(task(row), is_expected, ""), row)
}

/// A work package that is there.
pub fn created(of: &Task, settings: &Settings, id: u64, row: &Value) -> Created {
    let reply = unanswered(row, question::is_expected(of));
    Created::new(reply, id.to_string()).at(&settings.host(), settings.link(id))
}

/// A project that is there: nobody has to finish it. `None` where the reply names none.
pub fn project(of: &Task, row: &Value) -> Option<Created> {
    let id = text(&row["id"])?;
    let task = json!({"id": id, "title": row["name"], "status": "created", "identifier": row["identifier"]});
    let mut answer = question::result(task, question::is_expected(of), "");
    answer["result"]["project"] = row.clone();
    Some(Created::finished(answer, id))
}
