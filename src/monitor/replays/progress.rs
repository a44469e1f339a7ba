//! What is known of one replay: what was asked for, and what has become of each message so far. It replays nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::lane::followers::{Became, News};
use crate::lane::ledger;
use crate::monitor::parked::shelf::Fitting;
use crate::monitor::time;
use crate::parked::summary::{Summary, cut};
use crate::redact::clean;
use crate::stop::Stopper;

/// So many messages are listed; the others are counted.
const MOST_LISTED: usize = 1_000;
/// The longest error, in characters.
const LONGEST_ERROR: usize = 300;

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
    /// It is in its queue again; whether it was settled is not known yet, or was not heard in time.
    Replayed,
    /// It is in its queue again, and no lane of this worker tells what becomes of it.
    NotFollowed,
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
    /// Were all messages looked at for these? Not where the queue took too long to read.
    complete: bool,
    replayed: u32,
    settled: u32,
    failed_again: u32,
    not_followed: u32,
    left: u32,
    skipped: u32,
    error: Option<String>,
    /// `None`: only the numbers are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Item>>,
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

/// The task of a message that is followed, and the replay of the message.
type Followed = (String, ledger::Replay);

/// The progress of a replay, which outlives the client that has asked for it.
#[derive(Debug)]
pub struct Progress {
    replay: Mutex<Replay>,
    /// The marks of the messages that are replayed, followed and not settled. Several of one task may be replayed in
    /// one millisecond.
    open: Mutex<HashMap<Followed, VecDeque<String>>>,
    stopper: Mutex<Option<Stopper>>,
}

impl Progress {
    /// A replay of these messages that starts now; the stopper ends it.
    pub fn new(number: u64, asked: Asked, Fitting { messages, complete }: &Fitting, stopper: Stopper) -> Progress {
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
            complete: *complete,
            replayed: 0,
            settled: 0,
            failed_again: 0,
            not_followed: 0,
            left: matched,
            skipped: 0,
            error: None,
            items: Some(messages.iter().take(MOST_LISTED).map(item).collect()),
        };
        Progress { replay: Mutex::new(replay), open: Mutex::default(), stopper: Mutex::new(Some(stopper)) }
    }

    /// How it stands now, without its messages.
    pub fn numbers(&self) -> Replay {
        let mut replay = self.replay();
        // There may be thousands, which are not copied for each poll.
        let items = replay.items.take();
        let numbers = replay.clone();
        replay.items = items;
        numbers
    }

    /// How it stands now.
    pub fn shown(&self) -> Replay {
        self.replay().clone()
    }

    /// Are messages being published?
    pub fn is_running(&self) -> bool {
        self.replay().state == State::Running
    }

    /// Stops it after the message that is being published. `false`: it is over, or was stopped before.
    pub fn stop(&self) -> bool {
        let stopper = self.stopper().take();
        stopper.map(|stopper| stopper.raise()).is_some()
    }

    /// A message is in its queue again. `followed`: its lane tells what becomes of this replay.
    pub fn replayed(&self, id: &str, etag: &str, followed: Option<ledger::Replay>) {
        let state = match followed {
            Some(replay) => {
                self.open().entry((id.to_owned(), replay)).or_default().push_back(etag.to_owned());
                ItemState::Replayed
            }
            None => ItemState::NotFollowed,
        };
        let mut replay = self.replay();
        replay.replayed += 1;
        replay.not_followed += u32::from(followed.is_none());
        replay.left = replay.left.saturating_sub(1);
        replay.mark(ItemState::Left, etag, state, None);
    }

    /// A message cannot be replayed.
    pub fn skipped(&self, etag: &str, why: &str) {
        let mut replay = self.replay();
        replay.skipped += 1;
        replay.left = replay.left.saturating_sub(1);
        replay.mark(ItemState::Left, etag, ItemState::Skipped, Some(why));
    }

    /// A lane has told this of a message. Nothing follows if it is not open: every lane is asked to follow it, and one
    /// that never had it may tell what has become of a later one.
    pub fn heard(&self, News { task, replay, became }: News) {
        let followed = replay.map(|replay| (task, replay));
        let Some(etag) = followed.and_then(|followed| self.take_open(&followed)) else { return };
        let mut replay = self.replay();
        match &became {
            Became::Settled => {
                replay.settled += 1;
                replay.mark(ItemState::Replayed, &etag, ItemState::Settled, None);
            }
            Became::Parked(error) => {
                replay.failed_again += 1;
                replay.mark(ItemState::Replayed, &etag, ItemState::FailedAgain, Some(error));
            }
        }
    }

    fn take_open(&self, followed: &Followed) -> Option<String> {
        let mut open = self.open();
        let etags = open.get_mut(followed)?;
        let etag = etags.pop_front();
        if etags.is_empty() {
            open.remove(followed);
        }
        etag
    }

    /// How many followed messages are not settled.
    pub fn unsettled(&self) -> u32 {
        u32::try_from(self.open().values().map(VecDeque::len).sum::<usize>()).unwrap_or(u32::MAX)
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
        drop(self.stopper().take());
        let mut replay = self.replay();
        replay.state = state;
        replay.error = error.as_deref().map(short);
        replay.ended_at = Some(time::now());
    }

    fn replay(&self) -> MutexGuard<'_, Replay> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopper(&self) -> MutexGuard<'_, Option<Stopper>> {
        self.stopper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Followed, VecDeque<String>>> {
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
        self.items.iter().flatten().find(|item| item.state == ItemState::Skipped)?.error.as_deref()
    }

    /// Has any message been replayed?
    pub fn has_replayed(&self) -> bool {
        self.replayed > 0
    }

    /// Why it has failed, if it has.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The message with this mark, which was so, is so now.
    fn mark(&mut self, was: ItemState, etag: &str, is: ItemState, error: Option<&str>) {
        if let Some(item) = self.items.iter_mut().flatten().find(|item| item.state == was && item.etag == etag) {
            item.state = is;
            item.error = error.map(short);
        }
    }
}

fn short(error: &str) -> String {
    cut(&clean(error), LONGEST_ERROR)
}

#[cfg(test)]
mod tests;
