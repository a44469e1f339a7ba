//! Finds a queue, or declares it durable and without arguments. It does not know what a queue is for.
//!
//! An existing queue is used as it is, whatever its arguments: declaring it with others would only close the channel.

use std::thread;
use std::time::{Duration, Instant};

use amiquip::{AmqpValue, Channel, Error, FieldTable, QueueDeclareOptions, QueueDeleteOptions};

use super::ConnectionError;
use super::connection::Connection;
use crate::stop::Stop;

/// Other consumers may make us wait at most this long.
const SETTLING_DEADLINE: Duration = Duration::from_secs(2);
const SETTLING_LOOK: Duration = Duration::from_millis(5);
/// Between two tries to hold a name.
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// What the broker says of an exclusive queue of another connection.
const RESOURCE_LOCKED: u16 = 405;

/// Declares the queues that do not exist.
///
/// # Errors
/// The connection is gone, or we may not configure one of the queues.
pub fn ensure(connection: &mut Connection, names: &[&str]) -> Result<(), ConnectionError> {
    let mut channel = connection.channel()?;
    for name in names {
        match channel.queue_declare_passive(*name) {
            Ok(_) => {}
            // The broker's answer has closed the channel, so the next one is opened.
            Err(err) if is_missing(&err) => {
                channel = connection.channel()?;
                declare(&channel, name)?;
                log::info!("declared the queue {name}, which did not exist");
            }
            Err(err) => return Err(err.into()),
        }
    }
    Ok(())
}

/// Sees to it that a queue is there from which messages are taken and given back any number of times: a quorum queue
/// would delete them. For queues that only this program reads.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_classic(connection: &mut Connection, name: &str) -> Result<(), ConnectionError> {
    if look(connection, name)?.is_some() {
        return Ok(());
    }
    let kind = AmqpValue::LongString("classic".into());
    let arguments = FieldTable::from_iter([("x-queue-type".to_owned(), kind)]);
    let options = QueueDeclareOptions { durable: true, arguments, ..QueueDeclareOptions::default() };
    connection.channel()?.queue_declare(name, options)?;
    log::info!("declared the queue {name}, which was not there");
    Ok(())
}

/// What the broker says about a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Messages that wait to be delivered; unsettled ones do not count.
    pub ready: u32,
    /// How many consumers it has.
    pub consumers: u32,
}

/// How many messages wait in the queue, ready to be delivered; `None` when there is no such queue. Changes nothing.
///
/// # Errors
/// The connection is gone, or we may not look at the queue.
pub fn ready(connection: &mut Connection, name: &str) -> Result<Option<u32>, ConnectionError> {
    Ok(look(connection, name)?.map(|found| found.ready))
}

/// Looks at the queue, on a channel of its own; `None` when there is no such queue. Changes nothing.
///
/// # Errors
/// The connection is gone, or we may not look at the queue.
pub fn look(connection: &mut Connection, name: &str) -> Result<Option<Found>, ConnectionError> {
    let channel = connection.channel()?;
    match channel.queue_declare_passive(name) {
        Ok(queue) => Ok(queue.declared_message_count().zip(queue.declared_consumer_count()).map(found)),
        Err(err) if is_missing(&err) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

/// Looks at all of these queues, on one channel as long as each is there; see [`look`].
///
/// # Errors
/// The connection is gone. A queue at which we may not look counts as not there.
pub fn look_at_all(connection: &mut Connection, names: &[&str]) -> Result<Vec<Option<Found>>, ConnectionError> {
    let mut channel = connection.channel()?;
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        all.push(match channel.queue_declare_passive(*name) {
            Ok(queue) => queue.declared_message_count().zip(queue.declared_consumer_count()).map(found),
            // The broker's answer has closed the channel.
            Err(Error::ServerClosedChannel { .. }) => {
                channel = connection.channel()?;
                None
            }
            Err(err) => return Err(err.into()),
        });
    }
    Ok(all)
}

fn found((ready, consumers): (u32, u32)) -> Found {
    Found { ready, consumers }
}

/// How many consumers these queues have before we consume, for [`await_settled`]. A queue that does not exist is left
/// out.
///
/// # Errors
/// The connection is gone, or we may not look at a queue.
pub fn others(connection: &mut Connection, names: &[&str]) -> Result<Vec<(String, Found)>, ConnectionError> {
    let mut others = Vec::with_capacity(names.len());
    for name in names {
        others.extend(look(connection, name)?.map(|found| ((*name).to_owned(), Found { ready: 0, ..found })));
    }
    Ok(others)
}

/// Waits until the queues have carried out our acks and requeues: until each has at least as many messages, and at most
/// as many consumers, as `queues` says. Other consumers may change both numbers, so it does not wait for long.
///
/// The channel has to stay open until then: when it is closed, a quorum queue forgets all but 32 of the acks that are
/// not carried out yet (rabbitmq-server, issue 10327). A quorum queue counts a channel with unsettled messages as a
/// consumer.
///
/// # Errors
/// The connection is gone.
pub fn await_settled(connection: &mut Connection, queues: &[(String, Found)]) -> Result<(), ConnectionError> {
    let started = Instant::now();
    for (name, settled) in queues {
        let is_settled = |found: Found| found.ready >= settled.ready && found.consumers <= settled.consumers;
        while !look(connection, name)?.is_none_or(is_settled) && started.elapsed() < SETTLING_DEADLINE {
            thread::sleep(SETTLING_LOOK);
        }
    }
    Ok(())
}

/// Holds a name for as long as the connection lives; `false` when another connection holds it.
///
/// # Errors
/// The connection is gone, or we may not configure the queue.
pub fn lock(connection: &mut Connection, name: &str) -> Result<bool, ConnectionError> {
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    match connection.channel()?.queue_declare(name, options) {
        Ok(_) => Ok(true),
        Err(Error::ServerClosedChannel { code: RESOURCE_LOCKED, .. }) => Ok(false),
        Err(err) => Err(err.into()),
    }
}

/// The same, and waits so long for whoever holds the name; `false`: it is still held, or the stop signal came.
///
/// # Errors
/// As [`lock`].
pub fn lock_within(
    connection: &mut Connection,
    name: &str,
    patience: Duration,
    stop: &Stop,
) -> Result<bool, ConnectionError> {
    let end = Instant::now() + patience;
    while !connection.within_deadline(|connection| lock(connection, name))? {
        if Instant::now() >= end || stop.pause(TRY_AGAIN) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Does another connection hold this name?
///
/// # Errors
/// The connection is gone.
pub fn is_locked(connection: &mut Connection, name: &str) -> Result<bool, ConnectionError> {
    match connection.channel()?.queue_declare_passive(name) {
        Ok(_) => Ok(false),
        Err(Error::ServerClosedChannel { code, .. }) => Ok(code == RESOURCE_LOCKED),
        Err(err) => Err(err.into()),
    }
}

/// Declares queues that the broker deletes when nobody has used them for `unused`. For queues that only this program
/// uses: they do not stay even if the program crashes.
///
/// # Errors
/// The connection is gone, or we may not configure a queue.
pub fn make_passing(connection: &mut Connection, names: &[&str], unused: Duration) -> Result<(), ConnectionError> {
    let milliseconds = i32::try_from(unused.as_millis()).unwrap_or(i32::MAX);
    let arguments = FieldTable::from_iter([("x-expires".to_owned(), AmqpValue::LongInt(milliseconds))]);
    let options = QueueDeclareOptions { durable: true, arguments, ..QueueDeclareOptions::default() };
    let channel = connection.channel()?;
    for name in names {
        channel.queue_declare(*name, options.clone())?;
    }
    Ok(())
}

/// Gets a message from a queue that is empty, to see whether we may read it.
///
/// # Errors
/// The connection is gone, or we may not.
pub fn peek(connection: &mut Connection, name: &str) -> Result<(), ConnectionError> {
    Ok(connection.channel()?.basic_get(name, true).map(drop)?)
}

/// Deletes queues with their messages. For queues that only this program uses: those of `demo`.
///
/// # Errors
/// The connection is gone, or we may not configure a queue.
pub fn delete(connection: &mut Connection, names: &[&str]) -> Result<(), ConnectionError> {
    let channel = connection.channel()?;
    for name in names {
        channel.queue_delete(*name, QueueDeleteOptions::default())?;
    }
    Ok(())
}

fn declare(channel: &Channel, name: &str) -> amiquip::Result<()> {
    // amiquip's default is not durable.
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name, options).map(drop)
}

fn is_missing(err: &Error) -> bool {
    // RabbitMQ also says 404 when the node of a queue is down: that queue exists.
    matches!(err, Error::ServerClosedChannel { code: 404, message, .. } if !message.contains("is down"))
}
