//! Whose turn it is on a connection: the client's, which sends a request or reads an answer, or ours. A connection that
//! waits for its client may be ended by another thread; one whose request is being answered may not.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Whose turn it is; at first the client's.
pub(super) struct Turn(Mutex<Whose>);

#[derive(Clone, Copy)]
enum Whose {
    /// The client's, since then.
    Client(Instant),
    Ours,
    /// Nobody's: the connection was ended.
    Ended,
}

impl Default for Turn {
    fn default() -> Turn {
        Turn(Mutex::new(Whose::Client(Instant::now())))
    }
}

impl Turn {
    /// The client's, from now on.
    pub fn of_client(&self) {
        let mut whose = self.lock();
        if let Whose::Ours = *whose {
            *whose = Whose::Client(Instant::now());
        }
    }

    /// A request is there and will be answered; false if the connection was ended before.
    pub fn ours(&self) -> bool {
        let mut whose = self.lock();
        if let Whose::Client(_) = *whose {
            *whose = Whose::Ours;
        }
        matches!(*whose, Whose::Ours)
    }

    /// For how long the connection has waited for its client, if it does.
    pub fn waits_for(&self) -> Option<Duration> {
        match *self.lock() {
            Whose::Client(since) => Some(since.elapsed()),
            Whose::Ours | Whose::Ended => None,
        }
    }

    /// Ends the connection if it waits for its client; returns whether it did.
    pub fn end(&self) -> bool {
        let mut whose = self.lock();
        let waits = matches!(*whose, Whose::Client(_));
        if waits {
            *whose = Whose::Ended;
        }
        waits
    }

    fn lock(&self) -> MutexGuard<'_, Whose> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
