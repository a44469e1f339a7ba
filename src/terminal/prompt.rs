//! A line that the user types, shown or hidden. It does not know what is asked, and does not judge an answer.

use std::io::{self, IsTerminal as _, Read as _, stdin, stdout};

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
    /// Pressed Ctrl+C. Only at a hidden line: elsewhere it ends the process as usual.
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
    super::print(prompt);
    let line = read()?;
    if line == Line::Ended {
        super::say("");
    }
    Ok(line)
}

/// Asks for a line that is not shown.
///
/// # Errors
/// The terminal cannot be read, or goes on showing what is typed.
pub fn hidden(prompt: &str) -> io::Result<Line> {
    let hiding = Hiding::start()?;
    super::print(prompt);
    let line = read();
    drop(hiding);
    // The one that was typed is hidden too.
    super::say("");
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

/// The terminal as it was before; it is again when this is dropped.
struct Hiding(Termios);

impl Hiding {
    fn start() -> io::Result<Hiding> {
        let before = tcgetattr(stdin())?;
        let mut hiding = before.clone();
        // A signal would end the process and leave the terminal mute. So the keys for it end the line instead.
        hiding.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
        hiding.control_chars[VEOL as usize] = CTRL_C;
        hiding.control_chars[VEOL2 as usize] = CTRL_BACKSLASH;
        tcsetattr(stdin(), SetArg::TCSANOW, &hiding)?;
        Ok(Hiding(before))
    }
}

impl Drop for Hiding {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.0);
    }
}
