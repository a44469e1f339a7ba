//! Which methods have used up their running time at the portal, and how long each cools down. It counts nothing: the
//! portal says in each reply when it forgets a method's oldest minute, and refuses a method that has had enough.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::errors::{ApiError, Kind};
use crate::message::now_ms;

/// The cool-down of a refused method when the portal has not said when to come back.
const UNKNOWN_TIME: Duration = Duration::from_secs(60);
/// The portal counts ten minutes; a longer time comes from a wrong clock.
const LONGEST: Duration = Duration::from_secs(600);

/// The methods of one portal.
#[derive(Debug, Default)]
pub struct CoolDowns(Mutex<HashMap<&'static str, Times>>);

#[derive(Debug, Default)]
struct Times {
    /// When the portal forgets a part of what the method has used, as its last reply says.
    reset: Option<Instant>,
    /// The method must not be called before this time.
    until: Option<Instant>,
}

impl CoolDowns {
    /// How long the method must not be called yet; `None` when it may be.
    pub fn rest(&self, method: &str, now: Instant) -> Option<Duration> {
        let until = self.lock().get(method)?.until?;
        Some(until.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
    }

    /// How long each method that has been called must not be called yet; zero when it may be.
    pub fn all(&self, now: Instant) -> Vec<(&'static str, Duration)> {
        let rest = |until: Option<Instant>| until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let mut all: Vec<_> = self.lock().iter().map(|(method, times)| (*method, rest(times.until))).collect();
        all.sort_unstable();
        all
    }

    /// Learns from the outcome of a call. A refusal names no time, the last success did: `time.operating_reset_at`, in
    /// seconds since 1970 by the portal's clock, like `time.finish`. Both may be cut to a second, and a call that comes
    /// a moment too early costs another minute.
    pub fn note(&self, method: &'static str, result: &Result<Value, ApiError>, now: Instant) {
        let mut methods = self.lock();
        let times = methods.entry(method).or_default();
        match result {
            Ok(reply) => {
                let time = &reply["time"];
                let told = time["finish"].as_f64().map(|finish| finish as u64).unwrap_or_else(|| now_ms() / 1000);
                let left = time["operating_reset_at"].as_u64().map(|at| at.saturating_sub(told).saturating_add(1));
                times.reset = left.map(|left| now + Duration::from_secs(left).min(LONGEST));
            }
            Err(err) if err.kind == Kind::CoolingDown => {
                let rest = times.until.filter(|until| *until > now);
                let reset = times.reset.take().filter(|reset| *reset > now);
                times.until = rest.or(reset).or(Some(now + UNKNOWN_TIME));
            }
            Err(_) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, Times>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const METHOD: &str = "tasks.task.add";

    fn refused() -> Result<Value, ApiError> {
        Err(ApiError::new(Kind::CoolingDown, "OPERATION_TIME_LIMIT".into()))
    }

    fn success(reset_in_seconds: u64) -> Result<Value, ApiError> {
        Ok(json!({"result": {}, "time": {"operating_reset_at": now_ms() / 1000 + reset_in_seconds}}))
    }

    #[test]
    fn a_refused_method_rests_until_the_time_of_its_last_success_and_no_other_does() {
        let (cool_downs, now) = (CoolDowns::default(), Instant::now());
        cool_downs.note(METHOD, &success(300), now);
        assert_eq!(cool_downs.rest(METHOD, now), None);
        cool_downs.note(METHOD, &refused(), now);
        let rest = cool_downs.rest(METHOD, now).expect("a rest");
        // At 300 it may still be refused: the portal's second is not over.
        assert!(rest > Duration::from_secs(300) && rest <= Duration::from_secs(301), "{rest:?}");
        assert_eq!(cool_downs.rest("tasks.task.list", now), None);
        assert_eq!(cool_downs.rest(METHOD, now + Duration::from_secs(302)), None);
        assert_eq!(cool_downs.all(now), [(METHOD, rest)]);
        assert_eq!(cool_downs.all(now + Duration::from_secs(302)), [(METHOD, Duration::ZERO)]);
    }

    #[test]
    fn the_time_is_read_by_the_portals_own_clock() {
        let (cool_downs, now) = (CoolDowns::default(), Instant::now());
        let reply = json!({"result": {}, "time": {"finish": 5000.9, "operating_reset_at": 5040}});
        cool_downs.note(METHOD, &Ok(reply), now);
        cool_downs.note(METHOD, &refused(), now);
        assert_eq!(cool_downs.rest(METHOD, now), Some(Duration::from_secs(41)));
    }

    #[test]
    fn without_a_time_it_rests_a_minute_and_a_wrong_clock_makes_it_ten_at_most() {
        let (cool_downs, now) = (CoolDowns::default(), Instant::now());
        cool_downs.note(METHOD, &refused(), now);
        assert_eq!(cool_downs.rest(METHOD, now), Some(UNKNOWN_TIME));
        // Refused again as soon as it may be called: the time in the last success is over.
        let later = now + UNKNOWN_TIME;
        cool_downs.note(METHOD, &refused(), later);
        assert_eq!(cool_downs.rest(METHOD, later), Some(UNKNOWN_TIME));
        cool_downs.note("batch", &success(90_000), now);
        cool_downs.note("batch", &refused(), now);
        assert_eq!(cool_downs.rest("batch", now), Some(LONGEST));
    }
}
