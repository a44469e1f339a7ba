//! Reads the error queue, makes an entry of each message, and takes single messages out.
//!
//! Nobody else sees the messages that it holds, so a visitor must not wait for a person. It keeps no message, and does
//! not know what the messages are for.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::anyhow;

use super::Selection;
use super::entry::ParkedEntry;
use crate::config::Config;
use crate::lane::outgoing;
use crate::queues::Queues;
use crate::rabbitmq::browse::{Browse, Browsed, LONGEST, Message};
pub use crate::rabbitmq::browse::{End, Fate};
use crate::rabbitmq::publisher::OutgoingMessage;
use crate::stop::Stop;

/// How long somebody else's reading is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The same in the middle of a replay: a reconciliation may read for two minutes.
pub const PATIENCE_MIDWAY: Duration = Duration::from_secs(180);

/// How much is read.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Messages at most.
    pub most: u32,
    /// For how long messages may be taken.
    pub time: Duration,
    /// How long somebody else's reading is waited for.
    pub patience: Duration,
}

/// Shows the messages now in the queue, at most `most`, to `visit`, which decides what becomes of each and whether to
/// go on.
///
/// # Errors
/// There is no error queue, somebody else reads it for long, the connection is gone, or `visit` failed: then its
/// message stays.
pub fn read(
    config: &Config,
    stop: &Stop,
    most: u32,
    visit: impl FnMut(ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>>,
) -> anyhow::Result<End> {
    Ok(read_within(config, stop, Bounds { most, time: LONGEST, patience: PATIENCE }, visit)?.end)
}

/// Shows all messages now in the queue and leaves them there, for this time at most. After an interrupt only the first
/// ones were shown.
///
/// # Errors
/// As [`read`].
pub fn look(
    config: &Config,
    stop: &Stop,
    time: Duration,
    mut visit: impl FnMut(ParkedEntry) -> anyhow::Result<()>,
) -> anyhow::Result<Browsed> {
    read_within(config, stop, Bounds { most: u32::MAX, time, patience: PATIENCE }, |entry| {
        visit(entry)?;
        Ok(ControlFlow::Continue(Fate::Stays))
    })
}

/// Deletes the messages that are selected for good; `most` at most. `gone` hears of each.
///
/// # Errors
/// As [`read`].
pub fn take_out(
    config: &Config,
    stop: &Stop,
    selection: &Selection,
    most: usize,
    mut gone: impl FnMut(&ParkedEntry),
) -> anyhow::Result<End> {
    let mut taken = 0;
    read(config, stop, u32::MAX, |entry| {
        if !selection.includes(&entry) {
            return Ok(ControlFlow::Continue(Fate::Stays));
        }
        gone(&entry);
        taken += 1;
        // Each further message would be requeued, and that counts.
        Ok(if taken < most { ControlFlow::Continue(Fate::Leaves) } else { ControlFlow::Break(Fate::Leaves) })
    })
}

/// As [`read`], and no message is shown after this time.
///
/// # Errors
/// As [`read`].
pub fn read_within(
    config: &Config,
    stop: &Stop,
    Bounds { most, time, patience }: Bounds,
    mut visit: impl FnMut(ParkedEntry) -> anyhow::Result<ControlFlow<Fate, Fate>>,
) -> anyhow::Result<Browsed> {
    let queue = &config.error_queue;
    let broker = &config.rabbitmq;
    let browse = Browse {
        broker,
        name: "task-creator: parked",
        queue,
        lock: &Queues::browse_lock(queue),
        patience,
        most,
        time,
        republished: &republished,
    };
    let browsed = browse.read(stop, |Message { body, headers, sent }| visit(ParkedEntry::read(body, headers, sent)))?;
    browsed.ok_or_else(|| {
        let vhost = &broker.vhost;
        anyhow!("there is no queue {queue} in virtual host {vhost}; the worker and the bridge declare it")
    })
}

fn republished(queue: &str, Message { body, headers, sent }: Message) -> OutgoingMessage {
    let id = ParkedEntry::read(body.clone(), headers.clone(), sent).id;
    outgoing::republished(queue, id, body, headers)
}
