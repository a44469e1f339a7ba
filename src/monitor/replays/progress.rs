//! What is known of one replay: what was asked for, and what has become of each message so far. It replays nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::lane::followers::Became;
use crate::monitor::time;
use crate::parked::summary::Summary;
use crate::redact::clean;
use crate::stop::Stopper;

/// So many messages are listed; the others are counted.
const MOST_LISTED: usize = 1_000;

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Messages are being published.
    Running,
    /// All are published, and some are not settled yet.
    Waiting,
    /// Nothing is left to do.
    Done,
    /// Somebody has stopped it.
    Stopped,
    /// It has stopped itself; its error says why.
    Failed,
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// It is still parked.
    Left,
    /// It is in its queue again; whether it was settled is not known yet, or never.
    Replayed,
    /// Its lane has settled it with success.
    Settled,
    /// It was parked again.
    FailedAgain,
    /// It could not be replayed and is still parked.
    Skipped,
}

/// A message of a replay.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    /// The id of its task.
    pub id: String,
    /// What has become of it.
    pub state: ItemState,
    /// Why it was skipped or has failed again.
    pub error: Option<String>,
    #[serde(skip)]
    etag: String,
}

/// A replay as it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    id: String,
    state: State,
    by: String,
    started_at: String,
    ended_at: Option<String>,
    cause: Option<String>,
    system: Option<String>,
    q: Option<String>,
    dry_run: bool,
    matched: u32,
    replayed: u32,
    settled: u32,
    failed_again: u32,
    left: u32,
    skipped: u32,
    error: Option<String>,
    items: Vec<Item>,
}

/// For whom and what a replay is.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The name of the operator's token.
    pub by: String,
    /// Only messages of this cause.
    pub cause: Option<String>,
    /// Only messages of this system.
    pub system: Option<String>,
    /// Only messages with this text in them.
    pub q: Option<String>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// The progress of a replay, which outlives the client that has asked for it.
#[derive(Debug)]
pub struct Progress {
    replay: Mutex<Replay>,
    /// The ids of messages that are replayed and not settled, and how many there are of each.
    open: Mutex<HashMap<String, u32>>,
    stopper: Mutex<Option<Stopper>>,
}

impl Progress {
    /// A replay of these messages that starts now; the stopper ends it.
    pub fn new(number: u64, asked: Asked, messages: &[Summary], stopper: Stopper) -> Progress {
        let Asked { by, cause, system, q, dry_run } = asked;
        let item = |message: &Summary| Item {
            id: message.id.clone(),
            state: ItemState::Left,
            error: None,
            etag: message.etag.clone(),
        };
        let matched = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let replay = Replay {
            id: number.to_string(),
            state: State::Running,
            by,
            started_at: time::now(),
            ended_at: None,
            cause,
            system,
            q,
            dry_run,
            matched,
            replayed: 0,
            settled: 0,
            failed_again: 0,
            left: matched,
            skipped: 0,
            error: None,
            items: messages.iter().take(MOST_LISTED).map(item).collect(),
        };
        Progress { replay: Mutex::new(replay), open: Mutex::default(), stopper: Mutex::new(Some(stopper)) }
    }

    /// How it stands now.
    pub fn shown(&self) -> Replay {
        self.replay().clone()
    }

    /// Are messages being published?
    pub fn is_running(&self) -> bool {
        self.replay().state == State::Running
    }

    /// Stops it after the message that is being published.
    pub fn stop(&self) {
        if let Some(stopper) = self.stopper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            stopper.raise();
        }
    }

    /// A message is in its queue again. `followed`: its lane tells what becomes of it.
    pub fn replayed(&self, id: &str, etag: &str, followed: bool) {
        if followed {
            *self.open().entry(id.to_owned()).or_default() += 1;
        }
        let mut replay = self.replay();
        replay.replayed += 1;
        replay.left = replay.left.saturating_sub(1);
        replay.mark(|item| item.state == ItemState::Left && item.etag == etag, ItemState::Replayed, None);
    }

    /// A message cannot be replayed.
    pub fn skipped(&self, etag: &str, why: &str) {
        let mut replay = self.replay();
        replay.skipped += 1;
        replay.left = replay.left.saturating_sub(1);
        replay.mark(|item| item.state == ItemState::Left && item.etag == etag, ItemState::Skipped, Some(why));
    }

    /// Its lane has told this of a task.
    pub fn became(&self, id: &str, became: &Became) {
        let Some(messages) = self.open().remove(id) else { return };
        let mut replay = self.replay();
        let (state, error) = match became {
            Became::Settled => (ItemState::Settled, None),
            Became::Parked(error) => (ItemState::FailedAgain, Some(error.as_str())),
        };
        match became {
            Became::Settled => replay.settled += messages,
            Became::Parked(_) => replay.failed_again += messages,
        }
        // Two messages of one task are settled together.
        for _ in 0..messages {
            replay.mark(|item| item.state == ItemState::Replayed && item.id == id, state, error);
        }
    }

    /// How many followed messages are not settled.
    pub fn unsettled(&self) -> u32 {
        self.open().values().sum()
    }

    /// How many are settled with success, and how many were parked again.
    pub fn outcomes(&self) -> (u32, u32) {
        let replay = self.replay();
        (replay.settled, replay.failed_again)
    }

    /// Everything is published; some are not settled.
    pub fn waits(&self) {
        self.replay().state = State::Waiting;
    }

    /// It is over.
    pub fn ends(&self, state: State, error: Option<String>) {
        let mut replay = self.replay();
        replay.state = state;
        replay.error = error.map(|error| clean(&error));
        replay.ended_at = Some(time::now());
    }

    fn replay(&self) -> MutexGuard<'_, Replay> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replay {
    /// How many are still parked.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Its number.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it has done, in one line for people.
    pub fn line(&self) -> String {
        let Replay { id, matched, replayed, settled, failed_again, left, skipped, dry_run, .. } = self;
        let dry = if *dry_run { " (dry run)" } else { "" };
        format!(
            "replay {id}{dry}: {replayed} of {matched} replayed, {settled} settled, {failed_again} parked again, {skipped} \
             skipped, {left} left"
        )
    }

    /// Why its only message was skipped, if it was.
    pub fn why_skipped(&self) -> Option<&str> {
        self.items.iter().find(|item| item.state == ItemState::Skipped)?.error.as_deref()
    }

    /// Has any message been replayed?
    pub fn has_replayed(&self) -> bool {
        self.replayed > 0
    }

    /// Why it has failed, if it has.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    fn mark(&mut self, which: impl Fn(&Item) -> bool, state: ItemState, error: Option<&str>) {
        if let Some(item) = self.items.iter_mut().find(|item| which(item)) {
            item.state = state;
            item.error = error.map(clean);
        }
    }
}

#[cfg(test)]
mod tests;
