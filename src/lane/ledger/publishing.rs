//! The outgoing messages of the [`ledger`](super): which is the next, which is on its way, and what a confirm or a
//! refusal leads to. It publishes nothing itself.

use std::time::Instant;

use super::entry::{Key, Next, State};
use super::{Confirmed, Ledger, Replay};
use crate::message::Task;
use crate::rabbitmq::publisher::OutgoingMessage;
use crate::systems::Created;

impl<T> Ledger<T> {
    /// The entry whose [outgoing message](Ledger::outgoing) to publish next; report with [`Ledger::publishing`] that it
    /// was.
    pub fn next_to_publish(&mut self) -> Option<Key> {
        while let Some(key) = self.to_publish.pop_front() {
            if self.entries.get(&key).is_some_and(|entry| !entry.unclaimed) && self.outgoing(&key).is_some() {
                return Some(key);
            }
        }
        None
    }

    /// The outgoing message that this entry has to publish.
    pub fn outgoing(&self, key: &Key) -> Option<&OutgoingMessage> {
        match &self.entries.get(key)?.state {
            State::Ready(outgoing, _) => Some(outgoing),
            _ => None,
        }
    }

    /// The outgoing message of this entry is on its way under `tag`.
    pub fn publishing(&mut self, key: Key, tag: u64) {
        if self.step(&key, State::publishing).is_some() {
            self.by_tag.insert(tag, key);
        }
    }

    /// The outgoing message that is on its way under this tag.
    pub fn on_its_way(&self, tag: u64) -> Option<&OutgoingMessage> {
        match &self.entries.get(self.by_tag.get(&tag)?)?.state {
            State::Publishing(outgoing, _) => Some(outgoing),
            _ => None,
        }
    }

    /// The last replay among the messages of the task whose outgoing message is on its way under this tag.
    pub fn replay_under(&self, tag: u64) -> Option<Replay> {
        self.entries.get(self.by_tag.get(&tag)?)?.replay
    }

    /// The last replay among the messages of this task.
    pub fn replay(&self, id: &str) -> Option<Replay> {
        self.entries.get(&Key::Task(id.to_owned()))?.replay
    }

    /// The broker has confirmed the outgoing message with this tag.
    pub fn confirmed(&mut self, tag: u64) -> Option<Confirmed<T>> {
        let key = self.by_tag.remove(&tag)?;
        let entry = self.entries.get_mut(&key)?;
        entry.refused = false;
        if matches!(entry.state, State::Publishing(_, Next::Leave)) {
            self.pasts.keep(&key, &entry.past);
        }
        match &entry.state {
            State::Publishing(_, next) if next.is_ack_only() => {
                return self.entries.remove(&key).map(|entry| Confirmed::Ack(entry.tokens));
            }
            State::Publishing(_, Next::Finish(answered)) => {
                let id = answered.0.id.clone();
                let tokens = self.followed_up(&id);
                return Some(Confirmed::Finished(id, tokens));
            }
            _ => {}
        }
        self.step(&key, State::recorded)?;
        self.first_follow_ups.push_back(key);
        Some(Confirmed::Recorded)
    }

    /// The broker has not taken the outgoing message with this tag. Returns its entry and its queue; it is to be
    /// [postponed](Ledger::postpone_outgoing) or [replaced](Ledger::replace_outgoing).
    pub fn refused(&mut self, tag: u64) -> Option<(Key, String)> {
        let key = self.by_tag.remove(&tag)?;
        let queue = self.step(&key, State::refused)?;
        self.entries.get_mut(&key)?.refused = true;
        Some((key, queue))
    }
}

/// Those that cannot be published as they are.
impl<T> Ledger<T> {
    /// The task whose record or response this entry has to publish.
    pub fn recorded(&self, key: &Key) -> Option<&(Task, Created)> {
        match &self.entries.get(key)?.state {
            State::Ready(_, Next::FollowUp(recorded) | Next::Finish(recorded)) => Some(recorded),
            _ => None,
        }
    }

    /// Publishes another outgoing message in place of this entry's; with `next`, something else follows, too.
    pub fn replace_outgoing(&mut self, key: Key, outgoing: OutgoingMessage, next: Option<Next>) {
        if let Some(entry) = self.entries.get_mut(&key)
            && let State::Ready(old, old_next) = &mut entry.state
        {
            *old = outgoing;
            if let Some(next) = next {
                *old_next = next;
            }
            self.to_publish.push_back(key);
        }
    }

    /// Publishes the entry's outgoing message at this time.
    pub fn postpone_outgoing(&mut self, key: Key, again: Instant) {
        self.later.insert((again, key), ());
    }
}
