//! Takes deliveries with manual acks, and settles each one at most once, on the session it came from.

use std::time::Duration;

use amiquip::{Channel, Consumer, ConsumerMessage, ConsumerOptions, Delivery, FieldTable};
use anyhow::anyhow;
use crossbeam_channel::RecvTimeoutError;

use super::Trouble;
use super::connection::Connection;

/// When nothing has come for so long, a queue has no more to give.
const NO_MORE: Duration = Duration::from_secs(2);

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

/// A channel with manual acks.
pub struct Intake {
    channel: Channel,
    session: u64,
}

impl Intake {
    /// Opens a channel on which each consumer has at most `prefetch` unacknowledged deliveries. `session` differs from
    /// that of every earlier intake whose tokens may still be around.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn open(connection: &mut Connection, prefetch: u16, session: u64) -> amiquip::Result<Intake> {
        let channel = connection.channel()?;
        channel.qos(0, prefetch, false)?;
        Ok(Intake { channel, session })
    }

    /// Starts to consume. After its cancellation keep a clone of the consumer's receiver until its last message has come,
    /// or the channel is closed: in one of a hundred cases, and more often on a busy machine, the connection is killed
    /// otherwise.
    ///
    /// # Errors
    /// There is no such queue, we may not read it, or the connection is gone.
    pub fn consume(&self, queue: &str) -> amiquip::Result<Consumer<'_>> {
        self.channel.basic_consume(queue, ConsumerOptions::default())
    }

    /// Takes up to `most` messages that are in the queue and keeps them unacknowledged; fewer when the queue has fewer, or
    /// somebody else takes them. It consumes instead of getting one by one, which costs a round trip each.
    ///
    /// # Errors
    /// As [`Intake::consume`], or the consumer ended.
    pub fn take(&self, queue: &str, most: u16) -> anyhow::Result<Vec<Arrival>> {
        self.channel.qos(0, most, false).map_err(Trouble::from)?;
        let consumer = self.consume(queue).map_err(Trouble::from)?;
        let receiver = consumer.receiver().clone();
        let mut arrivals = Vec::with_capacity(most.into());
        while arrivals.len() < usize::from(most) {
            match receiver.recv_timeout(NO_MORE) {
                Ok(message) => arrivals.push(self.arrival(message)?),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("the connection to RabbitMQ is gone")),
            }
        }
        consumer.cancel().map_err(Trouble::from)?;
        // The receiver has to be there until the consumer's last message has come, see `consume`.
        while let Ok(message @ ConsumerMessage::Delivery(_)) = receiver.recv_timeout(NO_MORE) {
            arrivals.push(self.arrival(message)?);
        }
        Ok(arrivals)
    }

    /// The delivery in a consumer's message.
    ///
    /// # Errors
    /// The message says that the consumer has ended, and why: nothing will come any more.
    pub fn arrival(&self, message: ConsumerMessage) -> anyhow::Result<Arrival> {
        match message {
            ConsumerMessage::Delivery(mut delivery) => {
                let body = std::mem::take(&mut delivery.body);
                let headers = delivery.properties.headers().clone().unwrap_or_default();
                let (redelivered, sent) = (delivery.redelivered, *delivery.properties.timestamp());
                Ok(Arrival { body, headers, redelivered, sent, token: Token { session: self.session, delivery } })
            }
            ConsumerMessage::ServerCancelled => Err(anyhow!("the queue was deleted, or moved to another node")),
            ConsumerMessage::ServerClosedChannel(err) | ConsumerMessage::ServerClosedConnection(err) => {
                Err(anyhow!("{err}"))
            }
            ConsumerMessage::ClientCancelled
            | ConsumerMessage::ClientClosedChannel
            | ConsumerMessage::ClientClosedConnection => Err(anyhow!("the consumer was cancelled")),
        }
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
