//! Creating: at a target that answers at once, at a slow one, and at a rate-limited one.

use std::time::{Duration, Instant};

use task_creator::sandbox::{Counts, Forgetful, Limits, Sandbox};

use crate::support::{Queues, Worker, eventually};
use crate::{Figure, floor, machine, progress};

/// The worker's default; the floor has the same.
const DEFAULT_PREFETCH: u16 = 256;
/// No case takes longer.
const DEADLINE: Duration = Duration::from_secs(300);

/// (a) A target that answers at once, against the floor.
pub fn at_once() -> Vec<Figure> {
    const COUNT: usize = 40_000;
    progress("create: floor");
    let queues = with_backlog("bench floor", COUNT);
    let floor = COUNT as f64 / floor::run(&queues, COUNT, DEFAULT_PREFETCH).as_secs_f64();
    progress("create: worker");
    let target = Forgetful::start(0).expect("a free port");
    let settings = [("BITRIX_RATE", "0")];
    let run = Run::of(&target.webhook_url(), &settings, COUNT, || target.counts().requests, || target.counts().syncs);
    let (rate, cpu) = (run.rate(), run.cpu.as_secs_f64() * 1000.0 / COUNT as f64);
    vec![
        Figure::plain("(a) floor: consume, publish with confirm, ack", format!("{floor:.0}/s")),
        Figure::held(
            "(a) tasks created, target at once",
            format!("{rate:.0}/s = {:.2} of the floor", rate / floor),
            "≥ 0.6",
            rate >= 0.6 * floor,
        ),
        Figure::held("(a) CPU of the worker per 1,000 tasks", format!("{cpu:.2} s"), "≤ 0.15 s", cpu <= 0.15),
        Figure::plain("(a) HTTP requests per task", format!("{:.3}", target.counts().requests as f64 / COUNT as f64)),
    ]
}

/// (b) 50 ms a request, 20 ms for each further command.
pub fn slow() -> Vec<Figure> {
    const COUNT: usize = 20_000;
    progress("slow");
    let (rate, per_task) = at_slow_portal(COUNT, 0, &[]);
    vec![
        Figure::held(
            "(b) 50 ms a request + 20 ms a command, default settings",
            format!("{rate:.0}/s"),
            "≥ 800/s",
            rate >= 800.0,
        ),
        Figure::plain("(b) HTTP requests per task", format!("{per_task:.1}")),
    ]
}

/// (g) The same portal, but each request beyond 8 at once slows all of them down, so that 16 do half as much as 8: with
/// fixed numbers of requests, and with the number that the worker finds out.
pub fn strained() -> Vec<Figure> {
    const COUNT: usize = 3_000;
    const FROM: u32 = 8;
    let fixed = ["8", "10", "16"].map(|threads| {
        progress(&format!("strained: {threads} requests"));
        (threads, at_slow_portal(COUNT, FROM, &[("HANDLER_THREADS", threads)]).0)
    });
    progress("strained: as many as are found out");
    let (found, _) = at_slow_portal(COUNT, FROM, &[]);
    let best = fixed.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let told: Vec<String> = fixed.iter().map(|(threads, rate)| format!("{threads}: {rate:.0}/s")).collect();
    vec![
        Figure::plain("(g) slower with more than 8 requests at once; at most", told.join(", ")),
        Figure::held(
            "(g) the same with default settings",
            format!("{found:.0}/s = {:.2} of the best", found / best),
            "≥ 0.9",
            found >= 0.9 * best,
        ),
    ]
}

/// Tasks a second, and HTTP requests for each, at a portal that takes 50 ms a request and 20 ms for each further
/// command.
fn at_slow_portal(count: usize, strain_from: u32, settings: &[(&str, &str)]) -> (f64, f64) {
    let (request_delay, command_delay) = (Duration::from_millis(50), Duration::from_millis(20));
    let limits = Limits { request_delay, command_delay, strain_from, ..Limits::default() };
    let sandbox = Sandbox::start(0, limits).expect("a free port");
    let settings = [&[("BITRIX_RATE", "0")], settings].concat();
    let asked = || sandbox.counts().requests;
    let run = Run::of(&sandbox.webhook_url(), &settings, count, asked, || sandbox.counts().syncs);
    (run.rate(), sandbox.counts().requests as f64 / count as f64)
}

/// (c) 60 s at the cloud's limit: 2 requests a second, burst 50.
pub fn cloud() -> Vec<Figure> {
    const BACKLOG: usize = 5_000;
    let (created, counts) = at_cloud_portal(with_backlog("bench cloud", BACKLOG), |sandbox| sandbox.tasks().len());
    vec![
        Figure::held(
            "(c) 60 s at 2 requests/s, burst 50: tasks created and synced",
            format!("{created} and {}", counts.syncs),
            "≥ 3,900",
            counts.syncs >= 3_900,
        ),
        Figure::held(
            "(c) requests, of these refused",
            format!("{}, {}", counts.requests, counts.refused),
            "0 refused",
            counts.refused == 0,
        ),
    ]
}

/// (c) The same with two checklists of three items for each task.
pub fn cloud_checklists() -> Vec<Figure> {
    const BACKLOG: usize = 1_500;
    /// Two lists and their items.
    const PARTS: usize = 8;
    let list = |name: &str| serde_json::json!({"name": name, "items": ["one", "two", "three"]});
    let checklists = serde_json::json!([list("first"), list("second")]).to_string();
    let queues = Queues::new("bench checklists");
    let messages: Vec<String> = (0..BACKLOG)
        .map(|number| {
            let mut message = crate::support::field_message(&format!("checklists-{number}"));
            message["metadata"]["extensionProperties"]["checklists"] = checklists.clone().into();
            message.to_string()
        })
        .collect();
    queues.publish_tasks(&messages);
    let complete = |sandbox: &Sandbox| sandbox.tasks().iter().filter(|task| task.checklist.len() == PARTS).count();
    let (complete, counts) = at_cloud_portal(queues, complete);
    vec![Figure::held(
        "(c) with two checklists of three items: complete and synced",
        format!("{complete} and {}", counts.syncs),
        "≥ 700",
        complete.min(counts.syncs as usize) >= 700 && counts.refused == 0,
    )]
}

/// What is at the portal after the first minute.
fn at_cloud_portal(queues: Queues, seen: impl Fn(&Sandbox) -> usize) -> (usize, Counts) {
    let sandbox = Sandbox::start(0, Limits::cloud()).expect("a free port");
    let worker = Worker::start(&queues, &sandbox.webhook_url(), &[("HEARTBEAT_INTERVAL", "60")]);
    eventually("the first request", DEADLINE, || sandbox.counts().requests > 0);
    let started = Instant::now();
    let end = crossbeam_channel::after(Duration::from_secs(60));
    while crossbeam_channel::select! { recv(end) -> _ => false, default(Duration::from_secs(2)) => true } {
        progress(&format!("cloud: {:.0} s, {} synced", started.elapsed().as_secs_f64(), sandbox.counts().syncs));
    }
    let (seen, counts) = (seen(&sandbox), sandbox.counts());
    drop(worker);
    (seen, counts)
}

/// One run of the worker over a backlog.
struct Run {
    count: usize,
    took: Duration,
    cpu: Duration,
}

impl Run {
    /// From the first request at the target, of those that `requests` counts, until every message is recorded,
    /// synchronised and acknowledged.
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
        let (started, cpu) = (Instant::now(), machine::cpu(worker.pid()));
        eventually("the last synchronisation", DEADLINE, || synced() as usize >= count);
        let took = started.elapsed();
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
