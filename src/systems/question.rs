//! What a process asks of people, and the response in which their answer goes back: in every system the form that the
//! bridge reads. It knows no target.

use serde_json::{Value, json};

use crate::message::{Task, text, whole};

/// The answer that the bridge takes for yes.
pub const YES: &str = "ДА";
/// One that it takes for no, as it does any other text.
pub const NO: &str = "НЕТ";

/// A finished task, as the bridge reads it.
#[derive(Debug, Default)]
pub struct Finished<'a> {
    /// Its id at the target.
    pub id: &'a str,
    /// What people know it by.
    pub title: &'a str,
    /// Its state, in the target's words.
    pub status: &'a str,
    /// Does the process wait for an answer?
    pub expected: bool,
    /// The answer; empty where there is none.
    pub answer: &'a str,
}

impl Finished<'_> {
    /// `response_data`, with these members of the target beside the bridge's.
    pub fn response(&self, besides: Value) -> Value {
        let mut task = json!({
            "id": self.id,
            "title": self.title,
            "status": self.status,
            // The bridge looks for the text "1" and nothing else.
            "ufResultExpected": if self.expected { "1" } else { "0" },
            "ufResultAnswer_text": self.answer,
        });
        if let (Some(task), Value::Object(besides)) = (task.as_object_mut(), besides) {
            task.extend(besides);
        }
        json!({"result": {"task": task}})
    }
}

/// Does the process wait for an answer?
pub fn is_expected(task: &Task) -> bool {
    task.extension_properties.get("UF_RESULT_EXPECTED").is_some_and(is_yes)
}

/// The question, if it has a text.
pub fn question(task: &Task) -> Option<String> {
    text(task.extension_properties.get("UF_RESULT_QUESTION")?)
}

/// The spellings of "yes" in a process model and at a target.
pub fn is_yes(value: &Value) -> bool {
    is_one_of(value, &["true", "да", "yes", "y"], 1)
}

/// Is it one of these words, in any case, or this number?
pub fn is_one_of(value: &Value, words: &[&str], number: u64) -> bool {
    let spelt = text(value).unwrap_or_default();
    words.contains(&spelt.to_lowercase().as_str()) || whole(&spelt) == Some(number)
}
