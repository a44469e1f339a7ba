//! For `task-creator explain`: what an HTTP service of 1C would be asked for a task. Nothing is sent.

use serde_json::Value;

use super::Topic;
use crate::message::{Task, document};
use crate::systems::Explanation;
use crate::systems::onec::mapping::Mapping;
use crate::systems::onec::{Settings, explained, fields, request};

/// What would be done with this task.
pub fn run(task: &Task, settings: &Settings, mapping: &Mapping<Topic>) -> Explanation {
    let topic = match mapping.topic(&task.topic) {
        Ok(topic) => topic,
        Err(wrong) => {
            return Explanation { parked: vec![wrong.to_string()], ..Explanation::default() };
        }
    };
    let made = topic.fields.as_ref().map(|fields| fields::made(fields, task, settings.offset));
    let body = match &made {
        Some(made) => Value::Object(made.fields.clone()),
        None => document::read(task.body.get().as_bytes()).unwrap_or_default(),
    };
    let unanswerable = topic.unanswerable(task, settings);
    let mut explanation = explained(made.unwrap_or_default(), unanswerable, topic.answer.as_ref(), task);
    let find = topic.find_call(&task.id);
    let when = if find.is_some() { "if it is not there" } else { "first; what comes twice may be created twice" };
    explanation.requests.extend(find.map(|call| request(&call, "first, since it may be there")));
    explanation.requests.push(request(&topic.create_call(&task.id, body), when));
    let status = topic.status_call(&task.id, "<its id>");
    explanation.requests.extend(status.map(|call| request(&call, "with each sweep, until it is finished")));
    explanation
}
