//! A refusal of a whole batch or of a look-up decides about no message; and one odd message stops no lane.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::*;
use amiquip::{AmqpProperties, AmqpValue, FieldTable};
use serde_json::{Value, json};

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

/// Eight messages in one batch, at a portal that refuses batches with this reply.
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

/// A failed look-up means "not known yet" and is tried again.
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

/// The audit's rule 3: a task that is parked as failed is not at the target. Here the last attempt had an unknown
/// outcome.
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
    Audit::take(&queues, tasks.markers()).assert_holds();
}

/// With the headers that the lane adds they would exceed a frame, and RabbitMQ would close the connection each time.
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

#[test]
fn a_refused_command_says_which_method_was_refused() {
    let queues = Queues::new("which method");
    let tasks = Tasks::new();
    let gate = Gate::closed();
    let portal = {
        let (tasks, gate) = (tasks.clone(), gate.clone());
        Portal::start(move |call| {
            if call.method == "tasks.task.list" && call.nth == 1 {
                gate.wait();
            }
            let refused = call.params["fields"][MARKER].as_str().is_some_and(|id| id.starts_with("refused"));
            if refused { Answer::refused(400, "ERROR_CORE", "нет") } else { tasks.answer(call) }
        })
    };
    let worker = start(&queues, &portal, &[]);
    queues.publish_task(&message("opener"));
    gate.await_waiting(1, PATIENCE);
    queues.publish_tasks(&["refused-1", "refused-2"].map(message));
    queues.await_count(&queues.input(), 0, PATIENCE);
    gate.open();
    queues.await_count(&queues.errors(), 2, PATIENCE);
    for parked in queues.peek_all(&queues.errors()) {
        let error = parked.json()["error_message"].to_string();
        assert!(error.contains("tasks.task.add"), "{error}");
    }
    drop(worker);
}

#[test]
fn a_message_that_used_up_its_attempts_says_what_the_portal_answered() {
    let queues = Queues::new("reason");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| match call.method.as_str() {
            "tasks.task.add" => Answer::refused(500, "INTERNAL_SERVER_ERROR", "Диск полон"),
            _ => tasks.answer(call),
        })
    };
    queues.publish_task(&message("task-1"));
    let worker = start(&queues, &portal, &[("RETRY_ATTEMPTS", "2")]);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    let error = queues.peek_all(&queues.errors())[0].json()["error_message"].to_string();
    assert!(error.contains("Диск полон") && error.contains("2 times"), "{error}");
    drop(worker);
}

#[test]
fn a_method_whose_time_is_used_up_rests_until_the_time_of_its_last_success() {
    let queues = Queues::new("operating time");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| match (call.method.as_str(), call.nth) {
            ("tasks.task.add", 1) => {
                let Answer::Done(result) = tasks.answer(call) else { unreachable!("the first create succeeds") };
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
                Answer::Http(Reply::Json(200, json!({"result": result, "time": {"operating_reset_at": now + 295}})))
            }
            ("tasks.task.add", _) => Answer::refused(429, "OPERATION_TIME_LIMIT", ""),
            _ => tasks.answer(call),
        })
    };
    let worker = start(&queues, &portal, &[]);
    queues.publish_task(&message("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    queues.publish_task(&message("task-2"));
    worker.await_log("pausing, messages stay in their queue; trying again in 29", PATIENCE);
    assert_eq!(portal.count("tasks.task.add"), 2);
    drop(worker);
}
