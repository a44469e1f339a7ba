//! For `task-creator explain`: what Telegram would be asked for a task, in the words of the code that asks it.
//!
//! Nothing is sent. What only Telegram knows stands in angle brackets.

use serde_json::{Value, json};

use super::Settings;
use super::client::{self, Call};
use super::fields::{self, Outgoing};
use super::settings::CHAT_ID;
use crate::message::Task;
use crate::systems::question::{NO, YES};
use crate::systems::{Explained, Explanation, Request};

/// What would be done with this task.
pub fn run(task: &Task, settings: &Settings) -> Explanation {
    let outgoing = fields::outgoing(task, settings);
    let mut explanation = Explanation { values: values(&outgoing), ..Explanation::default() };
    let chat = match &outgoing.chat {
        Some(chat) => chat.param(),
        None => {
            explanation.parked.push(format!("no chat: neither variables.chat_id nor {CHAT_ID} names one"));
            return explanation;
        }
    };
    let again = "; if it is refused, once more without parse_mode; if the group has moved, to where it is now";
    for index in 0..outgoing.parts.len() {
        let when = if index == 0 { "first" } else { "then" };
        explanation.requests.push(request(&outgoing.send(index, &chat), format!("{when}{again}")));
    }
    match outgoing.is_tracked {
        true => explanation.requests.extend(tracking()),
        false => explanation.notes.push("it is finished when it is sent".into()),
    }
    explanation.notes.push("it cannot be looked up: without a clear answer it is sent again".into());
    explanation.notes.extend(outgoing.warnings);
    explanation
}

fn values(outgoing: &Outgoing) -> Vec<Explained> {
    let chat = outgoing.chat.as_ref().map(|chat| Explained {
        name: "chat_id".into(),
        value: chat.param(),
        origin: vec![outgoing.origins.chat.clone()],
    });
    let text = Explained {
        name: "text".into(),
        value: outgoing.parts.iter().map(|part| part.plain.as_str()).collect::<Vec<_>>().join("\n").into(),
        origin: outgoing.origins.text.clone(),
    };
    let buttons = outgoing.asks.then(|| Explained {
        name: "buttons".into(),
        value: [YES, NO].map(Value::from).to_vec().into(),
        origin: vec!["metadata.extensionProperties.UF_RESULT_EXPECTED".into()],
    });
    chat.into_iter().chain([text]).chain(buttons).collect()
}

/// What follows until a button is pressed, and when one is.
fn tracking() -> Vec<Request> {
    let mut remove = client::remove_buttons(client::Place { chat: 0, message: 0 });
    remove.params["chat_id"] = "<id of the chat>".into();
    remove.params["message_id"] = "<id of the message>".into();
    let mut listen = client::get_updates(0);
    listen.params["offset"] = Value::from("<first update that is not settled>");
    let told = client::answer_press("<id of the press>", "Принято: <button>");
    let when = "once the response is safe";
    vec![request(&listen, "again and again, until a button is pressed"), request(&told, when), request(&remove, when)]
}

fn request(call: &Call, when: impl Into<String>) -> Request {
    Request { method: call.method.into(), when: when.into(), body: json!(call.params).to_string() }
}
