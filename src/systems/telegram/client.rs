//! The Bot API: one request for each call, its token in the address and in no text. When to call is decided elsewhere.

use std::time::Duration;

use serde_json::{Value, json};

use super::Settings;
use super::errors::{self, ApiError};
use super::settings::Chat;
use crate::http::{Http, Method, Request};
use crate::settings::Secret;
use crate::stats::histogram::Requests;
use crate::tls::RootCertificates;

/// How long Telegram shall wait for news before it says that there are none. The end of the worker waits for that.
const LISTENING: Duration = Duration::from_secs(2);
/// How long it waits at the most: it does not let itself be asked for the same more often.
const LONGEST_LISTENING: Duration = Duration::from_secs(3);

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The chat's number.
    pub chat: i64,
    /// The message's number in it.
    pub message: i64,
}

/// Calls the methods of one bot.
pub struct Client {
    http: Http,
    /// For the call that waits for news, which takes as much longer.
    listening: Http,
    /// The address, up to the method.
    methods: Secret,
}

impl Client {
    /// A client for the bot of these settings.
    pub fn new(settings: &Settings, https: &RootCertificates) -> Client {
        let methods = Secret::new(format!("{}/bot{}", settings.api.base, settings.token.expose()));
        let within = |deadline| Http::new(deadline, https);
        let (http, listening) =
            (within(settings.request_timeout), within(settings.request_timeout + LONGEST_LISTENING));
        Client { http, listening, methods }
    }

    /// The `result` of a call.
    ///
    /// # Errors
    /// There is none, and why.
    pub fn call(&self, call: &Call) -> Result<Value, ApiError> {
        self.send(&self.http, call)
    }

    /// The requests that it has sent; asking for updates waits on purpose and is not among them.
    pub fn requests(&self) -> &Requests {
        self.http.requests()
    }

    /// What people did since the update before this one, which settles all before.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn updates(&self, offset: i64) -> Result<Value, ApiError> {
        self.send(&self.listening, &get_updates(offset))
    }

    fn send(&self, http: &Http, call: &Call) -> Result<Value, ApiError> {
        let (url, params) = (format!("{}/{}", self.methods.expose(), call.method), call.params.to_string());
        let request = Request::new(Method::POST, &url).json(params.as_bytes()).counted_as(call.method);
        errors::result(call.method, http.send(request))
    }
}

/// A method with its parameters.
#[derive(Debug)]
pub struct Call {
    /// Its name.
    pub method: &'static str,
    /// What it is called with.
    pub params: Value,
}

/// Asks for what people did since the update before this one, which settles all before.
pub fn get_updates(offset: i64) -> Call {
    let params = json!({"offset": offset, "timeout": LISTENING.as_secs(), "allowed_updates": ["callback_query"]});
    Call { method: "getUpdates", params }
}

/// Tells the person who has pressed; it ends the button's waiting.
pub fn answer_press(press: &str, text: &str) -> Call {
    Call { method: "answerCallbackQuery", params: json!({"callback_query_id": press, "text": text}) }
}

/// Takes the buttons from a message.
pub fn remove_buttons(Place { chat, message }: Place) -> Call {
    let params = json!({"chat_id": chat, "message_id": message, "reply_markup": {"inline_keyboard": []}});
    Call { method: "editMessageReplyMarkup", params }
}

impl Chat {
    /// As a parameter.
    pub fn param(&self) -> Value {
        match self {
            Chat::Id(id) => (*id).into(),
            Chat::Name(name) => name.as_str().into(),
        }
    }
}
