//! What is done with an outgoing message that is too large for RabbitMQ: it is shortened by a rule, or its original is
//! parked, and no other message waits for it. This file has the sweep's part and what it shares with the reader; the
//! reader's part is in [`state`](super::state).
//!
//! RabbitMQ closes a channel that publishes such a message, and names its limit in the reason; the lane learns it once
//! a run. From then on such a message is not sent, and a task whose record could not be published is not created.
//! [`shorten`](crate::message::shorten) knows what may be left out.

use super::sweep::Sent;
use super::tracking::Tracking;
use super::{Lane, outgoing};
use crate::message::{Cause, Original, Parked};
use crate::rabbitmq::publisher::OutgoingMessage;

impl Lane<'_> {
    /// Learns the limit from the text with which a channel was closed; `true` when it is new.
    pub(super) fn learn_largest(&self, ended: &str) -> bool {
        let news = self.largest.learn(ended);
        if news {
            log::warn!("RabbitMQ takes messages of up to {} bytes (max_message_size)", self.largest.bytes());
        }
        news
    }

    pub(super) fn fitted(&self, message: &OutgoingMessage) -> Option<OutgoingMessage> {
        let most = self.largest.bytes();
        let (shorter, left_out) = outgoing::fitted(message, most)?;
        let OutgoingMessage { queue, message_id, body, .. } = message;
        log::warn!(
            "{} bytes are more than the {most} that RabbitMQ takes, left out for {queue}: {left_out}: task={message_id}",
            body.len()
        );
        Some(shorter)
    }

    pub(super) fn too_large(&self, message: &OutgoingMessage) -> String {
        let (bytes, most) = (message.body.len(), self.largest.bytes());
        format!("{bytes} bytes for {} are more than the {most} that RabbitMQ takes (max_message_size)", message.queue)
    }
}

impl Tracking<'_, '_> {
    /// The message that is published instead of one that is too large. `None`: there is none, and the record stays.
    pub(super) fn small_enough(
        &self,
        message: &OutgoingMessage,
        sent: Sent,
        record: &[u8],
    ) -> Option<(OutgoingMessage, Sent)> {
        let lane = self.lane;
        if let Some(shorter) = lane.fitted(message) {
            return Some((shorter, sent));
        }
        let error = lane.too_large(message);
        if matches!(sent, Sent::Parked(..)) {
            log::error!("{error}; its record stays: task={}", message.message_id);
            return None;
        }
        let (id, cause) = (message.message_id.clone(), Cause::MessageTooLarge);
        log::error!("parking in {} as {}: task={id}: {error}", lane.queues.errors, cause.name());
        let about = Parked { cause, error: &error, system: lane.name, source_queue: &lane.queues.sent, attempts: 1 };
        let original = serde_json::from_slice(record).map_or_else(|_| Original::Bytes(record.to_vec()), Original::Json);
        let parked = outgoing::parked(lane, id, &about, &original);
        let parked = if parked.body.len() > lane.largest.bytes() { lane.fitted(&parked)? } else { parked };
        Some((parked, Sent::Parked(cause, None)))
    }
}
