//! For `task-creator explain`: what 1C would be asked for a task, in the words of the code that asks it. Nothing is
//! sent.

use serde_json::{Map, Value};

use super::{Then, Topic, handler, requests, tracker};
use crate::message::Task;
use crate::systems::onec::mapping::Mapping;
use crate::systems::onec::{Settings, explained, fields, key, request};
use crate::systems::{Explanation, Request};

/// In place of a key that 1C has to be asked for first.
const KEY: &str = "<its Ref_Key>";

/// What would be done with this task.
pub fn run(task: &Task, settings: &Settings, mapping: &Mapping<Topic>) -> Explanation {
    let topic = match mapping.topic(&task.topic) {
        Ok(topic) => topic,
        Err(wrong) => {
            return Explanation { parked: vec![wrong.to_string()], ..Explanation::default() };
        }
    };
    let mut made = fields::made(&topic.fields, task, settings.offset);
    let (key, mut requests) = match topic.update.is_empty() {
        true => (key::of_task(&task.id), creating(topic, task, &made.fields)),
        false => (KEY.to_owned(), changing(topic, task, &made.fields, &mut made.missing)),
    };
    if !topic.is_at_once() {
        let fields = tracker::fields(mapping, &topic.entity);
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let (sweep, _) = requests::list(&topic.entity, &fields, &[&key], 1);
        requests.push(request(&sweep, "with each sweep, up to 30 objects together, until it is finished"));
    }
    let unanswerable = topic.unanswerable(task, settings);
    Explanation { requests, ..explained(made, unanswerable, topic.answer.as_ref(), task) }
}

fn creating(topic: &Topic, task: &Task, made: &Map<String, Value>) -> Vec<Request> {
    let key = key::of_task(&task.id);
    let create = requests::create(&topic.entity, fields::with_key(made, &key));
    let mut all = vec![
        request(&requests::read(&topic.entity, &key), "first, since the object may be there"),
        request(&create, "if it is not there; code 15 says that it is, and it is read instead"),
    ];
    all.extend(topic.then.map(|then| acting(topic, &key, then)));
    all
}

fn changing(topic: &Topic, task: &Task, made: &Map<String, Value>, missing: &mut Vec<String>) -> Vec<Request> {
    let find = handler::named(topic, task).map_err(|wrong| missing.push(wrong)).ok();
    let update = requests::update(&topic.entity, KEY, Value::Object(made.clone()), Some("<DataVersion>"));
    let find = find.map(|call| request(&call, "first"));
    let update = request(&update, "with its DataVersion in If-Match; after 412 again from the start");
    find.into_iter().chain([update]).chain(topic.then.map(|then| acting(topic, KEY, then))).collect()
}

fn acting(topic: &Topic, key: &str, then: Then) -> Request {
    request(&requests::act(&topic.entity, key, then), "then, unless the object shows that it is done")
}
