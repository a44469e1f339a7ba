//! (f) Starting, and doing nothing.

use std::fs;
use std::time::{Duration, Instant};

use task_creator::sandbox::{Limits, Sandbox};

use crate::support::{PATIENCE, Queues, Worker, eventually};
use crate::{Figure, machine, progress};

/// How long the idle worker is watched.
const WATCH: Duration = Duration::from_secs(30);

/// Start to first consume, idle CPU and memory, size of the binary.
pub fn start_and_rest() -> Vec<Figure> {
    let queues = Queues::new("bench idle");
    let sandbox = Sandbox::start(0, Limits::default()).expect("a free port");
    let start = || Worker::start(&queues, &sandbox.webhook_url(), &[("HEARTBEAT_INTERVAL", "60")]);
    progress("idle: starts");
    let mut starts: Vec<f64> = (0..11)
        .map(|_| {
            eventually("nobody reads", PATIENCE, || queues.consumers(&queues.input()) == 0);
            let started = Instant::now();
            let _worker = start();
            // Asking the broker takes a third of a millisecond, so the answer is that exact.
            while queues.consumers(&queues.input()) == 0 {
                assert!(started.elapsed() < PATIENCE, "the worker does not read");
            }
            started.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    starts.sort_by(f64::total_cmp);
    progress("idle: watching for 30 s");
    let worker = start();
    eventually("the worker reads", PATIENCE, || queues.consumers(&queues.input()) > 0);
    let before = machine::cpu(worker.pid());
    let _ = crossbeam_channel::after(WATCH).recv();
    let cpu = 100.0 * (machine::cpu(worker.pid()) - before).as_secs_f64() / WATCH.as_secs_f64();
    let memory = worker.memory_kib() as f64 / 1024.0;
    let size = fs::metadata(env!("CARGO_BIN_EXE_task-creator")).map_or(0.0, |file| file.len() as f64 / 1e6);
    let median = starts[starts.len() / 2];
    vec![
        Figure::held("(f) start to first consume, median of 11", format!("{median:.0} ms"), "< 60 ms", median < 60.0),
        Figure::held("(f) idle CPU over 30 s", format!("{cpu:.2} %"), "< 0.3 %", cpu < 0.3),
        Figure::held("(f) idle memory (RSS)", format!("{memory:.1} MB"), "< 12 MB", memory < 12.0),
        Figure::held("(f) release binary, stripped", format!("{size:.1} MB"), "< 6 MB", size < 6.0),
    ]
}
