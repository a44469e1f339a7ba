//! One sweep of the tracker: the messages on their way, and what it has found so far. It decides nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::tasks::Oldest;
use crate::message::{Cause, ParkedTask};
use crate::rabbitmq::connection::{Connection, Watch};
use crate::rabbitmq::consumer::{AckToken, Consumer};
use crate::rabbitmq::publisher::{OutgoingMessage, Publisher};
use crate::systems::Failure;

/// The most outgoing messages without a confirm. In an alarm the next sweep publishes them once more.
const MOST_UNCONFIRMED: usize = 500;

/// The sweep.
pub struct Sweep<'i> {
    /// Where the records come from.
    pub consumer: &'i Consumer,
    /// Opened when there is something to publish. In an alarm publishing itself may wait; the watch ends that.
    pub publisher: Option<(Connection, Publisher, Watch)>,
    /// Outgoing messages on their way, with the deliveries that are acknowledged when they are confirmed.
    pub unconfirmed: HashMap<u64, (Sent, Vec<AckToken>)>,
    /// Tasks of this sweep whose response is on its way.
    pub answering: HashMap<String, u64>,
    /// Tasks whose response is confirmed; the tracker is not told yet.
    pub answered: Vec<String>,
    /// Tasks whose parked message is confirmed, and whose tracker has not heard of it.
    pub parked: Vec<String>,
    /// All tasks of this sweep whose parked message is confirmed.
    pub over: HashSet<String>,
    /// What is told of parked tasks as soon as the outgoing messages with these tags are confirmed.
    pub notices: HashMap<u64, ParkedTask>,
    /// Tasks that are missing or have failed, with the tag of the outgoing message that parks them.
    pub missing: HashMap<String, Option<u64>>,
    /// How many outgoing messages were refused so that their records stay, and the reason of the first refusal.
    pub refused: Option<(u32, String)>,
    /// The failures of the checks in this chunk.
    pub failures: Vec<Failure>,
    /// How many records went to the retry queue, since their own would soon delete them and does not take them again.
    pub put_aside: u32,
    /// The target has shown a task.
    pub seen: bool,
    /// How many tasks it has not shown, for whatever reason.
    pub not_shown: usize,
    /// How many tasks are open.
    pub open: u64,
    /// How many are finished without an answer.
    pub unanswered: u64,
    /// How many records have the id of another task.
    pub foreign: u64,
    /// The age of the oldest open one.
    pub oldest: Duration,
    /// Of some records it is not known how their tasks are: they were not looked at, since the sweep was too long, or
    /// the target did not tell or did not show the task.
    pub unclear: bool,
    /// The oldest open ones, for people.
    pub listed: Oldest,
    /// The oldest ones without an answer, for people.
    pub listed_unanswered: Oldest,
}

/// What an outgoing message of a sweep is for.
pub enum Sent {
    /// Answers a task.
    Response(Answer),
    /// Parks a record for this cause; names the task that is over with that, unless its record is to come back.
    Parked(Cause, Option<String>),
    /// Publishes a record again, to the tail of its queue; the message that does so.
    Republished(Box<OutgoingMessage>),
    /// Moves it to the retry queue, since its own does not take it; the message that does so.
    PutAside(Box<OutgoingMessage>),
}

/// The answer to a task, on its way.
pub struct Answer {
    /// The id of the task.
    pub task: String,
    /// The [`hash`](crate::message::hash) of the message that asked for it.
    pub message: u64,
    /// How long ago the task was created.
    pub age: Option<Duration>,
}

impl<'i> Sweep<'i> {
    /// A sweep that has found nothing yet.
    pub fn new(consumer: &'i Consumer) -> Sweep<'i> {
        Sweep {
            consumer,
            publisher: None,
            unconfirmed: HashMap::new(),
            answering: HashMap::new(),
            answered: Vec::new(),
            parked: Vec::new(),
            over: HashSet::new(),
            notices: HashMap::new(),
            missing: HashMap::new(),
            refused: None,
            failures: Vec::new(),
            put_aside: 0,
            seen: false,
            not_shown: 0,
            open: 0,
            unanswered: 0,
            foreign: 0,
            oldest: Duration::ZERO,
            unclear: false,
            listed: Oldest::default(),
            listed_unanswered: Oldest::default(),
        }
    }

    /// So many are on the way that their confirms should be waited for.
    pub fn is_full(&self) -> bool {
        let by_size = self.publisher.as_ref().is_some_and(|(_, publisher, _)| publisher.is_full());
        by_size || self.unconfirmed.len() >= MOST_UNCONFIRMED
    }

    /// Has the delivery acknowledged together with those of the outgoing message with this tag. Returns the token when
    /// no such message is on its way.
    pub fn join(&mut self, tag: Option<u64>, token: AckToken) -> Option<AckToken> {
        match tag.and_then(|tag| self.unconfirmed.get_mut(&tag)) {
            Some((_, tokens)) => {
                tokens.push(token);
                None
            }
            None => Some(token),
        }
    }
}
