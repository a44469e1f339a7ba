//! `task-creator sandbox`: runs the Bitrix24 fake until Ctrl+C, with a line for each task that is created or finished;
//! or takes a step at a running fake. It does not know how the fake answers: that is in [`crate::sandbox`].

pub mod arguments;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use chrono::Local;
use crossbeam_channel::RecvTimeoutError;
use serde_json::Value;

use super::interrupts;
use crate::http::{Http, NoAnswer};
use crate::redact::clean;
use crate::sandbox::steering::{self, Step};
use crate::sandbox::{Limits, News, Sandbox, SimulatedUsers};
use crate::terminal;
use crate::tls::RootCertificates;
use arguments::Order;

/// How often simulated users look for work; too short to notice.
const LOOK: Duration = Duration::from_millis(100);
/// The width of a line's time and the blanks after it, in characters.
const TIME: usize = 10;
/// For one step, which the fake takes at once.
const STEP_DEADLINE: Duration = Duration::from_secs(5);

/// Does what `sandbox` is asked for.
///
/// # Errors
/// The port is taken, no fake runs there, or the step cannot be taken.
pub fn run(order: &Order) -> anyhow::Result<ExitCode> {
    match order {
        Order::Run { port, finish_after } => fake(*port, *finish_after)?,
        Order::Step { port, step } => take(*port, step)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs until an interrupt.
fn fake(port: u16, finish_after: Option<Duration>) -> anyhow::Result<()> {
    let interrupts = interrupts::channel()?;
    let sandbox = Sandbox::start(port, Limits::cloud()).with_context(|| {
        let elsewhere = terminal::command(&["sandbox", "--port", "0"]);
        format!("the fake cannot start; `{elsewhere}` takes a port that is free")
    })?;
    terminal::print(&introduction(&sandbox, finish_after));
    let mut simulated_users = SimulatedUsers::new(finish_after);
    let (mut created, mut finished) = (0, 0);
    while interrupts.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        for news in simulated_users.work(&sandbox, Instant::now()) {
            created += u32::from(matches!(news, News::Created(_)));
            finished += u32::from(matches!(news, News::Finished(..)));
            terminal::tell(&line(&news), TIME);
        }
    }
    terminal::print(&format!("\nStopped. Tasks created: {created}, finished by simulated users: {finished}.\n"));
    Ok(())
}

/// Lets the fake at this port take a step, and prints what was done.
fn take(port: u16, step: &Step) -> anyhow::Result<()> {
    let http = Http::new(STEP_DEADLINE, &RootCertificates::public());
    let body = serde_json::to_vec(step).context("writing the step as JSON")?;
    let reply =
        http.post_json(&format!("http://127.0.0.1:{port}{}", steering::PATH), &body).map_err(|err| match err {
            NoAnswer::NotSent(why) => {
                let start = terminal::command(&["sandbox", "--port", &port.to_string()]);
                anyhow!("no fake at 127.0.0.1:{port}: {why}; start it with `{start}`, or name another with --port")
            }
            NoAnswer::Unknown(why) | NoAnswer::TooLarge(why) => anyhow!("the fake at 127.0.0.1:{port}: {why}"),
        })?;
    let reply: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    match (reply["done"].as_str(), reply["wrong"].as_str()) {
        (Some(done), _) => {
            terminal::tell(&clean(done), 0);
            if let Step::Refuse { times: None, .. } = step {
                let allow = terminal::command(&["sandbox", "allow", "--port", &port.to_string()]);
                terminal::tell(&format!("`{allow}` ends that"), 0);
            }
        }
        (None, Some(wrong)) => bail!("{wrong}"),
        (None, None) => bail!("what listens at 127.0.0.1:{port} is no fake of this version; --port names another"),
    }
    Ok(())
}

fn introduction(sandbox: &Sandbox, finish_after: Option<Duration>) -> String {
    let (webhook_url, program) = (sandbox.webhook_url(), terminal::program());
    let port = sandbox.address().port();
    let simulated_users = match finish_after {
        Some(after) => format!(
            "Simulated users finish each task {} s after it was created; a\ntask that expects an answer gets ДА or НЕТ in \
             turn.",
            after.as_secs_f64()
        ),
        None => "Simulated users finish nothing.".into(),
    };
    format!(
        "This Bitrix24 fake runs until Ctrl+C and then forgets everything. To try the
worker with it, set RABBITMQ_PASSWORD and the like in another terminal, and run:

  BITRIX_WEBHOOK_URL={webhook_url} {program}

To look into it, and to do by hand what users and portals do (the lines below
show each task's number; --help explains all steps):

  curl {webhook_url}/tasks.task.list
  {program} sandbox finish NUMBER --answer ДА --port {port}
  {program} sandbox delete NUMBER --port {port}
  {program} sandbox refuse tasks.task.add --status 503 --port {port}
  {program} sandbox --help

It answers the methods for tasks, checklists and custom fields, batch and
imena.camunda.sync, as fast as the cloud: 2 requests a second, 50 at once. Users
1 to 100 exist. {simulated_users}

"
    )
}

fn line(news: &News) -> String {
    let time = Local::now().format("%H:%M:%S");
    match news {
        News::Created(task) => format!("{time}  task {} created: {}", task.id, clean(&task.title)),
        News::Finished(task, None) => format!("{time}  task {} finished", task.id),
        News::Finished(task, Some(answer)) => format!("{time}  task {} finished, answer {answer}", task.id),
    }
}
