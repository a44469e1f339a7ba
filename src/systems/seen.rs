//! What a target shows of a task that somebody looks for by its id: for `trace` and `reconcile`, which read only.
//!
//! It knows no target: each handler says what its target shows. Nothing is created or answered by it.

use anyhow::anyhow;
use serde::Serialize;

use super::{Created, Failure, Found, Handler};
use crate::message::Task;

/// A task as its target shows it to people. What the target does not show is absent; dates are ISO 8601.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The task's id at the target.
    pub target_id: String,
    /// The address where a person sees it.
    pub link: Option<String>,
    /// Whether somebody still works on it.
    pub state: State,
    /// Its state in the target's own word.
    pub status: Option<String>,
    /// Who has to do it: a name, or an id where no name is shown.
    pub responsible: Option<String>,
    /// When it was created.
    pub created: Option<String>,
    /// When it was changed last.
    pub changed: Option<String>,
    /// When it is due.
    pub deadline: Option<String>,
    /// When it was finished.
    pub finished: Option<String>,
    /// What the person has answered.
    pub answer: Option<String>,
    /// Why the answer is not known, where the process waits for one.
    pub no_answer: Option<String>,
}

/// Whether somebody still works on a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Somebody does, or should.
    Open,
    /// It is finished.
    Finished,
    /// The target does not say.
    #[default]
    Unknown,
}

/// `None`: the target has no such task, or does not show it.
pub type Looked = Result<Option<Seen>, Failure>;

/// Why nobody can look.
pub const NOT_LOOKED_UP: &str = "its target cannot be asked for a task by its id";

/// For a target that cannot be asked.
pub(super) fn cannot_look(task_ids: &[&str]) -> Vec<Looked> {
    task_ids.iter().map(|_| Err(Failure::Permanent(anyhow!(NOT_LOOKED_UP)))).collect()
}

/// Looks by [`Handler::find`], which says that a task is there and no more.
pub(super) fn by_finding<H: Handler + ?Sized>(handler: &H, task_ids: &[&str]) -> Vec<Looked> {
    if handler.visible_within().is_none() {
        return cannot_look(task_ids);
    }
    let tasks: Vec<Task> = task_ids.iter().map(|id| Task::of_id(id)).collect();
    let found = handler.find(&tasks.iter().collect::<Vec<_>>());
    found.into_iter().map(|found| found.map(seen)).collect()
}

fn seen(found: Found) -> Option<Seen> {
    match found {
        Found::There(Created { target_id, link, .. }) => Some(Seen { target_id, link, ..Seen::default() }),
        Found::Nothing(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::systems::Missing;

    /// A target that has the task `1`, if it can be asked at all.
    struct Target {
        can_look: bool,
    }

    impl Handler for Target {
        fn visible_within(&self) -> Option<Duration> {
            self.can_look.then_some(Duration::ZERO)
        }
        fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
            let there = || Found::There(Created::new(serde_json::Value::Null, "8017".into()));
            tasks.iter().map(|task| Ok(if task.id == "1" { there() } else { Found::Nothing(Instant::now()) })).collect()
        }
        fn create(&self, _: &[Missing]) -> Vec<Result<Created, Failure>> {
            unreachable!("nothing is created")
        }
    }

    #[test]
    fn a_target_that_finds_tasks_shows_that_they_are_there_and_no_more() {
        let looked = Target { can_look: true }.look(&["1", "2"]);
        let [Ok(Some(seen)), Ok(None)] = &looked[..] else { panic!("{looked:?}") };
        assert_eq!(*seen, Seen { target_id: "8017".into(), ..Seen::default() });
        assert_eq!(seen.state, State::Unknown);
    }

    #[test]
    fn a_target_that_finds_nothing_cannot_be_asked() {
        let looked = Target { can_look: false }.look(&["1"]);
        let [Err(Failure::Permanent(why))] = &looked[..] else { panic!("{looked:?}") };
        assert_eq!(why.to_string(), NOT_LOOKED_UP);
    }
}
