//! One portal's rate limiter, shared by all threads that call it: a leaky bucket on our side, so that the portal's own
//! limiter never has to refuse. It counts HTTP requests and does not know what is in them.
//!
//! It gives permits in the order of asking. The combiner decides who asks and for what.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// This much of the burst is never used: the portal counts a request when it arrives, some arrive later than others,
/// and a permit may be taken a moment before its request is full.
const KEPT_BACK: u32 = 2;
/// A single task costs three requests.
const FEW: u32 = 6;
/// Permits that are further apart are rare, however long an answer may take.
const NEAR: Duration = Duration::from_secs(1);

/// The bucket.
#[derive(Debug)]
pub struct RateLimiter {
    /// The time between two requests once the burst is used up; zero: no limit.
    interval: Duration,
    /// How far ahead of the steady rate requests may run.
    tolerance: Duration,
    /// When the bucket will be empty: the fuller, the later. The lock guards one instant and is never held while
    /// waiting.
    empty_at: Mutex<Instant>,
}

impl RateLimiter {
    /// `rate` requests a second (0: unlimited), with `burst` at once, minus two that are kept back.
    pub fn new(rate: f64, burst: u32) -> RateLimiter {
        let interval = if rate > 0.0 { Duration::from_secs_f64(1.0 / rate) } else { Duration::ZERO };
        let at_once = burst.saturating_sub(KEPT_BACK).max(1);
        RateLimiter { interval, tolerance: interval * (at_once - 1), empty_at: Mutex::new(Instant::now()) }
    }

    /// Whether there is a limit at all.
    pub fn limited(&self) -> bool {
        !self.interval.is_zero()
    }

    /// Whether a call that goes before all others gets its permit well within this time.
    pub fn permits_come_within(&self, time: Duration) -> bool {
        self.interval <= NEAR.min(time / 4)
    }

    /// Takes the next permit; the request may be sent after this pause.
    pub fn take(&self, now: Instant) -> Duration {
        let mut empty_at = self.lock();
        let pause = empty_at.saturating_duration_since(now + self.tolerance);
        *empty_at = (*empty_at).max(now) + self.interval;
        pause
    }

    /// Takes back a permit that was not used.
    pub fn take_back_permit(&self) {
        let mut empty_at = self.lock();
        *empty_at = empty_at.checked_sub(self.interval).unwrap_or(*empty_at);
    }

    /// Whether so few requests were sent lately that one more does not matter.
    pub fn is_rested(&self, now: Instant) -> bool {
        self.lock().saturating_duration_since(now) <= self.interval * FEW
    }

    /// The share of the burst that is left, from 0 to 1: at 0 the next request waits.
    pub fn left(&self, now: Instant) -> f64 {
        let full = self.tolerance + self.interval;
        let used = self.lock().saturating_duration_since(now).min(full);
        if full.is_zero() { 1.0 } else { 1.0 - used.as_secs_f64() / full.as_secs_f64() }
    }

    /// The portal refused all the same (another program uses the same address): nothing is sent for at least `pause`,
    /// and the burst is used up.
    pub fn refused(&self, now: Instant, pause: Duration) {
        let mut empty_at = self.lock();
        *empty_at = (*empty_at).max(now + self.tolerance + pause);
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        // An instant is whole even if another thread panicked while it held the lock.
        self.empty_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_come_soon_when_several_come_within_an_answer() {
        let near = |rate, seconds| RateLimiter::new(rate, 50).permits_come_within(Duration::from_secs(seconds));
        assert_eq!(
            [(0.0, 1), (2.0, 30), (1.0, 30), (1.0, 1), (0.5, 30)].map(|(rate, s)| near(rate, s)),
            [true, true, true, false, false]
        );
    }

    #[test]
    fn the_burst_goes_at_once_and_the_rest_at_the_rate() {
        let rate_limiter = RateLimiter::new(2.0, 52);
        let now = Instant::now();
        let pauses: Vec<f64> = (0..54).map(|_| rate_limiter.take(now).as_secs_f64()).collect();
        assert!(pauses[..49].iter().all(|pause| *pause == 0.0), "{pauses:?}");
        for (after_burst, pause) in pauses[50..].iter().enumerate() {
            let expected = 0.5 * (after_burst + 1) as f64;
            assert!((pause - expected).abs() < 0.01, "{after_burst}: {pause}");
        }
    }

    #[test]
    fn a_permit_that_is_taken_back_goes_to_the_next_request() {
        let (rate_limiter, now) = (RateLimiter::new(0.1, 3), Instant::now());
        rate_limiter.take(now);
        let second = rate_limiter.take(now);
        rate_limiter.take_back_permit();
        assert_eq!(rate_limiter.take(now), second);
    }

    #[test]
    fn a_rested_bucket_holds_no_more_than_the_burst() {
        let rate_limiter = RateLimiter::new(2.0, 4);
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(rate_limiter.take(later), Duration::ZERO);
        assert_eq!(rate_limiter.take(later), Duration::ZERO);
        assert_eq!(rate_limiter.take(later), Duration::from_millis(500));
    }

    #[test]
    fn it_is_rested_while_few_requests_are_sent_and_again_after_a_while() {
        let (rate_limiter, now) = (RateLimiter::new(2.0, 50), Instant::now());
        (0..6).for_each(|_| assert_eq!(rate_limiter.take(now), Duration::ZERO));
        assert!(rate_limiter.is_rested(now));
        rate_limiter.take(now);
        assert!(!rate_limiter.is_rested(now));
        assert!(rate_limiter.is_rested(now + Duration::from_secs(1)));
    }

    #[test]
    fn what_is_left_of_the_burst_falls_with_each_permit_and_comes_back() {
        let (rate_limiter, now) = (RateLimiter::new(2.0, 6), Instant::now());
        let mut left = vec![rate_limiter.left(now)];
        left.extend((0..6).map(|_| {
            rate_limiter.take(now);
            rate_limiter.left(now)
        }));
        let rounded: Vec<f64> = left.iter().map(|left| (left * 100.0).round()).collect();
        assert_eq!(rounded, [100.0, 75.0, 50.0, 25.0, 0.0, 0.0, 0.0]);
        assert_eq!(rate_limiter.left(now + Duration::from_secs(60)), 1.0);
        assert_eq!(RateLimiter::new(0.0, 0).left(now), 1.0);
    }

    #[test]
    fn without_a_rate_nobody_waits_but_for_a_refusal() {
        let rate_limiter = RateLimiter::new(0.0, 0);
        let now = Instant::now() + Duration::from_secs(1);
        assert!((0..1000).all(|_| rate_limiter.take(now) == Duration::ZERO));
        rate_limiter.refused(now, Duration::from_secs(2));
        assert_eq!(rate_limiter.take(now), Duration::from_secs(2));
    }
}
