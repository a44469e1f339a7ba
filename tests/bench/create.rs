//! Creating: at a target that answers at once, at a slow one, and at a rate-limited one.

use std::time::{Duration, Instant};

use task_creator::sandbox::{Forgetful, Limits, Sandbox};

use crate::support::{Queues, Worker, eventually};
use crate::{Figure, floor, machine, progress};

/// No case takes longer.
const DEADLINE: Duration = Duration::from_secs(300);

/// (a) A target that answers at once, against the floor.
pub fn at_once() -> Vec<Figure> {
    const COUNT: usize = 40_000;
    const PREFETCH: u16 = 100;
    progress("create: floor");
    let queues = with_backlog("bench floor", COUNT);
    let floor = COUNT as f64 / floor::run(&queues, COUNT, PREFETCH).as_secs_f64();
    progress("create: worker");
    let target = Forgetful::start(0).expect("a free port");
    let settings = [("BITRIX_RATE", "0"), ("PREFETCH", &PREFETCH.to_string())];
    let run = Run::of(&target.webhook_url(), &settings, COUNT, || target.counts().requests, || target.counts().syncs);
    let (rate, cpu) = (run.rate(), run.cpu.as_secs_f64() * 1000.0 / COUNT as f64);
    vec![
        Figure::plain("(a) floor: consume, publish with confirm, ack", format!("{floor:.0}/s")),
        Figure::held(
            "(a) tasks created, target at once",
            format!("{rate:.0}/s = {:.2} of the floor", rate / floor),
            "≥ 0.7",
            rate >= 0.7 * floor,
        ),
        Figure::held("(a) CPU of the worker per 1,000 tasks", format!("{cpu:.2} s"), "≤ 0.25 s", cpu <= 0.25),
        Figure::plain("(a) HTTP requests per task", format!("{:.3}", target.counts().requests as f64 / COUNT as f64)),
    ]
}

/// (b) 50 ms a request, 20 ms for each further command, 16 connections.
pub fn slow() -> Vec<Figure> {
    const COUNT: usize = 12_000;
    const THREADS: u32 = 16;
    let (request, command) = (Duration::from_millis(50), Duration::from_millis(20));
    let limits = Limits { request_delay: request, command_delay: command, ..Limits::default() };
    let sandbox = Sandbox::start(0, limits).expect("a free port");
    progress("slow");
    let settings = [("BITRIX_RATE", "0")];
    let asked = || sandbox.counts().requests;
    let run = Run::of(&sandbox.webhook_url(), &settings, COUNT, asked, || sandbox.counts().syncs);
    let counts = sandbox.counts();
    let commands: u64 = counts.calls.iter().filter(|(method, _)| *method != "batch").map(|(_, count)| count).sum();
    // Every request costs 50 ms, and every call beyond the first of its request 20 ms more.
    let busy = request * counts.requests as u32 + command * commands.saturating_sub(counts.requests) as u32;
    let capacity = COUNT as f64 / (busy / THREADS).as_secs_f64();
    let share = run.rate() / capacity;
    vec![
        Figure::held(
            "(b) 50 ms a request + 20 ms a command, 16 threads",
            format!("{:.0}/s = {share:.2} of {capacity:.0}/s that 16 connections carry", run.rate()),
            "≥ 0.8",
            share >= 0.8,
        ),
        Figure::plain(
            "(b) plain calls side by side would carry",
            format!("{:.0}/s", f64::from(THREADS) / (0.05 * 3.0)),
        ),
        Figure::plain("(b) calls in a request", format!("{:.1}", commands as f64 / counts.requests as f64)),
    ]
}

/// (c) 60 s at the cloud's limit: 2 requests a second, burst 50.
pub fn cloud() -> Vec<Figure> {
    const BACKLOG: usize = 4_000;
    let queues = with_backlog("bench cloud", BACKLOG);
    let sandbox = Sandbox::start(0, Limits::cloud()).expect("a free port");
    let worker = Worker::start(&queues, &sandbox.webhook_url(), &[("HEARTBEAT_INTERVAL", "60")]);
    eventually("the first request", DEADLINE, || sandbox.counts().requests > 0);
    let begun = Instant::now();
    let end = crossbeam_channel::after(Duration::from_secs(60));
    while crossbeam_channel::select! { recv(end) -> _ => false, default(Duration::from_secs(2)) => true } {
        progress(&format!("cloud: {:.0} s, {} synced", begun.elapsed().as_secs_f64(), sandbox.counts().syncs));
    }
    let (created, counts) = (sandbox.tasks().len(), sandbox.counts());
    drop(worker);
    vec![
        Figure::held(
            "(c) 60 s at 2 requests/s, burst 50: tasks created and synced",
            format!("{created} and {}", counts.syncs),
            "≥ 2,500",
            counts.syncs >= 2_500,
        ),
        Figure::held(
            "(c) requests, of these refused",
            format!("{}, {}", counts.requests, counts.refused),
            "0 refused",
            counts.refused == 0,
        ),
    ]
}

/// One run of the worker over a backlog.
struct Run {
    count: usize,
    took: Duration,
    cpu: Duration,
}

impl Run {
    /// From the first request at the target, of those that `requests` counts, until every message is recorded, synchronised
    /// and acknowledged.
    fn of(
        webhook: &str,
        settings: &[(&str, &str)],
        count: usize,
        requests: impl Fn() -> u64,
        synced: impl Fn() -> u64,
    ) -> Run {
        let queues = with_backlog("bench create", count);
        let settings = [&[("HEARTBEAT_INTERVAL", "3600")], settings].concat();
        let worker = Worker::start(&queues, webhook, &settings);
        eventually("the first request", DEADLINE, || requests() > 0);
        let (begun, cpu) = (Instant::now(), machine::cpu(worker.pid()));
        eventually("the last synchronisation", DEADLINE, || synced() as usize >= count);
        let took = begun.elapsed();
        let cpu = machine::cpu(worker.pid()).saturating_sub(cpu);
        assert_eq!(queues.count(&queues.sent()), count, "records");
        Run { count, took, cpu }
    }

    fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }
}

/// Queues with `count` different messages waiting.
pub fn with_backlog(name: &str, count: usize) -> Queues {
    let queues = Queues::new(name);
    let messages: Vec<String> = (0..count).map(|number| message(&format!("{name}-{number}"))).collect();
    queues.publish_tasks(&messages);
    queues
}

/// A message of the field form and an ordinary size, without checklists, so that every task costs three calls.
pub fn message(id: &str) -> String {
    let mut message = crate::support::field_message(id);
    message["metadata"]["extensionProperties"]["checklists"] = serde_json::Value::Null;
    message.to_string()
}
