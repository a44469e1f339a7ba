//! Brings deliveries to a session: one consumer for each of its two queues.
//!
//! The prefetch of a consumer cannot be changed, so the consumer is replaced. It does not know messages, and does not
//! decide how many there may be at once.

use crossbeam_channel::{Receiver, never};

use crate::queues::Queues;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::consumer::{Consumer, Subscription};
use crate::rabbitmq::{ConnectionError, Incoming};

/// The consumers of a session.
pub(super) struct Feeds<'i> {
    /// The connection that they use.
    connection: &'i Connection,
    /// Tasks from the bridge.
    pub(super) input: Feed<'i>,
    /// Messages that have failed before.
    pub(super) retry: Feed<'i>,
}

/// The consumer of one queue.
pub(super) struct Feed<'i> {
    consumer: &'i Consumer,
    /// Its queue.
    pub(super) queue: &'i str,
    subscription: Option<Subscription<'i>>,
    receiver: Receiver<Incoming>,
}

impl<'i> Feeds<'i> {
    /// For these queues; nothing is consumed yet.
    pub(super) fn new(connection: &'i Connection, consumer: &'i Consumer, queues: &'i Queues) -> Feeds<'i> {
        let feed = |queue| Feed { consumer, queue, subscription: None, receiver: never() };
        Feeds { connection, input: feed(&queues.input), retry: feed(&queues.retry) }
    }

    /// Consumes with this prefetch from now on. Returns the deliveries that the old consumers still got, each with its
    /// queue.
    pub(super) fn consume(&mut self, prefetch: u16) -> Result<Vec<(&'i str, Incoming)>, ConnectionError> {
        let mut rest = Vec::new();
        for feed in [&mut self.input, &mut self.retry] {
            rest.extend(feed.replace(prefetch)?.into_iter().map(|message| (feed.queue, message)));
        }
        Ok(rest)
    }

    /// From now on nothing is received; what the broker still sends is requeued when the session ends.
    pub(super) fn close(&mut self) {
        self.input.close();
        self.retry.close();
    }
}

impl Drop for Feeds<'_> {
    fn drop(&mut self) {
        let _deadline = self.connection.closing();
        self.close();
    }
}

impl<'i> Feed<'i> {
    /// For `select!`: what has come.
    pub(super) fn receiver(&self) -> &Receiver<Incoming> {
        &self.receiver
    }

    fn replace(&mut self, prefetch: u16) -> Result<Vec<Incoming>, ConnectionError> {
        let next = self.consumer.consume_up_to(self.queue, prefetch)?;
        self.receiver = next.receiver().clone();
        let last = self.subscription.replace(next);
        last.map_or(Ok(Vec::new()), |last| self.consumer.end(&last))
    }

    fn close(&mut self) {
        self.receiver = never();
        if let Some(subscription) = self.subscription.take() {
            // It fails where the connection is gone, and then nothing comes.
            let _ = self.consumer.end(&subscription);
        }
    }
}
