//! What a lane tells of its tasks: those under way, and those that the last sweep has seen open or without an answer.
//!
//! It is for people and decides nothing. Texts are cut and lists are bounded, so that none of it grows with a queue or
//! a message.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::message::given::texts;
use crate::message::{Record, Task};

/// Of a title, an error or another text, in characters.
const LONGEST_TEXT: usize = 200;
/// Of the open and of the unanswered tasks of a lane, the oldest are kept.
pub const MOST_LISTED: usize = 1000;

/// What people call a task besides its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its title.
    pub title: Option<String>,
    /// The process instance that waits for it.
    pub process: Option<String>,
}

impl About {
    /// What this task says of itself.
    pub fn of(task: &Task) -> About {
        let title = texts::title(task, &mut Vec::new()).map(|title| cut(&title.value));
        About { title, process: task.process_instance_id.as_deref().map(cut) }
    }
}

/// A task that the lane has taken and not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// The external task's id.
    pub id: String,
    /// What it is called.
    pub about: About,
    /// When the lane got it first, if that is known.
    pub since: Option<Instant>,
    /// How often it has failed by itself.
    pub attempts: u32,
    /// It has failed before, and waits.
    pub is_retrying: bool,
    /// What is done with it.
    pub step: Step,
    /// When it is tried next, if it waits for a time.
    pub next_try: Option<Instant>,
    /// Why it failed the last time.
    pub error: Option<String>,
}

/// What is done with a task that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is not started.
    Waiting,
    /// It is not started before a time.
    WaitingForTry,
    /// It is not started, since the target is away.
    WaitingForTarget,
    /// It is not started, since the lane is paused by command.
    Paused,
    /// It is not started, since RabbitMQ takes no messages.
    WaitingForRabbitMq,
    /// The pool has it.
    Handling,
    /// Its record is on the way to the sent queue.
    Recording,
    /// It was finished at once, and its response is on the way.
    Answering,
    /// Its follow-up is to be done, or is being done.
    FollowingUp,
    /// Its message is on the way to the retry queue, or to the tail of its own.
    Retrying,
    /// Its message is on the way to the error queue.
    Parking,
    /// Its message is on the way to another system's queue.
    Moving,
    /// A queue does not take what is published for it; it is published again until the queue does.
    WaitingForRoom,
}

impl Step {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Step::Waiting => "waiting to be started",
            Step::WaitingForTry => "waiting for another try",
            Step::WaitingForTarget => "waiting for the target",
            Step::Paused => "waiting, the lane is paused",
            Step::WaitingForRabbitMq => "waiting for RabbitMQ",
            Step::Handling => "looking up or creating",
            Step::Recording => "recording",
            Step::Answering => "answering",
            Step::FollowingUp => "following up",
            Step::Retrying => "being put aside for another try",
            Step::Parking => "being parked",
            Step::Moving => "being moved to another system",
            Step::WaitingForRoom => "waiting for room in a queue",
        }
    }
}

/// How much a lane has under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Tasks that have not failed and are not started.
    pub taken: usize,
    /// Tasks that have failed before, and wait.
    pub retrying: usize,
    /// Tasks that are started and not settled.
    pub in_hand: usize,
    /// Since when the oldest of these has been here that does not wait for a time.
    pub oldest: Option<Instant>,
}

/// A task of the sent queue, as the last sweep has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// The external task's id.
    pub id: String,
    /// What it is called.
    pub about: About,
    /// When it was created, in milliseconds since 1970, if its record says so.
    pub created_at: Option<u64>,
    /// Its id at the target.
    pub target_id: Option<String>,
    /// In which part of the target that is, if its record says so.
    pub within: Option<String>,
    /// The target's host.
    pub host: Option<String>,
    /// Why it is finished and has no answer; `None` for an open one.
    pub why: Option<String>,
}

impl Tracked {
    /// For the list: the task of this record.
    fn of(record: &Record, created_at: Option<u64>, why: Option<&str>) -> Tracked {
        Tracked {
            id: record.task.id.clone(),
            about: About::of(&record.task),
            created_at,
            target_id: record.target_id().map(|id| cut(&id)),
            within: record.target_within().map(|within| cut(&within)),
            host: record.target_host().map(|host| cut(&host)),
            why: why.map(cut),
        }
    }
}

/// What a sweep of the whole sent queue has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The how manieth sweep of this lane it was.
    pub number: u64,
    /// When it ended, in milliseconds since 1970.
    pub at: u64,
    /// How long it took.
    pub took: Duration,
    /// The oldest open tasks, oldest first.
    pub open: Vec<Tracked>,
    /// The oldest tasks that are finished without an answer, oldest first.
    pub unanswered: Vec<Tracked>,
    /// Both lists have all of them.
    pub is_complete: bool,
    /// The list of the unanswered ones has all of them.
    pub has_all_unanswered: bool,
    /// No later sweep has ended without seeing anything, such as one that the target did not answer.
    pub is_current: bool,
}

/// The oldest of many tasks: the ones created first.
#[derive(Debug, Default)]
pub struct Oldest {
    /// The newest of the kept ones on top, to make room.
    kept: BinaryHeap<ByAge>,
    /// How many were left out.
    left_out: u64,
}

#[derive(Debug)]
struct ByAge(Tracked);

impl Oldest {
    /// A task that the sweep has seen; `why`: it is unanswered. A task that is too new costs a comparison.
    pub fn note(&mut self, record: &Record, why: Option<&str>) {
        let created_at = record.created_at();
        if self.kept.len() == MOST_LISTED {
            self.left_out += 1;
            if self.kept.peek().is_some_and(|newest| age_key(newest.0.created_at) <= age_key(created_at)) {
                return;
            }
            self.kept.pop();
        }
        self.kept.push(ByAge(Tracked::of(record, created_at, why)));
    }

    /// They, oldest first, and whether these are all.
    pub fn into_list(self) -> (Vec<Tracked>, bool) {
        let sorted = self.kept.into_sorted_vec();
        (sorted.into_iter().map(|ByAge(task)| task).collect(), self.left_out == 0)
    }
}

/// A task whose record has no time counts as the newest.
fn age_key(created_at: Option<u64>) -> u64 {
    created_at.unwrap_or(u64::MAX)
}

impl Ord for ByAge {
    fn cmp(&self, other: &ByAge) -> Ordering {
        let key = |task: &ByAge| age_key(task.0.created_at);
        key(self).cmp(&key(other)).then_with(|| self.0.id.cmp(&other.0.id))
    }
}

impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &ByAge) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByAge {
    fn eq(&self, other: &ByAge) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByAge {}

/// The text, not longer than a list needs.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(id: usize, created: f64) -> Record {
        let record = json!({
            "original_message": {"task_id": id.to_string(), "variables": {"title": "t".repeat(1000)}},
            "response_data": {"result": {"task": {"id": id}}},
            "processed_at": created,
            "target_host": "portal.example",
        });
        Record::parse(record.to_string().into_bytes()).expect("a record")
    }

    #[test]
    fn the_oldest_tasks_are_kept_whatever_their_order_and_their_texts_are_cut() {
        let most = MOST_LISTED;
        let mut oldest = Oldest::default();
        // Every second one from the start, then the others from the end.
        let order = (0..2 * most).step_by(2).chain((0..2 * most).rev().step_by(2));
        order.for_each(|id| oldest.note(&record(id, 1_700_000_000.0 + id as f64), None));
        let (list, is_complete) = oldest.into_list();
        let ids: Vec<String> = list.iter().map(|task| task.id.clone()).collect();
        assert_eq!((ids, is_complete), ((0..most).map(|id| id.to_string()).collect(), false));
        let first = &list[0];
        assert_eq!(first.about.title.as_deref().map(|title| title.chars().count()), Some(LONGEST_TEXT + 1));
        let target = (first.target_id.as_deref(), first.host.as_deref(), first.created_at);
        assert_eq!(target, (Some("0"), Some("portal.example"), Some(1_700_000_000_000)));
    }

    #[test]
    fn a_list_that_has_room_says_that_it_is_complete() {
        let mut oldest = Oldest::default();
        oldest.note(&record(1, 5.0), Some("no answer yet"));
        let (list, is_complete) = oldest.into_list();
        assert_eq!((list.len(), list[0].why.as_deref(), is_complete), (1, Some("no answer yet"), true));
    }
}
