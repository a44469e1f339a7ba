//! What the outcome of a publish leads to: the follow-up and the ack, or another try.
//!
//! It does not know how messages are published, nor what is in them.

use std::time::Instant;

use super::{End, State};
use crate::lane::ledger::{Confirmed, Key};
use crate::lane::outgoing;
use crate::rabbitmq::publisher::PublishOutcome;
use crate::stats::condition::Obstacle;
use crate::stats::span;

impl<T> State<'_, T> {
    /// The outgoing message that [`Action::Publish`](super::Action::Publish) gave is on its way under this tag.
    pub fn publishing(&mut self, key: Key, tag: u64) {
        self.ledger.publishing(key, tag);
    }

    /// The outcome for the outgoing message with this tag.
    pub fn answered(&mut self, tag: u64, outcome: PublishOutcome, now: Instant) {
        match outcome {
            PublishOutcome::Confirmed => self.confirmed(tag, now),
            PublishOutcome::Refused(why) => drop(self.refused(tag, &why, now)),
            PublishOutcome::NoQueue(why) => {
                self.lane.stats.unroutable_messages.count();
                // Another system's queue is made by its own lane, and this one goes on meanwhile.
                if let Some(queue) = self.refused(tag, &why, now).filter(|queue| self.lane.queues.include(queue)) {
                    self.session.end = Some(End::QueueGone(queue));
                }
            }
        }
    }

    fn confirmed(&mut self, tag: u64, now: Instant) {
        let stats = self.lane.stats;
        stats.sent_messages.count();
        let parked = self.ledger.on_its_way(tag).filter(|message| message.queue == self.lane.queues.errors);
        if let Some(task) = parked.and_then(|message| self.lane.notices.task_in(message)) {
            self.lane.notices.tell(task);
        }
        let arrived = self.ledger.arrived_before(tag);
        let confirmed = self.ledger.confirmed(tag);
        self.note_room(now);
        match confirmed {
            Some(Confirmed::Recorded) => stats.sent_to_success_queue.count(),
            Some(Confirmed::Finished(id, tokens)) => {
                self.finished_at_once(&id, tokens.len());
                self.acknowledge(tokens, arrived, now);
            }
            Some(Confirmed::Ack(tokens)) => {
                self.acknowledge(tokens, arrived, now);
                self.admit_held(now);
            }
            None => {}
        }
    }

    fn finished_at_once(&self, id: &str, deliveries: usize) {
        let stats = self.lane.stats;
        stats.successful_tasks.count();
        stats.tracker.moved_to_responses.count();
        stats.duplicates_prevented.add(deliveries.saturating_sub(1) as u64);
        log::info!("answered to Camunda: task={id}");
    }

    /// The outgoing message is published again later. Returns its queue.
    fn refused(&mut self, tag: u64, why: &str, now: Instant) -> Option<String> {
        let (stats, pause) = (self.lane.stats, self.lane.config.retry_delay);
        stats.failed_messages.count();
        let (key, queue) = self.ledger.refused(tag)?;
        let queues = &self.lane.queues;
        stats.failed_to_send_success.add(u64::from(queue == queues.sent));
        stats.tracker.failed_moves.add(u64::from(queue == queues.responses));
        // One message keeps trying the queue of another system. The others wait in the retry queue, and leave room for
        // what belongs here.
        let aside = !queues.include(&queue) && self.ledger.refused_messages(Some(&queue)) > 1;
        match self.ledger.outgoing(&key).filter(|_| aside).map(|moved| outgoing::to_move_later(self.lane, moved)) {
            Some(outgoing) => self.ledger.replace_outgoing(key, outgoing, None),
            None => self.ledger.postpone_outgoing(key, now + pause),
        }
        let waiting = self.ledger.refused_messages(None);
        stats.waiting_for_room.set(waiting as u64);
        let all_wait = format!("{queue} does not take messages, {waiting} wait");
        stats.condition.stands(Obstacle::FullQueue, &all_wait, Some(pause));
        if let Some(told) = self.refusals.refused(&queue, why, now) {
            let waiting = self.ledger.refused_messages(Some(&queue));
            let others = if queues.include(&queue) { "" } else { "; others wait in the retry queue" };
            log::error!("{told}; {waiting} wait, each is published again every {pause:?}{others}");
        }
        Some(queue)
    }

    /// Logs that a queue takes messages again, when nothing waits for it any more.
    fn note_room(&mut self, now: Instant) {
        if !self.refusals.any() {
            return;
        }
        let ledger = &self.ledger;
        for (queue, after) in self.refusals.over(|queue| ledger.refused_messages(Some(queue)), now) {
            log::info!("{queue} takes messages again, after {}", span(after));
        }
        let waiting = ledger.refused_messages(None);
        self.lane.stats.waiting_for_room.set(waiting as u64);
        if waiting == 0 {
            self.lane.stats.condition.is_over(Obstacle::FullQueue);
        }
    }

    /// `arrived`: when the message came, if it was one of a task.
    pub(super) fn acknowledge(&mut self, tokens: Vec<T>, arrived: Option<Instant>, now: Instant) {
        if let Some(arrived) = arrived {
            self.lane.stats.handling.observe(now.saturating_duration_since(arrived));
        }
        self.caution.settled(tokens.len());
        self.session.acks.extend(tokens);
    }
}
