//! A Telegram fake: one bot, its chats, and people who press buttons.
//!
//! As unkind as the Bot API is known to be: numbers of messages that start anywhere, updates that come again until they
//! are settled and may be counted from anywhere again, a webhook in the way, groups that move, people who block the
//! bot, markup that does not parse; and it answers `getUpdates` at once, however long it was asked to wait. It knows
//! nothing of the worker. Left out: media, entities, and the rights in groups.

mod markup;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::http_fake::{Asked, Target};
use crate::http::server::Page;

/// The one bot's token. Fixed, so that a `.env` stays valid from run to run.
pub const TOKEN: &str = "4815162342:sandbox-bot-token";
/// A person who has started the bot.
pub const PERSON: i64 = 1001;
/// A group that the bot is in.
pub const GROUP: i64 = -2002;
/// A group that is [`SUPERGROUP`] now.
pub const MOVED_GROUP: i64 = -3003;
/// Where that group is.
pub const SUPERGROUP: i64 = -1_000_000_003_003;
/// A person who has blocked the bot.
pub const BLOCKED: i64 = 4004;

/// What a message holds at most, in UTF-16 code units.
const LONGEST_TEXT: usize = 4096;
/// What a button holds at most, in bytes.
const LONGEST_DATA: usize = 64;
/// An offset further ahead than this is not one that was given.
const NEXT_UPDATES: i64 = 10;
/// The most updates in one answer.
const MOST_UPDATES: usize = 100;

/// A message of the bot's.
#[derive(Clone, Debug)]
pub struct Message {
    /// The chat.
    pub chat: i64,
    /// Its number.
    pub id: i64,
    /// What people read.
    pub text: String,
    /// Its buttons, from left to right: their text and their data.
    pub buttons: Vec<(String, String)>,
    /// Those with which it was sent.
    pub first_buttons: Vec<(String, String)>,
}

/// What the fake remembers.
#[derive(Debug)]
pub struct Telegram {
    messages: Vec<Message>,
    updates: BTreeMap<i64, Value>,
    /// Presses that were answered, with the text that the person saw.
    answered: BTreeMap<String, String>,
    webhook: String,
    last_message: i64,
    last_update: i64,
}

/// A call that is refused.
struct Refusal(u16, &'static str, Value);

type Result<T> = std::result::Result<T, Refusal>;

impl Default for Telegram {
    fn default() -> Telegram {
        Telegram {
            messages: Vec::new(),
            updates: BTreeMap::new(),
            answered: BTreeMap::new(),
            webhook: String::new(),
            last_message: 4815,
            last_update: 815_000_000,
        }
    }
}

/// What tests and people do.
impl Telegram {
    /// All messages of the bot's, in order.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// A person presses the first button of this message with this text. `false`: it has none.
    pub fn press(&mut self, person: i64, chat: i64, message: i64, button: &str) -> bool {
        let found = self.messages.iter().find(|known| known.chat == chat && known.id == message);
        let data = found.and_then(|found| found.buttons.iter().find(|(text, _)| text == button));
        let Some((_, data)) = data.cloned() else { return false };
        self.press_data(person, chat, message, &data);
        true
    }

    /// The same with any data at all, as a client that somebody has changed can send it.
    pub fn press_data(&mut self, person: i64, chat: i64, message: i64, data: &str) {
        self.last_update += 1;
        let update = json!({"update_id": self.last_update, "callback_query": {
            "id": format!("press-{}", self.last_update),
            "from": {"id": person, "is_bot": false, "first_name": "Анна", "last_name": "Иванова"},
            "chat_instance": "1",
            "message": {"message_id": message, "date": 0, "chat": {"id": chat}},
            "data": data,
        }});
        self.updates.insert(self.last_update, update);
    }

    /// What the person was told who pressed last in this way, if anything.
    pub fn told(&self) -> Vec<&str> {
        self.answered.values().map(String::as_str).collect()
    }

    /// Updates that are not settled.
    pub fn unsettled(&self) -> usize {
        self.updates.len()
    }

    /// Updates are numbered from here on, as after a move to another server; those before are gone.
    pub fn count_updates_from(&mut self, number: i64) {
        self.updates.clear();
        self.last_update = number;
    }

    /// Somebody sets a webhook; an empty one is none.
    pub fn set_webhook(&mut self, url: &str) {
        url.clone_into(&mut self.webhook);
    }
}

impl Target for Telegram {
    fn answer(&mut self, request: &Asked) -> Page {
        let method = request.path.strip_prefix(&format!("/bot{TOKEN}/"));
        let result = match method {
            Some(method) => self.call(method, &request.json()),
            None if request.path.starts_with("/bot") => Err(Refusal(401, "Unauthorized", Value::Null)),
            None => Err(NO_METHOD),
        };
        match result {
            Ok(result) => page(200, &json!({"ok": true, "result": result})),
            Err(Refusal(status, text, parameters)) => refused(status, text, &parameters),
        }
    }

    fn refusal(status: u16, _: &str, text: &str) -> Page {
        refused(status, text, &Value::Null)
    }
}

/// What the Bot API says to an unknown method, and to an address that is none of its own.
const NO_METHOD: Refusal = Refusal(404, "Not Found", Value::Null);

/// The answer to a bot that is too fast.
pub fn flood(seconds: u64) -> Vec<u8> {
    refused(429, "Too Many Requests", &json!({"retry_after": seconds})).body().to_vec()
}

fn refused(status: u16, text: &str, parameters: &Value) -> Page {
    let mut body = json!({"ok": false, "error_code": status, "description": text});
    if !parameters.is_null() {
        body["parameters"] = parameters.clone();
    }
    page(status, &body)
}

fn page(status: u16, body: &Value) -> Page {
    Page::new(status, "application/json", body.to_string())
}

fn bad(text: &'static str) -> Refusal {
    Refusal(400, text, Value::Null)
}

/// The methods.
impl Telegram {
    fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        match method {
            "getMe" => {
                Ok(json!({"id": 4_815_162_342_i64, "is_bot": true, "first_name": "S", "username": "sandbox_bot"}))
            }
            "getWebhookInfo" => Ok(json!({"url": self.webhook, "pending_update_count": self.updates.len()})),
            "getChat" => known(&params["chat_id"]).map(|id| {
                let kind = if id > 0 { "private" } else { "supergroup" };
                json!({"id": id, "type": kind, "title": "Песочница"})
            }),
            "sendMessage" => self.send(params),
            "getUpdates" => self.get_updates(params),
            "answerCallbackQuery" => self.answer_press(params),
            "editMessageReplyMarkup" => self.edit_buttons(params),
            _ => Err(NO_METHOD),
        }
    }

    fn send(&mut self, params: &Value) -> Result<Value> {
        let chat = known(&params["chat_id"])?;
        let text = params["text"].as_str().unwrap_or_default();
        let text = match params["parse_mode"].as_str() {
            Some("HTML") => markup::plain(text).ok_or(bad("Bad Request: can't parse entities"))?,
            Some(_) => return Err(bad("Bad Request: unsupported parse_mode")),
            None => text.to_owned(),
        };
        let text = text.trim().to_owned();
        match text.encode_utf16().count() {
            0 => return Err(bad("Bad Request: message text is empty")),
            1..=LONGEST_TEXT => {}
            _ => return Err(bad("Bad Request: message is too long")),
        }
        let buttons = buttons(&params["reply_markup"])?;
        self.last_message += 1;
        let id = self.last_message;
        self.messages.push(Message { chat, id, text: text.clone(), first_buttons: buttons.clone(), buttons });
        Ok(json!({"message_id": id, "date": 1_795_409_859, "chat": {"id": chat}, "text": text}))
    }

    fn get_updates(&mut self, params: &Value) -> Result<Value> {
        if !self.webhook.is_empty() {
            return Err(Refusal(409, "Conflict: can't use getUpdates method while webhook is active", Value::Null));
        }
        // As `Client::do_get_updates` of the Bot API's server does: an offset that it cannot have given is none.
        let offset = params["offset"].as_i64().filter(|offset| *offset <= self.last_update + NEXT_UPDATES).unwrap_or(0);
        self.updates = self.updates.split_off(&offset);
        let limit = params["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MOST_UPDATES);
        Ok(self.updates.values().take(limit.min(MOST_UPDATES)).cloned().collect())
    }

    fn answer_press(&mut self, params: &Value) -> Result<Value> {
        let id = params["callback_query_id"].as_str().unwrap_or_default();
        let is_pending = self.updates.values().any(|update| update["callback_query"]["id"] == id);
        if !is_pending || self.answered.contains_key(id) {
            return Err(bad("Bad Request: query is too old and response timeout expired or query ID is invalid"));
        }
        self.answered.insert(id.to_owned(), params["text"].as_str().unwrap_or_default().to_owned());
        Ok(true.into())
    }

    fn edit_buttons(&mut self, params: &Value) -> Result<Value> {
        let place = (params["chat_id"].as_i64(), params["message_id"].as_i64());
        let found = self.messages.iter_mut().find(|message| (Some(message.chat), Some(message.id)) == place);
        let message = found.ok_or(bad("Bad Request: message to edit not found"))?;
        let buttons = buttons(&params["reply_markup"])?;
        if message.buttons == buttons {
            return Err(bad("Bad Request: message is not modified"));
        }
        message.buttons = buttons;
        Ok(json!({"message_id": message.id, "chat": {"id": message.chat}}))
    }
}

/// The number of a chat that the bot may write to.
fn known(chat: &Value) -> Result<i64> {
    match chat.as_i64() {
        Some(MOVED_GROUP) => Err(Refusal(
            400,
            "Bad Request: group chat was upgraded to a supergroup chat",
            json!({"migrate_to_chat_id": SUPERGROUP}),
        )),
        Some(BLOCKED) => Err(Refusal(403, "Forbidden: bot was blocked by the user", Value::Null)),
        Some(chat @ (PERSON | GROUP | SUPERGROUP)) => Ok(chat),
        _ => Err(bad("Bad Request: chat not found")),
    }
}

fn buttons(markup: &Value) -> Result<Vec<(String, String)>> {
    let rows = markup["inline_keyboard"].as_array().into_iter().flatten();
    let buttons = rows.flat_map(|row| row.as_array().into_iter().flatten());
    let read = |button: &Value| {
        let (text, data) =
            (button["text"].as_str().unwrap_or_default(), button["callback_data"].as_str().unwrap_or_default());
        match !text.is_empty() && (1..=LONGEST_DATA).contains(&data.len()) {
            true => Ok((text.to_owned(), data.to_owned())),
            false => Err(bad("Bad Request: BUTTON_DATA_INVALID")),
        }
    };
    buttons.map(read).collect()
}

#[cfg(test)]
mod tests;
