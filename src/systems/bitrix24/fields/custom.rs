//! What a process model sets at the task by the portal's own names, and its yes and no. It does not know which custom
//! fields a portal has.

use serde_json::{Value, json};

use super::{EXTENSIONS, Fields, Sourced};
use crate::message::{Task, text};

/// Bitrix24's number for "not finished without a result".
const RESULT_REQUIRED: u8 = 3;

/// Puts the custom fields, and what else is a yes or no.
pub fn put(task: &Task, made: &mut Fields) {
    let custom = task.extension_properties.iter().filter(|(name, value)| is_custom_field(name) && !value.is_null());
    for (name, value) in custom {
        let value = match name.as_str() {
            "UF_RESULT_EXPECTED" => Some(yes_or_no(is_yes(value))),
            "UF_RESULT_QUESTION" => text(value).map(Value::from),
            _ => Some(with_spelt_booleans(value)),
        };
        made.put(name, value.map(|value| Sourced::new(value, format!("{EXTENSIONS}.{name}"))));
    }
    made.put("TASK_CONTROL", answer(task, "taskControl"));
    let result_required = answer(task, "resultRequired");
    made.put(
        "SE_PARAMETER",
        result_required.map(|given| given.map(|value| json!([{"CODE": RESULT_REQUIRED, "VALUE": value}]))),
    );
}

/// The yes or no of an extension property.
fn answer(task: &Task, name: &str) -> Option<Sourced<Value>> {
    let value = task.extension_properties.get(name).filter(|value| !value.is_null())?;
    Some(Sourced::new(yes_or_no(is_yes(value)), format!("{EXTENSIONS}.{name}")))
}

/// Of all spellings only these mean the same to every version of the portal, plainly and in a batch.
fn yes_or_no(yes: bool) -> Value {
    if yes { "Y" } else { "N" }.into()
}

fn with_spelt_booleans(value: &Value) -> Value {
    match value {
        Value::Bool(flag) => yes_or_no(*flag),
        Value::Array(items) => items.iter().map(with_spelt_booleans).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), with_spelt_booleans(value))).collect()
        }
        Value::Null | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Is this a name that a custom field can have? Nothing else of a message becomes a field's name.
pub fn is_custom_field(name: &str) -> bool {
    let rest = name.strip_prefix("UF_").unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The spellings of "yes" in a process model and at a portal.
pub fn is_yes(value: &Value) -> bool {
    text(value).is_some_and(|text| matches!(text.to_lowercase().as_str(), "true" | "1" | "да" | "yes" | "y"))
}

#[cfg(test)]
mod tests;
