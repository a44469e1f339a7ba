//! A refusal that concerns many messages, or a single look, decides about no message; and one odd message stops no lane.

mod support;

use amiquip::{AmqpProperties, AmqpValue, FieldTable};
use serde_json::{Value, json};
use support::*;

const MARKER: &str = "UF_CAMUNDA_ID_EXTERNAL_TASK";

fn start(queues: &Queues, portal: &Portal, changes: &[(&str, &str)]) -> Worker {
    let quick = [
        ("RETRY_DELAY", "0.1"),
        ("BITRIX_RATE", "0"),
        ("BITRIX_REQUEST_TIMEOUT", "0.5"),
        ("HEARTBEAT_INTERVAL", "60"),
        ("HANDLER_THREADS", "1"),
    ];
    Worker::start(queues, &portal.webhook(), &[&quick, changes].concat())
}

fn message(id: &str) -> Value {
    json!({"task_id": id})
}

/// Eight messages in one batch at a portal that refuses batches so.
fn a_refused_batch(refusal: Reply) {
    let queues = Queues::new("refused batch");
    let tasks = Tasks::new();
    let gate = Gate::closed();
    let portal = {
        let (tasks, gate) = (tasks.clone(), gate.clone());
        let door = move |request: &Request| (request.method == "batch").then(|| refusal.clone());
        Portal::behind(door, move |call| {
            if call.method == "tasks.task.list" && call.nth == 1 {
                gate.wait();
            }
            tasks.answer(call)
        })
    };
    let worker = start(&queues, &portal, &[]);
    queues.publish_task(&message("opener"));
    gate.await_waiting(1, PATIENCE);
    queues.publish_tasks(&(0..8).map(|number| message(&format!("task-{number}"))).collect::<Vec<Value>>());
    queues.await_count(&queues.input(), 0, PATIENCE);
    gate.open();
    eventually("all tasks", PATIENCE, || tasks.markers().len() == 9 || queues.count(&queues.errors()) > 0);
    assert_eq!(queues.count(&queues.errors()), 0, "a refused batch says nothing about a single message");
    drop(worker);
}

#[test]
fn a_batch_that_is_too_large_for_the_portal_parks_nothing() {
    a_refused_batch(Reply::html(413, "<html>Request Entity Too Large</html>"));
}

#[test]
fn a_batch_that_the_portal_refuses_parks_nothing() {
    a_refused_batch(Reply::Json(400, json!({"error": "ERROR_BATCH_LENGTH_EXCEEDED", "error_description": "Max"})));
}

/// A look-up that fails counts as "not known yet" and is tried again.
#[test]
fn a_refused_look_up_does_not_park_the_message() {
    let queues = Queues::new("refused look-up");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| match (call.method.as_str(), call.nth) {
            ("tasks.task.list", 2) => Answer::refused(400, "ERROR_CORE", "нет"),
            _ => tasks.answer(call),
        })
    };
    queues.publish_task(&message("task-1"));
    let worker = start(&queues, &portal, &[]);
    eventually("the end", PATIENCE, || tasks.markers().len() == 1 || queues.count(&queues.errors()) > 0);
    assert_eq!(queues.count(&queues.errors()), 0);
    drop(worker);
}

/// MySQL compares without regard to case. One such message must not stop the lane.
#[test]
fn a_marker_that_differs_in_case_only_does_not_stop_the_lane() {
    let queues = Queues::new("case");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| {
            if call.method == "tasks.task.list" && call.params["filter"][MARKER] == "TASK-1" {
                let mut call = call.clone();
                call.params["filter"][MARKER] = "task-1".into();
                return tasks.answer(&call);
            }
            tasks.answer(call)
        })
    };
    let worker = start(&queues, &portal, &[]);
    for id in ["task-1", "TASK-1", "task-2"] {
        queues.publish_task(&message(id));
    }
    eventually("the last one", PATIENCE, || tasks.ids_of("task-2").len() == 1);
    drop(worker);
}

/// The oracle's rule 3: what is parked as failed is not at the target. The last attempt had an unknown outcome.
#[test]
fn a_message_whose_last_create_was_executed_is_not_parked_as_failed() {
    let queues = Queues::new("last attempt");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| match call.method.as_str() {
            "tasks.task.add" => {
                let _ = tasks.answer(call);
                Answer::refused(500, "INTERNAL_SERVER_ERROR", "")
            }
            _ => tasks.answer(call),
        })
    };
    queues.publish_task(&message("task-1"));
    let mut worker = start(&queues, &portal, &[("RETRY_ATTEMPTS", "1")]);
    eventually("the end", PATIENCE, || queues.count(&queues.sent()) + queues.count(&queues.errors()) == 1);
    worker.signal("INT");
    worker.wait(PATIENCE);
    Account::take(&queues, tasks.markers()).assert_holds();
}

/// What the lane adds would bring the headers over the size of a frame, and RabbitMQ would
/// close the connection each time.
#[test]
fn a_message_with_the_largest_headers_uses_up_its_attempts() {
    let queues = Queues::new("large headers");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| match call.params["fields"][MARKER].as_str() {
            Some("headers") => Answer::refused(500, "INTERNAL_SERVER_ERROR", ""),
            _ => tasks.answer(call),
        })
    };
    let worker = start(&queues, &portal, &[]);
    let headers = FieldTable::from([("h".to_owned(), AmqpValue::LongString("x".repeat(131_000)))]);
    let properties = AmqpProperties::default().with_headers(headers);
    queues.publish_with(&queues.input(), message("headers").to_string(), properties);
    eventually("it is parked", PATIENCE, || queues.count(&queues.errors()) == 1);
    assert!(!worker.log().contains("no session with RabbitMQ"));
    drop(worker);
}
