//! The program `task-creator`: arguments in, exit code out. What it can do is in `commands`. It knows no command, no
//! queue and no system.

use std::env;
use std::process::ExitCode;

use nix::sys::stat::{Mode, umask};
use task_creator::commands::{self, EX_CONFIG, EX_USAGE};
use task_creator::settings::SettingsErrors;
use task_creator::{redact, terminal};

fn main() -> ExitCode {
    // Logs are for the group at most.
    umask(Mode::from_bits_truncate(0o027));
    let command = match commands::parse(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(wrong) => return refuse(EX_USAGE, &wrong.text),
    };
    let code = command.execute().unwrap_or_else(|err| match err.is::<SettingsErrors>() {
        true => refuse(EX_CONFIG, &format!("{err}\n`{}` explains each.", terminal::command(&["help", "SETTING"]))),
        false => refuse(1, &redact::clean(&format!("{err:#}"))),
    });
    terminal::unwritten().map_or(code, |why| refuse(1, &format!("not all of the output could be written: {why}")))
}

/// Prints the reason on stderr and returns the exit code.
fn refuse(code: u8, why: &str) -> ExitCode {
    terminal::complain(why);
    ExitCode::from(code)
}
