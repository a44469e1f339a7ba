//! Telegram in the demo: a message with buttons that ask, and one without, which is finished as soon as it is sent.

use serde_json::json;

use super::messages::{Message, asks, body};
use super::{Fake, FakeEntry, FakeTask, Needs, Pace};
use crate::sandbox::http_fake::HttpFake;
use crate::sandbox::telegram::{self, GROUP, PERSON, TOKEN, Telegram};

const NAME: &str = "telegram";

/// The line of the table.
pub const ENTRY: FakeEntry = FakeEntry {
    name: NAME,
    label: "Telegram",
    port: Some(8029),
    noun: "message",
    has_users: true,
    about: "It is the Bot API with one bot. Chat 1001 is a person, -2002 a group, -3003 a group that has moved, 4004 a \
            person who has blocked the bot.",
    start,
    messages,
};

struct Chats {
    fake: HttpFake<Telegram>,
    /// How many messages have been seen.
    seen: usize,
}

fn start(port: u16, _: Pace) -> anyhow::Result<Box<dyn Fake>> {
    Ok(Box::new(Chats { fake: HttpFake::start(port, Telegram::default())?, seen: 0 }))
}

impl Fake for Chats {
    fn place(&self) -> String {
        self.fake.address().to_string()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("TELEGRAM_BOT_TOKEN", TOKEN.into()),
            ("TELEGRAM_API_URL", format!("http://{}", self.fake.address())),
            ("TELEGRAM_CHAT_ID", PERSON.to_string()),
            // Who presses in the groups.
            ("TELEGRAM_ALLOWED_IDS", format!("{PERSON},{GROUP}")),
        ]
    }

    fn new_tasks(&mut self) -> Vec<FakeTask> {
        let chats = self.fake.target();
        let tasks: Vec<FakeTask> = chats.messages().iter().skip(self.seen).map(shown).collect();
        self.seen += tasks.len();
        tasks
    }

    /// The person presses a button.
    fn finish(&mut self, task: &FakeTask, answer: Option<&'static str>) -> bool {
        let mut chats = self.fake.target();
        let Some(message) = chats.messages().iter().find(|message| message.id.to_string() == task.id) else {
            return false;
        };
        let (chat, id) = (message.chat, message.id);
        let button = answer.or(message.buttons.first().map(|(text, _)| text.as_str())).map(str::to_owned);
        button.is_some_and(|button| chats.press(PERSON, chat, id, &button))
    }

    fn markers(&self) -> Vec<String> {
        self.fake.target().messages().iter().map(marker).collect()
    }
}

fn shown(message: &telegram::Message) -> FakeTask {
    FakeTask {
        id: message.id.to_string(),
        marker: marker(message),
        title: message.text.lines().next().unwrap_or_default().to_owned(),
        needs: match message.first_buttons.len() {
            0 => Needs::Nothing,
            buttons => Needs::of_task(buttons > 1),
        },
    }
}

/// A button names its task. Without buttons nothing does, so the demo ends the text with the id.
fn marker(message: &telegram::Message) -> String {
    let named = message.first_buttons.first().and_then(|(_, data)| data.split_once(':')).map(|(_, id)| id);
    named.or(message.text.split_whitespace().last()).unwrap_or_default().to_owned()
}

fn messages(run: &str) -> Vec<Message> {
    let id = |number: u32| format!("{run}-telegram-{number}");
    let visit = json!({"title": "Выезд к клиенту", "text": "Завтра в 9:00, Садовая, 12."});
    let visit = body(&id(1), "telegram_task", NAME, visit, asks("Поедете?"));
    let visit = Message::task(NAME, &id(1), "Выезд к клиенту", "buttons ДА and НЕТ", &visit);
    let notice = json!({"title": "Сервер обновлён", "text": format!("Номер задачи: {}", id(2))});
    let notice = body(&id(2), "telegram_notify", NAME, notice, json!({}));
    vec![
        visit.clone(),
        visit.again(&id(1), "Выезд к клиенту (again)"),
        Message::task(NAME, &id(2), "Сервер обновлён", "a message without buttons", &notice),
    ]
}
