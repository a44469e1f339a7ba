//! Looks for a task in the queues, in the order in which a message goes through them, so that one that moves meanwhile
//! is met later. Every message stays.

use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use crossbeam_channel::bounded;
use serde_json::Value;

use super::facts::{self, Place, Role};
use super::{Source, Step, TOO_LATE, Tracing};
use crate::config::Config;
use crate::lane::outgoing;
use crate::message::given::texts;
use crate::message::parked::{ParkedTask, original};
use crate::message::record::answer_text;
use crate::message::{Record, Task, document, seconds, text};
use crate::queues::Queues;
use crate::rabbitmq::browse::{Browse, Browsed, End, Message};
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::queues;
use crate::stop::Stop;
use crate::systems::table;

/// How long somebody else's browse of a queue is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of an input queue no more messages are looked at: each look is a requeue.
const MOST_OF_INPUT: u32 = 1000;

/// A queue that is looked into.
#[derive(Clone)]
struct Asked {
    role: Role,
    queue: String,
    system: Option<String>,
}

/// What a queue has of the task.
struct Found {
    place: Option<Place>,
    process_id: Option<String>,
    title: Option<String>,
    /// `None`: there is no such queue.
    browsed: Option<Browsed>,
    consumers: u32,
}

impl Tracing<'_> {
    /// Looks into the queues of this system, or of all, and into those that all share.
    pub(super) fn look_into_queues(&mut self, system: Option<&str>) {
        self.steps.retain(|step| step.source != Source::Queues);
        if !self.sources.browse {
            let why = "not looked into: that takes every message out for a moment; --browse does it";
            self.steps.push(Step::not_looked(Source::Queues, None, "not_browsed", why.into()));
            return;
        }
        self.facts.queues = facts::Queues { looked: true, complete: true, ..facts::Queues::default() };
        let asked = self.queues(system);
        let (sender, results) = bounded(asked.len());
        let looking = {
            let (asked, id) = (asked.clone(), self.task_id.to_owned());
            let (config, stop, until) = (self.sources.config.clone(), self.sources.stop.clone(), self.until);
            move || {
                let mut connection = None;
                for asked in asked {
                    // Nobody waits any more.
                    if sender.send(look(&mut connection, &asked, &id, &config, &stop, until)).is_err() {
                        break;
                    }
                }
                connection.map(Connection::close);
            }
        };
        // Without a thread there are no results.
        let _ = thread::Builder::new().name("trace".into()).spawn(looking);
        for asked in &asked {
            let step = match results.recv_deadline(self.until) {
                Ok(Ok(found)) => self.note_found(asked, found),
                Ok(Err(err)) => Some(self.note_unread(asked, &format!("{err:#}"))),
                Err(_) => Some(self.note_unread(asked, TOO_LATE)),
            };
            self.steps.extend(step);
        }
    }

    fn queues(&self, system: Option<&str>) -> Vec<Asked> {
        let config = &self.sources.config;
        // What belongs to a system may wait in the default queue until it is moved, and what belongs to a system that
        // is off in any.
        let is_meant = |name: &&str| system.is_none_or(|system| *name == system || *name == table::DEFAULT);
        let systems = table::names().into_iter().filter(is_meant);
        let systems: Vec<(&str, Queues)> = systems.map(|name| (name, Queues::of(name, config))).collect();
        let own = |role: Role, queue: fn(&Queues) -> &String| {
            let asked = |(name, queues): &(&str, Queues)| Asked {
                role,
                queue: queue(queues).clone(),
                system: Some((*name).to_owned()),
            };
            systems.iter().map(asked).collect::<Vec<_>>()
        };
        let shared = |role, queue: &String| vec![Asked { role, queue: queue.clone(), system: None }];
        [
            own(Role::Input, |queues| &queues.input),
            own(Role::Retry, |queues| &queues.retry),
            own(Role::Sent, |queues| &queues.sent),
            shared(Role::Errors, &config.error_queue),
            shared(Role::Responses, &config.responses_queue),
        ]
        .concat()
    }

    /// What a queue has; nothing, if there is no such queue, as of most systems that are off.
    fn note_found(&mut self, asked: &Asked, found: Found) -> Option<Step> {
        let (system, queue) = (asked.system.as_deref(), &asked.queue);
        let browsed = found.browsed?;
        self.note(found.process_id, found.title);
        let others = asked.system.is_some() && found.consumers > 0;
        self.facts.queues.held_elsewhere |= others;
        self.facts.queues.swept_now |= others && asked.role == Role::Sent;
        if let Some(place) = found.place {
            let step = Step::found(Source::Queues, system, "found", format!("{queue} has it")).at(place.since.clone());
            let step = step.with([
                ("queue", Some(queue.clone())),
                ("cause", place.cause.clone()),
                ("error", place.error.clone()),
                ("attempts", Some(place.attempts).filter(|attempts| *attempts > 0).map(|count| count.to_string())),
                ("next_try", place.next_try.clone()),
                ("answer", place.answer.clone()),
            ]);
            self.facts.queues.found.push(place);
            return Some(step);
        }
        let is_whole = browsed.end == End::All && browsed.alone && browsed.read >= browsed.found;
        self.facts.queues.complete &= is_whole;
        let seen = match is_whole {
            true => format!("{queue} does not have it among {} messages", browsed.read),
            false => format!("{queue} does not have it among the first {} of {} messages", browsed.read, browsed.found),
        };
        let held = if others { "; a worker may hold more, which cannot be seen" } else { "" };
        let code = if is_whole && !others { "nothing" } else { "nothing_seen" };
        let step = Step::nothing(Source::Queues, system, code, format!("{seen}{held}"));
        Some(step.with([("queue", Some(queue.clone()))]))
    }

    fn note_unread(&mut self, asked: &Asked, why: &str) -> Step {
        self.facts.queues.complete = false;
        Step::could_not(Source::Queues, asked.system.as_deref(), format!("{}: {why}", asked.queue))
    }
}

/// Looks whether there is something in the queue, and only then takes it out.
fn look(
    connection: &mut Option<Connection>,
    asked: &Asked,
    id: &str,
    config: &Config,
    stop: &Stop,
    until: Instant,
) -> anyhow::Result<Found> {
    let mut found = Found { place: None, process_id: None, title: None, browsed: None, consumers: 0 };
    let lock = Queues::browse_lock(&asked.queue);
    let Some((there, is_held)) = ready(connection, config, &asked.queue, &lock)? else { return Ok(found) };
    found.consumers = there.consumers;
    if there.ready == 0 && !is_held {
        found.browsed = Some(Browsed { found: 0, read: 0, end: End::All, alone: true, consumers: there.consumers });
        return Ok(found);
    }
    let left = || until.saturating_duration_since(Instant::now());
    let browse = Browse {
        broker: &config.rabbitmq,
        name: "task-creator: trace",
        queue: &asked.queue,
        lock: &lock,
        patience: PATIENCE.min(left()),
        most: if asked.role == Role::Input { MOST_OF_INPUT } else { u32::MAX },
        time: left(),
        republished: &outgoing::browsed,
    };
    found.browsed = browse.look(stop, |message| {
        if !is_about(asked.role, &message, id) {
            return ControlFlow::Continue(());
        }
        let task = task_in(asked.role, &message);
        found.process_id = task.as_ref().and_then(|task| task.process_instance_id.clone());
        found.title = task.as_ref().and_then(|task| texts::title(task, &mut Vec::new())).map(|title| title.value);
        found.place = Some(place(asked, &message));
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// What is in the queue, and whether another browse holds messages of it.
fn ready(
    connection: &mut Option<Connection>,
    config: &Config,
    queue: &str,
    lock: &str,
) -> anyhow::Result<Option<(queues::Found, bool)>> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(&config.rabbitmq, "task-creator: trace")?,
    };
    let found = open.within_deadline(|open| {
        // It may end, or start, while the queue is looked at.
        let was_held = queues::is_locked(open, lock)?;
        let found = queues::look(open, queue)?;
        let is_held = was_held || queues::is_locked(open, lock)?;
        Ok(found.map(|found| (found, is_held)))
    })?;
    *connection = Some(open);
    Ok(found)
}

/// Is the message one of this task? Most are not, which shows without reading them.
fn is_about(role: Role, message: &Message, id: &str) -> bool {
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    if is_plain && !message.body.windows(id.len().max(1)).any(|part| part == id.as_bytes()) {
        return false;
    }
    let parked = || ParkedTask::read(&message.body);
    let task = if role == Role::Errors { parked() } else { None };
    task.or_else(|| ParkedTask::of(&message.body, "", "")).is_some_and(|task| task.id == id)
}

fn task_in(role: Role, message: &Message) -> Option<Task> {
    let read =
        |body: Vec<u8>| Task::parse(body.clone()).ok().or_else(|| Record::parse(body).ok().map(|record| record.task));
    match role {
        Role::Errors => read(original(&document::members(&message.body).ok()?)?).or_else(|| read(message.body.clone())),
        Role::Input | Role::Retry | Role::Sent | Role::Responses => read(message.body.clone()),
    }
}

fn place(asked: &Asked, Message { body, headers, sent }: &Message) -> Place {
    let json = document::read(body).unwrap_or_default();
    let header = |name: &str| headers.text(name).map(str::to_owned);
    let own_time = |name: &str| json[name].as_f64().map(seconds).and_then(iso_of_seconds);
    let sent_at = sent.and_then(|sent| DateTime::from_timestamp(i64::try_from(sent).ok()?, 0)).map(iso);
    let place = Place {
        role: asked.role,
        queue: asked.queue.clone(),
        system: asked.system.clone(),
        since: sent_at.clone(),
        ..Place::default()
    };
    match asked.role {
        Role::Errors => Place {
            since: own_time("timestamp").filter(|_| !json["error_type"].is_null()).or(sent_at),
            cause: text(&json["error_type"]).or_else(|| header("error_type")),
            error: text(&json["error_message"]).or_else(|| header("error_message")),
            attempts: json["attempts"].as_u64().and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(0),
            system: text(&json["system"]).or_else(|| header("system")),
            ..place
        },
        Role::Retry => Place {
            error: outgoing::last_error(headers).map(str::to_owned),
            attempts: outgoing::attempts(headers),
            next_try: outgoing::retry_at(headers).and_then(|at| iso_of_seconds(at.as_secs_f64())),
            ..place
        },
        Role::Responses => Place {
            since: own_time("processed_at").or(sent_at),
            answer: answer_text(json.get("response_data").unwrap_or(&Value::Null)).map(str::to_owned),
            ..place
        },
        Role::Sent => Place { since: own_time("processed_at").or(sent_at), ..place },
        Role::Input => place,
    }
}

fn iso_of_seconds(seconds: f64) -> Option<String> {
    let since_1970 = Duration::try_from_secs_f64(seconds).ok()?;
    DateTime::from_timestamp_millis(i64::try_from(since_1970.as_millis()).ok()?).map(iso)
}

fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
