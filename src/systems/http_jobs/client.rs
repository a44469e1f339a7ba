//! The requests to a service: who asks, under which key, and what an answer must not show.
//!
//! What an answer means is said where it is used.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;

use super::Settings;
use crate::http::text::without;
use crate::http::{Answer, Http, Method, NoAnswer, Request};
use crate::settings::Secret;
use crate::stats::histogram::Requests;
use crate::tls::RootCertificates;

/// What stands in no key as it is. `%` is one of them, so that two ids never become one key.
const NOT_IN_KEYS: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b'\\');

/// Asks a service. Several threads use it at once.
pub struct Client {
    http: Http,
    token: Option<Secret>,
}

impl Client {
    /// A client for the service of these settings.
    pub fn new(settings: &Settings, https: &RootCertificates) -> Client {
        Client { http: Http::new(settings.timeout, https), token: settings.token.clone() }
    }

    /// The requests that it has sent.
    pub fn requests(&self) -> &Requests {
        self.http.requests()
    }

    /// Posts a task. Whoever gets the same id again does nothing again and answers the same.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub fn post(&self, url: &Url, task_id: &str, body: &[u8]) -> Result<Answer, NoAnswer> {
        let request = Request::new(Method::POST, url.as_str()).json(body);
        self.send(request.header("Idempotency-Key", &key(task_id)).header("Prefer", "respond-async"))
    }

    /// Asks for something without changing it.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub fn ask(&self, method: Method, url: &Url) -> Result<Answer, NoAnswer> {
        self.send(Request::new(method, url.as_str()).header("Accept", "application/json"))
    }

    /// Does this text show the token?
    pub fn shows_token(&self, text: &str) -> bool {
        self.token.as_ref().is_some_and(|token| text.contains(token.expose()))
    }

    fn send(&self, request: Request<'_>) -> Result<Answer, NoAnswer> {
        let Some(token) = &self.token else { return self.http.send(request) };
        let mut answer = self.http.send(request.bearer(token.expose()))?;
        answer.body = without(token.expose(), answer.body);
        Ok(answer)
    }
}

/// The task's id, so that it can stand in a header. A UUID stays what it is.
pub fn key(task_id: &str) -> String {
    utf8_percent_encode(task_id, NOT_IN_KEYS).to_string()
}
