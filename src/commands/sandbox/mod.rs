//! `task-creator sandbox`: runs a system's fake until Ctrl+C, with a line for each task that is created or finished; or
//! takes a step at a running Bitrix24 fake. It does not know how a fake answers: that is in [`crate::sandbox`].

pub mod arguments;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use chrono::Local;
use crossbeam_channel::RecvTimeoutError;
use serde_json::Value;

use super::fakes::simulated_users::{News, SimulatedUsers};
use super::fakes::{self, Fake, FakeEntry, Needs, Pace, USUAL};
use super::interrupts;
use crate::http::{Http, NoAnswer};
use crate::redact::clean;
use crate::sandbox::steering::{self, Step};
use crate::terminal;
use crate::tls::RootCertificates;
use arguments::Order;

/// How often simulated users look for work; too short to notice.
const LOOK: Duration = Duration::from_millis(100);
/// The width of the text before the first line; a terminal of this width is wide enough for all commands in it.
const WIDTH: usize = 80;
/// In place of the id in a message that somebody sends by hand.
const SOME_ID: &str = "SOME-ID";
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
        Order::Run { system, port, finish_after } => {
            run_fake(fakes::of(system), *port, *finish_after)?;
        }
        Order::Step { port, step } => take(*port, step)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs until an interrupt.
fn run_fake(entry: &FakeEntry, port: u16, finish_after: Option<Duration>) -> anyhow::Result<()> {
    let interrupts = interrupts::channel()?;
    let fake = (entry.start)(port, Pace::Cloud).with_context(|| {
        let system = if entry.name == USUAL.name { vec![] } else { vec!["--system", entry.name] };
        let elsewhere = terminal::command(&[&["sandbox"], system.as_slice(), &["--port", "0"]].concat());
        format!("the fake cannot start; `{elsewhere}` takes a port that is free")
    })?;
    terminal::print(&introduction(entry, fake.as_ref(), finish_after));
    let (mut fakes, mut simulated_users) = ([fake], SimulatedUsers::new(finish_after));
    let (mut created, mut finished) = (0, 0);
    while interrupts.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        for news in simulated_users.work(&mut fakes, Instant::now()) {
            created += u32::from(matches!(news, News::Created(_)));
            finished += u32::from(matches!(news, News::Finished(..)));
            terminal::tell(&line(entry.noun, &news), TIME);
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

fn introduction(entry: &FakeEntry, fake: &dyn Fake, finish_after: Option<Duration>) -> String {
    let wrapped = |text: &str| terminal::wrapped(text, WIDTH, 0);
    let try_it = format!(
        "This {} fake runs until Ctrl+C and then forgets everything. To try the worker with it, run this in another \
         terminal, with RABBITMQ_PASSWORD and the like in .env; or put these settings there, too:",
        entry.label
    );
    let by_hand = if entry.name == USUAL.name { steps(fake) } else { sample(entry) };
    let simulated_users = match finish_after {
        _ if !entry.has_users => String::new(),
        Some(after) => format!(
            " Simulated users finish each task {} s after it was created; a task that expects an answer gets ДА or НЕТ in \
             turn.",
            after.as_secs_f64()
        ),
        None => " Simulated users finish nothing.".into(),
    };
    let about = wrapped(&format!("{}{simulated_users}", entry.about));
    format!("{}\n\n  {}\n\n{by_hand}\n\n{about}\n\n", wrapped(&try_it), worker_with(fake))
}

/// The command that starts the worker with the settings for this fake.
fn worker_with(fake: &dyn Fake) -> String {
    let settings: Vec<String> =
        fake.settings().iter().map(|(name, value)| format!("{name}={}", terminal::shell_word(value))).collect();
    let program = terminal::program();
    match settings.as_slice() {
        [one] => format!("{one} {program}"),
        several => format!("{} \\\n  {program}", several.join(" \\\n  ")),
    }
}

/// What a person can do at the Bitrix24 fake.
fn steps(fake: &dyn Fake) -> String {
    let (place, program) = (fake.place(), terminal::program());
    let port = place.rsplit(':').next().unwrap_or_default();
    let settings = fake.settings();
    let webhook_url = settings.first().map(|(_, url)| url.as_str()).unwrap_or_default();
    format!(
        "To look into it, and to do by hand what users and portals do (the lines below
show each task's number; --help explains all steps):

  curl {webhook_url}/tasks.task.list
  {program} sandbox finish NUMBER --answer ДА --port {port}
  {program} sandbox delete NUMBER --port {port}
  {program} sandbox refuse tasks.task.add --status 503 --port {port}
  {program} sandbox --help"
    )
}

/// How to send a message that the fake will see; each time it is another task.
fn sample(entry: &FakeEntry) -> String {
    let first = (entry.messages)(SOME_ID).into_iter().next();
    let body = first.map(|message| String::from_utf8_lossy(&message.body).into_owned()).unwrap_or_default();
    // The shell puts the time in.
    let body = terminal::shell_word(&body).replace(SOME_ID, "'$(date +%s)'");
    let send = terminal::command(&["send", "-"]);
    format!("In a third terminal, a message for it:\n\n  echo {body} |\n  {send}")
}

fn line(noun: &str, news: &News) -> String {
    let time = Local::now().format("%H:%M:%S");
    match news {
        News::Created(task) if task.needs == Needs::Nothing => {
            format!("{time}  {noun} {} received, finished at once: {}", task.id, clean(&task.title))
        }
        News::Created(task) => format!("{time}  {noun} {} created: {}", task.id, clean(&task.title)),
        News::Finished(task, None) => format!("{time}  {noun} {} finished", task.id),
        News::Finished(task, Some(answer)) => format!("{time}  {noun} {} finished, answer {answer}", task.id),
    }
}
