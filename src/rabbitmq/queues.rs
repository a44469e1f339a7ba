//! Finds a queue, or makes it durable and without arguments.
//!
//! A queue that is there is used as it is, whatever its arguments: declaring it with others would only kill the channel.

use std::time::Duration;

use amiquip::{AmqpValue, Channel, Error, FieldTable, QueueDeclareOptions};

use super::connection::Connection;

/// Sees to it that the queues are there.
///
/// # Errors
/// The connection is gone, or we may not configure one of the queues.
pub fn ensure(connection: &mut Connection, names: &[&str]) -> amiquip::Result<()> {
    let mut channel = connection.channel()?;
    for name in names {
        match channel.queue_declare_passive(*name) {
            Ok(_) => {}
            // The broker has closed the channel with its answer; the next one takes over.
            Err(err) if is_missing(&err) => {
                channel = connection.channel()?;
                declare(&channel, name)?;
                log::info!("declared the queue {name}, which was not there");
            }
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

/// What the broker says about a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Messages that wait to be delivered; those that somebody has in hand are not among them.
    pub ready: u32,
    /// Who takes them.
    pub consumers: u32,
}

/// How many messages wait in the queue, ready to be delivered; `None` when there is no such queue. Changes nothing.
///
/// # Errors
/// The connection is gone, or we may not look at the queue.
pub fn ready(connection: &mut Connection, name: &str) -> amiquip::Result<Option<u32>> {
    Ok(look(connection, name)?.map(|found| found.ready))
}

/// Looks at the queue, on a channel of its own; `None` when there is no such queue. Changes nothing.
///
/// # Errors
/// The connection is gone, or we may not look at the queue.
pub fn look(connection: &mut Connection, name: &str) -> amiquip::Result<Option<Found>> {
    let channel = connection.channel()?;
    match channel.queue_declare_passive(name) {
        Ok(queue) => Ok(queue.declared_message_count().zip(queue.declared_consumer_count()).map(found)),
        Err(err) if is_missing(&err) => Ok(None),
        Err(err) => Err(err),
    }
}

fn found((ready, consumers): (u32, u32)) -> Found {
    Found { ready, consumers }
}

/// Holds a name for as long as the connection lives; `false` when another connection holds it.
///
/// # Errors
/// The connection is gone, or we may not configure the queue.
pub fn lock(channel: &Channel, name: &str) -> amiquip::Result<bool> {
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(name, options) {
        Ok(_) => Ok(true),
        // 405 RESOURCE_LOCKED: an exclusive queue of another connection.
        Err(Error::ServerClosedChannel { code: 405, .. }) => Ok(false),
        Err(err) => Err(err),
    }
}

/// Makes a queue that the broker removes by itself when nobody has used it for `unused`. For queues that only this
/// program uses: whatever becomes of the program, they do not stay.
///
/// # Errors
/// The connection is gone, or we may not configure the queue.
pub fn make_passing(channel: &Channel, name: &str, unused: Duration) -> amiquip::Result<()> {
    let milliseconds = i32::try_from(unused.as_millis()).unwrap_or(i32::MAX);
    let arguments = FieldTable::from_iter([("x-expires".to_owned(), AmqpValue::LongInt(milliseconds))]);
    let options = QueueDeclareOptions { durable: true, arguments, ..QueueDeclareOptions::default() };
    channel.queue_declare(name, options).map(drop)
}

/// Asks for a message of a queue that is empty, to see whether we may read there.
///
/// # Errors
/// The connection is gone, or we may not.
pub fn peek(channel: &Channel, name: &str) -> amiquip::Result<()> {
    channel.basic_get(name, true).map(drop)
}

/// Removes a queue and what is in it. For queues that only this program uses: those of `demo`.
///
/// # Errors
/// The connection is gone, or we may not configure the queue.
pub fn delete(channel: &Channel, name: &str) -> amiquip::Result<()> {
    channel.queue_delete(name, amiquip::QueueDeleteOptions::default()).map(drop)
}

fn declare(channel: &Channel, name: &str) -> amiquip::Result<()> {
    // amiquip's default is not durable.
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name, options).map(drop)
}

fn is_missing(err: &Error) -> bool {
    matches!(err, Error::ServerClosedChannel { code: 404, .. })
}
