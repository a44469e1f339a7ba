//! What the demo has seen, message by message, and the account of it: what was lost and what was doubled.
//!
//! It counts ids: those that were published against those that were answered or parked, and the tasks at the portal as
//! a multiset. It knows no queue, no portal and no display.

use std::collections::BTreeMap;
use std::time::Duration;

use super::messages::{Kind, Message};

/// A message on its way, with the times since the start at which it got somewhere.
#[derive(Debug)]
pub struct History {
    /// What was published, or is going to be.
    pub message: Message,
    /// In its queue.
    pub published: Option<Duration>,
    /// There is a task for it, with this id.
    pub created: Option<(Duration, u64)>,
    /// A person has finished the task, with this answer.
    pub finished: Option<(Duration, Option<&'static str>)>,
    /// The right answer is in the responses queue.
    pub answered: Option<Duration>,
    /// It is in the error queue, for this cause.
    pub parked: Option<(Duration, String)>,
    /// The worker has seen that this task is known.
    pub recognised: Option<Duration>,
}

impl History {
    fn of(message: Message) -> History {
        let (published, created, finished, answered, parked, recognised) = (None, None, None, None, None, None);
        History { message, published, created, finished, answered, parked, recognised }
    }

    /// Has it got where it should?
    pub fn ended(&self) -> bool {
        match self.message.kind {
            Kind::Task(_) => self.answered.is_some(),
            Kind::Again(_) => self.recognised.is_some(),
            Kind::Unreadable => self.parked.is_some(),
        }
    }

    /// Did it arrive somewhere, be it where it should or in the error queue?
    fn arrived(&self) -> bool {
        self.ended() || self.parked.is_some()
    }

    fn is_task(&self, id: &str) -> bool {
        matches!(&self.message.kind, Kind::Task(own) if own == id)
    }
}

/// All messages, and what was counted besides.
#[derive(Debug)]
pub struct Audit {
    /// In the order of publishing.
    pub histories: Vec<History>,
    /// How many responses, or parked messages, came for each task id.
    outcomes: BTreeMap<String, usize>,
    parked_unreadable: usize,
}

/// The end of the account.
#[derive(Debug)]
pub struct Balance {
    /// The line with all numbers.
    pub line: String,
    /// What is wrong, a line each; empty when nothing was lost and nothing doubled.
    pub faults: Vec<String>,
}

impl Audit {
    /// The account of these messages before anything has happened.
    pub fn open(messages: Vec<Message>) -> Audit {
        let histories = messages.into_iter().map(History::of).collect();
        Audit { histories, outcomes: BTreeMap::new(), parked_unreadable: 0 }
    }

    /// Has every message got where it should, or at least into the error queue?
    pub fn complete(&self) -> bool {
        self.histories.iter().all(History::arrived)
    }

    /// The next message to publish.
    pub fn next(&self) -> Option<&History> {
        self.histories.iter().find(|history| history.published.is_none())
    }

    /// The broker has that message.
    pub fn published(&mut self, at: Duration) -> Option<&History> {
        let history = self.histories.iter_mut().find(|history| history.published.is_none())?;
        history.published = Some(at);
        Some(history)
    }

    /// There is a task with this marker. Returns the way it concerns, here and below.
    pub fn created(&mut self, marker: &str, id: u64, at: Duration) -> Option<&History> {
        self.note(marker, |history| history.created.is_none().then(|| history.created = Some((at, id))))
    }

    /// A person has finished the task.
    pub fn finished(&mut self, marker: &str, answer: Option<&'static str>, at: Duration) -> Option<&History> {
        self.note(marker, |history| history.finished.is_none().then(|| history.finished = Some((at, answer))))
    }

    /// A response came. One with another answer than the person's does not count as the answer.
    pub fn answered(&mut self, task_id: &str, answer: &str, at: Duration) -> Option<&History> {
        *self.outcomes.entry(task_id.to_owned()).or_default() += 1;
        self.note(task_id, |history| {
            let right = history.finished.is_some_and(|(_, given)| given.unwrap_or_default() == answer);
            (right && history.answered.is_none()).then(|| history.answered = Some(at))
        })
    }

    /// A task was parked.
    pub fn parked(&mut self, task_id: &str, cause: &str, at: Duration) -> Option<&History> {
        *self.outcomes.entry(task_id.to_owned()).or_default() += 1;
        self.note(task_id, |history| history.parked.is_none().then(|| history.parked = Some((at, cause.to_owned()))))
    }

    /// A message that is no task was parked, with this body.
    pub fn parked_unreadable(&mut self, body: &[u8], cause: &str, at: Duration) -> Option<&History> {
        self.parked_unreadable += 1;
        let history = self
            .histories
            .iter_mut()
            .find(|history| history.message.kind == Kind::Unreadable && history.message.body == body)?;
        history.parked = Some((at, cause.to_owned()));
        Some(history)
    }

    /// The worker has recognised so many messages as known.
    pub fn recognised(&mut self, count: u64, at: Duration) -> Option<&History> {
        let again = self.histories.iter_mut().filter(|history| matches!(history.message.kind, Kind::Again(_)));
        let news = again.take(usize::try_from(count).unwrap_or(usize::MAX));
        let history = news.into_iter().find(|history| history.recognised.is_none() && history.published.is_some())?;
        history.recognised = Some(at);
        Some(history)
    }

    fn note(&mut self, task_id: &str, change: impl FnOnce(&mut History) -> Option<()>) -> Option<&History> {
        let history = self.histories.iter_mut().find(|history| history.is_task(task_id))?;
        change(history)?;
        Some(history)
    }

    /// The balance, with the markers of all tasks at the portal and the number of messages left in the worker's queues.
    pub fn balance(&self, markers: &[String], left: u32) -> Balance {
        let count = |fits: &dyn Fn(&History) -> bool| self.histories.iter().filter(|history| fits(history)).count();
        let mut at_portal: BTreeMap<&str, usize> = BTreeMap::new();
        markers.iter().for_each(|marker| *at_portal.entry(marker).or_default() += 1);
        let lost: Vec<&History> = self.histories.iter().filter(|history| !history.arrived()).collect();
        let mut faults: Vec<String> = lost.iter().map(|history| fault(history)).collect();
        let twice = |counts: Vec<(&str, usize)>, what: &str, faults: &mut Vec<String>| -> usize {
            let more = counts.into_iter().filter(|(_, count)| *count > 1);
            more.map(|(id, count)| {
                faults.push(format!("{id}: {count} {what}"));
                count - 1
            })
            .sum()
        };
        let mut doubled = twice(at_portal.clone().into_iter().collect(), "tasks at the portal", &mut faults);
        let outcomes = self.outcomes.iter().map(|(id, count)| (id.as_str(), *count)).collect();
        doubled += twice(outcomes, "messages came out", &mut faults);
        let unreadable = ("what is not a task", self.parked_unreadable);
        doubled += twice(vec![unreadable], "times parked", &mut faults);
        if left > 0 {
            faults.push(format!("{left} message(s) still lay in the worker's queues"));
        }
        let line = format!(
            "{} messages in: {} tasks created, {} answered to Camunda, {} doubled message recognised, \
             {} parked with its cause; lost {}, doubled {doubled}",
            self.histories.len(),
            markers.len(),
            count(&|history| history.answered.is_some()),
            count(&|history| history.recognised.is_some()),
            count(&|history| history.parked.is_some()),
            lost.len(),
        );
        Balance { line, faults }
    }
}

/// What became of a message that did not arrive.
fn fault(history: &History) -> String {
    if history.published.is_none() {
        return format!("{}: RabbitMQ has not taken it", history.message.title);
    }
    let far = match (&history.created, &history.finished, &history.message.kind) {
        (_, _, Kind::Again(_)) => "not recognised as known".to_owned(),
        (_, _, Kind::Unreadable) => "not parked".to_owned(),
        (None, _, Kind::Task(_)) => "no task was created".to_owned(),
        (Some((_, id)), None, Kind::Task(_)) => format!("created as task {id}, but not finished"),
        (Some((_, id)), Some(_), Kind::Task(_)) => {
            format!("created as task {id} and finished, but its answer has not come")
        }
    };
    format!("{}: {far}", history.message.title)
}

#[cfg(test)]
mod tests {
    use super::super::messages;
    use super::*;

    const AT: Duration = Duration::from_secs(1);

    /// Everything as it should be, but for what `change` does instead of the answer to the first task.
    fn balance_after(extra: &[&str], change: impl FnOnce(&mut Audit)) -> Balance {
        let mut audit = Audit::open(messages::all("run"));
        audit.histories.iter_mut().for_each(|history| history.published = Some(AT));
        let ids: Vec<String> = (1..=6).map(|number| format!("run-task-{number}")).collect();
        for (id, number) in ids.iter().zip(1..) {
            audit.created(id, number, AT);
            audit.finished(id, None, AT);
        }
        ids[1..].iter().for_each(|id| assert!(audit.answered(id, "", AT).is_some()));
        assert!(audit.recognised(1, AT).is_some() && audit.recognised(1, AT).is_none());
        let broken = audit.histories[5].message.body.clone();
        assert!(audit.parked_unreadable(&broken, "INVALID_MESSAGE", AT).is_some());
        change(&mut audit);
        let extra = extra.iter().map(|id| (*id).to_owned());
        audit.balance(&ids.iter().cloned().chain(extra).collect::<Vec<_>>(), 0)
    }

    fn answer_first(audit: &mut Audit) {
        audit.answered("run-task-1", "", AT);
        assert!(audit.complete());
    }

    #[test]
    fn a_good_run_has_no_fault() {
        let balance = balance_after(&[], answer_first);
        let expected = "8 messages in: 6 tasks created, 6 answered to Camunda, 1 doubled message recognised, \
                        1 parked with its cause; lost 0, doubled 0";
        assert_eq!((balance.line.as_str(), balance.faults.len()), (expected, 0));
    }

    #[test]
    fn a_missing_answer_is_a_loss_and_so_is_a_wrong_one() {
        let nothing: fn(&mut Audit) = |_| ();
        let another: fn(&mut Audit) = |audit| assert!(audit.answered("run-task-1", "НЕТ", AT).is_none());
        for change in [nothing, another] {
            let balance = balance_after(&[], change);
            assert!(balance.line.ends_with("lost 1, doubled 0"), "{}", balance.line);
            assert_eq!(balance.faults.len(), 1);
        }
    }

    #[test]
    fn a_second_task_and_a_second_answer_are_doubles() {
        let balance = balance_after(&["run-task-2"], |audit| {
            answer_first(audit);
            audit.answered("run-task-3", "", AT);
        });
        assert!(balance.line.ends_with("lost 0, doubled 2"), "{}", balance.line);
        assert_eq!(balance.faults, ["run-task-2: 2 tasks at the portal", "run-task-3: 2 messages came out"]);
    }
}
