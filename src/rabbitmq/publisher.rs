//! Publishes messages mandatory, persistent and with confirms, many at a time, and reports the outcome for each.
//!
//! The broker confirms also a message that reaches no queue, after it has returned it; here that counts as refused. The
//! caller decides what follows from an outcome.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use amiquip::{AmqpProperties, Channel, Confirm, ConfirmPayload, Error, Publish, Return};
use anyhow::bail;
use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::connection::Connection;
use super::{Confirmation, ConnectionError, Headers};

/// Delivery mode 2: kept on disk.
const PERSISTENT: u8 = 2;
/// The reply code of a message that is returned because it reaches no queue.
const NO_ROUTE: u16 = 312;
/// A broker that takes longer, without an alarm, will not confirm any more.
pub const CONFIRM_DEADLINE: Duration = Duration::from_secs(60);
/// So many bytes may be unconfirmed. amiquip accepts messages at once while less than 16 MiB wait for the socket; after
/// that publishing blocks when the broker does not read, as in an alarm.
const MOST_BYTES: usize = 8 << 20;

/// One message to publish through the default exchange.
#[derive(Clone, Debug)]
pub struct OutgoingMessage {
    /// The queue, which is the routing key as well.
    pub queue: String,
    /// Becomes `message_id`. Unconfirmed messages to the same queue must differ in it: a returned message is identified
    /// by it.
    pub message_id: String,
    /// The body.
    pub body: Vec<u8>,
    /// The headers, short ones only: headers that do not fit into a frame kill the connection.
    pub headers: Headers,
}

impl OutgoingMessage {
    /// An outgoing message without headers.
    pub fn new(queue: String, message_id: String, body: Vec<u8>) -> OutgoingMessage {
        OutgoingMessage { queue, message_id, body, headers: Headers::new() }
    }
}

/// The largest body that the broker takes. It is learnt when the broker closes a channel because of a larger one.
#[derive(Debug)]
pub struct LargestBody(AtomicUsize);

impl Default for LargestBody {
    fn default() -> LargestBody {
        LargestBody(AtomicUsize::new(usize::MAX))
    }
}

impl LargestBody {
    /// In bytes; `usize::MAX` while no message was refused for its size.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes the limit from the text with which the broker closed a channel; `true` when it is new.
    pub fn learn(&self, refusal: &str) -> bool {
        let Some((_, told)) = refusal.split_once("larger than configured max size ") else { return false };
        let digits = told.split(|character: char| !character.is_ascii_digit()).next().unwrap_or_default();
        digits.parse().is_ok_and(|most| self.0.swap(most, Ordering::Relaxed) != most)
    }
}

/// The outcome of a publish.
#[derive(Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It is on the broker's disk, in its queue.
    Confirmed,
    /// There is no queue of this name, with the broker's text.
    NoQueue(String),
    /// The queue has not taken it, with the reason.
    Refused(String),
}

/// A channel in confirm mode, and its unconfirmed messages.
pub struct Publisher {
    channel: Channel,
    confirms: Receiver<Confirm>,
    returns: Receiver<Return>,
    last_tag: u64,
    unconfirmed: Unconfirmed,
}

/// Unconfirmed messages by their tags.
#[derive(Default)]
struct Unconfirmed {
    messages: BTreeMap<u64, UnconfirmedMessage>,
    /// The bytes of all bodies.
    bytes: usize,
}

struct UnconfirmedMessage {
    queue: String,
    message_id: String,
    bytes: usize,
    since: Instant,
    returned: Option<PublishOutcome>,
}

impl Publisher {
    /// Opens a channel in confirm mode.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn open(connection: &mut Connection) -> Result<Publisher, ConnectionError> {
        let channel = connection.channel()?;
        let returns = channel.listen_for_returns()?;
        let confirms = channel.listen_for_publisher_confirms()?;
        channel.enable_publisher_confirms()?;
        Ok(Publisher { channel, confirms, returns, last_tag: 0, unconfirmed: Unconfirmed::default() })
    }

    /// Publishes the message and returns its tag, which [`Publisher::outcomes`] reports.
    ///
    /// # Errors
    /// The channel is gone. Drop the publisher: its tags no longer agree with the broker's.
    pub fn publish(&mut self, message: &OutgoingMessage) -> Result<u64, ConnectionError> {
        self.publish_with(message, AmqpProperties::default())
    }

    /// The same for a message whose receiver replies to this queue, with the message's id as the correlation id.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn publish_request(&mut self, message: &OutgoingMessage, reply_to: &str) -> Result<u64, ConnectionError> {
        let reply = AmqpProperties::default().with_reply_to(reply_to.to_owned());
        self.publish_with(message, reply.with_correlation_id(message.message_id.clone()))
    }

    fn publish_with(&mut self, message: &OutgoingMessage, own: AmqpProperties) -> Result<u64, ConnectionError> {
        // A clock before 1970 gives 0. That does no harm: this time is for people.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let properties = own
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(message.message_id.clone())
            .with_timestamp(since_1970.as_secs())
            .with_headers(message.headers.table().clone());
        let mut publish = Publish::with_properties(&message.body, message.queue.clone(), properties);
        publish.mandatory = true;
        self.channel.basic_publish("", publish)?;
        self.last_tag += 1;
        let (queue, message_id) = (message.queue.clone(), message.message_id.clone());
        let (bytes, since) = (message.body.len(), Instant::now());
        self.unconfirmed.add(self.last_tag, UnconfirmedMessage { queue, message_id, bytes, since, returned: None });
        Ok(self.last_tag)
    }

    /// For `select!`: the confirms, to be given to [`Publisher::outcomes`].
    pub fn confirms(&self) -> &Receiver<Confirmation> {
        &self.confirms
    }

    /// The outcomes that `confirm` reports; it may be about many messages.
    pub fn outcomes(&mut self, confirm: Confirmation) -> Vec<(u64, PublishOutcome)> {
        // A return comes before the confirm of the same message, so all that matter are here by now.
        while let Ok(returned) = self.returns.try_recv() {
            self.note_return(&returned);
        }
        self.unconfirmed.settle(&confirm)
    }

    /// When the oldest unconfirmed message was published.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.unconfirmed.messages.first_key_value().map(|(_, message)| message.since)
    }

    /// The broker reads again after an alarm: the waits for confirms start from now.
    pub fn restart_waits(&mut self) {
        self.unconfirmed.messages.values_mut().for_each(|message| message.since = Instant::now());
    }

    /// How many messages are unconfirmed.
    pub fn unconfirmed(&self) -> usize {
        self.unconfirmed.messages.len()
    }

    /// Is so much unconfirmed that the next message should wait for a confirm?
    pub fn is_full(&self) -> bool {
        self.unconfirmed.bytes >= MOST_BYTES
    }

    /// Publishes one message and waits for its confirm. For few messages: each costs a round trip.
    ///
    /// # Errors
    /// The message is not known to be in its queue.
    pub fn deliver(&mut self, message: &OutgoingMessage) -> anyhow::Result<()> {
        match self.try_deliver(message)? {
            PublishOutcome::Confirmed => Ok(()),
            PublishOutcome::NoQueue(why) | PublishOutcome::Refused(why) => {
                bail!("{} did not take the message: {why}", message.queue)
            }
        }
    }

    /// The same for a caller that goes on with other messages when this one is refused.
    ///
    /// # Errors
    /// It is not known whether the message is in its queue, and no other can be published.
    pub fn try_deliver(&mut self, message: &OutgoingMessage) -> anyhow::Result<PublishOutcome> {
        let tag = self.publish(message)?;
        loop {
            if let Some((_, outcome)) = self.next_outcomes()?.into_iter().find(|(of, _)| *of == tag) {
                return Ok(outcome);
            }
        }
    }

    /// Waits for the next confirm.
    ///
    /// # Errors
    /// None came within [`CONFIRM_DEADLINE`], or the channel is gone.
    pub fn next_outcomes(&mut self) -> anyhow::Result<Vec<(u64, PublishOutcome)>> {
        match self.confirms.recv_timeout(CONFIRM_DEADLINE) {
            Ok(confirm) => Ok(self.outcomes(confirm)),
            Err(RecvTimeoutError::Timeout) => bail!("no confirm from RabbitMQ within {CONFIRM_DEADLINE:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("no confirm from RabbitMQ: {}", self.why_gone()),
        }
    }

    /// Why the channel is gone, once its confirms have ended: only the next call on it says so.
    pub fn why_gone(&self) -> ConnectionError {
        match self.channel.enable_publisher_confirms() {
            Err(err @ Error::ServerClosedChannel { .. }) => err.into(),
            // The whole connection is gone; closing it says why.
            Err(_) | Ok(()) => ConnectionError::new("the publishing channel is gone"),
        }
    }

    fn note_return(&mut self, returned: &Return) {
        let message_id = returned.properties.message_id().as_ref();
        let message = self
            .unconfirmed
            .messages
            .values_mut()
            .filter(|message| message.returned.is_none())
            .find(|message| message.queue == returned.routing_key && Some(&message.message_id) == message_id);
        match message {
            Some(message) => message.returned = Some(reason(returned.reply_code, &returned.reply_text)),
            None => log::error!("RabbitMQ returned a message that was not on its way to {}", returned.routing_key),
        }
    }
}

/// The outcome for a returned message.
fn reason(code: u16, text: &str) -> PublishOutcome {
    let why = format!("{code} {text}");
    if code == NO_ROUTE { PublishOutcome::NoQueue(why) } else { PublishOutcome::Refused(why) }
}

impl Unconfirmed {
    fn add(&mut self, tag: u64, message: UnconfirmedMessage) {
        self.bytes += message.bytes;
        self.messages.insert(tag, message);
    }

    /// The messages that `confirm` settles, with their outcomes. amiquip's own `ConfirmSmoother` would count a message
    /// that was refused out of order as confirmed, as soon as a later confirm with `multiple` comes.
    fn settle(&mut self, confirm: &Confirm) -> Vec<(u64, PublishOutcome)> {
        let (ConfirmPayload { delivery_tag, multiple }, taken) = match confirm {
            Confirm::Ack(payload) => (payload, true),
            Confirm::Nack(payload) => (payload, false),
        };
        let first = if *multiple { 0 } else { *delivery_tag };
        let tags: Vec<u64> = self.messages.range(first..=*delivery_tag).map(|(tag, _)| *tag).collect();
        let outcome = |message: UnconfirmedMessage| match message.returned {
            Some(refused) => refused,
            None if taken => PublishOutcome::Confirmed,
            None => PublishOutcome::Refused("the queue refuses messages (it is full, or not available)".into()),
        };
        let settled = tags.into_iter().filter_map(|tag| Some((tag, self.messages.remove(&tag)?)));
        settled
            .map(|(tag, message)| {
                self.bytes -= message.bytes;
                (tag, outcome(message))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unconfirmed(tags: &[u64]) -> Unconfirmed {
        let (queue, message_id, since) = (String::from("q"), String::from("m"), Instant::now());
        let message = || UnconfirmedMessage {
            queue: queue.clone(),
            message_id: message_id.clone(),
            bytes: 10,
            since,
            returned: None,
        };
        let mut unconfirmed = Unconfirmed::default();
        tags.iter().for_each(|tag| unconfirmed.add(*tag, message()));
        unconfirmed
    }

    #[test]
    fn the_largest_body_is_learnt_from_the_brokers_words() {
        let largest = LargestBody::default();
        assert!(
            !largest.learn("server closed channel 1 (code=406, message=PRECONDITION_FAILED - unknown delivery tag 7)")
        );
        assert_eq!(largest.bytes(), usize::MAX);
        let refusal = "PRECONDITION_FAILED - message size 16777300 is larger than configured max size 16777216)";
        assert!(largest.learn(refusal) && !largest.learn(refusal));
        assert_eq!(largest.bytes(), 16_777_216);
    }

    fn payload(delivery_tag: u64, multiple: bool) -> ConfirmPayload {
        ConfirmPayload { delivery_tag, multiple }
    }

    #[test]
    fn a_message_refused_out_of_order_stays_refused_when_a_later_confirm_covers_many() {
        let mut unconfirmed = unconfirmed(&[1, 2, 3, 4]);
        let refused = unconfirmed.settle(&Confirm::Nack(payload(2, false)));
        assert!(matches!(refused[..], [(2, PublishOutcome::Refused(_))]), "{refused:?}");
        let confirmed = unconfirmed.settle(&Confirm::Ack(payload(3, true)));
        assert_eq!(confirmed, [(1, PublishOutcome::Confirmed), (3, PublishOutcome::Confirmed)]);
        assert_eq!((unconfirmed.messages.keys().copied().collect(), unconfirmed.bytes), (vec![4], 10));
    }

    #[test]
    fn a_returned_message_is_refused_although_it_is_confirmed() {
        let mut unconfirmed = unconfirmed(&[1]);
        unconfirmed.messages.values_mut().for_each(|message| message.returned = Some(reason(312, "NO_ROUTE")));
        let settled = unconfirmed.settle(&Confirm::Ack(payload(1, false)));
        assert_eq!(settled, [(1, PublishOutcome::NoQueue("312 NO_ROUTE".into()))]);
    }
}
