//! One entry of the [`ledger`](super): its state, and what each step makes of it.
//!
//! A step takes the state and gives the next one. A step that does not fit leaves the state as it is. It does not know
//! when a step is due.

use std::time::Instant;

use super::super::Job;
use super::super::tasks::About;
use super::finished::Replay;
use super::pasts::Past;
use crate::message::Task;
use crate::rabbitmq::publisher::OutgoingMessage;
use crate::systems::Created;

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The task with this id.
    Task(String),
    /// A message without a readable id: the n-th one of this process.
    Unreadable(u64),
}

/// What follows when the broker has confirmed an outgoing message.
#[derive(Debug)]
pub enum Next {
    /// The result is recorded: the follow-up, then the ack.
    FollowUp(Box<(Task, Created)>),
    /// The task was finished as soon as it was created, and this was its response: the ack, and the task is remembered
    /// as finished.
    Finish(Box<(Task, Created)>),
    /// The message is in another queue: the ack, and the entry is forgotten. A copy of the message that comes meanwhile
    /// is looked at afterwards.
    Leave,
    /// The same for the queue of another system: until it is published, the broker may have the message back.
    Move,
    /// The same for the error queue: a copy of the message is settled with it.
    Park,
}

impl Next {
    /// Does only the ack follow?
    pub(super) fn is_ack_only(&self) -> bool {
        matches!(self, Next::Leave | Next::Move | Next::Park)
    }
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most entries wait or have just been handed out, and there are few")]
pub(super) enum State {
    Waiting(Job),
    InFlight,
    Ready(OutgoingMessage, Next),
    Publishing(OutgoingMessage, Next),
    /// The follow-up is to be done, for the first time or again.
    ToFollowUp(Box<(Task, Created)>),
    FollowingUp,
}

/// The next state and what the step gives; or, where the step does not fit, the state as it was and nothing.
pub(super) type Step<R> = (State, Option<R>);

impl State {
    pub(super) fn hand_out(self) -> Step<Job> {
        match self {
            State::Waiting(job) => (State::InFlight, Some(job)),
            other => (other, None),
        }
    }

    pub(super) fn hand_out_follow_up(self) -> Step<Box<(Task, Created)>> {
        match self {
            State::ToFollowUp(recorded) => (State::FollowingUp, Some(recorded)),
            other => (other, None),
        }
    }

    pub(super) fn publishing(self) -> Step<()> {
        match self {
            State::Ready(outgoing, next) => (State::Publishing(outgoing, next), Some(())),
            other => (other, None),
        }
    }

    pub(super) fn recorded(self) -> Step<()> {
        match self {
            State::Publishing(_, Next::FollowUp(recorded)) => (State::ToFollowUp(recorded), Some(())),
            other => (other, None),
        }
    }

    /// Gives the queue that has not taken the outgoing message.
    pub(super) fn refused(self) -> Step<String> {
        match self {
            State::Publishing(outgoing, next) => {
                let queue = outgoing.queue.clone();
                (State::Ready(outgoing, next), Some(queue))
            }
            other => (other, None),
        }
    }

    /// What outlives the session, if anything does.
    pub(super) fn without_session(self) -> Option<State> {
        match self {
            // Not started: the next worker that gets it starts it.
            State::Waiting(_) => None,
            // Its record is safe: the next worker that gets it finds the task and follows it up.
            State::ToFollowUp(_) => None,
            // A message that only moves has no result to keep.
            State::Ready(_, Next::Leave | Next::Move | Next::Park)
            | State::Publishing(_, Next::Leave | Next::Move | Next::Park) => None,
            State::Ready(outgoing, Next::FollowUp(mut recorded))
            | State::Publishing(outgoing, Next::FollowUp(mut recorded)) => {
                // Another worker may get the message meanwhile and follow the task up as well.
                recorded.1.existed = true;
                Some(State::Ready(outgoing, Next::FollowUp(recorded)))
            }
            State::Ready(outgoing, Next::Finish(answered)) | State::Publishing(outgoing, Next::Finish(answered)) => {
                Some(State::Ready(outgoing, Next::Finish(answered)))
            }
            at_work @ (State::InFlight | State::FollowingUp) => Some(at_work),
        }
    }

    /// Its record is in the sent queue, or may be there already.
    pub(super) fn has_record(&self) -> bool {
        match self {
            State::Ready(_, Next::FollowUp(_)) | State::Publishing(_, Next::FollowUp(_)) => true,
            State::ToFollowUp(_) | State::FollowingUp => true,
            State::Waiting(_) | State::InFlight | State::Ready(..) | State::Publishing(..) => false,
        }
    }

    /// Nobody works on it: it is requeued when the worker stops.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, State::Waiting(_) | State::ToFollowUp(_) | State::Ready(_, Next::Move))
    }
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    /// All deliveries of this task in this session; settled together.
    pub(super) tokens: Vec<T>,
    /// When the first of them came, if it started a task.
    pub(super) arrived: Option<Instant>,
    pub(super) state: State,
    /// The [`hash`](crate::message::hash) of the first message, if it started a task.
    pub(super) message: u64,
    /// How often the task has failed: the highest number of its deliveries.
    pub(super) attempts: u32,
    /// The last replay among its deliveries.
    pub(super) replay: Option<Replay>,
    /// The tracker has parked it before its follow-up was done.
    pub(super) parked: bool,
    /// It has no delivery in this session yet.
    pub(super) unclaimed: bool,
    /// Its queue has not taken its outgoing message, and has not yet taken it since.
    pub(super) refused: bool,
    /// What people call it.
    pub(super) about: About,
    /// What is known of it since it came first.
    pub(super) past: Past,
}

impl<T> Entry<T> {
    /// An entry with its first delivery.
    pub(super) fn new(token: T, state: State, attempts: u32) -> Entry<T> {
        Entry {
            tokens: vec![token],
            arrived: None,
            state,
            message: 0,
            attempts,
            replay: None,
            parked: false,
            unclaimed: false,
            refused: false,
            about: About::default(),
            past: Past::default(),
        }
    }

    /// What outlives the session: it waits for its next delivery.
    pub(super) fn without_session(self) -> Option<Entry<T>> {
        Some(Entry { tokens: Vec::new(), state: self.state.without_session()?, unclaimed: true, ..self })
    }
}
