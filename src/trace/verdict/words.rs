//! Parts of the verdict's sentences. Nothing is decided here.

use super::super::facts::{Ended, Facts, Held, HeldState, Place, Role};
use crate::systems::seen::{Seen, State};

/// What the worker has and has not created yet.
pub(super) fn under_way(facts: &Facts) -> Option<&Held> {
    facts.held_as(HeldState::InHand).or_else(|| facts.held_as(HeldState::Retrying))
}

/// The system in which the worker follows it: it has a record.
pub(super) fn followed(facts: &Facts) -> Option<&str> {
    let held = facts.held_as(HeldState::Open).map(|held| held.system.as_str());
    held.or_else(|| facts.place(Role::Sent).and_then(|place| place.system.as_deref()))
}

pub(super) fn is_followed(facts: &Facts) -> bool {
    followed(facts).is_some()
}

pub(super) fn link(facts: &Facts) -> Option<&str> {
    let seen = facts.seen().and_then(|(_, seen)| seen.link.as_deref());
    seen.or_else(|| facts.held().and_then(|held| held.link.as_deref()))
}

/// What a target has of it.
pub(super) fn there(system: &str, seen: &Seen) -> String {
    let state = match (seen.state, &seen.status) {
        (State::Finished, Some(status)) => format!("finished ({status})"),
        (State::Finished, None) => "finished".into(),
        (State::Open, Some(status)) => format!("open ({status})"),
        (State::Open, None) => "open".into(),
        (State::Unknown, Some(status)) => status.clone(),
        (State::Unknown, None) => "there".into(),
    };
    let when = seen.finished.as_deref().filter(|_| seen.state == State::Finished).map(on).unwrap_or_default();
    let who = seen.responsible.as_deref().map(|who| format!("; responsible: {who}")).unwrap_or_default();
    let due = seen.deadline.as_deref().filter(|_| seen.state == State::Open);
    let due = due.map(|due| format!("; due {due}")).unwrap_or_default();
    let answer = seen.answer.as_deref().map(|answer| format!("; answer: {answer}")).unwrap_or_default();
    format!("{system} has it as {}: {state}{when}{who}{due}{answer}.", seen.target_id)
}

pub(super) fn on(at: &str) -> String {
    format!(" on {at}")
}

pub(super) fn how(ended: &Ended) -> String {
    let when = ended.at.as_deref().map(on).unwrap_or_default();
    let what = if ended.completed { "was completed there" } else { "was cancelled there" };
    format!("{what}{when}")
}

pub(super) fn cause(parked: &Place) -> String {
    parked.cause.as_deref().map(|cause| format!(" as {cause}")).unwrap_or_default()
}

pub(super) fn because(held: &Held) -> String {
    held.lane.reason.as_deref().map(|reason| format!(": {}", reason.trim_end_matches('.'))).unwrap_or_default()
}

pub(super) fn answer(response: &Place) -> String {
    match &response.answer {
        Some(answer) => format!("The answer {answer}"),
        None => "The response".into(),
    }
}

/// With a full stop at its end.
pub(super) fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}
