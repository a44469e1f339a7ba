//! Reading the error queue and leaving it as it is: every message is taken unacknowledged, shown to a visitor, and all
//! that the visitor leaves are requeued in one step.
//!
//! While it reads nobody else sees what it holds, so a visitor does not wait for a person. It keeps no message. It does
//! not know what the messages are for.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::entry::ParkedEntry;
use crate::config::Config;
use crate::lane::outgoing;
use crate::rabbitmq::Headers;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::consumer::{AckToken, Consumer, Delivery};
use crate::rabbitmq::publisher::Publisher;
use crate::rabbitmq::queues::{self, Found};
use crate::stop::Stop;

/// Messages in memory at once; fewer when they are large. In few and large steps, since a quorum queue puts what is
/// given back in more than 32 of them, each by two or three consumers, in an order of its own: that is from 13,000
/// messages on.
const CHUNK: u16 = 2500;
/// From one message at once to `CHUNK`.
const STEP_GROWTH: u16 = 4;
/// RabbitMQ takes back what is unacknowledged for half an hour, with an error for the whole channel.
const LONGEST_READING: Duration = Duration::from_secs(900);
/// Longer than the last message of a reading takes; past it the connection is cut, and everything goes back.
const SLACK: Duration = Duration::from_secs(300);

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes back to its place.
    Stays,
    /// It is acknowledged: it lives on elsewhere, or somebody wants it gone.
    Leaves,
}

/// Why a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every message was read that was there when it started.
    All,
    /// The visitor has seen enough.
    Enough,
    /// Ctrl+C.
    Interrupted,
    /// Nothing may be held for longer; so many messages have not been read.
    OutOfTime(u32),
}

/// Shows the messages that are in the queue now, `most` of them at most, to `visit`, which says what becomes of each
/// and whether it wants another.
///
/// # Errors
/// There is no error queue, the connection is gone, or `visit` failed: then the message in hand stays.
pub fn read(
    config: &Config,
    stop: &Stop,
    most: u32,
    mut visit: impl FnMut(ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>>,
) -> anyhow::Result<End> {
    let queue = &config.error_queue;
    let mut connection = Connection::open(&config.rabbitmq, "task-creator: parked")?;
    let opened = connection.within_deadline(|connection| match queues::look(connection, queue)? {
        Some(found) => Consumer::open(connection, 1, 0).map(|consumer| Some((consumer, found))),
        None => Ok(None),
    });
    let Some((consumer, found)) = opened? else {
        bail!(
            "there is no queue {queue} in virtual host {}; the worker and the bridge declare it",
            config.rabbitmq.vhost
        );
    };
    let mut reading = Reading { config, stop, consumer: &consumer, gone: 0, republishing: None };
    let deadline = connection.at_most(LONGEST_READING + SLACK);
    let end = reading.all(found.ready.min(most), &mut visit);
    // Whoever reads next looks for what was requeued.
    let settled = Found { ready: found.ready.saturating_sub(reading.gone), ..found };
    drop((reading, deadline));
    let (requeued, closed) = connection.close_after(|connection| {
        let requeued =
            consumer.requeue_all().and_then(|()| queues::await_settled(connection, &[(queue.clone(), settled)]));
        drop(consumer);
        requeued
    });
    let end = end?;
    // Without an orderly end the last acknowledgements may not have arrived.
    requeued.and(closed).context("the connection broke at the end; what was done last may still be parked, too")?;
    Ok(end)
}

struct Reading<'a> {
    config: &'a Config,
    stop: &'a Stop,
    consumer: &'a Consumer,
    /// How many have left the queue.
    gone: u32,
    /// Opened when a message has to be republished.
    republishing: Option<(Publisher, Connection)>,
}

impl Reading<'_> {
    fn all(
        &mut self,
        messages: u32,
        visit: &mut impl FnMut(ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>>,
    ) -> anyhow::Result<End> {
        let started = Instant::now();
        // A visitor may want one only, and each one more is requeued.
        let (mut left, mut step) = (messages, 1);
        while left > 0 {
            let most = u16::try_from(left).unwrap_or(step).min(step);
            let deliveries = self.consumer.take(&self.config.error_queue, most)?;
            step = (step * STEP_GROWTH).min(CHUNK);
            if deliveries.is_empty() {
                // Somebody else has taken the rest.
                break;
            }
            let mut deliveries = deliveries.into_iter();
            let end = self.show_some(&mut deliveries, &mut left, started, visit);
            // What nobody has seen goes back as well, and is counted for it.
            let unseen_left = deliveries.try_for_each(|delivery| self.leave(delivery));
            let end = end?;
            unseen_left?;
            if let Some(end) = end {
                return Ok(end);
            }
        }
        Ok(if self.stop.raised() { End::Interrupted } else { End::All })
    }

    /// Shows what has arrived, until one of them is the last.
    fn show_some(
        &mut self,
        deliveries: &mut impl ExactSizeIterator<Item = Delivery>,
        left: &mut u32,
        started: Instant,
        visit: &mut impl FnMut(ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>>,
    ) -> anyhow::Result<Option<End>> {
        while deliveries.len() > 0 {
            if self.stop.raised() {
                return Ok(Some(End::Interrupted));
            }
            if started.elapsed() > LONGEST_READING {
                return Ok(Some(End::OutOfTime(*left)));
            }
            let Some(delivery) = deliveries.next() else { break };
            *left = left.saturating_sub(1);
            if self.show(delivery, visit)?.is_break() {
                return Ok(Some(if self.stop.raised() { End::Interrupted } else { End::Enough }));
            }
        }
        Ok(None)
    }

    fn show(
        &mut self,
        Delivery { body, headers, sent, token, .. }: Delivery,
        visit: &mut impl FnMut(ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>>,
    ) -> anyhow::Result<ControlFlow<()>> {
        let kept = outgoing::wears_out(&headers).then(|| (body.clone(), headers.clone()));
        let entry = ParkedEntry::read(body, headers, sent);
        let id = entry.id.clone();
        let decided = visit(entry);
        let fate = match decided {
            Ok(ControlFlow::Continue(fate) | ControlFlow::Break(fate)) => fate,
            Err(_) => Fate::Stays,
        };
        match (fate, kept) {
            (Fate::Leaves, _) => {
                self.consumer.ack(token)?;
                self.gone += 1;
            }
            (Fate::Stays, Some((body, headers))) => self.republish(id, body, headers, token)?,
            (Fate::Stays, None) => self.consumer.leave(token),
        }
        Ok(if decided?.is_break() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Leaves a message where it is, without showing it.
    fn leave(&mut self, Delivery { body, headers, sent, token, .. }: Delivery) -> anyhow::Result<()> {
        if !outgoing::wears_out(&headers) {
            self.consumer.leave(token);
            return Ok(());
        }
        let id = ParkedEntry::read(body.clone(), headers.clone(), sent).id;
        self.republish(id, body, headers, token)
    }

    /// Publishes a message again that was requeued so often that a quorum queue is about to delete it.
    fn republish(&mut self, id: String, body: Vec<u8>, headers: Headers, token: AckToken) -> anyhow::Result<()> {
        if self.republishing.is_none() {
            let mut connection = Connection::open(&self.config.rabbitmq, "task-creator: parked, again")?;
            let publisher = connection.within_deadline(Publisher::open)?;
            self.republishing = Some((publisher, connection));
        }
        let Some((publisher, _)) = &mut self.republishing else { return Ok(()) };
        publisher.deliver(&outgoing::republished(&self.config.error_queue, id, body, headers))?;
        self.consumer.ack(token)?;
        Ok(())
    }
}
