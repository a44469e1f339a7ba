//! Looks at every message of every queue, in the order in which a message goes through them, so that one that moves
//! forward meanwhile is met later. Every message stays.
//!
//! A message that somebody holds cannot be seen. So two names are held: the one by which browses exclude each other
//! while their queue is looked at, and the one by which sweeps do while the sent queue is. What a worker holds is told
//! by the worker; consumers are counted for that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

use super::Sources;
use crate::lane::outgoing;
use crate::message::{ParkedTask, document, seconds};
use crate::queues::Queues;
use crate::rabbitmq::browse::{Browse, Browsed, End, Message};
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::queues;
use crate::systems::table::DEFAULT;
use crate::trace::facts::Role;

/// What RabbitMQ's own lists show.
const NAME: &str = "task-creator: reconcile";
/// For one queue. While it is looked at, its lane gets nothing from it.
const LONGEST_LOOK: Duration = Duration::from_secs(120);
/// How long somebody else's look at a sent queue is waited for.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);
/// Until a sweep ends.
const LONGEST_SWEEP: Duration = Duration::from_secs(180);

/// What one look has found.
#[derive(Debug, Default)]
pub struct Places {
    /// Where each task is. Of a task in several queues the one furthest on counts.
    pub found: HashMap<String, Place>,
    /// Who has locked these tasks, as their messages say.
    pub worker_ids: BTreeSet<String>,
    /// The most consumers that the input or the retry queue of each system had.
    pub consumers: BTreeMap<String, u32>,
    /// Why not all messages of a system could be seen; under "" what concerns all systems.
    pub unseen: BTreeMap<String, String>,
}

/// A task in a queue.
#[derive(Clone, Debug)]
pub struct Place {
    /// What the queue is for.
    pub role: Role,
    /// The system whose queue it is.
    pub system: Option<String>,
    /// Why it is parked, as one word.
    pub cause: Option<String>,
    /// When the task of a record was created, in seconds since 1970.
    pub created: Option<f64>,
}

impl Places {
    /// Why not all messages of this system could be seen.
    pub fn unseen(&self, system: &str) -> Option<&str> {
        self.unseen.get("").or_else(|| self.unseen.get(system)).map(String::as_str)
    }

    fn note(&mut self, id: String, place: Place) {
        match self.found.get(&id) {
            Some(known) if rank(known.role) >= rank(place.role) => {}
            _ => drop(self.found.insert(id, place)),
        }
    }

    fn note_unseen(&mut self, system: Option<&str>, why: String) {
        self.unseen.entry(system.unwrap_or_default().to_owned()).or_insert(why);
    }
}

/// How far on a task is.
fn rank(role: Role) -> u8 {
    match role {
        Role::Errors => 0,
        Role::Input => 1,
        Role::Retry => 2,
        Role::Sent => 3,
        Role::Responses => 4,
    }
}

/// Looks at all queues once. `ask` is called before, in between and after: what has left a queue and is in no other is
/// in a worker's hands. The retry queues come once more at the end, since a message goes back there when it fails. Of
/// somebody else who browses a queue the end is awaited for `patience`.
pub fn look(sources: &Sources, patience: Duration, mut ask: impl FnMut()) -> Places {
    let config = &sources.config;
    let mut looking = Looking { sources, patience, places: Places::default() };
    let mut systems: Vec<&str> = sources.targets.iter().map(|target| target.system.as_str()).collect();
    if !systems.contains(&DEFAULT) {
        // Tasks of other systems arrive there, too.
        systems.push(DEFAULT);
    }
    let systems: Vec<(&str, Queues)> = systems.into_iter().map(|name| (name, Queues::of(name, config))).collect();
    ask();
    for (name, queues) in &systems {
        looking.at(Role::Input, &queues.input, Some(name));
    }
    for (name, queues) in &systems {
        looking.at(Role::Retry, &queues.retry, Some(name));
    }
    ask();
    for (name, queues) in &systems {
        looking.at_records(name, queues);
    }
    looking.at(Role::Errors, &config.error_queue, None);
    looking.at(Role::Responses, &config.responses_queue, None);
    for (name, queues) in &systems {
        looking.at(Role::Retry, &queues.retry, Some(name));
    }
    ask();
    looking.places
}

/// One look at all queues.
struct Looking<'a> {
    sources: &'a Sources,
    patience: Duration,
    places: Places,
}

impl Looking<'_> {
    /// At the sent queue, while nobody sweeps.
    fn at_records(&mut self, name: &str, queues: &Queues) {
        match self.hold_sweeps(queues) {
            Ok(Some(held)) => {
                self.at(Role::Sent, &queues.sent, Some(name));
                // With it goes the name. Nothing was to be sent, so a failed close does no harm.
                let _ = held.close();
            }
            Ok(None) => {
                self.places.note_unseen(Some(name), "a sweep did not end, so its records could not be seen".into());
            }
            Err(err) => self.places.note_unseen(Some(name), format!("sweeps could not be held off: {err:#}")),
        }
    }

    /// Sees to it that nobody sweeps while the connection lives; `None`: somebody does, for very long.
    fn hold_sweeps(&self, queues: &Queues) -> anyhow::Result<Option<Connection>> {
        let Sources { config, stop, .. } = self.sources;
        let mut connection = Connection::open(&config.rabbitmq, NAME)?;
        if queues::lock_within(&mut connection, &queues.sweep_lock, LONGEST_SWEEP, stop)? {
            return Ok(Some(connection));
        }
        let _ = connection.close();
        Ok(None)
    }

    fn at(&mut self, role: Role, queue: &str, system: Option<&str>) {
        // The rest would not be seen in time.
        if self.sources.stop.raised() {
            return self.places.note_unseen(None, "interrupted".into());
        }
        match self.through(role, queue, system) {
            Ok(None) => {}
            Ok(Some(why)) => self.places.note_unseen(system, why),
            Err(err) => self.places.note_unseen(system, format!("{queue}: {err:#}")),
        }
    }

    /// Returns why not all of the queue was seen, if so.
    fn through(&mut self, role: Role, queue: &str, system: Option<&str>) -> anyhow::Result<Option<String>> {
        let Looking { sources: Sources { config, stop, .. }, patience, places } = self;
        // While a sent queue is read, no finished task is answered.
        let patience = if role == Role::Sent { SHORT_PATIENCE.min(*patience) } else { *patience };
        let browse = Browse {
            broker: &config.rabbitmq,
            name: NAME,
            queue,
            lock: &Queues::browse_lock(queue),
            patience,
            most: u32::MAX,
            time: LONGEST_LOOK,
            republished: &outgoing::browsed,
        };
        let browsed = browse.look(stop, |message| {
            if let Some((task, place)) = task_in(role, system, &message) {
                places.worker_ids.extend(task.worker_id);
                places.note(task.id, place);
            }
            ControlFlow::Continue(())
        })?;
        let Some(browsed) = browsed else { return Ok(None) };
        if let (Role::Input | Role::Retry, Some(system)) = (role, system) {
            let consumers = places.consumers.entry(system.to_owned()).or_default();
            *consumers = browsed.consumers.max(*consumers);
        }
        Ok(unseen_of(role, queue, browsed))
    }
}

/// Why not all of the queue was seen, if so.
fn unseen_of(role: Role, queue: &str, Browsed { found, read, end, alone, consumers }: Browsed) -> Option<String> {
    // Of these a worker or the bridge takes some meanwhile, which is no loss of sight.
    let is_consumed = matches!(role, Role::Input | Role::Retry | Role::Responses);
    match () {
        () if end != End::All || !(is_consumed || read >= found) => {
            Some(format!("only {read} of {found} messages of {queue} were seen"))
        }
        () if !is_consumed && consumers > 0 => Some(format!("somebody consumes {queue} and may hold messages of it")),
        () if !alone => Some(format!(
            "somebody else may hold messages of {queue}: the right to configure {} is missing, see `check`",
            Queues::browse_lock(queue)
        )),
        () => None,
    }
}

fn task_in(role: Role, system: Option<&str>, message: &Message) -> Option<(ParkedTask, Place)> {
    let parked = if role == Role::Errors { ParkedTask::read(&message.body) } else { None };
    let cause = parked.as_ref().map(|parked| parked.cause.clone());
    let task = parked.or_else(|| ParkedTask::of(&message.body, "", ""))?;
    let created = if role == Role::Sent { created(&message.body) } else { None };
    Some((task, Place { role, system: system.map(str::to_owned), cause, created }))
}

fn created(body: &[u8]) -> Option<f64> {
    let members = document::members(body).ok()?;
    serde_json::from_str(members.get("processed_at")?.get()).ok().map(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_counts_as_seen_only_if_nobody_can_hold_a_message_of_it() {
        let whole = Browsed { found: 3, read: 3, end: End::All, alone: true, consumers: 0 };
        let is_seen = |role, browsed| unseen_of(role, "queue", browsed).is_none();
        for role in [Role::Input, Role::Retry, Role::Sent, Role::Errors, Role::Responses] {
            assert!(is_seen(role, whole), "{role:?}");
            assert!(!is_seen(role, Browsed { alone: false, ..whole }), "{role:?}");
            assert!(!is_seen(role, Browsed { end: End::OutOfTime(1), ..whole }), "{role:?}");
        }
        // What consumes these is asked, or is the bridge.
        for role in [Role::Input, Role::Retry, Role::Responses] {
            assert!(is_seen(role, Browsed { read: 2, consumers: 1, ..whole }), "{role:?}");
        }
        for role in [Role::Sent, Role::Errors] {
            assert!(!is_seen(role, Browsed { read: 2, ..whole }) && !is_seen(role, Browsed { consumers: 1, ..whole }));
        }
    }
}
