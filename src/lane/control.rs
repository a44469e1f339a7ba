//! What may be asked of a lane from outside while it works: to pause, to resume, to poll its target now, to say how it
//! is. The tracker tells here which tasks it has parked.
//!
//! The handle only passes commands on. The reader's thread carries them out, also while it waits for its next session;
//! the [`state`](super::state) decides what a pause means. It does not know who asks.

use std::fmt;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryIter, bounded, unbounded};

use super::state::State;

/// So many commands may wait for a reader that is just opening a session.
const MOST_WAITING: usize = 16;

/// A handle to a lane, which may be cloned.
#[derive(Clone, Debug)]
pub struct Control {
    commands: (Sender<Command>, Receiver<Command>),
    /// Room for one: a second request to poll adds nothing.
    polls: (Sender<()>, Receiver<()>),
    /// The reader takes all of them whenever it looks.
    parked: (Sender<String>, Receiver<String>),
}

/// A command for the reader.
#[derive(Debug)]
pub(super) enum Command {
    Pause { reason: String, lasts: Option<Duration> },
    Resume,
    Snapshot(Sender<Snapshot>),
}

/// A pause by command: no task is started meanwhile, and messages stay in their queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Why, for people.
    pub reason: String,
    /// Since when.
    pub since: Instant,
    /// When it ends by itself; `None`: when somebody resumes.
    pub until: Option<Instant>,
}

/// How a lane is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// It has a session with RabbitMQ.
    pub has_session: bool,
    /// RabbitMQ takes no messages (an alarm).
    pub in_alarm: bool,
    /// It is stopping.
    pub stopping: bool,
    /// Somebody has paused it.
    pub paused: Option<Pause>,
    /// For how long the lane has been paused because of its target.
    pub target_away_for: Option<Duration>,
    /// Tasks that it has taken and that wait.
    pub waiting: usize,
    /// Tasks that its pool has.
    pub in_pool: usize,
    /// Tasks that are started and not settled.
    pub unsettled: Vec<String>,
    /// Messages that their queue does not take.
    pub waiting_for_room: usize,
}

/// The lane has not carried out earlier commands yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lane is busy and has not carried out earlier commands yet")
    }
}

impl std::error::Error for Busy {}

impl Default for Control {
    fn default() -> Control {
        Control { commands: bounded(MOST_WAITING), polls: bounded(1), parked: unbounded() }
    }
}

impl Control {
    /// No task is started for so long, or until [`Control::resume`]. Started tasks are finished.
    ///
    /// # Errors
    /// The lane is busy.
    pub fn pause(&self, reason: &str, lasts: Option<Duration>) -> Result<(), Busy> {
        self.ask(Command::Pause { reason: reason.to_owned(), lasts })
    }

    /// Tasks may be started again.
    ///
    /// # Errors
    /// The lane is busy.
    pub fn resume(&self) -> Result<(), Busy> {
        self.ask(Command::Resume)
    }

    /// Starts a sweep over all records now, or after the one that is running.
    pub fn poll_now(&self) {
        // No room: it has been asked already.
        let _ = self.polls.0.try_send(());
    }

    /// The tracker has parked the task with this id: it is not finished.
    pub fn parked(&self, id: &str) {
        // Both ends are in here, so that this never fails.
        let _ = self.parked.0.send(id.to_owned());
    }

    /// How the lane is.
    ///
    /// # Errors
    /// The lane is busy, or does not answer within `patience`.
    pub fn snapshot(&self, patience: Duration) -> Result<Snapshot, Busy> {
        let (reply, answer) = bounded(1);
        self.ask(Command::Snapshot(reply))?;
        answer.recv_timeout(patience).map_err(|_| Busy)
    }

    fn ask(&self, command: Command) -> Result<(), Busy> {
        self.commands.0.try_send(command).map_err(|_| Busy)
    }

    /// For the reader's `select!`.
    pub(super) fn commands(&self) -> &Receiver<Command> {
        &self.commands.1
    }

    /// The tasks that were parked since the last question.
    pub(super) fn parked_since(&self) -> TryIter<'_, String> {
        self.parked.1.try_iter()
    }

    /// For the tracker's `select!`.
    pub(super) fn polls(&self) -> &Receiver<()> {
        &self.polls.1
    }
}

impl Command {
    pub(super) fn carry_out<T>(self, state: &mut State<T>, now: Instant) {
        match self {
            Command::Pause { reason, lasts } => {
                state.pause(Pause { reason, since: now, until: lasts.and_then(|lasts| now.checked_add(lasts)) }, now);
            }
            Command::Resume => state.resume(),
            // The asker may have stopped waiting.
            Command::Snapshot(reply) => drop(reply.try_send(state.snapshot(now))),
        }
    }
}

impl Pause {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}
