//! The buttons of a task, and what a pressed one says. Telegram gives back the 64 bytes that we gave it, so they say
//! all that is needed to find the task.

use serde_json::{Value, json};

use crate::message::fingerprint;
use crate::systems::question::{NO, YES};

/// What Telegram keeps for a button, in bytes.
const LONGEST_DATA: usize = 64;
/// The text of the button that finishes a task without an answer.
const DONE_TEXT: &str = "Готово";

/// What a person says by pressing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Done,
    /// Yes to the question.
    Yes,
    /// No to it.
    No,
}

impl Verdict {
    /// What Camunda is told.
    pub fn answer(self) -> &'static str {
        match self {
            Verdict::Done => "",
            Verdict::Yes => YES,
            Verdict::No => NO,
        }
    }

    /// What people read on the button.
    pub fn label(self) -> &'static str {
        match self {
            Verdict::Done => DONE_TEXT,
            Verdict::Yes => YES,
            Verdict::No => NO,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Verdict::Done => "done",
            Verdict::Yes => "yes",
            Verdict::No => "no",
        }
    }

    /// Is this what a task of this kind can be told?
    pub fn fits(self, asks: bool) -> bool {
        asks != (self == Verdict::Done)
    }
}

/// The buttons under the message of a task.
pub fn keyboard(task_id: &str, asks: bool) -> Value {
    let verdicts: &[Verdict] = if asks { &[Verdict::Yes, Verdict::No] } else { &[Verdict::Done] };
    let button = |verdict: &Verdict| {
        let data = format!("{}:{}", verdict.code(), key(task_id));
        json!({"text": verdict.label(), "callback_data": data})
    };
    json!({"inline_keyboard": [verdicts.iter().map(button).collect::<Vec<_>>()]})
}

/// By what a press names the task: its id, or a hash where that is too long.
pub fn key(task_id: &str) -> String {
    let longest = LONGEST_DATA - Verdict::Done.code().len() - 1;
    match task_id.len() <= longest && !task_id.starts_with('#') {
        true => task_id.to_owned(),
        false => format!("#{}", fingerprint(task_id.as_bytes())),
    }
}

/// What a pressed button says, and of which task; `None` for a button that is not ours.
pub fn read(data: &str) -> Option<(Verdict, &str)> {
    let (code, key) = data.split_once(':')?;
    let verdicts = [Verdict::Done, Verdict::Yes, Verdict::No];
    let verdict = verdicts.into_iter().find(|verdict| verdict.code() == code)?;
    (!key.is_empty()).then_some((verdict, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_button_says_comes_back() {
        for id in ["a3c9-…", "with:colon", "#marked", &"я".repeat(100)] {
            let keyboard = keyboard(id, true);
            let buttons = keyboard["inline_keyboard"][0].as_array().expect("a row");
            let read_back: Vec<_> =
                buttons.iter().map(|button| read(button["callback_data"].as_str().expect("data"))).collect();
            let key = key(id);
            assert_eq!(read_back, [Some((Verdict::Yes, key.as_str())), Some((Verdict::No, key.as_str()))]);
            for button in buttons {
                let bytes = button["callback_data"].as_str().expect("data").len();
                assert!((1..=LONGEST_DATA).contains(&bytes), "{button}");
            }
        }
        assert_eq!(keyboard("t", false)["inline_keyboard"][0][0]["text"], "Готово");
    }

    #[test]
    fn a_button_of_somebody_else_says_nothing() {
        for data in ["", "yes", "yes:", "maybe:task-1", ":task-1"] {
            assert_eq!(read(data), None, "{data}");
        }
        assert!(
            Verdict::Yes.fits(true)
                && Verdict::Done.fits(false)
                && !Verdict::Done.fits(true)
                && !Verdict::No.fits(false)
        );
    }
}
