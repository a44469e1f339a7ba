//! What somebody can do about a task. Nothing is decided here but which source is asked next.

use serde::Serialize;

use super::super::facts::{Camunda, Facts, Worker};
use crate::terminal;

/// What somebody should do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// In a word.
    pub code: &'static str,
    /// In a sentence.
    pub text: String,
    /// What a button would do.
    pub action: Option<Action>,
    /// The command for it.
    pub command: Option<String>,
}

/// What can be done about a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Replay its parked message.
    Replay,
    /// Unlock it in the engine, so that the bridge publishes it again.
    Repair,
    /// Sweep now.
    Sweep,
    /// Resume its lane.
    Resume,
    /// Look into the queues as well.
    Browse,
}

pub(super) fn command(words: &[&str], id: &str) -> String {
    terminal::command_with_ids(words, &[id.to_owned()])
}

pub(super) fn nothing_to_do() -> Suggestion {
    by_hand("nothing", "Nothing has to be done.")
}

pub(super) fn by_hand(code: &'static str, text: &str) -> Suggestion {
    Suggestion { code, text: text.to_owned(), ..Suggestion::default() }
}

pub(super) fn repair() -> Suggestion {
    Suggestion {
        code: "repair",
        text: "Let the bridge publish it again; the worker looks it up first, and creates nothing twice where the \
               target can be asked."
            .into(),
        action: Some(Action::Repair),
        command: Some(terminal::command(&["reconcile", "--repair"])),
    }
}

pub(super) fn browse(id: &str) -> Suggestion {
    Suggestion {
        code: "browse",
        text: "Look into the queues as well.".into(),
        action: Some(Action::Browse),
        command: Some(command(&["trace", "--browse"], id)),
    }
}

/// What was not looked at yet and may have it, the cheapest first.
pub(super) fn find_out(id: &str, facts: &Facts) -> Suggestion {
    match (&facts.worker, facts.queues.looked, &facts.camunda) {
        (_, false, _) => browse(id),
        (Worker::NotLooked, true, _) => {
            by_hand("set_monitor", "Set MONITOR_ADDR and start the worker again: then it tells what it has in hand.")
        }
        (_, _, Camunda::NotLooked) => {
            by_hand("set_camunda", "Set CAMUNDA_URL: then Camunda tells whether it waits for it.")
        }
        _ => by_hand("look_again", "Look again in a while: the worker holds tasks that it cannot name yet."),
    }
}
