//! Ctrl+C, SIGTERM and a closed terminal, in the two forms in which a command waits for them. What follows is the
//! command's business.

use std::ops::ControlFlow;
use std::{process, thread};

use anyhow::Context as _;
use crossbeam_channel::{Receiver, bounded};
use nix::sys::signal::{SigSet, Signal, raise};

use crate::stop::{self, Stop};

/// The exit code of a command that Ctrl+C has cut short, as shells report it: 128 and the number of SIGINT.
pub const INTERRUPTED: u8 = 130;

/// Ctrl+C, SIGTERM, and a closed terminal where that is not held back.
///
/// # Errors
/// Signals cannot be listened for.
pub fn channel() -> anyhow::Result<Receiver<()>> {
    let (sender, signals) = bounded(16);
    let told = move || {
        // A full channel means that enough signals wait already.
        let _ = sender.try_send(());
    };
    ctrlc::set_handler(told).context("listening for Ctrl+C")?;
    Ok(signals)
}

/// Raised by Ctrl+C, SIGTERM and a closed terminal; a second Ctrl+C ends the process at once. A closed terminal sends
/// SIGHUP several times, so only the first one counts, and only while nothing else has.
///
/// # Errors
/// Signals cannot be listened for.
pub fn stop() -> anyhow::Result<Stop> {
    let (stopper, stop) = stop::signal();
    hold_hangups()?;
    let raised = stop.clone();
    on_hangup(move || {
        if !raised.raised() {
            let _ = raise(Signal::SIGTERM);
        }
        ControlFlow::Break(())
    })?;
    let mut stopper = Some(stopper);
    let told = move || match stopper.take() {
        Some(stopper) => stopper.raise(),
        None => process::exit(INTERRUPTED.into()),
    };
    ctrlc::set_handler(told).context("listening for Ctrl+C")?;
    Ok(stop)
}

/// A closed terminal, with `nohup` or without, ends neither this thread nor one to come: SIGHUP is blocked.
///
/// # Errors
/// The system refuses.
pub fn hold_hangups() -> anyhow::Result<()> {
    hangup().thread_block().context("blocking SIGHUP")
}

/// Does `each` at every SIGHUP that is held back, in a thread that waits until the process ends or `each` has had
/// enough.
///
/// # Errors
/// There is no thread to be had.
pub fn on_hangup(mut each: impl FnMut() -> ControlFlow<()> + Send + 'static) -> anyhow::Result<()> {
    let wait = move || while hangup().wait().is_ok() && each().is_continue() {};
    thread::Builder::new().name("hangup".into()).spawn(wait).context("cannot start a thread")?;
    Ok(())
}

fn hangup() -> SigSet {
    let mut hangup = SigSet::empty();
    hangup.add(Signal::SIGHUP);
    hangup
}
