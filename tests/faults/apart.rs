//! Much time passes between a look-up and its create: the worker is frozen in between, waits for a permit of the rate
//! limiter, loses its session, or another worker's clock disagrees. Nothing is created twice by that, and no wait is
//! started again for ever.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use amiquip::{AmqpValue, FieldTable};
use serde_json::json;
use task_creator::settings::{Variables, right};
use task_creator::stop;
use task_creator::systems::bitrix24::Settings;
use task_creator::systems::bitrix24::client::{Call as ClientCall, Client, Pace};
use task_creator::systems::bitrix24::errors::Kind;
use task_creator::tls::RootCertificates;

use crate::links::{relay, start_through};
use crate::support::*;

const QUICK: [(&str, &str); 5] = [
    ("BITRIX_RATE", "0"),
    ("BITRIX_REQUEST_TIMEOUT", "2"),
    ("RETRY_DELAY", "0.2"),
    ("HEARTBEAT_INTERVAL", "3600"),
    ("RABBITMQ_HEARTBEAT", "1"),
];

fn start(queues: &Queues, webhook: &str, changes: &[(&str, &str)]) -> Worker {
    Worker::start(queues, webhook, &[&QUICK[..], changes].concat())
}

/// One request at a time, so many seconds apart.
fn one_in(seconds: &'static str) -> [(&'static str, &'static str); 2] {
    [("BITRIX_RATE", seconds), ("BITRIX_BURST", "1")]
}

/// The fields that hold a task's id in Camunda. `Tasks` finds a task by the first of them, which is written last.
const MARKERS: [&str; 2] = ["XML_ID", "UF_CAMUNDA_ID_EXTERNAL_TASK"];

/// The worker has a session again after it has lost one.
#[track_caller]
fn await_second_session(worker: &Worker) {
    eventually("a second session", PATIENCE, || worker.log().matches("deliveries at a time").count() == 2);
}

#[track_caller]
fn assert_created_once(portal: &Portal, tasks: &Tasks, queues: &Queues) {
    assert_eq!(portal.count_of(|call| creates(call, "task-1")), 1);
    Audit::take(queues, tasks.markers()).after_faults(1).assert_holds();
}

/// The first worker is frozen at `frozen`. It goes on when the second one has got the message and created the task.
fn assert_frozen_creates_nothing(changes: &[(&str, &str)], frozen: impl Fn(&Portal, &Worker, &Gate)) {
    let queues = Queues::new("frozen");
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::start({
        let (tasks, gate) = (tasks.clone(), gate.clone());
        move |call| {
            let answer = tasks.answer(call);
            if looks_up(call, "task-1") {
                gate.wait();
            }
            answer
        }
    });
    let mut first = start(&queues, &portal.webhook(), changes);
    queues.publish_task(&field_text("task-1"));
    gate.await_waiting(1, PATIENCE);
    frozen(&portal, &first, &gate);
    first.signal("STOP");
    gate.open();
    let mut second = start(&queues, &portal.webhook(), &[]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    second.stop();
    first.signal("CONT");
    await_second_session(&first);
    first.stop();
    assert_created_once(&portal, &tasks, &queues);
}

#[test]
fn a_worker_that_was_frozen_between_look_up_and_create_looks_again() {
    assert_frozen_creates_nothing(&[], |_, _, _| {});
}

#[test]
#[ignore = "takes long"]
fn a_worker_that_was_frozen_while_its_create_waited_for_a_permit_looks_again() {
    // The look-up is answered, and the next permit is far away.
    assert_frozen_creates_nothing(&one_in("0.1"), |portal, _, gate| {
        gate.open();
        portal.await_replies("tasks.task.list", 2, PATIENCE);
    });
}

/// The first worker has looked the task up and waits for a permit to create it. Then its session is lost, and the
/// second worker gets the message.
#[test]
#[ignore = "takes long"]
fn a_create_that_waits_for_a_permit_is_not_sent_when_another_worker_may_have_its_message() {
    let queues = Queues::new("cut off");
    let relay = relay();
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let slow = [&one_in("0.1")[..], &[("LOG_LEVEL", "DEBUG"), ("BITRIX_REQUEST_TIMEOUT", "30")]].concat();
    let mut first = start_through(&relay, &queues, &portal.webhook(), &slow);
    queues.publish_task(&field_text("task-1"));
    portal.await_count_of("a look-up", 1, |call| looks_up(call, "task-1"));
    relay.refuse();
    relay.cut();
    let mut second = start(&queues, &portal.webhook(), &[]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    second.stop();
    relay.accept();
    first.await_log("looking up again: task=task-1", PATIENCE);
    await_second_session(&first);
    first.stop();
    assert_created_once(&portal, &tasks, &queues);
}

/// The message is delivered to the same worker again, but another one may have had it in between: the worker waits for
/// the create of the other one.
#[test]
#[ignore = "takes long"]
fn a_message_delivered_again_after_a_lost_session_waits_before_its_create() {
    let queues = Queues::new("delivered again");
    let relay = relay();
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &one_in("0.3"));
    queues.publish_task(&seed_message("task-1"));
    portal.await_count_of("a look-up", 1, |call| looks_up(call, "task-1"));
    relay.cut();
    worker.await_log("delivered before and not found", PATIENCE);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    eventually("the follow-up", PATIENCE, || tasks.syncs().len() == 1);
    worker.stop();
    assert!(portal.count_of(|call| looks_up(call, "task-1")) >= 3);
    assert_created_once(&portal, &tasks, &queues);
}

/// With such rare permits every look-up is too old when its create gets one.
#[test]
#[ignore = "takes long"]
fn with_rare_permits_the_create_follows_a_second_look_up_at_once() {
    let queues = Queues::new("rare permits");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &one_in("0.3"));
    let names = ["task-1", "task-2", "task-3"];
    queues.publish_tasks(&names.map(seed_message));
    queues.await_count(&queues.sent(), 3, PATIENCE);
    eventually("the follow-ups", PATIENCE, || tasks.syncs().len() == 3);
    worker.stop();
    assert!(portal.count_of(|call| looks_up(call, "task-1")) >= 2);
    Audit::take(&queues, tasks.markers()).assert_holds();
    names.iter().for_each(|name| assert_eq!(portal.count_of(|call| creates(call, name)), 1));
}

/// The client alone. The look-up behind a call has become too old while the client waited after too many requests.
#[test]
fn a_call_that_may_not_go_after_a_pause_is_not_sent_again() {
    let portal = Portal::start(|call| match call.nth {
        1 => Answer::refused(503, "QUERY_LIMIT_EXCEEDED", "too many"),
        _ => Answer::Done(json!({"task": {"id": "1"}})),
    });
    let webhook = portal.webhook();
    let known = [("BITRIX_WEBHOOK_URL", webhook.as_str()), ("BITRIX_RATE", "0")];
    let lookup = |name: &str| known.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
    let settings =
        right(Variables::read(lookup, Settings::from_variables)).expect("right settings").expect("the webhook is set");
    // A stop counts as raised when its other end is dropped.
    let (_raise, stop) = stop::signal();
    let client = Client::new(&settings, &RootCertificates::public(), 4, &stop);
    let call = || ClientCall { method: "tasks.task.add", params: vec![("fields", json!({"TITLE": "x"}))] };
    for pace in [Pace::Queued, Pace::AtOnce] {
        let sent = portal.count("tasks.task.add");
        // It is asked when the call is taken, and again before each time it is sent.
        let asked = AtomicUsize::new(0);
        let twice = Arc::new(move || asked.fetch_add(1, Ordering::Relaxed) < if sent == 0 { 2 } else { 0 });
        let reply = client.call_while(&call(), twice, pace);
        assert!(matches!(&reply, Err(err) if err.kind == Kind::Outdated), "{reply:?}");
        assert_eq!(portal.count("tasks.task.add"), 1);
        // The others go on.
        assert!(sent == 0 || client.call_while(&call(), Arc::new(|| true), pace).is_ok());
    }
}

#[test]
fn a_retried_message_waits_as_long_as_planned_whatever_the_clock_says() {
    let queues = Queues::new("clock behind");
    let looked = Arc::new(Mutex::new(Vec::new()));
    let tasks = Tasks::new();
    let portal = Portal::start({
        let (tasks, looked) = (tasks.clone(), Arc::clone(&looked));
        move |call| {
            if looks_up(call, "task-1") {
                looked.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
            }
            match creates(call, "task-1") && call.nth == 1 {
                true => Answer::refused(500, "INTERNAL_SERVER_ERROR", "not known"),
                false => tasks.answer(call),
            }
        }
    });
    let patient = [("BITRIX_REQUEST_TIMEOUT", "4")];
    let mut first = start(&queues, &portal.webhook(), &patient);
    queues.publish_task(&seed_message("task-1"));
    first.await_log("trying again in 4s", PATIENCE);
    first.stop();
    queues.await_count(&queues.retry(), 1, PATIENCE);
    // As if the first worker's clock had been a minute behind.
    let message = queues.take_all(&queues.retry()).remove(0);
    let mut headers: FieldTable = message.headers.clone();
    let Some(AmqpValue::LongLongInt(at)) = headers.get("x-retry-at").cloned() else { panic!("{headers:?}") };
    headers.insert("x-retry-at".into(), AmqpValue::LongLongInt(at - 60_000));
    let published = Instant::now();
    queues.publish(&queues.retry(), message.body, headers);
    let mut second = start(&queues, &portal.webhook(), &patient);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    second.stop();
    let looked = looked.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(looked.len(), 2);
    assert!(looked[1] - published >= Duration::from_secs(4), "{:?}", looked[1] - published);
    assert_eq!(tasks.markers(), ["task-1"]);
}

/// The first copy of the message waits in the retry queue and is not delivered, since others fill the prefetch. Its
/// create becomes visible later.
#[test]
fn a_second_copy_waits_for_the_first_one_that_is_not_even_delivered() {
    const SHOWS_AFTER: Duration = Duration::from_millis(1500);
    let queues = Queues::new("copies apart");
    queues.declare(&queues.retry());
    let in_a_minute = FieldTable::from([("x-retry-wait".to_string(), AmqpValue::LongLongInt(60_000))]);
    // One is taken before there is a consumer, and two by the consumer.
    for filler in ["filler-1", "filler-2", "filler-3"] {
        queues.publish(&queues.retry(), seed_message(filler).to_string(), in_a_minute.clone());
    }
    let (tasks, made) = (Tasks::new(), Arc::new(Mutex::new(None::<Instant>)));
    tasks.conceal_new();
    let portal = Portal::start({
        let (tasks, made) = (tasks.clone(), made.clone());
        move |call| {
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            if made.is_some_and(|made| made.elapsed() > SHOWS_AFTER) {
                tasks.reveal();
            }
            let answer = tasks.answer(call);
            if creates(call, "task-1") && made.is_none() {
                *made = Some(Instant::now());
                return Answer::refused(500, "INTERNAL_SERVER_ERROR", "not known");
            }
            answer
        }
    });
    let mut worker = start(&queues, &portal.webhook(), &[("PREFETCH", "2")]);
    queues.await_count(&queues.retry(), 0, PATIENCE);
    queues.publish_task(&seed_message("task-1"));
    queues.await_count(&queues.retry(), 1, PATIENCE);
    queues.publish_task(&seed_message("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(tasks.markers(), ["task-1"]);
}

#[test]
#[ignore = "takes long"]
fn tasks_whose_input_queue_is_deleted_while_they_are_created_are_recorded() {
    let queues = Queues::new("input gone");
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
    let mut worker = start(&queues, &portal.webhook(), &[("BITRIX_REQUEST_TIMEOUT", "60")]);
    for (number, name) in ["task-1", "task-2", "task-3"].iter().enumerate() {
        queues.publish_task(&field_text(name));
        gate.await_waiting(number + 1, PATIENCE);
    }
    queues.delete(&queues.input());
    await_second_session(&worker);
    gate.open();
    queues.await_count(&queues.sent(), 3, PATIENCE * 2);
    // The follow-ups are done as well.
    eventually("the follow-up", PATIENCE, || tasks.syncs().len() == 3);
    worker.stop();
    assert_eq!(tasks.checklists().len(), 3 * 5, "no list and no line twice");
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn tasks_whose_input_queue_is_deleted_are_recorded_by_a_worker_that_stops_too() {
    let queues = Queues::new("input gone, stop");
    let relay = relay();
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &[("BITRIX_REQUEST_TIMEOUT", "60")]);
    queues.publish_task(&field_text("task-1"));
    gate.await_waiting(1, PATIENCE);
    relay.refuse();
    relay.cut();
    gate.open();
    portal.await_replies("tasks.task.add", 1, PATIENCE);
    queues.delete(&queues.input());
    relay.accept();
    await_second_session(&worker);
    worker.stop();
    assert_eq!(queues.count(&queues.sent()), 1);
}

/// A redelivered message waits for the create of an earlier delivery; the sessions end sooner than this wait.
#[test]
fn a_wait_goes_on_after_a_lost_session() {
    let queues = Queues::new("wait goes on");
    let relay = relay();
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    queues.publish_task(&seed_message("task-1"));
    assert_eq!(queues.peek_all(&queues.input()).len(), 1);
    let patient = [("BITRIX_REQUEST_TIMEOUT", "6")];
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &patient);
    worker.await_log("delivered before and not found", PATIENCE);
    for session in 2..=3 {
        relay.cut();
        let sessions = || worker.log().matches("deliveries at a time").count();
        eventually("the next session", PATIENCE, || sessions() == session);
        queues.await_count(&queues.input(), 0, PATIENCE);
    }
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    // Before the wait and after it.
    assert_eq!(portal.count_of(|call| looks_up(call, "task-1")), 2);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

/// Finishes and answers the only task, as a person would.
fn finish(tasks: &Tasks, marker: &str) {
    tasks.set(marker, "UF_RESULT_ANSWER", json!("26"));
    tasks.set_status(marker, 5);
}

#[test]
fn a_task_that_got_the_id_of_another_one_is_logged_and_not_answered() {
    let queues = Queues::new("another task");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[("HEARTBEAT_INTERVAL", "0.3")]);
    queues.publish_task(&field_text("task-1"));
    eventually("the follow-up", PATIENCE, || tasks.syncs().len() == 1);
    MARKERS.iter().for_each(|field| tasks.set("task-1", field, "another".into()));
    finish(&tasks, "another");
    worker.await_log("not answered to Camunda, the record stays", PATIENCE);
    worker.await_log("since their ids belong to other tasks now: 1.", PATIENCE);
    assert!(worker.errors().contains("task=task-1: task "), "{}", worker.errors());
    assert_eq!(queues.count(&queues.responses()), 0);
    // The record is kept, and answered when the task is its own again.
    MARKERS.iter().for_each(|field| tasks.set("another", field, "task-1".into()));
    queues.await_count(&queues.responses(), 1, PATIENCE);
    worker.stop();
    assert_eq!(worker.errors().matches("not answered to Camunda").count(), 1);
}

#[test]
fn a_task_of_another_portal_waits_until_its_portal_is_back() {
    let queues = Queues::new("another portal");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("task-1"));
    eventually("the follow-up", PATIENCE, || tasks.syncs().len() == 1);
    worker.stop();
    let record = queues.peek_all(&queues.sent()).remove(0);
    assert_eq!(record.json()["target_host"], portal.address().to_string());
    finish(&tasks, "task-1");
    // A copy of the portal; only its address differs.
    let copy = Portal::of(&tasks);
    let quick = [("HEARTBEAT_INTERVAL", "0.3")];
    let mut worker = start(&queues, &copy.webhook(), &quick);
    worker.await_log(&format!("its task is at {}", portal.address()), PATIENCE);
    worker.await_log("since their ids belong to other tasks now: 1.", PATIENCE);
    worker.stop();
    assert_eq!((queues.count(&queues.responses()), queues.count(&queues.sent())), (0, 1));
    let mut worker = start(&queues, &portal.webhook(), &quick);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    worker.stop();
}

#[test]
fn a_task_that_got_the_id_of_another_one_gets_none_of_its_checklists() {
    let queues = Queues::new("another's lists");
    let tasks = Tasks::new();
    let portal = Portal::start({
        let tasks = tasks.clone();
        move |call| match call.method.as_str() {
            "task.checklistitem.add" => {
                MARKERS.iter().for_each(|field| tasks.set("task-1", field, "another".into()));
                Answer::refused(500, "INTERNAL_SERVER_ERROR", "not done")
            }
            _ => tasks.answer(call),
        }
    });
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("task-1"));
    worker.await_log("checklists not completed: task=task-1: the portal no longer has it under the id", PATIENCE);
    eventually("the synchronisation", PATIENCE, || tasks.syncs().len() == 1);
    worker.stop();
    assert_eq!(portal.count("task.checklistitem.add"), 2, "its two lists, at the first try");
}
