//! Reads the error queue, and makes an entry of each message.
//!
//! Nobody else sees the messages that it holds, so a visitor must not wait for a person. It keeps no message, and does
//! not know what the messages are for.

use std::ops::ControlFlow;

use anyhow::anyhow;

use super::entry::ParkedEntry;
use crate::config::Config;
use crate::lane::outgoing;
use crate::rabbitmq::browse::{Browse, LONGEST, Message};
pub use crate::rabbitmq::browse::{End, Fate};
use crate::rabbitmq::publisher::OutgoingMessage;
use crate::stop::Stop;

/// Shows the messages now in the queue, at most `most`, to `visit`, which decides what becomes of each and whether to
/// go on.
///
/// # Errors
/// There is no error queue, the connection is gone, or `visit` failed: then its message stays.
pub fn read(
    config: &Config,
    stop: &Stop,
    most: u32,
    mut visit: impl FnMut(ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>>,
) -> anyhow::Result<End> {
    let queue = &config.error_queue;
    let browse = Browse {
        broker: &config.rabbitmq,
        name: "task-creator: parked",
        queue,
        most,
        time: LONGEST,
        republished: &republished,
    };
    let browsed = browse.read(stop, |Message { body, headers, sent }| visit(ParkedEntry::read(body, headers, sent)))?;
    let browsed = browsed.ok_or_else(|| {
        let vhost = &config.rabbitmq.vhost;
        anyhow!("there is no queue {queue} in virtual host {vhost}; the worker and the bridge declare it")
    })?;
    Ok(browsed.end)
}

fn republished(queue: &str, Message { body, headers, sent }: Message) -> OutgoingMessage {
    let id = ParkedEntry::read(body.clone(), headers.clone(), sent).id;
    outgoing::republished(queue, id, body, headers)
}
