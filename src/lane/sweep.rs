//! One sweep of the tracker: what is on its way, and what it has found so far. It decides nothing.

use std::collections::HashMap;
use std::time::Duration;

use crate::rabbitmq::connection::{Connection, Watch};
use crate::rabbitmq::consumer::{AckToken, Consumer};
use crate::rabbitmq::publisher::{OutgoingMessage, Publisher};
use crate::systems::Failure;

/// Outgoing messages without a confirm. In an alarm the next sweep publishes them once more.
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
    /// Tasks whose response is confirmed, and whose tracker has not heard of it.
    pub answered: Vec<String>,
    /// Tasks whose parked message is confirmed, and whose tracker has not heard of it.
    pub parked: Vec<String>,
    /// Tasks that this sweep has missed, or that have failed, with the tag of the outgoing message that parks them.
    pub missing: HashMap<String, Option<u64>>,
    /// How many outgoing messages were refused whose records stay, and why the first one was.
    pub refused: Option<(u32, String)>,
    /// Why tasks of the records that are being checked could not be looked up.
    pub failures: Vec<Failure>,
    /// How many records wait in the retry queue, since their own would soon delete them and does not take them again.
    pub put_aside: u32,
    /// The target has shown a task.
    pub seen: bool,
    /// How many tasks it has not shown, for whatever reason.
    pub not_shown: usize,
    /// How many tasks are open.
    pub open: u64,
    /// How many are finished and lack their answer.
    pub unanswered: u64,
    /// How many records have the id of another task.
    pub foreign: u64,
    /// The age of the oldest open one.
    pub oldest: Duration,
}

/// What an outgoing message of a sweep is for.
pub enum Sent {
    /// Answers the task with this id, which was created so long ago.
    Response(String, Option<Duration>),
    /// Parks a record; names the task that is over with that, unless its record is to come back.
    Parked(Option<String>),
    /// Moves a record to the tail of its queue: the outgoing message that does.
    Republished(Box<OutgoingMessage>),
    /// Moves it to the retry queue, since its own does not take it.
    PutAside(Box<OutgoingMessage>),
}

impl<'i> Sweep<'i> {
    /// A sweep that starts.
    pub fn new(consumer: &'i Consumer) -> Sweep<'i> {
        Sweep {
            consumer,
            publisher: None,
            unconfirmed: HashMap::new(),
            answering: HashMap::new(),
            answered: Vec::new(),
            parked: Vec::new(),
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
        }
    }

    /// So much is on the way that its confirms should be waited for.
    pub fn is_full(&self) -> bool {
        let by_size = self.publisher.as_ref().is_some_and(|(_, publisher, _)| publisher.is_full());
        by_size || self.unconfirmed.len() >= MOST_UNCONFIRMED
    }

    /// Lets a delivery be acknowledged together with those of the outgoing message under this tag; gives it back when
    /// no such outgoing message is on its way.
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
