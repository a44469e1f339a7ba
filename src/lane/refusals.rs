//! Queues that do not take messages, because they are full or gone: how it is told, once a minute for each and not for each
//! message. What becomes of the messages is the ledger's and the sweep's business.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::repeated::Repeated;
use crate::stats::span;

/// The queues that have refused a message and not taken all since.
#[derive(Debug, Default)]
pub struct Refusals(HashMap<String, Refusal>);

#[derive(Debug)]
struct Refusal {
    since: Instant,
    news: Repeated,
}

impl Refusals {
    /// The queue did not take a message. What is to be logged, once a minute.
    pub fn refused(&mut self, queue: &str, why: &str, now: Instant) -> Option<String> {
        let new = || Refusal { since: now, news: Repeated::default() };
        let refusal = self.0.entry(queue.to_owned()).or_insert_with(new);
        let said = refusal.news.say(&format!("{queue} does not take messages: {why}"), now)?;
        let since = now.duration_since(refusal.since);
        Some(if since.is_zero() { said } else { format!("{said}, for {} now", span(since)) })
    }

    /// Is there a queue that does not take messages?
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Those queues for which nothing waits any more, with how long they did not take messages.
    pub fn over(&mut self, waiting: impl Fn(&str) -> usize, now: Instant) -> Vec<(String, Duration)> {
        let over: Vec<String> = self.0.keys().filter(|queue| waiting(queue) == 0).cloned().collect();
        let ended = over.into_iter().filter_map(|queue| self.0.remove_entry(&queue));
        ended.map(|(queue, refusal)| (queue, now.duration_since(refusal.since))).collect()
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
        let again = refusals.refused("sent", "full", at(61)).unwrap_or_default();
        assert_eq!(again, "sent does not take messages: full (again, 60 times), for 1m01s now");
        assert_eq!(
            refusals.over(|queue| usize::from(queue == "errors"), at(70)),
            [("sent".into(), Duration::from_secs(70))]
        );
        assert!(refusals.any() && !refusals.over(|_| 0, at(70)).is_empty() && !refusals.any());
    }
}
