//! One session of a lane with RabbitMQ: everything for which the reader thread wakes up, and what it does then.
//!
//! The thread owns the session's channels. Deliveries of the input and retry queues are settled on this thread only. It
//! tells the [`state`](super::state) what has happened, carries out the state's actions, and decides nothing itself.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, after, never, select};

use super::Lane;
use super::feed::{Feed, Feeds};
use super::links::{Channels, Links};
use super::reader::PoolEnds;
use super::state::{Action, End, Sight, State};
use crate::message;
use crate::rabbitmq::connection::SETUP_DEADLINE;
use crate::rabbitmq::consumer::{AckToken, Consumer, Delivery, times_requeued};
use crate::rabbitmq::publisher::{CONFIRM_DEADLINE, Publisher};
use crate::rabbitmq::{Blocked, Confirmation, ConnectionError, Incoming, Notice};
use crate::stats::condition::Obstacle;

/// The reader wakes up this often even if nothing happens.
const TICK: Duration = Duration::from_secs(30);

/// How a session ended.
pub enum Ended {
    /// The stop signal came, and everything that was started is settled.
    Stopped,
    /// On purpose: the next one may start at once.
    Refresh,
    /// The broker does not let us in.
    Refused(anyhow::Error),
    /// Something broke.
    Lost {
        /// How long the session worked; `None`: it ended before it was ready.
        worked: Option<Duration>,
        /// What broke.
        error: anyhow::Error,
    },
}

impl Ended {
    /// Was the session ready for work?
    pub fn has_worked(&self) -> bool {
        !matches!(self, Ended::Refused(_) | Ended::Lost { worked: None, .. })
    }
}

/// Opens a session and works until it ends. `number` tells it from earlier ones.
pub fn run(lane: &Lane, state: &mut State<AckToken>, pool: &PoolEnds, number: u64) -> Ended {
    let started = Instant::now();
    let mut links = match Links::open(lane) {
        Ok(links) => links,
        Err(error) => return not_let_in(error),
    };
    let mut works = false;
    let ended = links.channels(lane, number).and_then(|channels| work(lane, state, pool, channels, &mut works));
    // The root cause of a dead connection is known only when it is closed.
    let error = match (ended, links.close()) {
        (Ok(ended), _) => return ended,
        // We are signed in, so a right is missing.
        (Err(error), _) if error.refused => {
            error.with(&super::rights::advice(&lane.config.rabbitmq, std::slice::from_ref(&lane.queues)))
        }
        (Err(error), Some(cause)) if error.to_string() != cause => error.at(&cause),
        (Err(error), _) => error,
    };
    match works {
        // A refusal during work is reported again when the next session starts.
        true => Ended::Lost { worked: Some(started.elapsed()), error: error.into() },
        false => not_let_in(error),
    }
}

fn not_let_in(error: ConnectionError) -> Ended {
    match error.refused {
        true => Ended::Refused(error.into()),
        false => Ended::Lost { worked: None, error: error.into() },
    }
}

/// Sets `works` when the session is ready for work.
fn work(
    lane: &Lane,
    state: &mut State<AckToken>,
    pool: &PoolEnds,
    channels: Channels,
    works: &mut bool,
) -> Result<Ended, ConnectionError> {
    let Channels { consuming, consumer, publisher, blocked, first } = channels;
    let mut feeds = Feeds::new(consuming, consumer, &lane.queues);
    match &first {
        Some(first) => {
            let requeued = first.iter().map(|delivery| times_requeued(&delivery.headers)).max().unwrap_or(0);
            if let Some(prefetch) = state.session_opened(requeued, Instant::now()) {
                let _deadline = consuming.at_most(SETUP_DEADLINE);
                feeds.consume(prefetch)?;
                lane.pulse.reads(true);
            }
            say_ready(lane, pool.threads, state.most_deliveries(), requeued);
        }
        None => {
            state.session_opened_in_alarm(Instant::now());
            note_session(lane);
        }
    }
    *works = true;
    let mut session = Session { lane, state, pool, consumer, publisher };
    // The alarm first: it keeps the first deliveries from being started.
    blocked.try_iter().for_each(|notice| session.noticed(notice.into()));
    first.into_iter().flatten().for_each(|delivery| session.delivered(delivery));
    let ended = session.serve(&mut feeds, &blocked);
    // At once, since closing may take seconds.
    state.session_lost();
    if let Err(error) = &ended {
        lane.learn_largest(&error.to_string());
    }
    ended
}

fn note_session(lane: &Lane) {
    lane.stats.is_connected.set(1);
    let condition = &lane.stats.condition;
    lane.stats.reconnects.add(u64::from(condition.has_started()));
    condition.start();
    [Obstacle::NoSession, Obstacle::Alarm].into_iter().for_each(|obstacle| condition.is_over(obstacle));
}

fn say_ready(lane: &Lane, threads: usize, most: u16, requeued: u32) {
    note_session(lane);
    let input = &lane.queues.input;
    log::info!("reading {input}, up to {most} deliveries at a time, up to {threads} handler threads");
    if most < lane.config.prefetch {
        log::info!(
            "{input}: the first message was requeued {requeued} times, by a lane that waits or by a worker that crashes again \
             and again: starting with one delivery at a time"
        );
    }
}

/// A session while it works.
struct Session<'s, 'a> {
    lane: &'s Lane<'s>,
    state: &'s mut State<'a, AckToken>,
    pool: &'s PoolEnds,
    consumer: &'s Consumer,
    publisher: &'s mut Publisher,
}

impl Session<'_, '_> {
    fn serve(&mut self, feeds: &mut Feeds, blocked: &Receiver<Notice>) -> Result<Ended, ConnectionError> {
        let mut stop = self.lane.stop.receiver().clone();
        let results = &self.pool.results;
        let confirms = self.publisher.confirms().clone();
        loop {
            self.lane.pulse.beat();
            if let Some(ended) = self.carry_out(feeds)? {
                return Ok(ended);
            }
            select! {
                recv(feeds.input.receiver()) -> message => self.arrived(&feeds.input, message)?,
                recv(feeds.retry.receiver()) -> message => self.arrived(&feeds.retry, message)?,
                recv(results) -> outcome => {
                    for outcome in all(results, outcome) {
                        self.state.done(outcome.map_err(|_| gone("the pool of handler threads"))?, Instant::now());
                    }
                },
                recv(confirms) -> confirm => all(&confirms, confirm).try_for_each(|confirm| self.confirmed(confirm))?,
                recv(blocked) -> notice => self.noticed(notice.map_err(|_| gone("the publishing connection"))?.into()),
                recv(self.lane.control.commands()) -> command => {
                    // The lane has the sender, so this never fails.
                    command.into_iter().for_each(|command| command.carry_out(self.state, Instant::now()));
                },
                recv(stop) -> _ => {
                    stop = never();
                    self.state.stop(self.pool.not_started.try_iter());
                    // A broker that hangs keeps us here until the process is ended; what is unsettled has been logged
                    // by now.
                    feeds.close();
                },
                recv(after(self.next_tick())) -> _ => {},
            }
        }
    }

    /// Carries out all actions that are due.
    fn carry_out(&mut self, feeds: &mut Feeds) -> Result<Option<Ended>, ConnectionError> {
        if self.unconfirmed_since().is_some_and(|since| since.elapsed() > CONFIRM_DEADLINE) {
            return Err(ConnectionError::new(format!("no confirm from RabbitMQ within {CONFIRM_DEADLINE:?}")));
        }
        loop {
            let (publisher_is_full, unsettled) = (self.publisher.is_full(), self.consumer.unsettled());
            let Some(action) = self.state.next(Sight { now: Instant::now(), publisher_is_full, unsettled }) else {
                return Ok(None);
            };
            match action {
                Action::Ack(token) => {
                    self.consumer.ack(token)?;
                    self.lane.stats.last_ack_time.set(message::now_ms());
                }
                Action::Publish(key, outgoing) => {
                    let tag = self.publisher.publish(outgoing)?;
                    self.state.publishing(key, tag);
                }
                Action::Handle(job) => self.pool.jobs.send(job).map_err(|_| gone("the pool of handler threads"))?,
                Action::FollowUp(recorded) => {
                    self.pool.recorded.send(*recorded).map_err(|_| gone("the pool of handler threads"))?;
                }
                Action::TakeBack => self.pool.not_started.try_iter().for_each(|job| self.state.take_back(job)),
                Action::Consume(prefetch) => {
                    let rest = feeds.consume(prefetch)?;
                    self.lane.pulse.reads(true);
                    for (queue, message) in rest {
                        self.received(queue, message)?;
                    }
                }
                Action::End(End::Settled) => return Ok(Some(Ended::Stopped)),
                Action::End(End::Refresh) => return Ok(Some(Ended::Refresh)),
                Action::End(End::QueueGone(queue)) => return Err(gone(&format!("the queue {queue}"))),
            }
        }
    }

    /// How long to wait when nothing happens.
    fn next_tick(&self) -> Duration {
        let now = Instant::now();
        let confirm = self.unconfirmed_since().map(|since| since + CONFIRM_DEADLINE);
        let next = self.state.next_wake(now).into_iter().chain(confirm).min();
        // A moment longer than needed, so that the time has come when we wake up.
        let next = next.map_or(TICK, |next| next.saturating_duration_since(now) + Duration::from_millis(1));
        next.min(TICK).min(self.lane.pulse.interval())
    }

    /// Since when the oldest outgoing message waits for its confirm. In an alarm the broker sends none.
    fn unconfirmed_since(&self) -> Option<Instant> {
        self.publisher.waiting_since().filter(|_| !self.state.in_alarm())
    }

    fn noticed(&mut self, notice: Blocked) {
        match notice {
            Blocked::Blocked(why) => self.state.alarm(Some(&why)),
            Blocked::Unblocked => {
                self.publisher.restart_waits();
                self.state.alarm(None);
            }
        }
    }

    fn confirmed(&mut self, confirm: Result<Confirmation, RecvError>) -> Result<(), ConnectionError> {
        let confirm = confirm.map_err(|_| self.publisher.why_gone())?;
        for (tag, outcome) in self.publisher.outcomes(confirm) {
            self.state.answered(tag, outcome, Instant::now());
        }
        Ok(())
    }

    /// Takes in what `select!` has received, and all that has come since.
    fn arrived(&mut self, feed: &Feed, first: Result<Incoming, RecvError>) -> Result<(), ConnectionError> {
        let first = first.map_err(|_| gone("the connection to RabbitMQ"))?;
        let rest = feed.receiver().try_iter();
        std::iter::once(first).chain(rest).try_for_each(|message| self.received(feed.queue, message))
    }

    fn received(&mut self, queue: &str, message: Incoming) -> Result<(), ConnectionError> {
        let delivery =
            self.consumer.delivery(message).map_err(|err| ConnectionError::new(format!("{queue}: {err}")))?;
        self.delivered(delivery);
        Ok(())
    }

    fn delivered(&mut self, delivery: Delivery) {
        self.lane.stats.last_message_time.set(message::now_ms());
        self.state.delivered(delivery, Instant::now());
    }
}

fn gone(what: &str) -> ConnectionError {
    ConnectionError::new(format!("{what} is gone"))
}

/// What `select!` has received, and all that has come to that channel since.
fn all<T>(channel: &Receiver<T>, first: Result<T, RecvError>) -> impl Iterator<Item = Result<T, RecvError>> {
    std::iter::once(first).chain(channel.try_iter().map(Ok))
}
