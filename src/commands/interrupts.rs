//! Ctrl+C, SIGTERM and a closed terminal, as a channel or as a stop signal. It does not know what the command does
//! then.

use std::ops::ControlFlow;
use std::{process, thread};

use anyhow::Context as _;
use crossbeam_channel::{Receiver, bounded};
use nix::sys::signal::{SigSet, Signal, raise};

use crate::stop::{self, Stop};

/// The exit code of a command that Ctrl+C has cut short, as shells report it: 128 plus the number of SIGINT.
pub const INTERRUPTED: u8 = 130;

/// A channel that gets each Ctrl+C and SIGTERM, and each closed terminal unless [`hold_hangups`] was called.
///
/// # Errors
/// Signals cannot be listened for.
pub fn channel() -> anyhow::Result<Receiver<()>> {
    let (sender, signals) = bounded(16);
    let notify = move || {
        // A full channel means that enough signals wait already.
        let _ = sender.try_send(());
    };
    ctrlc::set_handler(notify).context("listening for Ctrl+C")?;
    Ok(signals)
}

/// A stop signal that Ctrl+C, SIGTERM or a closed terminal raises; a second Ctrl+C ends the process at once. A closed
/// terminal sends SIGHUP several times, so only the first one counts, and only if the signal is not raised yet.
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
    let notify = move || match stopper.take() {
        Some(stopper) => stopper.raise(),
        None => process::exit(INTERRUPTED.into()),
    };
    ctrlc::set_handler(notify).context("listening for Ctrl+C")?;
    Ok(stop)
}

/// Blocks SIGHUP in this thread and in those it starts: a closed terminal then ends nothing, with `nohup` or without.
///
/// # Errors
/// The system refuses.
pub fn hold_hangups() -> anyhow::Result<()> {
    hangup().thread_block().context("blocking SIGHUP")
}

/// Calls `each` at every blocked SIGHUP, in a thread of its own, until the process ends or `each` returns `Break`.
///
/// # Errors
/// The system refuses a thread.
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
