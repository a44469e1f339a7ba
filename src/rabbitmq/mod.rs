//! The only folder that names amiquip, and so the only one that knows AMQP.
//!
//! [`connection`] opens and closes a connection, [`queues`] finds or makes a queue, [`intake`] takes deliveries and settles
//! them, [`publisher`] publishes with confirms, `filter` keeps from amiquip what would kill it. What bites in amiquip is said where it is avoided. Nothing here knows a
//! system, a task or the shape of a message.

pub mod connection;
mod filter;
pub mod intake;
pub mod publisher;
pub mod queues;
mod tls;

use std::fmt;

pub use amiquip::{
    AmqpValue, Confirm, ConnectionBlockedNotification as Blocked, Consumer, ConsumerMessage, Error, FieldTable,
};

/// Why a session could not be opened, or was lost. Holds no password.
#[derive(Debug)]
pub struct Trouble {
    /// The broker is there and does not let us in: wrong credentials, virtual host or permissions.
    pub refused: bool,
    text: String,
}

impl Trouble {
    /// Trouble of our own telling.
    pub fn new(text: impl Into<String>) -> Trouble {
        Trouble { refused: false, text: text.into() }
    }

    /// The same trouble, saying where.
    pub fn at(self, place: &str) -> Trouble {
        Trouble { text: format!("{place}: {}", self.text), ..self }
    }
}

impl From<Error> for Trouble {
    fn from(err: Error) -> Trouble {
        let refused = match &err {
            Error::InvalidCredentials => true,
            // 403 ACCESS_REFUSED, 530 NOT_ALLOWED (no such virtual host).
            Error::ServerClosedConnection { code, .. } | Error::ServerClosedChannel { code, .. } => {
                matches!(code, 403 | 530)
            }
            _ => false,
        };
        // amiquip's text holds its cause already, so the error is kept as text and not as a source.
        Trouble { refused, text: err.to_string() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Trouble {}

/// The header of this name, if it is a text.
pub fn text_header<'a>(headers: &'a FieldTable, name: &str) -> Option<&'a str> {
    match headers.get(name)? {
        AmqpValue::LongString(text) => Some(text),
        _ => None,
    }
}

/// The header of this name, if it is a whole number.
pub fn number_header(headers: &FieldTable, name: &str) -> Option<i64> {
    match headers.get(name)? {
        AmqpValue::ShortShortInt(number) => Some((*number).into()),
        AmqpValue::ShortShortUInt(number) => Some((*number).into()),
        AmqpValue::ShortInt(number) => Some((*number).into()),
        AmqpValue::ShortUInt(number) => Some((*number).into()),
        AmqpValue::LongInt(number) => Some((*number).into()),
        AmqpValue::LongUInt(number) => Some((*number).into()),
        AmqpValue::LongLongInt(number) => Some(*number),
        _ => None,
    }
}
