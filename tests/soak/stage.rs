//! The running loop: a node, a portal, a producer, relays between them, and the worker. Every change that a fault makes
//! to one of its parts is a method here; this file does not know when and why.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use task_creator::sandbox;
use task_creator::sandbox::camunda::{Camunda, PASSWORD, ROOT, USER};
use task_creator::sandbox::http_fake::HttpFake;

use super::producer::Producer;
use super::support::api::Api;
use super::support::worker::binary;
use super::support::{Broker, Message, Node, PATIENCE, Queues, Relay, Worker, eventually};
use super::target::Target;

/// Everything short, so that an hour holds many rounds of everything. Enough attempts for every outage: at the end only
/// tasks that nobody could have created are parked.
const SETTINGS: [(&str, &str); 8] = [
    ("BITRIX_REQUEST_TIMEOUT", "2"),
    ("BITRIX_RATE", "0"),
    ("RETRY_DELAY", "0.5"),
    ("RETRY_ATTEMPTS", "1000"),
    ("HEARTBEAT_INTERVAL", "2"),
    ("RABBITMQ_HEARTBEAT", "2"),
    ("SHUTDOWN_TIMEOUT", "10"),
    ("RABBITMQ_HOST", "127.0.0.1"),
];

pub struct Stage {
    pub worker: Worker,
    /// The worker's control API.
    pub api: Api,
    pub producer: Producer,
    pub to_broker: Relay,
    pub to_portal: Relay,
    pub target: Target,
    pub camunda: Arc<HttpFake<Camunda>>,
    pub queues: Arc<Queues>,
    /// Unexpected exits of the worker.
    pub unasked: Vec<String>,
    pub node: Node,
}

/// The state of a queue, according to the broker.
#[derive(Debug, Default, PartialEq)]
pub struct Load {
    pub ready: usize,
    pub unacked: usize,
    pub consumers: usize,
}

impl Stage {
    pub fn set(seed: u64, each: Duration) -> Stage {
        assert!(binary().is_file(), "{} is missing: run `cargo build --release` first", binary().display());
        let node = Node::start().expect("a node needs rabbitmq-server installed");
        let rabbitmq = node.rabbitmq();
        let queues = Arc::new(Queues::through(Broker::connect_to(rabbitmq.clone()), "soak"));
        for queue in [queues.input(), queues.responses(), queues.errors()] {
            queues.declare(&queue);
        }
        let target = Target::start(seed ^ 0x5a5a);
        let (to_broker, to_portal) = (Relay::to(rabbitmq.address()), Relay::to(target.address()));
        let camunda = Arc::new(HttpFake::start(0, Camunda::default()).expect("a free port"));
        let (worker, api) = start_worker(&queues, &to_broker, &to_portal, &camunda);
        let producer = Producer::start(rabbitmq, queues.clone(), camunda.clone(), seed, each);
        Stage { worker, api, producer, to_broker, to_portal, target, camunda, queues, unasked: Vec::new(), node }
    }

    /// A second worker beside the first one, with an API of its own.
    pub fn another_worker(&self) -> (Worker, Api) {
        start_worker(&self.queues, &self.to_broker, &self.to_portal, &self.camunda)
    }

    /// Drops the relay's connections of a killed worker.
    pub fn kill_worker(&mut self) {
        self.worker.kill();
        self.to_broker.cut();
    }

    /// SIGTERM; a worker that does not end in time is killed, as an administrator would do.
    pub fn end_worker(&mut self) {
        self.worker.signal("TERM");
        let asked = Instant::now();
        while self.worker.exited().is_none() && asked.elapsed() < Duration::from_secs(15) {
            thread::sleep(Duration::from_millis(50));
        }
        match self.worker.exited().map(|status| status.code()) {
            // 1: messages were unsettled when the time for stopping was over.
            Some(Some(0 | 1)) => {}
            Some(other) => self.unasked.push(format!("told to stop, the worker ended with {other:?}")),
            None => {
                self.unasked.push("told to stop, the worker did not end within 15 s".into());
                self.worker.kill();
            }
        }
    }

    pub fn restart_worker(&mut self) {
        self.worker.start_again();
    }

    /// Whether the worker still runs; an ended one is started again.
    pub fn look_after_worker(&mut self) {
        if let Some(status) = self.worker.exited() {
            self.unasked.push(format!("the worker ended by itself: {status}"));
            self.worker.start_again();
        }
    }

    /// Takes the room of the sent queue, or gives it again.
    pub fn refuse_records(&self, full: bool) {
        let vhost = self.node.rabbitmq().vhost;
        let pattern = format!("^{}$", self.queues.sent().replace('.', "\\."));
        let set = |definition: &str| {
            self.node.ctl(&["set_policy", "-p", &vhost, "--apply-to", "queues", "full", &pattern, definition]);
        };
        if full {
            // In this order: the broker applies a new limit before the overflow rule, and would drop the oldest
            // records.
            set(r#"{"overflow": "reject-publish"}"#);
            set(r#"{"overflow": "reject-publish", "max-length": 1}"#);
        } else {
            self.node.ctl(&["clear_policy", "-p", &vhost, "full"]);
        }
    }

    /// A fault proves little while the worker waits to connect again.
    pub fn await_session(&self) {
        eventually("the worker's session", PATIENCE * 2, || self.has_session_within(Duration::ZERO));
    }

    pub fn has_session_within(&self, deadline: Duration) -> bool {
        let (started, input) = (Instant::now(), self.queues.input());
        while self.queues.consumers(&input) == 0 {
            if started.elapsed() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(50));
        }
        true
    }

    /// Asks the broker, not a counter of the worker.
    pub fn load(&self, queue: &str) -> Load {
        let columns = ["name", "messages_ready", "messages_unacknowledged", "consumers"];
        let listed = self.node.ctl(&[&["list_queues", "-p", &self.node.rabbitmq().vhost], &columns[..]].concat());
        let line = listed.lines().find_map(|line| line.strip_prefix(queue)?.strip_prefix('\t'));
        let mut numbers = line.unwrap_or_default().split('\t').map(|number| number.trim().parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Load { ready: next(), unacked: next(), consumers: next() }
    }

    /// What the worker still has to do, when nothing is published any more.
    pub fn left(&self) -> Vec<String> {
        let (queues, mut left) = (&self.queues, Vec::new());
        let missing = self.producer.missing(&self.target);
        if !missing.is_empty() {
            left.push(format!("{} tasks are not at the portal: {}", missing.len(), some(&missing)));
        }
        for queue in [queues.input(), queues.retry()] {
            let load = self.load(&queue);
            if load.ready + load.unacked > 0 || load.consumers != 1 {
                left.push(format!("{queue}: {load:?}"));
            }
        }
        if self.target.open() > 0 {
            left.push("people have tasks to finish".into());
        }
        let finished: BTreeSet<String> = self.target.finished().into_iter().collect();
        // All responses are read only when nothing else is left.
        let responses = queues.count(&queues.responses());
        if responses < finished.len() {
            left.push(format!("{} tasks are finished, and there are only {responses} responses", finished.len()));
        } else if left.is_empty() {
            let unanswered: Vec<String> = finished.difference(&self.answered()).cloned().collect();
            if !unanswered.is_empty() {
                left.push(format!("{} tasks are finished and not answered: {}", unanswered.len(), some(&unanswered)));
            }
        }
        left
    }

    fn answered(&self) -> BTreeSet<String> {
        let responses = self.queues.peek_all(&self.queues.responses());
        let task_id = |response: &Message| response.json()["original_message"]["task_id"].as_str().map(str::to_string);
        responses.iter().filter_map(task_id).collect()
    }

    /// No delivery of these queues is unacknowledged.
    pub fn is_empty(&self, queue: &str) -> bool {
        let load = self.load(queue);
        load.ready + load.unacked == 0
    }

    /// Whether everything published so far is at the portal within this time.
    pub fn catches_up(&self, deadline: Duration) -> bool {
        let started = Instant::now();
        while !self.producer.missing(&self.target).is_empty() {
            if started.elapsed() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(100));
        }
        true
    }
}

/// A few of many names.
fn some(names: &[String]) -> String {
    const FEW: usize = 5;
    let few = names.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > FEW { few + ", …" } else { few }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.producer.stop();
    }
}

fn start_worker(queues: &Queues, to_broker: &Relay, to_portal: &Relay, camunda: &HttpFake<Camunda>) -> (Worker, Api) {
    let webhook = sandbox::webhook_url(to_portal.address());
    let (port, engine) = (to_broker.port().to_string(), format!("http://{}{ROOT}", camunda.address()));
    let api = Api::anywhere();
    let own = [
        ("RABBITMQ_PORT", port.as_str()),
        ("CAMUNDA_URL", &engine),
        ("CAMUNDA_USER", USER),
        ("CAMUNDA_PASSWORD", PASSWORD),
    ];
    let worker = Worker::start(queues, &webhook, &[&SETTINGS[..], &own, &api.settings()].concat());
    (worker, api)
}
