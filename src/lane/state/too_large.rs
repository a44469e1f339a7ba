//! What becomes of a task whose record, or of an entry whose outgoing message, is too large for RabbitMQ: no other
//! message waits for it. The rules are those of [`sizes`](crate::lane::sizes).

use std::time::{Duration, Instant};

use super::State;
use crate::lane::ledger::{Key, Next};
use crate::lane::{Job, outgoing};
use crate::message::{Cause, Original, Parked, document};
use crate::rabbitmq::publisher::OutgoingMessage;

/// An outgoing message that cannot be published in any form is tried again this much later. That happens only when the
/// limit was lowered while the message was in a queue.
const AGAIN: Duration = Duration::from_secs(60);

impl<T> State<'_, T> {
    /// Parks a task that could not be recorded, instead of creating it.
    pub(super) fn park_too_large(&mut self, job: &Job) {
        let most = self.lane.largest.bytes();
        let error = format!(
            "not created: its record would be larger than the {most} bytes that RabbitMQ takes (max_message_size), whatever is \
             left out of it"
        );
        let outgoing = self.parked_as_too_large(job.task.id.clone(), &error, &Original::Json(job.task.body.clone()));
        self.ledger.settle(&job.task.id, outgoing, Next::Park);
    }

    /// The entry's outgoing message is too large: it is replaced by a smaller one, or waits.
    pub(super) fn make_small_enough(&mut self, key: Key, outgoing: &OutgoingMessage, now: Instant) {
        let lane = self.lane;
        if let Some(shorter) = lane.fitted(outgoing) {
            return self.ledger.replace_outgoing(key, shorter, None);
        }
        let target_id = self.ledger.recorded(&key).map(|(_, done)| done.target_id.clone());
        // By now only the record holds the message.
        let message = document::members(&outgoing.body).ok().and_then(|mut members| members.remove("original_message"));
        match target_id.zip(message) {
            Some((target_id, body)) => {
                let error = format!("created with the id {target_id}, and not recorded: {}", lane.too_large(outgoing));
                let parked = self.parked_as_too_large(outgoing.message_id.clone(), &error, &Original::Json(body));
                self.ledger.replace_outgoing(key, parked, Some(Next::Park));
            }
            None => {
                log::error!("{}; trying again in {AGAIN:?}: task={}", lane.too_large(outgoing), outgoing.message_id);
                self.ledger.postpone_outgoing(key, now + AGAIN);
            }
        }
    }

    fn parked_as_too_large(&self, id: String, error: &str, original: &Original) -> OutgoingMessage {
        let (errors, cause) = (&self.lane.queues.errors, Cause::MessageTooLarge);
        log::error!("parking in {errors} as {}: task={id}: {error}", cause.name());
        self.count_parked(cause);
        let source_queue = &self.lane.queues.input;
        let about = Parked { cause, error, system: self.lane.name, source_queue, attempts: 1 };
        outgoing::parked(self.lane, id, &about, original)
    }
}
