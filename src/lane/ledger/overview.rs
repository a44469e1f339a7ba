//! What the [`ledger`](super) holds, in numbers and ids. It changes nothing.

use std::time::Instant;

use super::entry::{Entry, State};
use super::{Key, Ledger};

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
}
