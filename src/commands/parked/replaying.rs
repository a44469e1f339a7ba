//! What `parked replay` says of each message, and the pause between two. What a replay does is in
//! [`crate::parked::replay`].

use std::time::Duration;

use serde_json::json;

use crate::parked::entry::ParkedEntry;
use crate::parked::replay::{Observer, Step};
use crate::redact::{clean, clean_json};
use crate::stop::Stop;
use crate::terminal::{say, tell};

/// How a replay goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Messages at most.
    pub limit: Option<u32>,
    /// Between two messages.
    pub pause: Option<Duration>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Say it in JSON.
    pub json: bool,
}

/// The person at the terminal, or a script.
pub struct Terminal<'a> {
    /// How it goes.
    pub manner: &'a Manner,
    /// Ctrl+C.
    pub stop: &'a Stop,
    /// A message was published before.
    pub started: bool,
}

impl Observer for Terminal<'_> {
    fn may_go(&mut self) -> bool {
        !self.manner.pause.is_some_and(|pause| self.started && self.stop.pause(pause))
    }

    fn told(&mut self, entry: &ParkedEntry, step: Step, camunda: Option<&str>) {
        self.started |= matches!(step, Step::Replayed(_));
        match self.manner.json {
            true => say(&clean_json(&for_scripts(entry, step, camunda))),
            false => tell(&clean(&for_people(entry, step, camunda)), 14),
        }
    }
}

fn for_scripts(entry: &ParkedEntry, step: Step, camunda: Option<&str>) -> String {
    let (outcome, queue, reason) = match step {
        Step::Replayed(queue) => ("replayed", Some(queue), None),
        Step::WouldReplay(queue) => ("would_replay", Some(queue), None),
        Step::Skipped(why) => ("skipped", entry.about.source_queue.as_deref(), Some(why)),
    };
    let mut line = json!({"id": entry.id, "outcome": outcome, "queue": queue, "reason": reason});
    if let Some(camunda) = camunda {
        line["camunda"] = camunda.into();
    }
    line.to_string()
}

fn for_people(entry: &ParkedEntry, step: Step, camunda: Option<&str>) -> String {
    let camunda = camunda.map(|camunda| format!("; {camunda}")).unwrap_or_default();
    let id = &entry.id;
    match step {
        Step::Replayed(queue) => format!("{:<12}  {id} to {queue}{camunda}", "replayed"),
        Step::WouldReplay(queue) => format!("{:<12}  {id} to {queue}{camunda}", "would replay"),
        Step::Skipped(why) => format!("{:<12}  {id}: {why}; it stays parked{camunda}", "skipped"),
    }
}
