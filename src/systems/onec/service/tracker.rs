//! Finds out how what an HTTP service of 1C has made is doing: a request each, since no bulk call is known. What becomes of
//! a record is decided in [`crate::lane::tracking`].

use std::sync::Arc;

use anyhow::anyhow;

use super::Topic;
use crate::http::Class;
use crate::message::{Record, text};
use crate::systems::onec::Settings;
use crate::systems::onec::client::Client;
use crate::systems::onec::errors::ApiError;
use crate::systems::onec::mapping::Mapping;
use crate::systems::{Failure, Progress, Tracker, question};

/// The tracker; one thread uses it.
pub struct ServiceTracker {
    settings: Settings,
    mapping: Mapping<Topic>,
    client: Arc<Client>,
}

impl ServiceTracker {
    /// A tracker for the service of these settings.
    pub fn new(settings: Settings, mapping: Mapping<Topic>, client: Arc<Client>) -> ServiceTracker {
        ServiceTracker { settings, mapping, client }
    }

    /// `down` is what keeps 1C from answering anybody, once that has shown.
    fn check_one(&self, record: &Record, down: &mut Option<ApiError>) -> Result<Progress, Failure> {
        if let Some(err) = down {
            return Err(err.clone().into());
        }
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
            Err(err) if err.is_told_not_found() => return Ok(Progress::Gone),
            Err(err) => {
                *down = (err.class == Class::Unavailable).then(|| err.clone());
                return Err(err.of_reading());
            }
        };
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
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        let mut down = None;
        records.iter().map(|record| self.check_one(record, &mut down)).collect()
    }
}
