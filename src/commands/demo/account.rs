//! What the demo has seen, message by message, and the account of it: what was lost and what was doubled.
//!
//! It counts ids: those that were published against those that were answered or parked, and the tasks at the portal as a
//! multiset. It knows no queue, no portal and no display.

use std::collections::BTreeMap;
use std::time::Duration;

use super::messages::{Kind, Message};

/// A message on its way, with the times since the start at which it got somewhere.
#[derive(Debug)]
pub struct Way {
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

impl Way {
    fn of(message: Message) -> Way {
        let (published, created, finished, answered, parked, recognised) = (None, None, None, None, None, None);
        Way { message, published, created, finished, answered, parked, recognised }
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
pub struct Account {
    /// In the order of publishing.
    pub ways: Vec<Way>,
    /// How many responses, or parked messages, came for each task id.
    arrivals: BTreeMap<String, usize>,
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

impl Account {
    /// The account of these messages before anything has happened.
    pub fn open(messages: Vec<Message>) -> Account {
        let ways = messages.into_iter().map(Way::of).collect();
        Account { ways, arrivals: BTreeMap::new(), parked_unreadable: 0 }
    }

    /// Has every message got where it should, or at least into the error queue?
    pub fn complete(&self) -> bool {
        self.ways.iter().all(Way::arrived)
    }

    /// The next message to publish.
    pub fn next(&self) -> Option<&Way> {
        self.ways.iter().find(|way| way.published.is_none())
    }

    /// The broker has that message.
    pub fn published(&mut self, at: Duration) -> Option<&Way> {
        let way = self.ways.iter_mut().find(|way| way.published.is_none())?;
        way.published = Some(at);
        Some(way)
    }

    /// There is a task with this marker. Returns the way it concerns, here and below.
    pub fn created(&mut self, marker: &str, id: u64, at: Duration) -> Option<&Way> {
        self.note(marker, |way| way.created.is_none().then(|| way.created = Some((at, id))))
    }

    /// A person has finished the task.
    pub fn finished(&mut self, marker: &str, answer: Option<&'static str>, at: Duration) -> Option<&Way> {
        self.note(marker, |way| way.finished.is_none().then(|| way.finished = Some((at, answer))))
    }

    /// A response came. One with another answer than the person's does not count as the answer.
    pub fn answered(&mut self, task_id: &str, answer: &str, at: Duration) -> Option<&Way> {
        *self.arrivals.entry(task_id.to_owned()).or_default() += 1;
        self.note(task_id, |way| {
            let right = way.finished.is_some_and(|(_, given)| given.unwrap_or_default() == answer);
            (right && way.answered.is_none()).then(|| way.answered = Some(at))
        })
    }

    /// A task was parked.
    pub fn parked(&mut self, task_id: &str, cause: &str, at: Duration) -> Option<&Way> {
        *self.arrivals.entry(task_id.to_owned()).or_default() += 1;
        self.note(task_id, |way| way.parked.is_none().then(|| way.parked = Some((at, cause.to_owned()))))
    }

    /// A message that is no task was parked, with this body.
    pub fn parked_unreadable(&mut self, body: &[u8], cause: &str, at: Duration) -> Option<&Way> {
        self.parked_unreadable += 1;
        let way = self.ways.iter_mut().find(|way| way.message.kind == Kind::Unreadable && way.message.body == body)?;
        way.parked = Some((at, cause.to_owned()));
        Some(way)
    }

    /// The worker has recognised so many messages as known.
    pub fn recognised(&mut self, count: u64, at: Duration) -> Option<&Way> {
        let again = self.ways.iter_mut().filter(|way| matches!(way.message.kind, Kind::Again(_)));
        let news = again.take(usize::try_from(count).unwrap_or(usize::MAX));
        let way = news.into_iter().find(|way| way.recognised.is_none() && way.published.is_some())?;
        way.recognised = Some(at);
        Some(way)
    }

    fn note(&mut self, task_id: &str, change: impl FnOnce(&mut Way) -> Option<()>) -> Option<&Way> {
        let way = self.ways.iter_mut().find(|way| way.is_task(task_id))?;
        change(way)?;
        Some(way)
    }

    /// The balance, with the markers of all tasks at the portal and the number of messages left in the worker's queues.
    pub fn balance(&self, markers: &[String], left: u32) -> Balance {
        let count = |fits: &dyn Fn(&Way) -> bool| self.ways.iter().filter(|way| fits(way)).count();
        let mut at_portal: BTreeMap<&str, usize> = BTreeMap::new();
        markers.iter().for_each(|marker| *at_portal.entry(marker).or_default() += 1);
        let lost: Vec<&Way> = self.ways.iter().filter(|way| !way.arrived()).collect();
        let mut faults: Vec<String> = lost.iter().map(|way| fault(way)).collect();
        let twice = |counts: Vec<(&str, usize)>, what: &str, faults: &mut Vec<String>| -> usize {
            let more = counts.into_iter().filter(|(_, count)| *count > 1);
            more.map(|(id, count)| {
                faults.push(format!("{id}: {count} {what}"));
                count - 1
            })
            .sum()
        };
        let mut doubled = twice(at_portal.clone().into_iter().collect(), "tasks at the portal", &mut faults);
        let arrivals = self.arrivals.iter().map(|(id, count)| (id.as_str(), *count)).collect();
        doubled += twice(arrivals, "messages came out", &mut faults);
        let unreadable = ("what is not a task", self.parked_unreadable);
        doubled += twice(vec![unreadable], "times parked", &mut faults);
        if left > 0 {
            faults.push(format!("{left} message(s) still lay in the worker's queues"));
        }
        let line = format!(
            "{} messages in: {} tasks created, {} answered to Camunda, {} doubled message recognised, \
             {} parked with its cause; lost {}, doubled {doubled}",
            self.ways.len(),
            markers.len(),
            count(&|way| way.answered.is_some()),
            count(&|way| way.recognised.is_some()),
            count(&|way| way.parked.is_some()),
            lost.len(),
        );
        Balance { line, faults }
    }
}

/// What became of a message that did not arrive.
fn fault(way: &Way) -> String {
    if way.published.is_none() {
        return format!("{}: RabbitMQ has not taken it", way.message.title);
    }
    let far = match (&way.created, &way.finished, &way.message.kind) {
        (_, _, Kind::Again(_)) => "not recognised as known".to_owned(),
        (_, _, Kind::Unreadable) => "not parked".to_owned(),
        (None, _, Kind::Task(_)) => "no task was created".to_owned(),
        (Some((_, id)), None, Kind::Task(_)) => format!("created as task {id}, but not finished"),
        (Some((_, id)), Some(_), Kind::Task(_)) => {
            format!("created as task {id} and finished, but its answer has not come")
        }
    };
    format!("{}: {far}", way.message.title)
}

#[cfg(test)]
mod tests {
    use super::super::messages;
    use super::*;

    const AT: Duration = Duration::from_secs(1);

    /// Everything as it should be, but for what `change` does instead of the answer to the first task.
    fn balance_after(extra: &[&str], change: impl FnOnce(&mut Account)) -> Balance {
        let mut account = Account::open(messages::all("run"));
        account.ways.iter_mut().for_each(|way| way.published = Some(AT));
        let ids: Vec<String> = (1..=6).map(|number| format!("run-task-{number}")).collect();
        for (id, number) in ids.iter().zip(1..) {
            account.created(id, number, AT);
            account.finished(id, None, AT);
        }
        ids[1..].iter().for_each(|id| assert!(account.answered(id, "", AT).is_some()));
        assert!(account.recognised(1, AT).is_some() && account.recognised(1, AT).is_none());
        let broken = account.ways[5].message.body.clone();
        assert!(account.parked_unreadable(&broken, "INVALID_MESSAGE", AT).is_some());
        change(&mut account);
        let extra = extra.iter().map(|id| (*id).to_owned());
        account.balance(&ids.iter().cloned().chain(extra).collect::<Vec<_>>(), 0)
    }

    fn answer_first(account: &mut Account) {
        account.answered("run-task-1", "", AT);
        assert!(account.complete());
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
        let nothing: fn(&mut Account) = |_| ();
        let another: fn(&mut Account) = |account| assert!(account.answered("run-task-1", "НЕТ", AT).is_none());
        for change in [nothing, another] {
            let balance = balance_after(&[], change);
            assert!(balance.line.ends_with("lost 1, doubled 0"), "{}", balance.line);
            assert_eq!(balance.faults.len(), 1);
        }
    }

    #[test]
    fn a_second_task_and_a_second_answer_are_doubles() {
        let balance = balance_after(&["run-task-2"], |account| {
            answer_first(account);
            account.answered("run-task-3", "", AT);
        });
        assert!(balance.line.ends_with("lost 0, doubled 2"), "{}", balance.line);
        assert_eq!(balance.faults, ["run-task-2: 2 tasks at the portal", "run-task-3: 2 messages came out"]);
    }
}
