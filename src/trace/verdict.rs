//! What follows from the facts: where the task is, in a sentence, whether anything moves it on, and what somebody
//! should do. One table; the first row that fits decides. It asks nobody.

mod advice;
mod words;

use serde::Serialize;

use self::advice::{browse, by_hand, command, find_out, nothing_to_do, repair};
use self::words::{answer, because, cause, followed, how, is_followed, link, on, sentence, there, under_way};
use super::facts::{Camunda, Facts, HeldState, Role};
use crate::systems::seen::State;
use crate::terminal;

pub use self::advice::{Action, Suggestion};

/// Where a task is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// In a word.
    pub code: &'static str,
    /// In a sentence or two.
    pub text: String,
    /// It moves on by itself; `Some(false)`: somebody must act; `None`: it is not known.
    pub moving: Option<bool>,
    /// Since when, ISO 8601.
    pub since: Option<String>,
}

/// What a row says.
struct Said {
    text: String,
    moving: Option<bool>,
    since: Option<String>,
    suggestion: Suggestion,
}

impl Said {
    /// It moves on by itself.
    fn moves(text: String) -> Said {
        Said { text, moving: Some(true), since: None, suggestion: nothing_to_do() }
    }

    /// Somebody must act.
    fn stands(text: String, suggestion: Suggestion) -> Said {
        Said { text, moving: Some(false), since: None, suggestion }
    }

    /// It is not known.
    fn unknown(text: String, suggestion: Suggestion) -> Said {
        Said { text, moving: None, since: None, suggestion }
    }

    fn since(self, since: Option<&String>) -> Said {
        Said { since: since.cloned(), ..self }
    }
}

/// A row: its name, and what it says where it fits.
type Row = (&'static str, fn(&str, &Facts) -> Option<Said>);

/// In this order: first what contradicts itself, then what the queues and the worker have, then what only the target
/// and the engine say, then what is not known.
const TABLE: &[Row] = &[
    ("doubled", doubled),
    ("on_its_way_again", on_its_way_again),
    ("parked_and_not_wanted", parked_and_not_wanted),
    ("parked", parked),
    ("answer_not_wanted", answer_not_wanted),
    ("answered", answered),
    ("orphan", orphan),
    ("done", done),
    ("cancelled", cancelled),
    ("paused", paused),
    ("target_away", target_away),
    ("retrying", retrying),
    ("in_hand", in_hand),
    ("waiting", waiting),
    ("unanswered", unanswered),
    ("finished", finished),
    ("gone", gone),
    ("open", open),
    ("incident", incident),
    ("finished_untracked", finished_untracked),
    ("finished_unclear", finished_unclear),
    ("untracked", untracked),
    ("open_unclear", open_unclear),
    ("at_target", at_target),
    ("not_fetched", not_fetched),
    ("lost", lost),
    ("not_found", not_found),
    ("unknown_id", unknown_id),
];

/// What follows from these facts of the task with this id.
pub fn verdict(task_id: &str, facts: &Facts) -> (Verdict, Suggestion) {
    let fitting = TABLE.iter().find_map(|(code, row)| Some((*code, row(task_id, facts)?)));
    let (code, said) = fitting.unwrap_or_else(|| ("not_known", not_known(task_id, facts)));
    let Said { text, moving, since, suggestion } = said;
    (Verdict { code, text, moving, since }, suggestion)
}

// What contradicts itself.

fn doubled(_: &str, facts: &Facts) -> Option<Said> {
    let [(one, first), (other, second), ..] = &facts.targets.seen[..] else { return None };
    let text = format!("Two systems have a task of it: {one} as {}, {other} as {}.", first.target_id, second.target_id);
    let advice = "Find out which of the two the process waits for, and close the other one by hand.";
    Some(Said::stands(text, by_hand("close_one", advice)))
}

fn on_its_way_again(id: &str, facts: &Facts) -> Option<Said> {
    let parked = facts.place(Role::Errors)?;
    let under_way = facts.held_as(HeldState::InHand).or_else(|| facts.held_as(HeldState::Retrying));
    let again = facts.place(Role::Input).or_else(|| facts.place(Role::Retry));
    if under_way.is_none() && again.is_none() {
        return None;
    }
    let text = format!("It is on its way again, and an earlier message of it is still parked{}.", cause(parked));
    let command = command(&["parked", "discard", "--yes"], id);
    let advice = "Discard the parked message when this one is through.";
    Some(Said {
        suggestion: Suggestion { command: Some(command), ..by_hand("discard_later", advice) },
        ..Said::moves(text)
    })
}

fn parked_and_not_wanted(id: &str, facts: &Facts) -> Option<Said> {
    let (parked, ended) = (facts.place(Role::Errors)?, facts.ended()?);
    let text = format!("It is parked{}, and Camunda no longer waits for it: it {}.", cause(parked), how(ended));
    let command = command(&["parked", "discard", "--yes"], id);
    let advice = by_hand("discard", "Discard the parked message: nobody needs it.");
    let suggestion = Suggestion { command: Some(command), ..advice };
    Some(Said::stands(text, suggestion).since(parked.since.as_ref()))
}

// What the queues have.

fn parked(id: &str, facts: &Facts) -> Option<Said> {
    let parked = facts.place(Role::Errors)?;
    let at_target = facts.seen().map(|(system, seen)| format!(" {}", there(system, seen))).unwrap_or_default();
    let error = parked.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    let text = format!("It is parked{}{}{at_target}", cause(parked), sentence(&error));
    let suggestion = Suggestion {
        code: "replay",
        text: "Correct what the error names, then replay it.".into(),
        action: Some(Action::Replay),
        command: Some(command(&["parked", "replay"], id)),
    };
    Some(Said::stands(text, suggestion).since(parked.since.as_ref()))
}

fn answer_not_wanted(_: &str, facts: &Facts) -> Option<Said> {
    let (response, ended) = (facts.place(Role::Responses)?, facts.ended()?);
    let text = format!(
        "{} still lies in {}, and Camunda no longer waits for it: it {}. The bridge takes the response and ignores it.",
        answer(response),
        response.queue,
        how(ended)
    );
    Some(Said::moves(text).since(response.since.as_ref()))
}

fn answered(_: &str, facts: &Facts) -> Option<Said> {
    let response = facts.place(Role::Responses)?;
    let text = format!("{} lies in {}; the bridge has not taken it yet.", answer(response), response.queue);
    let advice = "Nothing, unless it lies there for long: then see whether the bridge runs.";
    Some(Said { suggestion: by_hand("see_bridge", advice), ..Said::moves(text) }.since(response.since.as_ref()))
}

// What the engine has ended.

fn orphan(_: &str, facts: &Facts) -> Option<Said> {
    let ended = facts.ended()?;
    let (system, seen) = facts.seen_as(State::Open)?;
    let text = format!("Camunda no longer waits for it: it {}. {}", how(ended), there(system, seen));
    let advice = by_hand("close", "Close the task at the target: nobody needs it.");
    Some(Said::stands(text, advice).since(ended.at.as_ref()))
}

fn done(_: &str, facts: &Facts) -> Option<Said> {
    let ended = facts.ended().filter(|ended| ended.completed)?;
    let finished = facts.seen().map(|(system, seen)| format!(" {}", there(system, seen))).unwrap_or_default();
    let text = format!("It is done: it {}.{finished}", how(ended));
    Some(Said::moves(text).since(ended.at.as_ref()))
}

fn cancelled(_: &str, facts: &Facts) -> Option<Said> {
    let ended = facts.ended()?;
    Some(Said::moves(format!("Nobody waits for it: it {}.", how(ended))).since(ended.at.as_ref()))
}

// What the worker has.

fn paused(_: &str, facts: &Facts) -> Option<Said> {
    let held = under_way(facts).filter(|held| held.lane.state == "paused")?;
    let text = format!("It waits, since {} is paused{}.", held.system, because(held));
    let suggestion = Suggestion {
        code: "resume",
        text: format!("Resume {} when the reason is gone.", held.system),
        action: Some(Action::Resume),
        command: Some(terminal::command(&["control", "resume", &held.system])),
    };
    Some(Said::stands(text, suggestion).since(held.since.as_ref()))
}

fn target_away(_: &str, facts: &Facts) -> Option<Said> {
    let held = under_way(facts)?;
    let what = match held.lane.state.as_str() {
        "target_away" => "the target does not work for us",
        "no_session" => "the worker has no connection to RabbitMQ",
        "alarm" => "RabbitMQ takes no messages",
        "full_queue" => "a queue takes no messages",
        "stalled" => "nothing moves there",
        _ => return None,
    };
    let text = format!("It waits in {}: {what}{}.", held.system, because(held));
    let advice = "Mend what the reason names; the worker then goes on by itself.";
    Some(Said::stands(text, by_hand("mend", advice)).since(held.since.as_ref()))
}

fn retrying(_: &str, facts: &Facts) -> Option<Said> {
    let (system, attempts, when, error, since) = match (facts.held_as(HeldState::Retrying), facts.place(Role::Retry)) {
        (Some(held), _) => {
            let when = held.next_try_in_seconds.map(|seconds| format!(" in {seconds} s")).unwrap_or_default();
            (Some(&held.system), held.attempts, when, &held.error, &held.since)
        }
        (None, Some(place)) => {
            let when = place.next_try.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
            (place.system.as_ref(), place.attempts, when, &place.error, &place.since)
        }
        (None, None) => return None,
    };
    let system = system.map(|system| format!(" in {system}")).unwrap_or_default();
    let error = error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    let failed =
        if attempts > 0 { format!(" It has failed {attempts} times, last{}", sentence(&error)) } else { String::new() };
    Some(Said::moves(format!("It waits{system} for another try{when}.{failed}")).since(since.as_ref()))
}

fn in_hand(_: &str, facts: &Facts) -> Option<Said> {
    let held = facts.held_as(HeldState::InHand)?;
    let step = held.step.as_deref().map(|step| format!(": {step}")).unwrap_or_default();
    Some(Said::moves(format!("The worker has it in hand in {}{step}.", held.system)).since(held.since.as_ref()))
}

fn waiting(_: &str, facts: &Facts) -> Option<Said> {
    let place = facts.place(Role::Input)?;
    let text = format!("It waits in {}; the worker has not taken it yet.", place.queue);
    let advice = "Nothing, unless it waits for long: then see whether the worker runs.";
    Some(Said { suggestion: by_hand("see_worker", advice), ..Said::moves(text) }.since(place.since.as_ref()))
}

// What is at the target, and followed.

fn unanswered(_: &str, facts: &Facts) -> Option<Said> {
    let remembered = facts.held_as(HeldState::Unanswered);
    let finished = facts.seen_as(State::Finished).filter(|(_, seen)| seen.no_answer.is_some());
    let (system, why, since) = match (remembered, finished) {
        (_, Some((system, seen))) => (system, seen.no_answer.as_deref(), seen.finished.as_ref()),
        (Some(held), None) => (held.system.as_str(), held.error.as_deref(), held.since.as_ref()),
        (None, None) => return None,
    };
    let when = finished.and_then(|(_, seen)| seen.finished.as_deref()).map(on).unwrap_or_default();
    let text = format!(
        "It is finished in {system}{when}, and the process waits for an answer that is not known: {}.",
        why.unwrap_or("nobody has answered yet")
    );
    let where_to = link(facts).map(|link| format!(" at {link}")).unwrap_or_default();
    let suggestion = Suggestion {
        code: "give_answer",
        text: format!("Give the answer{where_to}, or correct what the reason names; the next sweep sends it."),
        action: Some(Action::Sweep),
        command: Some(terminal::command(&["control", "sweep", system])),
    };
    Some(Said::stands(text, suggestion).since(since))
}

fn finished(_: &str, facts: &Facts) -> Option<Said> {
    let (system, seen) = facts.seen_as(State::Finished).filter(|_| is_followed(facts))?;
    let when = seen.finished.as_deref().map(on).unwrap_or_default();
    let text = format!("It is finished in {system}{when}, and the next sweep answers Camunda.");
    let suggestion = Suggestion {
        code: "sweep",
        text: "Nothing, or sweep now.".into(),
        action: Some(Action::Sweep),
        command: Some(terminal::command(&["control", "sweep", system])),
    };
    Some(Said { suggestion, ..Said::moves(text) }.since(seen.finished.as_ref()))
}

fn gone(_: &str, facts: &Facts) -> Option<Said> {
    let system = followed(facts)?;
    if !facts.targets.without.iter().any(|without| without == system) {
        return None;
    }
    let text = format!(
        "The worker follows it in {system}, which has no such task, or does not show it any more. After three sweeps it is \
         parked as TASK_NOT_FOUND."
    );
    Some(Said {
        suggestion: by_hand("await_parking", "Wait until it is parked, then decide whether to replay it."),
        ..Said::moves(text)
    })
}

fn open(_: &str, facts: &Facts) -> Option<Said> {
    let system = followed(facts)?;
    let shown = facts.seen().map(|(system, seen)| there(system, seen));
    let since =
        facts.held().and_then(|held| held.since.as_ref()).or(facts.seen().and_then(|(_, seen)| seen.created.as_ref()));
    let text = shown.unwrap_or_else(|| format!("{system} has it, and the worker follows it until it is finished."));
    let suggestion = by_hand("await_person", "Nothing: somebody works on it. The worker answers when it is finished.");
    Some(Said { suggestion, ..Said::moves(text) }.since(since))
}

// What only the target and the engine say.

fn incident(id: &str, facts: &Facts) -> Option<Said> {
    let waiting = facts.waits().filter(|waiting| waiting.has_incident)?;
    let error = waiting.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    let text = format!("Camunda shows an incident, so it was parked{}", sentence(&error));
    let suggestion = match facts.queues.looked {
        false => browse(id),
        true => by_hand(
            "give_retries",
            "No parked message of it is left. Give the task its retries back in Camunda's cockpit, then unlock it: the \
             bridge publishes it again.",
        ),
    };
    Some(Said::stands(text, suggestion))
}

fn finished_untracked(_: &str, facts: &Facts) -> Option<Said> {
    let (system, seen) = facts.seen_as(State::Finished).filter(|_| facts.is_nowhere() && facts.waits().is_some())?;
    let when = seen.finished.as_deref().map(on).unwrap_or_default();
    let text = format!("It is finished in {system}{when}, and nothing will answer Camunda: no record of it is left.");
    Some(Said::stands(text, repair()).since(seen.finished.as_ref()))
}

fn finished_unclear(id: &str, facts: &Facts) -> Option<Said> {
    let (system, seen) = facts.seen_as(State::Finished)?;
    let when = seen.finished.as_deref().map(on).unwrap_or_default();
    let unclear = match facts.waits() {
        Some(_) => "Camunda still waits; where its record or response is was not found out",
        None => "whether Camunda has the answer is not known",
    };
    let text = format!("It is finished in {system}{when}; {unclear}.");
    Some(Said::unknown(text, find_out(id, facts)).since(seen.finished.as_ref()))
}

fn untracked(_: &str, facts: &Facts) -> Option<Said> {
    let (system, seen) = facts.seen_as(State::Open).filter(|_| facts.is_nowhere() && facts.waits().is_some())?;
    let text = format!("{} No record of it is left, so nobody would answer Camunda.", there(system, seen));
    Some(Said::stands(text, repair()).since(seen.created.as_ref()))
}

fn open_unclear(id: &str, facts: &Facts) -> Option<Said> {
    let (system, seen) = facts.seen_as(State::Open)?;
    let text = format!("{} Whether the worker follows it was not found out.", there(system, seen));
    Some(Said::unknown(text, find_out(id, facts)).since(seen.created.as_ref()))
}

fn at_target(id: &str, facts: &Facts) -> Option<Said> {
    let (system, seen) = facts.seen()?;
    Some(Said::unknown(there(system, seen), find_out(id, facts)).since(seen.changed.as_ref()))
}

fn not_fetched(_: &str, facts: &Facts) -> Option<Said> {
    let waiting = facts.waits().filter(|waiting| !waiting.is_locked)?;
    let text =
        format!("Camunda waits for somebody to fetch it (topic {}); the bridge has not fetched it yet.", waiting.topic);
    Some(Said {
        suggestion: by_hand("see_bridge", "Nothing, unless it stays so: then see whether the bridge runs."),
        ..Said::moves(text)
    })
}

fn lost(_: &str, facts: &Facts) -> Option<Said> {
    facts.waits()?;
    if !facts.is_nowhere() || !facts.targets.silent.is_empty() {
        return None;
    }
    let blind = match &facts.targets.blind[..] {
        [] => String::new(),
        blind => format!(" {} cannot be asked: if it was theirs, it may have been done once.", blind.join(", ")),
    };
    let text =
        format!("It is lost: Camunda waits for it, and neither a queue nor the worker nor a target has it.{blind}");
    Some(Said::stands(text, repair()))
}

fn not_found(id: &str, facts: &Facts) -> Option<Said> {
    facts.waits()?;
    let text = "Camunda waits for it, and what was looked at does not have it.".to_owned();
    Some(Said::unknown(text, find_out(id, facts)))
}

fn unknown_id(id: &str, facts: &Facts) -> Option<Said> {
    if !matches!(facts.camunda, Camunda::Unknown) {
        return None;
    }
    let text = "Nobody knows this id: neither Camunda nor its history, and nothing else that was looked at.".to_owned();
    let suggestion = match facts.is_nowhere() {
        true => {
            by_hand("check_id", "See whether it is the id of the external task: not that of its process or activity.")
        }
        false => find_out(id, facts),
    };
    Some(Said::unknown(text, suggestion))
}

fn not_known(id: &str, facts: &Facts) -> Said {
    Said::unknown("What was looked at does not have it.".into(), find_out(id, facts))
}

#[cfg(test)]
mod tests;
