//! (h) Memory with large messages: the worker's peak while it creates them, and while it sweeps their records.

use std::time::Duration;

use task_creator::sandbox::{Limits, Sandbox};

use crate::support::{Queues, Worker, eventually};
use crate::{Figure, create, machine, progress};

const DEADLINE: Duration = Duration::from_secs(300);
/// The size of a variable that nobody uses.
const SIZE: usize = 4 << 20;
const MESSAGES: usize = 60;
const RECORDS: usize = 80;

/// 60 messages, and 80 records, of 4 MiB each.
pub fn large_messages() -> Vec<Figure> {
    let sandbox = Sandbox::start(0, Limits::default()).expect("a free port");
    let queues = Queues::new("bench memory");
    let creating = create_all(&sandbox, &queues, 0, MESSAGES);
    create_all(&sandbox, &queues, MESSAGES, RECORDS);
    progress(&format!("memory: sweeping {RECORDS} records"));
    let worker = Worker::start(&queues, &sandbox.webhook_url(), &[("HEARTBEAT_INTERVAL", "1"), ("LOG_LEVEL", "DEBUG")]);
    worker.await_log("swept", DEADLINE);
    sandbox.tasks().iter().for_each(|task| assert!(sandbox.finish(task.id, 5, Some("ДА")), "task {}", task.id));
    eventually("all responses", DEADLINE, || queues.count(&queues.responses()) == RECORDS);
    let sweeping = machine::peak_memory_mb(worker.pid());
    let figure = |what: String, peak: f64| Figure::held(what, format!("{peak:.0} MB"), "< 200 MB", peak < 200.0);
    vec![
        figure(format!("(h) {MESSAGES} messages of 4 MiB: peak memory"), creating),
        figure(format!("(h) {RECORDS} records of 4 MiB, swept and answered: peak memory"), sweeping),
    ]
}

/// Creates the tasks of these messages, and returns the worker's peak in MB.
fn create_all(sandbox: &Sandbox, queues: &Queues, from: usize, to: usize) -> f64 {
    progress(&format!("memory: {} messages", to - from));
    let payload = "x".repeat(SIZE);
    for number in from..to {
        let mut message: serde_json::Value =
            serde_json::from_str(&create::message(&format!("memory-{number}"))).expect("a message");
        message["variables"]["unused"] = payload.clone().into();
        queues.publish_tasks(&[message.to_string()]);
    }
    let settings = [("BITRIX_RATE", "0"), ("HEARTBEAT_INTERVAL", "3600")];
    let worker = Worker::start(queues, &sandbox.webhook_url(), &settings);
    eventually("all records", DEADLINE, || sandbox.counts().syncs as usize >= to && queues.count(&queues.sent()) == to);
    machine::peak_memory_mb(worker.pid())
}
