//! All decisions of a lane: the state is told what has happened, and says what to do next.
//!
//! The events are a delivery (`deliveries`), a result of the pool (`results`), the outcome of a publish (`confirms`),
//! an alarm, a command, the stop, and the passing of time. A session carries out what [`State::next`] says. The state
//! outlives the sessions. `T` is the ack token of one delivery.
//!
//! It does no I/O, except that it logs and counts its decisions, for people. It decides by no clock but the time it is
//! told (and, for a message that an earlier version put into the retry queue, the date in it). So a random walk
//! (`state/tests.rs`) can test what must stay true. It knows neither the system nor AMQP.

mod confirms;
mod deliveries;
mod next;
mod results;
mod too_large;

use std::collections::VecDeque;
use std::time::Instant;

pub use self::next::{Action, End, Sight};
use super::breaker::{Breaker, BreakerState};
use super::caution::Caution;
use super::control::{Pause, Snapshot};
use super::ledger::Ledger;
use super::log_throttle::LogThrottle;
use super::prefetch::Prefetch;
use super::refusals::Refusals;
use super::tasks::{Step, UnderWay};
use super::waits::Waits;
use super::{Job, Lane};
use crate::message::Claim;
use crate::rabbitmq::consumer::Delivery;
use crate::stats::condition::Obstacle;

/// The state of a lane.
pub struct State<'a, T> {
    lane: &'a Lane<'a>,
    /// The tasks that are under way.
    ledger: Ledger<T>,
    /// Which tasks are to be left alone for a while.
    waits: Waits,
    /// The circuit breaker: whether the target is called.
    breaker: Breaker,
    /// Throttles the log lines about the lane's pause.
    pause_news: LogThrottle,
    /// Queues that do not take messages.
    refusals: Refusals,
    /// How many deliveries to take, by how often they were requeued.
    caution: Caution,
    /// How many deliveries to take, by their size.
    prefetch: Prefetch,
    /// Counts messages without a readable id.
    unreadable: u64,
    /// Somebody wants no task to be started.
    paused: Option<Pause>,
    /// The tasks that the pool has not started are to be taken back.
    takes_back: bool,
    stopping: bool,
    session: SessionState<T>,
}

/// The part of the state that ends with the session.
struct SessionState<T> {
    /// When it started; `None` while there is none.
    started: Option<Instant>,
    /// The claim to its deliveries.
    claim: Claim,
    /// Deliveries to acknowledge.
    acks: VecDeque<T>,
    /// Deliveries that may continue a message that is not settled yet; see [`super::ledger::Admission::Later`].
    held: Vec<Delivery<T>>,
    /// `false`: the first deliveries were requeued often. The process may crash over them, so nothing else is taken
    /// until they are settled or wait for a time.
    reading: bool,
    /// The session consumes.
    consuming: bool,
    /// An alarm at the broker: it does not read what we publish.
    alarm: bool,
    /// It started in an alarm, and takes nothing.
    takes_nothing: bool,
    /// Why it is to end.
    end: Option<End>,
}

impl<T> Default for SessionState<T> {
    fn default() -> SessionState<T> {
        SessionState {
            started: None,
            claim: Claim::default(),
            acks: VecDeque::new(),
            held: Vec::new(),
            reading: false,
            consuming: false,
            alarm: false,
            takes_nothing: false,
            end: None,
        }
    }
}

impl<'a, T> State<'a, T> {
    /// A lane with no tasks and a closed circuit breaker.
    pub fn new(lane: &'a Lane<'a>) -> State<'a, T> {
        let config = lane.config;
        State {
            lane,
            ledger: Ledger::default(),
            waits: Waits::default(),
            breaker: Breaker::new(config.retry_attempts, config.retry_delay),
            pause_news: LogThrottle::default(),
            refusals: Refusals::default(),
            caution: Caution::new(config.prefetch),
            prefetch: Prefetch::new(config.prefetch),
            unreadable: 0,
            paused: None,
            takes_back: false,
            stopping: false,
            session: SessionState::default(),
        }
    }
}

/// Events around the messages.
impl<T> State<'_, T> {
    /// A session starts, and its first deliveries were requeued so often. Returns the prefetch to consume with; `None`:
    /// nothing else is taken yet.
    pub fn session_opened(&mut self, times_requeued: u32, now: Instant) -> Option<u16> {
        let reading = !self.caution.starts(times_requeued);
        self.stopping = false;
        self.prefetch = Prefetch::new(self.caution.prefetch());
        self.session = SessionState { started: Some(now), reading, consuming: reading, ..SessionState::default() };
        self.ledger.session_opened(now);
        reading.then(|| self.prefetch.now())
    }

    /// A session starts in an alarm. It takes nothing, since it could not publish again the messages that their queue
    /// would soon delete. The next session starts when the alarm is over.
    pub fn session_opened_in_alarm(&mut self, now: Instant) {
        self.stopping = false;
        self.session = SessionState { started: Some(now), alarm: true, takes_nothing: true, ..SessionState::default() };
    }

    /// The session is lost, and with it the right to acknowledge: tasks that are not started are left to the broker,
    /// which delivers them again.
    pub fn session_lost(&mut self) {
        // At once: from now on another worker may have the tasks that still wait for a call to the target.
        self.session.claim.lose();
        self.session = SessionState::default();
        self.takes_back = false;
        self.ledger.session_lost();
    }

    /// RabbitMQ takes no messages, for this reason, or (`None`) takes them again.
    pub fn alarm(&mut self, why: Option<&str>) {
        self.session.alarm = why.is_some();
        match why {
            Some(why) => {
                self.lane.stats.condition.stands(Obstacle::Alarm, why, None);
                log::warn!("RabbitMQ takes no messages for now ({why}): no new work until it does");
            }
            None => {
                self.lane.stats.condition.is_over(Obstacle::Alarm);
                log::info!("RabbitMQ takes messages again");
                if self.session.takes_nothing {
                    self.session.end = Some(End::Refresh);
                }
            }
        }
    }

    /// Takes back a task that the pool has not started.
    pub fn take_back(&mut self, job: Job) {
        self.ledger.wait_again(job, None);
    }

    /// The stop: no new work. `not_started` are the tasks that no thread has started; they are left to the broker.
    pub fn stop(&mut self, not_started: impl Iterator<Item = Job>) {
        self.stopping = true;
        not_started.for_each(|job| self.take_back(job));
        self.ledger.stop_waiting_for_deliveries();
        let (unsettled, waiting) = (self.note_unsettled(), self.ledger.waiting());
        log::info!("stopping: finishing {unsettled} started, requeueing {waiting} not started");
    }

    /// What the tracker has parked is not finished.
    fn take_in_parked(&mut self) {
        let ledger = &mut self.ledger;
        self.lane.control.parked_since().for_each(|id| ledger.parked(&id));
    }

    /// No task is started until [`State::resume`], or until the pause ends by itself.
    pub fn pause(&mut self, pause: Pause, now: Instant) {
        let ends_in = pause.until.map(|until| until.saturating_duration_since(now));
        let until = ends_in.map_or_else(|| "until it is resumed".into(), |pause| format!("for {pause:.0?}"));
        log::warn!("paused {until} by {}, messages stay in their queue: {}", pause.by, pause.reason);
        self.lane.stats.condition.stands(Obstacle::Paused, &pause.reason, ends_in);
        self.paused = Some(pause);
        self.takes_back = true;
    }

    /// Tasks are started again.
    pub fn resume(&mut self) {
        if self.paused.take().is_some() {
            self.lane.stats.condition.is_over(Obstacle::Paused);
            log::info!("resumed");
        }
    }
}

/// Questions about the state.
impl<T> State<'_, T> {
    /// RabbitMQ takes no messages, and sends no confirms.
    pub fn in_alarm(&self) -> bool {
        self.session.alarm
    }

    /// The most deliveries that it takes at a time.
    pub fn most_deliveries(&self) -> u16 {
        self.caution.prefetch()
    }

    /// The tasks that are started and not settled, by id, with or without a delivery.
    pub fn unsettled(&self) -> Vec<&str> {
        self.ledger.all_unsettled()
    }

    /// The tasks that a thread of the pool works on, by id.
    pub fn at_work(&self) -> Vec<&str> {
        self.ledger.at_work()
    }

    /// How the lane is.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        Snapshot {
            has_session: self.session.started.is_some(),
            is_consuming: self.session.consuming && !self.stopping,
            in_alarm: self.session.alarm,
            stopping: self.stopping,
            paused: self.paused.clone().filter(|pause| !pause.is_over(now)),
            target_away_for: self.breaker.paused_for(now),
            waiting: self.ledger.waiting(),
            in_pool: self.ledger.at_work().len(),
            unsettled: self.ledger.all_unsettled().into_iter().map(str::to_owned).collect(),
            waiting_for_room: self.ledger.refused_messages(None),
            numbers: self.ledger.numbers(),
        }
    }

    /// The tasks that are under way, for people.
    pub fn under_way(&self, now: Instant) -> Vec<UnderWay> {
        let paused = self.paused.as_ref().filter(|pause| !pause.is_over(now));
        let (step, next_try) = match (paused, self.breaker.state(now)) {
            _ if self.session.alarm => (Step::WaitingForRabbitMq, None),
            (Some(pause), _) => (Step::Paused, pause.until),
            (None, BreakerState::Open(until)) => (Step::WaitingForTarget, Some(until)),
            (None, BreakerState::HalfOpen) => (Step::WaitingForTarget, None),
            (None, BreakerState::Closed(_)) => (Step::Waiting, None),
        };
        let mut tasks = self.ledger.under_way();
        for task in tasks.iter_mut().filter(|task| task.step == Step::Waiting) {
            (task.step, task.next_try) = (step, next_try);
        }
        tasks
    }

    /// Notes, for people, the tasks that can be settled in this session, and returns their number.
    fn note_unsettled(&self) -> usize {
        let unsettled = self.ledger.unsettled();
        self.lane.stats.note_unsettled(&unsettled);
        unsettled.len()
    }
}

#[cfg(test)]
mod tests;
