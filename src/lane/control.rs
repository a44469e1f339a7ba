//! What may be asked of a lane from outside while it works: to pause, to resume, to sweep now, to say how it is and
//! which tasks it has. The tracker tells here which tasks it has parked, and what its last sweep has seen.
//!
//! The handle only passes commands on. The reader's thread carries them out, also while it waits for its next session;
//! the [`state`](super::state) decides what a pause means. A pause outlives the sessions with RabbitMQ, and ends with
//! the process. The handle does not know who asks, except that a pause bears a name.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryIter, bounded, unbounded};

use super::followers::Followers;
use super::state::State;
use super::tasks::{Numbers, Swept, UnderWay};

/// So many commands may wait for a reader that is just opening a session.
const MOST_WAITING: usize = 16;
/// Questions are refused when so many wait, so that there is room for orders.
const MOST_BEFORE_A_QUESTION: usize = MOST_WAITING / 2;

/// A handle to a lane, which may be cloned.
#[derive(Clone, Debug)]
pub struct Control {
    commands: (Sender<Command>, Receiver<Command>),
    /// Room for one: a second request to poll adds nothing.
    polls: (Sender<()>, Receiver<()>),
    /// Who hears what becomes of single tasks.
    pub followers: Followers,
    /// The reader takes all of them whenever it looks.
    parked: (Sender<String>, Receiver<String>),
    /// How many sweeps have started.
    sweeps: Arc<AtomicU64>,
    /// Locked for an instant only.
    swept: Arc<Mutex<Arc<Swept>>>,
}

/// A command for the reader.
#[derive(Debug)]
pub(super) enum Command {
    Pause { by: String, reason: String, lasts: Option<Duration>, done: Sender<()> },
    Resume(Sender<()>),
    Snapshot(Sender<Snapshot>),
    Tasks(Sender<Vec<UnderWay>>),
}

/// What the lane says when it has carried a command out. It does so soon, but may just be opening a session.
#[derive(Debug)]
#[must_use = "the lane may still be busy"]
pub struct Answer<T>(Receiver<T>);

/// A pause by command: no task is started meanwhile, and messages stay in their queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Who has asked for it, for people.
    pub by: String,
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
    /// It consumes its queues.
    pub is_consuming: bool,
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
    /// Its tasks, counted.
    pub numbers: Numbers,
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
        Control {
            commands: bounded(MOST_WAITING),
            polls: bounded(1),
            followers: Followers::default(),
            parked: unbounded(),
            sweeps: Arc::default(),
            swept: Arc::default(),
        }
    }
}

impl Control {
    /// No task is started for so long, or until [`Control::resume`]. Started tasks are finished.
    ///
    /// # Errors
    /// The lane is busy.
    pub fn pause(&self, by: &str, reason: &str, lasts: Option<Duration>) -> Result<Answer<()>, Busy> {
        let (done, asked) = bounded(1);
        self.ask(Command::Pause { by: by.to_owned(), reason: reason.to_owned(), lasts, done })?;
        Ok(Answer(asked))
    }

    /// Tasks may be started again.
    ///
    /// # Errors
    /// The lane is busy.
    pub fn resume(&self) -> Result<Answer<()>, Busy> {
        let (done, asked) = bounded(1);
        self.ask(Command::Resume(done))?;
        Ok(Answer(asked))
    }

    /// Starts a sweep over all records now, or after the one that is running. Returns its number: it is done when
    /// [`Control::swept`] has this number or a later one.
    pub fn sweep_now(&self) -> u64 {
        let number = self.sweeps.load(Ordering::Relaxed) + 1;
        // No room: it has been asked already.
        let _ = self.polls.0.try_send(());
        number
    }

    /// What the last whole sweep has seen, and whether that is current; its number is 0 before the first one.
    pub fn swept(&self) -> Arc<Swept> {
        Arc::clone(&self.swept.lock().unwrap_or_else(PoisonError::into_inner))
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
        self.ask_snapshot()?.within(patience)
    }

    /// The same for a caller who asks several lanes at once.
    ///
    /// # Errors
    /// The lane is busy.
    pub fn ask_snapshot(&self) -> Result<Answer<Snapshot>, Busy> {
        self.question(Command::Snapshot)
    }

    /// The tasks that the lane has taken and not settled. Costs the lane's thread a moment for each, so it is asked
    /// only when somebody wants to see them.
    ///
    /// # Errors
    /// The lane is busy.
    pub fn ask_tasks(&self) -> Result<Answer<Vec<UnderWay>>, Busy> {
        self.question(Command::Tasks)
    }

    fn question<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<Answer<T>, Busy> {
        if self.commands.1.len() >= MOST_BEFORE_A_QUESTION {
            return Err(Busy);
        }
        let (reply, answer) = bounded(1);
        self.ask(command(reply))?;
        Ok(Answer(answer))
    }

    fn ask(&self, command: Command) -> Result<(), Busy> {
        self.commands.0.try_send(command).map_err(|_| Busy)
    }

    /// How many commands wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.commands.1.len()
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

    /// Another sweep starts; returns its number, which is 1 for the first.
    pub(super) fn sweep_starts(&self) -> u64 {
        self.sweeps.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A sweep has seen all records.
    pub(super) fn has_swept(&self, swept: Swept) {
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(swept);
    }

    /// The sweep that was started last has ended, whatever it has seen.
    pub(super) fn sweep_ends(&self) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.is_current && swept.number < self.sweeps.load(Ordering::Relaxed) {
            Arc::make_mut(&mut swept).is_current = false;
        }
    }
}

impl<T> Answer<T> {
    /// Waits until the lane has carried it out.
    ///
    /// # Errors
    /// That takes longer than `patience`. It is carried out later.
    pub fn within(&self, patience: Duration) -> Result<T, Busy> {
        self.0.recv_timeout(patience).map_err(|_| Busy)
    }
}

impl Command {
    pub(super) fn carry_out<T>(self, state: &mut State<T>, now: Instant) {
        // Who has asked may have stopped waiting.
        match self {
            Command::Pause { by, reason, lasts, done } => {
                let until = lasts.and_then(|lasts| now.checked_add(lasts));
                state.pause(Pause { by, reason, since: now, until }, now);
                let _ = done.try_send(());
            }
            Command::Resume(done) => {
                state.resume();
                let _ = done.try_send(());
            }
            Command::Snapshot(reply) => drop(reply.try_send(state.snapshot(now))),
            Command::Tasks(reply) => drop(reply.try_send(state.under_way(now))),
        }
    }
}

impl Pause {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}
