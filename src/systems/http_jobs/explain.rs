//! For `task-creator explain`: what would be posted for a task, and where. Nothing is sent.

use serde_json::{Map, Value};

use super::client::key;
use super::fields::{Fields, title_and_origin};
use super::{FailedJob, Settings};
use crate::message::Task;
use crate::systems::{Explained, Explanation, Request, question};

/// What would be done with this task.
pub fn run(task: &Task, settings: &Settings) -> Explanation {
    let fields = Fields::of(task);
    let url = settings.urls.of(&task.topic);
    let place = url.map_or_else(|| "<no address for this topic>".into(), ToString::to_string);
    let body = String::from_utf8_lossy(&fields.encode()).into_owned();
    let post =
        Request { method: "POST".into(), when: format!("{place}, with Idempotency-Key {}", key(&task.id)), body };
    let get = Request {
        method: "GET".into(),
        when: "the Location of the answer, if that is 202: with each sweep in which the job is due, until it is done"
            .into(),
        body: String::new(),
    };
    let no_address = url.is_none() && !settings.urls.is_empty();
    let parked = no_address.then(|| "its topic has no address".to_owned()).into_iter().collect();
    Explanation { values: values(task, &fields), parked, notes: notes(task, settings), requests: vec![post, get] }
}

/// Every value that is sent, and where it came from.
pub fn values(task: &Task, fields: &Fields) -> Vec<Explained> {
    let (title, title_origin) = title_and_origin(task);
    let own = [
        ("task_id", Some(fields.task_id), "task_id"),
        ("topic", Some(fields.topic), "topic"),
        ("title", Some(&*title), title_origin),
        ("process_instance_id", fields.process_instance_id, "process_instance_id"),
        ("process_definition_key", fields.process_definition_key, "process_definition_key"),
    ];
    let own = own.into_iter().filter_map(|(name, value, origin)| {
        Some(Explained { name: name.into(), value: value?.into(), origin: vec![origin.into()] })
    });
    let variables = members("variables", "variables", &fields.variables);
    let properties = members("extension_properties", "metadata.extensionProperties", fields.extension_properties);
    own.chain(variables).chain(properties).collect()
}

fn members<'a>(name: &'a str, place: &'a str, members: &'a Map<String, Value>) -> impl Iterator<Item = Explained> + 'a {
    members.iter().map(move |(member, value)| Explained {
        name: format!("{name}.{member}"),
        value: value.clone(),
        origin: vec![format!("{place}.{member}")],
    })
}

fn notes(task: &Task, settings: &Settings) -> Vec<String> {
    let mut notes = Vec::new();
    if question::is_expected(task) {
        notes.push(format!("the process expects an answer: it is looked for in the result at {}", settings.answer));
    }
    notes.push(match settings.failed_job {
        FailedJob::Park => "a job that fails is parked".into(),
        FailedJob::Answer => "a job that fails is answered to Camunda".into(),
    });
    notes
}
