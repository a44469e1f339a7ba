//! Sends a task as one message or several. Telegram cannot be asked for what was sent, so a message whose outcome is
//! unknown is sent again: two are the lesser evil. It knows no queues and no attempts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::{Value, json};

use super::Settings;
use super::client::Client;
use super::errors::{ApiError, Kind};
use super::fields::{self, Outgoing};
use super::settings::{CHAT_ID, Chat};
use crate::message::{Earlier, Task, text};
use crate::stats::Declared;
use crate::systems::half_done::HalfDone;
use crate::systems::{Created, Failure, Found, Handler, Missing, create, question};

/// The handler. Several threads use it at once.
pub struct TelegramHandler {
    settings: Settings,
    client: Arc<Client>,
    /// Messages sent of a task whose next part failed: they are not sent again.
    half_sent: HalfDone,
    /// Groups that have another number now. Held for no call.
    migrated: Mutex<HashMap<Chat, i64>>,
}

impl TelegramHandler {
    /// A handler for the bot of these settings.
    pub fn new(settings: Settings, client: Arc<Client>) -> TelegramHandler {
        log::info!("Telegram cannot be asked for what was sent: a message without a clear answer is sent again");
        TelegramHandler { settings, client, half_sent: HalfDone::default(), migrated: Mutex::default() }
    }
}

impl Handler for TelegramHandler {
    fn visible_within(&self) -> Option<Duration> {
        None
    }

    /// A chat's messages have the same numbers for every bot.
    fn link_to(&self, target_id: &str, within: Option<&str>, _: Option<&str>) -> Option<String> {
        link(within?.parse().ok()?, target_id.parse().ok()?)
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|_| Ok(Found::Nothing(Instant::now()))).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        create::one_by_one(missing, |task| self.send(task))
    }

    fn counters(&self) -> Vec<Declared> {
        vec![Declared::requests(self.client.requests())]
    }
}

impl TelegramHandler {
    fn send(&self, task: &Task) -> Result<Created, Failure> {
        let outgoing = fields::outgoing(task, &self.settings);
        outgoing.warnings.iter().for_each(|warning| log::warn!("{warning}: task={}", task.id));
        let chat = outgoing.chat.clone().ok_or_else(|| {
            Failure::Permanent(anyhow!("no chat: neither variables.chat_id nor the setting {CHAT_ID} names one"))
        })?;
        let mut sent = self.half_sent.take(task);
        if task.earlier == Earlier::MayExist && sent.is_empty() {
            log::warn!("may have been sent before, and is sent again: task={}", task.id);
        }
        while sent.len() < outgoing.parts.len() {
            match self.next_part(task, &outgoing, sent.len(), &chat) {
                Ok(message) => sent.push(message),
                Err(failure) => {
                    self.half_sent.keep(task, sent);
                    return Err(failure);
                }
            }
        }
        Ok(self.created(&outgoing, &sent))
    }

    /// Sends the part of this number; where it is.
    fn next_part(&self, task: &Task, outgoing: &Outgoing, index: usize, chat: &Chat) -> Result<Value, Failure> {
        // Many parts take long: another worker may have the message by now.
        if !task.claim.is_held() {
            return Err(Failure::Outdated);
        }
        // There is nothing to look at before it is sent again.
        let visible_in = self.settings.request_timeout;
        let sent = self.send_part(outgoing, index, chat).map_err(|err| err.into_failure().of_create(visible_in))?;
        match &sent["message_id"] {
            Value::Number(id) => Ok(json!({"id": id, "chat": sent["chat"]["id"]})),
            _ => {
                let error = anyhow!("sendMessage: the reply names no message, so it is not known whether it was sent");
                Err(Failure::OutcomeUnknown { error, visible_in })
            }
        }
    }

    /// The sent message. Refused, it goes once more without markup: whatever is wrong with that is wrong with ours.
    fn send_part(&self, outgoing: &Outgoing, index: usize, chat: &Chat) -> Result<Value, ApiError> {
        let moved = self.migrated().get(chat).copied();
        let to = moved.map_or_else(|| chat.param(), Value::from);
        match self.client.call(&outgoing.send(index, &to)) {
            Err(ApiError { kind: Kind::Migrated(id), .. }) if moved.is_none() => {
                log::warn!("chat {} is {id} now, which is used: correct {CHAT_ID}, or the process", chat.param());
                self.migrated().insert(chat.clone(), id);
                self.client.call(&outgoing.send(index, &id.into()))
            }
            Err(ApiError { kind: Kind::BadRequest, .. }) => self.client.call(&outgoing.send_plain(index, &to)),
            result => result,
        }
    }

    fn created(&self, outgoing: &Outgoing, sent: &[Value]) -> Created {
        let last = sent.last().unwrap_or(&Value::Null);
        let (id, chat) = (text(&last["id"]).unwrap_or_default(), &last["chat"]);
        let messages: Vec<&Value> = sent.iter().map(|message| &message["id"]).collect();
        let task = json!({"id": id, "title": outgoing.title, "status": "sent", "chatId": chat, "messageIds": messages});
        let response = question::result(task, outgoing.asks, "");
        let shown = format!("{id} in chat {chat}");
        let created = match outgoing.is_tracked {
            true => Created { host: Some(self.settings.host()), ..Created::new(response, shown) },
            false => Created::finished(response, shown),
        };
        let link = chat.as_i64().zip(last["id"].as_u64()).and_then(|(chat, id)| link(chat, id));
        Created { link, ..created }
    }

    fn migrated(&self) -> MutexGuard<'_, HashMap<Chat, i64>> {
        self.migrated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address at which the members of a supergroup see a message of it. Messages of other chats have none. The Bot
/// API's number of a supergroup is its own one, 1 to `MOST`, below `BASE`.
fn link(chat: i64, message: u64) -> Option<String> {
    const BASE: i64 = -1_000_000_000_000;
    const MOST: i64 = 997_852_516_352;
    let supergroup = BASE.checked_sub(chat).filter(|number| (1..=MOST).contains(number))?;
    Some(format!("https://t.me/c/{supergroup}/{message}"))
}

#[cfg(test)]
mod tests;
