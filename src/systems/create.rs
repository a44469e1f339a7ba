//! The rule by which every system creates its tasks: look it up, honour an outcome that cannot be seen yet, and create
//! it only while the look-up is fresh and the message is ours.
//!
//! How a target is asked is the [`Handler`]'s business, what a failure leads to the lane's. It knows no queue.

use std::time::{Duration, Instant};

use super::{Created, Failure, Found, Handler};
use crate::message::{Claim, Earlier, Task};

/// So long after it was not found a task may be created. It bounds what may have happened to it since, elsewhere or
/// while this process stood still; mostly its turn comes within it.
const FRESH: Duration = Duration::from_secs(10);

/// A task that was looked up and is not there.
#[derive(Clone, Copy, Debug)]
pub struct Missing<'a> {
    /// What is to be created.
    pub task: &'a Task,
    /// Its turn came too late once, when the look-up was not fresh any more: it goes before others.
    pub is_late: bool,
    /// When the target was asked.
    asked: Instant,
    /// How long the answer counts.
    good_for: Duration,
}

impl<'a> Missing<'a> {
    /// The right to create it: ends with the session that delivered its message, and when the look-up is not fresh any
    /// more.
    pub fn claim(&self) -> Claim {
        self.task.claim.until(self.asked + self.good_for)
    }

    /// The same after another look at this time, which has not found it either.
    pub fn asked_again(&self, asked: Instant) -> Missing<'a> {
        Missing { asked, ..*self }
    }
}

/// Finds each of the tasks or creates it; one result for each, in order. Where the handler has not answered for every
/// task there are fewer.
pub fn find_or_create(handler: &dyn Handler, tasks: &[Task]) -> Vec<Result<Created, Failure>> {
    let mut pending: Vec<Pending> = tasks.iter().map(|task| Pending { task, state: State::Unknown }).collect();
    attempt(handler, pending.iter_mut().collect(), false);
    // Where requests are scarce a turn may take longer than a look-up is good for: then the create follows it at once.
    attempt(handler, pending.iter_mut().filter(|pending| pending.came_too_late()).collect(), true);
    pending.into_iter().filter_map(Pending::result).collect()
}

/// For a target that takes one task in a call: creates one after the other, each only while it may still be created.
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
    /// It was looked for at this time, and may be created.
    Missing(Instant),
    /// It is there, or why it is not.
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
    // What is late may be as old as another worker would wait before it creates what it got from this one: a slow
    // look-up must not be made for ever.
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

/// What follows from a look. What was started before and cannot be seen may show yet, for as long as the target may
/// hide it.
fn after_look(earlier: Earlier, found: Result<Found, Failure>, visible_within: Option<Duration>) -> State {
    match (found, earlier, visible_within) {
        (Err(failure), ..) => State::Settled(Err(failure)),
        (Ok(Found::There(created)), ..) => State::Settled(Ok(Created { existed: true, ..created })),
        (Ok(Found::Nothing(_)), Earlier::MayExist, Some(wait)) => State::Settled(Err(Failure::TooEarly(wait))),
        // One that was there unseen and is surely not found has been deleted.
        (Ok(Found::Nothing(asked)), Earlier::None | Earlier::MayExist | Earlier::Unseen, _) => State::Missing(asked),
    }
}

#[cfg(test)]
mod tests;
