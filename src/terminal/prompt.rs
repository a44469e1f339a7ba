//! A line that the user types, shown or hidden. It does not know what is asked, and does not judge an answer.

use std::io::{self, IsTerminal as _, Read as _, stdin, stdout};
use std::sync::OnceLock;
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
    ask(prompt, true)
}

/// Asks for a line that is not shown.
///
/// # Errors
/// The terminal cannot be read, or goes on showing what is typed.
pub fn hidden(prompt: &str) -> io::Result<Line> {
    ask(prompt, false)
}

fn ask(prompt: &str, is_shown: bool) -> io::Result<Line> {
    let changed = Changed::start(is_shown)?;
    super::print(prompt);
    let line = read();
    drop(changed);
    // Otherwise the screen has no line break yet.
    if !(is_shown && matches!(line, Ok(Line::Text(_)))) {
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
    fn start(is_shown: bool) -> io::Result<Changed> {
        let before = tcgetattr(stdin())?;
        let mut changed = before.clone();
        // The keys for signals end the line instead: the caller has something to say then.
        changed.local_flags.remove(if is_shown { LocalFlags::ISIG } else { LocalFlags::ISIG | LocalFlags::ECHO });
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

/// From now on a signal from elsewhere ends the process only after the terminal is as it was before the first question.
fn restore_on_a_signal(before: Termios) -> io::Result<()> {
    static LISTENS: OnceLock<()> = OnceLock::new();
    signals().thread_block()?;
    if LISTENS.set(()).is_err() {
        return Ok(());
    }
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
