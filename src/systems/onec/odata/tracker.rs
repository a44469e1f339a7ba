//! Finds out which objects of 1C are finished: thirty keys a request, and of most of them three fields only.
//!
//! A key is nobody else's, whatever the infobase, so what has it is the record's object. What becomes of a record is
//! decided in [`crate::lane::checking`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use anyhow::anyhow;
use serde_json::Value;

use super::Topic;
use super::requests::{self, MOST_KEYS};
use crate::message::{Record, text};
use crate::systems::onec::client::Client;
use crate::systems::onec::errors::ApiError;
use crate::systems::onec::mapping::Mapping;
use crate::systems::onec::{Settings, key};
use crate::systems::{Failure, Progress, Tracker, question};

/// What says that somebody has deleted an object: 1C marks it first.
const DELETED: &str = "DeletionMark";

/// When 1C fails over so many objects in a row, each asked for alone, it fails over all of them.
const MOST_FAILED: usize = 3;
/// Objects that are remembered since they could not be read.
const MOST_REMEMBERED: usize = 10_000;

/// The tracker; one thread uses it.
pub struct OdataTracker {
    settings: Settings,
    mapping: Mapping<Topic>,
    client: Arc<Client>,
    /// The most keys that a request may name; fewer once a web server has taken no more.
    most: usize,
    /// Where 1C has failed over an object that was asked for alone. These come last, so that they are in nobody's way.
    unreadable: HashSet<Place>,
}

/// Where a record's object is: its entity and key.
type Place = (String, String);

/// For each place its object, or `None` where 1C has none.
type Objects = HashMap<Place, Result<Option<Value>, ApiError>>;

impl OdataTracker {
    /// A tracker for the infobase of these settings.
    pub fn new(settings: Settings, mapping: Mapping<Topic>, client: Arc<Client>) -> OdataTracker {
        OdataTracker { settings, mapping, client, most: MOST_KEYS, unreadable: HashSet::new() }
    }

    /// The objects of these places, with these fields of theirs or all.
    fn read(&mut self, places: &BTreeMap<String, BTreeSet<String>>, fields: impl Fn(&str) -> Vec<String>) -> Objects {
        let mut objects = Objects::new();
        for (entity, keys) in places {
            let fields = fields(entity);
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            self.read_entity(entity, &fields, &keys, &mut objects);
        }
        objects
    }

    /// Where 1C does not answer it is not asked for the rest. What it fails over may be one object among others: then
    /// they are asked for in smaller parts, until that one is alone.
    fn read_entity(&mut self, entity: &str, fields: &[&str], keys: &[&str], objects: &mut Objects) {
        let place = |key: &str| (entity.to_owned(), key.to_owned());
        let mut keys = keys.to_vec();
        keys.sort_by_key(|key| self.unreadable.contains(&place(key)));
        let (mut rest, mut part, mut failed_alone) = (&keys[..], MOST_KEYS, 0);
        while !rest.is_empty() {
            let (call, count) = requests::list(entity, fields, rest, part.min(self.most));
            let answer = match self.client.is_stopping() {
                true => Err(ApiError::stopping()),
                false => self.client.turn().and_then(|turn| turn.send(&call)),
            };
            match answer.and_then(|answer| rows(&answer)) {
                Ok(rows) => {
                    note_rows(rows, rest[..count].iter().map(|key| place(key)), objects);
                    rest = &rest[count..];
                    (part, failed_alone) = (MOST_KEYS.min(part * 2), 0);
                }
                Err(err) if err.may_be_too_long() && count > 1 => self.most = count.div_ceil(2),
                Err(err) if err.may_be_about_one() && count > 1 => part = count.div_ceil(2),
                Err(err) if err.may_be_about_one() && failed_alone < MOST_FAILED => {
                    self.note_unreadable(place(rest[0]));
                    objects.insert(place(rest[0]), Err(err));
                    rest = &rest[1..];
                    failed_alone += 1;
                }
                Err(err) => {
                    self.most = MOST_KEYS;
                    objects.extend(rest.iter().map(|key| (place(key), Err(err.clone()))));
                    return;
                }
            }
        }
    }

    fn note_unreadable(&mut self, place: Place) {
        if self.unreadable.len() >= MOST_REMEMBERED {
            self.unreadable.clear();
        }
        self.unreadable.insert(place);
    }

    fn is_finished(&self, record: &Record, object: &Value) -> Result<bool, Failure> {
        Ok(self.topic(record)?.is_finished(object))
    }

    fn topic(&self, record: &Record) -> Result<&Topic, Failure> {
        // Whoever changes the mapping may change it back.
        self.mapping.topic(&record.task.topic).map_err(|wrong| Failure::Transient { error: anyhow!(wrong) })
    }

    fn progress(&self, record: &Record, object: &Value) -> Result<Progress, Failure> {
        let topic = self.topic(record)?;
        let answer = topic.answer.as_ref().and_then(|answer| answer.text(object.get(&answer.field))).map(Ok);
        let is_expected = question::is_expected(&record.task);
        Ok(question::finished(topic.shown(object), is_expected, answer, self.settings.missing_answer))
    }
}

/// The fields that say of an object of this entity how it is doing.
pub fn fields(mapping: &Mapping<Topic>, entity: &str) -> Vec<String> {
    let topics = mapping.topics().filter(|(_, topic)| topic.entity == entity);
    let conditions = topics.flat_map(|(_, topic)| topic.conditions()).map(|condition| condition.field);
    let fields: BTreeSet<String> = conditions.collect();
    ["Ref_Key".to_owned(), DELETED.to_owned()].into_iter().chain(fields).collect()
}

impl Tracker for OdataTracker {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        let places: Vec<Option<Place>> = records.iter().map(place).collect();
        let asked = grouped(places.iter().flatten());
        let fields: HashMap<String, Vec<String>> =
            asked.keys().map(|entity| (entity.clone(), fields(&self.mapping, entity))).collect();
        let states = self.read(&asked, |entity| fields[entity].clone());
        let finished = |(record, place): (&Record, &Option<Place>)| {
            let place = place.as_ref()?;
            let object = states.get(place)?.as_ref().ok()?.as_ref()?;
            (!is_deleted(object) && self.is_finished(record, object).is_ok_and(|finished| finished))
                .then(|| place.clone())
        };
        let finished: Vec<Place> = records.iter().zip(&places).filter_map(finished).collect();
        // What Camunda is told of a finished one is all of it.
        let whole = self.read(&grouped(finished.iter()), |_| Vec::new());
        let checked = records.iter().zip(&places).map(|(record, place)| {
            let place = place.as_ref().ok_or_else(no_place)?;
            let state = match read(&states, place)? {
                Some(object) if !is_deleted(&object) => object,
                _ => return Ok(Progress::Gone),
            };
            if !self.is_finished(record, &state)? {
                return Ok(Progress::Open);
            }
            match read(&whole, place)? {
                Some(object) => self.progress(record, &object),
                // Gone within this moment: the next look shows it.
                None => Ok(Progress::Open),
            }
        });
        checked.collect()
    }
}

/// Where the record's object is. Only names and keys ever get into a request.
fn place(record: &Record) -> Option<Place> {
    let task = &record.response_data["result"]["task"];
    let entity = text(&task["entity"]).filter(|entity| super::is_name(entity))?;
    Some((entity, key_text(&task["id"])?))
}

/// What was read of this place.
fn read(objects: &Objects, place: &Place) -> Result<Option<Value>, Failure> {
    match objects.get(place) {
        Some(Ok(object)) => Ok(object.clone()),
        Some(Err(err)) => Err(err.clone().of_reading()),
        None => Err(Failure::Transient { error: anyhow!("not asked for") }),
    }
}

fn no_place() -> Failure {
    Failure::Permanent(anyhow!("the record names no object of 1C in response_data.result.task.id and .entity"))
}

fn grouped<'a>(places: impl Iterator<Item = &'a Place>) -> BTreeMap<String, BTreeSet<String>> {
    let mut grouped: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (entity, key) in places {
        grouped.entry(entity.clone()).or_default().insert(key.clone());
    }
    grouped
}

/// What 1C says of these places: one without a row has no object.
fn note_rows(rows: Vec<Value>, asked: impl Iterator<Item = Place>, objects: &mut Objects) {
    let places: HashMap<String, Place> = asked.map(|(entity, key)| (key.clone(), (entity, key))).collect();
    objects.extend(places.values().map(|place| (place.clone(), Ok(None))));
    for row in rows {
        // Of what was not asked for nothing is known.
        if let Some(place) = key_of(&row).and_then(|key| places.get(&key)) {
            objects.insert(place.clone(), Ok(Some(row)));
        }
    }
}

/// The rows of a list.
pub(super) fn rows(answer: &Value) -> Result<Vec<Value>, ApiError> {
    answer["value"].as_array().cloned().ok_or_else(|| ApiError::nonsense(answer))
}

pub(super) fn key_of(row: &Value) -> Option<String> {
    key_text(&row["Ref_Key"])
}

fn key_text(value: &Value) -> Option<String> {
    key::parse(&text(value)?)
}

pub(super) fn is_deleted(object: &Value) -> bool {
    object[DELETED] == true
}

#[cfg(test)]
mod tests;
