//! `task-creator send`: publishes one message as the bridge does: a file, or a built-in sample.
//!
//! The bytes are sent as they are: a message that is no task tests parking. It declares no queue, and waits for the
//! confirm.

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use chrono::{Days, Local, SecondsFormat, Utc};
use lexopt::{Arg, Parser};

use super::arguments::{unexpected, value};
use super::{complain, grammar};
use crate::config::Config;
use crate::lane::outgoing;
use crate::message::{self, Task};
use crate::queues::Queues;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::publisher::{OutgoingMessage, Publisher};
use crate::rabbitmq::queues;
use crate::redact;
use crate::systems::table::{self, TABLE};
use crate::terminal;

/// What `send` is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// Publish it.
    Send {
        /// The message.
        what: What,
        /// The queue; when absent, that of the system to which the message belongs.
        queue: Option<String>,
    },
    /// Print a sample, and send nothing.
    Print(&'static Sample),
}

/// What to send.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// The message in this file; from standard input for `-`.
    File(PathBuf),
    /// A sample, with a new `task_id`.
    Sample(&'static Sample),
}

/// A message of a form that bridges send, with invented values and unused ids. It names no user and no group: a portal
/// without them would refuse the task.
#[derive(Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its name.
    pub name: &'static str,
    text: &'static str,
}

/// The default is the first.
pub static SAMPLES: [Sample; 2] = [
    Sample { name: "approval", text: include_str!("send/approval.json") },
    Sample { name: "invoice", text: include_str!("send/invoice.json") },
];

/// From now to the sample's deadline, which must be in the future.
const DEADLINE: Days = Days::new(3);

impl Sample {
    /// The default sample.
    pub fn usual() -> &'static Sample {
        &SAMPLES[0]
    }

    /// The sample of this name.
    pub fn named(name: &str) -> Option<&'static Sample> {
        SAMPLES.iter().find(|sample| sample.name == name)
    }

    /// All names, for people.
    pub fn names() -> String {
        SAMPLES.each_ref().map(|sample| sample.name).join(" or ")
    }

    /// The message, with a new `task_id`.
    pub fn message(&self) -> String {
        let (now, milliseconds) = (Utc::now(), message::now_ms());
        self.text
            .replace("TASK_ID", &unique_id())
            .replace("INSTANCE_ID", &unique_id())
            .replace("CREATED_TIME", &now.format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string())
            .replace("DEADLINE", &(Local::now() + DEADLINE).to_rfc3339_opts(SecondsFormat::Secs, false))
            .replace("\"TIMESTAMP\"", &milliseconds.to_string())
            .replace("\"SECONDS\"", &(milliseconds / 1000).to_string())
    }
}

/// The order; `None` when help is asked for.
///
/// # Errors
/// What is wrong with the arguments.
pub fn read(parser: &mut Parser) -> Result<Option<Order>, lexopt::Error> {
    let (mut file, mut sample, mut queue, mut print) = (None, None, None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("sample") => {
                sample = Some(value(parser, "--sample", &Sample::names(), Sample::named)?);
            }
            Arg::Long("queue") => {
                queue = Some(value(parser, "--queue", "the name of a queue", |name| Some(name.to_owned()))?)
            }
            Arg::Long("print") => print = true,
            Arg::Value(path) if file.is_none() => file = Some(PathBuf::from(path)),
            other => return Err(unexpected(&other, &grammar::options("send", ""))),
        }
    }
    match (file, sample, queue, print) {
        (Some(_), Some(_), ..) => Err("send takes a FILE or --sample NAME, not both".into()),
        (Some(_), _, _, true) => Err("--print prints a sample: leave FILE out".into()),
        (_, _, Some(_), true) => Err("--print sends nothing: leave --queue out".into()),
        (None, sample, None, true) => Ok(Some(Order::Print(sample.unwrap_or(Sample::usual())))),
        (Some(file), None, queue, false) => Ok(Some(Order::Send { what: What::File(file), queue })),
        (None, sample, queue, false) => {
            Ok(Some(Order::Send { what: What::Sample(sample.unwrap_or(Sample::usual())), queue }))
        }
    }
}

/// Sends a message, or prints a sample.
///
/// # Errors
/// A setting is wrong, the message cannot be read, or RabbitMQ has not confirmed it.
pub fn run(order: &Order) -> anyhow::Result<ExitCode> {
    match order {
        Order::Send { what, queue } => send(&super::settings()?.config, what, queue.as_deref())?,
        Order::Print(sample) => terminal::print(&sample.message()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends a message to `queue`, or to that of the system to which it belongs.
fn send(config: &Config, what: &What, queue: Option<&str>) -> anyhow::Result<()> {
    let body = match what {
        What::File(file) => terminal::read(file)?,
        What::Sample(sample) => sample.message().into_bytes(),
    };
    let (system, message_id, what) = match Task::parse(body.clone()) {
        Ok(task) => (table::entry_of(&task).name, task.id.clone(), format!("task_id={}", task.id)),
        Err(unreadable) => {
            let fate = format!("the worker parks this message in {}", config.error_queue);
            complain(&format!("warning: {fate}: {}", unreadable.reason));
            let what = format!("{} byte(s) that are not a task", body.len());
            (TABLE[0].name, format!("no-task-{}", unique_id()), what)
        }
    };
    let queue = queue.map_or_else(|| Queues::of(system, config).input, str::to_owned);
    publish(config, &outgoing::as_from_bridge(queue.clone(), message_id, body))?;
    terminal::tell(&redact::clean(&format!("sent to {queue}: {what}")), 0);
    Ok(())
}

fn publish(config: &Config, message: &OutgoingMessage) -> anyhow::Result<()> {
    let mut connection = Connection::open(&config.rabbitmq, "task-creator: send")?;
    let opened = connection.within_deadline(|connection| match queues::look(connection, &message.queue)? {
        Some(_) => Publisher::open(connection).map(Some),
        None => Ok(None),
    });
    let Some(mut publisher) = opened? else {
        bail!(
            "there is no queue {} in virtual host {}; start the bridge or the worker (`{}`), which declare their queues, or \
             name another with --queue",
            message.queue,
            config.rabbitmq.vhost,
            terminal::program()
        );
    };
    // Without the chain: amiquip's text has the cause already.
    publisher.deliver(message).map_err(|err| anyhow!("{err}"))?;
    drop(publisher);
    // The message is confirmed, so a failed close does no harm.
    let _ = connection.close();
    Ok(())
}

/// 128 random bits in the form of a UUID. The keys of hash maps are the only random source in std.
fn unique_id() -> String {
    let random = || RandomState::new().hash_one(message::now_ms());
    let digits = format!("{:016x}{:016x}", random(), random());
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_is_a_task_of_its_own() {
        for sample in &SAMPLES {
            let [one, other] = [sample.message(), sample.message()].map(|text| Task::parse(text.into_bytes()));
            let (one, other) = (one.expect("a task"), other.expect("a task"));
            assert_ne!(one.id, other.id);
            let text = one.body.get();
            for placeholder in ["TASK_ID", "INSTANCE_ID", "CREATED_TIME", "DEADLINE", "TIMESTAMP", "SECONDS"] {
                assert!(!text.contains(placeholder), "{placeholder} in {text}");
            }
            assert_eq!(Sample::named(sample.name), Some(sample));
        }
    }
}
