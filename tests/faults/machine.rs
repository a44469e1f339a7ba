//! The worker and its machine: the worker is frozen or signalled at any moment, lacks descriptors, memory or room for
//! its logs, or gets messages with the times of another clock.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amiquip::{AmqpValue, FieldTable};

use crate::support::*;

const QUICK: [(&str, &str); 4] =
    [("BITRIX_RATE", "0"), ("BITRIX_REQUEST_TIMEOUT", "1"), ("RETRY_DELAY", "0.2"), ("HEARTBEAT_INTERVAL", "0.5")];

fn start(queues: &Queues, webhook: &str, changes: &[(&str, &str)]) -> Worker {
    Worker::start(queues, webhook, &[&QUICK[..], changes].concat())
}

fn publish(queues: &Queues, count: usize) {
    let messages: Vec<_> = (0..count).map(|number| seed_message(&format!("task-{number}"))).collect();
    queues.publish_tasks(&messages);
}

#[test]
fn a_worker_that_was_frozen_until_the_broker_gave_it_up_creates_once() {
    let queues = Queues::new("frozen worker");
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::start({
        let (tasks, gate) = (tasks.clone(), gate.clone());
        move |call| {
            if creates(call, "task-0") {
                gate.wait();
            }
            tasks.answer(call)
        }
    });
    let patient = [("RABBITMQ_HEARTBEAT", "1"), ("BITRIX_REQUEST_TIMEOUT", "60")];
    let mut worker = start(&queues, &portal.webhook(), &patient);
    publish(&queues, 1);
    gate.await_waiting(1, PATIENCE);
    worker.signal("STOP");
    // The broker has requeued the message.
    queues.await_consumers(&queues.input(), 0, PATIENCE);
    queues.await_count(&queues.input(), 1, PATIENCE);
    gate.open();
    worker.signal("CONT");
    eventually("a record", PATIENCE, || queues.count(&queues.sent()) > 0);
    queues.await_count(&queues.input(), 0, PATIENCE);
    worker.stop();
    assert!(worker.log().contains("no session with RabbitMQ"));
    assert_eq!(portal.count_of(|call| looks_up(call, "task-0")), 1);
    // The broker may give up the publishing connection a moment later; then the confirm of its last record is lost.
    Audit::take(&queues, tasks.markers()).after_faults(1).assert_holds();
}

#[test]
fn signals_at_any_moment_lose_and_double_nothing() {
    const ROUNDS: usize = 16;
    let queues = Queues::new("signals");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    for round in 0..ROUNDS {
        let messages = (0..4).map(|number| seed_message(&format!("task-{round}-{number}")));
        let requests = portal.requests().len();
        queues.publish_tasks(&messages.collect::<Vec<_>>());
        // Another moment each time: in the look-up, the create, the follow-up, a sweep, or after them.
        eventually("some requests", PATIENCE, || portal.requests().len() > requests + round / 2);
        worker.signal("HUP");
        worker.signal("PIPE");
        worker.signal(if round % 2 == 0 { "TERM" } else { "INT" });
        if round % 4 == 1 {
            worker.signal("INT");
        }
        let code = worker.wait(PATIENCE).code();
        // 130: the second signal came before the end.
        assert!(code == Some(0) || round % 4 == 1 && code == Some(130), "{code:?}");
        worker.start_again();
    }
    let sent = queues.sent();
    eventually("every record", PATIENCE, || {
        tasks.markers().len() == 4 * ROUNDS && queues.count(&queues.input()) + queues.count(&queues.retry()) == 0
    });
    tasks.markers().iter().for_each(|marker| tasks.set_status(marker, 5));
    eventually("every answer", PATIENCE, || {
        queues.count(&queues.responses()) >= 4 * ROUNDS && queues.count(&sent) == 0
    });
    worker.stop();
    Audit::take(&queues, tasks.markers()).after_faults(4 * ROUNDS).with_finished(tasks.finished()).assert_holds();
}

#[test]
fn a_signal_before_the_first_session_ends_the_worker_at_once() {
    let queues = Queues::new("signal at the start");
    let portal = Portal::of(&Tasks::new());
    for signal in ["TERM", "INT"] {
        let mut worker = start(&queues, &portal.webhook(), &[("RABBITMQ_HOST", "192.0.2.1")]);
        worker.await_log("starts", PATIENCE);
        worker.signal(signal);
        assert_eq!(worker.wait(Duration::from_secs(15)).code(), Some(0));
    }
}

/// Fifty messages under these limits, and what the log says.
fn assert_works_under(line: &str) {
    let queues = Queues::new("limited");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let settings = [worker::settings(&queues, &portal.webhook()), own(&QUICK)].concat();
    let mut worker = Worker::run_under(line, &settings);
    publish(&queues, 50);
    queues.await_count(&queues.sent(), 50, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

fn own(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn forty_descriptors_are_enough() {
    assert_works_under("ulimit -n 40; exec \"$0\"");
}

/// The limit is on addresses, not on memory: the system's allocator reserves 64 MiB of addresses for each thread. When
/// none are left the process aborts, which is a kill like any other.
#[test]
fn two_gigabytes_of_addresses_are_enough() {
    assert_works_under("ulimit -v 2097152; exec \"$0\"");
}

#[test]
fn too_few_descriptors_are_logged_and_waited_for() {
    let queues = Queues::new("no descriptors");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let settings = [worker::settings(&queues, &portal.webhook()), own(&QUICK)].concat();
    publish(&queues, 1);
    let mut worker = Worker::run_under("ulimit -n 9; exec \"$0\"", &settings);
    worker.await_log("no session with RabbitMQ", PATIENCE);
    worker.stop();
    assert!(!worker.log().contains("panicked"), "{}", worker.log());
    queues.await_count(&queues.input(), 1, PATIENCE);
}

#[test]
fn a_full_disk_under_the_logs_costs_lines_only() {
    let full = "mkdir logs; for log in worker worker_errors; do ln -s /dev/full logs/$log.log; done; exec \"$0\"";
    assert_works_under(full);
}

#[test]
fn logs_that_somebody_deletes_cost_lines_only() {
    let queues = Queues::new("logs deleted");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.await_consumers(&queues.retry(), 1, PATIENCE);
    fs::remove_dir_all(worker.folder().join("logs")).expect("the logs are ours");
    publish(&queues, 3);
    queues.await_count(&queues.sent(), 3, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_message_retried_under_another_clock_does_not_wait_for_it() {
    let queues = Queues::new("another clock");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    queues.declare(&queues.retry());
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let at = an_hour_ago.duration_since(UNIX_EPOCH).expect("it is past 1970").as_millis();
    let at = i64::try_from(at).expect("it is not the end of time");
    let headers = [("x-attempts", AmqpValue::LongInt(1)), ("x-retry-at", AmqpValue::LongLongInt(at))];
    let headers: FieldTable = headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    queues.publish(&queues.retry(), field_text("task-0"), headers);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(tasks.markers(), ["task-0"]);
}
