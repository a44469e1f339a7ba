//! What is under way in a lane: a state machine without I/O, keyed by task.
//!
//! ```text
//!  Waiting ──▶ InFlight ──▶ Ready ──▶ Publishing ──▶ FollowingUp ──▶ remembered as finished
//!     ▲            │          ▲            │           │      ▲
//!     └── put back ┘          └── refused ─┘           ▼      │
//!                                                     ToFollowUp   (a retry or a parked message ends after Publishing)
//! ```
//!
//! The letter with a result is stored *before* it is published, so a lost session costs nothing but time. It says what is
//! to be acknowledged and never does it; `T` is the right to acknowledge one delivery.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::Job;
use super::remembered::Remembered;
use crate::message::Task;
use crate::rabbitmq::publisher::Letter;
use crate::systems::Created;

/// Finished ids that are kept: a crashed broker brings back thousands of messages that were acknowledged already.
const FINISHED: usize = 100_000;
/// A result whose message was not delivered again within this time of the next session is recorded without one: the message
/// has gone to another worker, which a second record does not harm, or down with its queue. RabbitMQ delivers first what it
/// takes back, so a few seconds are enough.
const UNCLAIMED: Duration = Duration::from_secs(15);

/// Which piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The task with this id.
    Task(String),
    /// A message without a readable id: the n-th one of this process.
    Unreadable(u64),
}

/// What follows when the broker has confirmed a letter.
#[derive(Debug)]
pub enum Next {
    /// The result is recorded: the follow-up, then the ack.
    FollowUp(Box<(Task, Created)>),
    /// The task was finished as soon as it was created, and this was its response: the ack, and it is known as finished.
    Finish(Box<(Task, Created)>),
    /// The message lives on in another queue: the ack, and forget it.
    Leave,
}

#[derive(Debug)]
enum State {
    Waiting(Job),
    InFlight,
    Ready(Letter, Next),
    Publishing(Letter, Next),
    FollowingUp,
    /// The follow-up was not finished and waits for its next try.
    ToFollowUp(Box<(Task, Created)>),
}

impl State {
    /// Nobody works on it: when the worker stops it goes back to the broker.
    fn is_waiting(&self) -> bool {
        matches!(self, State::Waiting(_) | State::ToFollowUp(_))
    }
}

#[derive(Debug)]
struct Entry<T> {
    /// All deliveries of this task in this session; settled together.
    tokens: Vec<T>,
    state: State,
    /// How often the task has failed, by whichever of its deliveries has seen most.
    attempts: u32,
    /// It has no delivery in this session yet.
    unclaimed: bool,
    /// Its queue has not taken its letter, and has not yet taken it since.
    refused: bool,
}

/// What to do with a delivery.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<T> {
    /// Nobody works on it: add it with [`Ledger::add`].
    New(T),
    /// It is being worked on; the delivery is settled with the others of its task.
    Joined,
    /// The task's message is just moving to another queue, and this may be its continuation: ask again when it has moved.
    Later(T),
    /// It is finished: acknowledge what the broker delivers once more, [`Ledger::add`] what somebody published anew.
    Finished(T),
}

/// What a confirm leads to.
#[derive(Debug)]
pub enum Confirmed<T> {
    /// Do the follow-up of this task.
    FollowUp(Box<(Task, Created)>),
    /// The task with this id is finished: acknowledge these.
    Finished(String, Vec<T>),
    /// Acknowledge these.
    Ack(Vec<T>),
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger<T> {
    entries: HashMap<Key, Entry<T>>,
    /// Waiting tasks whose time has come, in order of arrival.
    due: VecDeque<Key>,
    /// Letters whose time has come.
    to_publish: VecDeque<Key>,
    /// Follow-ups whose time has come.
    to_follow_up: VecDeque<Key>,
    /// What waits for a time, be it a task, a letter or a follow-up.
    later: BTreeMap<(Instant, Key), ()>,
    by_tag: HashMap<u64, Key>,
    in_flight: usize,
    finished: Remembered,
    /// When a result without a delivery is recorded all the same, while there is a session and there may be one.
    claims_end: Option<Instant>,
}

impl<T> Default for Ledger<T> {
    fn default() -> Ledger<T> {
        Ledger {
            entries: HashMap::new(),
            due: VecDeque::new(),
            to_publish: VecDeque::new(),
            to_follow_up: VecDeque::new(),
            later: BTreeMap::new(),
            by_tag: HashMap::new(),
            in_flight: 0,
            finished: Remembered::new(FINISHED),
            claims_end: None,
        }
    }
}

/// Taking in.
impl<T> Ledger<T> {
    /// What to do with a delivery of this task, which says that it has failed `attempts` times.
    pub fn admit(&mut self, key: &Key, token: T, attempts: u32) -> Admission<T> {
        let Some(entry) = self.entries.get_mut(key) else {
            return match key {
                Key::Task(id) if self.finished.contains(id) => Admission::Finished(token),
                Key::Task(_) | Key::Unreadable(_) => Admission::New(token),
            };
        };
        if let State::Publishing(_, Next::Leave) = entry.state {
            return Admission::Later(token);
        }
        let unclaimed = std::mem::take(&mut entry.unclaimed);
        entry.attempts = entry.attempts.max(attempts);
        entry.tokens.push(token);
        if unclaimed && matches!(entry.state, State::Ready(..)) {
            self.to_publish.push_back(key.clone());
        }
        Admission::Joined
    }

    /// Adds a task that is to be done, not before `not_before`; from now on it does not count as finished.
    pub fn add(&mut self, token: T, job: Job, not_before: Option<Instant>) {
        self.finished.remove(&job.task.id);
        let (key, attempts) = (Key::Task(job.task.id.clone()), job.attempts);
        let entry =
            Entry { tokens: vec![token], state: State::Waiting(job), attempts, unclaimed: false, refused: false };
        self.entries.insert(key.clone(), entry);
        self.schedule(key, not_before);
    }

    /// Adds a message that only moves to another queue.
    pub fn add_letter(&mut self, key: Key, token: T, letter: Letter) {
        let state = State::Ready(letter, Next::Leave);
        let entry = Entry { tokens: vec![token], state, attempts: 0, unclaimed: false, refused: false };
        self.entries.insert(key.clone(), entry);
        self.to_publish.push_back(key);
    }

    fn schedule(&mut self, key: Key, not_before: Option<Instant>) {
        match not_before {
            Some(instant) => drop(self.later.insert((instant, key), ())),
            None => self.due.push_back(key),
        }
    }
}

/// Handing out, and taking back.
impl<T> Ledger<T> {
    /// The next task to hand to the pool.
    pub fn next_job(&mut self) -> Option<Job> {
        while let Some(key) = self.due.pop_front() {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            match std::mem::replace(&mut entry.state, State::InFlight) {
                State::Waiting(job) => {
                    self.in_flight += 1;
                    return Some(job);
                }
                other => entry.state = other,
            }
        }
        None
    }

    /// Takes a task back that the pool has not done, to hand it out again; behind the others, so that no task can hold
    /// the lane up. Without a delivery it is left to whoever has that now.
    pub fn put_back(&mut self, job: Job, not_before: Option<Instant>) {
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

    /// The pool has a result for this task: `letter` says it, and `next` follows its confirm.
    pub fn settle(&mut self, id: &str, letter: Letter, next: Next) {
        let key = Key::Task(id.to_owned());
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.state = State::Ready(letter, next);
            if !entry.unclaimed {
                self.to_publish.push_back(key);
            }
        }
    }

    /// The follow-up is to be tried once more.
    pub fn follow_up_again(&mut self, recorded: Box<(Task, Created)>, at: Instant) {
        let key = Key::Task(recorded.0.id.clone());
        match self.entries.get_mut(&key) {
            // Without a delivery it is left to whoever gets that: the task is found then, and followed up.
            Some(entry) if entry.unclaimed => drop(self.entries.remove(&key)),
            Some(entry) => {
                entry.state = State::ToFollowUp(recorded);
                self.later.insert((at, key), ());
            }
            None => {}
        }
    }

    /// The next follow-up whose time has come.
    pub fn next_follow_up(&mut self) -> Option<Box<(Task, Created)>> {
        while let Some(key) = self.to_follow_up.pop_front() {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            match std::mem::replace(&mut entry.state, State::FollowingUp) {
                State::ToFollowUp(recorded) => return Some(recorded),
                other => entry.state = other,
            }
        }
        None
    }

    /// Nothing more is to be done: what to acknowledge. From now on the task is known as finished.
    pub fn followed_up(&mut self, id: &str) -> Vec<T> {
        self.finished.add(id);
        self.entries.remove(&Key::Task(id.to_owned())).map(|entry| entry.tokens).unwrap_or_default()
    }
}

/// Publishing.
impl<T> Ledger<T> {
    /// Whose letter to publish next; say with [`Ledger::published`] that it was.
    pub fn next_letter(&mut self) -> Option<(Key, &Letter)> {
        while let Some(key) = self.to_publish.pop_front() {
            if let Some(Entry { state: State::Ready(letter, _), unclaimed: false, .. }) = self.entries.get(&key) {
                return Some((key, letter));
            }
        }
        None
    }

    /// The letter of this entry is on its way under `tag`.
    pub fn published(&mut self, key: Key, tag: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.state = match std::mem::replace(&mut entry.state, State::InFlight) {
                State::Ready(letter, next) => State::Publishing(letter, next),
                other => other,
            };
            self.by_tag.insert(tag, key);
        }
    }

    /// The broker has the letter with this tag.
    pub fn confirmed(&mut self, tag: u64) -> Option<Confirmed<T>> {
        let key = self.by_tag.remove(&tag)?;
        let entry = self.entries.get_mut(&key)?;
        entry.refused = false;
        match std::mem::replace(&mut entry.state, State::FollowingUp) {
            State::Publishing(_, Next::FollowUp(recorded)) => Some(Confirmed::FollowUp(recorded)),
            State::Publishing(_, Next::Finish(answered)) => {
                let id = answered.0.id;
                let tokens = self.followed_up(&id);
                Some(Confirmed::Finished(id, tokens))
            }
            State::Publishing(_, Next::Leave) => self.entries.remove(&key).map(|entry| Confirmed::Ack(entry.tokens)),
            other => {
                entry.state = other;
                None
            }
        }
    }

    /// The broker has not taken the letter with this tag; it is published again at `again`. Returns its queue.
    pub fn refused(&mut self, tag: u64, again: Instant) -> Option<String> {
        let key = self.by_tag.remove(&tag)?;
        let entry = self.entries.get_mut(&key)?;
        match std::mem::replace(&mut entry.state, State::InFlight) {
            State::Publishing(letter, next) => {
                let queue = letter.queue.clone();
                entry.state = State::Ready(letter, next);
                entry.refused = true;
                self.later.insert((again, key), ());
                Some(queue)
            }
            other => {
                entry.state = other;
                None
            }
        }
    }
}

/// Letters that cannot be published as they are.
impl<T> Ledger<T> {
    /// How many letters wait for this queue to take them, or for any.
    pub fn refused_letters(&self, queue: Option<&str>) -> usize {
        let refused = self.entries.values().filter(|entry| entry.refused);
        let there = refused.filter(|entry| match &entry.state {
            State::Ready(letter, _) | State::Publishing(letter, _) => queue.is_none_or(|queue| letter.queue == queue),
            State::Waiting(_) | State::InFlight | State::FollowingUp | State::ToFollowUp(_) => false,
        });
        there.count()
    }

    /// The task whose record or response this entry has to publish.
    pub fn recorded(&self, key: &Key) -> Option<&(Task, Created)> {
        match &self.entries.get(key)?.state {
            State::Ready(_, Next::FollowUp(recorded) | Next::Finish(recorded)) => Some(recorded),
            _ => None,
        }
    }

    /// Publishes another letter in place of this entry's; with `next`, something else follows, too.
    pub fn replace_letter(&mut self, key: Key, letter: Letter, next: Option<Next>) {
        if let Some(entry) = self.entries.get_mut(&key)
            && let State::Ready(old, old_next) = &mut entry.state
        {
            *old = letter;
            *old_next = next.unwrap_or_else(|| std::mem::replace(old_next, Next::Leave));
            self.to_publish.push_back(key);
        }
    }

    /// Looks at the entry's letter again at this time.
    pub fn postpone_letter(&mut self, key: Key, again: Instant) {
        self.later.insert((again, key), ());
    }
}

/// Time, and sessions.
impl<T> Ledger<T> {
    /// Moves on what has waited for a time that has come.
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
        let nothing_due = self.due.is_empty() && self.to_publish.is_empty() && self.to_follow_up.is_empty();
        nothing_due && self.entries.values().all(is_still)
    }

    /// The results that have no delivery are published without one, which leaves nothing to acknowledge. What only moves to
    /// another queue is left to whoever has its message now.
    pub fn stop_waiting_for_deliveries(&mut self) {
        self.entries.retain(|_, entry| !(entry.unclaimed && matches!(entry.state, State::Ready(_, Next::Leave))));
        for (key, entry) in &mut self.entries {
            if entry.unclaimed && matches!(entry.state, State::Ready(..)) {
                entry.unclaimed = false;
                self.to_publish.push_back(key.clone());
            }
        }
    }

    /// A session has begun: from now on the broker delivers again what is not settled.
    pub fn session_begun(&mut self, now: Instant) {
        self.claims_end = self.entries.values().any(|entry| entry.unclaimed).then(|| now + UNCLAIMED);
    }

    /// The session is lost, and with it the right to acknowledge. The broker delivers again what was not acknowledged;
    /// what the pool has in hand, and every result, waits for that, however long there is no session.
    pub fn session_lost(&mut self) {
        self.claims_end = None;
        self.by_tag.clear();
        self.due.clear();
        self.to_publish.clear();
        self.to_follow_up.clear();
        self.later.clear();
        self.entries.retain(|_, entry| {
            entry.tokens.clear();
            entry.unclaimed = true;
            let state = std::mem::replace(&mut entry.state, State::InFlight);
            entry.state = match state {
                State::Publishing(letter, next) => State::Ready(letter, next),
                other => other,
            };
            if let State::Ready(_, Next::FollowUp(recorded)) = &mut entry.state {
                // Whoever gets the message meanwhile may follow the task up as well.
                recorded.1.existed = true;
            }
            match entry.state {
                // Not begun: whoever gets it next begins it.
                State::Waiting(_) => false,
                // Its record is safe: whoever gets it next finds the task and completes it.
                State::ToFollowUp(_) => false,
                // A message that only moves has no result to keep.
                State::Ready(_, Next::Leave) => false,
                State::Ready(..) | State::InFlight | State::Publishing(..) | State::FollowingUp => true,
            }
        });
    }

    /// How often this task has failed before: a copy of its message that arrived while it was at work may know better.
    pub fn attempts(&self, id: &str) -> Option<u32> {
        self.entries.get(&Key::Task(id.to_owned())).map(|entry| entry.attempts)
    }

    /// How many tasks the pool has.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many tasks wait for the pool, be it for the first time or for a follow-up.
    pub fn waiting(&self) -> usize {
        self.entries.values().filter(|entry| entry.state.is_waiting()).count()
    }

    /// What is begun and can be settled in this session, by id.
    pub fn in_hand(&self) -> Vec<&str> {
        self.begun().filter(|(_, entry)| !entry.unclaimed).map(|(id, _)| id).collect()
    }

    /// What is begun and not settled, by id, whether or not it has a delivery.
    pub fn in_the_air(&self) -> Vec<&str> {
        self.begun().map(|(id, _)| id).collect()
    }

    /// What a thread of the pool has in hand, by id.
    pub fn at_work(&self) -> Vec<&str> {
        let at_work = |state: &State| matches!(state, State::InFlight | State::FollowingUp);
        self.begun().filter(|(_, entry)| at_work(&entry.state)).map(|(id, _)| id).collect()
    }

    fn begun(&self) -> impl Iterator<Item = (&str, &Entry<T>)> {
        let begun = self.entries.iter().filter(|(_, entry)| !entry.state.is_waiting());
        begun.map(|(key, entry)| match key {
            Key::Task(id) => (id.as_str(), entry),
            Key::Unreadable(_) => ("(unreadable)", entry),
        })
    }
}

#[cfg(test)]
mod tests;
