//! Which tasks are lost, as far as it is known: what the last reconciliation has found that saw everything, with what
//! later ones have found besides, and without what has healed.
//!
//! A reconciliation that could not see everything proves of no task that it is not lost.

use std::collections::HashSet;
use std::time::Duration;

use crate::reconcile::Report;
use crate::reconcile::class::Class;

/// The lost tasks.
#[derive(Debug, Default)]
pub struct Lost {
    ids: HashSet<String>,
    /// Tasks of this age have been looked at.
    older_than: Duration,
}

impl Lost {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Takes in a report of all that is wrong among the tasks of this age.
    pub fn learn(&mut self, report: &Report, older_than: Duration) {
        let lost = report.items.iter().filter(|item| item.class == Class::Lost);
        let (healed, lost): (Vec<_>, Vec<_>) = lost.partition(|item| item.healed == Some(true));
        // A task that is too young for this one may be lost still.
        let has_seen_all = report.counts.unknown == 0 && (self.ids.is_empty() || older_than <= self.older_than);
        if has_seen_all {
            self.ids.clear();
            self.older_than = older_than;
        }
        self.ids.extend(lost.into_iter().map(|item| item.task_id.clone()));
        for item in healed {
            self.ids.remove(&item.task_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::{Action, Counts, Item};

    const USUAL: Duration = Duration::from_secs(1800);

    /// A report of these lost tasks, of healed ones, and of so many unknown ones.
    fn report(lost: &[&str], healed: &[&str], unknown: u64) -> Report {
        let item = |(id, healed): (&&str, Option<bool>)| Item {
            task_id: (*id).to_owned(),
            process_id: None,
            class: Class::Lost,
            system: None,
            age_seconds: 3600,
            text: String::new(),
            action: Action::None,
            healed,
        };
        let lost_still = lost.iter().map(|id| (id, None));
        let items = lost_still.chain(healed.iter().map(|id| (id, Some(true)))).map(item).collect();
        let counts = Counts { lost: (lost.len() + healed.len()) as u64, unknown, ..Counts::default() };
        Report { counts, items, ..Report::default() }
    }

    #[test]
    fn a_lost_task_is_lost_until_it_has_healed_or_everything_was_seen() {
        let mut lost = Lost::default();
        let mut after = |report: &Report, older_than| {
            lost.learn(report, older_than);
            lost.count()
        };
        assert_eq!(after(&report(&["a", "b", "c"], &[], 0), USUAL), 3);
        assert_eq!(after(&report(&[], &[], 3), USUAL), 3, "the queues could not be seen");
        assert_eq!(after(&report(&["d"], &[], 3), USUAL), 4);
        assert_eq!(after(&report(&[], &[], 0), USUAL * 2), 4, "they may be too young for it");
        assert_eq!(after(&report(&["a"], &["b"], 2), USUAL), 3, "one has healed");
        assert_eq!(after(&report(&["a", "c"], &["d"], 0), USUAL), 2);
        assert_eq!(after(&report(&[], &[], 0), USUAL), 0);
        assert_eq!(after(&report(&[], &[], 0), USUAL * 2), 0);
    }
}
