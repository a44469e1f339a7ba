//! Queues that are full for a while, and messages, records and answers that RabbitMQ refuses for their size: nothing is
//! lost, no other message waits for them, and it is logged once. It knows the outside only.

use std::time::Duration;

use amiquip::{AmqpValue, FieldTable};
use serde_json::{Value, json};

use crate::broker_faults::{Narrow, node};
use crate::links::{relay, start_through};
use crate::records::{close, reopen};
use crate::support::broker::header;
use crate::support::*;
use crate::tracking::RESTLESS;

/// The size limit of the narrow node, in bytes.
const MOST: usize = 100_000;
const QUICK: [(&str, &str); 4] =
    [("BITRIX_REQUEST_TIMEOUT", "2"), ("BITRIX_RATE", "0"), ("HEARTBEAT_INTERVAL", "3600"), ("RETRY_DELAY", "0.2")];
/// A quorum queue may seem empty for a moment after its messages were requeued, so one sweep is not enough.
const SWEEPING: [(&str, &str); 4] =
    [("BITRIX_REQUEST_TIMEOUT", "2"), ("BITRIX_RATE", "0"), ("HEARTBEAT_INTERVAL", "1"), ("RETRY_DELAY", "0.2")];

fn queues_of(node: &Node, test: &str) -> Queues {
    let queues = Queues::through(Broker::connect_to(node.rabbitmq()), test);
    [queues.input(), queues.responses(), queues.errors(), queues.sent()].iter().for_each(|name| queues.declare(name));
    queues
}

/// The message, `bytes` long; `fill` puts a long text into it.
fn of_size(name: &str, bytes: usize, fill: impl Fn(&mut Value, String)) -> String {
    let message = |text: String| {
        let mut message = field_message(name);
        fill(&mut message, text);
        message.to_string()
    };
    let empty = message(String::new()).len();
    message("x".repeat(bytes - empty))
}

fn in_a_variable(message: &mut Value, text: String) {
    message["variables"]["file"] = json!({"value": text, "type": "Bytes"});
}

fn elsewhere(message: &mut Value, text: String) {
    message["metadata"]["fieldInjections"] = json!({"file": text});
}

fn small(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| field_text(name)).collect()
}

fn by_task(queues: &Queues, queue: &str, name: &str) -> Value {
    let bodies = queues.peek_all(queue).into_iter().map(|message| message.json());
    let mut of_task = bodies.filter(|body| body["original_message"]["task_id"] == name);
    of_task.next().unwrap_or_else(|| panic!("nothing about {name} in {queue}"))
}

fn lost_sessions(worker: &Worker) -> usize {
    let log = worker.log();
    // The heartbeat may also log a session that is just being lost.
    log.lines().filter(|line| line.contains("no session with RabbitMQ") && !line.contains("[heartbeat]")).count()
}

#[test]
fn a_record_that_is_too_large_is_shortened_and_no_other_message_waits_for_it() {
    let Some(node) = node() else { return };
    let _narrow = Narrow::to(&node, MOST);
    let queues = queues_of(&node, "large record");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &SWEEPING);
    let large = |name: &str| of_size(name, MOST - 300, in_a_variable);
    queues.publish_tasks(&[vec![large("large-1")], small(&["task-1", "task-2", "task-3"])].concat());
    queues.await_count(&queues.sent(), 4, PATIENCE);
    // The limit is known by now, so this one costs no session.
    queues.publish_tasks(&[vec![large("large-2")], small(&["task-4"])].concat());
    queues.await_count(&queues.sent(), 6, PATIENCE);
    worker.stop();
    assert_eq!(lost_sessions(&worker), 1, "{}", worker.log());
    assert_eq!((queues.count(&queues.input()), queues.count(&queues.errors())), (0, 0));
    assert_eq!(tasks.markers().len(), 6);
    for name in ["large-1", "large-2"] {
        let record = by_task(&queues, &queues.sent(), name);
        let message = &record["original_message"];
        assert_eq!(message["variables"]["file"], Value::Null);
        assert_eq!(record["left_out"], json!(["original_message.variables.file"]));
        assert_eq!(message["process_instance_id"], format!("process-of-{name}"));
        assert_eq!(
            (&message["activity_id"], &message["variables"]["projectId"]),
            (&json!("Activity_invented"), &json!("2"))
        );
        assert_eq!(record["response_data"]["result"]["task"]["id"], tasks.ids_of(name)[0].to_string());
    }
    assert!(worker.log().contains("original_message.variables.file: task=large-1"), "{}", worker.log());
    // It is answered to Camunda in this form.
    ["large-1", "task-1"].iter().for_each(|name| {
        tasks.set(name, "UF_RESULT_ANSWER", json!("26"));
        tasks.set_status(name, 5);
    });
    worker.start_again();
    queues.await_count(&queues.responses(), 2, PATIENCE);
    worker.stop();
    let response = by_task(&queues, &queues.responses(), "large-1");
    assert_eq!(response["response_data"]["result"]["task"]["ufResultAnswer_text"], "ДА");
    assert_eq!(response["left_out"], json!(["original_message.variables.file"]));
}

#[test]
fn a_task_whose_record_no_rule_makes_small_enough_is_parked_and_not_created_once_the_limit_is_known() {
    let Some(node) = node() else { return };
    let _narrow = Narrow::to(&node, MOST);
    let queues = queues_of(&node, "large elsewhere");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &QUICK);
    let large = |name: &str| of_size(name, MOST - 300, elsewhere);
    // Alone: its session is lost, and a record that waits for its confirm then is published twice.
    queues.publish_tasks(&[large("large-1")]);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    queues.publish_tasks(&small(&["task-1"]));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    queues.publish_tasks(&[vec![large("large-2")], small(&["task-2"])].concat());
    queues.await_count(&queues.errors(), 2, PATIENCE);
    queues.await_count(&queues.sent(), 2, PATIENCE);
    worker.stop();
    assert_eq!(lost_sessions(&worker), 1, "{}", worker.log());
    // The first one was created before the limit was known.
    assert_eq!(["large-1", "large-2", "task-1", "task-2"].map(|name| tasks.ids_of(name).len()), [1, 0, 1, 1]);
    let parked = queues.peek_all(&queues.errors());
    for (message, (name, error)) in parked.iter().zip([
        ("large-1", format!("created with the id {}, and not recorded", tasks.ids_of("large-1")[0])),
        ("large-2", "not created".to_owned()),
    ]) {
        assert_eq!(message.text(), large(name), "as it came");
        assert_eq!(message.headers["error_type"], header("MESSAGE_TOO_LARGE"));
        let AmqpValue::LongString(told) = &message.headers["error_message"] else { panic!("{:?}", message.headers) };
        assert!(told.starts_with(&error), "{told}");
    }
}

#[test]
#[ignore = "takes long"]
fn an_answer_that_is_too_large_is_shortened_and_the_others_are_answered() {
    let Some(node) = node() else { return };
    let queues = queues_of(&node, "large answer");
    let tasks = Tasks::new();
    let names = ["large-1", "stays-1", "task-1", "task-2", "task-3"];
    for name in names {
        let id = tasks.put(name).to_string();
        tasks.set(name, "UF_RESULT_ANSWER", json!("26"));
        tasks.set_status(name, 5);
        let message = match name {
            "large-1" => of_size(name, MOST - 300, in_a_variable),
            "stays-1" => of_size(name, MOST - 300, elsewhere),
            small => field_text(small),
        };
        let record = format!(
            r#"{{"original_message":{message},"response_data":{{"result":{{"task":{{"id":"{id}"}}}},"success":true}}}}"#
        );
        queues.publish(&queues.sent(), record, FieldTable::new());
    }
    let _narrow = Narrow::to(&node, MOST);
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &SWEEPING);
    queues.await_count(&queues.responses(), 4, PATIENCE);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    worker.stop();
    assert_eq!(queues.count(&queues.sent()), 0);
    let response = by_task(&queues, &queues.responses(), "large-1");
    assert_eq!(response["original_message"]["variables"]["file"], Value::Null);
    assert_eq!(response["response_data"]["result"]["task"]["ufResultAnswer_text"], "ДА");
    let parked = &queues.peek_all(&queues.errors())[0];
    assert_eq!(parked.headers["error_type"], header("MESSAGE_TOO_LARGE"));
    assert_eq!(parked.json()["original_message"]["task_id"], "stays-1");
}

#[test]
fn tasks_wait_while_the_sent_queue_is_full_and_sweeps_wear_its_records_out() {
    let tasks = Tasks::new();
    let queues = Queues::new("full quorum");
    let quorum = FieldTable::from([
        ("x-queue-type".to_string(), header("quorum")),
        ("x-delivery-limit".to_string(), AmqpValue::LongInt(20)),
    ]);
    queues.declare_with(&queues.sent(), &quorum);
    let portal = Portal::of(&tasks);
    let changes = [&RESTLESS[..], &[("HEARTBEAT_INTERVAL", "0.02"), ("RETRY_DELAY", "0.2")]].concat();
    let mut worker = Worker::start(&queues, &portal.webhook(), &changes);
    let names = |range: std::ops::Range<usize>| range.map(|number| seed_message(&format!("task-{number}"))).collect();
    let first: Vec<Value> = names(0..3);
    queues.publish_tasks(&first);
    eventually("three creates", PATIENCE, || tasks.markers().len() == 3 && queues.count(&queues.input()) == 0);
    if close(&queues, &queues.sent()).is_none() {
        return;
    }
    let more: Vec<Value> = names(3..12);
    queues.publish_tasks(&more);
    worker.await_log("does not take messages", PATIENCE);
    portal.await_count_of("a sweep", 60, is_sweep);
    assert_eq!(queues.count(&queues.errors()), 0, "{}", worker.errors());
    reopen(&queues, &queues.sent());
    eventually_ok("every record", PATIENCE, || match (tasks.markers().len(), worker.log()) {
        // The queue may have taken messages for a moment before it was reopened.
        (12, log)
            if log.contains("takes messages again")
                && log.rfind("bitrix24 works:") > log.rfind("waiting for room since") =>
        {
            Ok(())
        }
        (made, log) => Err(format!("{made} tasks; {}", log.lines().rev().take(12).collect::<Vec<_>>().join("\n"))),
    });
    worker.stop();
    let errors = worker.errors();
    assert!(errors.matches("does not take messages").count() <= 2, "{errors}");
    assert!(worker.log().contains("waiting_for_room=0"), "{}", worker.log());
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn after_a_lost_session_a_task_settled_by_another_worker_is_not_unsettled() {
    let queues = Queues::new("settled by another");
    let relay = relay();
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::start({
        let (tasks, gate) = (tasks.clone(), gate.clone());
        move |call| {
            let answer = tasks.answer(call);
            if creates(call, "task-1") {
                gate.wait();
            }
            answer
        }
    });
    let patient = [("BITRIX_REQUEST_TIMEOUT", "30"), ("HEARTBEAT_INTERVAL", "3600")];
    let mut first = start_through(&relay, &queues, &portal.webhook(), &patient);
    queues.publish_task(&seed_message("task-1"));
    gate.await_waiting(1, PATIENCE);
    relay.refuse();
    relay.cut();
    let mut second = Worker::start(&queues, &portal.webhook(), &[&QUICK[..], &patient].concat());
    queues.await_count(&queues.sent(), 1, PATIENCE);
    relay.accept();
    queues.await_consumers(&queues.input(), 2, Duration::from_secs(60));
    gate.open();
    first.await_log("created: task=task-1", PATIENCE);
    first.signal("TERM");
    assert_eq!(first.wait(PATIENCE).code(), Some(0), "{}", first.log());
    assert!(!first.log().contains("unsettled task(s)"), "{}", first.log());
    second.stop();
    assert_eq!((tasks.markers().len(), queues.count(&queues.input())), (1, 0));
}

/// 40 MiB of records that the broker does not read, as in an alarm that is not known yet, or behind a link that is
/// stuck.
#[test]
#[ignore = "takes long"]
fn a_burst_of_large_records_behind_a_broker_that_does_not_read_blocks_nothing() {
    let queues = Queues::new("burst");
    let relay = relay();
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::start({
        let (tasks, gate) = (tasks.clone(), gate.clone());
        move |call| {
            gate.wait();
            tasks.answer(call)
        }
    });
    let patient = [("BITRIX_REQUEST_TIMEOUT", "60"), ("RABBITMQ_HEARTBEAT", "60")];
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &patient);
    let messages: Vec<String> =
        (0..160).map(|number| of_size(&format!("task-{number}"), 256 << 10, elsewhere)).collect();
    queues.publish_tasks(&messages);
    eventually("all messages received", PATIENCE, || worker.log().matches("received: task=").count() == 160);
    relay.hold(Direction::ToServer);
    relay.hold(Direction::ToClient);
    gate.open();
    eventually("all creates", PATIENCE, || tasks.markers().len() == 160);
    worker.signal("TERM");
    worker.await_log("stopping: finishing 160 started", PATIENCE);
    relay.pass();
    assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{}", worker.log());
    assert_eq!((queues.count(&queues.sent()), queues.count(&queues.input())), (160, 0));
    Audit::take(&queues, tasks.markers()).assert_holds();
}
