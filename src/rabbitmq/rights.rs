//! Finds out what we may do at the broker without doing it. It asks for something impossible: RabbitMQ checks the right
//! first, and only then refuses the impossible part. Nothing is declared, taken or left behind.
//!
//! It does not know which rights are needed.

use amiquip::{AmqpValue, ConsumerOptions, Error, FieldTable, QueueDeclareOptions};
use crossbeam_channel::RecvTimeoutError;

use super::ConnectionError;
use super::connection::{Connection, SETUP_DEADLINE};
use super::publisher::{OutgoingMessage, Publisher};

/// A queue that does not exist: nobody declares one of this name.
const NO_QUEUE: &str = "task-creator.no.such.queue";
/// Not a number, so an invalid argument. The broker shows it in its log.
const IMPOSSIBLE: &str = "task-creator only looks whether it would be allowed";

fn impossible(argument: &str) -> FieldTable {
    FieldTable::from_iter([(argument.to_owned(), AmqpValue::LongString(IMPOSSIBLE.into()))])
}

/// May we publish through the default exchange?
///
/// # Errors
/// We may not, or the connection is gone.
pub fn may_write(publisher: &mut Publisher) -> Result<(), ConnectionError> {
    // Without a body: in an alarm RabbitMQ reads only up to the first body. No queue takes it, so it is returned.
    let nothing = OutgoingMessage::new(NO_QUEUE.into(), "rights".into(), Vec::new());
    let tag = publisher.publish(&nothing)?;
    loop {
        match publisher.confirms().recv_timeout(SETUP_DEADLINE) {
            Ok(confirm) if publisher.outcomes(confirm).iter().any(|(of, _)| *of == tag) => return Ok(()),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                return Err(ConnectionError::new(format!("no confirm from RabbitMQ within {SETUP_DEADLINE:?}")));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(publisher.why_gone()),
        }
    }
}

/// May we declare this queue, whether or not it exists?
///
/// # Errors
/// We may not, the broker has no room for another queue, or the connection is gone.
pub fn may_configure(connection: &mut Connection, queue: &str) -> Result<(), ConnectionError> {
    let channel = connection.channel()?;
    let arguments = impossible("x-message-ttl");
    let options = QueueDeclareOptions { durable: true, arguments, ..QueueDeclareOptions::default() };
    match channel.queue_declare(queue, options) {
        // The virtual host has as many queues as it may have.
        Err(err @ Error::ServerClosedChannel { code: 406, .. }) if err.to_string().contains("queue limit") => {
            Err(err.into())
        }
        // 404: a node is down. 405: another connection uses it exclusively. 406: the argument.
        Err(Error::ServerClosedChannel { code: 404..=406, .. }) | Ok(_) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// May we take messages from this queue, whether or not it exists?
///
/// # Errors
/// We may not, or the connection is gone.
pub fn may_read(connection: &mut Connection, queue: &str) -> Result<(), ConnectionError> {
    let channel = connection.channel()?;
    let options = ConsumerOptions { arguments: impossible("x-priority"), ..ConsumerOptions::default() };
    match channel.basic_consume(queue, options).map(drop) {
        Err(Error::ServerClosedChannel { code: 404..=406, .. }) | Ok(()) => Ok(()),
        Err(err) => Err(err.into()),
    }
}
