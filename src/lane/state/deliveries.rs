//! What becomes of a delivery: which task it is of, whether that is begun, under way or finished, and until when it waits.
//!
//! It decides what to do and leaves the doing to others; see [`State`].

use std::time::Instant;

use super::State;
use crate::lane::ledger::{Admission, Key};
use crate::lane::waits::Wait;
use crate::lane::{Job, letters};
use crate::message::{self, Cause, Earlier, Parked, Record, Task, Unreadable};
use crate::rabbitmq::Headers;
use crate::rabbitmq::intake::Arrival;

impl<T> State<'_, T> {
    /// A message has come.
    pub fn delivered(&mut self, arrival: Arrival<T>, now: Instant) {
        self.prefetch.note(arrival.body.len());
        self.admit(arrival, now);
    }

    pub(super) fn admit(&mut self, arrival: Arrival<T>, now: Instant) {
        let Arrival { body, headers, redelivered, sent, token } = arrival;
        if letters::is_record(&headers) {
            return self.put_record_back(body, headers, token);
        }
        let task = match Task::parse(body) {
            Ok(task) => task,
            Err(unreadable) => return self.settle_unreadable(unreadable, headers, token),
        };
        let key = Key::Task(task.id.clone());
        let comes_again = redelivered || letters::may_be_here_twice(&headers);
        match self.ledger.admit(&key, token, letters::attempts(&headers)) {
            Admission::New(token) => match self.queue_elsewhere(&task, &headers) {
                Some(queue) => self.move_on(queue, task, headers, redelivered, token),
                None if letters::wears_out(&headers) => {
                    let body = task.message();
                    self.renew(key, task.id, body, headers, token);
                }
                None => self.begin(task, headers, redelivered, token, now),
            },
            // Published anew: somebody may have put the message of a deleted task back, so it is looked up.
            Admission::Finished(token) if !comes_again || letters::replayed(&headers) => {
                self.begin(task, headers, redelivered, token, now)
            }
            Admission::Joined => log::debug!("received again while at work: task={}", task.id),
            Admission::Later(token) => {
                let body = task.message();
                self.session.held.push(Arrival { body, headers, redelivered, sent, token });
            }
            Admission::Finished(token) => {
                self.lane.stats.duplicates_prevented.count();
                log::info!("received again although finished, nothing to do: task={}", task.id);
                self.session.acks.push_back(token);
            }
        }
    }

    /// The queue to which the message is to be moved, if it is: it belongs to another system, and nobody has worked on it here.
    fn queue_elsewhere(&self, task: &Task, headers: &Headers) -> Option<String> {
        letters::may_move(headers).then(|| self.lane.queue_elsewhere(task)).flatten()
    }

    /// Moves the message to the queue of its system. The lane there counts it, and looks it up with patience where an earlier
    /// delivery may have moved it already, so that it is there twice.
    fn move_on(&mut self, queue: String, task: Task, headers: Headers, redelivered: bool, token: T) {
        let (input, body) = (&self.lane.queues.input, task.message());
        if letters::wears_out(&headers) {
            log::debug!("publishing again what its queue would soon delete: task={}", task.id);
            let letter = letters::untouched(input, task.id.clone(), body, headers);
            return self.ledger.add_letter(Key::Task(task.id), token, letter);
        }
        log::info!("moving to {queue}: task={} topic={}", task.id, task.topic);
        self.lane.stats.moved.count();
        let letter = letters::moved(input, &queue, task.id.clone(), body, headers);
        let letter = if redelivered { letters::that_may_exist(letter) } else { letter };
        self.ledger.add_letter(Key::Task(task.id), token, letter);
    }

    fn begin(&mut self, task: Task, headers: Headers, redelivered: bool, token: T, now: Instant) {
        let attempts = letters::attempts(&headers);
        // A message that comes back for another try is the same message.
        self.lane.stats.total_messages.add(u64::from(attempts == 0));
        let (earlier, not_before) = self.patience(&task.id, &headers, redelivered, now);
        let task = Task { earlier, ..task };
        match (attempts, not_before.map(|until| until.saturating_duration_since(now))) {
            (0, None) => log::info!("received: task={} topic={}", task.id, task.topic),
            (_, None) => log::info!("received: task={} topic={} attempts={attempts}", task.id, task.topic),
            (_, Some(wait)) => {
                log::info!("received, waiting {wait:.1?}: task={} topic={} attempts={attempts}", task.id, task.topic);
            }
        }
        let job = Job { task, attempts, headers, arrived: now };
        self.ledger.add(token, job, not_before);
    }

    /// A record that has waited in the retry queue goes back to the sent queue, as soon as that takes it.
    fn put_record_back(&mut self, body: Vec<u8>, headers: Headers, token: T) {
        self.unreadable += 1;
        let key = Key::Unreadable(self.unreadable);
        let id = Record::parse(body.clone()).map_or_else(|_| "record".into(), |record| record.task.id);
        log::info!("the record goes back to {}: task={id}", self.lane.queues.sent);
        let back = !letters::wears_out(&headers);
        self.ledger.add_letter(key, token, letters::record_on_its_way(self.lane, id, body, headers, back));
    }

    /// What an earlier delivery may have done, and until when the task is left alone. A wait that has begun before goes on:
    /// neither a lost session nor another copy of the message begins it anew, or gets around it.
    fn patience(&mut self, id: &str, headers: &Headers, redelivered: bool, now: Instant) -> (Earlier, Option<Instant>) {
        let known = self.waits.of(id, now);
        let earlier = letters::earlier(headers, redelivered && known.is_none());
        match (earlier, known) {
            // One that exists unseen keeps the others from being created, also right after a restart; it is only looked up.
            (Earlier::Unseen, _) => (earlier, None),
            (_, Some(Wait { until, decides: true })) => (Earlier::None, Some(until)),
            (_, Some(Wait { until, decides: false })) => (earlier, Some(until)),
            (_, None) => {
                let wait = Wait { until: now + letters::wait(headers), decides: false };
                let waits = wait.until > now;
                if waits {
                    self.waits.add(id, wait, now);
                }
                (earlier, waits.then_some(wait.until))
            }
        }
    }

    /// What its queue would soon delete goes to the queue's tail, where it is counted from nothing again.
    fn renew(&mut self, key: Key, id: String, body: Vec<u8>, headers: Headers, token: T) {
        log::debug!("publishing again what its queue would soon delete: task={id}");
        let letter = letters::renewed(&self.lane.queues.input, id, body, headers);
        self.ledger.add_letter(key, token, letter);
    }

    fn settle_unreadable(&mut self, unreadable: Unreadable, headers: Headers, token: T) {
        let Unreadable { reason, original } = unreadable;
        self.unreadable += 1;
        let key = Key::Unreadable(self.unreadable);
        // Under this id `parked list` shows it.
        let id = message::fingerprint(original.bytes());
        if letters::wears_out(&headers) {
            return self.renew(key, id, original.bytes().to_vec(), headers, token);
        }
        self.lane.stats.total_messages.count();
        let about = Parked {
            cause: Cause::InvalidMessage,
            error: &reason,
            system: self.lane.name,
            source_queue: &self.lane.queues.input,
            attempts: 1,
        };
        let (errors, cause) = (&self.lane.queues.errors, about.cause.name());
        log::error!("parking in {errors} as {cause}: task={id}: {reason}");
        let letter = letters::parked(self.lane, id, &about, &original);
        self.count_parked();
        self.ledger.add_letter(key, token, letter);
    }

    pub(super) fn count_parked(&self) {
        self.lane.stats.failed_tasks.count();
        self.lane.stats.parked.count();
    }
}
