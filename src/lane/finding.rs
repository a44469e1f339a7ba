//! What a check of a record at the target has shown, as one value that says what becomes of the record. Pure; it knows
//! no queue.

use crate::systems::{Failure, Progress};

/// The result of a check.
#[derive(Debug)]
pub(super) enum Finding {
    /// The task was answered before: this is a second record of it.
    AnsweredBefore,
    /// The progress of the task.
    Progress(Progress),
    /// The target shows neither this task nor any of many others: perhaps our account may not see them, so nothing
    /// follows.
    Hidden,
    /// The record can never be checked.
    Invalid(anyhow::Error),
    /// It could not be checked this time.
    Unknown(Failure),
}

impl Finding {
    /// `trusted`: the target would show the task if it were there.
    pub(super) fn of(result: Result<Progress, Failure>, trusted: bool, answered_before: bool) -> Finding {
        match result {
            Err(Failure::Permanent(err)) => Finding::Invalid(err),
            Err(failure) => Finding::Unknown(failure),
            Ok(Progress::Gone) if !trusted => Finding::Hidden,
            Ok(_) if answered_before => Finding::AnsweredBefore,
            Ok(progress) => Finding::Progress(progress),
        }
    }
}

/// How many checks have shown a task, and in how many the task was gone.
pub(super) fn shown_and_gone(results: &[Result<Progress, Failure>]) -> (usize, usize) {
    let count = |is: fn(&Progress) -> bool| results.iter().flatten().filter(|progress| is(progress)).count();
    let gone = count(|progress| matches!(progress, Progress::Gone));
    (count(|progress| !matches!(progress, Progress::Gone | Progress::Foreign(_))), gone)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_task_that_is_not_shown_counts_as_gone_only_at_a_trusted_target() {
        let of = |result, trusted, answered| Finding::of(result, trusted, answered);
        assert!(matches!(of(Ok(Progress::Gone), false, true), Finding::Hidden));
        assert!(matches!(of(Ok(Progress::Gone), true, false), Finding::Progress(Progress::Gone)));
        assert!(matches!(of(Ok(Progress::Open), false, false), Finding::Progress(Progress::Open)));
        assert!(matches!(of(Ok(Progress::Open), true, true), Finding::AnsweredBefore));
        assert!(matches!(of(Err(Failure::Permanent(anyhow!("no id"))), false, true), Finding::Invalid(_)));
        assert!(matches!(of(Err(Failure::Outdated), true, true), Finding::Unknown(Failure::Outdated)));
    }

    #[test]
    fn neither_another_task_nor_a_failure_shows_one() {
        let results =
            [Ok(Progress::Open), Ok(Progress::Gone), Ok(Progress::Foreign("another".into())), Err(Failure::Outdated)];
        assert_eq!(shown_and_gone(&results), (1, 1));
    }
}
