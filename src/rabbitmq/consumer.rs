//! Takes deliveries with manual acks, and settles each at most once, on the session it came from. It does not know what
//! a message means.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use amiquip::{Channel, ConsumerMessage, ConsumerOptions, Error};
use anyhow::anyhow;
use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::connection::Connection;
use super::{ConnectionError, Headers, Incoming};

/// When nothing has come for this long, the queue is empty.
const NO_MORE: Duration = Duration::from_secs(2);
/// Set by quorum queues: how often a message was requeued, on purpose or because a connection broke.
pub const DELIVERY_COUNT: &str = "x-delivery-count";
/// A quorum queue of RabbitMQ 4 deletes a message that was requeued more than 20 times. A message that was requeued
/// this often is published again before anything that may take long or fail.
pub const WORN_OUT: u32 = 15;

/// How often the message with these headers was requeued; 0 in a queue that does not count.
pub fn times_requeued(headers: &Headers) -> u32 {
    headers.number(DELIVERY_COUNT).and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

/// The unsettled deliveries of a lane may have this many bytes. More may come before the prefetch is reduced.
pub const MOST_BYTES: usize = 64 << 20;
/// The most bytes of one [`Consumer::take`]: its caller holds them in more than one form.
const MOST_TAKEN: usize = MOST_BYTES / 2;
/// So many messages are taken before their size is known.
pub const FIRST: u16 = 8;
/// By which factor the next step may be larger than all before.
const GROWTH: usize = 8;

/// The right to acknowledge one delivery; acknowledging consumes it.
///
/// It carries the number of its session: delivery tags start at 1 again after a reconnect, and a stale tag would
/// acknowledge another message.
#[derive(Debug)]
pub struct AckToken {
    session: u64,
    delivery: amiquip::Delivery,
    /// Of the body, in bytes.
    size: usize,
    /// The number of its subscription.
    subscription: usize,
    /// The request that the message replies to, if it says so.
    correlation_id: Option<String>,
}

impl AckToken {
    /// The id of the request that its message replies to, if that says so.
    pub(super) fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }
}

/// A message as it arrived. `T` is its ack token.
#[derive(Debug)]
pub struct Delivery<T = AckToken> {
    /// The body.
    pub body: Vec<u8>,
    /// The headers; what the broker could not read is silently absent.
    pub headers: Headers,
    /// It was delivered before, to us or to another consumer.
    pub redelivered: bool,
    /// The time at which it was sent, as its sender says, in seconds since 1970.
    pub sent: Option<u64>,
    /// Its ack token.
    pub token: T,
}

/// A channel with manual acks.
pub struct Consumer {
    channel: Channel,
    session: u64,
    unsettled: Cell<Unsettled>,
    /// The number of subscriptions so far.
    subscriptions: Cell<usize>,
    /// The last delivery of each subscription that was left to `requeue_all`.
    left: RefCell<Vec<AckToken>>,
}

/// A subscription to a queue.
pub struct Subscription<'i>(amiquip::Consumer<'i>);

impl Subscription<'_> {
    /// For `select!`: the deliveries.
    pub fn receiver(&self) -> &Receiver<Incoming> {
        self.0.receiver()
    }

    /// Asks the broker to send no more, and waits for its answer; by then all deliveries on their way have come.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn cancel(&self) -> Result<(), ConnectionError> {
        Ok(self.0.cancel()?)
    }
}

/// The deliveries of a channel that have arrived and are not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// How many.
    pub count: usize,
    /// Their bodies, in bytes.
    pub bytes: usize,
}

impl Consumer {
    /// Opens a channel on which each subscription has at most `prefetch` unacknowledged deliveries. `session` must
    /// differ from that of every earlier consumer whose tokens may still exist.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn open(connection: &mut Connection, prefetch: u16, session: u64) -> Result<Consumer, ConnectionError> {
        let channel = connection.channel()?;
        channel.qos(0, prefetch, false)?;
        Ok(Consumer {
            channel,
            session,
            unsettled: Cell::default(),
            subscriptions: Cell::default(),
            left: RefCell::default(),
        })
    }

    /// The same, with the next message of each of these queues, if it has one. With no messages when a queue delivers
    /// only to its single active consumer.
    ///
    /// # Errors
    /// There is no such queue, we may not read it, or the connection is gone.
    pub fn open_with_first(
        connection: &mut Connection,
        queues: &[&str],
        prefetch: u16,
        session: u64,
    ) -> Result<(Consumer, Vec<Delivery>), ConnectionError> {
        let consumer = Consumer::open(connection, prefetch, session)?;
        let first = queues.iter().map(|queue| consumer.channel.basic_get(*queue, false));
        match first.collect::<Result<Vec<_>, _>>() {
            Ok(first) => {
                let first = first.into_iter().flatten().map(|get| consumer.arrived(get.delivery)).collect();
                Ok((consumer, first))
            }
            // The broker's answer has closed the channel.
            Err(Error::ServerClosedChannel { code: 405, .. }) => {
                Ok((Consumer::open(connection, prefetch, session)?, Vec::new()))
            }
            Err(err) => Err(err.into()),
        }
    }

    /// Starts to consume. End the subscription with [`Consumer::end`], or keep a clone of its receiver until the
    /// channel is closed. Otherwise amiquip kills the connection in one of a hundred cases, and more often on a busy
    /// machine.
    ///
    /// # Errors
    /// There is no such queue, we may not read it, or the connection is gone.
    pub fn consume(&self, queue: &str) -> Result<Subscription<'_>, ConnectionError> {
        self.subscriptions.update(|subscriptions| subscriptions + 1);
        Ok(Subscription(self.channel.basic_consume(queue, ConsumerOptions::default())?))
    }

    /// The same with another prefetch.
    ///
    /// # Errors
    /// As [`Consumer::consume`].
    pub fn consume_up_to(&self, queue: &str, prefetch: u16) -> Result<Subscription<'_>, ConnectionError> {
        self.channel.qos(0, prefetch, false)?;
        self.consume(queue)
    }

    /// Ends a subscription, and returns the deliveries that nobody has received yet.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn end(&self, subscription: &Subscription<'_>) -> Result<Vec<Incoming>, ConnectionError> {
        let receiver = subscription.receiver().clone();
        subscription.cancel()?;
        let mut rest = Vec::new();
        // The receiver has to exist until the last message has come, see `consume`.
        while let Ok(message @ ConsumerMessage::Delivery(_)) = receiver.recv_timeout(NO_MORE) {
            rest.push(message);
        }
        Ok(rest)
    }

    /// Takes up to `most` messages from the queue and leaves them unacknowledged. Fewer when they are large or worn
    /// out, when the queue has fewer, or when another consumer takes them; none when it is empty.
    ///
    /// # Errors
    /// As [`Consumer::consume`], or the consumer ended.
    pub fn take(&self, queue: &str, most: u16) -> anyhow::Result<Vec<Delivery>> {
        let mut deliveries: Vec<Delivery> = Vec::new();
        loop {
            let bytes = deliveries.iter().map(|delivery| delivery.body.len()).sum();
            let step = usize::from(most).saturating_sub(deliveries.len()).min(next_step(deliveries.len(), bytes));
            let more = self.take_next(queue, u16::try_from(step).unwrap_or(most))?;
            let no_more = more.len() < step;
            // A worker crashed before it could publish this message again: that comes first now.
            let was_fatal = more.iter().any(|delivery| times_requeued(&delivery.headers) > WORN_OUT);
            deliveries.extend(more);
            if step == 0 || no_more || was_fatal {
                return Ok(deliveries);
            }
        }
    }

    /// It consumes, since basic.get costs a round trip for each message.
    fn take_next(&self, queue: &str, most: u16) -> anyhow::Result<Vec<Delivery>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let subscription = self.consume_up_to(queue, most)?;
        let receiver = subscription.receiver().clone();
        let mut deliveries = Vec::with_capacity(most.into());
        while deliveries.len() < usize::from(most) {
            match receiver.recv_timeout(NO_MORE) {
                Ok(message) => deliveries.push(self.delivery(message)?),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("the connection to RabbitMQ is gone")),
            }
        }
        for message in self.end(&subscription)? {
            deliveries.push(self.delivery(message)?);
        }
        Ok(deliveries)
    }

    /// The delivery in a consumer's message.
    ///
    /// # Errors
    /// The message says that the subscription has ended, and why: nothing more will come.
    pub fn delivery(&self, message: Incoming) -> anyhow::Result<Delivery> {
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

    fn arrived(&self, mut delivery: amiquip::Delivery) -> Delivery {
        let body = std::mem::take(&mut delivery.body);
        // Headers may be large, and a token may live long.
        let properties = std::mem::take(&mut delivery.properties);
        let headers = Headers::of(properties.headers().clone().unwrap_or_default());
        let (redelivered, sent) = (delivery.redelivered, *properties.timestamp());
        let correlation_id = properties.correlation_id().clone();
        let (session, size, subscription) = (self.session, body.len(), self.subscriptions.get());
        let token = AckToken { session, size, subscription, correlation_id, delivery };
        self.unsettled.update(|Unsettled { count, bytes }| Unsettled { count: count + 1, bytes: bytes + token.size });
        Delivery { body, headers, redelivered, sent, token }
    }

    /// Acknowledges the delivery, unless it came from an earlier session: then the broker has requeued it already.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn ack(&self, token: AckToken) -> Result<(), ConnectionError> {
        if token.session != self.session {
            return Ok(());
        }
        self.unsettled.update(|Unsettled { count, bytes }| Unsettled {
            count: count.saturating_sub(1),
            bytes: bytes.saturating_sub(token.size),
        });
        Ok(token.delivery.ack(&self.channel)?)
    }

    /// Leaves the delivery to [`Consumer::requeue_all`]. To be called in the order in which the deliveries came.
    pub fn leave(&self, token: AckToken) {
        if token.session != self.session {
            return;
        }
        let mut left = self.left.borrow_mut();
        match left.last_mut() {
            Some(last) if last.subscription == token.subscription => *last = token,
            _ => left.push(token),
        }
    }

    /// The deliveries that are not acknowledged.
    pub fn unsettled(&self) -> Unsettled {
        self.unsettled.get()
    }

    /// Requeues all that is unacknowledged on this channel, the deliveries of [`Consumer::leave`] in the order in which
    /// they came.
    ///
    /// A classic queue puts each in its old place anyway. A quorum queue puts it behind all that was requeued before,
    /// from RabbitMQ 4 on in the order of the requests. Deliveries of several subscriptions that are requeued by one
    /// request come in random order.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn requeue_all(&self) -> Result<(), ConnectionError> {
        self.unsettled.take();
        for last in self.left.take() {
            last.delivery.nack_multiple(&self.channel, true)?;
        }
        Ok(self.channel.nack_all(true)?)
    }
}

/// How many more messages to take after `taken` messages with `bytes` bytes: 0 when one more would be too much.
fn next_step(taken: usize, bytes: usize) -> usize {
    match bytes.checked_div(taken) {
        None => FIRST.into(),
        Some(mean) => (MOST_TAKEN.saturating_sub(bytes) / mean.max(1)).min(taken * GROWTH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_while_messages_are_small_and_stop_when_no_more_fit() {
        assert_eq!([(0, 0), (8, 8 << 10), (72, 72 << 10)].map(|(taken, bytes)| next_step(taken, bytes)), [8, 64, 576]);
        let mib = |count: usize| count << 20;
        assert_eq!(
            [(8, mib(16)), (16, mib(32)), (8, mib(128))].map(|(taken, bytes)| next_step(taken, bytes)),
            [8, 0, 0]
        );
        assert_eq!(next_step(8, 0), 64);
    }
}
