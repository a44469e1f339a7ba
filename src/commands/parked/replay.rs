//! Replaying: what was parked goes back to the queue it came from, as it came, and leaves the error queue when RabbitMQ
//! has it there.
//!
//! A crash between the two leaves it in both queues. A second replay does no harm where each task is looked up before
//! it is created, which is everywhere but with `BITRIX_TASK_ID_FIELD=none`. What cannot be replayed stays, with a
//! reason.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::Selection;
use super::entry::ParkedEntry;
use super::queue::{self, End, Fate};
use crate::config::Config;
use crate::lane::outgoing;
use crate::message::Cause;
use crate::queues::Queues;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::publisher::{OutgoingMessage, PublishOutcome, Publisher};
use crate::rabbitmq::queues;
use crate::redact::{clean, clean_json};
use crate::stop::Stop;
use crate::systems::table;
use crate::terminal::{say, tell};

/// Of the causes that are there instead of the one that was asked for; anybody may invent more.
const MOST_CAUSES: usize = 10;

/// How a replay goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Messages at most.
    pub limit: Option<u32>,
    /// Between two messages.
    pub pause: Option<Duration>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Say it in JSON.
    pub json: bool,
}

/// What a replay has done.
#[derive(Debug)]
pub struct Outcome {
    /// Messages that are in their source queues now, or would be.
    pub replayed: u32,
    /// Messages that could not be replayed.
    pub skipped: u32,
    /// Causes of some messages that were not selected.
    pub other_causes: BTreeSet<String>,
    /// Why it ended.
    pub end: End,
}

/// Replays what is selected.
///
/// # Errors
/// RabbitMQ is gone, or does not say whether it has the message in hand; that one stays, too.
pub fn run(config: &Config, stop: &Stop, selection: &Selection, manner: &Manner) -> anyhow::Result<Outcome> {
    let mut connection = Connection::open(&config.rabbitmq, "task-creator: replay")?;
    let publisher = connection.within_deadline(Publisher::open)?;
    let mut replay = Replay {
        config,
        stop,
        selection,
        manner,
        publisher,
        connection,
        known_queues: HashMap::new(),
        left_alone: HashSet::new(),
        other_causes: BTreeSet::new(),
        stayed: 0,
        first_reading: true,
        replayed: 0,
        skipped: 0,
    };
    let result = replay.all();
    let Replay { publisher, connection, other_causes, replayed, skipped, .. } = replay;
    let _ = connection.close_after(|_| drop(publisher));
    let end = result.with_context(|| format!("replayed {replayed}, then stopped; all others are still parked"))?;
    Ok(Outcome { replayed, skipped, other_causes, end })
}

/// The outgoing message that takes what was parked back to its queue.
///
/// # Errors
/// Why there is none.
pub fn outgoing(config: &Config, entry: &ParkedEntry) -> Result<OutgoingMessage, String> {
    let original = entry.original.as_ref().ok_or("it is not a parked message")?;
    let queue = entry.about.source_queue.as_ref().ok_or("it does not name its source_queue")?;
    // Anybody may have written it, so it cannot direct us to answers for Camunda, or to the error queue.
    if !Queues::hold_messages(queue, &config.queue_prefix, &table::names()) {
        return Err(format!(
            "its source_queue {queue} is not a queue of a system (QUEUE_PREFIX={})",
            config.queue_prefix
        ));
    }
    let outgoing = outgoing::for_replay(outgoing::as_from_bridge(queue.clone(), entry.id.clone(), original.clone()));
    Ok(if may_exist(entry) { outgoing::that_may_exist(outgoing) } else { outgoing })
}

/// May its last try have created a task that does not show yet?
fn may_exist(entry: &ParkedEntry) -> bool {
    let certain =
        [Cause::InvalidMessage, Cause::RequestError, Cause::TaskFailed, Cause::TaskNotFound, Cause::InvalidRecord];
    let cause = entry.about.error_type.as_deref();
    !certain.iter().any(|certain| Some(certain.name()) == cause)
}

struct Replay<'a> {
    config: &'a Config,
    stop: &'a Stop,
    selection: &'a Selection,
    manner: &'a Manner,
    /// Its channel is closed before its connection.
    publisher: Publisher,
    connection: Connection,
    /// Source queues, and whether the broker has them.
    known_queues: HashMap<String, bool>,
    /// Messages that stay, which are read once more where one reading is not enough.
    left_alone: HashSet<u64>,
    /// How many they are: two may be alike to the last byte.
    stayed: u32,
    other_causes: BTreeSet<String>,
    first_reading: bool,
    replayed: u32,
    skipped: u32,
}

impl Replay<'_> {
    fn all(&mut self) -> anyhow::Result<End> {
        let mut most = u32::MAX;
        loop {
            match queue::read(self.config, self.stop, most, |entry| self.visit(&entry))? {
                // What is parked meanwhile comes after these, and is not replayed over and over.
                End::OutOfTime(left) => most = left + self.stayed,
                end => return Ok(end),
            }
            self.first_reading = false;
        }
    }

    /// Ends with the last message that is wanted: each one more that is read would be requeued, and counted for it. But
    /// looking goes on: a quorum queue has at its end what it was requeued, so the replay would take others.
    fn visit(&mut self, entry: &ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>> {
        if self.has_enough() {
            return Ok(ControlFlow::Continue(Fate::Stays));
        }
        let decided = self.decide(entry)?;
        let ends = self.has_enough() && !self.manner.dry_run;
        Ok(match decided {
            ControlFlow::Continue(fate) if ends => ControlFlow::Break(fate),
            decided => decided,
        })
    }

    fn has_enough(&self) -> bool {
        self.manner.limit.is_some_and(|limit| self.replayed >= limit)
    }

    fn decide(&mut self, entry: &ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>> {
        let known = !self.first_reading && self.left_alone.contains(&mark(entry));
        if !known && self.selection.includes(entry) {
            return self.replay(entry);
        }
        if !known {
            if self.other_causes.len() < MOST_CAUSES {
                self.other_causes.extend(entry.about.error_type.clone());
            }
            self.leave_alone(entry);
        }
        Ok(ControlFlow::Continue(Fate::Stays))
    }

    fn replay(&mut self, entry: &ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>> {
        let outgoing = match self.checked_message(entry)? {
            Ok(outgoing) => outgoing,
            Err(why) => return Ok(self.skip(entry, &why)),
        };
        if self.manner.dry_run {
            self.tell(entry, "would replay", Some(&outgoing.queue), None);
            self.replayed += 1;
            self.leave_alone(entry);
            return Ok(ControlFlow::Continue(Fate::Stays));
        }
        if self.manner.pause.is_some_and(|pause| self.replayed > 0 && self.stop.pause(pause)) {
            return Ok(ControlFlow::Break(Fate::Stays));
        }
        let outcome = self.publisher.try_deliver(&outgoing);
        match outcome.with_context(|| format!("it is not known whether {} is in {}", entry.id, outgoing.queue))? {
            PublishOutcome::Confirmed => {
                self.replayed += 1;
                self.tell(entry, "replayed", Some(&outgoing.queue), None);
                Ok(ControlFlow::Continue(Fate::Leaves))
            }
            PublishOutcome::NoQueue(why) | PublishOutcome::Refused(why) => {
                Ok(self.skip(entry, &format!("{} did not take it: {why}", outgoing.queue)))
            }
        }
    }

    /// The outgoing message, unless the broker lacks its queue.
    fn checked_message(&mut self, entry: &ParkedEntry) -> anyhow::Result<Result<OutgoingMessage, String>> {
        let outgoing = match outgoing(self.config, entry) {
            Ok(outgoing) => outgoing,
            Err(why) => return Ok(Err(why)),
        };
        let exists = match self.known_queues.get(&outgoing.queue) {
            Some(exists) => *exists,
            None => {
                let look = |connection: &mut Connection| queues::look(connection, &outgoing.queue);
                let exists = self.connection.within_deadline(look)?.is_some();
                self.known_queues.insert(outgoing.queue.clone(), exists);
                exists
            }
        };
        Ok(if exists { Ok(outgoing) } else { Err(format!("there is no queue {}", outgoing.queue)) })
    }

    fn skip(&mut self, entry: &ParkedEntry, why: &str) -> ControlFlow<Fate, Fate> {
        self.skipped += 1;
        self.leave_alone(entry);
        self.tell(entry, "skipped", entry.about.source_queue.as_deref(), Some(why));
        ControlFlow::Continue(Fate::Stays)
    }

    fn leave_alone(&mut self, entry: &ParkedEntry) {
        self.left_alone.insert(mark(entry));
        self.stayed += 1;
    }

    fn tell(&self, entry: &ParkedEntry, outcome: &str, queue: Option<&str>, why: Option<&str>) {
        let id = &entry.id;
        if self.manner.json {
            let outcome = outcome.replace(' ', "_");
            let line = json!({"id": id, "outcome": outcome, "queue": queue, "reason": why}).to_string();
            return say(&clean_json(&line));
        }
        tell(
            &clean(&match (why, queue) {
                (Some(why), _) => format!("{outcome:<12}  {id}: {why}; it stays parked"),
                (None, queue) => format!("{outcome:<12}  {id} to {}", queue.unwrap_or("-")),
            }),
            14,
        );
    }
}

/// Tells two messages apart without keeping them.
fn mark(entry: &ParkedEntry) -> u64 {
    let mut hasher = DefaultHasher::new();
    entry.body.hash(&mut hasher);
    hasher.finish()
}
