//! A task → what is posted to the service: always the same members, so that a service can refuse what it does not know.
//!
//! It leaves nothing out of the variables and changes nothing in them but their wrapping.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::message::{Task, text};

/// What is posted.
#[derive(Debug, Serialize)]
pub struct Fields<'a> {
    /// The external task's id in Camunda, which is the idempotency key too.
    pub task_id: &'a str,
    /// What is to be done.
    pub topic: &'a str,
    /// What a person would call it.
    pub title: String,
    /// The process variables, plain and in full.
    pub variables: Map<String, Value>,
    /// The extension properties of the task in the model.
    pub extension_properties: &'a Map<String, Value>,
    /// Whose task it is.
    pub process_instance_id: Option<&'a str>,
    /// Of which process.
    pub process_definition_key: Option<&'a str>,
}

impl Fields<'_> {
    /// What is posted for this task.
    pub fn of(task: &Task) -> Fields<'_> {
        Fields {
            task_id: &task.id,
            topic: &task.topic,
            title: title(task),
            variables: task.whole_variables(),
            extension_properties: &task.extension_properties,
            process_instance_id: task.process_instance_id.as_deref(),
            process_definition_key: task.process_definition_key.as_deref(),
        }
    }

    /// As JSON.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("its members are texts and JSON values")
    }
}

/// What a person would call the task.
pub fn title(task: &Task) -> String {
    title_and_origin(task).0
}

/// The task's own title, else its name in the model, else its topic; and where that stands in the message.
pub fn title_and_origin(task: &Task) -> (String, &'static str) {
    let own = task.variables.get("title").and_then(text).map(|title| (title, "variables.title"));
    let name = || task.activity_name.clone().map(|name| (name, "metadata.activityInfo.name"));
    own.or_else(name).unwrap_or_else(|| (task.topic.clone(), "topic"))
}
