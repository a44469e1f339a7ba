//! `task-creator sandbox`: the stand-in alone, until Ctrl+C, with a line for each task that is created or finished.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::Local;
use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{Limits, News, People, Sandbox};
use crate::logging;

/// How often people look for work: shorter than anybody notices.
const LOOK: Duration = Duration::from_millis(100);

/// Runs until an interrupt.
///
/// # Errors
/// The port is taken.
pub fn run(port: u16, finish_after: Option<Duration>, interrupts: &Receiver<()>) -> anyhow::Result<ExitCode> {
    let sandbox =
        Sandbox::start(port, Limits::cloud()).context("the stand-in cannot start; --port chooses another port")?;
    say(&introduction(&sandbox.webhook_url(), finish_after));
    let mut people = People::new(finish_after);
    let (mut created, mut finished) = (0, 0);
    while interrupts.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        for news in people.work(&sandbox, Instant::now()) {
            created += u32::from(matches!(news, News::Created(_)));
            finished += u32::from(matches!(news, News::Finished(..)));
            say(&line(&news));
        }
    }
    say(&format!("\nStopped. Tasks created: {created}, finished by its people: {finished}.\n"));
    Ok(ExitCode::SUCCESS)
}

fn introduction(webhook_url: &str, finish_after: Option<Duration>) -> String {
    let people = match finish_after {
        Some(after) => format!(
            "finish each task {} s after it was created;\na task that expects an answer gets ДА or НЕТ in turn",
            after.as_secs_f64()
        ),
        None => "finish nothing".into(),
    };
    format!(
        "A Bitrix24 stand-in, until Ctrl+C; it forgets everything then. To try the worker
against it, in another terminal, with RABBITMQ_PASSWORD and the like set:

  BITRIX_WEBHOOK_URL={webhook_url} task-creator

To look into it:

  curl {webhook_url}/tasks.task.list

It answers the methods for tasks, checklists and custom fields, batch and
imena.camunda.sync, at the pace of the cloud: 2 requests a second, 50 at once.
Users 1 to 100 exist. Its people {people}.

"
    )
}

fn line(news: &News) -> String {
    let time = Local::now().format("%H:%M:%S");
    match news {
        News::Created(task) => format!("{time}  task {} created: {}\n", task.id, logging::clean(&task.title)),
        News::Finished(task, None) => format!("{time}  task {} finished\n", task.id),
        News::Finished(task, Some(answer)) => format!("{time}  task {} finished, answer {answer}\n", task.id),
    }
}

/// A reader that has seen enough does not end the stand-in.
fn say(text: &str) {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
