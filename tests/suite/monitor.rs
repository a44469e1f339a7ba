//! The monitor of a running worker, for an operator and for clients that mean harm: whatever they do, a good client is
//! answered within a moment, and no lane notices.
//!
//! `src/monitor/tests.rs` walks all routes; this is about the wire, and about what outlives a request.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::{Answered, Api, CONTROL_TOKEN, READ_TOKEN};
use crate::support::*;

/// A good client has its answer within this, with whatever others do.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A worker with a monitor, and what it works with.
struct Stage {
    queues: Queues,
    _portal: Portal,
    worker: Worker,
    api: Api,
}

impl Stage {
    fn open(test: &str, changes: &[(&str, &str)]) -> Stage {
        let (queues, api) = (Queues::new(test), Api::anywhere());
        let portal = Portal::of(&Tasks::new());
        let worker = Worker::start(&queues, &portal.webhook(), &[&api.settings()[..], changes].concat());
        queues.await_consumers(&queues.input(), 1, PATIENCE);
        Stage { queues, _portal: portal, worker, api }
    }

    /// The answer to a good client, who tries again when it is turned away.
    #[track_caller]
    fn served(&self, path: &str) -> Answered {
        eventually_ok("an answer", AT_ONCE, || match self.api.get(path) {
            Ok(answered) if answered.status == 200 => Ok(answered),
            Ok(answered) => Err(format!("{answered:?}")),
            Err(err) => Err(err.to_string()),
        })
    }

    fn events(&self) -> Vec<Value> {
        self.served("/api/v1/events?limit=200").json()["events"].as_array().expect("a list").clone()
    }

    /// A task goes through while all that is going on.
    #[track_caller]
    fn assert_works(&self, id: &str) {
        self.queues.publish_task(&field_message(id));
        self.queues.await_count(&self.queues.sent(), 1, AT_ONCE);
    }
}

#[test]
fn the_monitor_is_off_unless_it_is_asked_for() {
    let queues = Queues::new("the monitor is off");
    let portal = Portal::of(&Tasks::new());
    let mut worker = Worker::start(&queues, &portal.webhook(), &[]);
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    worker.stop();
    assert!(!worker.log().contains("monitor at "), "{}", worker.log());
}

#[test]
fn a_port_that_is_taken_ends_the_worker_with_the_setting_s_name() {
    let (queues, api) = (Queues::new("the port is taken"), Api::anywhere());
    let _taken = std::net::TcpListener::bind(&api.address).expect("it was free a moment ago");
    let portal = Portal::of(&Tasks::new());
    let mut worker = Worker::start(&queues, &portal.webhook(), &api.settings());
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    let said = format!("stopped: MONITOR_ADDR: the monitor cannot listen at {}: ", api.address);
    assert!(worker.log().contains(&said), "{}", worker.log());
}

#[test]
fn what_operators_do_and_what_went_wrong_outlives_a_restart() {
    let mut stage = Stage::open("events", &[]);
    let swept = stage.api.ask("POST", "/api/v1/lanes/bitrix24/sweeps", None).expect("an answer");
    assert_eq!((swept.status, swept.json()), (202, json!({ "system": "bitrix24", "asked": true })));
    let done = |events: &[Value]| {
        events.iter().find(|event| event["kind"] == "operator").cloned().expect("the action is an event")
    };
    let event = done(&stage.events());
    assert_eq!((&event["by"], &event["system"]), (&json!("control"), &json!("bitrix24")), "{event}");
    // A message that cannot be read is parked with a warning or an error.
    stage.queues.publish(&stage.queues.input(), "no JSON", Default::default());
    stage.queues.await_count(&stage.queues.errors(), 1, PATIENCE);
    let log_events = |stage: &Stage| stage.events().iter().filter(|event| event["kind"] == "log").count();
    eventually("the log line is an event", AT_ONCE, || log_events(&stage) > 0);
    let before = log_events(&stage);
    stage.worker.stop();
    stage.worker.start_again();
    eventually("the monitor is back", PATIENCE, || stage.api.get("/livez").is_ok());
    assert_eq!(done(&stage.events())["by"], "control");
    assert!(log_events(&stage) >= before, "{:?}", stage.events());
}

#[test]
fn the_log_level_changes_for_a_time_and_comes_back_by_itself() {
    let stage = Stage::open("log level", &[]);
    let order = json!({ "level": "DEBUG", "for_seconds": 2 });
    let changed = stage.api.ask("PUT", "/api/v1/log-level", Some(&order)).expect("an answer");
    assert_eq!((changed.status, &changed.json()["level"]), (200, &json!("DEBUG")), "{changed:?}");
    stage.worker.await_log(" DEBUG ", PATIENCE);
    stage.worker.await_log("the log level is INFO again", PATIENCE);
    for wrong in [
        json!({ "level": "TRACE" }),
        json!({ "level": "DEBUG", "for_seconds": 0 }),
        json!({ "level": "DEBUG", "for": 1 }),
        json!({}),
    ] {
        let refused = stage.api.ask("PUT", "/api/v1/log-level", Some(&wrong)).expect("an answer");
        assert_eq!(refused.status, 400, "{wrong}: {refused:?}");
    }
}

#[test]
fn a_log_level_that_hides_nearly_all_ends_by_itself_and_never_hides_what_operators_do() {
    let mut stage = Stage::open("log level error", &[("HEARTBEAT_INTERVAL", "3600")]);
    let order = json!({ "level": "ERROR", "for_seconds": 1 });
    assert_eq!(stage.api.ask("PUT", "/api/v1/log-level", Some(&order)).expect("an answer").status, 200);
    assert_eq!(stage.api.ask("POST", "/api/v1/lanes/bitrix24/sweeps", None).expect("an answer").status, 202);
    stage.worker.await_log("operator (control): the log level is ERROR for 1 s", PATIENCE);
    stage.worker.await_log("operator (control): bitrix24: a sweep is asked for", PATIENCE);
    // Otherwise it would take up to a minute.
    let _ = stage.api.get("/readyz");
    stage.worker.await_log("the log level is INFO again", PATIENCE);
    stage.worker.stop();
}

#[test]
fn the_token_is_in_no_log_and_in_no_answer() {
    let mut stage = Stage::open("token", &[("LOG_LEVEL", "DEBUG")]);
    for target in
        [format!("/api/v1/events?token={READ_TOKEN}"), format!("/{READ_TOKEN}"), format!("/livez?{READ_TOKEN}=1")]
    {
        let answered = stage.api.get(&target).expect("an answer");
        assert!(answered.status >= 400 && !answered.body.contains(READ_TOKEN), "{answered:?}");
    }
    let mut stream = TcpStream::connect(&stage.api.address).expect("it listens");
    stream.write_all(format!("GET /{READ_TOKEN} HTTP/9\r\n\r\n").as_bytes()).expect("it is open");
    drop(stream);
    stage.worker.stop();
    assert!(!stage.worker.log().contains(READ_TOKEN));
}

// Clients that mean harm.

/// Holds a connection with this until it is cut; again and again until `stopped`.
fn hold(api: &Api, beginning: &str, stopped: &std::sync::atomic::AtomicBool) {
    while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(&api.address) else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let mut sent = stream.write_all(beginning.as_bytes());
        while sent.is_ok() && !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            match stream.read(&mut [0; 256]) {
                Ok(0) => break,
                // A byte now and then, so that it looks alive.
                _ => sent = stream.write_all(b"x"),
            }
        }
    }
}

/// Runs `work` while so many clients hold connections in this way.
fn while_held<T>(api: &Api, clients: usize, beginning: &str, work: impl FnOnce() -> T) -> T {
    let stopped = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        (0..clients).for_each(|_| drop(scope.spawn(|| hold(api, beginning, &stopped))));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stopped.store(true, std::sync::atomic::Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
#[ignore = "takes long"]
fn slow_clients_keep_neither_a_good_one_nor_a_lane_waiting() {
    let stage = Stage::open("slow clients", &[]);
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\nX: ", stage.api.address);
    let body =
        format!("PUT /api/v1/log-level HTTP/1.1\r\nHost: {}\r\nContent-Length: 60000\r\n\r\n", stage.api.address);
    for (number, beginning) in ["", "G", &head, &body].into_iter().enumerate() {
        while_held(&stage.api, 24, beginning, || {
            for _ in 0..5 {
                stage.served("/livez");
            }
            stage.queues.publish_task(&field_message(&format!("slow-{number}")));
            stage.queues.await_count(&stage.queues.sent(), number + 1, AT_ONCE);
        });
    }
}

#[test]
fn a_client_that_reads_no_answer_keeps_no_other_waiting() {
    let stage = Stage::open("reads no answer", &[]);
    let requests = format!("GET /words.js HTTP/1.1\r\nHost: {}\r\n\r\n", stage.api.address).repeat(2_000);
    let greedy: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut stream = TcpStream::connect(&stage.api.address).expect("it listens");
            stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
            let _ = stream.write_all(requests.as_bytes());
            stream
        })
        .collect();
    stage.served("/livez");
    stage.assert_works("reads-no-answer");
    drop(greedy);
}

#[test]
fn a_body_of_a_gigabyte_is_refused_before_it_is_read() {
    let stage = Stage::open("a gigabyte", &[]);
    let before = stage.worker.memory_kib();
    let head = |length: &str| {
        format!("PUT /api/v1/log-level HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n", stage.api.address)
    };
    for length in ["1073741824", "65537", "18446744073709551616"] {
        let refused = stage.api.say(head(length).as_bytes()).expect("an answer");
        assert_eq!((refused.status, &refused.json()["type"]), (413, &json!("urn:task-creator:problem:body-too-long")));
    }
    assert!(stage.worker.memory_kib() < before + 4_096, "{} KiB before, {} KiB now", before, stage.worker.memory_kib());
    stage.assert_works("a-gigabyte");
}

#[test]
fn no_request_is_smuggled_into_another() {
    let stage = Stage::open("smuggled", &[]);
    let inner = format!(
        "POST /api/v1/lanes/bitrix24/sweeps HTTP/1.1\r\nHost: {0}\r\nAuthorization: Bearer {1}\r\n\r\n",
        stage.api.address, CONTROL_TOKEN
    );
    for framing in [
        format!("Content-Length: 0\r\nContent-Length: {}\r\n", inner.len()),
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", inner.len()),
        "Transfer-Encoding: chunked\r\n".into(),
        "Transfer-Encoding: identity, chunked\r\n".into(),
        "Content-Length: 0x0\r\n".into(),
        "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n".into(),
    ] {
        let request = format!("POST /livez HTTP/1.1\r\nHost: {}\r\n{framing}\r\n0\r\n\r\n{inner}", stage.api.address);
        let answered = stage.api.say(request.as_bytes()).expect("an answer");
        assert!(matches!(answered.status, 400 | 501), "{framing}: {answered:?}");
        assert!(answered.header("connection") == Some("close") && !answered.body.contains("HTTP/1.1"), "{answered:?}");
        assert!(answered.header("x-content-type-options").is_some(), "{answered:?}");
    }
    assert!(stage.events().iter().all(|event| event["kind"] != "operator"), "{:?}", stage.events());
}

/// Opens so many connections one after the other, each with something else, and reads no answer.
fn flood(stage: &Stage, connections: usize) {
    let before = (stage.worker.threads(), stage.worker.descriptors());
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", stage.api.address);
    for number in 0..connections {
        let mut stream = TcpStream::connect(&stage.api.address).expect("it listens");
        let _ = match number % 4 {
            0 => Ok(()),
            1 => stream.write_all(b"\x16\x03\x01\x02\x00"),
            2 => stream.write_all(&request.as_bytes()[..10]),
            _ => stream.write_all(request.as_bytes()),
        };
    }
    let started = Instant::now();
    stage.served("/livez");
    assert!(started.elapsed() < AT_ONCE);
    stage.assert_works("flood");
    eventually("threads and descriptors are back", PATIENCE, || {
        stage.worker.threads() <= before.0 + 20 && stage.worker.descriptors() <= before.1 + 40
    });
}

#[test]
fn hundreds_of_connections_in_a_row_leave_nothing_behind() {
    flood(&Stage::open("hundreds of connections", &[]), 500);
}

#[test]
#[ignore = "takes half a minute"]
fn ten_thousand_connections_in_a_row_leave_nothing_behind() {
    flood(&Stage::open("ten thousand connections", &[]), 10_000);
}

#[test]
#[ignore = "takes minutes, and schemathesis from PyPI"]
fn schemathesis_finds_nothing() {
    let stage = Stage::open("schemathesis", &[]);
    let url = format!("http://{}", stage.api.address);
    let asked = Command::new("tests/monitor/schemathesis").args([&url, CONTROL_TOKEN, "--max-time", "60"]).status();
    assert!(asked.expect("it is part of the repository").success());
    // It has paused the lane now and then.
    let resumed = stage.api.ask("PUT", "/api/v1/lanes/bitrix24/state", Some(&json!({ "state": "running" })));
    assert_eq!(resumed.expect("an answer").status, 200);
    stage.assert_works("schemathesis");
}
