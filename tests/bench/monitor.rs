//! (j) The monitor: what it costs an idle worker, and how soon it shows 10,000 parked messages.

use std::time::{Duration, Instant};

use amiquip::FieldTable;
use crossbeam_channel::{after, tick};
use serde_json::json;
use task_creator::sandbox::{Limits, Sandbox};

use crate::support::api::Api;
use crate::support::{PATIENCE, Queues, Worker, eventually, field_text};
use crate::{Figure, machine, progress};

/// How long the idle worker is watched.
const WATCH: Duration = Duration::from_secs(30);
/// As the page does.
const POLL: Duration = Duration::from_secs(5);
const PARKED: usize = 10_000;

/// An idle worker with the monitor on that nobody asks, and one whose page is open.
pub fn cost_and_parked() -> Vec<Figure> {
    let queues = Queues::new("bench monitor");
    let sandbox = Sandbox::start(0, Limits::default()).expect("a free port");
    let api = Api::anywhere();
    let settings = [&[("HEARTBEAT_INTERVAL", "60")], &api.settings()[..]].concat();
    let worker = Worker::start(&queues, &sandbox.webhook_url(), &settings);
    eventually("it is ready", PATIENCE, || api.get("/readyz").is_ok_and(|answer| answer.status == 200));
    progress("monitor: nobody asks, 30 s");
    let alone = rest(&worker, || drop(after(WATCH).recv()));
    progress("monitor: the page is open, 30 s");
    let polls = tick(POLL);
    let asked = rest(&worker, || {
        let started = Instant::now();
        while started.elapsed() < WATCH {
            let _ = polls.recv();
            assert_eq!(api.get("/api/v1/status").map(|answer| answer.status).ok(), Some(200));
        }
    });
    let memory = worker.memory_kib() as f64 / 1024.0;
    let cpu = |what: &str, share: f64| Figure::held(what, format!("{share:.2} %"), "< 0.3 %", share < 0.3);
    let mut figures = vec![
        cpu("(j) idle CPU over 30 s, monitor on, nobody asks", alone),
        cpu("(j) the same, the page is open (a poll every 5 s)", asked),
        Figure::held(
            "(j) idle memory (RSS), monitor on and asked",
            format!("{memory:.1} MB"),
            "< 12 MB",
            memory < 12.0,
        ),
    ];
    figures.extend(parked(&queues, &api));
    figures
}

/// The share of a core that the worker uses meanwhile, in percent.
fn rest(worker: &Worker, meanwhile: impl FnOnce()) -> f64 {
    let (before, started) = (machine::cpu(worker.pid()), Instant::now());
    meanwhile();
    100.0 * (machine::cpu(worker.pid()) - before).as_secs_f64() / started.elapsed().as_secs_f64()
}

fn parked(queues: &Queues, api: &Api) -> Vec<Figure> {
    progress(&format!("monitor: {PARKED} parked messages"));
    queues.declare(&queues.errors());
    for number in 0..PARKED {
        let original = field_text(&format!("parked-{number}"));
        let original: serde_json::Value = serde_json::from_str(&original).expect("a message");
        let body = json!({
            "timestamp": 1_764_000_000_000_u64 + number as u64,
            "original_message": original,
            "error_type": if number % 10 == 0 { "RETRY_LIMIT_EXCEEDED" } else { "REQUEST_ERROR" },
            "error_message": "http status 400: the responsible person does not exist",
            "system": "bitrix24",
            "source_queue": queues.input(),
            "requires_manual_intervention": true,
            "suggested_action": "correct what the target objects to",
            "attempts": 1,
        });
        queues.publish(&queues.errors(), body.to_string(), FieldTable::new());
    }
    queues.await_count(&queues.errors(), PARKED, Duration::from_secs(120));
    let timed = |path: &str| {
        let started = Instant::now();
        let answer = api.get(path).expect("the worker answers");
        assert_eq!(answer.status, 200, "{}", answer.body);
        (started.elapsed().as_secs_f64(), answer.json())
    };
    let (causes, groups) = timed("/api/v1/parked/causes");
    assert_eq!(groups["total"], PARKED);
    let (list, page) = timed("/api/v1/parked?limit=50");
    assert_eq!((page["total"].as_u64(), page["items"].as_array().map(Vec::len)), (Some(PARKED as u64), Some(50)));
    let figure = |what, seconds: f64| Figure::held(what, format!("{seconds:.2} s"), "< 1 s", seconds < 1.0);
    vec![
        figure("(j) 10,000 parked messages: by cause", causes),
        figure("(j) 10,000 parked messages: the first list", list),
    ]
}
