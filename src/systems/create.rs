//! The rule by which every system creates its tasks: look the task up, wait for an outcome that cannot be seen yet, and
//! create the task only while the look-up is fresh and the message is ours.
//!
//! The [`Handler`] decides how a target is asked, the lane what a failure leads to. This file knows no queue.

use std::time::{Duration, Instant};

use super::{Created, Failure, Found, Handler};
use crate::message::{Claim, Earlier, Task};

/// How long after an unsuccessful look-up a task may be created. The limit bounds what may have happened to the task
/// since, elsewhere or while this process stood still; mostly a permit comes within it.
const FRESH: Duration = Duration::from_secs(10);

/// A task that was looked up and does not exist.
#[derive(Clone, Copy, Debug)]
pub struct Missing<'a> {
    /// What is to be created.
    pub task: &'a Task,
    /// Its permit came too late once, when the look-up was no longer fresh: it goes before others.
    pub is_late: bool,
    /// When the target was asked.
    asked: Instant,
    /// How long the answer is good.
    good_for: Duration,
}

impl<'a> Missing<'a> {
    /// The right to create it. It ends with the session that delivered its message, or when the look-up is no longer
    /// fresh.
    pub fn claim(&self) -> Claim {
        self.task.claim.until(self.asked + self.good_for)
    }

    /// The same after another look-up at this time, which has not found it either.
    pub fn asked_again(&self, asked: Instant) -> Missing<'a> {
        Missing { asked, ..*self }
    }
}

/// Finds or creates each of the tasks; one result for each, in order. If the handler has not answered for every task,
/// there are fewer results.
pub fn find_or_create(handler: &dyn Handler, tasks: &[Task]) -> Vec<Result<Created, Failure>> {
    let mut pending: Vec<Pending> = tasks.iter().map(|task| Pending { task, state: State::Unknown }).collect();
    attempt(handler, pending.iter_mut().collect(), false);
    // Where requests are scarce a permit may come after the look-up has expired: then the create follows it at once.
    attempt(handler, pending.iter_mut().filter(|pending| pending.came_too_late()).collect(), true);
    pending.into_iter().filter_map(Pending::result).collect()
}

/// For a target that takes one task in a call: creates one after the other, each only while its claim holds.
pub fn one_by_one(
    missing: &[Missing],
    create: impl Fn(&Task) -> Result<Created, Failure>,
) -> Vec<Result<Created, Failure>> {
    let create = |missing: &Missing| match missing.claim().is_held() {
        true => create(missing.task),
        false => Err(Failure::Outdated),
    };
    missing.iter().map(create).collect()
}

/// A task on its way through the rule.
struct Pending<'a> {
    task: &'a Task,
    state: State,
}

enum State {
    /// Nobody has looked for it yet.
    Unknown,
    /// It was not found at this time, and may be created.
    Missing(Instant),
    /// It exists, or why it does not.
    Settled(Result<Created, Failure>),
}

impl Pending<'_> {
    fn came_too_late(&self) -> bool {
        matches!(self.state, State::Settled(Err(Failure::Outdated))) && self.task.claim.is_held()
    }

    fn result(self) -> Option<Result<Created, Failure>> {
        match self.state {
            State::Settled(result) => Some(result),
            State::Unknown | State::Missing(_) => None,
        }
    }
}

/// Looks for the tasks, and creates those that are missing.
fn attempt(handler: &dyn Handler, mut pending: Vec<&mut Pending>, is_late: bool) {
    if pending.is_empty() {
        return;
    }
    let visible_within = handler.visible_within();
    let tasks: Vec<&Task> = pending.iter().map(|pending| pending.task).collect();
    for (pending, found) in pending.iter_mut().zip(handler.find(&tasks)) {
        pending.state = after_look(pending.task.earlier, found, visible_within);
    }
    // A late one may be as old as the time that another worker waits before it creates what was requeued from this one:
    // a slow look-up must not repeat for ever.
    let visible_within = visible_within.unwrap_or(FRESH);
    let good_for = if is_late { visible_within } else { FRESH.min(visible_within) };
    let missing: Vec<Missing> = pending
        .iter()
        .filter_map(|pending| match pending.state {
            State::Missing(asked) => Some(Missing { task: pending.task, is_late, asked, good_for }),
            State::Unknown | State::Settled(_) => None,
        })
        .collect();
    if missing.is_empty() {
        return;
    }
    let results = handler.create(&missing);
    let missing = pending.into_iter().filter(|pending| matches!(pending.state, State::Missing(_)));
    missing.zip(results).for_each(|(pending, result)| pending.state = State::Settled(result));
}

/// What follows from a look-up. A task that an earlier try may have created can stay invisible for as long as the
/// target may hide it.
fn after_look(earlier: Earlier, found: Result<Found, Failure>, visible_within: Option<Duration>) -> State {
    match (found, earlier, visible_within) {
        (Err(failure), ..) => State::Settled(Err(failure)),
        (Ok(Found::There(created)), ..) => State::Settled(Ok(Created { existed: true, ..created })),
        (Ok(Found::Nothing(_)), Earlier::MayExist, Some(wait)) => State::Settled(Err(Failure::TooEarly(wait))),
        // It existed unseen and is now surely not found: somebody has deleted it.
        (Ok(Found::Nothing(asked)), Earlier::None | Earlier::MayExist | Earlier::WouldShow | Earlier::Unseen, _) => {
            State::Missing(asked)
        }
    }
}

#[cfg(test)]
mod tests;
