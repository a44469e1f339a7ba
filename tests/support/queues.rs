//! The worker's queues under a prefix that only one test uses, declared before it and deleted after it. It knows their
//! names and what was published to them; it does not know what a message means.

use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, iter, process};

use amiquip::{AmqpProperties, FieldTable};
use serde_json::Value;

use super::broker::{Broker, Message, QueueState, header, rabbitmqctl};
use super::wait::eventually_ok;

const SYSTEMS: [&str; 7] = ["bitrix24", "openproject", "1c", "python-services", "email", "telegram", "default"];

/// Every queue that the worker may have made for a system; all are deleted in the end, whether they exist or not.
const SYSTEM_QUEUES: [&str; 4] = [".queue", ".sent.queue", ".retry.queue", ".sent.queue.tracker.lock"];

/// The queues of one test. Their names are those of one system; [`Queues::named`] makes those of others.
pub struct Queues {
    system: String,
    prefix: String,
    broker: Broker,
    // The threads of a load test publish at the same time.
    published: Mutex<Vec<Vec<u8>>>,
    declared: Mutex<Vec<String>>,
}

impl Queues {
    /// Declares the input, the responses and the error queue as the bridge does: durable and without arguments. With
    /// `TEST_QUEUES=quorum` these, and those that the worker would make otherwise, are quorum queues.
    pub fn new(test: &str) -> Queues {
        Queues::of("bitrix24", test)
    }

    /// The same for another system.
    pub fn of(system: &str, test: &str) -> Queues {
        let mut queues = Queues::undeclared(test);
        system.clone_into(&mut queues.system);
        for queue in [queues.input(), queues.responses(), queues.errors()] {
            queues.declare(&queue);
        }
        if quorum() {
            [queues.sent(), queues.retry()].iter().for_each(|queue| queues.declare(queue));
        }
        queues
    }

    /// Only the names, for a test in which queues are missing or exist in another form.
    pub fn undeclared(test: &str) -> Queues {
        Queues::through(Broker::connect(), test)
    }

    /// The same on a connection that the test chooses.
    pub fn through(broker: Broker, test: &str) -> Queues {
        Queues {
            system: "bitrix24".to_owned(),
            prefix: unique_prefix(test),
            broker,
            published: Mutex::new(Vec::new()),
            declared: Mutex::new(Vec::new()),
        }
    }

    /// The worker's `QUEUE_PREFIX`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    pub fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub fn input(&self) -> String {
        self.named(&format!("{}.queue", self.system))
    }

    pub fn sent(&self) -> String {
        self.named(&format!("{}.sent.queue", self.system))
    }

    pub fn retry(&self) -> String {
        self.named(&format!("{}.retry.queue", self.system))
    }

    pub fn responses(&self) -> String {
        self.named("camunda.responses.queue")
    }

    pub fn errors(&self) -> String {
        self.named("errors.camunda_tasks.queue")
    }

    pub fn declare(&self, queue: &str) {
        self.declare_with(queue, &FieldTable::new());
    }

    /// Durable, with arguments that the test chooses, whatever `TEST_QUEUES` says.
    pub fn declare_with(&self, queue: &str, arguments: &FieldTable) {
        lock(&self.declared).push(queue.to_string());
        let mut arguments = arguments.clone();
        if quorum() && arguments.is_empty() {
            arguments.insert("x-queue-type".into(), header("quorum"));
        } else if quorum() {
            // It may exist already, in the form that the test wants.
            self.delete(queue);
        }
        self.broker.declare(queue, &arguments).unwrap_or_else(|err| panic!("declare {queue}: {err}"));
    }

    /// Deletes the queue, however it is declared, even with consumers.
    pub fn delete(&self, queue: &str) {
        self.broker.delete(queue).unwrap_or_else(|err| panic!("delete {queue}: {err}"));
    }

    /// Returns how many ready messages were dropped.
    pub fn purge(&self, queue: &str) -> usize {
        self.broker.purge(queue)
    }

    /// Publishes to the input queue with the bridge's properties and headers. Text keeps the order of its keys and the
    /// spelling of its numbers; a `Value` does not.
    pub fn publish_task(&self, message: &impl Display) {
        self.publish_tasks(iter::once(message));
    }

    /// Many at once, pipelined.
    pub fn publish_tasks<'a, M: Display + 'a>(&self, messages: impl IntoIterator<Item = &'a M>) {
        let with_properties = messages.into_iter().map(|message| {
            let body = message.to_string().into_bytes();
            let headers = bridge_headers(&body);
            (body, properties(headers))
        });
        self.publish_prepared(&self.input(), with_properties.collect());
    }

    /// Publishes any bytes, persistent and as `application/json`.
    pub fn publish(&self, queue: &str, body: impl AsRef<[u8]>, headers: FieldTable) {
        self.publish_with(queue, body, properties(headers));
    }

    pub fn publish_with(&self, queue: &str, body: impl AsRef<[u8]>, properties: AmqpProperties) {
        self.publish_prepared(queue, vec![(body.as_ref().to_vec(), properties)]);
    }

    /// Every body that was published to the input queue and confirmed.
    pub fn published(&self) -> Vec<Vec<u8>> {
        lock(&self.published).clone()
    }

    /// Counts a body as published that was published in another way, and confirmed.
    pub fn note_published(&self, body: Vec<u8>) {
        lock(&self.published).push(body);
    }

    /// Ready messages; 0 when the queue does not exist.
    pub fn count(&self, queue: &str) -> usize {
        self.state(queue).map_or(0, |state| state.ready)
    }

    /// The queue's consumers, according to the broker; 0 when the queue does not exist.
    pub fn consumers(&self, queue: &str) -> usize {
        self.state(queue).map_or(0, |state| state.consumers)
    }

    /// Delivered and not acknowledged; `None` without [`rabbitmqctl`], and for a queue that does not exist.
    pub fn unacked(&self, queue: &str) -> Option<usize> {
        let vhost = &self.broker.rabbitmq().vhost;
        let listed = rabbitmqctl(&["-q", "-p", vhost, "list_queues", "name", "messages_unacknowledged"])?;
        let line = listed.lines().find_map(|line| line.strip_prefix(queue)?.strip_prefix('\t'));
        line.and_then(|count| count.trim().parse().ok())
    }

    /// `None` when the queue does not exist.
    pub fn state(&self, queue: &str) -> Option<QueueState> {
        self.broker.state(queue)
    }

    #[track_caller]
    pub fn await_count(&self, queue: &str, count: usize, deadline: Duration) {
        eventually_ok(&format!("{count} ready messages in {queue}"), deadline, || match self.state(queue) {
            Some(state) if state.ready == count => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    #[track_caller]
    pub fn await_consumers(&self, queue: &str, count: usize, deadline: Duration) {
        eventually_ok(&format!("{count} consumers on {queue}"), deadline, || match self.state(queue) {
            Some(state) if state.consumers == count => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Every ready message; they stay in their places, but are marked as redelivered from now on. So do not use this
    /// for an input queue whose redelivered flag a test checks, nor while the worker consumes from it or sweeps it.
    pub fn peek_all(&self, queue: &str) -> Vec<Message> {
        self.broker.peek_all(queue)
    }

    /// Every ready message, acknowledged.
    pub fn take_all(&self, queue: &str) -> Vec<Message> {
        self.broker.take_all(queue)
    }

    fn delete_all(&self) {
        let systems = SYSTEMS.into_iter().chain([self.system.as_str()]);
        let of_systems = systems.flat_map(|system| SYSTEM_QUEUES.map(|queue| format!("{system}{queue}")));
        let ours = of_systems.map(|name| self.named(&name)).chain([self.responses(), self.errors()]);
        for queue in ours.chain(lock(&self.declared).clone()) {
            // A lock queue that a worker still holds disappears with the worker's connection.
            if let Err(err) = self.broker.delete(&queue) {
                eprintln!("could not delete {queue}: {err}");
            }
        }
    }

    fn publish_prepared(&self, queue: &str, messages: Vec<(Vec<u8>, AmqpProperties)>) {
        self.broker.publish(queue, &messages).unwrap_or_else(|err| panic!("{err}"));
        if queue == self.input() {
            lock(&self.published).extend(messages.into_iter().map(|(body, _)| body));
        }
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        // The broker may be down, and a panic in a drop while the test is failing would abort all tests.
        let deleted = panic::catch_unwind(AssertUnwindSafe(|| self.delete_all()));
        if deleted.is_err() {
            eprintln!("the queues {}* are still there", self.prefix);
        }
    }
}

/// Different for each test, process and run; it names the test in `rabbitmqctl list_queues`.
fn unique_prefix(test: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let slug: String =
        test.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).take(40).collect();
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    format!("{slug}.{millis:x}-{:x}-{}.", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Quorum queues, unless a test wants others.
fn quorum() -> bool {
    env::var("TEST_QUEUES").is_ok_and(|kind| kind == "quorum")
}

fn properties(headers: FieldTable) -> AmqpProperties {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    AmqpProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_timestamp(now)
        .with_headers(headers)
}

/// The members that the bridge copies from the body into headers; none for a body that is not JSON.
fn bridge_headers(body: &[u8]) -> FieldTable {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let copied = [
        ("camunda_topic", &body["topic"]),
        ("target_system", &body["system"]),
        ("task_id", &body["task_id"]),
        ("process_instance_id", &body["process_instance_id"]),
    ];
    let present = copied.into_iter().filter_map(|(name, value)| Some((name.to_string(), header(value.as_str()?))));
    present.collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
