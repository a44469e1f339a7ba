//! The demo's audit: the history of each message, and how many messages were lost or doubled.
//!
//! It compares the ids that were published with those that were answered or parked, and counts the tasks at the fakes.
//! It knows no queue, no fake and no screen.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::commands::fakes::messages::{Kind, Message};
use crate::commands::fakes::{FakeTask, Needs};

/// The history of a message. Times are since the start.
#[derive(Debug)]
pub struct History {
    /// The message.
    pub message: Message,
    /// When it was published.
    pub published: Option<Duration>,
    /// When its task was created, and the task's number.
    pub created: Option<(Duration, String)>,
    /// When the task was finished, and how.
    pub finished: Option<(Duration, Finish)>,
    /// When the right answer was in the responses queue.
    pub answered: Option<Duration>,
    /// When it was parked, and the cause.
    pub parked: Option<(Duration, String)>,
    /// When the worker recognised it as a duplicate.
    pub recognised: Option<Duration>,
}

/// How a task was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// As it was created.
    AtOnce,
    /// By a simulated user.
    Done,
    /// By a simulated user, with this answer.
    Answered(&'static str),
}

impl Finish {
    /// The answer that Camunda is to get.
    fn answer(self) -> &'static str {
        match self {
            Finish::AtOnce | Finish::Done => "",
            Finish::Answered(answer) => answer,
        }
    }
}

impl History {
    fn of(message: Message) -> History {
        let (published, created, finished, answered, parked, recognised) = (None, None, None, None, None, None);
        History { message, published, created, finished, answered, parked, recognised }
    }

    /// Is it where it should be?
    pub fn ended(&self) -> bool {
        match self.message.kind {
            Kind::Task(_) => self.answered.is_some(),
            Kind::Again(_) => self.recognised.is_some(),
            Kind::Nobodys(_) | Kind::Unreadable => self.parked.is_some(),
        }
    }

    /// Is it where it should be, or parked?
    fn arrived(&self) -> bool {
        self.ended() || self.parked.is_some()
    }

    fn is_task(&self, id: &str) -> bool {
        matches!(&self.message.kind, Kind::Task(own) | Kind::Nobodys(own) if own == id)
    }
}

/// The histories of all messages, and what else was counted.
#[derive(Debug)]
pub struct Audit {
    /// In the order of publishing.
    pub histories: Vec<History>,
    /// How many responses, or parked messages, came for each task id.
    outcomes: BTreeMap<String, usize>,
    parked_unreadable: usize,
}

/// The result of the audit.
#[derive(Debug)]
pub struct Balance {
    /// The line with all numbers.
    pub line: String,
    /// A line for each fault; empty when nothing was lost and nothing doubled.
    pub faults: Vec<String>,
}

impl Audit {
    /// Starts the audit of these messages.
    pub fn open(messages: Vec<Message>) -> Audit {
        let histories = messages.into_iter().map(History::of).collect();
        Audit { histories, outcomes: BTreeMap::new(), parked_unreadable: 0 }
    }

    /// Is every message where it should be, or parked?
    pub fn complete(&self) -> bool {
        self.histories.iter().all(History::arrived)
    }

    /// The next message to publish.
    pub fn next(&self) -> Option<&History> {
        self.histories.iter().find(|history| history.published.is_none())
    }

    /// The next message was published.
    pub fn published(&mut self, at: Duration) -> Option<&History> {
        let history = self.histories.iter_mut().find(|history| history.published.is_none())?;
        history.published = Some(at);
        Some(history)
    }

    /// This task was created. Returns the history if it has changed, as the methods below do.
    pub fn created(&mut self, task: &FakeTask, at: Duration) -> Option<&History> {
        self.note(&task.marker, |history| {
            let is_new = history.created.is_none();
            is_new.then(|| {
                history.created = Some((at, task.id.clone()));
                history.finished = (task.needs == Needs::Nothing).then_some((at, Finish::AtOnce));
            })
        })
    }

    /// A simulated user has finished the task.
    pub fn finished(&mut self, marker: &str, answer: Option<&'static str>, at: Duration) -> Option<&History> {
        let finish = answer.map_or(Finish::Done, Finish::Answered);
        self.note(marker, |history| history.finished.is_none().then(|| history.finished = Some((at, finish))))
    }

    /// A response came. It counts as the answer only if it has the user's answer.
    pub fn answered(&mut self, task_id: &str, answer: &str, at: Duration) -> Option<&History> {
        *self.outcomes.entry(task_id.to_owned()).or_default() += 1;
        self.note(task_id, |history| {
            let right = history.finished.is_some_and(|(_, finish)| finish.answer() == answer);
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

    /// The worker has recognised this many duplicates of this system so far.
    pub fn recognised(&mut self, system: &str, count: u64, at: Duration) -> Option<&History> {
        let is_again = |message: &Message| message.system == system && matches!(message.kind, Kind::Again(_));
        let again = self.histories.iter_mut().filter(|history| is_again(&history.message));
        let first = again.take(usize::try_from(count).unwrap_or(usize::MAX));
        let history = first.into_iter().find(|history| history.recognised.is_none() && history.published.is_some())?;
        history.recognised = Some(at);
        Some(history)
    }

    fn note(&mut self, task_id: &str, change: impl FnOnce(&mut History) -> Option<()>) -> Option<&History> {
        let history = self.histories.iter_mut().find(|history| history.is_task(task_id))?;
        change(history)?;
        Some(history)
    }

    /// The balance, from the markers of all tasks at the fakes and the number of messages left in the worker's queues.
    pub fn balance(&self, markers: &[String], left: u32) -> Balance {
        let count = |fits: &dyn Fn(&History) -> bool| self.histories.iter().filter(|history| fits(history)).count();
        let mut created: BTreeMap<&str, usize> = BTreeMap::new();
        markers.iter().for_each(|marker| *created.entry(marker).or_default() += 1);
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
        let mut doubled = twice(created.into_iter().collect(), "tasks created", &mut faults);
        let outcomes = self.outcomes.iter().map(|(id, count)| (id.as_str(), *count)).collect();
        doubled += twice(outcomes, "responses or parked messages", &mut faults);
        let unreadable = ("what is not a task", self.parked_unreadable);
        doubled += twice(vec![unreadable], "times parked", &mut faults);
        if left > 0 {
            faults.push(format!("{left} message(s) are still in the worker's queues"));
        }
        let (recognised, parked) =
            (count(&|history| history.recognised.is_some()), count(&|history| history.parked.is_some()));
        let line = format!(
            "{} in: {} created, {} answered to Camunda, {} recognised, {parked} parked with {}; lost {}, doubled {doubled}",
            counted(self.histories.len(), "message"),
            counted(markers.len(), "task"),
            count(&|history| history.answered.is_some()),
            counted(recognised, "duplicate"),
            if parked == 1 { "its cause" } else { "their causes" },
            lost.len(),
        );
        Balance { line, faults }
    }
}

/// `1 task`, `2 tasks`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// How far a lost message got.
fn fault(history: &History) -> String {
    if history.published.is_none() {
        return format!("{}: RabbitMQ has not taken it", history.message.title);
    }
    let far = match (&history.created, &history.finished, &history.message.kind) {
        (_, _, Kind::Again(_)) => "not recognised as a duplicate".to_owned(),
        (_, _, Kind::Nobodys(_) | Kind::Unreadable) => "not parked".to_owned(),
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
    use super::*;
    use crate::commands::fakes::USUAL;

    const AT: Duration = Duration::from_secs(1);

    /// A good run, but `change` comes instead of the answer to the first task.
    fn balance_after(extra: &[&str], change: impl FnOnce(&mut Audit)) -> Balance {
        let mut audit = Audit::open((USUAL.messages)("run"));
        audit.histories.iter_mut().for_each(|history| history.published = Some(AT));
        let ids: Vec<String> = (1..=6).map(|number| format!("run-task-{number}")).collect();
        for (id, number) in ids.iter().zip(1..) {
            audit.created(&made(id, number, Needs::Work), AT);
            audit.finished(id, None, AT);
        }
        ids[1..].iter().for_each(|id| assert!(audit.answered(id, "", AT).is_some()));
        assert!(audit.recognised("1c", 1, AT).is_none());
        assert!(audit.recognised("bitrix24", 1, AT).is_some() && audit.recognised("bitrix24", 1, AT).is_none());
        let broken = audit.histories[5].message.body.clone();
        assert!(audit.parked_unreadable(&broken, "INVALID_MESSAGE", AT).is_some());
        change(&mut audit);
        let extra = extra.iter().map(|id| (*id).to_owned());
        audit.balance(&ids.iter().cloned().chain(extra).collect::<Vec<_>>(), 0)
    }

    fn made(marker: &str, number: u32, needs: Needs) -> FakeTask {
        FakeTask { id: number.to_string(), marker: marker.to_owned(), title: String::new(), needs }
    }

    fn answer_first(audit: &mut Audit) {
        audit.answered("run-task-1", "", AT);
        assert!(audit.complete());
    }

    #[test]
    fn a_good_run_has_no_fault() {
        let balance = balance_after(&[], answer_first);
        let expected = "8 messages in: 6 tasks created, 6 answered to Camunda, 1 duplicate recognised, \
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
        assert_eq!(balance.faults, ["run-task-2: 2 tasks created", "run-task-3: 2 responses or parked messages"]);
    }

    #[test]
    fn what_is_finished_at_once_is_answered_without_a_user_and_a_task_of_nobody_is_parked() {
        let body = serde_json::json!({});
        let mail = Message::task("email", "mail", "a mail", "", &body);
        let fax = Message { kind: Kind::Nobodys("fax".into()), ..Message::task("default", "fax", "a fax", "", &body) };
        let mut audit = Audit::open(vec![mail, fax]);
        audit.histories.iter_mut().for_each(|history| history.published = Some(AT));
        assert!(audit.created(&made("mail", 1, Needs::Nothing), AT).is_some());
        assert!(audit.answered("mail", "", AT).is_some() && audit.parked("fax", "REQUEST_ERROR", AT).is_some());
        let balance = audit.balance(&["mail".into()], 0);
        let expected = "2 messages in: 1 task created, 1 answered to Camunda, 0 duplicates recognised, \
                        1 parked with its cause; lost 0, doubled 0";
        assert_eq!((balance.line.as_str(), balance.faults.len(), audit.complete()), (expected, 0, true));
    }
}
