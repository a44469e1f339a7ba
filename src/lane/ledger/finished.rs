//! Which tasks are finished, by which message, and which replays of them are done, for a bounded number of ids. It does
//! not know what follows for a delivery.

use super::super::remembered::Remembered;

/// The most finished ids that are kept: after a crash, the broker may deliver again thousands of messages that were
/// acknowledged already.
const MOST: usize = 100_000;

/// A person has replayed a parked message at this time (milliseconds since 1970). Earlier versions do not write down
/// when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replay(pub Option<i64>);

/// The tasks, and the replays.
#[derive(Debug)]
pub(super) struct Finished {
    /// The [`hash`](crate::message::hash) of the message that asked for the task.
    tasks: Remembered<u64>,
    replays: Remembered,
}

impl Finished {
    /// None yet.
    pub(super) fn new() -> Finished {
        Finished { tasks: Remembered::new(MOST), replays: Remembered::new(MOST) }
    }

    /// The task of the message with this hash is finished, and with it this replay of the message.
    pub(super) fn add(&mut self, id: &str, message: u64, replay: Option<Replay>) {
        self.tasks.add(id, message);
        if let Some(Replay(Some(at))) = replay {
            self.replays.add(&named(id, at), ());
        }
    }

    /// Is what this message asks for done? A replay asks for the task once more, even if it is finished.
    pub(super) fn knows(&self, id: &str, replay: Option<Replay>) -> bool {
        match replay {
            None => self.tasks.contains(id),
            Some(Replay(Some(at))) => self.replays.contains(&named(id, at)),
            Some(Replay(None)) => false,
        }
    }

    /// The hash of the message that has finished the task, if one has. The broker and our own queues leave a message as
    /// it is, so one with another hash is another message.
    pub(super) fn message(&self, id: &str) -> Option<u64> {
        self.tasks.get(id).copied()
    }

    /// The task is to be done again.
    pub(super) fn forget(&mut self, id: &str) {
        self.tasks.remove(id);
    }
}

fn named(id: &str, at: i64) -> String {
    format!("{id} {at}")
}
