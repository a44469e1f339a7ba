//! How many requests may be under way at once. The number is found out from what the portal does; no setting says it.
//! Pure: the caller brings the time. It counts answers and does not know what is asked.
//!
//! After Vector's adaptive request concurrency: the number rises by a step while more requests bring more answers, and
//! returns when they do not. It falls by a tenth when requests fail. It is judged once in a measured time, and only
//! while it is reached. Two things differ. The first steps double it. And a step is judged by the answers a second
//! before and after it, not by the time of one answer: a portal that answers now in 20, now in 200 ms would look
//! overloaded by that.

use std::time::{Duration, Instant};

/// Where it starts: a portal of any size takes this many.
const FIRST: usize = 4;
/// A step up stays when it brings at least this share of what it would bring if more requests cost the portal nothing.
/// Not more: with more requests fewer calls share one, and a call alone takes longer than one of many.
const WORTH: f64 = 0.15;
/// A portal whose rate falls to this share has become slower.
const SLOWER: f64 = 0.8;
/// The share of the rate that a step down may cost: less is noise.
const NOISE: f64 = 0.05;
/// What remains of the limit after a step down, and after a second one when the first brought more.
const DECREASE: f64 = 0.9;
const STEEP_DECREASE: f64 = 0.7;
/// A measurement lasts until each place was used so often: roughly while doubling, well afterwards.
const ROUGH_ROUNDS: usize = 2;
const GOOD_ROUNDS: usize = 8;
/// The fewest answers in a measurement after doubling.
const FEWEST: usize = 24;
/// The rest between two tries of a step, up and down in turn; each useless try doubles it.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// The search for the best number.
#[derive(Debug)]
pub struct Concurrency {
    most: usize,
    limit: usize,
    step: Step,
    /// Calls a second at the limit that was last found good.
    rate: f64,
    measured: Measurement,
    /// The next step is not tried before this time.
    rest_until: Option<Instant>,
    rest: Duration,
    /// The next step goes up.
    up_next: bool,
    /// When the last answer came.
    last: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// It doubles from a limit that was good.
    Doubling {
        from: usize,
    },
    Up {
        from: usize,
    },
    Down {
        from: usize,
    },
    /// It is the best number known.
    Settled,
}

/// The answers since the limit was changed.
#[derive(Debug, Default)]
struct Measurement {
    /// Answers to requests that were sent before the change; they are not counted.
    passed_over: usize,
    started: Option<Instant>,
    answers: usize,
    /// How often a request was held back.
    held_back: usize,
    calls: usize,
}

impl Concurrency {
    /// A search that goes up to `most`.
    pub fn new(most: usize) -> Concurrency {
        let limit = FIRST.min(most).max(1);
        Concurrency {
            most: most.max(1),
            limit,
            step: Step::Doubling { from: limit },
            rate: 0.0,
            measured: Measurement::default(),
            rest_until: None,
            rest: FIRST_REST,
            up_next: true,
            last: None,
        }
    }

    /// How many requests may be under way.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether another request may start while so many are under way.
    pub fn may_start(&mut self, under_way: usize) -> bool {
        let may_start = under_way < self.limit;
        self.measured.held_back += usize::from(!may_start);
        may_start
    }

    /// A request with so many calls was answered after this time. Time without any request is not measured.
    pub fn answered(&mut self, now: Instant, took: Duration, calls: usize) {
        let sent = now.checked_sub(took).unwrap_or(now);
        let idle = self.last.replace(now).map_or(Duration::ZERO, |last| sent.saturating_duration_since(last));
        self.measured.started = self.measured.started.map(|started| started + idle);
        let doubling = matches!(self.step, Step::Doubling { .. });
        let measured = &mut self.measured;
        if measured.passed_over < self.limit {
            measured.passed_over += 1;
            measured.started = Some(now);
            return;
        }
        let started = *measured.started.get_or_insert(now);
        measured.answers += 1;
        measured.calls += calls;
        let enough = if doubling { ROUGH_ROUNDS * self.limit } else { FEWEST.max(GOOD_ROUNDS * self.limit) };
        if measured.answers < enough {
            return;
        }
        let rate = measured.calls as f64 / now.saturating_duration_since(started).as_secs_f64().max(1e-6);
        // It was held back about once a round; otherwise the limit is not what keeps the rate down.
        let counts = measured.held_back * self.limit * 2 >= measured.answers && started < now;
        self.measured = Measurement { passed_over: self.limit, started: Some(now), ..Measurement::default() };
        if counts {
            self.judge(now, rate);
        }
    }

    /// A request failed in a way that shows an overloaded portal: no answer, or a server error.
    pub fn failed(&mut self) {
        // Once a round: requests that were under way together fail together.
        if self.measured.passed_over < self.limit {
            self.measured.passed_over += 1;
            return;
        }
        self.step = Step::Settled;
        self.rate = 0.0;
        self.change(lower(self.limit, DECREASE));
    }

    fn judge(&mut self, now: Instant, rate: f64) {
        match self.step {
            Step::Doubling { .. } if rate > self.rate * (1.0 + WORTH) => self.double(rate, now),
            Step::Doubling { from } => self.settle(from, now),
            Step::Up { from } if rate >= self.rate * (1.0 + WORTH * (self.limit as f64 / from as f64 - 1.0)) => {
                self.rate = rate;
                self.rest = FIRST_REST;
                self.step_up(now);
            }
            // Fewer requests do as much, so the portal need not have more.
            Step::Down { .. } if rate >= self.rate * (1.0 - NOISE) => {
                self.rest = FIRST_REST;
                let more = rate > self.rate * (1.0 + NOISE);
                self.step_down(rate.max(self.rate), if more { STEEP_DECREASE } else { DECREASE });
            }
            Step::Up { from } | Step::Down { from } => {
                self.rest = (self.rest * 2).min(LONGEST_REST);
                self.settle(from, now);
            }
            Step::Settled if rate < self.rate * SLOWER => self.step_down(rate, DECREASE),
            Step::Settled => {
                self.rate = if self.rate > 0.0 { 0.7 * self.rate + 0.3 * rate } else { rate };
                if self.rest_until.is_none_or(|until| until <= now) {
                    let up = self.up_next;
                    self.up_next = !up;
                    if up { self.step_up(now) } else { self.step_down(self.rate, DECREASE) }
                }
            }
        }
    }

    fn double(&mut self, rate: f64, now: Instant) {
        self.rate = rate;
        let (from, to) = (self.limit, (self.limit * 2).min(self.most));
        if to == from {
            return self.settle(from, now);
        }
        self.step = Step::Doubling { from };
        self.change(to);
    }

    fn settle(&mut self, limit: usize, now: Instant) {
        self.step = Step::Settled;
        self.rest_until = Some(now + self.rest);
        self.change(limit);
    }

    fn step_up(&mut self, now: Instant) {
        // An eighth, so that a large limit moves too.
        let (from, to) = (self.limit, (self.limit + (self.limit / 8).max(1)).min(self.most));
        if to == from {
            return self.settle(from, now);
        }
        self.step = Step::Up { from };
        self.change(to);
    }

    fn step_down(&mut self, rate: f64, remains: f64) {
        self.rate = rate;
        let (from, to) = (self.limit, lower(self.limit, remains));
        self.step = if to == from { Step::Settled } else { Step::Down { from } };
        self.change(to);
    }

    fn change(&mut self, limit: usize) {
        self.limit = limit.max(1);
        self.measured = Measurement::default();
    }
}

fn lower(limit: usize, remains: f64) -> usize {
    ((limit as f64 * remains) as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends requests, for so many seconds, to a portal that answers in `takes(requests under way)`. Returns the
    /// answers a second of the last half.
    fn run(concurrency: &mut Concurrency, seconds: f64, takes: impl Fn(usize) -> f64) -> f64 {
        let started = Instant::now();
        let (mut now, mut under_way, mut late) = (0.0, Vec::<f64>::new(), 0);
        while now < seconds {
            while concurrency.may_start(under_way.len()) {
                let count = under_way.len() + 1;
                // Not all at the same time, as in life.
                under_way.push(now + takes(count) * (1.0 + 0.05 * ((late + count) % 7) as f64 / 7.0));
            }
            let first = (0..under_way.len()).min_by(|a, b| under_way[*a].total_cmp(&under_way[*b])).expect("one");
            now = under_way.swap_remove(first).max(now);
            late += usize::from(now > seconds / 2.0);
            concurrency.answered(started + Duration::from_secs_f64(now), Duration::from_millis(50), 1);
        }
        late as f64 / (seconds / 2.0)
    }

    #[test]
    fn it_rises_to_the_limit_where_more_requests_cost_nothing() {
        let mut concurrency = Concurrency::new(128);
        let rate = run(&mut concurrency, 10.0, |_| 0.05);
        assert_eq!(concurrency.limit(), 128);
        assert!(rate > 0.9 * 128.0 / 0.0525, "{rate}");
    }

    #[test]
    fn it_ends_near_the_best_of_a_portal_that_more_requests_slow_down() {
        for best in [2, 8, 11, 30] {
            let strained = |count: usize| 0.05 * (count as f64 / best as f64).max(1.0).powi(2);
            let mut concurrency = Concurrency::new(256);
            let rate = run(&mut concurrency, 60.0, strained);
            assert!(rate > 0.9 * best as f64 / 0.0515, "best {best}: limit {} and {rate}/s", concurrency.limit());
        }
    }

    #[test]
    fn it_does_not_rise_where_more_requests_only_wait() {
        let mut concurrency = Concurrency::new(256);
        run(&mut concurrency, 60.0, |count| 0.05 * (count as f64 / 8.0).max(1.0));
        assert!((6..=12).contains(&concurrency.limit()), "{}", concurrency.limit());
    }

    #[test]
    fn it_follows_a_portal_that_becomes_weaker_and_stronger_again() {
        let strained = |best: f64| move |count: usize| 0.05 * (count as f64 / best).max(1.0).powi(2);
        let mut concurrency = Concurrency::new(256);
        run(&mut concurrency, 30.0, strained(32.0));
        let weak = run(&mut concurrency, 60.0, strained(8.0));
        assert!(weak > 0.85 * 8.0 / 0.0515, "weaker: limit {} and {weak}/s", concurrency.limit());
        let strong = run(&mut concurrency, 200.0, strained(32.0));
        assert!(strong > 0.8 * 32.0 / 0.0515, "stronger: limit {} and {strong}/s", concurrency.limit());
    }

    #[test]
    fn answers_below_the_limit_say_nothing_about_it() {
        let (mut concurrency, started) = (Concurrency::new(128), Instant::now());
        (0..1000)
            .for_each(|n| concurrency.answered(started + Duration::from_millis(50 * n), Duration::from_millis(50), 1));
        assert_eq!(concurrency.limit(), FIRST);
    }

    #[test]
    fn failures_lower_it_once_a_round_and_never_below_one() {
        let mut concurrency = Concurrency::new(128);
        run(&mut concurrency, 10.0, |_| 0.05);
        concurrency.failed();
        assert_eq!(concurrency.limit(), 115);
        (0..115).for_each(|_| concurrency.failed());
        assert_eq!(concurrency.limit(), 115);
        concurrency.failed();
        assert_eq!(concurrency.limit(), 103);
        (0..10_000).for_each(|_| concurrency.failed());
        assert_eq!(concurrency.limit(), 1);
    }
}
