//! The broker: the only folder that names amiquip, and the only one that knows AMQP.
//!
//! [`connection`] opens and closes a connection (`handshake`, `peer` and `refusal` say why it was refused, `filter`
//! makes harmless what would kill amiquip, `tls` is amqps). [`queues`] finds or declares a queue, [`rights`] finds out
//! what we may do, [`consumer`] takes deliveries and settles them, [`publisher`] publishes with confirms, [`browse`]
//! reads a queue and leaves its messages there, [`rpc`] sends requests to a target that is reached through queues,
//! [`headers`] are the headers of a message. Each trap of amiquip is explained where it is avoided. Its types are not
//! named outside: [`Incoming`], [`Confirmation`] and [`Notice`] come through channels, and others only hand them in
//! here. Nothing here knows a system, a task or the form of a message.

pub mod browse;
pub mod connection;
pub mod consumer;
mod filter;
mod handshake;
pub mod headers;
mod peer;
pub mod publisher;
pub mod queues;
mod refusal;
pub mod rights;
pub mod rpc;
mod tls;

use std::fmt;

use amiquip::Error;

pub use crate::config::RabbitMq;
pub use headers::Headers;

/// What a subscription receives, for [`consumer::Consumer::delivery`].
pub type Incoming = amiquip::ConsumerMessage;
/// A confirm of the broker, for [`publisher::Publisher::outcomes`].
pub type Confirmation = amiquip::Confirm;
/// The start or the end of an alarm, for [`Blocked`].
pub type Notice = amiquip::ConnectionBlockedNotification;

/// Does the broker read what we publish?
#[derive(Debug)]
pub enum Blocked {
    /// No, because of an alarm, with its reason.
    Blocked(String),
    /// It reads again.
    Unblocked,
}

impl From<Notice> for Blocked {
    fn from(notice: Notice) -> Blocked {
        match notice {
            Notice::Blocked(why) => Blocked::Blocked(why),
            Notice::Unblocked => Blocked::Unblocked,
        }
    }
}

/// Why a session could not be opened, or was lost. Holds no password.
#[derive(Debug)]
pub struct ConnectionError {
    /// The broker is there and does not let us in: wrong credentials, virtual host or permissions.
    pub refused: bool,
    text: String,
}

impl ConnectionError {
    /// An error with a text of our own.
    pub fn new(text: impl Into<String>) -> ConnectionError {
        ConnectionError { refused: false, text: text.into() }
    }

    /// The same error, with the place.
    pub fn at(self, place: &str) -> ConnectionError {
        ConnectionError { text: format!("{place}: {}", self.text), ..self }
    }

    /// The same error, with advice.
    pub fn with(self, advice: &str) -> ConnectionError {
        ConnectionError { text: format!("{}; {advice}", self.text), ..self }
    }
}

impl From<Error> for ConnectionError {
    fn from(err: Error) -> ConnectionError {
        match &err {
            Error::ServerClosedConnection { code, message } | Error::ServerClosedChannel { code, message, .. } => {
                ConnectionError { refused: refusal::lasts(*code, message), text: refusal::told(*code, message) }
            }
            // amiquip's text holds its cause already, so the error is kept as text and not as a source.
            _ => ConnectionError::new(err.to_string()),
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ConnectionError {}
