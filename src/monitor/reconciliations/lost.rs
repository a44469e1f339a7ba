//! Which tasks are lost, as far as it is known. A task that a reconciliation has found lost stays so until it has
//! healed, or until a reconciliation that could see everything does not find it, though it is old enough for it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::reconcile::Report;
use crate::reconcile::class::Class;

/// The lost tasks, by id.
#[derive(Debug, Default)]
pub struct Lost(HashMap<String, Found>);

/// How old a task was when it was found lost the last time.
#[derive(Debug)]
struct Found {
    at: Instant,
    age: Duration,
}

impl Lost {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Takes in a report of all that is wrong among the tasks of this age.
    pub fn learn(&mut self, report: &Report, older_than: Duration, now: Instant) {
        if report.counts.unknown == 0 {
            // A task that is too young for this report may be lost still.
            self.0.retain(|_, found| found.age + now.saturating_duration_since(found.at) < older_than);
        }
        for item in report.items.iter().filter(|item| item.class == Class::Lost) {
            if item.healed == Some(true) {
                self.0.remove(&item.task_id);
            } else {
                let found = Found { at: now, age: Duration::from_secs(item.age_seconds) };
                self.0.insert(item.task_id.clone(), found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::{Action, Counts, Item};

    const USUAL: Duration = Duration::from_secs(1800);
    /// Of each lost task.
    const AGE: Duration = Duration::from_secs(2000);

    /// A report of these lost tasks, of healed ones, and of so many unknown ones.
    fn report(lost: &[&str], healed: &[&str], unknown: u64) -> Report {
        let item = |(id, healed): (&&str, Option<bool>)| Item {
            task_id: (*id).to_owned(),
            process_id: None,
            class: Class::Lost,
            system: None,
            age_seconds: AGE.as_secs(),
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
        let (mut lost, now) = (Lost::default(), Instant::now());
        let mut after = |report: &Report, older_than| {
            lost.learn(report, older_than, now);
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

    #[test]
    fn a_task_that_has_become_old_enough_since_is_not_lost_if_it_is_not_found() {
        let (mut lost, now) = (Lost::default(), Instant::now());
        lost.learn(&report(&["a"], &[], 1), USUAL, now);
        lost.learn(&report(&[], &[], 0), USUAL, now);
        assert_eq!(lost.count(), 0, "the first one had not seen everything, and this one has");
        lost.learn(&report(&["a"], &[], 0), Duration::from_secs(60), now);
        let mut after = |later| {
            lost.learn(&report(&[], &[], 0), USUAL * 2, now + later);
            lost.count()
        };
        assert_eq!([after(Duration::ZERO), after(USUAL)], [1, 0]);
    }
}
