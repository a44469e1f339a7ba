//! The stop signal: a channel that is closed once.
//!
//! Everything that waits, waits on this as well, so that every wait ends on stop. It does not know who asked for the
//! stop, nor what is still unsettled.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// The side that waits. Clones see the same signal.
#[derive(Clone, Debug)]
pub struct Stop(Receiver<()>);

/// The side that raises the signal, by being dropped.
#[derive(Debug)]
pub struct Stopper(Sender<()>);

/// A signal that is not raised yet, and the handle that raises it.
pub fn signal() -> (Stopper, Stop) {
    let (sender, receiver) = bounded(0);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Raises the signal for every clone of the [`Stop`].
    pub fn raise(self) {
        drop(self.0);
    }
}

impl Stop {
    /// Has the signal been raised?
    pub fn raised(&self) -> bool {
        self.0.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
    }

    /// Waits for `pause` to pass or for the signal; returns whether the signal was raised.
    pub fn pause(&self, pause: Duration) -> bool {
        self.0.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected)
    }

    /// For `select!`: becomes ready when the signal is raised, and never delivers anything.
    pub fn receiver(&self) -> &Receiver<()> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_when_the_signal_is_raised() {
        let (stopper, stop) = signal();
        assert!(!stop.raised());
        assert!(!stop.pause(Duration::from_millis(1)));
        let waiting = std::thread::spawn({
            let stop = stop.clone();
            move || stop.pause(Duration::from_secs(60))
        });
        stopper.raise();
        assert!(waiting.join().expect("no panic"));
        assert!(stop.raised());
    }
}
