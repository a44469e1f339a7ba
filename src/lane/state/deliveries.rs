//! What becomes of a delivery: which task it is of, whether that is started, under way or finished, and until when it
//! waits.
//!
//! It decides what to do and leaves the doing to others; see [`State`].

use std::time::Instant;

use super::State;
use crate::lane::ledger::{Admission, Key};
use crate::lane::waits::Wait;
use crate::lane::{Job, outgoing};
use crate::message::{self, Cause, Earlier, Parked, Record, Task, Unreadable};
use crate::rabbitmq::Headers;
use crate::rabbitmq::consumer::Delivery;

impl<T> State<'_, T> {
    /// A message has come.
    pub fn delivered(&mut self, delivery: Delivery<T>, now: Instant) {
        self.prefetch.note(delivery.body.len());
        self.admit(delivery, now);
    }

    pub(super) fn admit(&mut self, delivery: Delivery<T>, now: Instant) {
        let Delivery { body, headers, redelivered, sent, token } = delivery;
        if outgoing::is_record(&headers) {
            return self.put_record_back(body, headers, token);
        }
        let task = match Task::parse(body) {
            Ok(task) => task,
            Err(unreadable) => return self.settle_unreadable(unreadable, headers, token),
        };
        self.take_in_parked();
        let key = Key::Task(task.id.clone());
        let comes_again = redelivered || outgoing::may_be_here_twice(&headers);
        match self.ledger.admit(&key, token, outgoing::attempts(&headers), outgoing::replay(&headers)) {
            Admission::New(token) => match self.queue_elsewhere(&task, &headers) {
                Some(queue) => self.move_on(queue, task, headers, redelivered, token, now),
                None if outgoing::wears_out(&headers) => {
                    let body = task.message();
                    self.republish(key, task.id, body, headers, token);
                }
                None => self.start(task, headers, redelivered, token, now),
            },
            // Published again: somebody may have deleted the task, or its record, so it is looked up. A browse may have
            // requeued the message before it came here first. Where tasks cannot be looked up, a copy would create a
            // second one.
            Admission::Finished(token)
                if self.lane.looks_up && (!comes_again || self.ledger.was_finished_by_another(&task)) =>
            {
                self.start(Task { earlier: Earlier::WouldShow, ..task }, headers, redelivered, token, now);
            }
            Admission::Joined => log::debug!("received again while at work: task={}", task.id),
            Admission::Later(token) => {
                let body = task.message();
                self.session.held.push(Delivery { body, headers, redelivered, sent, token });
            }
            Admission::Finished(token) => {
                self.lane.stats.duplicates_prevented.count();
                log::info!("received again although finished, nothing to do: task={}", task.id);
                self.lane.control.followers.settled(&task.id, outgoing::replay(&headers));
                self.session.acks.push_back(token);
            }
        }
    }

    /// A delivery that was held may continue a message that is settled now.
    pub(super) fn admit_held(&mut self, now: Instant) {
        std::mem::take(&mut self.session.held).into_iter().for_each(|delivery| self.admit(delivery, now));
    }

    /// The queue to which the message is to be moved, if it is: it belongs to another system, and nobody has worked on
    /// it here.
    fn queue_elsewhere(&self, task: &Task, headers: &Headers) -> Option<String> {
        outgoing::may_move(headers).then(|| self.lane.queue_elsewhere(task)).flatten()
    }

    /// Moves the message to the queue of its system. The lane there counts it, and looks it up with patience where an
    /// earlier delivery may have moved it already, so that it is there twice.
    fn move_on(&mut self, queue: String, task: Task, headers: Headers, redelivered: bool, token: T, now: Instant) {
        let (input, body) = (&self.lane.queues.input, task.message());
        if outgoing::wears_out(&headers) {
            log::debug!("publishing again what its queue would soon delete: task={}", task.id);
            let outgoing = outgoing::republished_to_move(input, task.id.clone(), body, headers);
            return self.ledger.add_outgoing(Key::Task(task.id), token, outgoing);
        }
        let wait = outgoing::wait(&headers);
        if wait.is_zero() {
            log::info!("moving to {queue}: task={} topic={}", task.id, task.topic);
            self.lane.stats.moved.count();
        }
        let outgoing = outgoing::moved((input, &queue), task.id.clone(), body, headers, redelivered);
        self.ledger.add_move(Key::Task(task.id), token, outgoing, (!wait.is_zero()).then(|| now + wait));
    }

    fn start(&mut self, task: Task, headers: Headers, redelivered: bool, token: T, now: Instant) {
        let attempts = outgoing::attempts(&headers);
        // A message that comes back for another try is the same message.
        self.lane.stats.total_messages.add(u64::from(attempts == 0));
        let (earlier, not_before) = self.patience(&task.id, &headers, redelivered, now);
        let task = Task { note: outgoing::note(&headers), ..task };
        let task = if earlier == Earlier::None { task } else { Task { earlier, ..task } };
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

    /// A record that has waited in the retry queue is published to the sent queue again, as soon as that takes it.
    fn put_record_back(&mut self, body: Vec<u8>, headers: Headers, token: T) {
        self.unreadable += 1;
        let key = Key::Unreadable(self.unreadable);
        let id = Record::parse(body.clone()).map_or_else(|_| "record".into(), |record| record.task.id);
        log::info!("publishing the record to {} again: task={id}", self.lane.queues.sent);
        let back = !outgoing::wears_out(&headers);
        self.ledger.add_outgoing(key, token, outgoing::record_on_its_way(self.lane, id, body, headers, back));
    }

    /// What an earlier delivery may have done, and until when the task is left alone. A wait that has started before
    /// goes on: neither a lost session nor another copy of the message starts it again, or gets around it.
    fn patience(&mut self, id: &str, headers: &Headers, redelivered: bool, now: Instant) -> (Earlier, Option<Instant>) {
        let known = self.waits.of(id, now);
        let earlier = match outgoing::earlier(headers, redelivered && known.is_none()) {
            // What an earlier try, or one of another copy, may have done shows after the wait.
            Earlier::None if known.is_some() => Earlier::WouldShow,
            earlier => earlier,
        };
        match (earlier, known) {
            // One that exists unseen keeps the others from being created, also right after a restart; it is only looked
            // up.
            (Earlier::Unseen, _) => (earlier, None),
            (_, Some(Wait { until, decides: true })) => (Earlier::WouldShow, Some(until)),
            (_, Some(Wait { until, decides: false })) => (earlier, Some(until)),
            (_, None) => {
                let wait = Wait { until: now + outgoing::wait(headers), decides: false };
                let waits = wait.until > now;
                if waits {
                    self.waits.add(id, wait, now);
                }
                (earlier, waits.then_some(wait.until))
            }
        }
    }

    /// A message that its queue would soon delete is published again to the tail, where the count starts from zero.
    fn republish(&mut self, key: Key, id: String, body: Vec<u8>, headers: Headers, token: T) {
        log::debug!("publishing again what its queue would soon delete: task={id}");
        let outgoing = outgoing::republished(&self.lane.queues.input, id, body, headers);
        self.ledger.add_outgoing(key, token, outgoing);
    }

    fn settle_unreadable(&mut self, unreadable: Unreadable, headers: Headers, token: T) {
        let Unreadable { reason, original } = unreadable;
        self.unreadable += 1;
        let key = Key::Unreadable(self.unreadable);
        // `parked list` shows it under this id.
        let id = message::fingerprint(original.bytes());
        if outgoing::wears_out(&headers) {
            return self.republish(key, id, original.bytes().to_vec(), headers, token);
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
        let outgoing = outgoing::parked(self.lane, id, &about, &original);
        self.count_parked(Cause::InvalidMessage);
        self.ledger.add_outgoing(key.clone(), token, outgoing);
        self.ledger.note_replay(&key, outgoing::replay(&headers));
    }

    pub(super) fn count_parked(&self, cause: Cause) {
        self.lane.stats.failed_tasks.count();
        self.lane.stats.parked.count(cause);
    }
}
