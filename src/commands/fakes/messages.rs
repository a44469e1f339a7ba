//! The messages of the demo: what each stands for, and the form that most of them have. It knows no system, and not
//! what becomes of a message.

use serde_json::{Value, json};

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Message {
    /// What it stands for.
    pub kind: Kind,
    /// The system in whose queue it is put.
    pub system: &'static str,
    /// Its name on the screen.
    pub title: &'static str,
    /// What is special about it.
    pub note: &'static str,
    /// Its body.
    pub body: Vec<u8>,
}

/// What a message stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The task with this id.
    Task(String),
    /// The task with this id once more: it must not be created again.
    Again(String),
    /// The task with this id, which belongs to no system: it must be parked.
    Nobodys(String),
    /// No task: it must be parked.
    Unreadable,
}

impl Message {
    /// A task with this body.
    pub fn task(system: &'static str, id: &str, title: &'static str, note: &'static str, body: &Value) -> Message {
        Message { kind: Kind::Task(id.to_owned()), system, title, note, body: body.to_string().into_bytes() }
    }

    /// The same message, which has this id, once more.
    pub fn again(&self, id: &str, title: &'static str) -> Message {
        Message { kind: Kind::Again(id.to_owned()), title, note: "the same message twice", ..self.clone() }
    }
}

/// A task in the form of the real bridge, with no more than a target needs.
pub fn body(id: &str, topic: &str, system: &str, variables: Value, extension_properties: Value) -> Value {
    json!({
        "task_id": id,
        "topic": topic,
        "system": system,
        "variables": variables,
        "metadata": {"extensionProperties": extension_properties},
    })
}

/// The extension properties of a task that asks this.
pub fn asks(question: &str) -> Value {
    json!({"UF_RESULT_EXPECTED": "true", "UF_RESULT_QUESTION": question})
}
