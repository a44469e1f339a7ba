//! (d) Sweeping the sent queue while nothing has changed.

use std::time::{Duration, Instant};

use task_creator::sandbox::{Limits, Sandbox};

use crate::support::{Queues, Worker, eventually};
use crate::{Figure, create, machine, progress};

/// A sweep of 100,000 records with debug logging stays far below.
const DEADLINE: Duration = Duration::from_secs(600);

/// 5,000 and 100,000 records.
pub fn large() -> Vec<Figure> {
    // The records are made by the worker itself, at a portal without limits; the larger sweep starts with the
    // smaller's.
    let sandbox = Sandbox::start(0, Limits::default()).expect("a free port");
    let queues = Queues::new("bench sweep");
    let (small, large) = (sweep(&sandbox, &queues, 0, 5_000), sweep(&sandbox, &queues, 5_000, 100_000));
    vec![
        Figure::held(
            "(d) sweep of 5,000: HTTP requests",
            format!("{}, in {:.1} s", small.requests, small.seconds),
            "≤ 5",
            small.requests <= 5,
        ),
        Figure::plain("(d) sweep of 5,000: peak memory, CPU", format!("{:.0} MB, {:.1} s", small.memory, small.cpu)),
        Figure::plain("(d) sweep of 100,000: HTTP requests", format!("{}, in {:.1} s", large.requests, large.seconds)),
        Figure::held(
            "(d) sweep of 100,000: peak memory",
            format!("{:.0} MB", large.memory),
            "< 400 MB",
            large.memory < 400.0,
        ),
        Figure::plain(
            "(d) sweep of 100,000: CPU of the worker, of RabbitMQ",
            format!("{:.1} s, {:.1} s", large.cpu, large.broker_cpu),
        ),
    ]
}

struct Sweep {
    requests: u64,
    seconds: f64,
    memory: f64,
    cpu: f64,
    broker_cpu: f64,
}

/// Fills the sent queue up to `to` records and lets a fresh worker, with the default limits, sweep them once.
fn sweep(sandbox: &Sandbox, queues: &Queues, from: usize, to: usize) -> Sweep {
    progress(&format!("sweep: making {to} records"));
    for start in (from..to).step_by(10_000) {
        let messages: Vec<String> =
            (start..to.min(start + 10_000)).map(|n| create::message(&format!("sweep-{n}"))).collect();
        queues.publish_tasks(&messages);
    }
    let filling = [("BITRIX_RATE", "0"), ("HEARTBEAT_INTERVAL", "3600"), ("LOG_LEVEL", "WARNING"), ("PREFETCH", "500")];
    let worker = Worker::start(queues, &sandbox.webhook_url(), &filling);
    eventually("all records", DEADLINE, || sandbox.counts().syncs as usize >= to && queues.count(&queues.sent()) == to);
    drop(worker);
    eventually("all records at rest", DEADLINE, || queues.count(&queues.sent()) == to);
    progress(&format!("sweep: {to} records"));
    let before = sandbox.counts().requests;
    let (started, broker_cpu) = (Instant::now(), machine::broker_cpu());
    let worker =
        Worker::start(queues, &sandbox.webhook_url(), &[("HEARTBEAT_INTERVAL", "3600"), ("LOG_LEVEL", "DEBUG")]);
    worker.await_log("swept", DEADLINE);
    let seconds = started.elapsed().as_secs_f64();
    let (memory, cpu) = (machine::peak_memory_mb(worker.pid()), machine::cpu(worker.pid()).as_secs_f64());
    eventually("every record back in the queue", DEADLINE, || queues.count(&queues.sent()) == to);
    let broker_cpu = machine::broker_cpu().saturating_sub(broker_cpu).as_secs_f64();
    Sweep { requests: sandbox.counts().requests - before, seconds, memory, cpu, broker_cpu }
}
