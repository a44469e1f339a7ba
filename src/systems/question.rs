//! Question and answer, the same for every system: whether the process waits for an answer, and the form in which the
//! bridge finds it. It knows no target: what a person has answered its tracker says.

use serde_json::{Value, json};

use crate::message::{Task, text};

/// The extension property that says that an answer is expected.
const EXPECTED: &str = "UF_RESULT_EXPECTED";
/// What the bridge takes for yes.
pub const YES: &str = "ДА";
/// What the bridge takes for no; that is any text but "ДА".
pub const NO: &str = "НЕТ";

/// Does the message say that an answer is expected?
pub fn is_expected(task: &Task) -> bool {
    let spelt = task.extension_properties.get(EXPECTED).and_then(text).unwrap_or_default();
    ["true", "да", "yes", "y", "1", "1.0"].contains(&spelt.to_lowercase().as_str())
}

/// The task, which is an object, with its answer where the bridge looks for it.
pub fn result(mut task: Value, is_expected: bool, answer: &str) -> Value {
    if let Some(members) = task.as_object_mut() {
        // The bridge looks for the text "1" and nothing else.
        members.insert("ufResultExpected".into(), if is_expected { "1" } else { "0" }.into());
        members.insert("ufResultAnswer_text".into(), answer.into());
    }
    json!({"result": {"task": task}})
}
