//! The only folder that names amiquip, and so the only one that knows AMQP.
//!
//! [`connection`] opens and closes a connection (`handshake`, `peer` and `refusal` say why one is not let in, `filter` keeps
//! from amiquip what would kill it), [`queues`] finds or makes a queue, [`rights`] finds out what we may do, [`intake`] takes
//! deliveries and settles them, [`publisher`] publishes with confirms. What bites in amiquip is said where it is avoided.
//! Nothing here knows a system, a task or the shape of a message.

pub mod connection;
mod filter;
mod handshake;
pub mod intake;
mod peer;
pub mod publisher;
pub mod queues;
mod refusal;
pub mod rights;
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

    /// The same trouble, saying what to do.
    pub fn with(self, advice: &str) -> Trouble {
        Trouble { text: format!("{}; {advice}", self.text), ..self }
    }
}

impl From<Error> for Trouble {
    fn from(err: Error) -> Trouble {
        match &err {
            Error::ServerClosedConnection { code, message } | Error::ServerClosedChannel { code, message, .. } => {
                Trouble { refused: refusal::lasts(*code, message), text: refusal::told(*code, message) }
            }
            // amiquip's text holds its cause already, so the error is kept as text and not as a source.
            _ => Trouble::new(err.to_string()),
        }
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
