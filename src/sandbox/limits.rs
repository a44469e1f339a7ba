//! How much the sandbox takes at once: delays, and the leaky bucket of the request rate. Pure: the caller brings the
//! time and waits.

use std::time::{Duration, Instant};

/// What slows the sandbox down. By default there is no limit and no delay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// HTTP requests per second that drain from the bucket; 0 = unlimited. The cloud has 2.
    pub rate: f64,
    /// How many requests the bucket holds; one more is refused with 503. The cloud has 50.
    pub burst: u32,
    /// Added to every request, before it is executed.
    pub request_delay: Duration,
    /// Added to every command of a batch but the first, before it is executed.
    pub command_delay: Duration,
    /// How many requests at once the portal takes without strain; 0 = any number. With more under way, a request's
    /// delays are multiplied by the square of how many times more there are, so that more requests mean less work done.
    pub strain_from: u32,
}

impl Limits {
    /// The request rate of the Bitrix24 cloud: 2 a second, 50 at once.
    pub fn cloud() -> Limits {
        Limits { rate: 2.0, burst: 50, ..Limits::default() }
    }
}

impl Limits {
    /// The factor for the delays of a request when so many are under way.
    pub(super) fn strain(&self, under_way: u32) -> f64 {
        if self.strain_from == 0 || under_way <= self.strain_from {
            return 1.0;
        }
        (f64::from(under_way) / f64::from(self.strain_from)).powi(2)
    }
}

/// Counts HTTP requests and refuses those over the rate. A batch is one request.
pub(super) struct Throttle {
    rate: f64,
    burst: f64,
    level: f64,
    drained: Instant,
    /// HTTP requests so far, the refused ones included.
    pub requests: u64,
    pub refused: u64,
}

impl Throttle {
    pub fn new(limits: &Limits, now: Instant) -> Throttle {
        Throttle {
            rate: limits.rate,
            burst: f64::from(limits.burst),
            level: 0.0,
            drained: now,
            requests: 0,
            refused: 0,
        }
    }

    /// Whether the request that came at `now` may run.
    pub fn admit(&mut self, now: Instant) -> bool {
        self.requests += 1;
        if self.rate <= 0.0 {
            return true;
        }
        let drained = now.saturating_duration_since(self.drained).as_secs_f64() * self.rate;
        self.level = (self.level - drained).max(0.0);
        self.drained = now;
        let admitted = self.level + 1.0 <= self.burst;
        if admitted {
            self.level += 1.0;
        } else {
            self.refused += 1;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_refuses_until_it_has_drained() {
        let start = Instant::now();
        let mut throttle = Throttle::new(&Limits::cloud(), start);
        assert!((0..50).all(|_| throttle.admit(start)));
        assert!(!throttle.admit(start));
        let later = start + Duration::from_millis(500);
        assert!(throttle.admit(later));
        assert!(!throttle.admit(later));
        assert_eq!((throttle.requests, throttle.refused), (53, 2));
    }

    #[test]
    fn a_strained_portal_gets_less_done_the_more_it_is_asked() {
        let limits = Limits { strain_from: 4, ..Limits::default() };
        assert_eq!([1, 4, 8, 12].map(|under_way| limits.strain(under_way)), [1.0, 1.0, 4.0, 9.0]);
        assert_eq!(Limits::default().strain(1000), 1.0);
    }

    #[test]
    fn rate_zero_is_unlimited() {
        let start = Instant::now();
        let mut throttle = Throttle::new(&Limits::default(), start);
        assert!((0..1000).all(|_| throttle.admit(start)));
    }
}
