//! What an HTTP service of 1C has made of a task: how that is found, and how it is made. It knows no queues and no
//! attempts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::Value;

use super::{Topic, look};
use crate::message::{Task, document};
use crate::stats::Declared;
use crate::systems::onec::client::{Client, Turn};
use crate::systems::onec::errors::ApiError;
use crate::systems::onec::mapping::Mapping;
use crate::systems::onec::{Settings, fields, in_turn};
use crate::systems::seen::Looked;
use crate::systems::{Created, Failure, Found, Handler, Missing, question};

/// The handler. Several threads use it at once.
pub struct ServiceHandler {
    settings: Settings,
    mapping: Mapping<Topic>,
    client: Arc<Client>,
    /// Some topic has a way to find what was created.
    is_searchable: bool,
}

impl ServiceHandler {
    /// A handler for the service of these settings.
    pub fn new(settings: Settings, mapping: Mapping<Topic>, client: Arc<Client>) -> ServiceHandler {
        let blind: Vec<&str> =
            mapping.topics().filter(|(_, topic)| topic.find.is_none()).map(|(name, _)| name).collect();
        if !blind.is_empty() {
            log::warn!(
                "ONEC_MAPPING_FILE has no \"find\" for {}: a message that comes twice may be created twice",
                blind.join(", ")
            );
        }
        let is_searchable = mapping.topics().any(|(_, topic)| topic.find.is_some());
        ServiceHandler { settings, is_searchable, mapping, client }
    }

    fn topic(&self, task: &Task) -> Result<&Topic, Failure> {
        self.mapping.topic(&task.topic).map_err(|wrong| Failure::Permanent(anyhow!(wrong)))
    }

    fn find_one(&self, task: &Task) -> Result<Found, Failure> {
        let topic = self.topic(task)?;
        let turn = self.client.look_up()?;
        self.look_at(&turn, topic, task)
    }

    fn look_at(&self, turn: &Turn, topic: &Topic, task: &Task) -> Result<Found, Failure> {
        let asked = Instant::now();
        let Some(call) = topic.find_call(&task.id) else { return Ok(Found::Nothing(asked)) };
        match turn.send(&call) {
            Ok(answer) => Ok(match topic.id_in(&answer) {
                Some(id) => Found::There(self.created(topic, task, &answer, id)),
                None => Found::Nothing(asked),
            }),
            Err(err) if err.is_told_not_found() => Ok(Found::Nothing(asked)),
            Err(err) => Err(err.of_reading()),
        }
    }

    fn create_one(&self, missing: &Missing) -> Result<Created, Failure> {
        let task = missing.task;
        let topic = self.topic(task)?;
        let call = topic.create_call(&task.id, body(topic, missing, &self.settings)?);
        let create = |turn: &Turn| {
            // Without a clear answer it may have been created.
            let unclear = |err: ApiError| Failure::from(err).of_create(self.settings.request_timeout);
            let answer = turn.send(&call).map_err(unclear)?;
            let Some(id) = topic.id_in(&answer) else {
                let err = ApiError::nonsense(&answer).about(&format!("no id at {}", topic.id));
                // Where nobody can look, a repeat would create it again: the service has taken it.
                return Err(if topic.find.is_some() { unclear(err) } else { Failure::Permanent(err.into()) });
            };
            Ok(self.created(topic, task, &answer, id))
        };
        in_turn(&self.client, missing, |turn| self.look_at(turn, topic, task), create)
    }

    fn created(&self, topic: &Topic, task: &Task, answer: &Value, id: String) -> Created {
        let told = question::result(topic.shown(answer, &id), question::is_expected(task), "");
        let created = match topic.status {
            Some(_) => Created::new(told, id),
            None => Created::finished(told, id),
        };
        Created { host: Some(self.settings.address.place.clone()), ..created }
    }
}

impl Handler for ServiceHandler {
    /// What cannot be found waits in vain, so that what can be found is waited for.
    fn visible_within(&self) -> Option<Duration> {
        self.is_searchable.then_some(self.settings.request_timeout)
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|task| self.find_one(task)).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        missing.iter().map(|missing| self.create_one(missing)).collect()
    }

    fn shows(&self, topic: &str) -> bool {
        self.mapping.topic(topic).is_ok_and(|topic| topic.find.is_some())
    }

    fn look(&self, task_ids: &[&str]) -> Vec<Looked> {
        look::look(&self.client, &self.mapping, task_ids)
    }

    fn counters(&self) -> Vec<Declared> {
        vec![Declared::requests(self.client.requests())]
    }
}

/// What is posted. What can never be right is refused before anything is done.
fn body(topic: &Topic, missing: &Missing, settings: &Settings) -> Result<Value, Failure> {
    let task = missing.task;
    if let Some(why) = topic.unanswerable(task, settings) {
        return Err(Failure::Permanent(anyhow!(why)));
    }
    let Some(fields) = &topic.fields else {
        return document::read(task.body.get().as_bytes()).map_err(|err| Failure::Permanent(err.into()));
    };
    let made = fields::made(fields, task, settings.offset);
    if !made.missing.is_empty() {
        return Err(Failure::Permanent(anyhow!(made.missing.join("; "))));
    }
    for warning in made.warnings.iter().filter(|_| !missing.is_late) {
        log::warn!("{warning}: task={}", task.id);
    }
    Ok(Value::Object(made.fields))
}
