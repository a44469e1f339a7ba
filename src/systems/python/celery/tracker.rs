//! Finds the results of recorded tasks among those that are in our queue, and acknowledges one when its response is
//! confirmed.
//!
//! What becomes of a record is decided in [`crate::lane::checking`].

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::Settings;
use super::outcome::ResultMessage;
use crate::http::text::beginning;
use crate::message::Record;
use crate::rabbitmq::rpc::{Peer, Replies};
use crate::systems::{Failure, Progress, Tracker};

/// A result whose task has no record for so long is a second one: no record takes so long from its task to the queue.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);
/// The same for a task that was answered before: its message may have been replayed, and its record be under way.
const SECOND_WAIT: Duration = Duration::from_secs(600);
/// Ids of answered tasks, and of results without a record, that are remembered.
const MOST_REMEMBERED: usize = 100_000;

/// The tracker; one thread uses it.
pub struct CeleryTracker {
    settings: Settings,
    peer: Peer,
    /// The results in hand, until the responses to those that are answered are confirmed.
    replies: Option<Replies>,
    /// Their numbers, by task.
    held: HashMap<String, Vec<usize>>,
    /// Their further results are dropped soon.
    answered: HashSet<String>,
    /// Since when a result has had no record.
    unclaimed: HashMap<String, Instant>,
}

impl CeleryTracker {
    /// A tracker for the queue of these settings.
    pub fn new(settings: Settings, peer: Peer) -> CeleryTracker {
        CeleryTracker {
            settings,
            peer,
            replies: None,
            held: HashMap::new(),
            answered: HashSet::new(),
            unclaimed: HashMap::new(),
        }
    }
}

impl Tracker for CeleryTracker {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        // Those of an earlier sweep whose response was not confirmed go back first.
        self.release();
        let mut replies = match self.peer.read() {
            Ok(replies) => replies,
            Err(err) => return records.iter().map(|_| Err(unavailable(&err))).collect(),
        };
        let by_id: HashMap<&str, usize> =
            records.iter().enumerate().map(|(index, record)| (record.task.id.as_str(), index)).collect();
        let mut results: Vec<Result<Progress, Failure>> = records.iter().map(is_ours).collect();
        for (number, body) in std::mem::take(&mut replies.bodies).into_iter().enumerate() {
            match self.claim(&body, replies.request_of(number), &by_id, Instant::now()) {
                Claimed::By(index, result) => {
                    let record = &records[index];
                    let held = self.held.entry(record.task.id.clone()).or_default();
                    // Of several the first counts: a task that is done twice may refuse the second time.
                    if held.is_empty() {
                        results[index] = Ok(result.progress(&record.task, &self.settings));
                    }
                    held.push(number);
                }
                Claimed::Nobody => {}
                // What cannot be acknowledged comes again.
                Claimed::Dropped => drop(replies.ack(number)),
            }
        }
        if !self.held.is_empty() {
            self.replies = Some(replies);
        }
        results
    }

    fn answered(&mut self, task_ids: &[&str]) {
        if self.answered.len() >= MOST_REMEMBERED {
            self.answered.clear();
        }
        self.answered.extend(task_ids.iter().map(|id| (*id).to_owned()));
        self.settle(task_ids);
    }

    fn parked(&mut self, task_ids: &[&str]) {
        // A task that is replayed must not find the result of this try.
        self.settle(task_ids);
    }
}

/// Whose a result is.
enum Claimed {
    /// The record's of this number.
    By(usize, ResultMessage),
    /// Nobody's yet: it goes back.
    Nobody,
    /// Nobody's for ever.
    Dropped,
}

impl CeleryTracker {
    /// Acknowledges the results of these tasks; one that cannot be comes again.
    fn settle(&mut self, task_ids: &[&str]) {
        let numbers: Vec<usize> = task_ids.iter().filter_map(|id| self.held.remove(*id)).flatten().collect();
        if let Some(replies) = &mut self.replies {
            numbers.into_iter().for_each(|number| drop(replies.ack(number)));
        }
        if self.held.is_empty() {
            self.release();
        }
    }

    /// Gives back what is in hand.
    fn release(&mut self) {
        self.held.clear();
        self.replies = None;
    }

    fn claim(&mut self, body: &[u8], request: Option<&str>, by_id: &HashMap<&str, usize>, now: Instant) -> Claimed {
        let Some(result) = ResultMessage::parse(body, request) else {
            let queue = &self.settings.replies;
            log::error!("dropping from {queue} what is no result in JSON of a Celery task: {}", beginning(body));
            return Claimed::Dropped;
        };
        match by_id.get(result.task_id.as_str()) {
            _ if result.end.is_none() => Claimed::Dropped,
            Some(index) => {
                self.unclaimed.remove(&result.task_id);
                Claimed::By(*index, result)
            }
            None => self.without_record(&result.task_id, now),
        }
    }

    fn without_record(&mut self, id: &str, now: Instant) -> Claimed {
        if self.unclaimed.len() >= MOST_REMEMBERED {
            self.unclaimed.clear();
        }
        let since = *self.unclaimed.entry(id.to_owned()).or_insert(now);
        let is_second = self.answered.contains(id);
        if now.saturating_duration_since(since) < if is_second { SECOND_WAIT } else { LONGEST_WAIT } {
            return Claimed::Nobody;
        }
        self.unclaimed.remove(id);
        match is_second {
            true => log::info!("answered before, dropping a second result: task={id}"),
            false => log::warn!("no task has waited for this result in {LONGEST_WAIT:?}, dropping it: task={id}"),
        }
        Claimed::Dropped
    }
}

/// Nothing is known of it yet; of one that was not put into Celery's queue nothing will be.
fn is_ours(record: &Record) -> Result<Progress, Failure> {
    Ok(match record.response_data["celery"] == true {
        true => Progress::Open,
        false => Progress::Foreign("its task is not at Celery: unset CELERY_QUEUE until it is answered".into()),
    })
}

fn unavailable(err: &anyhow::Error) -> Failure {
    Failure::Unavailable { error: anyhow!("the broker of Celery: {err:#}"), until: None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::settings::Variables;
    use crate::systems::http_jobs::Named;

    const NAMED: Named = Named { system: "python-services", what: "services", prefix: "PYTHON", off: "off" };

    fn tracker() -> CeleryTracker {
        let value = |name: &str| (name == "CELERY_QUEUE").then(|| "celery".to_owned());
        let (settings, _) = Variables::read(value, |variables| Settings::from_variables(&NAMED, variables));
        let settings = settings.expect("it is on");
        let config = Config::read(|name: &str| (name == "RABBITMQ_PASSWORD").then(|| "secret".to_owned()));
        let peer = settings.peer(&config.expect("right settings").rabbitmq);
        CeleryTracker::new(settings, peer)
    }

    fn result() -> Vec<u8> {
        json!({"status": "SUCCESS", "result": 1, "task_id": "task-1"}).to_string().into_bytes()
    }

    /// Is a result that has no record at this time dropped?
    fn is_dropped(tracker: &mut CeleryTracker, now: Instant) -> bool {
        matches!(tracker.claim(&result(), None, &HashMap::new(), now), Claimed::Dropped)
    }

    #[test]
    fn a_result_that_comes_before_its_record_goes_back_also_where_its_task_was_answered_before() {
        let (mut tracker, start) = (tracker(), Instant::now());
        assert!(!is_dropped(&mut tracker, start) && !is_dropped(&mut tracker, start + SECOND_WAIT));
        assert!(is_dropped(&mut tracker, start + LONGEST_WAIT));
        tracker.answered(&["task-1"]);
        assert!(!is_dropped(&mut tracker, start) && !is_dropped(&mut tracker, start + SECOND_WAIT / 2));
        let claimed = tracker.claim(&result(), None, &HashMap::from([("task-1", 0)]), start + SECOND_WAIT);
        assert!(matches!(claimed, Claimed::By(0, _)), "its record is there");
        // Another one: its time starts now.
        assert!(!is_dropped(&mut tracker, start + SECOND_WAIT) && is_dropped(&mut tracker, start + SECOND_WAIT * 2));
    }
}
