//! Upgrade and roll-back: what one release leaves in the queues, the next one reads, and the other way round.
//!
//! `releases/VERSION` has what that release writes: a file for each kind of message, with its headers. Two tests keep
//! the promise: every message of every release is worked on by this version; and this version writes byte for byte what
//! the newest of them did, so that release can read it. When a change of what is written is meant, it gets a new
//! folder, and `RELEASE_FILES=write` fills it. A message that an older release would not understand must wait one
//! release: first it is read, then written. Old folders are never changed.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use amiquip::{AmqpProperties, AmqpValue, FieldTable};
use serde_json::{Value, json};
use task_creator::config::Config;
use task_creator::lane::control::Control;
use task_creator::lane::notices::Notices;
use task_creator::lane::{Job, Lane, outgoing};
use task_creator::message::{Cause, Earlier, Note, Original, Parked, Record, Task};
use task_creator::rabbitmq::Headers;
use task_creator::rabbitmq::publisher::{LargestBody, OutgoingMessage};
use task_creator::stats::Stats;
use task_creator::stop;
use task_creator::systems::Created;
use task_creator::systems::routing::Routes;
use task_creator::terminal;

use crate::support::*;

/// Oldest first.
const RELEASES: &[&str] = &["0.1.0"];
/// In place of what differs each time.
const NOW: f64 = 1_795_409_860.5;
/// The number of each task at the target.
const NUMBER: u64 = 4817;

#[test]
fn this_version_writes_what_the_last_release_has_written() {
    let last = RELEASES.last().expect("there is one");
    for (name, message) in written() {
        let (file, text) = (file(last, name), text_of(&message));
        if env::var("RELEASE_FILES").is_ok_and(|value| value == "write") {
            fs::write(&file, &text).expect("the repository can be written");
        }
        let known = fs::read_to_string(&file).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
        assert_eq!(text, known, "{}: the last release would meet another message", file.display());
    }
}

#[test]
fn every_message_of_every_release_is_worked_on() {
    for release in RELEASES {
        let queues = Queues::new("release");
        let tasks = Tasks::new();
        let waiting = ["record", "record-in-retry"];
        let numbers: BTreeMap<&str, u64> = waiting.iter().map(|name| (*name, tasks.put(name))).collect();
        for name in waiting {
            tasks.set(name, "UF_RESULT_EXPECTED", json!("0"));
            tasks.set_status(name, 5);
        }
        [queues.sent(), queues.retry(), queues.errors()].iter().for_each(|queue| queues.declare(queue));
        let portal = Portal::of(&tasks);
        for name in ["record", "record-in-retry", "retry", "moved", "replayed", "parked"] {
            put(&queues, &portal, release, name, numbers.get(name).copied());
        }
        let worker = Worker::start(&queues, &portal.webhook(), &[]);
        run_with(&["parked", "replay", "--all"], &queues, &portal.webhook(), &[])
            .ended_with(0)
            .has("replayed 1, skipped 0");

        let is_known = |id: &str| !tasks.ids_of(id).is_empty();
        for created in ["retry", "moved", "replayed", "parked"] {
            eventually(&format!("{release}: {created} at the target"), PATIENCE, || is_known(created));
        }
        queues.await_count(&queues.responses(), waiting.len(), PATIENCE);
        let mut answered: Vec<String> =
            queues.peek_all(&queues.responses()).iter().map(|response| id_of(&response.json())).collect();
        answered.sort();
        assert_eq!(answered, waiting);
        queues.await_count(&queues.sent(), 4, PATIENCE);
        assert_eq!((queues.count(&queues.retry()), queues.count(&queues.errors())), (0, 0));
        drop(worker);
    }
}

fn id_of(response: &Value) -> String {
    response["original_message"]["task_id"].as_str().unwrap_or_default().to_owned()
}

// What this version writes.

/// A message of each kind that stays in a queue while versions change.
fn written() -> Vec<(&'static str, OutgoingMessage)> {
    let mut messages = Vec::new();
    with_lane(|lane| {
        let reply = || json!({"result": {"task": {"id": NUMBER.to_string(), "title": "Проверить счёт"}}});
        let created = |name| {
            let mut created = Created::new(reply(), NUMBER.to_string());
            created.host = Some("bitrix.example".into());
            outgoing::result(lane, &task(name), &mut created)
        };
        messages.push(("record", created("record")));
        let OutgoingMessage { message_id, body, headers, .. } = created("record-in-retry");
        messages.push(("record-in-retry", outgoing::record_on_its_way(lane, message_id, body, headers, false)));
        let record = Record::parse(created("response").body).expect("our own record");
        messages.push(("response", outgoing::response(lane, &record, reply()["result"].take())));

        let job = |name| Job {
            task: task(name),
            attempts: 0,
            headers: Headers::from_iter([("camunda_topic", "bitrix_create_task")]),
            arrived: Instant::now(),
        };
        let mut failed = job("retry");
        failed.task.note = Note::new(Some("what is done".into()));
        messages.push(("retry", outgoing::for_retry(lane, &failed, 1, Duration::from_secs(1), "http status: 500")));
        let mut failed = job("unseen");
        failed.task.earlier = Earlier::Unseen;
        messages.push(("unseen", outgoing::for_retry(lane, &failed, 2, Duration::from_secs(1), "it is not shown")));
        messages.push((
            "parked",
            outgoing::parked_job(lane, job("parked"), 3, Cause::RequestError, "«Исполнитель» не найден"),
        ));
        let about = Parked {
            cause: Cause::InvalidMessage,
            error: "no JSON",
            system: "bitrix24",
            source_queue: "bitrix24.queue",
            attempts: 0,
        };
        let bytes = Original::Bytes(b"{\"half\": \xd1".to_vec());
        messages.push(("parked-bytes", outgoing::parked(lane, "0123456789abcdef".into(), &about, &bytes)));

        let as_came =
            |name: &str| outgoing::as_from_bridge("bitrix24.queue".into(), name.to_owned(), task(name).message());
        messages.push(("replayed", outgoing::for_replay(as_came("replayed"))));
        let OutgoingMessage { message_id, body, headers, .. } = as_came("moved");
        messages.push(("moved", outgoing::moved(("default.queue", "bitrix24.queue"), message_id, body, headers, true)));
    });
    messages
}

fn task(name: &str) -> Task {
    Task::parse(seed_message(name).to_string().into_bytes()).expect("the seed sample is a task")
}

fn with_lane(work: impl FnOnce(&Lane)) {
    let config = Config::read(|name: &str| (name == "RABBITMQ_PASSWORD").then(|| "secret".to_owned()));
    let (config, (_stopper, stop)) = (config.expect("right settings"), stop::signal());
    work(&Lane {
        name: "bitrix24",
        looks_up: true,
        queues: task_creator::queues::Queues::of("bitrix24", &config),
        routes: Routes::default(),
        config: &config,
        stats: &Stats::default(),
        largest: LargestBody::default(),
        control: Control::default(),
        notices: Notices::default(),
        pulse: Default::default(),
        stop,
    });
}

// The files: the queue, the id and the headers, a line each; an empty line; the body.

fn file(release: &str, name: &str) -> PathBuf {
    PathBuf::from(format!("tests/suite/releases/{release}/{name}"))
}

fn text_of(message: &OutgoingMessage) -> String {
    let mut lines = vec![format!("queue: {}", message.queue), format!("message_id: {}", message.message_id)];
    let headers: BTreeMap<&str, String> =
        message.headers.iter().map(|(name, value)| (name, format!("{value:?}"))).collect();
    lines.extend(headers.into_iter().map(|(name, value)| format!("{name}: {}", without_time(name, &value))));
    let body = String::from_utf8(message.body.clone()).expect("our own bodies are UTF-8");
    format!("{}\n\n{}\n", lines.join("\n"), without_times(&body.replace(terminal::program(), "task-creator")))
}

fn without_time(name: &str, value: &str) -> String {
    match name {
        "x-retry-at" | "x-replayed-at" => format!("LongLongInt({})", (NOW * 1000.0) as i64),
        _ => value.to_owned(),
    }
}

/// The body with one time for all. A record's `timestamp` is that of its message, a parked message has its own.
fn without_times(body: &str) -> String {
    let is_parked = body.contains("\"error_type\":");
    let (member, time) = match is_parked {
        true => ("{\"timestamp\":", (NOW * 1000.0).to_string()),
        false => ("\"processed_at\":", NOW.to_string()),
    };
    let Some(start) = body.rfind(member).map(|at| at + member.len()) else { return body.to_owned() };
    let length = body[start..].find([',', '}']).unwrap_or(0);
    format!("{}{time}{}", &body[..start], &body[start + length..])
}

/// Publishes what a release has written, to the queues and for the portal of this test.
fn put(queues: &Queues, portal: &Portal, release: &str, name: &str, number: Option<u64>) {
    let text = fs::read_to_string(file(release, name)).expect("it is in the repository");
    let (head, body) = text.split_once("\n\n").expect("an empty line follows the headers");
    let mut lines = head.lines().map(|line| line.split_once(": ").expect("a name and a value"));
    let (_, queue) = lines.next().expect("the queue");
    let (_, id) = lines.next().expect("the id");
    let headers: FieldTable = lines.map(|(name, value)| (name.to_owned(), header_of(value))).collect();
    let number = number.unwrap_or(NUMBER).to_string();
    let body = body.trim_end().replace("\"bitrix24.queue\"", &format!("\"{}\"", queues.input()));
    let body = body
        .replace(&format!("\"{NUMBER}\""), &format!("\"{number}\""))
        .replace("bitrix.example", &portal.address().to_string());
    let properties = AmqpProperties::default().with_headers(headers).with_message_id(id.to_owned());
    queues.publish_with(&queues.named(queue), body, properties);
}

/// A header as `{:?}` shows it.
fn header_of(text: &str) -> AmqpValue {
    let (kind, value) = text.strip_suffix(')').and_then(|text| text.split_once('(')).expect("a kind and a value");
    match kind {
        "LongInt" => AmqpValue::LongInt(value.parse().expect("a number")),
        "LongLongInt" => AmqpValue::LongLongInt(value.parse().expect("a number")),
        "Boolean" => AmqpValue::Boolean(value == "true"),
        "LongString" => AmqpValue::LongString(serde_json::from_str::<String>(value).expect("a text in quotes")),
        other => panic!("a header of a new kind: {other}"),
    }
}
