//! The circuit breaker of a lane. It decides what a failure leads to: another try, parking, or a pause of the whole
//! lane. For a handled task this is decided here only. Pure; it does not know what a task is, nor how it is retried or
//! parked.

use std::time::{Duration, Instant};

use crate::backoff;
use crate::message::Cause;
use crate::systems::Failure;

/// The longest pause between two tries, of a message or of a paused lane.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// When this many different messages fail in a row, the target has an outage, and the messages are not at fault.
const OUTAGE: usize = 3;
/// After a pause the pool gets this many tasks, and twice as many with each success: if the messages are at fault after
/// all, few of them fail.
const FIRST_TASKS: usize = 2;

/// The circuit breaker between a lane and its target.
#[derive(Debug)]
pub struct Breaker {
    attempts: u32,
    first_delay: Duration,
    /// Messages that failed since the last success.
    failed_in_a_row: Vec<String>,
    /// Messages whose last failure turned out to be the start of an outage: it does not count.
    forgiven: Vec<String>,
    pause: Option<Pause>,
    /// The message that started the last pause.
    paused_by: Option<String>,
    window: usize,
}

#[derive(Debug)]
struct Pause {
    since: Instant,
    until: Instant,
    tries: u32,
}

/// How many tasks may go to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// At most this many at once.
    Closed(usize),
    /// One, to see whether the target is back.
    HalfOpen,
    /// None before this time.
    Open(Instant),
}

/// What becomes of a failed message.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// It waits in the retry queue.
    Retry {
        /// Attempts used so far, this one included.
        attempts: u32,
        /// Until the next one.
        delay: Duration,
    },
    /// It is parked.
    Park {
        /// Attempts used so far, this one included.
        attempts: u32,
        /// What the parked message says.
        cause: Cause,
    },
    /// It waits in the lane for this long; no attempt is used.
    Wait(Duration),
    /// It goes to the pool again at once; no attempt is used.
    Again,
    /// It waits, and so does the whole lane; no attempt is used.
    Pause {
        /// Until the target is tried again.
        pause: Duration,
        /// The least time before this message is tried again.
        wait: Duration,
        /// The lane was not paused until now.
        news: bool,
    },
}

impl Breaker {
    /// Closed. `attempts` is how often a message may fail, `first_delay` the pause after its first failure.
    pub fn new(attempts: u32, first_delay: Duration) -> Breaker {
        Breaker {
            attempts,
            first_delay,
            failed_in_a_row: Vec::new(),
            forgiven: Vec::new(),
            pause: None,
            paused_by: None,
            window: usize::MAX,
        }
    }

    /// How many tasks may go to the pool now.
    pub fn state(&self, now: Instant) -> BreakerState {
        match &self.pause {
            None => BreakerState::Closed(self.window),
            Some(pause) if pause.until <= now => BreakerState::HalfOpen,
            Some(pause) => BreakerState::Open(pause.until),
        }
    }

    /// How long the lane has been paused.
    pub fn paused_for(&self, now: Instant) -> Option<Duration> {
        self.pause.as_ref().map(|pause| now.saturating_duration_since(pause.since))
    }

    /// The target has answered as it should. Returns how long the lane was paused, if it was.
    pub fn succeeded(&mut self, now: Instant) -> Option<Duration> {
        self.failed_in_a_row.clear();
        self.window = self.window.saturating_mul(2);
        let paused = self.pause.take().map(|pause| now.saturating_duration_since(pause.since));
        paused.inspect(|_| self.window = FIRST_TASKS)
    }

    /// What becomes of this message, which had failed `attempts` times before.
    pub fn failed(&mut self, id: &str, attempts: u32, failure: &Failure, now: Instant) -> Decision {
        match failure {
            Failure::Permanent(_) => self.parked(attempts, Cause::RequestError, now),
            Failure::NoSystem(_) => self.parked(attempts, Cause::NoSystem, now),
            Failure::TooEarly(after) => {
                self.succeeded(now);
                match attempts >= self.attempts {
                    true => Decision::Park { attempts, cause: Cause::RetryLimitExceeded },
                    false => Decision::Wait(*after),
                }
            }
            // The target answered others since this message last failed like this: then the message is at fault.
            Failure::Unavailable { until: None, .. }
                if self.pause.is_none() && self.paused_by.as_deref() == Some(id) =>
            {
                self.counted(attempts, Duration::ZERO)
            }
            Failure::Unavailable { until, .. } => {
                if self.pause.is_none() {
                    self.paused_by = Some(id.to_owned());
                }
                self.pause(*until, Duration::ZERO, now)
            }
            Failure::Outdated => Decision::Again,
            // However often it happens: with its attempts used up, a task that exists would be parked.
            Failure::Unseen(_) => self.pause(None, Duration::ZERO, now),
            Failure::Transient { .. } => self.failed_by_itself(id, attempts, Duration::ZERO, now),
            Failure::OutcomeUnknown { visible_in, .. } => self.failed_by_itself(id, attempts, *visible_in, now),
        }
    }

    /// The target has answered: this message is not for it, and never will be.
    fn parked(&mut self, attempts: u32, cause: Cause, now: Instant) -> Decision {
        self.succeeded(now);
        Decision::Park { attempts: attempts.saturating_add(1), cause }
    }

    /// This message failed, and is at fault unless others fail too. It is not tried again before `after`.
    fn failed_by_itself(&mut self, id: &str, attempts: u32, after: Duration, now: Instant) -> Decision {
        if !self.failed_in_a_row.iter().any(|failed| failed == id) && self.failed_in_a_row.len() < OUTAGE {
            self.failed_in_a_row.push(id.to_owned());
        }
        if self.pause.is_some() {
            return self.pause(None, after, now);
        }
        if self.failed_in_a_row.len() >= OUTAGE {
            self.forgiven = self.failed_in_a_row.iter().filter(|failed| *failed != id).cloned().collect();
            return self.pause(None, after, now);
        }
        let forgiven = self.forgiven.iter().position(|forgiven| forgiven == id);
        let forgiven = forgiven.map(|index| self.forgiven.swap_remove(index)).is_some();
        self.counted(attempts.saturating_sub(forgiven.into()), after)
    }

    /// One more failure of this message's own.
    fn counted(&self, attempts: u32, after: Duration) -> Decision {
        // The number comes from a header, which anybody may have written.
        let attempts = attempts.saturating_add(1);
        // The last try may have worked after all: then the task is looked up once more, without a try.
        if attempts > self.attempts || (attempts == self.attempts && after.is_zero()) {
            return Decision::Park { attempts, cause: Cause::RetryLimitExceeded };
        }
        let delay = backoff::delay(attempts, self.first_delay, LONGEST_DELAY).max(after);
        Decision::Retry { attempts, delay }
    }

    fn pause(&mut self, asked: Option<Duration>, wait: Duration, now: Instant) -> Decision {
        let before = self.pause.take();
        let news = before.is_none();
        let mut pause = before.unwrap_or(Pause { since: now, until: now, tries: 0 });
        // Tasks that were in the pool together fail together: that counts as one try.
        if pause.until <= now {
            pause.tries += 1;
            let delay = backoff::delay(pause.tries, self.first_delay, LONGEST_DELAY);
            pause.until = now + asked.map_or(delay, |asked| asked.max(delay));
        }
        let decision = Decision::Pause { pause: pause.until.saturating_duration_since(now), wait, news };
        self.pause = Some(pause);
        decision
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    const DELAY: Duration = Duration::from_secs(5);

    fn transient() -> Failure {
        Failure::Transient { error: anyhow!("no answer") }
    }

    fn unavailable() -> Failure {
        Failure::Unavailable { error: anyhow!("refused"), until: None }
    }

    #[test]
    fn a_message_is_retried_with_growing_delay_and_parked_when_its_attempts_are_used_up() {
        let mut breaker = Breaker::new(3, DELAY);
        let now = Instant::now();
        assert_eq!(breaker.failed("a", 0, &transient(), now), Decision::Retry { attempts: 1, delay: DELAY });
        assert_eq!(breaker.failed("a", 1, &transient(), now), Decision::Retry { attempts: 2, delay: DELAY * 2 });
        let cause = Cause::RetryLimitExceeded;
        assert_eq!(breaker.failed("a", 2, &transient(), now), Decision::Park { attempts: 3, cause });
        assert_eq!(breaker.state(now), BreakerState::Closed(usize::MAX));
    }

    #[test]
    fn a_create_that_may_still_show_is_not_repeated_too_early() {
        let mut breaker = Breaker::new(3, DELAY);
        let failure = Failure::OutcomeUnknown { error: anyhow!("no answer"), visible_in: DELAY * 6 };
        let decision = breaker.failed("a", 0, &failure, Instant::now());
        assert_eq!(decision, Decision::Retry { attempts: 1, delay: DELAY * 6 });
    }

    #[test]
    fn a_task_whose_last_try_may_have_worked_is_looked_up_before_it_is_parked() {
        let mut breaker = Breaker::new(3, DELAY);
        let now = Instant::now();
        let unknown = Failure::OutcomeUnknown { error: anyhow!("no answer"), visible_in: DELAY * 6 };
        assert_eq!(breaker.failed("a", 2, &unknown, now), Decision::Retry { attempts: 3, delay: DELAY * 6 });
        let decision = breaker.failed("a", 3, &Failure::TooEarly(DELAY * 6), now);
        assert_eq!(decision, Decision::Park { attempts: 3, cause: Cause::RetryLimitExceeded });
    }

    #[test]
    fn a_message_loses_no_attempt_when_the_target_is_away_for_a_moment() {
        let mut breaker = Breaker::new(1, DELAY);
        let now = Instant::now();
        for _ in 0..5 {
            let away = Failure::Unavailable { error: anyhow!("refused"), until: Some(Duration::ZERO) };
            let decision = breaker.failed("a", 0, &away, now);
            assert_eq!(decision, Decision::Pause { pause: DELAY, wait: Duration::ZERO, news: true });
            breaker.succeeded(now);
        }
    }

    #[test]
    fn three_different_messages_failing_in_a_row_pause_the_lane_and_use_no_attempt() {
        let mut breaker = Breaker::new(3, DELAY);
        let now = Instant::now();
        breaker.failed("a", 0, &transient(), now);
        breaker.failed("b", 0, &transient(), now);
        let decision = breaker.failed("c", 2, &transient(), now);
        assert_eq!(decision, Decision::Pause { pause: DELAY, wait: Duration::ZERO, news: true });
        assert_eq!(breaker.state(now), BreakerState::Open(now + DELAY));
        assert_eq!(breaker.state(now + DELAY), BreakerState::HalfOpen);
    }

    #[test]
    fn the_failures_that_started_an_outage_use_no_attempt_either() {
        let mut breaker = Breaker::new(3, DELAY);
        let now = Instant::now();
        for (id, attempts) in [("a", 0), ("b", 1), ("c", 0)] {
            breaker.failed(id, attempts, &transient(), now);
        }
        breaker.succeeded(now);
        // Their headers say that they have failed once and twice.
        assert_eq!(breaker.failed("b", 2, &transient(), now), Decision::Retry { attempts: 2, delay: DELAY * 2 });
        assert_eq!(breaker.failed("c", 0, &transient(), now), Decision::Retry { attempts: 1, delay: DELAY });
        breaker.succeeded(now);
        let cause = Cause::RetryLimitExceeded;
        assert_eq!(breaker.failed("b", 2, &transient(), now), Decision::Park { attempts: 3, cause });
    }

    #[test]
    fn a_paused_lane_probes_ever_more_slowly_and_opens_step_by_step() {
        let mut breaker = Breaker::new(3, DELAY);
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let Decision::Pause { pause, .. } = breaker.failed("a", 0, &unavailable(), now) else { panic!("no pause") };
            // A second failure of the same moment is not a second try.
            breaker.failed("b", 0, &unavailable(), now);
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        assert!(breaker.succeeded(now).is_some());
        assert_eq!(breaker.state(now), BreakerState::Closed(2));
        breaker.succeeded(now);
        assert_eq!(breaker.state(now), BreakerState::Closed(4));
    }

    #[test]
    fn a_message_that_pauses_the_lane_while_others_succeed_uses_up_its_attempts() {
        let mut breaker = Breaker::new(3, DELAY);
        let now = Instant::now();
        assert!(matches!(breaker.failed("a", 0, &unavailable(), now), Decision::Pause { .. }));
        assert!(matches!(breaker.failed("a", 0, &unavailable(), now + DELAY), Decision::Pause { .. }));
        breaker.succeeded(now + DELAY * 3);
        let decision = breaker.failed("a", 0, &unavailable(), now + DELAY * 3);
        assert_eq!(decision, Decision::Retry { attempts: 1, delay: DELAY });
    }

    #[test]
    fn a_target_that_names_a_time_is_left_alone_that_long() {
        let mut breaker = Breaker::new(3, DELAY);
        let now = Instant::now();
        let failure = Failure::Unavailable { error: anyhow!("429"), until: Some(DELAY * 12) };
        breaker.failed("a", 0, &failure, now);
        assert_eq!(breaker.state(now), BreakerState::Open(now + DELAY * 12));
    }

    #[test]
    fn a_refused_message_is_parked_and_closes_the_breaker() {
        let mut breaker = Breaker::new(3, DELAY);
        let now = Instant::now();
        breaker.failed("a", 0, &transient(), now);
        breaker.failed("b", 0, &transient(), now);
        let decision = breaker.failed("c", 0, &Failure::Permanent(anyhow!("400")), now);
        assert_eq!(decision, Decision::Park { attempts: 1, cause: Cause::RequestError });
        assert!(matches!(breaker.failed("d", 0, &transient(), now), Decision::Retry { .. }));
    }
}
