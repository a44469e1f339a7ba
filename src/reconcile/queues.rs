//! Looks at every message of every queue, in the order in which a message goes through them, so that one that moves
//! forward meanwhile is met later. Every message stays.
//!
//! A record that a sweep has taken cannot be seen, so the name by which sweeps exclude each other is held while the
//! sent queue is looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::Sources;
use crate::lane::outgoing;
use crate::message::{ParkedTask, document, seconds};
use crate::queues::Queues;
use crate::rabbitmq::browse::{Browse, Browsed, End, Message};
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::queues::{self, Found};
use crate::systems::table::DEFAULT;
use crate::trace::facts::Role;

/// What RabbitMQ's own lists show.
const NAME: &str = "task-creator: reconcile";
/// For one queue. While it is looked at, its lane gets nothing from it.
const LONGEST_LOOK: Duration = Duration::from_secs(120);
/// Until a sweep ends.
const LONGEST_SWEEP: Duration = Duration::from_secs(180);
/// Between two tries to hold sweeps off.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// What one look has found.
#[derive(Debug, Default)]
pub struct Places {
    /// Where each task is. Of a task in several queues the one furthest on counts.
    pub found: HashMap<String, Place>,
    /// Who has locked these tasks, as their messages say.
    pub worker_ids: BTreeSet<String>,
    /// Consumers of each system's input queue.
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
/// in a worker's hands. The retry queues come once more at the end, since a message goes back there when it fails.
pub fn look(sources: &Sources, mut ask: impl FnMut()) -> Places {
    let config = &sources.config;
    let mut places = Places::default();
    let mut systems: Vec<&str> = sources.targets.iter().map(|target| target.system.as_str()).collect();
    if !systems.contains(&DEFAULT) {
        // Tasks of other systems arrive there, too.
        systems.push(DEFAULT);
    }
    let systems: Vec<(&str, Queues)> = systems.into_iter().map(|name| (name, Queues::of(name, config))).collect();
    ask();
    for (name, queues) in &systems {
        look_at(sources, &mut places, Role::Input, &queues.input, Some(name));
    }
    for (name, queues) in &systems {
        look_at(sources, &mut places, Role::Retry, &queues.retry, Some(name));
    }
    ask();
    for (name, queues) in &systems {
        match hold_sweeps(sources, queues) {
            Ok(Some(held)) => {
                look_at(sources, &mut places, Role::Sent, &queues.sent, Some(name));
                // With it goes the name. Nothing was to be sent, so a failed close does no harm.
                let _ = held.close();
            }
            Ok(None) => places.note_unseen(Some(name), "a sweep did not end, so its records could not be seen".into()),
            Err(err) => places.note_unseen(Some(name), format!("sweeps could not be held off: {err:#}")),
        }
    }
    look_at(sources, &mut places, Role::Errors, &config.error_queue, None);
    look_at(sources, &mut places, Role::Responses, &config.responses_queue, None);
    for (name, queues) in &systems {
        look_at(sources, &mut places, Role::Retry, &queues.retry, Some(name));
    }
    ask();
    places
}

/// Sees to it that nobody sweeps while the connection lives; `None`: somebody does, for very long.
fn hold_sweeps(sources: &Sources, queues: &Queues) -> anyhow::Result<Option<Connection>> {
    let end = Instant::now() + LONGEST_SWEEP;
    let mut connection = Connection::open(&sources.config.rabbitmq, NAME)?;
    while !connection.within_deadline(|connection| queues::lock(connection, &queues.sweep_lock))? {
        if Instant::now() > end || sources.stop.pause(TRY_AGAIN) {
            let _ = connection.close();
            return Ok(None);
        }
    }
    Ok(Some(connection))
}

fn look_at(sources: &Sources, places: &mut Places, role: Role, queue: &str, system: Option<&str>) {
    match look_through(sources, places, role, queue, system) {
        Ok(None) => {}
        Ok(Some(why)) => places.note_unseen(system, why),
        Err(err) => places.note_unseen(system, format!("{queue}: {err:#}")),
    }
}

/// Returns why not all of the queue was seen, if so.
fn look_through(
    sources: &Sources,
    places: &mut Places,
    role: Role,
    queue: &str,
    system: Option<&str>,
) -> anyhow::Result<Option<String>> {
    let config = &sources.config;
    if let (Role::Input, Some(system)) = (role, system) {
        let mut connection = Connection::open(&config.rabbitmq, NAME)?;
        let found: Option<Found> = connection.within_deadline(|connection| queues::look(connection, queue))?;
        let _ = connection.close();
        places.consumers.insert(system.to_owned(), found.map_or(0, |found| found.consumers));
    }
    let browse = Browse {
        broker: &config.rabbitmq,
        name: NAME,
        queue,
        most: u32::MAX,
        time: LONGEST_LOOK,
        republished: &outgoing::browsed,
    };
    let browsed = browse.look(&sources.stop, |message| {
        if let Some((task, place)) = task_in(role, system, &message) {
            places.worker_ids.extend(task.worker_id);
            places.note(task.id, place);
        }
        ControlFlow::Continue(())
    })?;
    // Of these a worker or the bridge takes some meanwhile, which is no loss of sight.
    let is_consumed = matches!(role, Role::Input | Role::Retry | Role::Responses);
    let is_whole = |browsed: &Browsed| browsed.end == End::All && (is_consumed || browsed.read >= browsed.found);
    Ok(browsed
        .filter(|browsed| !is_whole(browsed))
        .map(|browsed| format!("only {} of {} messages of {queue} were seen", browsed.read, browsed.found)))
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
