//! What is for people among the variables of a task. It knows names and places, and no target.

use serde_json::Value;

use crate::message::{Task, text};

/// The first of these variables that says something, as a text, with its place in the message; a list or an object as
/// JSON, which people can read.
pub fn first_text(task: &Task, names: &[&str]) -> Option<(String, String)> {
    names.iter().find_map(|name| {
        let value = task.variables.get(*name)?;
        let said = match value {
            Value::Array(_) | Value::Object(_) => value.to_string(),
            value => text(value)?,
        };
        Some((said, format!("variables.{name}")))
    })
}
