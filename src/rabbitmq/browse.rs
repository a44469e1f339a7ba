//! Reads the messages now in a queue without keeping them: takes them without an ack, shows each to a visitor, and
//! requeues all that the visitor leaves, in one step at the end.
//!
//! Nobody else sees the messages that it holds, so a visitor must not wait for a person. For the same reason it holds a
//! name meanwhile, which only one connection can: of two browses of a queue the second waits. A quorum queue counts
//! each requeue, so a queue is never browsed in a loop. It does not know what a queue or a message is for.

use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::connection::Connection;
use super::consumer::{AckToken, Consumer, Delivery, WORN_OUT, times_requeued};
use super::publisher::{OutgoingMessage, Publisher};
use super::queues::{self, Found};
use super::{Headers, RabbitMq};
use crate::stop::Stop;

/// Messages in memory at once; fewer when they are large. The steps are few and large: a quorum queue keeps the order
/// of requeued messages only in up to 32 steps of two or three consumers, which is up to 13,000 messages.
const CHUNK: u16 = 2500;
/// How a step grows, from one message to `CHUNK`.
const STEP_GROWTH: u16 = 4;
/// The longest time for which messages may be held: RabbitMQ closes the channel when a delivery stays unacknowledged
/// for half an hour.
pub const LONGEST: Duration = Duration::from_secs(900);
/// Longer than the last message takes. After it the connection is cut, and RabbitMQ requeues everything.
const SLACK: Duration = Duration::from_secs(300);

/// Which queue is read, and how far.
pub struct Browse<'a> {
    /// Where the queue is.
    pub broker: &'a RabbitMq,
    /// What RabbitMQ's own lists show.
    pub name: &'a str,
    /// The queue.
    pub queue: &'a str,
    /// The name that every browse of this queue holds.
    pub lock: &'a str,
    /// For how long somebody else's browse is waited for.
    pub patience: Duration,
    /// Messages at most.
    pub most: u32,
    /// For how long messages may be taken; never longer than [`LONGEST`].
    pub time: Duration,
    /// Makes the message that takes the place of one that was requeued so often that a quorum queue would soon delete
    /// it.
    pub republished: &'a dyn Fn(&str, Message) -> OutgoingMessage,
}

/// A message of the queue.
#[derive(Clone, Debug)]
pub struct Message {
    /// The body.
    pub body: Vec<u8>,
    /// The headers.
    pub headers: Headers,
    /// The time at which it was sent, as its sender says, in seconds since 1970.
    pub sent: Option<u64>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays in the queue.
    Stays,
    /// It is acknowledged.
    Leaves,
}

/// Why a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every message was read that was there when it started, or as many as were wanted.
    All,
    /// The visitor has seen enough.
    Enough,
    /// The stop signal.
    Interrupted,
    /// No message may be held for longer; this many were not read.
    OutOfTime(u32),
}

/// What a reading has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Browsed {
    /// Messages that were ready when it started. Those that somebody else holds do not count.
    pub found: u32,
    /// Messages that were shown.
    pub read: u32,
    /// Why it ended.
    pub end: End,
    /// No other browse held messages meanwhile; `false`: the name for it may not be held with our rights, so it is not
    /// known.
    pub alone: bool,
    /// How many consumers the queue had besides. They may hold messages.
    pub consumers: u32,
}

/// Somebody else browses the queue, and has not ended in time.
#[derive(Debug)]
pub struct Taken {
    queue: String,
    patience: Duration,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Taken { queue, patience } = self;
        write!(
            f,
            "somebody else reads {queue}, and has not ended within {patience:?}; try again in a moment. If its connection is \
             broken, RabbitMQ may notice that after some minutes"
        )
    }
}

impl std::error::Error for Taken {}

impl Browse<'_> {
    /// Shows the messages to `visit`, which keeps none and says whether to go on. `None`: there is no such queue.
    ///
    /// # Errors
    /// [`Taken`], or the connection is gone.
    pub fn look(
        &self,
        stop: &Stop,
        mut visit: impl FnMut(Message) -> ControlFlow<()>,
    ) -> anyhow::Result<Option<Browsed>> {
        self.read(stop, |message| match visit(message) {
            ControlFlow::Continue(()) => Ok(ControlFlow::Continue(Fate::Stays)),
            ControlFlow::Break(()) => Ok(ControlFlow::Break(Fate::Stays)),
        })
    }

    /// Shows the messages to `visit`, which decides what becomes of each and whether to go on. `None`: there is no such
    /// queue.
    ///
    /// # Errors
    /// [`Taken`], the connection is gone, or `visit` failed: then its message stays.
    pub fn read(
        &self,
        stop: &Stop,
        mut visit: impl FnMut(Message) -> anyhow::Result<ControlFlow<Fate, Fate>>,
    ) -> anyhow::Result<Option<Browsed>> {
        let mut connection = Connection::open(self.broker, self.name)?;
        let Some(alone) = self.take_name(&mut connection, stop)? else {
            let _ = connection.close();
            return match stop.raised() {
                true => Ok(Some(Browsed { found: 0, read: 0, end: End::Interrupted, alone: false, consumers: 0 })),
                false => Err(Taken { queue: self.queue.to_owned(), patience: self.patience }.into()),
            };
        };
        let opened = connection.within_deadline(|connection| match queues::look(connection, self.queue)? {
            Some(found) => Consumer::open(connection, 1, 0).map(|consumer| Some((consumer, found))),
            None => Ok(None),
        });
        let Some((consumer, found)) = opened? else { return Ok(None) };
        let left = found.ready.min(self.most);
        let mut reading =
            Reading { browse: self, stop, consumer: &consumer, left, read: 0, gone: 0, republishing: None };
        let deadline = connection.at_most(LONGEST + SLACK);
        let end = reading.all(&mut visit);
        let (read, gone) = (reading.read, reading.gone);
        // The next reader must find what was requeued, so the end waits for it.
        let settled = Found { ready: found.ready.saturating_sub(gone), ..found };
        drop((reading, deadline));
        let (requeued, closed) = connection.close_after(|connection| {
            let queue = self.queue.to_owned();
            let requeued = consumer.requeue_all().and_then(|()| queues::await_settled(connection, &[(queue, settled)]));
            drop(consumer);
            requeued
        });
        let end = end?;
        // Without a clean close the last acks may not have arrived.
        requeued.and(closed).context("the connection broke at the end; the last messages may still be there, too")?;
        Ok(Some(Browsed { found: found.ready, read, end, alone, consumers: found.consumers }))
    }

    /// The name is held until the connection ends; `None`: somebody else holds it. `false`: with our rights nobody can
    /// hold it.
    fn take_name(&self, connection: &mut Connection, stop: &Stop) -> anyhow::Result<Option<bool>> {
        match queues::lock_within(connection, self.lock, self.patience, stop) {
            Ok(taken) => Ok(taken.then_some(true)),
            Err(err) if err.refused => {
                log::debug!("{} may not be made, so another browse may hold messages: {err}", self.lock);
                Ok(Some(false))
            }
            Err(err) => Err(err.into()),
        }
    }
}

/// Shows the messages of one reading.
struct Reading<'a> {
    browse: &'a Browse<'a>,
    stop: &'a Stop,
    consumer: &'a Consumer,
    /// How many are still to be read.
    left: u32,
    /// How many were shown.
    read: u32,
    /// How many have left the queue.
    gone: u32,
    /// Opened when a message has to be republished.
    republishing: Option<(Publisher, Connection)>,
}

impl Reading<'_> {
    fn all(
        &mut self,
        visit: &mut impl FnMut(Message) -> anyhow::Result<ControlFlow<Fate, Fate>>,
    ) -> anyhow::Result<End> {
        let started = Instant::now();
        // The visitor may want only one, and every further message is requeued.
        let mut step = 1;
        while self.left > 0 {
            let most = u16::try_from(self.left).unwrap_or(step).min(step);
            let deliveries = self.consumer.take(self.browse.queue, most)?;
            step = (step * STEP_GROWTH).min(CHUNK);
            if deliveries.is_empty() {
                // Somebody else has taken the rest.
                break;
            }
            let mut deliveries = deliveries.into_iter();
            let end = self.show_some(&mut deliveries, started, visit);
            // Messages that were not shown are left, too: their requeue counts as well.
            let unseen_left = deliveries.try_for_each(|delivery| {
                let (message, token) = parts(delivery);
                self.leave(message, token)
            });
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
        started: Instant,
        visit: &mut impl FnMut(Message) -> anyhow::Result<ControlFlow<Fate, Fate>>,
    ) -> anyhow::Result<Option<End>> {
        while deliveries.len() > 0 {
            if self.stop.raised() {
                return Ok(Some(End::Interrupted));
            }
            if started.elapsed() > self.browse.time.min(LONGEST) {
                return Ok(Some(End::OutOfTime(self.left)));
            }
            let Some(delivery) = deliveries.next() else { break };
            self.left = self.left.saturating_sub(1);
            if self.show(delivery, visit)?.is_break() {
                return Ok(Some(if self.stop.raised() { End::Interrupted } else { End::Enough }));
            }
        }
        Ok(None)
    }

    fn show(
        &mut self,
        delivery: Delivery,
        visit: &mut impl FnMut(Message) -> anyhow::Result<ControlFlow<Fate, Fate>>,
    ) -> anyhow::Result<ControlFlow<()>> {
        let (message, token) = parts(delivery);
        let worn_out = wears_out(&message).then(|| message.clone());
        self.read += 1;
        let decided = visit(message);
        let fate = match decided {
            Ok(ControlFlow::Continue(fate) | ControlFlow::Break(fate)) => fate,
            Err(_) => Fate::Stays,
        };
        match (fate, worn_out) {
            (Fate::Leaves, _) => {
                self.consumer.ack(token)?;
                self.gone += 1;
            }
            (Fate::Stays, Some(message)) => self.republish(message, token)?,
            (Fate::Stays, None) => self.consumer.leave(token),
        }
        Ok(if decided?.is_break() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Leaves a message in the queue without showing it.
    fn leave(&mut self, message: Message, token: AckToken) -> anyhow::Result<()> {
        if wears_out(&message) {
            return self.republish(message, token);
        }
        self.consumer.leave(token);
        Ok(())
    }

    /// Republishes a message that was requeued so often that a quorum queue would soon delete it.
    fn republish(&mut self, message: Message, token: AckToken) -> anyhow::Result<()> {
        let Browse { broker, name, queue, republished, .. } = self.browse;
        if self.republishing.is_none() {
            let mut connection = Connection::open(broker, &format!("{name}, again"))?;
            let publisher = connection.within_deadline(Publisher::open)?;
            self.republishing = Some((publisher, connection));
        }
        let Some((publisher, _)) = &mut self.republishing else { return Ok(()) };
        publisher.deliver(&republished(queue, message))?;
        self.consumer.ack(token)?;
        Ok(())
    }
}

fn parts(Delivery { body, headers, sent, token, .. }: Delivery) -> (Message, AckToken) {
    (Message { body, headers, sent }, token)
}

fn wears_out(message: &Message) -> bool {
    times_requeued(&message.headers) >= WORN_OUT
}
