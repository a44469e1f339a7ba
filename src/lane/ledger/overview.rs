//! What the [`ledger`](super) holds, in numbers and ids, and as a list for people. It decides nothing.

use std::collections::HashMap;
use std::time::Instant;

use super::entry::{Entry, Next, State};
use super::pasts::Past;
use super::{Job, Key, Ledger, outgoing};
use crate::lane::tasks::{Numbers, Step, UnderWay, cut};

impl<T> Ledger<T> {
    /// How many outgoing messages wait until this queue, or (`None`) any queue, takes them.
    pub fn refused_messages(&self, queue: Option<&str>) -> usize {
        let refused = self.entries.values().filter(|entry| entry.refused);
        let there = refused.filter(|entry| match &entry.state {
            State::Ready(outgoing, _) | State::Publishing(outgoing, _) => {
                queue.is_none_or(|queue| outgoing.queue == queue)
            }
            State::Waiting(_) | State::InFlight | State::FollowingUp | State::ToFollowUp(_) => false,
        });
        there.count()
    }

    /// How often this task has failed before. A copy of its message that arrived meanwhile may have raised the number.
    pub fn attempts(&self, id: &str) -> Option<u32> {
        self.entries.get(&Key::Task(id.to_owned())).map(|entry| entry.attempts)
    }

    /// When the message of this task came.
    pub fn arrived(&self, id: &str) -> Option<Instant> {
        self.entries.get(&Key::Task(id.to_owned()))?.arrived
    }

    /// When the message came whose outgoing message is on its way under this tag.
    pub fn arrived_before(&self, tag: u64) -> Option<Instant> {
        self.entries.get(self.by_tag.get(&tag)?)?.arrived
    }

    /// How many tasks the pool has.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many tasks wait for the pool, be it for the first time or for a follow-up, and how many messages for their
    /// move to another system.
    pub fn waiting(&self) -> usize {
        self.entries.values().filter(|entry| entry.state.is_waiting()).count()
    }

    /// The tasks that are started and can be settled in this session, by id.
    pub fn unsettled(&self) -> Vec<&str> {
        self.started().filter(|(_, entry)| !entry.unclaimed).map(|(id, _)| id).collect()
    }

    /// The tasks that are started and not settled, by id, with or without a delivery.
    pub fn all_unsettled(&self) -> Vec<&str> {
        self.started().map(|(id, _)| id).collect()
    }

    /// The tasks that a thread of the pool works on, by id.
    pub fn at_work(&self) -> Vec<&str> {
        let at_work = |state: &State| matches!(state, State::InFlight | State::FollowingUp);
        self.started().filter(|(_, entry)| at_work(&entry.state)).map(|(id, _)| id).collect()
    }

    fn started(&self) -> impl Iterator<Item = (&str, &Entry<T>)> {
        let started = self.entries.iter().filter(|(_, entry)| !entry.state.is_waiting());
        started.map(|(key, entry)| match key {
            Key::Task(id) => (id.as_str(), entry),
            Key::Unreadable(_) => ("(unreadable)", entry),
        })
    }

    /// How many tasks are under way, and since when.
    pub fn numbers(&self) -> Numbers {
        let times = self.times();
        let mut numbers = Numbers::default();
        for (key, entry) in self.tasks_under_way() {
            match &entry.state {
                State::Waiting(_) if entry.is_retrying() => numbers.retrying += 1,
                State::Waiting(_) => numbers.taken += 1,
                _ => numbers.in_hand += 1,
            }
            if entry.refused || !times.contains_key(key) {
                numbers.oldest = [numbers.oldest, entry.past.since].into_iter().flatten().min();
            }
        }
        numbers
    }

    /// The tasks that are under way, for people.
    pub fn under_way(&self) -> Vec<UnderWay> {
        let times = self.times();
        let of = |(key, entry): (&Key, &Entry<T>)| {
            let Key::Task(id) = key else { return None };
            let next_try = times.get(key).copied();
            Some(UnderWay {
                id: id.clone(),
                about: entry.about.clone(),
                since: entry.past.since,
                attempts: entry.attempts,
                is_retrying: entry.is_retrying(),
                step: entry.step(next_try.is_some()),
                next_try,
                error: entry.past.error.clone(),
            })
        };
        self.tasks_under_way().filter_map(of).collect()
    }

    /// A message without a readable id is no task.
    fn tasks_under_way(&self) -> impl Iterator<Item = (&Key, &Entry<T>)> {
        self.entries.iter().filter(|(key, _)| matches!(key, Key::Task(_)))
    }

    /// The entries that wait for a time, and which.
    fn times(&self) -> HashMap<&Key, Instant> {
        self.later.keys().map(|(instant, key)| (key, *instant)).collect()
    }

    /// What is known of a task that has just come.
    pub(super) fn past(&mut self, key: &Key, job: &Job) -> Past {
        let before = self.pasts.take(key).unwrap_or_default();
        let told = || outgoing::last_error(&job.headers).map(cut);
        Past { since: before.since.or(Some(job.arrived)), error: before.error.or_else(told) }
    }

    /// The task has failed, for this reason.
    pub fn note_error(&mut self, id: &str, error: &str) {
        if let Some(entry) = self.entries.get_mut(&Key::Task(id.to_owned())) {
            entry.past.error = Some(cut(error));
        }
    }
}

impl<T> Entry<T> {
    /// It has failed before, and waits.
    fn is_retrying(&self) -> bool {
        matches!(self.state, State::Waiting(_)) && (self.attempts > 0 || self.past.error.is_some())
    }

    fn step(&self, waits_for_a_time: bool) -> Step {
        match &self.state {
            _ if self.refused => Step::WaitingForRoom,
            State::Waiting(_) if waits_for_a_time => Step::WaitingForTry,
            State::Waiting(_) => Step::Waiting,
            State::InFlight => Step::Handling,
            State::Ready(_, next) | State::Publishing(_, next) => match next {
                Next::FollowUp(_) => Step::Recording,
                Next::Finish(_) => Step::Answering,
                Next::Leave => Step::Retrying,
                Next::Park => Step::Parking,
                Next::Move => Step::Moving,
            },
            State::ToFollowUp(_) | State::FollowingUp => Step::FollowingUp,
        }
    }
}
