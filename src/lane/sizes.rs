//! What is done with a letter that is larger than what RabbitMQ takes: it is shortened by rule, or what it is about is
//! parked; nobody waits behind it.
//!
//! RabbitMQ closes the channel of whoever publishes such a letter, and says its limit as it does; that is learnt once a
//! run. From then on such a letter is not sent, and a task whose record could not be published is not created. What may be
//! left out is said in [`shorten`](crate::message::shorten).

use std::time::{Duration, Instant};

use super::ledger::{Key, Next};
use super::session::Session;
use super::sweep::Sent;
use super::tracking::Tracking;
use super::{Job, Lane, letters};
use crate::message::{Cause, Original, Parked, document};
use crate::rabbitmq::publisher::Letter;

/// A letter that cannot be published in any form is looked at again this much later. Only a limit that was lowered while
/// its message lay in a queue leads to that.
const AGAIN: Duration = Duration::from_secs(60);

impl Lane<'_> {
    /// Takes a limit from what has ended a channel; `true` when it is news.
    pub(super) fn learn_largest(&self, ended: &str) -> bool {
        let news = self.largest.learn(ended);
        if news {
            log::warn!("RabbitMQ takes messages of up to {} bytes (max_message_size)", self.largest.bytes());
        }
        news
    }

    fn fitted(&self, letter: &Letter) -> Option<Letter> {
        let most = self.largest.bytes();
        let (shorter, left_out) = letters::fitted(letter, most)?;
        let Letter { queue, message_id, body, .. } = letter;
        log::warn!(
            "{} bytes are more than the {most} that RabbitMQ takes, left out for {queue}: {left_out}: task={message_id}",
            body.len()
        );
        Some(shorter)
    }

    fn too_large(&self, letter: &Letter) -> String {
        let (bytes, most) = (letter.body.len(), self.largest.bytes());
        format!("{bytes} bytes for {} are more than the {most} that RabbitMQ takes (max_message_size)", letter.queue)
    }
}

impl Session<'_, '_> {
    /// Parks a task that could not be recorded, instead of creating it.
    pub(super) fn park_too_large(&mut self, job: &Job) -> Letter {
        let most = self.lane.largest.bytes();
        let error = format!(
            "not created: its record would be larger than the {most} bytes that RabbitMQ takes (max_message_size), whatever is \
             left out of it"
        );
        self.parked_as_too_large(job.task.id.clone(), &error, &Original::Json(job.task.body.clone()))
    }

    /// The entry's letter is too large: it gets one that is not, or waits.
    pub(super) fn make_small_enough(&mut self, key: Key, letter: &Letter) {
        let lane = self.lane;
        if let Some(shorter) = lane.fitted(letter) {
            return self.work.ledger.replace_letter(key, shorter, None);
        }
        let target_id = self.work.ledger.recorded(&key).map(|(_, done)| done.target_id.clone());
        // By now the message is in its record only.
        let message = document::members(&letter.body).ok().and_then(|mut members| members.remove("original_message"));
        match target_id.zip(message) {
            Some((target_id, body)) => {
                let error = format!("created with the id {target_id}, and not recorded: {}", lane.too_large(letter));
                let parked = self.parked_as_too_large(letter.message_id.clone(), &error, &Original::Json(body));
                self.work.ledger.replace_letter(key, parked, Some(Next::Leave));
            }
            None => {
                log::error!("{}; trying again in {AGAIN:?}: task={}", lane.too_large(letter), letter.message_id);
                self.work.ledger.postpone_letter(key, Instant::now() + AGAIN);
            }
        }
    }

    fn parked_as_too_large(&self, id: String, error: &str, original: &Original) -> Letter {
        let (errors, cause) = (&self.lane.queues.errors, Cause::MessageTooLarge);
        log::error!("parking in {errors} as {}: task={id}: {error}", cause.name());
        self.count_parked();
        let source_queue = &self.lane.queues.input;
        let about = Parked { cause, error, system: self.lane.name, source_queue, attempts: 1 };
        letters::parked(self.lane, id, &about, original)
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
