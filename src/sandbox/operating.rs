//! The account of operating time: how long the calls of each method have taken lately, and which method has taken too
//! much. Pure: the caller brings the time.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use super::reply::{Refusal, since_epoch};

/// The baskets of a window; the oldest one leaves as a whole.
const BASKETS: u32 = 10;

/// How much operating time the calls of one method have. By default there is no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OperatingLimit {
    /// When more is used within the window, the next call is refused.
    pub limit: Duration,
    /// How long a portal remembers; 10 minutes in the cloud.
    pub window: Duration,
    /// A call that comes too early is refused, and so are all calls for this time after it.
    pub penalty: Duration,
    /// Added to the real time of each call, so that a test need not wait.
    pub charge: Duration,
}

impl Default for OperatingLimit {
    fn default() -> OperatingLimit {
        let minute = Duration::from_secs(60);
        OperatingLimit { limit: Duration::MAX, window: 10 * minute, penalty: minute, charge: Duration::ZERO }
    }
}

impl OperatingLimit {
    /// The limit of the cloud: 480 s in 10 minutes.
    pub fn cloud() -> OperatingLimit {
        OperatingLimit { limit: Duration::from_secs(480), ..OperatingLimit::default() }
    }
}

/// What a method has used, as its replies say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Used {
    pub seconds: f64,
    /// When the oldest basket leaves, in whole seconds since 1970; not every portal says this.
    pub reset_at: Option<u64>,
}

/// The accounts of all methods; plain calls and those in batches have accounts of their own.
#[derive(Default)]
pub(super) struct Operating(HashMap<(&'static str, bool), Audit>);

#[derive(Default)]
struct Audit {
    /// When each basket was started, and the time in it.
    baskets: VecDeque<(Instant, Duration)>,
    blocked: Option<Instant>,
}

impl Operating {
    /// Checks that this method may be called now.
    ///
    /// # Errors
    /// It has used up its time, or is called again too early.
    pub fn admit(&mut self, of: (&'static str, bool), limit: &OperatingLimit, now: Instant) -> Result<(), Refusal> {
        let Some(account) = self.0.get_mut(&of) else {
            return Ok(());
        };
        account.forget(limit, now);
        if account.blocked.is_some_and(|until| now < until) {
            account.blocked = account.blocked.max(Some(now + limit.penalty));
        } else if account.sum() > limit.limit {
            account.blocked = account.oldest().map(|started| started + limit.window);
        } else {
            account.blocked = None;
            return Ok(());
        }
        Err(Refusal::new(429, "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit."))
    }

    /// A call of this method has taken so long.
    pub fn charge(&mut self, of: (&'static str, bool), limit: &OperatingLimit, took: Duration, now: Instant) -> Used {
        let account = self.0.entry(of).or_default();
        account.forget(limit, now);
        let took = took + limit.charge;
        match account.baskets.back_mut() {
            Some((started, sum)) if now.saturating_duration_since(*started) < limit.window / BASKETS => *sum += took,
            _ => account.baskets.push_back((now, took)),
        }
        let left =
            account.oldest().map_or(limit.window, |started| (started + limit.window).saturating_duration_since(now));
        let reset_at = (since_epoch(SystemTime::now()) + left).as_secs();
        Used { seconds: account.sum().as_secs_f64(), reset_at: Some(reset_at) }
    }
}

impl Audit {
    fn oldest(&self) -> Option<Instant> {
        self.baskets.front().map(|(started, _)| *started)
    }

    fn sum(&self) -> Duration {
        self.baskets.iter().map(|(_, sum)| *sum).sum()
    }

    fn forget(&mut self, limit: &OperatingLimit, now: Instant) {
        while self.oldest().is_some_and(|started| now.saturating_duration_since(started) >= limit.window) {
            self.baskets.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: (&str, bool) = ("tasks.task.add", false);
    const SECOND: Duration = Duration::from_secs(1);

    fn limit() -> OperatingLimit {
        OperatingLimit { limit: 2 * SECOND, window: 10 * SECOND, penalty: 60 * SECOND, charge: Duration::ZERO }
    }

    #[test]
    fn the_call_after_too_much_time_is_refused_until_the_oldest_basket_leaves() {
        let (mut accounts, start) = (Operating::default(), Instant::now());
        assert!(accounts.admit(ADD, &limit(), start).is_ok());
        let used = accounts.charge(ADD, &limit(), 2 * SECOND + SECOND / 10, start);
        assert!(used.seconds > 2.0);
        let refusal = accounts.admit(ADD, &limit(), start + SECOND).expect_err("too much");
        assert_eq!((refusal.status, &*refusal.code), (429, "OPERATION_TIME_LIMIT"));
        assert!(
            accounts.admit(("tasks.task.add", true), &limit(), start).is_ok(),
            "batches have an account of their own"
        );
        assert!(accounts.admit(("tasks.task.get", false), &limit(), start).is_ok());
        assert!(accounts.admit(ADD, &limit(), start + 10 * SECOND).is_ok());
    }

    #[test]
    fn a_call_a_moment_too_early_costs_another_minute() {
        let (mut accounts, start) = (Operating::default(), Instant::now());
        accounts.charge(ADD, &limit(), 3 * SECOND, start);
        assert!(accounts.admit(ADD, &limit(), start + SECOND).is_err());
        let early = start + 10 * SECOND - Duration::from_millis(1);
        assert!(accounts.admit(ADD, &limit(), early).is_err());
        assert!(accounts.admit(ADD, &limit(), early + 59 * SECOND).is_err());
        assert!(accounts.admit(ADD, &limit(), early + (59 + 60) * SECOND).is_ok());
    }

    #[test]
    fn the_sum_may_be_too_high_after_the_oldest_basket_has_left() {
        let (mut accounts, start) = (Operating::default(), Instant::now());
        accounts.charge(ADD, &limit(), SECOND, start);
        accounts.charge(ADD, &limit(), 3 * SECOND, start + 5 * SECOND);
        assert!(accounts.admit(ADD, &limit(), start + 6 * SECOND).is_err());
        assert!(accounts.admit(ADD, &limit(), start + 10 * SECOND).is_err());
        assert!(accounts.admit(ADD, &limit(), start + 15 * SECOND).is_ok());
    }

    #[test]
    fn without_a_limit_replies_have_only_the_sum() {
        let (mut accounts, start) = (Operating::default(), Instant::now());
        let limit = OperatingLimit { charge: 100 * SECOND, ..OperatingLimit::default() };
        let used = [1, 2, 3].map(|_| accounts.charge(ADD, &limit, Duration::ZERO, start));
        assert!((used[2].seconds - 300.0).abs() < 1e-6);
        assert!(accounts.admit(ADD, &limit, start).is_ok());
    }
}
