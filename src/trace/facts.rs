//! What the sources say of one task, before anything follows from it. It asks nobody.

use serde::Deserialize;

use crate::systems::seen::{Seen, State};

/// What is known of a task.
#[derive(Debug, Default)]
pub struct Facts {
    /// What the worker remembers.
    pub worker: Worker,
    /// What the targets show.
    pub targets: Targets,
    /// What the engine says.
    pub camunda: Camunda,
    /// What lies in the queues.
    pub queues: Queues,
}

/// What the worker remembers.
#[derive(Debug, Default)]
pub enum Worker {
    /// It was not asked, or did not answer.
    #[default]
    NotLooked,
    /// It was asked.
    Looked {
        /// What it has of the task, mostly one thing or none.
        held: Vec<Held>,
        /// It has named all that it has. Of very many open tasks it names the oldest only, and of none before its first
        /// sweep.
        complete: bool,
    },
}

/// A task that the worker has, in the form in which its API tells it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Held {
    /// The system's name.
    pub system: String,
    /// What the worker does with it.
    pub state: HeldState,
    /// Since when, ISO 8601.
    pub since: Option<String>,
    /// How often it has failed by itself.
    #[serde(default)]
    pub attempts: u32,
    /// When it is tried again.
    pub next_try_in_seconds: Option<u64>,
    /// Why it failed the last time, or why its answer is not known.
    pub error: Option<String>,
    /// Its id at the target.
    pub target_id: Option<String>,
    /// Where a person sees it.
    pub link: Option<String>,
    /// What is being done with it now.
    pub step: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its process instance.
    pub process_id: Option<String>,
    /// How its lane is.
    #[serde(skip)]
    pub lane: Lane,
}

/// What the worker does with a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldState {
    /// It is started and not settled.
    #[default]
    InHand,
    /// It has failed and waits for another try.
    Retrying,
    /// It is at the target, and a person works on it.
    Open,
    /// It is finished, and its answer is not known.
    Unanswered,
    /// It is parked.
    Parked,
}

/// How a lane is, as its API tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Lane {
    /// `works`, or what keeps it from working.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
}

/// What the targets show.
#[derive(Debug, Default)]
pub struct Targets {
    /// The task at each target that has it.
    pub seen: Vec<(String, Seen)>,
    /// Systems whose target was asked and has no such task.
    pub without: Vec<String>,
    /// Systems whose target cannot be asked for a task.
    pub blind: Vec<String>,
    /// Systems whose target did not answer.
    pub silent: Vec<String>,
}

/// What the engine says.
#[derive(Debug, Default)]
pub enum Camunda {
    /// It was not asked, or did not answer.
    #[default]
    NotLooked,
    /// The process waits for the task.
    Waits(Waiting),
    /// The task has ended.
    Ended(Ended),
    /// It knows no such task, and its history does not either.
    Unknown,
}

/// An external task that is not finished.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// Its topic.
    pub topic: String,
    /// Somebody holds its lock.
    pub is_locked: bool,
    /// None are left: the engine shows an incident.
    pub has_incident: bool,
    /// What the incident says.
    pub error: Option<String>,
}

/// An external task that is over.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// It was completed; otherwise its process was cancelled, or went another way.
    pub completed: bool,
    /// When, ISO 8601.
    pub at: Option<String>,
}

/// What lies in the queues.
#[derive(Debug, Default)]
pub struct Queues {
    /// They were read.
    pub looked: bool,
    /// Every message of them could be seen, but for those that the worker holds.
    pub complete: bool,
    /// The worker, or another program, may hold messages of the systems' own queues.
    pub held_elsewhere: bool,
    /// A sweep may hold records, of which the worker tells when it ends.
    pub swept_now: bool,
    /// Where the task lies.
    pub found: Vec<Place>,
}

/// A message of the task in a queue.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// What the queue is for.
    pub role: Role,
    /// The queue.
    pub queue: String,
    /// The system, where the queue is one of its own.
    pub system: Option<String>,
    /// Since when, ISO 8601.
    pub since: Option<String>,
    /// Why it is parked, as one word.
    pub cause: Option<String>,
    /// Why it is parked, or failed the last time.
    pub error: Option<String>,
    /// How often it has failed by itself.
    pub attempts: u32,
    /// When it is tried again, ISO 8601.
    pub next_try: Option<String>,
    /// The answer in a response.
    pub answer: Option<String>,
}

/// What a queue is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Where the bridge puts the tasks.
    #[default]
    Input,
    /// Failed messages, until their next try.
    Retry,
    /// Created tasks, until somebody has finished them.
    Sent,
    /// Parked messages.
    Errors,
    /// Answers for Camunda.
    Responses,
}

impl Facts {
    /// What the worker has of the task.
    pub fn held(&self) -> Option<&Held> {
        match &self.worker {
            Worker::Looked { held, .. } => held.iter().find(|held| held.state != HeldState::Parked),
            Worker::NotLooked => None,
        }
    }

    /// The same, if it is in this state.
    pub fn held_as(&self, state: HeldState) -> Option<&Held> {
        self.held().filter(|held| held.state == state)
    }

    /// The message of the task in a queue of this kind.
    pub fn place(&self, role: Role) -> Option<&Place> {
        self.queues.found.iter().find(|place| place.role == role)
    }

    /// The task at the target that has it.
    pub fn seen(&self) -> Option<(&str, &Seen)> {
        self.targets.seen.first().map(|(system, seen)| (system.as_str(), seen))
    }

    /// The same, if it is in this state.
    pub fn seen_as(&self, state: State) -> Option<(&str, &Seen)> {
        self.seen().filter(|(_, seen)| seen.state == state)
    }

    /// Is it certain that no queue and no worker has the task?
    pub fn is_nowhere(&self) -> bool {
        let worker_has_nothing = match &self.worker {
            Worker::Looked { held, complete } => held.is_empty() && *complete && !self.queues.swept_now,
            Worker::NotLooked => !self.queues.held_elsewhere,
        };
        worker_has_nothing && self.queues.looked && self.queues.complete && self.queues.found.is_empty()
    }

    /// Does the process wait for the task?
    pub fn waits(&self) -> Option<&Waiting> {
        match &self.camunda {
            Camunda::Waits(waiting) => Some(waiting),
            Camunda::NotLooked | Camunda::Ended(_) | Camunda::Unknown => None,
        }
    }

    /// Has the task ended in the engine?
    pub fn ended(&self) -> Option<&Ended> {
        match &self.camunda {
            Camunda::Ended(ended) => Some(ended),
            Camunda::NotLooked | Camunda::Waits(_) | Camunda::Unknown => None,
        }
    }
}
