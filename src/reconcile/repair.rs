//! Unlocks tasks that nobody has, so that the bridge fetches and publishes them again, and looks after a while which of
//! them somebody has.
//!
//! Just before the unlock the engine is asked whether the lock is still the one that was judged.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::class::forbidden;
use super::hands::Hands;
use super::queues::Place;
use super::{Action, Item, Look, Report, Suspect, queues};
use crate::camunda::Told as Answered;
use crate::camunda::history::TaskEventKind;
use crate::camunda::tasks::ExternalTask;
use crate::redact::clean;
use crate::trace::facts::Role;

/// Between two questions whether the bridge has fetched an unlocked task.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Unlocks what may be unlocked, and says in the report what became of it.
///
/// # Errors
/// The stop signal came; what was unlocked until then is in the audit.
pub(super) fn repair(
    look: &Look,
    report: &mut Report,
    suspects: &[Suspect],
    audit: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let suspects: HashMap<&str, &Suspect> = suspects.iter().map(|suspect| (suspect.id.as_str(), suspect)).collect();
    let mut unlocked: HashMap<String, Option<DateTime<Utc>>> = HashMap::new();
    let mut pause = Duration::ZERO;
    for item in report.items.iter_mut().filter(|item| item.action == Action::WouldUnlock) {
        let Some(suspect) = suspects.get(item.task_id.as_str()) else { continue };
        let Some(task) = suspect.task.as_ref().filter(|_| forbidden(item.class, &suspect.facts).is_none()) else {
            continue;
        };
        look.pause(pause)?;
        pause = look.options.pause;
        match unlock(look, task) {
            Ok(true) => {
                item.action = Action::Unlocked;
                unlocked.insert(item.task_id.clone(), task.locked_until);
                report.repaired += 1;
                audit(&line("unlocked in Camunda", item));
            }
            Ok(false) => {
                item.action = Action::None;
                item.text.push_str("; not unlocked: it has moved on meanwhile");
            }
            Err(err) => {
                item.action = Action::Failed;
                item.text = clean(&format!("{}; not unlocked: {err:#}", item.text));
                audit(&line("not unlocked in Camunda", item));
            }
        }
    }
    if !unlocked.is_empty() {
        look_again(look, report, unlocked, audit)?;
    }
    Ok(())
}

fn line(what: &str, Item { task_id, class, system, age_seconds, .. }: &Item) -> String {
    let class = class.name();
    let system = system.as_deref().unwrap_or("?");
    format!("reconcile: {what}: task={task_id} system={system} class={class} age={age_seconds} s")
}

/// `false`: its lock is no longer the one that was judged.
fn unlock(look: &Look, judged: &ExternalTask) -> anyhow::Result<bool> {
    let engine = &look.sources.engine;
    let Some(task) = engine.task(&judged.id)? else { return Ok(false) };
    let is_same =
        (&task.worker_id, task.locked_until, task.retries) == (&judged.worker_id, judged.locked_until, judged.retries);
    Ok(is_same && engine.unlock(&judged.id)? == Answered::Done)
}

/// What became of an unlocked task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The bridge has not fetched it.
    Unlocked,
    /// The bridge has fetched it.
    Fetched,
    /// Camunda no longer waits for it.
    Over(Ending),
}

/// How a task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Completed,
    /// Its process was cancelled, or went another way.
    Deleted,
    /// The history does not say it.
    Unknown,
}

/// Healed is what is over, or what the bridge has fetched and somebody has.
fn look_again(
    look: &Look,
    report: &mut Report,
    unlocked: HashMap<String, Option<DateTime<Utc>>>,
    audit: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let fates = await_fetched(look, &unlocked)?;
    let mut hands = Hands::default();
    let places = queues::look(look.sources, look.options.browse, || hands.hear((look.ask)()));
    // After an interrupt not all was looked at.
    look.pause(Duration::ZERO)?;
    for item in report.items.iter_mut().filter(|item| unlocked.contains_key(&item.task_id)) {
        look.pause(Duration::ZERO)?;
        let fate = match fates.get(&item.task_id) {
            // It may have been answered since.
            Some(Fate::Fetched) => fate(look, &item.task_id, unlocked[&item.task_id]),
            other => other.copied(),
        };
        let place = places.found.get(&item.task_id).map(|Place { role, .. }| *role);
        let (healed, told) = healed(fate, place, hands.tasks.contains(&item.task_id));
        item.healed = healed;
        item.text.push_str("; ");
        item.text.push_str(told);
        report.healed += u64::from(healed == Some(true));
        audit(&format!("{}: {told}", line("looked at again", item)));
    }
    Ok(())
}

/// What became of each, as far as the engine says it, when the bridge has fetched all of them or its time is up.
fn await_fetched(
    look: &Look,
    unlocked: &HashMap<String, Option<DateTime<Utc>>>,
) -> anyhow::Result<HashMap<String, Fate>> {
    let end = Instant::now() + look.options.patience;
    let mut fates = HashMap::new();
    loop {
        for (id, lock) in unlocked {
            // What was fetched is not unlocked again.
            if fates.get(id).is_none_or(|fate| *fate == Fate::Unlocked) {
                fates.extend(fate(look, id, *lock).map(|fate| (id.clone(), fate)));
                look.pause(Duration::ZERO)?;
            }
        }
        let fetched = fates.values().filter(|fate| **fate != Fate::Unlocked).count();
        if fetched == unlocked.len() || Instant::now() > end {
            return Ok(fates);
        }
        look.pause(ASK_AGAIN)?;
    }
}

fn fate(look: &Look, id: &str, lock: Option<DateTime<Utc>>) -> Option<Fate> {
    match look.sources.engine.task(id).ok()? {
        None => Some(Fate::Over(ending(look, id))),
        Some(task) if task.worker_id.is_some() && task.locked_until != lock => Some(Fate::Fetched),
        Some(_) => Some(Fate::Unlocked),
    }
}

fn ending(look: &Look, id: &str) -> Ending {
    let history = look.sources.engine.task_history(id).unwrap_or_default();
    match history.last().map(|event| event.kind) {
        Some(TaskEventKind::Completed) => Ending::Completed,
        Some(TaskEventKind::Deleted) => Ending::Deleted,
        Some(TaskEventKind::Created | TaskEventKind::Failed) | None => Ending::Unknown,
    }
}

fn healed(fate: Option<Fate>, place: Option<Role>, in_hand: bool) -> (Option<bool>, &'static str) {
    match (fate, place) {
        (Some(Fate::Over(ending)), _) => (Some(true), told(ending)),
        (Some(Fate::Unlocked), _) => (Some(false), "unlocked, but the bridge has not fetched it: does it run?"),
        (_, Some(Role::Errors)) if !in_hand => (Some(false), "unlocked and published again, but it is parked now"),
        (_, Some(_)) => (Some(true), "unlocked, and published again"),
        (_, None) if in_hand => (Some(true), "unlocked, and the worker has it again"),
        (Some(Fate::Fetched), None) => (None, "unlocked and fetched by the bridge, but its message was not seen yet"),
        (None, None) => (None, "unlocked, but Camunda does not say what became of it"),
    }
}

fn told(ending: Ending) -> &'static str {
    match ending {
        Ending::Completed => "unlocked, and answered since",
        Ending::Deleted => "unlocked, but no answer is wanted any more: its process was cancelled or went another way",
        Ending::Unknown => "unlocked, and Camunda no longer waits for it; whether it was answered is not known",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unlocked_task_has_healed_when_it_is_over_or_somebody_has_it_again() {
        let of = |fate, place, in_hand| healed(fate, place, in_hand).0;
        let fetched = Some(Fate::Fetched);
        assert_eq!(of(Some(Fate::Over(Ending::Completed)), None, false), Some(true));
        assert_eq!(of(fetched, Some(Role::Input), false), Some(true));
        assert_eq!(of(fetched, Some(Role::Responses), false), Some(true));
        assert_eq!(of(fetched, None, true), Some(true));
        assert_eq!(of(fetched, Some(Role::Errors), true), Some(true), "an earlier parked message may still be there");
        assert_eq!(of(fetched, Some(Role::Errors), false), Some(false));
        assert_eq!(of(Some(Fate::Unlocked), None, false), Some(false));
        assert_eq!((of(fetched, None, false), of(None, None, false)), (None, None));
    }
}
