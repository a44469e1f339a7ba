//! The way back to Camunda: every sweep checks every record in the sent queue, a finished task is answered once, and
//! the other records stay, in their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::broker::header;
use crate::support::*;
use amiquip::{AmqpProperties, AmqpValue, FieldTable};
use serde_json::{Value, json};
use task_creator::message::now_ms;

/// Sweeps with short pauses.
pub const RESTLESS: [(&str, &str); 3] =
    [("BITRIX_RATE", "0"), ("BITRIX_REQUEST_TIMEOUT", "5"), ("HEARTBEAT_INTERVAL", "0.2")];
/// One sweep, at the start.
const ONE_SWEEP: [(&str, &str); 3] = [("BITRIX_RATE", "0"), ("HEARTBEAT_INTERVAL", "3600"), ("LOG_LEVEL", "DEBUG")];

fn record(tasks: &Tasks, name: &str) -> Value {
    let id = tasks.ids_of(name).first().copied().unwrap_or_else(|| tasks.put(name));
    json!({
        "timestamp": 1672531200.0,
        "original_queue": "bitrix24.queue",
        "original_message": seed_message(name),
        "response_data": {"result": {"task": {"id": id.to_string()}}, "success": true},
        "processing_status": "success",
        "processed_at": 1672531205.0,
    })
}

fn record_everything(queues: &Queues, records: &[Value]) {
    let properties = AmqpProperties::default().with_delivery_mode(2).with_headers(FieldTable::new());
    let messages: Vec<_> = records.iter().map(|record| (record.to_string().into_bytes(), properties.clone())).collect();
    queues.broker().publish(&queues.sent(), &messages).expect("the sent queue takes records");
}

/// Queues whose sent queue has a record of each of these tasks.
fn with_records(test: &str, tasks: &Tasks, names: &[String]) -> Queues {
    let queues = Queues::new(test);
    queues.declare(&queues.sent());
    record_everything(&queues, &names.iter().map(|name| record(tasks, name)).collect::<Vec<_>>());
    queues
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("task-{number}")).collect()
}

/// The task ids in a queue, in its order.
fn order(queues: &Queues, queue: &str) -> Vec<String> {
    let task_id = |message: &Message| message.json()["original_message"]["task_id"].as_str().map(str::to_string);
    queues.peek_all(queue).iter().filter_map(task_id).collect()
}

#[test]
fn every_record_is_checked_and_the_open_ones_keep_their_order() {
    let tasks = Tasks::new();
    let mut names = names(120);
    let queues = with_records("120 records", &tasks, &names);
    tasks.set_status("task-120", 5);
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    tasks.set_status("task-60", 4);
    queues.await_count(&queues.responses(), 2, PATIENCE);
    worker.stop();
    assert_eq!(order(&queues, &queues.responses()), ["task-120", "task-60"]);
    names.retain(|name| name != "task-120" && name != "task-60");
    assert_eq!(order(&queues, &queues.sent()), names);
}

#[test]
fn a_thousand_open_tasks_cost_a_few_requests_a_sweep() {
    let tasks = Tasks::new();
    let queues = with_records("1000 records", &tasks, &names(1000));
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &ONE_SWEEP);
    worker.await_log("swept 1000 records", PATIENCE);
    worker.stop();
    let requests = portal.requests().len();
    assert!(requests <= 40, "{requests} requests");
    queues.await_count(&queues.sent(), 1000, PATIENCE);
}

#[test]
fn a_task_with_two_records_is_answered_once() {
    let tasks = Tasks::new();
    let queues = with_records("two records", &tasks, &["task-1", "task-1", "task-2"].map(String::from));
    tasks.set_status("task-1", 5);
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    record_everything(&queues, &[record(&tasks, "task-1")]);
    worker.await_log("answered before, dropping a second record: task=task-1", PATIENCE);
    worker.stop();
    assert_eq!(order(&queues, &queues.responses()), ["task-1"]);
    assert_eq!(order(&queues, &queues.sent()), ["task-2"]);
}

#[test]
fn a_task_that_the_bridge_has_sent_again_since_its_answer_is_answered_again() {
    let tasks = Tasks::new();
    let queues = with_records("sent again", &tasks, &names(1));
    tasks.set_status("task-1", 5);
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    // The answer was lost, so Camunda still waits, and the bridge has fetched the task once more.
    let mut sent_again = record(&tasks, "task-1");
    sent_again["original_message"]["timestamp"] = now_ms().into();
    record_everything(&queues, &[sent_again]);
    queues.await_count(&queues.responses(), 2, PATIENCE);
    // The clock of the bridge is five minutes fast. A copy of the record is dropped all the same.
    let mut sent_once_more = record(&tasks, "task-1");
    sent_once_more["original_message"]["timestamp"] = (now_ms() + 300_000).into();
    record_everything(&queues, &[sent_once_more.clone()]);
    queues.await_count(&queues.responses(), 3, PATIENCE);
    record_everything(&queues, &[sent_once_more]);
    worker.await_log("answered before, dropping a second record: task=task-1", PATIENCE);
    worker.stop();
    assert_eq!(queues.count(&queues.responses()), 3);
}

#[test]
fn a_record_that_cannot_be_read_is_parked_and_the_others_are_answered() {
    let tasks = Tasks::new();
    let queues = with_records("unreadable record", &tasks, &[]);
    queues.publish(&queues.sent(), "no JSON", FieldTable::new());
    queues.publish(&queues.sent(), "{\"original_message\": {}}", FieldTable::new());
    let mut of_nobody = record(&tasks, "task-0");
    of_nobody["response_data"] = json!({"success": true});
    record_everything(&queues, &[of_nobody, record(&tasks, "task-1")]);
    tasks.set_status("task-1", 5);
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    queues.await_count(&queues.errors(), 3, PATIENCE);
    worker.stop();
    let parked: Vec<Value> = queues.peek_all(&queues.errors()).iter().map(Message::json).collect();
    assert!(parked.iter().all(|parked| parked["error_type"] == "INVALID_RECORD"), "{parked:?}");
    assert!(parked.iter().all(|parked| parked["attempts"] == 1), "one look is enough: {parked:?}");
    assert!(parked.iter().any(|parked| parked["original_body_base64"] == "bm8gSlNPTg=="), "{parked:?}");
    assert_eq!(queues.count(&queues.sent()), 0);
}

#[test]
fn a_deleted_task_is_parked_when_three_sweeps_have_missed_it() {
    let tasks = Tasks::new();
    let queues = with_records("deleted", &tasks, &["task-1", "task-2"].map(String::from));
    tasks.delete("task-1");
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    let sweeps = portal.count_of(is_sweep);
    worker.stop();
    assert!(sweeps >= 3, "parked after {sweeps} sweeps");
    let parked = queues.peek_all(&queues.errors())[0].json();
    assert_eq!(parked["error_type"], "TASK_NOT_FOUND");
    assert_eq!(parked["original_message"], seed_message("task-1"));
    assert_eq!(parked["source_queue"], queues.input());
    assert_eq!(order(&queues, &queues.sent()), ["task-2"]);
}

#[test]
fn a_deleted_task_whose_message_is_replayed_is_created_again_and_answered() {
    let queues = Queues::new("replayed");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    queues.publish_task(&seed_message("task-1"));
    portal.await_replies("imena.camunda.sync", 1, PATIENCE);
    tasks.delete("task-1");
    queues.await_count(&queues.errors(), 1, PATIENCE);
    let parked = queues.take_all(&queues.errors()).remove(0).json();
    queues.publish_task(&parked["original_message"]);
    portal.await_replies("imena.camunda.sync", 2, PATIENCE);
    tasks.set_status("task-1", 5);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).with_finished(tasks.finished()).assert_holds();
}

#[test]
fn many_tasks_that_vanish_at_once_stay_in_their_queue() {
    let tasks = Tasks::new();
    let names = names(12);
    let queues = with_records("all hidden", &tasks, &names);
    names.iter().for_each(|name| tasks.delete(name));
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    portal.await_count_of("a sweep", 5, is_sweep);
    worker.stop();
    assert_eq!(queues.count(&queues.errors()), 0);
    assert_eq!(order(&queues, &queues.sent()), names);
}

#[test]
fn many_tasks_that_are_deleted_at_once_are_parked_when_another_one_is_there() {
    let tasks = Tasks::new();
    let names = names(12);
    let queues = with_records("many deleted", &tasks, &names);
    names[1..].iter().for_each(|name| tasks.delete(name));
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    queues.await_count(&queues.errors(), 11, PATIENCE);
    worker.stop();
    assert!(queues.peek_all(&queues.errors()).iter().all(|message| message.json()["error_type"] == "TASK_NOT_FOUND"));
    assert_eq!(order(&queues, &queues.sent()), names[..1]);
}

#[test]
fn a_portal_that_is_down_ends_the_sweep_and_loses_nothing() {
    let tasks = Tasks::new();
    let names = names(60);
    let queues = with_records("portal down", &tasks, &names);
    names.iter().for_each(|name| tasks.set_status(name, 5));
    let down = Arc::new(AtomicBool::new(true));
    let portal = Portal::start({
        let (tasks, down) = (tasks.clone(), down.clone());
        move |call| match down.load(Ordering::Relaxed) {
            true => Answer::refused(502, "", "bad gateway"),
            false => tasks.answer(call),
        }
    });
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    worker.await_log("sweep ended early", PATIENCE);
    portal.await_count_of("a sweep", 6, is_sweep);
    down.store(false, Ordering::Relaxed);
    queues.await_count(&queues.responses(), 60, PATIENCE);
    worker.stop();
    assert_eq!(order(&queues, &queues.responses()), names);
    // A quorum queue carries out acks a moment later.
    queues.await_count(&queues.sent(), 0, PATIENCE);
    assert_eq!(queues.count(&queues.errors()), 0);
}

#[test]
fn half_a_sweep_that_was_answered_is_recorded_when_the_other_half_fails() {
    let tasks = Tasks::new();
    let names = names(100);
    let queues = with_records("half a sweep", &tasks, &names);
    names.iter().for_each(|name| tasks.set_status(name, 5));
    let sweeps = AtomicUsize::new(0);
    let portal = Portal::start({
        let tasks = tasks.clone();
        // Two commands of fifty ids: in the first sweep the second one fails.
        move |call| match is_sweep(call) && sweeps.fetch_add(1, Ordering::Relaxed) == 1 {
            true => Answer::refused(500, "INTERNAL_SERVER_ERROR", "down"),
            false => tasks.answer(call),
        }
    });
    let mut worker = Worker::start(&queues, &portal.webhook(), &ONE_SWEEP);
    worker.await_log("50 of 100 tasks could not be checked, they stay", PATIENCE);
    queues.await_count(&queues.responses(), 50, PATIENCE);
    worker.stop();
    assert_eq!(queues.count(&queues.sent()), 50);
    worker.start_again();
    queues.await_count(&queues.responses(), 100, PATIENCE);
    worker.stop();
    let mut answered = order(&queues, &queues.responses());
    let mut names = names;
    answered.sort();
    names.sort();
    assert_eq!(answered, names);
}

#[test]
fn a_responses_queue_that_is_gone_is_declared_again_and_gets_the_answer() {
    let tasks = Tasks::new();
    let queues = with_records("no responses queue", &tasks, &names(1));
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    portal.await_count_of("a sweep", 1, is_sweep);
    queues.delete(&queues.responses());
    tasks.set_status("task-1", 5);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    worker.stop();
    assert_eq!(queues.count(&queues.sent()), 0);
}

#[test]
fn a_responses_queue_that_is_full_gets_the_answer_when_it_has_room() {
    let tasks = Tasks::new();
    let queues = Queues::undeclared("responses full");
    let arguments = FieldTable::from([
        ("x-max-length".to_string(), AmqpValue::LongInt(1)),
        ("x-overflow".to_string(), header("reject-publish")),
    ]);
    queues.declare_with(&queues.responses(), &arguments);
    [queues.input(), queues.errors(), queues.sent()].iter().for_each(|queue| queues.declare(queue));
    queues.publish(&queues.responses(), "an older answer", FieldTable::new());
    record_everything(&queues, &[record(&tasks, "task-1"), record(&tasks, "task-2")]);
    tasks.set_status("task-1", 5);
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    worker.await_log("records stay until the next sweep", PATIENCE);
    assert_eq!(queues.purge(&queues.responses()), 1);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    worker.stop();
    assert_eq!(order(&queues, &queues.responses()), ["task-1"]);
    assert_eq!(order(&queues, &queues.sent()), ["task-2"]);
}

#[test]
fn what_was_answered_before_a_stop_is_not_answered_again() {
    let tasks = Tasks::new();
    let names = names(300);
    let queues = with_records("answered, stopped", &tasks, &names);
    names.iter().for_each(|name| tasks.set_status(name, 5));
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &ONE_SWEEP);
    queues.await_count(&queues.responses(), 300, PATIENCE);
    worker.stop();
    // A quorum queue forgets acks when their channel is closed too soon.
    queues.await_count(&queues.sent(), 0, PATIENCE);
}

#[test]
fn a_record_of_the_python_worker_is_understood_and_its_members_are_passed_on() {
    let tasks = Tasks::new();
    let queues = with_records("python", &tasks, &[]);
    let id = tasks.put("task-1");
    tasks.set_status("task-1", 5);
    let python = format!(
        r#"{{"response_data": {{"success": true, "time": {{"duration": 0.25}}, "result": {{"task": {{"title": "x", "id": {id}}}}}}},
            "worker": "python-7", "processed_at": 1672531205.123456, "retries": 12345678901234567890,
            "original_message": {}, "processing_status": "success", "timestamp": 1672531200.5,
            "original_queue": "bitrix24.queue"}}"#,
        field_text("task-1")
    );
    queues.publish(&queues.sent(), &python, FieldTable::new());
    tasks.set("task-1", "UF_RESULT_EXPECTED", json!("1"));
    tasks.set("task-1", "UF_RESULT_ANSWER", json!("27"));
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    worker.stop();
    let response = queues.peek_all(&queues.responses()).remove(0);
    assert!(response.text().contains("12345678901234567890"), "{}", response.text());
    let response = response.json();
    assert_eq!(response["worker"], "python-7");
    assert_eq!(response["processing_status"], "completed_by_tracker");
    assert_eq!(response["response_data"]["result"]["task"]["ufResultAnswer_text"], "НЕТ");
    assert_eq!(queues.count(&queues.sent()), 0);
}

#[test]
fn a_task_that_waits_for_its_answer_stays_until_somebody_gives_it() {
    let tasks = Tasks::new();
    let queues = with_records("unanswered", &tasks, &names(1));
    tasks.set("task-1", "UF_RESULT_EXPECTED", json!("1"));
    tasks.set_status("task-1", 5);
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    portal.await_count_of("a sweep", 4, is_sweep);
    assert_eq!(queues.count(&queues.responses()), 0);
    tasks.set("task-1", "UF_RESULT_ANSWER", json!("26"));
    queues.await_count(&queues.responses(), 1, PATIENCE);
    worker.stop();
    let warned = worker.log().matches("finished, but not answered to Camunda yet: task=task-1").count();
    assert_eq!(warned, 1);
}

#[test]
fn two_workers_do_not_sweep_at_once() {
    let tasks = Tasks::new();
    let queues = with_records("two trackers", &tasks, &names(3));
    let gate = Gate::closed();
    let portal = Portal::start({
        let (tasks, gate) = (tasks.clone(), gate.clone());
        move |call| {
            if is_sweep(call) {
                gate.wait();
            }
            tasks.answer(call)
        }
    });
    let one = Worker::start(&queues, &portal.webhook(), &[&RESTLESS[..], &[("LOG_LEVEL", "DEBUG")]].concat());
    gate.await_waiting(1, PATIENCE);
    let mut other = Worker::start(&queues, &portal.webhook(), &[&RESTLESS[..], &[("LOG_LEVEL", "DEBUG")]].concat());
    other.await_log("no sweep: another worker is sweeping", PATIENCE);
    assert_eq!(portal.count_of(is_sweep), 1);
    // The lock is free again as soon as its worker is gone.
    drop(one);
    gate.open();
    names(3).iter().for_each(|name| tasks.set_status(name, 5));
    queues.await_count(&queues.responses(), 3, PATIENCE);
    other.stop();
}

#[test]
fn a_deleted_task_with_two_records_is_missed_once_a_sweep_and_parked_once() {
    let tasks = Tasks::new();
    let queues = with_records("deleted twice", &tasks, &["task-1", "task-1", "task-2"].map(String::from));
    tasks.delete("task-1");
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &RESTLESS);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    let sweeps = portal.count_of(is_sweep);
    portal.await_count_of("a sweep", sweeps + 5, is_sweep);
    worker.stop();
    assert!(sweeps >= 3, "parked after {sweeps} sweeps");
    assert_eq!(order(&queues, &queues.errors()), ["task-1"]);
    assert_eq!(order(&queues, &queues.sent()), ["task-2"]);
}

#[test]
fn sweep_after_sweep_loses_no_connection_even_on_a_busy_machine() {
    let sweep = || {
        let tasks = Tasks::new();
        let queues = with_records("many sweeps", &tasks, &names(3));
        let portal = Portal::of(&tasks);
        let changes = [&RESTLESS[..], &[("HEARTBEAT_INTERVAL", "0.01")]].concat();
        let mut worker = Worker::start(&queues, &portal.webhook(), &changes);
        portal.await_count_of("a sweep", 60, is_sweep);
        worker.stop();
        // amiquip kills the connection when a receiver is dropped too early: seldom, and often on a busy machine.
        assert_eq!(worker.errors(), "");
        assert!(!worker.log().contains("sweep ended early"));
    };
    thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(sweep))));
}
