//! Writes to one chat outside of any task: plain texts, one message each. It does not know what they are about.

use serde_json::{Value, json};

use super::Settings;
use super::client::{Call, Client};
use super::errors::{ApiError, Kind};
use super::settings::{Chat, LongText};
use super::text::{self, Part};
use crate::message::text;
use crate::systems::{Failure, Messenger};
use crate::tls::RootCertificates;

/// Writes to one chat.
pub struct TelegramMessenger {
    client: Client,
    chat: Chat,
}

impl TelegramMessenger {
    /// What writes to this chat.
    ///
    /// # Errors
    /// It is none.
    pub fn new(settings: &Settings, https: &RootCertificates, chat: &str) -> Result<TelegramMessenger, String> {
        let chat = Chat::parse(chat).ok_or_else(|| format!("is {chat:?}, neither a number nor a @name"))?;
        Ok(TelegramMessenger { client: Client::new(settings, https), chat })
    }

    fn send_part(&self, part: &Part) -> Result<Value, ApiError> {
        match self.client.call(&self.message(&part.html, Some("HTML"))) {
            // Whatever is wrong with the markup is wrong with ours.
            Err(ApiError { kind: Kind::BadRequest, .. }) => self.client.call(&self.message(&part.plain, None)),
            result => result,
        }
    }

    fn message(&self, text: &str, markup: Option<&str>) -> Call {
        let mut params = json!({
            "chat_id": self.chat.param(), "text": text, "link_preview_options": {"is_disabled": true},
        });
        if let Some(markup) = markup {
            params["parse_mode"] = markup.into();
        }
        Call { method: "sendMessage", params }
    }
}

impl Messenger for TelegramMessenger {
    fn look(&self) -> Result<String, Failure> {
        let call = Call { method: "getChat", params: json!({"chat_id": self.chat.param()}) };
        let found = self.client.call(&call).map_err(ApiError::into_failure)?;
        let name = text(&found["title"]).or_else(|| text(&found["first_name"])).unwrap_or_default();
        Ok(format!("chat {name:?}"))
    }

    fn send(&mut self, subject: &str, text: &str) -> Result<(), Failure> {
        for part in text::parts(Some(subject), text, LongText::Cut).parts {
            let mut sent = self.send_part(&part);
            if let Err(ApiError { kind: Kind::Migrated(id), .. }) = sent {
                log::warn!("chat {} is {id} now, which is used: correct the setting", self.chat.param());
                self.chat = Chat::Id(id);
                sent = self.send_part(&part);
            }
            sent.map_err(ApiError::into_failure)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
