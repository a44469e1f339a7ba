//! Publishes tasks at a steady pace on a connection of its own, and each one again until RabbitMQ has confirmed it:
//! both forms, some twice, some that the portal refuses, some that cannot be read.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use amiquip::{AmqpProperties, Channel, Confirm, Connection, Publish, Return};
use crossbeam_channel::Receiver;
use task_creator::sandbox::camunda::Camunda;
use task_creator::sandbox::http_fake::HttpFake;

use super::random::Random;
use super::support::{Queues, RabbitMq, field_text, seed_message};
use super::target::Target;

/// A broker that takes longer has lost it, or has an alarm.
const CONFIRM: Duration = Duration::from_secs(5);
/// Who has locked the tasks in Camunda: what the messages say.
const BRIDGE: &str = "universal-worker";
const RECONNECT: Duration = Duration::from_millis(500);

/// What the publishing thread shares with the soak.
pub struct Shared {
    over: AtomicBool,
    paused: AtomicBool,
    /// Publish no message that is or was in a queue already.
    singly: AtomicBool,
    /// The thread is between two messages.
    idle: AtomicBool,
    published: AtomicUsize,
    copies: AtomicUsize,
    /// Tasks that can be created and were not at the portal at the last check.
    expected: Mutex<HashSet<String>>,
}

pub struct Producer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Producer {
    pub fn start(
        rabbitmq: RabbitMq,
        queues: Arc<Queues>,
        camunda: Arc<HttpFake<Camunda>>,
        seed: u64,
        each: Duration,
    ) -> Producer {
        let shared = Arc::new(Shared {
            over: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            singly: AtomicBool::new(false),
            idle: AtomicBool::new(true),
            published: AtomicUsize::new(0),
            copies: AtomicUsize::new(0),
            expected: Mutex::default(),
        });
        let publishing = {
            let shared = shared.clone();
            move || publish_all(&rabbitmq, &queues, &camunda, Random::of(seed ^ 0xa5a5), each, &shared)
        };
        let thread = thread::Builder::new().name("producer".into()).spawn(publishing);
        Producer { shared, thread: Some(thread.expect("the machine has a thread to spare")) }
    }

    /// Confirmed, copies included.
    pub fn published(&self) -> usize {
        self.shared.published.load(Ordering::Relaxed)
    }

    /// How often a message was published that may have been in a queue already.
    pub fn copies(&self) -> usize {
        self.shared.copies.load(Ordering::Relaxed)
    }

    /// The tasks published so far that are not at the portal.
    pub fn missing(&self, target: &Target) -> Vec<String> {
        let mut expected = lock(&self.shared.expected);
        expected.retain(|id| !target.has(id));
        expected.iter().cloned().collect()
    }

    /// Returns when nothing is being published.
    pub fn pause(&self) {
        self.shared.paused.store(true, Ordering::SeqCst);
        while !self.shared.idle.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn go_on(&self) {
        self.shared.paused.store(false, Ordering::SeqCst);
    }

    /// Whether each message should be in the queues only once.
    pub fn singly(&self, singly: bool) {
        self.shared.singly.store(singly, Ordering::SeqCst);
    }

    /// Returns when the last message is confirmed.
    pub fn stop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the producer does not panic");
        }
    }
}

struct Line {
    channel: Channel,
    confirms: Receiver<Confirm>,
    returns: Receiver<Return>,
    // Dropped last.
    _connection: Connection,
}

fn publish_all(
    rabbitmq: &RabbitMq,
    queues: &Queues,
    camunda: &HttpFake<Camunda>,
    mut random: Random,
    each: Duration,
    shared: &Shared,
) {
    let mut line = None;
    let mut number = 0;
    let mut earlier: Vec<(Option<String>, Vec<u8>)> = Vec::new();
    while !shared.over.load(Ordering::SeqCst) {
        thread::sleep(each);
        shared.idle.store(false, Ordering::SeqCst);
        if !shared.paused.load(Ordering::SeqCst) {
            let copy = !earlier.is_empty() && random.percent(5) && !shared.singly.load(Ordering::SeqCst);
            let (id, body) = if copy {
                shared.copies.fetch_add(1, Ordering::Relaxed);
                // Mostly the newest, which the worker may be working on right now.
                let back = if random.percent(60) { 1 } else { 1 + random.below(earlier.len() as u64) as usize };
                earlier[earlier.len() - back].clone()
            } else {
                number += 1;
                message(number, &mut random)
            };
            if let Some(id) = id.clone().filter(|_| !copy) {
                lock(&shared.expected).insert(id);
            }
            publish_until_confirmed(rabbitmq, queues, &mut line, &body, shared);
            shared.published.fetch_add(1, Ordering::Relaxed);
            if !copy {
                queues.note_published(body.clone());
                if let Some(id) = id {
                    // Only now: what RabbitMQ has not confirmed may be lost, and nobody shall look for it.
                    camunda.target().lock(&id, BRIDGE);
                    earlier.push((Some(id), body));
                }
            }
            if earlier.len() > 50 {
                earlier.remove(0);
            }
        }
        shared.idle.store(true, Ordering::SeqCst);
    }
}

/// The id of a task that will be at the portal, and the body.
fn message(number: u64, random: &mut Random) -> (Option<String>, Vec<u8>) {
    let id = format!("task-{number}");
    match random.below(100) {
        0..=2 => (None, format!("{{\"task_id\": \"broken-{number}\", ").into_bytes()),
        3 => (None, [b"\xff\xfe ".as_slice(), number.to_string().as_bytes()].concat()),
        4 => (None, format!("{{\"topic\": \"bitrix_create_task\", \"number\": {number}}}").into_bytes()),
        5..=8 => (None, field_text(&format!("refused-{number}")).into_bytes()),
        9..=50 => (Some(id.clone()), seed_message(&id).to_string().into_bytes()),
        _ => (Some(id.clone()), field_text(&id).into_bytes()),
    }
}

/// A publish that broke off may have arrived, so the next one may be a copy.
fn publish_until_confirmed(
    rabbitmq: &RabbitMq,
    queues: &Queues,
    line: &mut Option<Line>,
    body: &[u8],
    shared: &Shared,
) {
    loop {
        if line.is_none() {
            *line = open(rabbitmq);
        }
        match line.as_ref().map(|line| publish(line, &queues.input(), body)) {
            Some(true) => return,
            Some(false) => {
                shared.copies.fetch_add(1, Ordering::Relaxed);
                *line = None;
            }
            None => {}
        }
        thread::sleep(RECONNECT);
    }
}

fn open(rabbitmq: &RabbitMq) -> Option<Line> {
    let mut connection = rabbitmq.connect().ok()?;
    let channel = connection.open_channel(None).ok()?;
    let returns = channel.listen_for_returns().ok()?;
    let confirms = channel.listen_for_publisher_confirms().ok()?;
    channel.enable_publisher_confirms().ok()?;
    Some(Line { channel, confirms, returns, _connection: connection })
}

fn publish(line: &Line, queue: &str, body: &[u8]) -> bool {
    let properties = AmqpProperties::default().with_content_type("application/json".into()).with_delivery_mode(2);
    let publish = Publish { mandatory: true, ..Publish::with_properties(body, queue, properties) };
    line.channel.basic_publish("", publish).is_ok()
        && matches!(line.confirms.recv_timeout(CONFIRM), Ok(Confirm::Ack(_)))
        // The queue was deleted and is still missing: the message is returned before it is confirmed.
        && line.returns.try_recv().is_err()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
