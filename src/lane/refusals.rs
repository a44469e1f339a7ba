//! Queues that do not take messages, because they are full or gone: how it is told, once a minute for each and not for
//! each message. What becomes of the messages is the ledger's and the sweep's business.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::log_throttle::LogThrottle;
use crate::stats::span;

/// The queues that have refused a message.
#[derive(Debug, Default)]
pub struct Refusals(HashMap<String, Refusal>);

#[derive(Debug, Default)]
struct Refusal {
    /// When it refused the first of those that wait for it; `None` when nothing does.
    since: Option<Instant>,
    /// It was said since then.
    told: bool,
    /// Goes on when nothing waits any more: a queue that is full now and then is no news each time.
    news: LogThrottle,
}

impl Refusals {
    /// The queue did not take a message. What is to be logged, once a minute.
    pub fn refused(&mut self, queue: &str, why: &str, now: Instant) -> Option<String> {
        let refusal = self.0.entry(queue.to_owned()).or_default();
        let waiting = now.duration_since(*refusal.since.get_or_insert(now));
        let said = refusal.news.say(&format!("{queue} does not take messages: {why}"), now)?;
        refusal.told = true;
        Some(if waiting.is_zero() { said } else { format!("{said}, for {} now", span(waiting)) })
    }

    /// For how long the one that refuses longest has done so.
    pub fn longest(&self, now: Instant) -> Option<Duration> {
        self.0.values().filter_map(|refusal| refusal.since).map(|since| now.saturating_duration_since(since)).max()
    }

    /// Is there a queue that messages wait for?
    pub fn any(&self) -> bool {
        self.0.values().any(|refusal| refusal.since.is_some())
    }

    /// Those queues for which nothing waits any more, and of which it was said that something does; with how long it
    /// did.
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
    fn a_full_queue_is_told_once_a_minute_and_until_nothing_waits() {
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
        // Full now and then within a minute: that is no news.
        assert_eq!((refusals.refused("sent", "full", at(75)), refusals.over(|_| 0, at(80)).len()), (None, 0));
        assert!(refusals.refused("sent", "full", at(125)).is_some());
    }
}
