//! Publishes mandatory, persistent and confirmed, many at a time, and says for each message whether the broker has it.
//!
//! A message that reaches no queue is confirmed all the same, after it was returned; here that counts as refused. What
//! follows from a confirm is the caller's business.

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
/// What a message is returned with that reaches no queue.
const NO_ROUTE: u16 = 312;
/// A broker that takes longer, and is not blocked by an alarm, is not going to confirm.
pub const CONFIRM_DEADLINE: Duration = Duration::from_secs(60);
/// So much may be on the way. amiquip takes an outgoing message at once while less than 16 MiB wait for the socket;
/// behind a broker that does not read, as in an alarm, whoever publishes more is held up.
const MOST_BYTES: usize = 8 << 20;

/// One message to publish through the default exchange.
#[derive(Clone, Debug)]
pub struct OutgoingMessage {
    /// The queue, which is the routing key as well.
    pub queue: String,
    /// Becomes `message_id`. No two outgoing messages under way to one queue share it: a returned message is known by
    /// it.
    pub message_id: String,
    /// The body.
    pub body: Vec<u8>,
    /// Short ones only: a header that does not fit a frame kills the connection.
    pub headers: Headers,
}

impl OutgoingMessage {
    /// An outgoing message without headers.
    pub fn new(queue: String, message_id: String, body: Vec<u8>) -> OutgoingMessage {
        OutgoingMessage { queue, message_id, body, headers: Headers::new() }
    }
}

/// The largest body that the broker takes, as its refusal of a larger one has told; it closes the channel with that.
#[derive(Debug)]
pub struct LargestBody(AtomicUsize);

impl Default for LargestBody {
    fn default() -> LargestBody {
        LargestBody(AtomicUsize::new(usize::MAX))
    }
}

impl LargestBody {
    /// In bytes; `usize::MAX` while nothing was refused for its size.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes the limit from what the broker said as it closed a channel; `true` when it is news.
    pub fn learn(&self, refusal: &str) -> bool {
        let Some((_, told)) = refusal.split_once("larger than configured max size ") else { return false };
        let digits = told.split(|character: char| !character.is_ascii_digit()).next().unwrap_or_default();
        digits.parse().is_ok_and(|most| self.0.swap(most, Ordering::Relaxed) != most)
    }
}

/// What became of an outgoing message.
#[derive(Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It is on the broker's disk, in its queue.
    Confirmed,
    /// There is no queue of its name; in the broker's words.
    NoQueue(String),
    /// Its queue has not taken it, and why.
    Refused(String),
}

/// A channel in confirm mode, and the outgoing messages on their way.
pub struct Publisher {
    channel: Channel,
    confirms: Receiver<Confirm>,
    returns: Receiver<Return>,
    last_tag: u64,
    unconfirmed: Unconfirmed,
}

/// Outgoing messages by their tags.
#[derive(Default)]
struct Unconfirmed {
    messages: BTreeMap<u64, UnconfirmedMessage>,
    /// Of all of them.
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

    /// Sends the outgoing message off and returns its tag, by which [`Publisher::outcomes`] names it.
    ///
    /// # Errors
    /// The channel is gone; throw the publisher away, since its tags no longer agree with the broker's.
    pub fn publish(&mut self, outgoing: &OutgoingMessage) -> Result<u64, ConnectionError> {
        self.publish_with(outgoing, AmqpProperties::default())
    }

    /// The same for a message whose receiver replies to this queue, with the message's id as the correlation id.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn publish_request(&mut self, outgoing: &OutgoingMessage, reply_to: &str) -> Result<u64, ConnectionError> {
        let reply = AmqpProperties::default().with_reply_to(reply_to.to_owned());
        self.publish_with(outgoing, reply.with_correlation_id(outgoing.message_id.clone()))
    }

    fn publish_with(&mut self, outgoing: &OutgoingMessage, own: AmqpProperties) -> Result<u64, ConnectionError> {
        // A clock before 1970 gives 0, which harms nobody: this time is for people to read.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let properties = own
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(outgoing.message_id.clone())
            .with_timestamp(since_1970.as_secs())
            .with_headers(outgoing.headers.table().clone());
        let mut publish = Publish::with_properties(&outgoing.body, outgoing.queue.clone(), properties);
        publish.mandatory = true;
        self.channel.basic_publish("", publish)?;
        self.last_tag += 1;
        let (queue, message_id) = (outgoing.queue.clone(), outgoing.message_id.clone());
        let (bytes, since) = (outgoing.body.len(), Instant::now());
        self.unconfirmed.add(self.last_tag, UnconfirmedMessage { queue, message_id, bytes, since, returned: None });
        Ok(self.last_tag)
    }

    /// For `select!`: what the broker says about published outgoing messages, to be given to [`Publisher::outcomes`].
    pub fn confirms(&self) -> &Receiver<Confirmation> {
        &self.confirms
    }

    /// What `confirm` says about the outgoing messages on the way; it may be about many.
    pub fn outcomes(&mut self, confirm: Confirmation) -> Vec<(u64, PublishOutcome)> {
        // A return reaches us before the confirm of its outgoing message, so all that matter are here by now.
        while let Ok(returned) = self.returns.try_recv() {
            self.note_return(&returned);
        }
        self.unconfirmed.settle(&confirm)
    }

    /// When the outgoing message that waits longest was sent.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.unconfirmed.messages.first_key_value().map(|(_, outgoing)| outgoing.since)
    }

    /// The broker did not read for a while, and reads again: from now on the outgoing messages wait again.
    pub fn restart_waits(&mut self) {
        self.unconfirmed.messages.values_mut().for_each(|outgoing| outgoing.since = Instant::now());
    }

    /// How many outgoing messages are on the way.
    pub fn unconfirmed(&self) -> usize {
        self.unconfirmed.messages.len()
    }

    /// So much is on the way that the next outgoing message should wait for a confirm.
    pub fn is_full(&self) -> bool {
        self.unconfirmed.bytes >= MOST_BYTES
    }

    /// Publishes one outgoing message and waits until the broker has it. For few outgoing messages: it costs a round
    /// trip each.
    ///
    /// # Errors
    /// The outgoing message is not known to be in its queue.
    pub fn deliver(&mut self, outgoing: &OutgoingMessage) -> anyhow::Result<()> {
        match self.try_deliver(outgoing)? {
            PublishOutcome::Confirmed => Ok(()),
            PublishOutcome::NoQueue(why) | PublishOutcome::Refused(why) => {
                bail!("{} did not take the message: {why}", outgoing.queue)
            }
        }
    }

    /// The same for a caller that goes on with other outgoing messages when this one is refused.
    ///
    /// # Errors
    /// It is not known whether the outgoing message is in its queue, and no other can be published.
    pub fn try_deliver(&mut self, outgoing: &OutgoingMessage) -> anyhow::Result<PublishOutcome> {
        let tag = self.publish(outgoing)?;
        loop {
            if let Some((_, outcome)) = self.next_outcomes()?.into_iter().find(|(of, _)| *of == tag) {
                return Ok(outcome);
            }
        }
    }

    /// Waits for the broker's next word.
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

    /// Why the channel is gone, once its confirms have ended: that is told to its next call only.
    pub fn why_gone(&self) -> ConnectionError {
        match self.channel.enable_publisher_confirms() {
            Err(err @ Error::ServerClosedChannel { .. }) => err.into(),
            // The whole connection is gone, which says why when it is closed.
            Err(_) | Ok(()) => ConnectionError::new("the publishing channel is gone"),
        }
    }

    fn note_return(&mut self, returned: &Return) {
        let message_id = returned.properties.message_id().as_ref();
        let outgoing = self
            .unconfirmed
            .messages
            .values_mut()
            .filter(|outgoing| outgoing.returned.is_none())
            .find(|outgoing| outgoing.queue == returned.routing_key && Some(&outgoing.message_id) == message_id);
        match outgoing {
            Some(outgoing) => outgoing.returned = Some(reason(returned.reply_code, &returned.reply_text)),
            None => log::error!("RabbitMQ returned a message that was not on its way to {}", returned.routing_key),
        }
    }
}

/// Why an outgoing message was returned.
fn reason(code: u16, text: &str) -> PublishOutcome {
    let why = format!("{code} {text}");
    if code == NO_ROUTE { PublishOutcome::NoQueue(why) } else { PublishOutcome::Refused(why) }
}

impl Unconfirmed {
    fn add(&mut self, tag: u64, outgoing: UnconfirmedMessage) {
        self.bytes += outgoing.bytes;
        self.messages.insert(tag, outgoing);
    }

    /// The outgoing messages that `confirm` settles, and how. amiquip's own `ConfirmSmoother` would take an outgoing
    /// message for confirmed that was refused out of turn, as soon as a later one is confirmed together with all before
    /// it.
    fn settle(&mut self, confirm: &Confirm) -> Vec<(u64, PublishOutcome)> {
        let (ConfirmPayload { delivery_tag, multiple }, taken) = match confirm {
            Confirm::Ack(payload) => (payload, true),
            Confirm::Nack(payload) => (payload, false),
        };
        let first = if *multiple { 0 } else { *delivery_tag };
        let tags: Vec<u64> = self.messages.range(first..=*delivery_tag).map(|(tag, _)| *tag).collect();
        let outcome = |outgoing: UnconfirmedMessage| match outgoing.returned {
            Some(refused) => refused,
            None if taken => PublishOutcome::Confirmed,
            None => PublishOutcome::Refused("the queue refuses messages (it is full, or in trouble)".into()),
        };
        let settled = tags.into_iter().filter_map(|tag| Some((tag, self.messages.remove(&tag)?)));
        settled
            .map(|(tag, outgoing)| {
                self.bytes -= outgoing.bytes;
                (tag, outcome(outgoing))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unconfirmed(tags: &[u64]) -> Unconfirmed {
        let (queue, message_id, since) = (String::from("q"), String::from("m"), Instant::now());
        let outgoing = || UnconfirmedMessage {
            queue: queue.clone(),
            message_id: message_id.clone(),
            bytes: 10,
            since,
            returned: None,
        };
        let mut unconfirmed = Unconfirmed::default();
        tags.iter().for_each(|tag| unconfirmed.add(*tag, outgoing()));
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
    fn a_letter_refused_out_of_turn_stays_refused_when_all_before_a_later_one_are_confirmed() {
        let mut unconfirmed = unconfirmed(&[1, 2, 3, 4]);
        let refused = unconfirmed.settle(&Confirm::Nack(payload(2, false)));
        assert!(matches!(refused[..], [(2, PublishOutcome::Refused(_))]), "{refused:?}");
        let confirmed = unconfirmed.settle(&Confirm::Ack(payload(3, true)));
        assert_eq!(confirmed, [(1, PublishOutcome::Confirmed), (3, PublishOutcome::Confirmed)]);
        assert_eq!((unconfirmed.messages.keys().copied().collect(), unconfirmed.bytes), (vec![4], 10));
    }

    #[test]
    fn a_returned_letter_is_refused_although_it_is_confirmed() {
        let mut unconfirmed = unconfirmed(&[1]);
        unconfirmed.messages.values_mut().for_each(|outgoing| outgoing.returned = Some(reason(312, "NO_ROUTE")));
        let settled = unconfirmed.settle(&Confirm::Ack(payload(1, false)));
        assert_eq!(settled, [(1, PublishOutcome::NoQueue("312 NO_ROUTE".into()))]);
    }
}
