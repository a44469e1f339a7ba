//! `task-creator health`: asks the running worker whether it is ready, for a container's health check.
//!
//! The exit code is the answer. What ready means is the worker's business.

use std::process::ExitCode;

use super::api::Api;
use super::complain;
use crate::http::Method;
use crate::redact::clean;
use crate::terminal::say;

const OK: u16 = 200;

/// Prints a line for each lane. The exit code is 0 when all are ready.
///
/// # Errors
/// No worker answers, or a setting is wrong.
pub fn run() -> anyhow::Result<ExitCode> {
    let api = Api::of(&super::settings()?)?;
    let answer = api.ask(Method::GET, "/readyz?verbose", None)?;
    String::from_utf8_lossy(&answer.body).lines().for_each(|line| say(&clean(line)));
    if answer.status == OK {
        return Ok(ExitCode::SUCCESS);
    }
    complain("the worker is not ready");
    Ok(ExitCode::FAILURE)
}
