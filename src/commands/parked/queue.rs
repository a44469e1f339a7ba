//! Reads the error queue: takes every message without an ack, shows it to a visitor, and requeues all that the visitor
//! leaves, in one step.
//!
//! Nobody else sees the messages that it holds, so a visitor must not wait for a person. It keeps no message, and does
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

/// Messages in memory at once; fewer when they are large. The steps are few and large: a quorum queue keeps the order
/// of requeued messages only in up to 32 steps of two or three consumers, which is up to 13,000 messages.
const CHUNK: u16 = 2500;
/// How a step grows, from one message to `CHUNK`.
const STEP_GROWTH: u16 = 4;
/// RabbitMQ closes the channel when a delivery stays unacknowledged for half an hour.
const LONGEST_READING: Duration = Duration::from_secs(900);
/// Longer than the last message takes. After it the connection is cut, and RabbitMQ requeues everything.
const SLACK: Duration = Duration::from_secs(300);

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays in the error queue.
    Stays,
    /// It is acknowledged, since it was replayed or discarded.
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
    /// No message may be held for longer; this many were not read.
    OutOfTime(u32),
}

/// Shows the messages now in the queue, at most `most`, to `visit`, which decides what becomes of each and whether to
/// go on.
///
/// # Errors
/// There is no error queue, the connection is gone, or `visit` failed: then its message stays.
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
    // The next reader must find what was requeued, so the end waits for it.
    let settled = Found { ready: found.ready.saturating_sub(reading.gone), ..found };
    drop((reading, deadline));
    let (requeued, closed) = connection.close_after(|connection| {
        let requeued =
            consumer.requeue_all().and_then(|()| queues::await_settled(connection, &[(queue.clone(), settled)]));
        drop(consumer);
        requeued
    });
    let end = end?;
    // Without a clean close the last acks may not have arrived.
    requeued.and(closed).context("the connection broke at the end; the last messages may still be parked, too")?;
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
        // The visitor may want only one, and every further message is requeued.
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
            // Messages that were not shown are left, too: their requeue counts as well.
            let unseen_left = deliveries.try_for_each(|delivery| self.leave(delivery));
            let end = end?;
            unseen_left?;
            if let Some(end) = end {
                return Ok(end);
            }
        }
        Ok(if self.stop.raised() { End::Interrupted } else { End::All })
    }

    /// Shows these deliveries. Returns why the reading ends, if it does.
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

    /// Leaves a message in the queue without showing it.
    fn leave(&mut self, Delivery { body, headers, sent, token, .. }: Delivery) -> anyhow::Result<()> {
        if !outgoing::wears_out(&headers) {
            self.consumer.leave(token);
            return Ok(());
        }
        let id = ParkedEntry::read(body.clone(), headers.clone(), sent).id;
        self.republish(id, body, headers, token)
    }

    /// Republishes a message that was requeued so often that a quorum queue would soon delete it.
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
