//! What the last requests have shown about a portal: how long a call takes, how long a request, how many may be under
//! way. It sends nothing, and of a reply it only reads whether there was one.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::batch;
use super::client::Reply;
use super::concurrency::Concurrency;
use super::errors::Kind;

/// Few requests keep a portal busy that answers each within this time.
const FAST: Duration = Duration::from_millis(5);
/// How much weight one more request has in the average time of a request.
const WEIGHT: f64 = 0.3;
const CREATE: &str = "tasks.task.add";
/// A method that is called for the first time is expected to be this many times slower than the slowest known one, but
/// not slower than lets the second number of its calls go together.
const NEW_FACTOR: u32 = 5;
const FIRST_CALLS: u32 = 10;
/// One request does not change the time of a call by more than this factor.
const LARGEST_FACTOR: f64 = 1000.0;

/// What is known about a portal.
#[derive(Debug)]
pub struct Learnt {
    concurrency: Concurrency,
    /// How long one call of a method takes now.
    pace: HashMap<&'static str, Duration>,
    /// How long a request takes now, in seconds.
    request: Option<f64>,
    /// Requests without an answer since the last answer.
    unanswered: u32,
}

impl Learnt {
    /// For a portal that is not known yet, with up to `most` requests under way at once.
    pub fn new(most: usize) -> Learnt {
        Learnt { concurrency: Concurrency::new(most), pace: HashMap::new(), request: None, unanswered: 0 }
    }

    /// Whether another request may start while so many are under way.
    pub fn may_start(&mut self, under_way: usize) -> bool {
        self.concurrency.may_start(under_way)
    }

    /// How many requests may be under way.
    pub fn concurrency(&self) -> usize {
        self.concurrency.limit()
    }

    /// Whether a request takes so little time that it costs more than the calls in it.
    pub fn is_fast(&self) -> bool {
        self.request.is_some_and(|seconds| seconds < FAST.as_secs_f64())
    }

    /// How long one call of this method is expected to take in a batch that may take `time`. An unknown method is
    /// expected to be much slower than all others, but not so slow that ten calls of it would take longer than `time`.
    /// A create is expected to be that slow too: many creates without an answer would be many unknown outcomes.
    pub fn expected(&self, method: &str, time: Duration) -> Duration {
        let slowest = self.pace.values().max().filter(|_| method != CREATE).map_or(time, |pace| *pace * NEW_FACTOR);
        self.pace(method).unwrap_or(slowest.min(time / FIRST_CALLS))
    }

    fn pace(&self, method: &str) -> Option<Duration> {
        self.pace.get(method).copied()
    }

    /// How many requests in a row got no answer.
    pub fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// A request with calls of these methods has taken so long. One that ended without an answer has shown that they
    /// are too many. A refusal shows nothing, whether of the whole request or of each call.
    pub fn note(&mut self, calls: &[&'static str], took: Duration, result: &Reply) {
        let before = self.concurrency.limit();
        match result {
            Ok(reply) if calls.len() == 1 || batch::any_ran(&reply["result"]) => {
                let seconds = took.as_secs_f64();
                self.request = Some(self.request.map_or(seconds, |known| known + WEIGHT * (seconds - known)));
                self.unanswered = 0;
                self.divide(calls, took, |_, now| now);
                self.concurrency.answered(Instant::now(), took, calls.len());
            }
            Err(err) if err.kind == Kind::Unknown => {
                self.unanswered += 1;
                // Each call takes at least as long as before.
                self.divide(calls, took, Duration::max);
                self.concurrency.failed();
            }
            Err(err) if matches!(err.kind, Kind::Unreachable | Kind::TooFast) => self.concurrency.failed(),
            Ok(_) | Err(_) => self.unanswered = 0,
        }
        let limit = self.concurrency.limit();
        if limit != before {
            log::debug!("up to {limit} requests at once from now on, {before} before");
        }
    }

    /// Divides the time of a request among its calls: in the ratio of the known times, and evenly where none is known.
    fn divide(&mut self, calls: &[&'static str], took: Duration, becomes: fn(Duration, Duration) -> Duration) {
        let even = took / u32::try_from(calls.len()).unwrap_or(u32::MAX);
        let expected: Duration = calls.iter().map(|method| self.pace(method).unwrap_or(even)).sum();
        let factor = took.as_secs_f64() / expected.as_secs_f64().max(1e-6);
        let methods: BTreeSet<&'static str> = calls.iter().copied().collect();
        for method in methods {
            let pace = self.pace.entry(method).or_insert(even);
            *pace = becomes(*pace, pace.mul_f64(factor.min(LARGEST_FACTOR)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::errors::ApiError;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn answered(learnt: &mut Learnt, calls: &[&'static str], took: Duration) {
        learnt.note(calls, took, &Ok(json!({"result": {"result": {"c0": 1}}})));
    }

    #[test]
    fn a_mixed_batch_keeps_the_ratio_of_what_is_known() {
        let mut learnt = Learnt::new(4);
        answered(&mut learnt, &["slow"], 4 * SECOND);
        answered(&mut learnt, &["quick"], SECOND);
        answered(&mut learnt, &["slow", "quick", "new"], 15 * SECOND);
        // 4 + 1 + an even share of 5 were expected, 15 it took.
        assert_eq!(
            ["slow", "quick", "new"].map(|method| learnt.pace(method)),
            [6.0, 1.5, 7.5].map(|s| Some(SECOND.mul_f64(s)))
        );
    }

    #[test]
    fn a_request_without_an_answer_never_makes_a_call_look_faster() {
        let mut learnt = Learnt::new(4);
        answered(&mut learnt, &["a"], 4 * SECOND);
        learnt.note(&["a", "a"], SECOND, &Err(ApiError::new(Kind::Unknown, String::new())));
        assert_eq!((learnt.pace("a"), learnt.unanswered()), (Some(4 * SECOND), 1));
        answered(&mut learnt, &["a"], SECOND);
        assert_eq!((learnt.pace("a"), learnt.unanswered()), (Some(SECOND), 0));
    }

    #[test]
    fn a_new_method_is_expected_to_be_slower_than_the_others() {
        let (mut learnt, time) = (Learnt::new(4), 15 * SECOND);
        assert_eq!(learnt.expected("new", time), time / FIRST_CALLS);
        answered(&mut learnt, &["quick"], SECOND / 10);
        assert_eq!(["quick", "new"].map(|method| learnt.expected(method, time)), [SECOND / 10, SECOND / 2]);
        assert_eq!(learnt.expected(CREATE, time), time / FIRST_CALLS);
        answered(&mut learnt, &["slow"], 4 * SECOND);
        assert_eq!(learnt.expected("new", time), time / FIRST_CALLS);
    }

    #[test]
    fn a_refusal_says_nothing_about_the_time() {
        let mut learnt = Learnt::new(4);
        learnt.note(&["a"], SECOND, &Err(ApiError::new(Kind::Refused, String::new())));
        learnt.note(&["a", "a"], SECOND, &Ok(json!({"result": {"result": []}})));
        assert_eq!((learnt.pace("a"), learnt.is_fast()), (None, false));
    }
}
