//! The only folder that names amiquip, and so the only one that knows AMQP.
//!
//! [`connection`] opens and closes a connection (`handshake`, `peer` and `refusal` say why one is not let in, `filter`
//! keeps from amiquip what would kill it), [`queues`] finds or makes a queue, [`rights`] finds out what we may do,
//! [`consumer`] takes deliveries and settles them, [`publisher`] publishes with confirms, [`rpc`] is both for a target that
//! is spoken to through queues, [`headers`] are what a
//! message carries beside its body. What bites in amiquip is said where it is avoided, and none of its types is named
//! outside: of what comes through its channels, [`Incoming`], [`Confirmation`] and [`Notice`], others only know where
//! here to hand it in. Nothing here knows a system, a task or the shape of a message.

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

/// What a consumer brings, for [`consumer::Consumer::delivery`].
pub type Incoming = amiquip::ConsumerMessage;
/// What the broker says about published outgoing messages, for [`publisher::Publisher::outcomes`].
pub type Confirmation = amiquip::Confirm;
/// What the broker says about its own reading, for [`Blocked`].
pub type Notice = amiquip::ConnectionBlockedNotification;

/// Does the broker read what we publish?
#[derive(Debug)]
pub enum Blocked {
    /// Not any more, and why: an alarm.
    Blocked(String),
    /// It does again.
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
    /// Trouble of our own telling.
    pub fn new(text: impl Into<String>) -> ConnectionError {
        ConnectionError { refused: false, text: text.into() }
    }

    /// The same trouble, saying where.
    pub fn at(self, place: &str) -> ConnectionError {
        ConnectionError { text: format!("{place}: {}", self.text), ..self }
    }

    /// The same trouble, saying what to do.
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
