//! The custom fields that a process model sets by the portal's own names, and its yes and no. It does not know which
//! custom fields a portal has.

use serde_json::{Value, json};

use super::Fields;
use crate::message::Task;
use crate::message::given::{self, Place, Sourced};

/// Bitrix24's number for "not finished without a result".
const RESULT_REQUIRED: u8 = 3;

/// Puts the custom fields, and the other fields with a yes or no.
pub fn put(task: &Task, made: &mut Fields) {
    let custom = task.extension_properties.iter().filter(|(name, value)| is_custom_field(name) && !value.is_null());
    for (name, value) in custom {
        let value = match name.as_str() {
            "UF_RESULT_EXPECTED" => answer(task, name, made),
            "UF_RESULT_QUESTION" => given::first_text(task, Place::Extensions, &[name], &mut made.warnings)
                .map(|text| text.map(Value::from)),
            // A blank value is sent as it is, too.
            _ if given::is_blank(value) => Some(Sourced::new(value.clone(), Place::Extensions.of(name))),
            _ => given::value(task, Place::Extensions, name, &mut made.warnings)
                .map(|value| value.map(with_spelt_booleans)),
        };
        made.put(name, value);
    }
    let control = answer(task, "taskControl", made);
    made.put("TASK_CONTROL", control);
    let required = answer(task, "resultRequired", made);
    let required = required.map(|given| given.map(|value| json!([{"CODE": RESULT_REQUIRED, "VALUE": value}])));
    made.put("SE_PARAMETER", required);
}

/// The yes or no of an extension property, in the portal's spelling.
fn answer(task: &Task, name: &str, made: &mut Fields) -> Option<Sourced<Value>> {
    given::answer(task, name, &mut made.warnings).map(|answer| answer.map(yes_or_no))
}

/// Of all spellings only these mean the same to every version of the portal, in a plain call and in a batch.
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

/// Whether a custom field can have this name. Nothing else of a message becomes a field's name.
pub fn is_custom_field(name: &str) -> bool {
    let rest = name.strip_prefix("UF_").unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests;
