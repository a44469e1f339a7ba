//! `task-creator init`: asks at the terminal for what a worker needs, writes `.env`, checks it, and says what is left.
//!
//! [`questions`] asks, [`file`](mod@file) writes, [`service`] knows which service reads what is written. Nothing is
//! written before the last answer. Nothing is started.

pub mod file;
pub mod questions;
pub mod service;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use super::interrupts::INTERRUPTED;
use super::{DOTENV, check, complain};
use crate::settings::Environment;
use crate::systems::table;
use crate::terminal::{self, command, prompt};
use file::Dotenv;
use questions::{Answers, Stopped};
use service::Service;

/// Asks, writes and checks. The exit code is that of the check.
///
/// # Errors
/// There is nobody to ask, or the file cannot be read or written.
pub fn run() -> anyhow::Result<ExitCode> {
    if !prompt::is_possible() {
        let all = command(&["print", "env"]);
        bail!(
            "init asks its questions at a terminal, and its input or output is none; nothing was written. Without a \
             terminal: `{all} > .env`, `chmod 600 .env`, and correct it"
        );
    }
    if let Some(name) = questions::set_outside() {
        bail!("{name} is set in the environment, before which .env does not count: `unset {name}` first");
    }
    let dotenv = Dotenv::find(Path::new(DOTENV))?;
    dotenv.expect_one_line_each(&questions::names())?;
    let environment = Environment::read(Path::new(DOTENV), table::settings())?;
    super::tell(&environment);
    let installed = Service::installed();
    let service = installed.as_ref().filter(|service| service.is_in(Path::new(".")));
    if let (Some(other), None) = (&installed, service) {
        let folder = other.folder.display();
        terminal::tell(&format!("The installed service does not read this .env, but that in {folder}."), 0);
    }
    let mut answers = Answers::new(&environment);
    let existed = dotenv.is_there();
    match answers.ask_all(dotenv.path(), existed) {
        Ok(()) => {}
        Err(Stopped::Interrupted) => return Ok(left(INTERRUPTED, "interrupted")),
        Err(Stopped::Ended) => return Ok(left(1, "the input has ended before the last answer")),
        Err(Stopped::Declined) => return Ok(left(0, "it stays as it is")),
        Err(Stopped::Failed(err)) => return Err(err.into()),
    }
    dotenv.write(&answers.values(existed), service.and_then(Service::user_id))?;
    terminal::tell(&format!("\n{} is written. This is what `check` says:\n", dotenv.path().display()), 0);
    let is_well = check::is_well(&check::Options { create_field: false })?;
    what_is_left(is_well, existed, service);
    Ok(ExitCode::from(u8::from(!is_well)))
}

fn left(code: u8, why: &str) -> ExitCode {
    complain(&format!("{why}; nothing was written"));
    ExitCode::from(code)
}

fn what_is_left(is_well: bool, existed: bool, service: Option<&Service>) {
    // Another user cannot read the settings of the service.
    let by_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let [sudo, by_user] = match service.filter(|_| by_root) {
        Some(Service { user, .. }) => ["sudo ".to_owned(), format!("sudo -u {user} ")],
        None => Default::default(),
    };
    let [check, send] = [["check"], ["send"]].map(|arguments| format!("{by_user}{}", command(&arguments)));
    if !is_well {
        let again = command(&["init"]);
        return terminal::tell(
            &format!(
                "\nWhat is left: mend what FAIL tells above. Wrong settings: repeat `{sudo}{again}`, or edit {DOTENV}. \
                 Then `{check}` until nothing fails."
            ),
            0,
        );
    }
    terminal::say("\nWhat is left: start the worker.\n");
    if service.is_some() {
        // Whether it runs already or not, and whether it is to start at boot already or not.
        terminal::say("  sudo systemctl enable task-creator\n  sudo systemctl restart task-creator");
    } else {
        terminal::say(&format!("  nohup {} >> worker.out 2>&1 & echo $! > worker.pid", terminal::program()));
        let service = command(&["install-service"]);
        terminal::tell(&format!("\n`{service}` says how it starts after each reboot."), 0);
    }
    if existed {
        terminal::tell("A worker that runs has the old settings until it is started again.", 0);
    }
    terminal::tell(&format!("`{send}` publishes a sample message. The worker makes a real task of it."), 0);
}
