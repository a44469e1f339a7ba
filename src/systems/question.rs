//! Question and answer, the same for every system: whether the process waits for an answer, and the form in which the
//! bridge finds it. It knows no target: what a person has answered its tracker says.

use serde_json::{Value, json};

use super::Progress;
use crate::message::Task;
use crate::message::given::is_yes;
use crate::settings::Variables;

/// The extension property that says that an answer is expected.
pub const EXPECTED: &str = "UF_RESULT_EXPECTED";
/// The extension property with what people are asked.
pub const QUESTION: &str = "UF_RESULT_QUESTION";
/// What the bridge takes for yes.
pub const YES: &str = "ДА";
/// What the bridge takes for no; that is any text but "ДА".
pub const NO: &str = "НЕТ";

/// What to do with a finished task that expects an answer and has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingAnswer {
    /// Leave it in the sent queue until somebody gives the answer.
    Wait,
    /// Answer "НЕТ".
    No,
}

impl MissingAnswer {
    /// What the variable of this name says: `wait` or `no`.
    pub fn from_variables(variables: &mut Variables, name: &str) -> MissingAnswer {
        match variables.text(name).unwrap_or_else(|| "wait".into()).to_lowercase().as_str() {
            "wait" => MissingAnswer::Wait,
            "no" => MissingAnswer::No,
            other => {
                variables.error(name, &format!("is {other:?}, neither wait nor no"), &format!("{name}=wait"));
                MissingAnswer::Wait
            }
        }
    }
}

/// Does the message say that an answer is expected?
pub fn is_expected(task: &Task) -> bool {
    task.extension_properties.get(EXPECTED).is_some_and(is_yes)
}

/// What follows from a finished task, which is an object, and the answer in it: its text, or why that is not known.
pub fn finished(
    task: Value,
    is_expected: bool,
    answer: Option<Result<String, String>>,
    missing: MissingAnswer,
) -> Progress {
    let answer = match answer {
        None if is_expected && missing == MissingAnswer::No => Ok(NO.into()),
        None => Err("nobody has answered yet".into()),
        Some(answer) => answer,
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) if is_expected => return Progress::Waiting(why),
        Err(_) => String::new(),
    };
    Progress::Finished(result(task, is_expected, &answer))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(is_expected: bool, answer: Option<Result<String, String>>, missing: MissingAnswer) -> Option<Value> {
        match finished(json!({"id": "7"}), is_expected, answer, missing) {
            Progress::Finished(told) => Some(told["result"]["task"].clone()),
            Progress::Waiting(_) => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_answer_has_the_form_that_the_bridge_reads() {
        let task = |expected, answer| json!({"id": "7", "ufResultExpected": expected, "ufResultAnswer_text": answer});
        let yes = || Some(Ok("ДА".to_owned()));
        assert_eq!(told(true, yes(), MissingAnswer::Wait), Some(task("1", "ДА")));
        assert_eq!(told(false, yes(), MissingAnswer::Wait), Some(task("0", "ДА")));
        assert_eq!(told(false, None, MissingAnswer::No), Some(task("0", "")));
        assert_eq!(told(true, None, MissingAnswer::No), Some(task("1", "НЕТ")));
        assert_eq!(told(true, None, MissingAnswer::Wait), None);
        assert_eq!(told(true, Some(Err("unknown".into())), MissingAnswer::No), None);
    }
}
