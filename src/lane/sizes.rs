//! What is done with an outgoing message that is larger than what RabbitMQ takes: it is shortened by rule, or what it
//! is about is parked; nobody waits behind it. This is the sweep's part and what it shares with the reader's, which is
//! in [`state`](super::state).
//!
//! RabbitMQ closes the channel of whoever publishes such an outgoing message, and says its limit as it does; that is
//! learnt once a run. From then on such an outgoing message is not sent, and a task whose record could not be published
//! is not created. What may be left out is said in [`shorten`](crate::message::shorten).

use super::sweep::Sent;
use super::tracking::Tracking;
use super::{Lane, outgoing};
use crate::message::{Cause, Original, Parked};
use crate::rabbitmq::publisher::OutgoingMessage;

impl Lane<'_> {
    /// Takes a limit from what has ended a channel; `true` when it is news.
    pub(super) fn learn_largest(&self, ended: &str) -> bool {
        let news = self.largest.learn(ended);
        if news {
            log::warn!("RabbitMQ takes messages of up to {} bytes (max_message_size)", self.largest.bytes());
        }
        news
    }

    pub(super) fn fitted(&self, outgoing: &OutgoingMessage) -> Option<OutgoingMessage> {
        let most = self.largest.bytes();
        let (shorter, left_out) = outgoing::fitted(outgoing, most)?;
        let OutgoingMessage { queue, message_id, body, .. } = outgoing;
        log::warn!(
            "{} bytes are more than the {most} that RabbitMQ takes, left out for {queue}: {left_out}: task={message_id}",
            body.len()
        );
        Some(shorter)
    }

    pub(super) fn too_large(&self, outgoing: &OutgoingMessage) -> String {
        let (bytes, most) = (outgoing.body.len(), self.largest.bytes());
        format!("{bytes} bytes for {} are more than the {most} that RabbitMQ takes (max_message_size)", outgoing.queue)
    }
}

impl Tracking<'_, '_> {
    /// What is published instead of an outgoing message that is too large, if there is anything; otherwise its record
    /// stays.
    pub(super) fn small_enough(
        &self,
        outgoing: &OutgoingMessage,
        sent: Sent,
        record: &[u8],
    ) -> Option<(OutgoingMessage, Sent)> {
        let lane = self.lane;
        if let Some(shorter) = lane.fitted(outgoing) {
            return Some((shorter, sent));
        }
        let error = lane.too_large(outgoing);
        if matches!(sent, Sent::Parked(_)) {
            log::error!("{error}; its record stays: task={}", outgoing.message_id);
            return None;
        }
        let (id, cause) = (outgoing.message_id.clone(), Cause::MessageTooLarge);
        log::error!("parking in {} as {}: task={id}: {error}", lane.queues.errors, cause.name());
        let about = Parked { cause, error: &error, system: lane.name, source_queue: &lane.queues.sent, attempts: 1 };
        let original = serde_json::from_slice(record).map_or_else(|_| Original::Bytes(record.to_vec()), Original::Json);
        let parked = outgoing::parked(lane, id, &about, &original);
        let parked = if parked.body.len() > lane.largest.bytes() { lane.fitted(&parked)? } else { parked };
        Some((parked, Sent::Parked(None)))
    }
}
