//! What the infobase shows of a task to somebody who asks for it by its id in Camunda: the object with the key that the
//! task gives it, in each entity that a topic creates. It reads only.

use std::collections::HashMap;

use serde_json::Value;

use super::requests::{self, MOST_KEYS};
use super::tracker::{is_deleted, key_of, rows};
use super::{Topic, link};
use crate::message::text;
use crate::systems::onec::client::Client;
use crate::systems::onec::errors::ApiError;
use crate::systems::onec::mapping::{Field, Kind, Mapping};
use crate::systems::onec::{Settings, key};
use crate::systems::seen::{Looked, Seen, State};

/// How 1C writes that there is no date.
const NO_DATE: &str = "0001-01-01";
/// Where messages name the person, and the day.
const PERSON: &str = "metadata.extensionProperties.assigneeId";
const DEADLINES: [&str; 2] = ["variables.deadline", "variables.when"];

/// One result for each id.
pub fn look(client: &Client, settings: &Settings, mapping: &Mapping<Topic>, task_ids: &[&str]) -> Vec<Looked> {
    let keys: Vec<String> = task_ids.iter().map(|id| key::of_task(id)).collect();
    let mut found: HashMap<String, Seen> = HashMap::new();
    let mut failed = None;
    for topic in creating(mapping) {
        let missing: Vec<&str> = keys.iter().map(String::as_str).filter(|key| !found.contains_key(*key)).collect();
        match read(client, topic, &missing) {
            Ok(objects) => found.extend(objects.into_iter().map(|(key, object)| {
                let seen = seen(settings, topic, &key, &object);
                (key, seen)
            })),
            Err(err) => failed = Some(err),
        }
    }
    // It may be where 1C does not answer.
    let missing = || failed.clone().map_or(Ok(None), |err| Err(err.of_reading()));
    keys.iter().map(|key| found.get(key).cloned().map_or_else(missing, |seen| Ok(Some(seen)))).collect()
}

/// A topic for each entity in which objects are created.
fn creating(mapping: &Mapping<Topic>) -> Vec<&Topic> {
    let mut topics: Vec<&Topic> = Vec::new();
    for (_, topic) in mapping.topics().filter(|(_, topic)| topic.update.is_empty()) {
        if topics.iter().all(|known| known.entity != topic.entity) {
            topics.push(topic);
        }
    }
    topics
}

fn read(client: &Client, topic: &Topic, keys: &[&str]) -> Result<HashMap<String, Value>, ApiError> {
    let mut objects = HashMap::new();
    let mut rest = keys;
    while !rest.is_empty() {
        let (call, count) = requests::list(&topic.entity, &[], rest, MOST_KEYS);
        let answer = client.look_up()?.send(&call)?;
        let rows = rows(&answer)?.into_iter().filter_map(|row| Some((key_of(&row)?, row)));
        objects.extend(rows.filter(|(key, _)| keys.contains(&key.as_str())));
        rest = &rest[count..];
    }
    Ok(objects)
}

fn seen(settings: &Settings, topic: &Topic, key: &str, object: &Value) -> Seen {
    let shown = topic.shown(object);
    let given = |names: &dyn Fn(&Field) -> bool| {
        let field = topic.fields.iter().find(|(_, field)| names(field))?.0;
        text(&object[field]).filter(|value| value != key::EMPTY && !value.starts_with(NO_DATE))
    };
    let (state, status) = match topic.conditions().first() {
        _ if is_deleted(object) => (State::Unknown, Some("marked for deletion".into())),
        _ if !topic.is_whole(object) => (State::Unknown, Some("written, and not yet all that belongs to it".into())),
        None => (State::Finished, Some("created".into())),
        Some(condition) => {
            let state = if topic.is_finished(object) { State::Finished } else { State::Open };
            (state, text(&shown["status"]).map(|status| format!("{} = {status}", condition.field)))
        }
    };
    Seen {
        target_id: key.to_owned(),
        link: Some(link(settings, &topic.entity, key)),
        state,
        status,
        responsible: given(&|field| field.from.iter().any(|from| from == PERSON)),
        created: text(&object["Date"]).filter(|date| !date.starts_with(NO_DATE)),
        deadline: given(&|field| {
            field.kind == Kind::Date && field.from.iter().any(|from| DEADLINES.contains(&from.as_str()))
        }),
        answer: topic.answer.as_ref().and_then(|answer| answer.text(object.get(&answer.field))),
        ..Seen::default()
    }
}
