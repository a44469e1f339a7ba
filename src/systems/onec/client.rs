//! The one way to 1C: signed in, JSON both ways, and never more requests at once than a setting allows, since each
//! takes a session and may take a licence. It knows no object.

use serde_json::Value;

use super::Settings;
use super::errors::{self, ApiError};
use crate::http::{self, Http, Method, Request, Turns};
use crate::settings::Secret;
use crate::stats::histogram::Requests;
use crate::stop::Stop;
use crate::tls::RootCertificates;

/// Sends requests to one publication of 1C.
pub struct Client {
    http: Http,
    /// Without a slash at its end.
    address: String,
    /// Name and password.
    sign_in: Option<(String, Secret)>,
    turns: Turns,
    /// Of them no more than half are for look-ups. Otherwise the look-ups of all threads would go before the first
    /// create, and would say nothing any more when its turn comes.
    look_ups: Turns,
    stop: Stop,
}

/// A request to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The HTTP method.
    pub method: Method,
    /// What follows the address, percent-encoded.
    pub path: String,
    /// The body, as JSON.
    pub body: Option<Value>,
    /// Headers beside those of every request.
    pub headers: Vec<(&'static str, String)>,
}

impl Call {
    /// A question.
    pub fn get(path: String) -> Call {
        Call { method: Method::GET, path, body: None, headers: Vec::new() }
    }

    /// An order; without a body to be sent as such.
    pub fn post(path: String, body: Option<Value>) -> Call {
        Call { method: Method::POST, path, body, headers: Vec::new() }
    }

    /// With this header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Call {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// The right to send, one request after the other. Whoever drops it lets the next one go.
pub struct Turn<'a> {
    client: &'a Client,
    _turn: http::Turn<'a>,
    _look_up: Option<http::Turn<'a>>,
}

impl Client {
    /// A client for the publication of these settings.
    pub fn new(settings: &Settings, https: &RootCertificates, stop: &Stop) -> Client {
        Client {
            http: Http::new(settings.request_timeout, https),
            address: settings.address.url.clone(),
            sign_in: settings.username.clone().map(|name| (name, settings.password.clone())),
            turns: Turns::new(settings.sessions),
            look_ups: Turns::new(settings.sessions / 2),
            stop: stop.clone(),
        }
    }

    /// The requests that it has sent.
    pub fn requests(&self) -> &Requests {
        self.http.requests()
    }

    /// Does the worker stop?
    pub fn is_stopping(&self) -> bool {
        self.stop.raised()
    }

    /// Waits for a turn. Each of those before it ends with the deadlines of its requests.
    ///
    /// # Errors
    /// The worker stops.
    pub fn turn(&self) -> Result<Turn<'_>, ApiError> {
        let turn = self.turns.next(&self.stop).ok_or_else(ApiError::stopping)?;
        Ok(Turn { client: self, _turn: turn, _look_up: None })
    }

    /// The same to look something up before it is created.
    ///
    /// # Errors
    /// The worker stops.
    pub fn look_up(&self) -> Result<Turn<'_>, ApiError> {
        let look_up = self.look_ups.next(&self.stop).ok_or_else(ApiError::stopping)?;
        Ok(Turn { _look_up: Some(look_up), ..self.turn()? })
    }
}

impl Turn<'_> {
    /// Sends a request, once.
    ///
    /// # Errors
    /// There was no usable answer, or a refusal.
    pub fn send(&self, call: &Call) -> Result<Value, ApiError> {
        let Client { http, address, sign_in, .. } = self.client;
        let body = call.body.as_ref().map(|body| body.to_string().into_bytes());
        let request = Request::new(call.method.clone(), &format!("{address}/{}", call.path));
        let request = match &body {
            Some(body) => request.json(body),
            None => request.header("Accept", "application/json"),
        };
        let request = match sign_in {
            Some((name, password)) => request.basic(name, password.expose()),
            None => request,
        };
        let request = call.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        errors::read(http.send(request))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::super::mapping::Mapping;
    use super::super::tests::settings;
    use super::*;
    use crate::stop;

    #[test]
    fn look_ups_leave_turns_to_creates() {
        let (running, stop) = stop::signal();
        let settings = Settings { sessions: 3, ..settings(Mode::Odata(Mapping::empty())) };
        let client = Client::new(&settings, &RootCertificates::public(), &stop);
        // From here on nobody waits for a turn that is not free.
        running.raise();
        let look_up = client.look_up();
        assert!(look_up.is_ok() && client.look_up().is_err());
        let turns = [client.turn(), client.turn()];
        assert!(turns.iter().all(Result::is_ok) && client.turn().is_err());
        drop(look_up);
        assert!(client.look_up().is_ok());
    }
}
