//! A person's answer as the bridge reads it in the response of any system, and what to do while it is missing.
//!
//! Where a target keeps an answer is the system's business.

use crate::settings::Variables;

/// The member of the response's task that says whether the process waits for an answer.
pub const EXPECTED: &str = "ufResultExpected";
/// The one that holds the answer.
pub const TEXT: &str = "ufResultAnswer_text";
/// Only this text is a yes to the bridge.
pub const YES: &str = "ДА";
/// For a process that is not to wait.
pub const NO: &str = "НЕТ";

/// The value of [`EXPECTED`]: the bridge looks for the text "1" and nothing else.
pub fn expected(expected: bool) -> &'static str {
    if expected { "1" } else { "0" }
}

/// What to do with a finished task that expects an answer and has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingAnswer {
    /// Leave it in the sent queue until somebody gives the answer.
    Wait,
    /// Answer "НЕТ".
    No,
}

impl MissingAnswer {
    /// Reads the setting of this name.
    pub fn read(variables: &mut Variables, name: &str) -> MissingAnswer {
        match variables.text(name).unwrap_or_else(|| "wait".into()).to_lowercase().as_str() {
            "wait" => MissingAnswer::Wait,
            "no" => MissingAnswer::No,
            other => {
                let wrong = format!("is {other:?}, neither wait nor no");
                variables.error(name, &wrong, &format!("{name}=wait"));
                MissingAnswer::Wait
            }
        }
    }
}
