//! Is the bot ready for the worker? For `task-creator check`. Nothing here sends or changes anything.

use serde_json::{Value, json};

use super::Settings;
use super::client::{Call, Client};
use super::settings::{ALLOWED_IDS, CHAT_ID, Chat};
use crate::message::text;
use crate::report::Report;
use crate::systems::Surroundings;

/// Looks at everything that the worker will need.
pub fn run(settings: &Settings, around: &Surroundings, report: &mut Report) {
    if settings.api.unprotected {
        report.warn("telegram: TELEGRAM_API_URL is http: the token travels unencrypted");
    }
    let client = Client::new(settings, around.https);
    match client.call(&ask("getMe", json!({}))) {
        Ok(me) => report.ok(format!("telegram: the bot is @{}", text(&me["username"]).unwrap_or_default())),
        Err(err) => return report.fail(format!("telegram: {err}")),
    }
    match client.call(&ask("getWebhookInfo", json!({}))) {
        Ok(hook) if text(&hook["url"]).is_some() => report.fail(
            "telegram: the bot has a webhook, so nobody else learns what people press: call deleteWebhook, or use \
             another bot",
        ),
        Ok(_) => report.ok("telegram: the bot has no webhook"),
        Err(err) => report.fail(format!("telegram: {err}")),
    }
    match &settings.chat {
        Some(chat) => at_chat(settings, chat, &client, report),
        None => report.warn(format!("telegram: {CHAT_ID} is not set: a message that names no chat is parked")),
    }
}

fn at_chat(settings: &Settings, chat: &Chat, client: &Client, report: &mut Report) {
    match client.call(&ask("getChat", json!({"chat_id": chat.param()}))) {
        Ok(found) => {
            let name = text(&found["title"]).or_else(|| text(&found["first_name"])).unwrap_or_default();
            report.ok(format!("telegram: {CHAT_ID} is {name:?}"));
            if found["type"] != "private" && settings.allowed.is_empty() {
                let nobody = "so nobody's press counts there";
                report.warn(format!(
                    "telegram: {CHAT_ID} is no chat with one person, and {ALLOWED_IDS} is not set, {nobody}"
                ));
            }
        }
        Err(err) => report
            .fail(format!("telegram: {CHAT_ID}: {err}; the person must have started the bot, the group must have it")),
    }
}

fn ask(method: &'static str, params: Value) -> Call {
    Call { method, params }
}
