//! The one door to HTTP: deadlines on everything, answers of bounded size, no redirect followed, no secret in an error.
//!
//! It says whether a request that failed may have had an effect; [`super::classify()`] says what an answer means.

use std::fmt;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
pub use ureq::http::Method;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use ureq::http::request::Builder;
use ureq::http::uri::InvalidUri;
use ureq::http::{HeaderMap, HeaderValue};
use ureq::unversioned::transport::Connector as _;
use ureq::{Agent, Timeout};

use super::resolver::{Dial, KeepingResolver};
use super::tls::{CA_FILE, Https, NoHandshake};
use crate::stats::histogram::Requests;
use crate::tls::{self as trust, RootCertificates};

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: u64 = 16 << 20;
/// For name look-up and TCP, so that a missing host is noticed long before the deadline of the whole request.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Servers close idle connections, often after 5 s or more; a request on a closing connection has an unknown outcome.
const LONGEST_IDLE: Duration = Duration::from_secs(4);
/// The longest pause that a target can ask for.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// The methods that are counted by name.
const KNOWN: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Sends requests to one target, over connections that it keeps open.
pub struct Http {
    agent: Agent,
    requests: Requests,
}

/// A request to be sent. If it is wrong, sending it fails.
pub struct Request<'a> {
    builder: Builder,
    body: Option<&'a [u8]>,
    /// Under which method it is counted.
    counted_as: &'static str,
}

impl<'a> Request<'a> {
    /// A request without a body.
    pub fn new(method: Method, url: &str) -> Request<'a> {
        // Some servers wait for the body of a POST that does not give its length.
        let body = matches!(method, Method::POST | Method::PUT | Method::PATCH).then_some(&[][..]);
        let counted_as = KNOWN.into_iter().find(|known| method == *known).unwrap_or("other");
        Request { builder: Builder::new().method(method).uri(url), body, counted_as }
    }

    /// Adds this header.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Request<'a> {
        Request { builder: self.builder.header(name, value), ..self }
    }

    /// Counts it under this method of the target's own, of which there must be few.
    #[must_use]
    pub fn counted_as(self, method: &'static str) -> Request<'a> {
        Request { counted_as: method, ..self }
    }

    /// Signs in by name and password. A name with a colon is not possible.
    #[must_use]
    pub fn basic(self, name: &str, password: &str) -> Request<'a> {
        self.signed_in(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
    }

    /// Signs in by a token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Request<'a> {
        self.signed_in(format!("Bearer {token}"))
    }

    fn signed_in(self, as_whom: String) -> Request<'a> {
        let builder = match HeaderValue::try_from(as_whom) {
            Ok(mut value) => {
                // This keeps it out of ureq's own log lines.
                value.set_sensitive(true);
                self.builder.header(AUTHORIZATION, value)
            }
            // An invalid header, so that sending fails and says so.
            Err(_) => self.builder.header(AUTHORIZATION, "\n"),
        };
        Request { builder, ..self }
    }

    /// Sends this JSON as the body, and asks for JSON.
    #[must_use]
    pub fn json(self, body: &'a [u8]) -> Request<'a> {
        self.body("application/json", body).header("Accept", "application/json")
    }

    /// Sends this body.
    #[must_use]
    pub fn body(self, content_type: &str, body: &'a [u8]) -> Request<'a> {
        Request { builder: self.builder.header(CONTENT_TYPE, content_type), body: Some(body), ..self }
    }
}

/// A complete answer, whatever its status.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, unparsed.
    pub body: Vec<u8>,
    pub(super) headers: HeaderMap,
}

impl Answer {
    /// The first header of this name, whatever its case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The pause that the target asks for, given in seconds or as a time; none if the time is over.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.header(RETRY_AFTER.as_str())?.trim();
        let asked = match value.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => (DateTime::parse_from_rfc2822(value).ok()?.to_utc() - Utc::now()).to_std().ok()?,
        };
        Some(asked.min(LONGEST_REST))
    }
}

/// Headers may hold a secret.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {} with {} bytes", self.status, self.body.len())
    }
}

/// No answer. The texts hold no URL.
#[derive(Debug)]
pub enum NoAnswer {
    /// The request cannot have reached the target.
    NotSent(String),
    /// The request may have had its effect.
    Unknown(String),
    /// The same; the answer is larger than what is read.
    TooLarge(String),
}

impl Http {
    /// `deadline` is for a whole request: connecting, sending, waiting and reading. An https server must show a
    /// certificate that `root_certificates` trust.
    pub fn new(deadline: Duration, root_certificates: &RootCertificates) -> Http {
        let config = Agent::config_builder()
            .user_agent(concat!("task-creator/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(deadline))
            .timeout_resolve(Some(deadline.min(CONNECT_DEADLINE)))
            .timeout_connect(Some(deadline.min(CONNECT_DEADLINE)))
            // The body of a refusal says why, so a status is not an error here.
            .http_status_as_error(false)
            // A redirected POST would lose its body, and the URL's secret would go to another host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .allow_non_standard_methods(true)
            // Even if HTTP_PROXY is set: a proxy would see the secrets of an http address.
            .proxy(None)
            .max_idle_age(LONGEST_IDLE)
            .max_idle_connections_per_host(256)
            .max_idle_connections(256)
            .build();
        let connector = ().chain(Dial::default()).chain(Https::new(root_certificates));
        let agent = Agent::with_parts(config, connector, KeepingResolver::default());
        Http { agent, requests: Requests::default() }
    }

    /// How many requests it has sent, and how long they took.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Sends a request, once.
    ///
    /// # Errors
    /// [`NoAnswer`] when no complete answer came within the deadline.
    pub fn send(&self, request: Request<'_>) -> Result<Answer, NoAnswer> {
        let (started, method) = (Instant::now(), request.counted_as);
        let answer = self.exchange(request);
        self.requests.note(method, started.elapsed(), answer.as_ref().ok().map(|answer| answer.status));
        answer
    }

    fn exchange(&self, request: Request<'_>) -> Result<Answer, NoAnswer> {
        let Request { builder, body, .. } = request;
        let response = match body {
            Some(body) => self.agent.run(builder.body(body).map_err(unusable)?),
            None => self.agent.run(builder.body(()).map_err(unusable)?),
        };
        let (parts, mut body) = response.map_err(no_answer)?.into_parts();
        let body = body.with_config().limit(LARGEST_ANSWER).read_to_vec().map_err(no_answer)?;
        Ok(Answer { status: parts.status.as_u16(), body, headers: parts.headers })
    }

    /// Posts a JSON body.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub fn post_json(&self, url: &str, body: &[u8]) -> Result<Answer, NoAnswer> {
        self.send(Request::new(Method::POST, url).json(body))
    }
}

/// ureq's own text would show the wrong part, which may be a secret.
fn unusable(err: ureq::http::Error) -> NoAnswer {
    let what = if err.is::<InvalidUri>() { URL_UNUSABLE } else { "a header cannot be sent" };
    NoAnswer::NotSent(what.into())
}

/// Passes on only texts that cannot hold the URL.
fn no_answer(err: ureq::Error) -> NoAnswer {
    match err {
        ureq::Error::HostNotFound => NoAnswer::NotSent(NO_SUCH_NAME.into()),
        ureq::Error::ConnectionFailed => NoAnswer::NotSent("no connection to the host".into()),
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            NoAnswer::NotSent("the host does not answer: no connection in time".into())
        }
        ureq::Error::Timeout(_) => NoAnswer::Unknown("no complete answer in time".into()),
        ureq::Error::Io(err) => no_connection(&err),
        ureq::Error::BodyExceedsLimit(limit) => NoAnswer::TooLarge(format!("the answer is larger than {limit} bytes")),
        ureq::Error::LargeResponseHeader(size, limit) => {
            NoAnswer::Unknown(format!("the answer's head has {size} bytes, more than {limit}"))
        }
        ureq::Error::Protocol(_) => {
            NoAnswer::Unknown("the answer is not HTTP: is it the right port, and https:// where TLS is spoken?".into())
        }
        ureq::Error::BadUri(_) => NoAnswer::NotSent(URL_UNUSABLE.into()),
        ureq::Error::Other(err) if err.is::<NoHandshake>() => NoAnswer::NotSent(format!("TLS: {err}")),
        _ => NoAnswer::Unknown("the request failed in an unusual way".into()),
    }
}

const URL_UNUSABLE: &str = "the URL cannot be used";
const NO_SUCH_NAME: &str = "the host's name does not resolve";
/// std starts the text of a failed name look-up with this; the error has no kind of its own.
const NOT_RESOLVED: &str = "failed to lookup address information";

fn no_connection(err: &std::io::Error) -> NoAnswer {
    match err.kind() {
        ErrorKind::ConnectionRefused => NoAnswer::NotSent("the host refuses the connection".into()),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            NoAnswer::NotSent("the host cannot be reached".into())
        }
        _ if err.to_string().starts_with(NOT_RESOLVED) => NoAnswer::NotSent(NO_SUCH_NAME.into()),
        // TLS that breaks after the handshake says how.
        ErrorKind::InvalidData => NoAnswer::Unknown(format!("the connection broke: {}", trust::explain(err, CA_FILE))),
        kind => NoAnswer::Unknown(format!("the connection broke: {kind}")),
    }
}
