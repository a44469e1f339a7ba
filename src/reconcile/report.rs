//! The report of a reconciliation: what is wrong with each task, in words and in numbers, and what was done.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::class::{Class, TargetSays, class, forbidden};
use super::queues::Places;
use super::{Look, Suspect};
use crate::camunda::tasks::ExternalTask;
use crate::redact::clean;

/// Items that are shown; all are counted.
const MOST_SHOWN: usize = 1000;

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Tasks that the bridge has locked and that belong to our systems.
    pub checked: u64,
    /// How many are wrong in which way.
    pub counts: Counts,
    /// Tasks that were unlocked.
    pub repaired: u64,
    /// Unlocked tasks that somebody has again.
    pub healed: u64,
    /// What is wrong, the oldest first.
    pub items: Vec<Item>,
    /// What could not be found out, for all tasks of a system.
    pub notes: Vec<String>,
}

/// Tasks by their class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// See [`Class::Lost`].
    pub lost: u64,
    /// See [`Class::Untracked`].
    pub untracked: u64,
    /// See [`Class::Unanswered`].
    pub unanswered: u64,
    /// See [`Class::Parked`].
    pub parked: u64,
    /// See [`Class::Orphan`].
    pub orphan: u64,
    /// See [`Class::InHand`].
    pub in_hand: u64,
    /// See [`Class::Unknown`].
    pub unknown: u64,
}

impl Counts {
    /// Each class by its name, also those without tasks.
    pub fn by_class(&self) -> [(&'static str, u64); 7] {
        let Counts { lost, untracked, unanswered, parked, orphan, in_hand, unknown } = *self;
        [
            (Class::Lost, lost),
            (Class::Untracked, untracked),
            (Class::Unanswered, unanswered),
            (Class::Parked, parked),
            (Class::Orphan, orphan),
            (Class::InHand, in_hand),
            (Class::Unknown, unknown),
        ]
        .map(|(class, count)| (class.name(), count))
    }
}

/// A task that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The external task's id.
    pub task_id: String,
    /// The process instance that waits.
    pub process_id: Option<String>,
    /// What is wrong.
    pub class: Class,
    /// Whose task it is.
    pub system: Option<String>,
    /// For how long the bridge has had it.
    pub age_seconds: u64,
    /// In a sentence.
    pub text: String,
    /// What was done.
    pub action: Action,
    /// Whether somebody has it again; `None`: it was not unlocked, or that is not known.
    pub healed: Option<bool>,
}

/// What was done with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing.
    None,
    /// Nothing, but a repair would unlock it.
    WouldUnlock,
    /// It was unlocked.
    Unlocked,
    /// The engine did not unlock it.
    Failed,
}

impl Counts {
    fn add(&mut self, class: Class) {
        *match class {
            Class::Lost => &mut self.lost,
            Class::Untracked => &mut self.untracked,
            Class::Unanswered => &mut self.unanswered,
            Class::Parked => &mut self.parked,
            Class::Orphan => &mut self.orphan,
            Class::InHand => &mut self.in_hand,
            Class::Unknown => &mut self.unknown,
        } += 1;
    }
}

impl Report {
    /// As many items as are shown, the oldest first. Those with which something was done are among them.
    pub fn cut(&mut self) {
        if self.items.len() > MOST_SHOWN {
            self.items.sort_by_key(|item| item.action == Action::None);
            self.items.truncate(MOST_SHOWN);
            self.items.sort_by(by_age);
        }
    }

    /// Is something wrong that is not healed?
    pub fn is_wrong(&self) -> bool {
        let Counts { lost, untracked, unanswered, parked, orphan, .. } = self.counts;
        lost + untracked + unanswered + parked + orphan > self.healed
    }
}

impl Look<'_> {
    pub(super) fn report(
        &self,
        waiting: &HashMap<String, (String, ExternalTask)>,
        suspects: &[Suspect],
        looks: [&Places; 2],
    ) -> Report {
        let mut report = Report { checked: waiting.len() as u64, notes: self.notes(looks), ..Report::default() };
        let waits = suspects.iter().filter(|suspect| suspect.task.is_some()).count();
        report.counts.in_hand = (waiting.len() - waits) as u64;
        let mut items: Vec<Item> = Vec::new();
        for suspect in suspects {
            let class = class(&suspect.facts);
            report.counts.add(class);
            if class != Class::InHand {
                items.push(self.item(suspect, class, looks));
            }
        }
        items.sort_by(by_age);
        let may_unlock = items.iter_mut().filter(|item| item.action == Action::WouldUnlock);
        may_unlock.skip(self.options.limit).for_each(|item| item.action = Action::None);
        report.items = items;
        report
    }

    fn item(&self, suspect: &Suspect, class: Class, looks: [&Places; 2]) -> Item {
        let unseen = looks.iter().find_map(|places| places.unseen(&suspect.system));
        let text = text(suspect, class, unseen);
        let forbidden = forbidden(class, &suspect.facts);
        let because = match class {
            Class::Lost | Class::Untracked | Class::Unanswered => forbidden.map(|why| format!("; not unlocked: {why}")),
            Class::InHand | Class::Parked | Class::Orphan | Class::Unknown => None,
        };
        Item {
            task_id: suspect.id.clone(),
            process_id: suspect.task.as_ref().and_then(|task| task.process_instance_id.clone()),
            class,
            system: Some(suspect.system.clone()),
            age_seconds: suspect.age.as_secs(),
            text: clean(&format!("{text}{}", because.unwrap_or_default())),
            action: if forbidden.is_none() { Action::WouldUnlock } else { Action::None },
            healed: None,
        }
    }

    fn notes(&self, looks: [&Places; 2]) -> Vec<String> {
        let unseen: BTreeMap<&String, &String> = looks.iter().flat_map(|places| &places.unseen).collect();
        let told = |(system, why): (&String, &String)| match system.is_empty() {
            true => clean(why),
            false => clean(&format!("{system}: {why}")),
        };
        let silent =
            self.hands.silent.iter().map(|why| clean(&format!("what the worker has taken is not known: {why}")));
        unseen.into_iter().map(told).chain(silent).collect()
    }
}

fn by_age(a: &Item, b: &Item) -> Ordering {
    b.age_seconds.cmp(&a.age_seconds).then_with(|| a.task_id.cmp(&b.task_id))
}

fn text(suspect: &Suspect, class: Class, unseen: Option<&str>) -> String {
    let Suspect { system, facts, .. } = suspect;
    let at_target = suspect.seen.as_ref().map(|seen| match &seen.link {
        Some(link) => format!(" as {} ({link})", seen.target_id),
        None => format!(" as {}", seen.target_id),
    });
    let at_target = at_target.unwrap_or_default();
    match class {
        Class::Lost if facts.target == TargetSays::CannotBeAsked => {
            "no queue and no worker has its message; whether it was done is not known".into()
        }
        Class::Lost => format!("no queue and no worker has its message, and {system} has no task"),
        Class::Untracked => format!("{system} has it{at_target}, and nobody waits for its end"),
        Class::Unanswered => format!("{system} has it finished{at_target}, and no answer is on its way"),
        Class::Parked => match suspect.place.as_ref().and_then(|place| place.cause.as_deref()) {
            Some(cause) => format!("parked: {cause}"),
            None if facts.place.is_some() => "parked".into(),
            None => "Camunda shows an incident, and no parked message is left: give it retries in Camunda".into(),
        },
        Class::Orphan => format!("{system} has it open{at_target}, and Camunda no longer waits for it"),
        Class::Unknown => {
            let why = suspect.failure.as_deref().or(unseen).unwrap_or("a source did not answer");
            format!("it is not known where it is: {why}")
        }
        Class::InHand => "somebody has it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_shown_however_much_is_wrong() {
        let item = |number: u64, action| Item {
            task_id: format!("task-{number}"),
            process_id: None,
            class: Class::Lost,
            system: None,
            age_seconds: 10_000 - number,
            text: String::new(),
            action,
            healed: None,
        };
        let action = |number| if number < 3000 { Action::None } else { Action::Unlocked };
        let items = (0..3002).map(|number| item(number, action(number))).collect();
        let mut report = Report { items, ..Report::default() };
        report.cut();
        let shown: Vec<&str> = report.items.iter().map(|item| item.task_id.as_str()).collect();
        assert_eq!((shown.len(), shown[0], shown[997]), (1000, "task-0", "task-997"));
        assert_eq!(shown[998..], ["task-3000", "task-3001"]);
    }
}
