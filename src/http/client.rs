//! The one door to HTTP: deadlines on everything, answers of bounded size, no redirect followed, no secret in an error.
//!
//! It says whether a request that failed may have had an effect; what a status or a body means is the system's business.

use std::io::ErrorKind;
use std::time::Duration;

use ureq::unversioned::transport::Connector as _;
use ureq::{Agent, Timeout};

use super::resolver::{Dial, KeepingResolver};
use super::tls::{CA_FILE, Https, NoHandshake};
use crate::tls::{self as trust, Authorities};

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: u64 = 16 << 20;
/// For name look-up and TCP, so that a host that is not there is noticed before the whole deadline is over.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Servers close idle connections, often after 5 s or more; a request on one that just closes is an unknown outcome.
const LONGEST_IDLE: Duration = Duration::from_secs(4);

/// Sends requests to one target, over connections that are kept.
pub struct Http {
    agent: Agent,
}

/// A complete answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, not yet looked at.
    pub body: Vec<u8>,
}

/// No answer. The texts hold no URL.
#[derive(Debug)]
pub enum NoAnswer {
    /// The request cannot have reached the target.
    NotSent(String),
    /// The request may have had its effect.
    Unknown(String),
    /// The same, and the answer is longer than what is read.
    TooLarge(String),
}

impl Http {
    /// `deadline` is for a whole request: connecting, sending, waiting and reading. A server of https has to show a
    /// certificate of one of the `authorities`.
    pub fn new(deadline: Duration, authorities: &Authorities) -> Http {
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
            // Whatever HTTP_PROXY says: a proxy would see the secrets of an http address.
            .proxy(None)
            .max_idle_age(LONGEST_IDLE)
            .max_idle_connections_per_host(256)
            .max_idle_connections(256)
            .build();
        let connector = ().chain(Dial::default()).chain(Https::new(authorities));
        Http { agent: Agent::with_parts(config, connector, KeepingResolver::default()) }
    }

    /// Posts a JSON body.
    ///
    /// # Errors
    /// [`NoAnswer`] when no complete answer came within the deadline.
    pub fn post_json(&self, url: &str, body: &[u8]) -> Result<Answer, NoAnswer> {
        let request = self.agent.post(url).content_type("application/json").header("Accept", "application/json");
        let mut response = request.send(body).map_err(no_answer)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec().map_err(no_answer)?;
        Ok(Answer { status, body })
    }
}

/// Only texts that cannot hold the URL are passed on.
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
        ureq::Error::BadUri(_) => NoAnswer::NotSent("the URL cannot be used".into()),
        ureq::Error::Other(err) if err.is::<NoHandshake>() => NoAnswer::NotSent(format!("TLS: {err}")),
        _ => NoAnswer::Unknown("the request failed in an unusual way".into()),
    }
}

const NO_SUCH_NAME: &str = "the host's name does not resolve";
/// How std begins the text of a failed name look-up, which has no kind of its own.
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
