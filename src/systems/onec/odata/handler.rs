//! Objects of 1C: how one is found by the key that its task gives it, how it is created or changed, and what is done
//! with it then.
//!
//! All that belongs to a create happens before its record: an object that was written and could not be posted is no
//! result, and what 1C says to it parks the message. When a create may go is decided in
//! [`create`](crate::systems::create). It knows no queues and no attempts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::Value;

use super::{Topic, is_entity, link, look, requests};
use crate::message::given::{named, shown};
use crate::message::{Task, text};
use crate::stats::Declared;
use crate::systems::onec::client::{Call, Client, Turn};
use crate::systems::onec::errors::ApiError;
use crate::systems::onec::fields::{self, Made};
use crate::systems::onec::mapping::Mapping;
use crate::systems::onec::{Settings, in_turn, key};
use crate::systems::seen::Looked;
use crate::systems::{Created, Failure, Found, Handler, Missing, question};

/// How often an object that somebody else has changed at the same time is read again.
const MOST_CONFLICTS: u32 = 3;

/// The handler. Several threads use it at once.
pub struct OdataHandler {
    settings: Settings,
    mapping: Mapping<Topic>,
    client: Arc<Client>,
}

impl OdataHandler {
    /// A handler for the infobase of these settings.
    pub fn new(settings: Settings, mapping: Mapping<Topic>, client: Arc<Client>) -> OdataHandler {
        OdataHandler { settings, mapping, client }
    }

    fn topic(&self, task: &Task) -> Result<&Topic, Failure> {
        self.mapping.topic(&task.topic).map_err(|wrong| Failure::Permanent(anyhow!(wrong)))
    }

    fn find_one(&self, task: &Task) -> Result<Found, Failure> {
        let topic = self.topic(task)?;
        let turn = self.client.look_up()?;
        self.look_at(&turn, topic, task)
    }

    /// One that is not whole counts as none: the create meets it again, and completes it.
    fn look_at(&self, turn: &Turn, topic: &Topic, task: &Task) -> Result<Found, Failure> {
        let asked = Instant::now();
        if !topic.update.is_empty() {
            // What is changed twice is as it was changed once.
            return Ok(Found::Nothing(asked));
        }
        let object = read(turn, &topic.entity, &key::of_task(&task.id)).map_err(ApiError::of_reading)?;
        Ok(match object.filter(|object| topic.is_whole(object)) {
            Some(object) => Found::There(self.created(topic, task, &object)),
            None => Found::Nothing(asked),
        })
    }

    fn create_one(&self, missing: &Missing) -> Result<Created, Failure> {
        let task = missing.task;
        let topic = self.topic(task)?;
        let made = fields::made(&topic.fields, task, self.settings.offset);
        refuse(topic, task, &made, &self.settings)?;
        for warning in made.warnings.iter().filter(|_| !missing.is_late) {
            log::warn!("{warning}: task={}", task.id);
        }
        let create = |turn: &Turn| {
            let object = match topic.update.is_empty() {
                true => put(turn, topic, task, &made),
                false => change(turn, topic, task, &made),
            };
            let object = object.and_then(|object| complete(turn, topic, object));
            // Without a clear answer it may have been done.
            object
                .map(|object| self.created(topic, task, &object))
                .map_err(|failure| failure.of_create(self.settings.request_timeout))
        };
        in_turn(&self.client, missing, |turn| self.look_at(turn, topic, task), create)
    }

    fn created(&self, topic: &Topic, task: &Task, object: &Value) -> Created {
        let shown = topic.shown(object);
        let key = text(&shown["id"]).unwrap_or_default();
        let link = link(&self.settings, &topic.entity, &key);
        let told = question::result(shown, question::is_expected(task), "");
        let created = match topic.is_at_once() {
            false => Created::new(told, key),
            true => Created::finished(told, key),
        };
        created.at(&self.settings.address.place, link)
    }
}

impl Handler for OdataHandler {
    fn visible_within(&self) -> Option<Duration> {
        Some(self.settings.request_timeout)
    }

    /// Records have the key, and the entity in which it is.
    fn link_to(&self, target_id: &str, within: Option<&str>, host: Option<&str>) -> Option<String> {
        let is_here = host.is_none_or(|host| host == self.settings.address.place);
        let (key, entity) = (key::parse(target_id)?, within.filter(|entity| is_entity(entity))?);
        is_here.then(|| link(&self.settings, entity, &key))
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|task| self.find_one(task)).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        missing.iter().map(|missing| self.create_one(missing)).collect()
    }

    /// A change leaves no object of its own.
    fn shows(&self, topic: &str) -> bool {
        self.mapping.topic(topic).is_ok_and(|topic| topic.update.is_empty())
    }

    fn look(&self, task_ids: &[&str]) -> Vec<Looked> {
        look::look(&self.client, &self.settings, &self.mapping, task_ids)
    }

    fn counters(&self) -> Vec<Declared> {
        vec![Declared::requests(self.client.requests())]
    }
}

/// What can never be right is refused before anything is done.
fn refuse(topic: &Topic, task: &Task, made: &Made, settings: &Settings) -> Result<(), Failure> {
    let unanswerable = topic.unanswerable(task, settings);
    let why: Vec<&str> = made.missing.iter().map(String::as_str).chain(unanswerable).collect();
    if why.is_empty() { Ok(()) } else { Err(Failure::Permanent(anyhow!(why.join("; ")))) }
}

/// The object, if there is one.
fn read(turn: &Turn, entity: &str, key: &str) -> Result<Option<Value>, ApiError> {
    match turn.send(&requests::read(entity, key)) {
        Ok(object) if text(&object["Ref_Key"]).and_then(|found| key::parse(&found)).as_deref() == Some(key) => {
            Ok(Some(object))
        }
        Ok(other) => Err(ApiError::nonsense(&other)),
        Err(err) if err.is_no_object() => Ok(None),
        Err(err) => Err(err),
    }
}

/// Creates the object of this task, or takes the one that an earlier try has created.
fn put(turn: &Turn, topic: &Topic, task: &Task, made: &Made) -> Result<Value, Failure> {
    let key = key::of_task(&task.id);
    match turn.send(&requests::create(&topic.entity, fields::with_key(&made.fields, &key))) {
        Ok(object) if object["Ref_Key"].is_string() => {
            if text(&object["Ref_Key"]).and_then(|given| key::parse(&given)).as_deref() != Some(&*key) {
                log::error!(
                    "1C has given an object a key of its own: a repeat would create it again: task={}",
                    task.id
                );
            }
            Ok(object)
        }
        Ok(other) => Err(ApiError::nonsense(&other).into()),
        Err(err) if err.is_key_taken() => read(turn, &topic.entity, &key)?.ok_or_else(|| err.into()),
        Err(err) => Err(err.into()),
    }
}

/// Changes the object that the message names.
fn change(turn: &Turn, topic: &Topic, task: &Task, made: &Made) -> Result<Value, Failure> {
    let call = named(topic, task).map_err(|wrong| Failure::Permanent(anyhow!(wrong)))?;
    let mut conflicts = 0;
    loop {
        let object = the_one(turn, topic, &call)?;
        let key =
            text(&object["Ref_Key"]).and_then(|key| key::parse(&key)).ok_or_else(|| ApiError::nonsense(&object))?;
        let version = object["DataVersion"].as_str();
        match turn.send(&requests::update(&topic.entity, &key, Value::Object(made.fields.clone()), version)) {
            Ok(_) => return Ok(read(turn, &topic.entity, &key)?.unwrap_or(object)),
            Err(err) if err.is_conflict() && conflicts < MOST_CONFLICTS => conflicts += 1,
            Err(err) => return Err(err.into()),
        }
    }
}

/// The question for the object that is to be changed.
pub fn named(topic: &Topic, task: &Task) -> Result<Call, String> {
    let places = topic.update.join(", ");
    let value = topic.update.iter().find_map(|place| named::value(task, place));
    let value = value.ok_or_else(|| format!("{places} is absent or blank, and names what is to be changed"))?;
    let name = text(&value).ok_or_else(|| format!("{places} {value} is no name of anything"))?;
    match &topic.by {
        Some(field) => requests::named(&topic.entity, field, &name)
            .ok_or_else(|| format!("{places} {} is too long to be looked for", shown(&value))),
        None => {
            let key = key::parse(&name).ok_or_else(|| format!("{places} {value} is not a key of 1C"))?;
            Ok(requests::read(&topic.entity, &key))
        }
    }
}

/// The object that is asked for, which must be one.
fn the_one(turn: &Turn, topic: &Topic, call: &Call) -> Result<Value, Failure> {
    let refused = |why: &str| Failure::Permanent(anyhow!("{} {why} that the message names", topic.entity));
    let answer = match turn.send(call) {
        Ok(answer) => answer,
        Err(err) if err.is_no_object() => return Err(refused("has no object")),
        Err(err) => return Err(err.into()),
    };
    match answer.get("value").and_then(Value::as_array).map(Vec::as_slice) {
        None => Ok(answer),
        Some([one]) => Ok(one.clone()),
        Some([]) => Err(refused("has no object")),
        Some(_) => Err(refused("has several objects")),
    }
}

/// Does what belongs to it, unless that is done.
fn complete(turn: &Turn, topic: &Topic, object: Value) -> Result<Value, Failure> {
    let (Some(then), false) = (topic.then, topic.is_whole(&object)) else { return Ok(object) };
    let key = text(&object["Ref_Key"]).unwrap_or_default();
    turn.send(&requests::act(&topic.entity, &key, then)).map_err(|err| {
        err.about(&format!("it is in 1C as {}, but not through {}", named_by(topic, &object), then.name()))
    })?;
    Ok(read(turn, &topic.entity, &key)?.unwrap_or(object))
}

/// By what people find it.
fn named_by(topic: &Topic, object: &Value) -> String {
    let number = text(&object["Number"]).or_else(|| text(&object["Ref_Key"])).unwrap_or_default();
    format!("{} {number}", topic.entity)
}

#[cfg(test)]
mod tests;
