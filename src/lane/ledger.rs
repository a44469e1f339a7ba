//! What is under way in a lane: a state machine without I/O, keyed by task. The steps of one task are in
//! `ledger/entry.rs`, and what becomes of outgoing messages in `ledger/publishing.rs`.
//!
//! ```text
//!  Waiting ──▶ InFlight ──▶ Ready ──▶ Publishing ──▶ ToFollowUp ──▶ FollowingUp ──▶ remembered as finished
//!     ▲            │          ▲            │              ▲              │
//!     └── again ───┘          └── refused ─┘              └─── again ────┘
//!                                          └──▶ gone: a retry or a parked message lives on in another queue
//! ```
//!
//! The outgoing message with a result is stored *before* it is published, so a lost session costs only time. The ledger
//! says what is to be acknowledged, and never acknowledges; `T` is the ack token of one delivery.

mod entry;
mod finished;
mod overview;
mod pasts;
mod publishing;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use self::entry::{Entry, State, Step};
pub use self::entry::{Key, Next};
use self::finished::Finished;
pub use self::finished::Replay;
use self::pasts::Pasts;
use super::tasks::About;
use super::{Job, outgoing};
use crate::message::Task;
use crate::rabbitmq::publisher::OutgoingMessage;
use crate::systems::Created;

/// A result is recorded without a delivery when its message was not delivered again this long after the next session
/// started: the message has gone to another worker (then a second record does no harm), or its queue is gone. RabbitMQ
/// delivers requeued messages first, so a few seconds are enough.
const UNCLAIMED: Duration = Duration::from_secs(15);

/// What to do with a delivery.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<T> {
    /// Nobody works on it: add it with [`Ledger::add`].
    New(T),
    /// It is being worked on; the delivery is settled with the others of its task.
    Joined,
    /// The task's message is just moving to another queue, or is parked, and this may be its continuation: ask again
    /// when the task is settled.
    Later(T),
    /// It is finished: acknowledge a redelivery of the message that has finished it, but [`Ledger::add`] a message that
    /// somebody published again, where a look-up finds its task.
    Finished(T),
}

/// What a confirm leads to.
#[derive(Debug)]
pub enum Confirmed<T> {
    /// The result is recorded, and its follow-up is due.
    Recorded,
    /// The task with this id is finished: acknowledge these.
    Finished(String, Vec<T>),
    /// The message has moved to another queue: acknowledge these.
    Ack(Vec<T>),
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger<T> {
    entries: HashMap<Key, Entry<T>>,
    /// Waiting tasks whose time has come, in order of arrival.
    due: VecDeque<Key>,
    /// Outgoing messages whose time has come.
    to_publish: VecDeque<Key>,
    /// Recorded tasks that nobody has followed up yet.
    first_follow_ups: VecDeque<Key>,
    /// Follow-ups that were tried before and whose time has come again.
    to_follow_up: VecDeque<Key>,
    /// What waits for a time, be it a task, an outgoing message or a follow-up.
    later: BTreeMap<(Instant, Key), ()>,
    by_tag: HashMap<u64, Key>,
    in_flight: usize,
    finished: Finished,
    /// When the results that have no delivery are recorded all the same; `None` without a session or without such
    /// results.
    claims_end: Option<Instant>,
    /// For people only.
    pasts: Pasts,
}

impl<T> Default for Ledger<T> {
    fn default() -> Ledger<T> {
        Ledger {
            entries: HashMap::new(),
            due: VecDeque::new(),
            to_publish: VecDeque::new(),
            first_follow_ups: VecDeque::new(),
            to_follow_up: VecDeque::new(),
            later: BTreeMap::new(),
            by_tag: HashMap::new(),
            in_flight: 0,
            finished: Finished::new(),
            claims_end: None,
            pasts: Pasts::default(),
        }
    }
}

/// Taking in.
impl<T> Ledger<T> {
    /// What to do with a delivery of this task, which says that it has failed `attempts` times, and whether it is a
    /// replay.
    pub fn admit(&mut self, key: &Key, token: T, attempts: u32, replay: Option<Replay>) -> Admission<T> {
        let Some(entry) = self.entries.get_mut(key) else {
            return match key {
                Key::Task(id) if self.finished.knows(id, replay) => Admission::Finished(token),
                Key::Task(_) | Key::Unreadable(_) => Admission::New(token),
            };
        };
        match entry.state {
            // This copy may say more of the task than the message that moves, which says it where it comes to.
            State::Publishing(_, Next::Leave | Next::Move) => return Admission::Later(token),
            State::Ready(_, Next::Leave | Next::Move) if !entry.unclaimed => return Admission::Later(token),
            // A person has replayed the parked message before we have heard of its confirm.
            State::Publishing(_, Next::Park) if replay > entry.replay => return Admission::Later(token),
            // Whoever publishes the message of a parked task wants another try.
            _ if entry.parked && !entry.unclaimed => return Admission::Later(token),
            _ => {}
        }
        let unclaimed = std::mem::take(&mut entry.unclaimed);
        entry.attempts = entry.attempts.max(attempts);
        entry.replay = entry.replay.max(replay);
        entry.tokens.push(token);
        if unclaimed && matches!(entry.state, State::Ready(..)) {
            self.to_publish.push_back(key.clone());
        }
        Admission::Joined
    }

    /// Was the task finished by another message than this one?
    pub fn was_finished_by_another(&self, task: &Task) -> bool {
        self.finished.message(&task.id).is_some_and(|message| message != task.hash())
    }

    /// Adds a task that is to be done, not before `not_before`; from now on it does not count as finished.
    pub fn add(&mut self, token: T, job: Job, not_before: Option<Instant>) {
        self.finished.forget(&job.task.id);
        let (key, attempts, replay) = (Key::Task(job.task.id.clone()), job.attempts, outgoing::replay(&job.headers));
        let (about, past, arrived) = (About::of(&job.task), self.past(&key, &job), Some(job.arrived));
        let message = job.task.hash();
        let entry = Entry { arrived, message, replay, about, past, ..Entry::new(token, State::Waiting(job), attempts) };
        self.entries.insert(key.clone(), entry);
        self.schedule(key, not_before);
    }

    /// Adds a message that only goes to another queue.
    pub fn add_outgoing(&mut self, key: Key, token: T, outgoing: OutgoingMessage) {
        self.entries.insert(key.clone(), Entry::new(token, State::Ready(outgoing, Next::Leave), 0));
        self.to_publish.push_back(key);
    }

    /// The message of this entry is a replay.
    pub fn note_replay(&mut self, key: &Key, replay: Option<Replay>) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.replay = entry.replay.max(replay);
        }
    }

    /// Adds a message that moves to another system's queue, not before `not_before`.
    pub fn add_move(&mut self, key: Key, token: T, outgoing: OutgoingMessage, not_before: Option<Instant>) {
        self.entries.insert(key.clone(), Entry::new(token, State::Ready(outgoing, Next::Move), 0));
        match not_before {
            Some(instant) => self.postpone_outgoing(key, instant),
            None => self.to_publish.push_back(key),
        }
    }

    fn schedule(&mut self, key: Key, not_before: Option<Instant>) {
        match not_before {
            Some(instant) => drop(self.later.insert((instant, key), ())),
            None => self.due.push_back(key),
        }
    }

    /// Takes an entry through a step, and returns what the step gives, if it fits.
    fn step<R>(&mut self, key: &Key, step: impl FnOnce(State) -> Step<R>) -> Option<R> {
        let (key, entry) = self.entries.remove_entry(key)?;
        let (state, given) = step(entry.state);
        self.entries.insert(key, Entry { state, ..entry });
        given
    }
}

/// Handing out, and taking back.
impl<T> Ledger<T> {
    /// The next task to hand to the pool.
    pub fn next_job(&mut self) -> Option<Job> {
        while let Some(key) = self.due.pop_front() {
            if let Some(job) = self.step(&key, State::hand_out) {
                self.in_flight += 1;
                return Some(job);
            }
        }
        None
    }

    /// Takes back a task that the pool has not done, to hand it out again, behind the others, so that no task can hold
    /// up the lane. A task without a delivery is forgotten: the broker delivers it again, here or to another worker.
    pub fn wait_again(&mut self, job: Job, not_before: Option<Instant>) {
        let key = Key::Task(job.task.id.clone());
        self.in_flight = self.in_flight.saturating_sub(1);
        match self.entries.get_mut(&key) {
            Some(entry) if !entry.unclaimed => {
                entry.state = State::Waiting(job);
                self.schedule(key, not_before);
            }
            Some(_) => drop(self.entries.remove(&key)),
            None => {}
        }
    }

    /// The pool has a result for this task: `outgoing` records it, and `next` follows the confirm.
    pub fn settle(&mut self, id: &str, outgoing: OutgoingMessage, next: Next) {
        let key = Key::Task(id.to_owned());
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.state = State::Ready(outgoing, next);
            if !entry.unclaimed {
                self.to_publish.push_back(key);
            }
        }
    }

    /// The follow-up is to be tried once more.
    pub fn follow_up_again(&mut self, recorded: Box<(Task, Created)>, at: Instant) {
        let key = Key::Task(recorded.0.id.clone());
        match self.entries.get_mut(&key) {
            // Without a delivery it is forgotten: the next worker that gets the message finds the task, and follows it
            // up.
            Some(entry) if entry.unclaimed => drop(self.entries.remove(&key)),
            Some(entry) => {
                entry.state = State::ToFollowUp(recorded);
                self.later.insert((at, key), ());
            }
            None => {}
        }
    }

    /// The next follow-up to hand to the pool; `again`: also one that was tried before.
    pub fn next_follow_up(&mut self, again: bool) -> Option<Box<(Task, Created)>> {
        loop {
            let tried_before = if again { self.to_follow_up.pop_front() } else { None };
            let key = tried_before.or_else(|| self.first_follow_ups.pop_front())?;
            let recorded = self.step(&key, State::hand_out_follow_up);
            if recorded.is_some() {
                return recorded;
            }
        }
    }

    /// Nothing more is to be done: what to acknowledge. From now on the task is known as finished.
    pub fn followed_up(&mut self, id: &str) -> Vec<T> {
        let entry = self.entries.remove(&Key::Task(id.to_owned()));
        let Some(entry) = entry else { return Vec::new() };
        self.finished.add(id, entry.message, entry.replay);
        if entry.parked {
            self.finished.forget(id);
        }
        entry.tokens
    }

    /// The tracker has parked the task: it is not finished, and whoever publishes its message again wants it done.
    pub fn parked(&mut self, id: &str) {
        self.finished.forget(id);
        if let Some(entry) = self.entries.get_mut(&Key::Task(id.to_owned())) {
            // Otherwise it is another try of the task.
            entry.parked |= entry.state.has_record();
        }
    }
}

/// Time, and sessions.
impl<T> Ledger<T> {
    /// Makes due all that has waited for a time that has come.
    pub fn wake(&mut self, now: Instant) {
        if self.claims_end.is_some_and(|end| end <= now) {
            self.stop_waiting_for_deliveries();
            self.claims_end = self.entries.values().any(|entry| entry.unclaimed).then(|| now + UNCLAIMED);
        }
        while let Some(next) = self.later.first_entry().filter(|next| next.key().0 <= now) {
            let ((_, key), ()) = next.remove_entry();
            match self.entries.get(&key).map(|entry| &entry.state) {
                Some(State::Waiting(_)) => self.due.push_back(key),
                Some(State::Ready(..)) => self.to_publish.push_back(key),
                Some(State::ToFollowUp(_)) => self.to_follow_up.push_back(key),
                Some(State::InFlight | State::Publishing(..) | State::FollowingUp) | None => {}
            }
        }
    }

    /// When [`Ledger::wake`] has something to do.
    pub fn next_wake(&self) -> Option<Instant> {
        let later = self.later.first_key_value().map(|((instant, _), ())| *instant);
        later.into_iter().chain(self.claims_end).min()
    }

    /// Whether every delivery that came is settled, or waits for a time.
    pub fn is_at_rest(&self) -> bool {
        let is_still = |entry: &Entry<T>| match entry.state {
            State::Waiting(_) | State::Ready(..) | State::ToFollowUp(_) => true,
            State::InFlight | State::Publishing(..) | State::FollowingUp => entry.unclaimed,
        };
        let due = [&self.due, &self.to_publish, &self.first_follow_ups, &self.to_follow_up];
        due.iter().all(|queue| queue.is_empty()) && self.entries.values().all(is_still)
    }

    /// The results that have no delivery are published without one; then there is nothing to acknowledge. A message
    /// that only moves to another queue is forgotten: the broker has it.
    pub fn stop_waiting_for_deliveries(&mut self) {
        let has_no_result = |state: &State| matches!(state, State::Ready(_, next) if next.is_ack_only());
        self.entries.retain(|_, entry| !(entry.unclaimed && has_no_result(&entry.state)));
        for (key, entry) in &mut self.entries {
            if entry.unclaimed && matches!(entry.state, State::Ready(..)) {
                entry.unclaimed = false;
                self.to_publish.push_back(key.clone());
            }
        }
    }

    /// A session has started: from now on the broker delivers again what is not settled.
    pub fn session_opened(&mut self, now: Instant) {
        self.claims_end = self.entries.values().any(|entry| entry.unclaimed).then(|| now + UNCLAIMED);
    }

    /// The session is lost, and with it the right to acknowledge. The broker delivers again what was not acknowledged.
    /// The tasks that the pool works on, and all results, wait for that, however long there is no session.
    pub fn session_lost(&mut self) {
        self.claims_end = None;
        self.by_tag.clear();
        self.later.clear();
        let due = [&mut self.due, &mut self.to_publish, &mut self.first_follow_ups, &mut self.to_follow_up];
        due.into_iter().for_each(VecDeque::clear);
        self.pasts.forget_older();
        self.entries.iter().for_each(|(key, entry)| self.pasts.keep(key, &entry.past));
        let entries = std::mem::take(&mut self.entries).into_iter();
        self.entries = entries.filter_map(|(key, entry)| Some((key, entry.without_session()?))).collect();
    }
}

#[cfg(test)]
mod tests;
