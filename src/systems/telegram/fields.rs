//! A task → what is sent of it. Pure: asks nobody.

use serde_json::{Map, Value};

use super::Settings;
use super::buttons;
use super::client::Call;
use super::settings::{CHAT_ID, Chat};
use super::text::{self, Part, Parts};
use crate::message::given::texts::prose;
use crate::message::given::{self, Place, Sourced, Warnings};
use crate::message::{Task, text as spelt};
use crate::systems::question;

/// The topic whose messages have buttons; a question has them in every topic.
const TASK: &str = "telegram_task";
/// Where people's and groups' numbers stand.
const CHATS: [&str; 3] = ["chat_id", "chatId", "telegram_chat_id"];
/// Where the text stands, the first that says something.
const TEXTS: &[&str] = &["text", "message", "description"];

/// What is sent of a message that says nothing.
const NOTHING_SAID: &str = "Сообщение из процесса Camunda";

/// What is sent of a task.
#[derive(Debug)]
pub struct Outgoing {
    /// Where to; `None`: nobody says.
    pub chat: Option<Chat>,
    /// What to.
    pub parts: Vec<Part>,
    /// People finish it by a button; otherwise it is finished when it is sent.
    pub is_tracked: bool,
    /// The process waits for an answer.
    pub asks: bool,
    /// What people know it by.
    pub title: String,
    /// What cannot be used, a sentence each.
    pub warnings: Vec<String>,
    /// Where chat and text came from.
    pub origins: Origins,
    /// The topic of a group with topics.
    thread: Option<u64>,
    keyboard: Value,
}

/// Places in the message, and settings.
#[derive(Debug, Default)]
pub struct Origins {
    /// Of the chat.
    pub chat: String,
    /// Of the text, with what was done to it.
    pub text: Vec<String>,
}

/// What is sent of this task.
pub fn outgoing(task: &Task, settings: &Settings) -> Outgoing {
    let (mut warnings, mut origins) = (Vec::new(), Origins::default());
    let asks = question::is_expected(task);
    let is_tracked = asks || task.topic == TASK;
    let heading = heading(task, is_tracked, &mut warnings, &mut origins);
    let body = body(task, asks, &mut warnings, &mut origins);
    let mut made = text::parts(heading.as_deref(), &body, settings.long_text);
    if made.parts.is_empty() {
        made = text::parts(Some(NOTHING_SAID), "", settings.long_text);
    }
    let Parts { parts, cut } = made;
    if cut {
        warnings.push("the text is longer than Telegram takes: the rest is left out".into());
        origins.text.push("cut".into());
    }
    let first_line = || parts.iter().flat_map(|part| part.plain.lines().next()).next().unwrap_or_default().to_owned();
    let title = heading.unwrap_or_else(first_line);
    Outgoing {
        chat: chat(task, settings, &mut warnings, &mut origins),
        parts,
        is_tracked,
        asks,
        title,
        thread: thread(task, &mut warnings),
        keyboard: if is_tracked { buttons::keyboard(&task.id, asks) } else { Value::Null },
        warnings,
        origins,
    }
}

impl Outgoing {
    /// Sends one of the parts to this chat.
    pub fn send(&self, index: usize, chat: &Value) -> Call {
        let mut params = Map::from_iter([
            ("chat_id".to_owned(), chat.clone()),
            ("text".to_owned(), self.parts[index].html.as_str().into()),
            ("parse_mode".to_owned(), "HTML".into()),
        ]);
        params.extend(self.thread.map(|thread| ("message_thread_id".to_owned(), thread.into())));
        if index + 1 == self.parts.len() && self.is_tracked {
            params.insert("reply_markup".into(), self.keyboard.clone());
        }
        Call { method: "sendMessage", params: params.into() }
    }

    /// The same without markup.
    pub fn send_plain(&self, index: usize, chat: &Value) -> Call {
        let mut call = self.send(index, chat);
        if let Some(params) = call.params.as_object_mut() {
            params.remove("parse_mode");
            params.insert("text".into(), self.parts[index].plain.as_str().into());
        }
        call
    }
}

/// The name of a message is what its process calls it; that of a task or of a message without a text its activity's.
fn heading(task: &Task, is_tracked: bool, warnings: &mut Warnings, origins: &mut Origins) -> Option<String> {
    let given = match prose(task, &["title", "subject"], warnings) {
        Some(title) => title,
        // What is wrong with the texts is said with the body.
        None if is_tracked || prose(task, TEXTS, &mut Warnings::new()).is_none() => {
            Sourced::new(task.activity_name.clone()?, "metadata.activityInfo.name")
        }
        None => return None,
    };
    origins.text.extend(given.origin);
    Some(given.value)
}

/// The question, then the text: whatever is cut, people know what they are asked.
fn body(task: &Task, asks: bool, warnings: &mut Warnings, origins: &mut Origins) -> String {
    let mut question = || given::first_text(task, Place::Extensions, &[question::QUESTION], warnings);
    let question = if asks { question() } else { None };
    let text = prose(task, TEXTS, warnings);
    let additional = prose(task, &["description_additional"], warnings);
    let texts = [question, text, additional].into_iter().flatten().map(|Sourced { value, origin }| {
        origins.text.extend(origin);
        value
    });
    texts.collect::<Vec<_>>().join("\n\n")
}

fn chat(task: &Task, settings: &Settings, warnings: &mut Warnings, origins: &mut Origins) -> Option<Chat> {
    for (place, name) in
        [Place::Variables, Place::Extensions].into_iter().flat_map(|place| CHATS.map(|name| (place, name)))
    {
        let Some(given) = place.members(task).get(name).and_then(spelt) else { continue };
        match Chat::parse(&given) {
            Some(chat) => {
                origins.chat = place.of(name);
                return Some(chat);
            }
            None => {
                warnings.push(format!("{} {given:?} is neither a number nor a @name: it is not used", place.of(name)))
            }
        }
    }
    origins.chat = CHAT_ID.into();
    settings.chat.clone()
}

fn thread(task: &Task, warnings: &mut Warnings) -> Option<u64> {
    given::first_id(task, &[(Place::Variables, "message_thread_id")], "it is not used", warnings).map(|id| id.value)
}

#[cfg(test)]
mod tests;
