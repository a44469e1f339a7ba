//! Takes deliveries with manual acks, and settles each one at most once, on the session it came from.

use std::time::Duration;

use amiquip::{Channel, Consumer, ConsumerMessage, ConsumerOptions, Delivery, FieldTable};
use anyhow::anyhow;
use crossbeam_channel::RecvTimeoutError;

use super::connection::Connection;
use super::{Trouble, number_header};

/// When nothing has come for so long, a queue has no more to give.
const NO_MORE: Duration = Duration::from_secs(2);
/// Of the bodies in one step, if the next ones are as large as the last ones.
const STEP_BYTES: usize = 16 << 20;
const STEP_GROWTH: u16 = 4;
/// Set by quorum queues: how often a message was given back, be it on purpose or by a connection that broke.
pub const DELIVERY_COUNT: &str = "x-delivery-count";

/// A quorum queue of RabbitMQ 4 deletes a message that was given back more than 20 times. Whoever takes one that was given
/// back so often publishes it anew before anything else that may take long or fail.
pub const WORN_OUT: u32 = 15;

/// How often the message with these headers was given back; 0 in a queue that does not count.
pub fn times_returned(headers: &FieldTable) -> u32 {
    number_header(headers, DELIVERY_COUNT).and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

/// The right to acknowledge one delivery; used up by doing so.
///
/// It carries the number of its session: delivery tags start at 1 again after a reconnect, and a stale one would
/// acknowledge somebody else's message.
#[derive(Debug)]
pub struct Token {
    session: u64,
    delivery: Delivery,
}

/// A message as it arrived.
#[derive(Debug)]
pub struct Arrival {
    /// The body.
    pub body: Vec<u8>,
    /// The headers; what the broker could not read is silently absent.
    pub headers: FieldTable,
    /// It was delivered before, to us or to somebody else.
    pub redelivered: bool,
    /// When its sender says that it was sent, in seconds since 1970.
    pub sent: Option<u64>,
    /// To acknowledge it with.
    pub token: Token,
}

/// How many messages to take next: one at first, then ever more as long as they are small. All that is taken is in memory,
/// and has been given back once more if this process dies over it.
#[derive(Debug)]
pub struct Steps(u16);

impl Default for Steps {
    fn default() -> Steps {
        Steps(1)
    }
}

impl Steps {
    /// The next step, if there is room for so many.
    pub fn next(&self, room: u32) -> u16 {
        self.0.min(u16::try_from(room).unwrap_or(u16::MAX))
    }

    /// Learns from what the last step has brought.
    pub fn took(&mut self, arrivals: &[Arrival]) {
        let bytes: usize = arrivals.iter().map(|arrival| arrival.body.len()).sum();
        let fitting = STEP_BYTES * arrivals.len() / bytes.max(1);
        // Whoever had one of these before has died before it could publish it anew.
        let was_fatal = arrivals.iter().any(|arrival| times_returned(&arrival.headers) > WORN_OUT);
        let next = if was_fatal { 1 } else { self.0.saturating_mul(STEP_GROWTH) };
        self.0 = next.min(u16::try_from(fitting).unwrap_or(u16::MAX)).max(1);
    }
}

/// A channel with manual acks.
pub struct Intake {
    channel: Channel,
    session: u64,
}

impl Intake {
    /// Opens a channel. `session` differs from that of every earlier intake whose tokens may still be around.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn open(connection: &mut Connection, session: u64) -> amiquip::Result<Intake> {
        Ok(Intake { channel: connection.channel()?, session })
    }

    /// The message that the queue would deliver next, if it has any.
    ///
    /// # Errors
    /// There is no such queue, we may not read it, it gives nothing but to its one active consumer (405), or the connection
    /// is gone.
    pub fn first(&self, queue: &str) -> amiquip::Result<Option<Arrival>> {
        Ok(self.channel.basic_get(queue, false)?.map(|get| self.arrived(get.delivery)))
    }

    /// Starts to consume, with at most `prefetch` unacknowledged deliveries. After its cancellation keep a clone of the
    /// consumer's receiver until its last message has come, or the channel is closed: in one of a hundred cases, and more
    /// often on a busy machine, the connection is killed otherwise.
    ///
    /// # Errors
    /// There is no such queue, we may not read it, or the connection is gone.
    pub fn consume(&self, queue: &str, prefetch: u16) -> amiquip::Result<Consumer<'_>> {
        // It concerns the consumers that begin after it.
        self.channel.qos(0, prefetch, false)?;
        self.channel.basic_consume(queue, ConsumerOptions::default())
    }

    /// Ends a consumer, and returns what has come to it meanwhile and was not received.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn end(&self, consumer: Consumer) -> anyhow::Result<Vec<Arrival>> {
        let receiver = consumer.receiver().clone();
        consumer.cancel().map_err(Trouble::from)?;
        let mut arrivals = Vec::new();
        // The receiver has to be there until the consumer's last message has come, see `consume`.
        while let Ok(message @ ConsumerMessage::Delivery(_)) = receiver.recv_timeout(NO_MORE) {
            arrivals.push(self.arrival(message)?);
        }
        Ok(arrivals)
    }

    /// Takes up to `most` messages that are in the queue and keeps them unacknowledged; fewer when the queue has fewer, or
    /// somebody else takes them. It consumes instead of getting one by one, which costs a round trip each.
    ///
    /// # Errors
    /// As [`Intake::consume`], or the consumer ended.
    pub fn take(&self, queue: &str, most: u16) -> anyhow::Result<Vec<Arrival>> {
        let consumer = self.consume(queue, most).map_err(Trouble::from)?;
        let receiver = consumer.receiver().clone();
        let mut arrivals = Vec::with_capacity(most.into());
        while arrivals.len() < usize::from(most) {
            match receiver.recv_timeout(NO_MORE) {
                Ok(message) => arrivals.push(self.arrival(message)?),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("the connection to RabbitMQ is gone")),
            }
        }
        arrivals.extend(self.end(consumer)?);
        Ok(arrivals)
    }

    /// The delivery in a consumer's message.
    ///
    /// # Errors
    /// The message says that the consumer has ended, and why: nothing will come any more.
    pub fn arrival(&self, message: ConsumerMessage) -> anyhow::Result<Arrival> {
        match message {
            ConsumerMessage::Delivery(delivery) => Ok(self.arrived(delivery)),
            ConsumerMessage::ServerCancelled => Err(anyhow!("the queue was deleted, or moved to another node")),
            ConsumerMessage::ServerClosedChannel(err) | ConsumerMessage::ServerClosedConnection(err) => {
                Err(anyhow!("{err}"))
            }
            ConsumerMessage::ClientCancelled
            | ConsumerMessage::ClientClosedChannel
            | ConsumerMessage::ClientClosedConnection => Err(anyhow!("the consumer was cancelled")),
        }
    }

    fn arrived(&self, mut delivery: Delivery) -> Arrival {
        let body = std::mem::take(&mut delivery.body);
        let headers = delivery.properties.headers().clone().unwrap_or_default();
        let (redelivered, sent) = (delivery.redelivered, *delivery.properties.timestamp());
        Arrival { body, headers, redelivered, sent, token: Token { session: self.session, delivery } }
    }

    /// Acknowledges the delivery, unless it came from an earlier session: then the broker has taken it back already.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn ack(&self, token: Token) -> amiquip::Result<()> {
        if token.session == self.session { token.delivery.ack(&self.channel) } else { Ok(()) }
    }

    /// Gives all that is unacknowledged on this channel back to its queue, in one step.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn give_back(&self) -> amiquip::Result<()> {
        self.channel.nack_all(true)
    }

    /// The channel, for what concerns neither deliveries nor acks.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}
