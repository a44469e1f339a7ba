//! A line that the user types, shown or hidden. It does not know what is asked, and does not judge an answer.

use std::io::{self, IsTerminal as _, Read as _, stdin, stdout};
use std::{process, thread};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices::VEOL, SpecialCharacterIndices::VEOL2, Termios, tcgetattr, tcsetattr,
};

/// What a terminal sends for Ctrl+C and Ctrl+\ while it makes no signal of them.
const CTRL_C: u8 = 0x03;
const CTRL_BACKSLASH: u8 = 0x1c;

/// What the user has done.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Typed this, without the line break.
    Text(String),
    /// Closed the input: Ctrl+D.
    Ended,
    /// Pressed Ctrl+C.
    Interrupted,
}

/// Whether a user can be asked: both stdin and stdout are a terminal.
pub fn is_possible() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// Asks for a line.
///
/// # Errors
/// The terminal cannot be read.
pub fn line(prompt: &str) -> io::Result<Line> {
    ask(prompt, LocalFlags::ISIG, |line| *line != Line::Ended && *line != Line::Interrupted)
}

/// Asks for a line that is not shown.
///
/// # Errors
/// The terminal cannot be read, or goes on showing what is typed.
pub fn hidden(prompt: &str) -> io::Result<Line> {
    // The line break that was typed is hidden too.
    ask(prompt, LocalFlags::ISIG | LocalFlags::ECHO, |_| false)
}

/// Without these flags of the terminal. `is_broken`: whether the user has broken the line on the screen.
fn ask(prompt: &str, without: LocalFlags, is_broken: impl Fn(&Line) -> bool) -> io::Result<Line> {
    let changed = Changed::without(without)?;
    super::print(prompt);
    let line = read();
    drop(changed);
    if !line.as_ref().is_ok_and(is_broken) {
        super::say("");
    }
    line
}

fn read() -> io::Result<Line> {
    let mut typed = Vec::new();
    for byte in stdin().lock().bytes() {
        match byte? {
            b'\n' => return Ok(Line::Text(String::from_utf8_lossy(&typed).into_owned())),
            CTRL_C | CTRL_BACKSLASH => return Ok(Line::Interrupted),
            other => typed.push(other),
        }
    }
    Ok(Line::Ended)
}

/// A terminal that is as before when this is dropped, or when a signal ends the process.
struct Changed(Termios);

impl Changed {
    fn without(flags: LocalFlags) -> io::Result<Changed> {
        let before = tcgetattr(stdin())?;
        let mut changed = before.clone();
        // The keys for signals end the line instead: the caller has something to say then.
        changed.local_flags.remove(flags);
        changed.control_chars[VEOL as usize] = CTRL_C;
        changed.control_chars[VEOL2 as usize] = CTRL_BACKSLASH;
        restore_on_a_signal(before.clone())?;
        tcsetattr(stdin(), SetArg::TCSANOW, &changed)?;
        Ok(Changed(before))
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.0);
        let _ = signals().thread_unblock();
    }
}

/// From now on a signal from elsewhere ends the process only after the terminal is as it was.
fn restore_on_a_signal(before: Termios) -> io::Result<()> {
    signals().thread_block()?;
    thread::Builder::new().name("prompt".into()).spawn(move || {
        if let Ok(signal) = signals().wait() {
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, &before);
            process::exit(128 + signal as i32);
        }
    })?;
    Ok(())
}

fn signals() -> SigSet {
    SigSet::from_iter([Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP])
}
