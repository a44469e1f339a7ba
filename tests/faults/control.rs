//! The run without a fault. Every test of the matrix waits for a sign that its fault has struck. Here no sign shows, so
//! no test would pass without its fault. The kill tests have control runs of their own.

use crate::support::*;

/// The signs in the log that fault tests wait for.
const SIGNS: [&str; 12] = [
    "no session with RabbitMQ",
    "pausing, messages stay in their queue",
    "RabbitMQ takes no messages for now",
    "does not take messages",
    "trying again in",
    "delivered before and not found",
    "although finished",
    "answered before",
    "parking in",
    "sweep ended early",
    "panicked",
    "unsettled task(s)",
];

#[test]
fn without_a_fault_there_is_no_sign_of_one() {
    const TASKS: usize = 20;
    let queues = Queues::new("control");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let changes = [("HEARTBEAT_INTERVAL", "0.5"), ("BITRIX_RATE", "0")];
    let mut worker = Worker::start(&queues, &portal.webhook(), &changes);
    let names: Vec<String> = (0..TASKS).map(|number| format!("task-{number}")).collect();
    queues.publish_tasks(&names.iter().map(|name| field_text(name)).collect::<Vec<_>>());
    eventually("every task", PATIENCE, || tasks.markers().len() == TASKS);
    names.iter().for_each(|name| {
        tasks.set(name, "UF_RESULT_ANSWER", serde_json::json!("26"));
        tasks.set_status(name, 5);
    });
    queues.await_count(&queues.responses(), TASKS, PATIENCE);
    worker.stop();

    let log = worker.log();
    for sign in SIGNS {
        assert!(!log.contains(sign), "{sign}:\n{log}");
    }
    let complaints: Vec<&str> =
        log.lines().filter(|line| [" WARN ", " ERROR "].iter().any(|level| line.contains(level))).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    for count in ["returned=0", "parked=0", "duplicates_prevented=0", "failed_messages=0", "failed_checks=0"] {
        assert!(log.lines().rev().any(|line| line.contains(count)), "{count}");
    }
    for name in &names {
        let calls = (portal.count_of(|call| looks_up(call, name)), portal.count_of(|call| creates(call, name)));
        assert_eq!(calls, (1, 1), "{name}");
    }
    Audit::take(&queues, tasks.markers()).with_finished(tasks.finished()).assert_holds();
}
