//! Finds out how what an HTTP service of 1C has made is doing: a request each, since no bulk call is known. What
//! becomes of a record is decided in [`crate::lane::checking`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::Topic;
use crate::http::Class;
use crate::message::{Record, text};
use crate::systems::onec::Settings;
use crate::systems::onec::client::Client;
use crate::systems::onec::errors::ApiError;
use crate::systems::onec::mapping::Mapping;
use crate::systems::{Failure, Progress, Tracker, question};

/// No further task is asked for after this time, so that a slow service does not hold up a sweep.
const LONGEST_ROUND: Duration = Duration::from_secs(120);
/// When so many in a row get no answer, the others are not asked for.
const MOST_UNANSWERED: usize = 3;
/// Tasks of which it is remembered when they were asked for.
const MOST_REMEMBERED: usize = 100_000;

/// The tracker; one thread uses it.
pub struct ServiceTracker {
    settings: Settings,
    mapping: Mapping<Topic>,
    client: Arc<Client>,
    /// When each task was asked for: those come first for which that is longest ago.
    asked: HashMap<String, Instant>,
}

/// What keeps 1C from answering anybody.
#[derive(Default)]
struct Outage {
    /// What it is, once that has shown.
    why: Option<ApiError>,
    /// Requests in a row without an answer.
    unanswered: usize,
}

impl Outage {
    fn note(&mut self, err: &ApiError) {
        self.unanswered = if err.is_silence() { self.unanswered + 1 } else { 0 };
        if err.class == Class::Unavailable || self.unanswered >= MOST_UNANSWERED {
            self.why = Some(err.clone().of_all());
        }
    }
}

impl ServiceTracker {
    /// A tracker for the service of these settings.
    pub fn new(settings: Settings, mapping: Mapping<Topic>, client: Arc<Client>) -> ServiceTracker {
        ServiceTracker { settings, mapping, client, asked: HashMap::new() }
    }

    /// The places of the records, in the order in which they are asked for.
    fn in_turn(&self, records: &[Record]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..records.len()).collect();
        order.sort_by_key(|index| self.asked.get(&records[*index].task.id));
        order
    }

    fn note_asked(&mut self, task_id: &str) {
        if self.asked.len() >= MOST_REMEMBERED {
            self.asked.clear();
        }
        self.asked.insert(task_id.to_owned(), Instant::now());
    }

    fn check_one(&mut self, record: &Record, outage: &mut Outage) -> Result<Progress, Failure> {
        if let Some(err) = &outage.why {
            return Err(err.clone().into());
        }
        self.note_asked(&record.task.id);
        // Whoever changes the mapping may change it back.
        let topic =
            self.mapping.topic(&record.task.topic).map_err(|wrong| Failure::Transient { error: anyhow!(wrong) })?;
        let id = text(&record.response_data["result"]["task"]["id"]);
        let id = id.ok_or_else(|| Failure::Permanent(anyhow!("the record has no response_data.result.task.id")))?;
        let Some(call) = topic.status_call(&record.task.id, &id) else {
            let why = "ONEC_MAPPING_FILE has no \"status\" for its topic any more";
            return Err(Failure::Transient { error: anyhow!(why) });
        };
        let answer = match self.client.turn().and_then(|turn| turn.send(&call)) {
            Ok(answer) => answer,
            Err(err) => {
                outage.note(&err);
                return if err.is_told_not_found() { Ok(Progress::Gone) } else { Err(err.of_reading()) };
            }
        };
        outage.unanswered = 0;
        if topic.gone.as_ref().is_some_and(|gone| gone.is_met(answer.pointer(&gone.field))) {
            return Ok(Progress::Gone);
        }
        if !topic.finished.as_ref().is_some_and(|finished| finished.is_met(answer.pointer(&finished.field))) {
            return Ok(Progress::Open);
        }
        let given = topic.answer.as_ref().and_then(|it| it.text(answer.pointer(&it.field))).map(Ok);
        let is_expected = question::is_expected(&record.task);
        Ok(question::finished(topic.shown(&answer, &id), is_expected, given, self.settings.missing_answer))
    }
}

impl Tracker for ServiceTracker {
    /// Those that are not asked for in this round are open until the next sweep.
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        let (until, mut outage) = (Instant::now() + LONGEST_ROUND, Outage::default());
        let mut results: Vec<_> = records.iter().map(|_| Ok(Progress::Open)).collect();
        for index in self.in_turn(records) {
            if Instant::now() >= until || self.client.is_stopping() {
                break;
            }
            results[index] = self.check_one(&records[index], &mut outage);
        }
        results
    }
}
