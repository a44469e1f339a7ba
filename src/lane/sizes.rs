//! What is done with a letter that is larger than what RabbitMQ takes: it is shortened by rule, or what it is about is
//! parked; nobody waits behind it. This is the sweep's part and what it shares with the reader's, which is in
//! [`state`](super::state).
//!
//! RabbitMQ closes the channel of whoever publishes such a letter, and says its limit as it does; that is learnt once a
//! run. From then on such a letter is not sent, and a task whose record could not be published is not created. What may be
//! left out is said in [`shorten`](crate::message::shorten).

use super::sweep::Sent;
use super::tracking::Tracking;
use super::{Lane, letters};
use crate::message::{Cause, Original, Parked};
use crate::rabbitmq::publisher::Letter;

impl Lane<'_> {
    /// Takes a limit from what has ended a channel; `true` when it is news.
    pub(super) fn learn_largest(&self, ended: &str) -> bool {
        let news = self.largest.learn(ended);
        if news {
            log::warn!("RabbitMQ takes messages of up to {} bytes (max_message_size)", self.largest.bytes());
        }
        news
    }

    pub(super) fn fitted(&self, letter: &Letter) -> Option<Letter> {
        let most = self.largest.bytes();
        let (shorter, left_out) = letters::fitted(letter, most)?;
        let Letter { queue, message_id, body, .. } = letter;
        log::warn!(
            "{} bytes are more than the {most} that RabbitMQ takes, left out for {queue}: {left_out}: task={message_id}",
            body.len()
        );
        Some(shorter)
    }

    pub(super) fn too_large(&self, letter: &Letter) -> String {
        let (bytes, most) = (letter.body.len(), self.largest.bytes());
        format!("{bytes} bytes for {} are more than the {most} that RabbitMQ takes (max_message_size)", letter.queue)
    }
}

impl Tracking<'_, '_> {
    /// What is published instead of a letter that is too large, if there is anything; otherwise its record stays.
    pub(super) fn small_enough(&self, letter: &Letter, sent: Sent, record: &[u8]) -> Option<(Letter, Sent)> {
        let lane = self.lane;
        if let Some(shorter) = lane.fitted(letter) {
            return Some((shorter, sent));
        }
        let error = lane.too_large(letter);
        if matches!(sent, Sent::Parked) {
            log::error!("{error}; its record stays: task={}", letter.message_id);
            return None;
        }
        let (id, cause) = (letter.message_id.clone(), Cause::MessageTooLarge);
        log::error!("parking in {} as {}: task={id}: {error}", lane.queues.errors, cause.name());
        let about = Parked { cause, error: &error, system: lane.name, source_queue: &lane.queues.sent, attempts: 1 };
        let original = serde_json::from_slice(record).map_or_else(|_| Original::Bytes(record.to_vec()), Original::Json);
        let parked = letters::parked(lane, id, &about, &original);
        let parked = if parked.body.len() > lane.largest.bytes() { lane.fitted(&parked)? } else { parked };
        Some((parked, Sent::Parked))
    }
}
