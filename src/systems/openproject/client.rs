//! Calls an OpenProject: one request, signed in, when there is a turn for it.
//!
//! It knows paths, encodings and how to sign in. What an answer means for a task is [`super::handler`]'s and
//! [`super::tracker`]'s business, what an error means is [`super::errors`]'.

use std::cell::Cell;
use std::time::Instant;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::Settings;
use super::errors::{self, ApiError};
use crate::http::text::without;
use crate::http::{Answer, Http, Method, NoAnswer, Request, Turns};
use crate::settings::Secret;
use crate::stats::histogram::Requests;
use crate::stop::Stop;
use crate::tls::RootCertificates;

/// The name that goes with every token, whoever owns it.
pub const USER: &str = "apikey";

/// An OpenProject, seen by one user.
pub struct Client {
    http: Http,
    url: String,
    token: Secret,
    turns: Turns,
    /// Look-ups may take only a part of the turns: what they looked up must be created while their answer is fresh.
    look_ups: Turns,
    stop: Stop,
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub struct Call {
    /// GET, POST or PATCH.
    pub method: Method,
    /// The path after `/api/v3`. It starts with a slash, unless it is empty.
    pub path: String,
    /// Names and values, not yet encoded.
    pub query: Vec<(&'static str, String)>,
    /// The body of a POST or PATCH.
    pub body: Option<Value>,
}

impl Call {
    /// Reads something.
    pub fn get(path: impl Into<String>) -> Call {
        Call { method: Method::GET, path: path.into(), query: Vec::new(), body: None }
    }

    /// Makes something.
    pub fn post(path: impl Into<String>, body: Value) -> Call {
        Call { method: Method::POST, body: Some(body), ..Call::get(path) }
    }

    /// Changes something.
    pub fn patch(path: impl Into<String>, body: Value) -> Call {
        Call { method: Method::PATCH, body: Some(body), ..Call::get(path) }
    }

    /// One page of a list with these filters. Without filters OpenProject shows only open work packages.
    pub fn list(path: impl Into<String>, filters: &Value, page: usize, size: usize) -> Call {
        let query =
            vec![("offset", page.to_string()), ("pageSize", size.to_string()), ("filters", filters.to_string())];
        Call { query, ..Call::get(path) }
    }

    /// What it is, for people.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path.trim_start_matches('/'))
    }

    fn target(&self) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let separator = if query.is_empty() { "" } else { "?" };
        format!("/api/v3{}{separator}{}", self.path, query.join("&"))
    }
}

impl Client {
    /// A client for the OpenProject of these settings.
    pub fn new(settings: &Settings, https: &RootCertificates, stop: &Stop) -> Client {
        Client {
            http: Http::new(settings.request_timeout, https),
            url: settings.url.clone(),
            token: settings.token.clone(),
            turns: Turns::new(settings.parallel_requests),
            look_ups: Turns::new(settings.parallel_requests / 2),
            stop: stop.clone(),
        }
    }

    /// The requests that it has sent.
    pub fn requests(&self) -> &Requests {
        self.http.requests()
    }

    /// Makes one call.
    ///
    /// # Errors
    /// [`ApiError`], which says whether the call may have had an effect.
    pub fn call(&self, call: &Call) -> Result<Value, ApiError> {
        self.call_while(call, || true)
    }

    /// The same for a look-up, with the time at which it was sent.
    pub fn look_up(&self, call: &Call) -> (Instant, Result<Value, ApiError>) {
        let _turn = self.look_ups.next(&self.stop);
        let sent = Cell::new(Instant::now());
        let reply = self.call_while(call, || {
            sent.set(Instant::now());
            true
        });
        (sent.get(), reply)
    }

    /// The same for a call that is sent only if `may_go` still allows it when its turn has come.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_while(&self, call: &Call, may_go: impl Fn() -> bool) -> Result<Value, ApiError> {
        let Some(_turn) = self.turns.next(&self.stop) else {
            return Err(ApiError::not_sent("not sent: the worker stops"));
        };
        if !may_go() {
            return Err(ApiError::outdated());
        }
        let body = call.body.as_ref().map(Value::to_string);
        let answer = self.send(call, body.as_deref().map(str::as_bytes));
        errors::reply(answer).map_err(|err| err.of(&call.name()))
    }

    fn send(&self, call: &Call, body: Option<&[u8]>) -> Result<Answer, NoAnswer> {
        let request = Request::new(call.method.clone(), &format!("{}{}", self.url, call.target()));
        let request = request.basic(USER, self.token.expose());
        let request = match body {
            Some(body) => request.json(body),
            None => request.header("Accept", "application/hal+json"),
        };
        let mut answer = self.http.send(request)?;
        answer.body = without(self.token.expose(), answer.body);
        Ok(answer)
    }
}
