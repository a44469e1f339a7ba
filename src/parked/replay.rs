//! Replays parked messages: publishes each as it came, to the queue it came from, and acknowledges it when that is
//! confirmed. Before, Camunda's engine gives the task its retries back, if it is set; a replay does not depend on that.
//! When the publish fails, the failure is reported there again: what stays parked has to show as an incident.
//!
//! Nothing is published when its parked message has been held for so long that RabbitMQ or we may soon cut the
//! connection on which it is acknowledged: it is put off until the next reading.
//!
//! A crash between the two leaves it in both queues. A second replay does no harm where tasks are looked up before they
//! are created; elsewhere the task may be done twice. A message that cannot be replayed stays, with a reason. How the
//! error queue is read is in [`queue`]; who has asked for a replay is its [`Observer`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Selection;
use super::entry::ParkedEntry;
use super::queue::{self, Bounds, End, Fate};
use crate::camunda::{self, Engine, Told};
use crate::config::Config;
use crate::lane::outgoing;
use crate::message::{Cause, ParkedTask};
use crate::queues::Queues;
pub use crate::rabbitmq::browse::LONGEST;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::publisher::{OutgoingMessage, PublishOutcome, Publisher};
use crate::rabbitmq::queues;
use crate::stop::Stop;
use crate::systems::table;

/// How many other causes are named when there is no message of the wanted one; anybody may invent causes.
const MOST_CAUSES: usize = 10;

/// What is to be replayed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which messages.
    pub selection: Selection,
    /// Messages at most.
    pub limit: Option<u32>,
    /// How many are selected, if that is known: behind the last one nothing is read.
    pub selected: Option<u32>,
    /// Nothing is published when a message may have been held for longer, see [`LONGEST`].
    pub held_at_most: Duration,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'s> {
    /// It is in this queue now.
    Replayed(&'s str),
    /// It would go to this queue.
    WouldReplay(&'s str),
    /// It stays parked, for this reason.
    Skipped(&'s str),
}

/// Who has asked for a replay.
pub trait Observer {
    /// Called before a message is published, and may wait for a while: the parked one is held meanwhile. `false`:
    /// neither this message nor a later one is replayed.
    fn may_go(&mut self) -> bool;

    /// Called when this message is going to be published at once.
    fn goes(&mut self, _: &OutgoingMessage) {}

    /// Hears what has become of a message. `camunda`: what Camunda's engine has said of its task.
    fn told(&mut self, entry: &ParkedEntry, step: Step, camunda: Option<&str>);
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
/// RabbitMQ is gone, or does not say whether it has a message; that one stays parked, too.
pub fn run(config: &Config, stop: &Stop, plan: &Plan, observer: &mut dyn Observer) -> anyhow::Result<Outcome> {
    if plan.selected == Some(0) {
        return Ok(Outcome { replayed: 0, skipped: 0, other_causes: BTreeSet::new(), end: End::All });
    }
    let mut connection = Connection::open(&config.rabbitmq, "task-creator: replay")?;
    let publisher = connection.within_deadline(Publisher::open)?;
    let mut replay = Replay {
        config,
        stop,
        plan,
        observer,
        engine: config.camunda.as_ref().map(|camunda| Engine::new(camunda, &config.https)),
        publisher,
        connection,
        known_queues: HashMap::new(),
        left_alone: HashSet::new(),
        other_causes: BTreeSet::new(),
        stayed: 0,
        first_reading: true,
        reading_since: Instant::now(),
        put_off: 0,
        replayed: 0,
        skipped: 0,
    };
    let result = replay.all();
    let Replay { publisher, connection, other_causes, replayed, skipped, .. } = replay;
    let _ = connection.close_after(|_| drop(publisher));
    let end = result.with_context(|| format!("replayed {replayed}, then stopped; all others are still parked"))?;
    Ok(Outcome { replayed, skipped, other_causes, end })
}

/// The message that replays an entry.
///
/// # Errors
/// Why there is none.
pub fn outgoing(config: &Config, entry: &ParkedEntry) -> Result<OutgoingMessage, String> {
    let (queue, original) = target(config, entry)?;
    let message = outgoing::as_from_bridge(queue.to_owned(), entry.id.clone(), original.to_vec());
    let message = outgoing::for_replay(message);
    Ok(if may_exist(entry) { outgoing::that_may_exist(message) } else { message })
}

/// Where an entry is replayed to, and what.
///
/// # Errors
/// Why it cannot be replayed.
pub fn target<'e>(config: &Config, entry: &'e ParkedEntry) -> Result<(&'e str, &'e [u8]), String> {
    let original = entry.original.as_ref().ok_or("it is not a parked message")?;
    let queue = entry.about.source_queue.as_ref().ok_or("it does not name its source_queue")?;
    // Anybody may have written the name, so it must not lead to the responses queue or to the error queue.
    if !Queues::hold_messages(queue, &config.queue_prefix, &table::names()) {
        return Err(format!(
            "its source_queue {queue} is not a queue of a system (QUEUE_PREFIX={})",
            config.queue_prefix
        ));
    }
    Ok((queue, original))
}

/// May its last try have created a task that does not show yet?
fn may_exist(entry: &ParkedEntry) -> bool {
    let certain = [
        Cause::InvalidMessage,
        Cause::RequestError,
        Cause::NoSystem,
        Cause::TaskFailed,
        Cause::TaskNotFound,
        Cause::InvalidRecord,
    ];
    let cause = entry.about.error_type.as_deref();
    !certain.iter().any(|certain| Some(certain.name()) == cause)
}

struct Replay<'a> {
    config: &'a Config,
    stop: &'a Stop,
    plan: &'a Plan,
    observer: &'a mut dyn Observer,
    /// Camunda's engine, as long as it answers.
    engine: Option<Engine>,
    /// Its channel is closed before its connection.
    publisher: Publisher,
    connection: Connection,
    /// Source queues, and whether the broker has them.
    known_queues: HashMap<String, bool>,
    /// Messages that stay: when one reading is not enough, the next one reads them again.
    left_alone: HashSet<u64>,
    /// How many messages stay; two of them may be equal byte for byte.
    stayed: u32,
    other_causes: BTreeSet<String>,
    first_reading: bool,
    /// No message of this reading was taken before.
    reading_since: Instant,
    /// How many messages of this reading are left to the next one.
    put_off: u32,
    replayed: u32,
    skipped: u32,
}

impl Replay<'_> {
    fn all(&mut self) -> anyhow::Result<End> {
        let mut most = u32::MAX;
        loop {
            (self.reading_since, self.put_off) = (Instant::now(), 0);
            let patience = if self.first_reading { queue::PATIENCE } else { queue::PATIENCE_MIDWAY };
            let bounds = Bounds { most, time: self.plan.held_at_most, patience };
            let end = queue::read_within(self.config, self.stop, bounds, |entry| self.visit(&entry))?.end;
            // Messages parked meanwhile come after these, and must not be replayed over and over.
            most = match end {
                End::OutOfTime(left) => left + self.stayed + self.put_off,
                End::All if self.put_off > 0 => self.stayed + self.put_off,
                end => return Ok(end),
            };
            self.first_reading = false;
        }
    }

    /// Ends with the last wanted message: each further one would be requeued, and that counts. A dry run goes on
    /// reading to the end: a quorum queue puts requeued messages at its end, so the replay would take others.
    fn visit(&mut self, entry: &ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>> {
        if self.has_enough() {
            return Ok(ControlFlow::Continue(Fate::Stays));
        }
        let decided = self.decide(entry)?;
        let ends = self.has_enough() && !self.plan.dry_run;
        Ok(match decided {
            ControlFlow::Continue(fate) if ends => ControlFlow::Break(fate),
            decided => decided,
        })
    }

    fn has_enough(&self) -> bool {
        let all_seen = self.plan.selected.is_some_and(|selected| self.replayed + self.skipped >= selected);
        all_seen || self.plan.limit.is_some_and(|limit| self.replayed >= limit)
    }

    fn decide(&mut self, entry: &ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>> {
        let known = !self.first_reading && self.left_alone.contains(&mark(entry));
        if !known && self.plan.selection.includes(entry) {
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
        let message = match self.checked_message(entry)? {
            Ok(message) => message,
            Err(why) => return Ok(self.skip(entry, &why, None)),
        };
        if self.plan.dry_run {
            self.observer.told(entry, Step::WouldReplay(&message.queue), None);
            self.replayed += 1;
            self.leave_alone(entry);
            return Ok(ControlFlow::Continue(Fate::Stays));
        }
        if !self.observer.may_go() {
            return Ok(ControlFlow::Break(Fate::Stays));
        }
        if self.reading_since.elapsed() > self.plan.held_at_most {
            self.put_off += 1;
            return Ok(ControlFlow::Continue(Fate::Stays));
        }
        self.observer.goes(&message);
        self.publish(entry, &message)
    }

    fn publish(&mut self, entry: &ParkedEntry, message: &OutgoingMessage) -> anyhow::Result<ControlFlow<Fate, Fate>> {
        // Before the message: it may be finished a moment later.
        let camunda = self.give_retry(entry);
        let outcome = self.publisher.try_deliver(message);
        let why = match outcome.with_context(|| format!("it is not known whether {} is in {}", entry.id, message.queue))
        {
            Ok(PublishOutcome::Confirmed) => {
                self.replayed += 1;
                let camunda = camunda.map(|(_, said)| said);
                self.observer.told(entry, Step::Replayed(&message.queue), camunda.as_deref());
                return Ok(ControlFlow::Continue(Fate::Leaves));
            }
            Ok(PublishOutcome::NoQueue(why) | PublishOutcome::Refused(why)) => {
                Ok(format!("{} did not take it: {why}", message.queue))
            }
            Err(err) => Err(err),
        };
        let camunda = match camunda {
            Some((true, _)) => self.report_again(entry),
            camunda => camunda.map(|(_, said)| said),
        };
        Ok(self.skip(entry, &why?, camunda.as_deref()))
    }

    /// The message that replays an entry, unless its queue is missing.
    fn checked_message(&mut self, entry: &ParkedEntry) -> anyhow::Result<Result<OutgoingMessage, String>> {
        let message = match outgoing(self.config, entry) {
            Ok(message) => message,
            Err(why) => return Ok(Err(why)),
        };
        let exists = match self.known_queues.get(&message.queue) {
            Some(exists) => *exists,
            None => {
                let look = |connection: &mut Connection| queues::look(connection, &message.queue);
                let exists = self.connection.within_deadline(look)?.is_some();
                self.known_queues.insert(message.queue.clone(), exists);
                exists
            }
        };
        Ok(if exists { Ok(message) } else { Err(format!("there is no queue {}", message.queue)) })
    }

    fn skip(&mut self, entry: &ParkedEntry, why: &str, camunda: Option<&str>) -> ControlFlow<Fate, Fate> {
        self.skipped += 1;
        self.leave_alone(entry);
        self.observer.told(entry, Step::Skipped(why), camunda);
        ControlFlow::Continue(Fate::Stays)
    }

    /// Gives the task its retries back in Camunda, which resolves its incident. Returns whether it has them now, and
    /// what people should know of it.
    fn give_retry(&mut self, entry: &ParkedEntry) -> Option<(bool, String)> {
        let (engine, task) = (self.engine.as_ref()?, entry.task.as_ref()?);
        match engine.give_retry(&task.id) {
            Ok(Told::Done) => Some((true, "it has its retries back in Camunda".into())),
            Ok(Told::NoTask) => Some((false, "Camunda no longer has the task".into())),
            Err(err) => Some((false, self.not_told("its incident stays in Camunda", &err))),
        }
    }

    /// Takes the retries of a task away again, which stays parked. Returns what people should know of it.
    fn report_again(&mut self, entry: &ParkedEntry) -> Option<String> {
        let (engine, about) = (self.engine.as_ref()?, &entry.about);
        let (cause, error) = (about.error_type.as_deref()?, about.error_message.as_deref().unwrap_or_default());
        let failed = ParkedTask::of(entry.original.as_deref()?, cause, error)?;
        Some(match engine.fail(&failed) {
            Ok(Told::Done) => "its incident is in Camunda again".into(),
            Ok(Told::NoTask) => "Camunda no longer has the task".into(),
            Err(err) => {
                self.not_told("it has its retries back in Camunda, where it no longer shows as an incident", &err)
            }
        })
    }

    /// What the engine did not do; it is not asked again when it does not answer.
    fn not_told(&mut self, so: &str, err: &anyhow::Error) -> String {
        let told = format!("{so}: {err:#}");
        if !camunda::is_away(err) {
            return told;
        }
        self.engine = None;
        told + "; the engine is not asked again"
    }

    fn leave_alone(&mut self, entry: &ParkedEntry) {
        self.left_alone.insert(mark(entry));
        self.stayed += 1;
    }
}

/// Tells two messages apart without keeping them.
fn mark(entry: &ParkedEntry) -> u64 {
    let mut hasher = DefaultHasher::new();
    entry.body.hash(&mut hasher);
    hasher.finish()
}
