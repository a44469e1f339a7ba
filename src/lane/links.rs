//! The two connections of a session with RabbitMQ and their channels. Only this file knows the order in which they are
//! opened, and the order in which they can be closed without hanging.
//!
//! It does not know messages.

use std::time::Duration;

use crossbeam_channel::Receiver;

use super::{Lane, rights};
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::consumer::{Consumer, Delivery, FIRST};
use crate::rabbitmq::publisher::Publisher;
use crate::rabbitmq::queues::{self, Found};
use crate::rabbitmq::{ConnectionError, Notice};

/// For the first message of each queue, which says how often the messages were requeued: its body may be large and the
/// link slow.
const FIRST_DEADLINE: Duration = Duration::from_secs(600);

/// The connections of a session.
pub(super) struct Links {
    consuming: Connection,
    consumer: Option<Consumer>,
    /// The consumer's queues, and how many others consume from them.
    others: Vec<(String, Found)>,
    /// A connection of its own: an alarm at the broker freezes a connection that publishes, with its acks.
    publishing: Connection,
    publisher: Option<Publisher>,
}

/// What a session works with.
pub(super) struct Channels<'l> {
    pub(super) consuming: &'l Connection,
    pub(super) consumer: &'l Consumer,
    pub(super) publisher: &'l mut Publisher,
    /// Tells of alarms.
    pub(super) blocked: Receiver<Notice>,
    /// The first message of each queue; `None` in an alarm, when nothing is taken.
    pub(super) first: Option<Vec<Delivery>>,
}

impl Links {
    /// Connects.
    pub(super) fn open(lane: &Lane) -> Result<Links, ConnectionError> {
        let connect = |what| Connection::open(&lane.config.rabbitmq, &format!("task-creator {}: {what}", lane.name));
        let (consuming, publishing) = (connect("consume")?, connect("publish")?);
        Ok(Links { consuming, consumer: None, others: Vec::new(), publishing, publisher: None })
    }

    /// Opens the channels of session `number`. Afterwards all queues exist and all rights are checked.
    pub(super) fn channels(&mut self, lane: &Lane, number: u64) -> Result<Channels<'_>, ConnectionError> {
        let slot = &mut self.publisher;
        let (blocked, publisher) = self.publishing.within_deadline(|publishing| {
            let blocked = publishing.blocked()?;
            let publisher = slot.insert(Publisher::open(publishing)?);
            // What cannot be recorded must not be created.
            crate::rabbitmq::rights::may_write(publisher)?;
            Ok::<_, ConnectionError>((blocked, publisher))
        })?;
        let queues = &lane.queues;
        let names = [&queues.input, &queues.sent, &queues.retry, &queues.errors, &queues.responses];
        let inputs = [queues.input.as_str(), queues.retry.as_str()];
        self.others = self.consuming.within_deadline(|consuming| {
            queues::ensure(consuming, &names.map(String::as_str))?;
            rights::follow(consuming, queues)?;
            queues::others(consuming, &inputs)
        })?;
        // An alarm that exists already is known by now.
        let (consumer, first) = match blocked.is_empty() {
            true => {
                let _deadline = self.consuming.at_most(FIRST_DEADLINE);
                let (consumer, first) = Consumer::open_with_first(&mut self.consuming, &inputs, FIRST, number)?;
                (consumer, Some(first))
            }
            false => (self.consuming.within_deadline(|consuming| Consumer::open(consuming, FIRST, number))?, None),
        };
        Ok(Channels { consuming: &self.consuming, consumer: self.consumer.insert(consumer), publisher, blocked, first })
    }

    /// Closes all. Returns why a connection was dead already, which is not known before.
    pub(super) fn close(mut self) -> Option<String> {
        if let Some(consumer) = &self.consumer {
            let _deadline = self.consuming.closing();
            // It fails where the connection is gone, and then there is nothing to wait for.
            let _ = consumer.requeue_all().and_then(|()| queues::await_settled(&mut self.consuming, &self.others));
        }
        // The consuming connection first, which requeues: an alarm may hold up the other one.
        let consuming = self.consuming.close_with(self.consumer);
        let publishing = self.publishing.close_with(self.publisher);
        consuming.or(publishing)
    }
}
