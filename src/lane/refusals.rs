//! Queues that do not take messages, because they are full or gone, and how that is logged: once a minute for each
//! queue, not for each message. What becomes of the messages, the ledger and the sweep decide.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::log_throttle::LogThrottle;
use crate::stats::span;

/// The queues that have refused a message.
#[derive(Debug, Default)]
pub struct Refusals(HashMap<String, Refusal>);

#[derive(Debug, Default)]
struct Refusal {
    /// When it refused the first of the messages that wait for it; `None` when none waits.
    since: Option<Instant>,
    /// It was logged since then.
    told: bool,
    /// Kept when nothing waits any more: a queue that is full now and then is not logged each time.
    news: LogThrottle,
}

impl Refusals {
    /// The queue did not take a message. Returns the text to log, once a minute.
    pub fn refused(&mut self, queue: &str, why: &str, now: Instant) -> Option<String> {
        let refusal = self.0.entry(queue.to_owned()).or_default();
        let waiting = now.duration_since(*refusal.since.get_or_insert(now));
        let said = refusal.news.say(&format!("{queue} does not take messages: {why}"), now)?;
        refusal.told = true;
        Some(if waiting.is_zero() { said } else { format!("{said}, for {} now", span(waiting)) })
    }

    /// How long the queue has refused that refuses longest.
    pub fn longest(&self, now: Instant) -> Option<Duration> {
        self.0.values().filter_map(|refusal| refusal.since).map(|since| now.saturating_duration_since(since)).max()
    }

    /// Is there a queue that messages wait for?
    pub fn any(&self) -> bool {
        self.0.values().any(|refusal| refusal.since.is_some())
    }

    /// The queues for which nothing waits any more, if their refusal was logged, each with how long it lasted.
    pub fn over(&mut self, waiting: impl Fn(&str) -> usize, now: Instant) -> Vec<(String, Duration)> {
        let over = self.0.iter_mut().filter(|(queue, refusal)| refusal.since.is_some() && waiting(queue) == 0);
        let told = over.filter_map(|(queue, refusal)| {
            let since = refusal.since.take()?;
            std::mem::take(&mut refusal.told).then(|| (queue.clone(), now.duration_since(since)))
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_logged_once_a_minute_until_nothing_waits() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(refusals.refused("sent", "full", at(0)).as_deref(), Some("sent does not take messages: full"));
        assert!((1..60).all(|second| refusals.refused("sent", "full", at(second)).is_none()));
        assert!(refusals.refused("errors", "full", at(5)).is_some());
        assert_eq!(refusals.longest(at(60)), Some(Duration::from_secs(60)));
        let again = refusals.refused("sent", "full", at(61)).unwrap_or_default();
        assert_eq!(again, "sent does not take messages: full (again, 60 times), for 1m01s now");
        assert_eq!(
            refusals.over(|queue| usize::from(queue == "errors"), at(70)),
            [("sent".into(), Duration::from_secs(70))]
        );
        assert!(refusals.any() && !refusals.over(|_| 0, at(70)).is_empty() && !refusals.any());
        // Full again within the minute: not logged.
        assert_eq!((refusals.refused("sent", "full", at(75)), refusals.over(|_| 0, at(80)).len()), (None, 0));
        assert!(refusals.refused("sent", "full", at(125)).is_some());
    }
}
