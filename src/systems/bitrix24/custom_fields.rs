//! The custom fields of a portal's tasks: how they are listed, and how one is made. It decides nothing about them.

use serde_json::{Value, json};

use super::client::{Call, Client};
use super::errors::{ApiError, Kind};

/// The custom fields that fit the filter, a row each, and perhaps others: a portal ignores a filter whose value is a
/// list. So the caller compares the rows, see [`named`].
///
/// # Errors
/// The portal refused, or answered without a list.
pub fn list(client: &Client, filter: Value) -> Result<Vec<Value>, ApiError> {
    let method = "task.item.userfield.getlist";
    let reply = client.call(&Call { method, params: vec![("ORDER", json!({})), ("FILTER", filter)] })?;
    let rows = reply["result"].as_array().cloned();
    rows.ok_or_else(|| ApiError::new(Kind::Refused, format!("{method}: the reply has no list of fields")))
}

/// The row of the field with this name.
pub fn named<'a>(rows: &'a [Value], name: &str) -> Option<&'a Value> {
    rows.iter().find(|row| row["FIELD_NAME"] == name)
}

/// The call that makes a field for the marker.
pub fn make_marker(name: &str) -> Call {
    let label = json!({"ru": "Внешняя задача Camunda", "en": "Camunda external task"});
    let field = json!({
        "USER_TYPE_ID": "string",
        "FIELD_NAME": name,
        "EDIT_FORM_LABEL": label,
        "MANDATORY": "N",
        "MULTIPLE": "N",
    });
    Call { method: "task.item.userfield.add", params: vec![("PARAMS", field)] }
}
