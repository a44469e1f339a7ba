//! What the failure of one message leads to, seen from outside: another try, or a parked message. No task is lost or
//! doubled by that, and no other message is held up. Failures of the whole portal are in `outages.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::support::broker::header;
use crate::support::*;
use amiquip::FieldTable;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Short pauses, no rate limit, and no sweep between the start and the end of the test.
const QUICK: [(&str, &str); 4] =
    [("BITRIX_RATE", "0"), ("BITRIX_REQUEST_TIMEOUT", "1"), ("RETRY_DELAY", "0.2"), ("HEARTBEAT_INTERVAL", "3600")];

pub fn start(queues: &Queues, webhook: &str, changes: &[(&str, &str)]) -> Worker {
    Worker::start(queues, webhook, &[&QUICK[..], changes].concat())
}

/// A failure that concerns this call only, in a batch and alone.
pub fn server_error() -> Answer {
    Answer::refused(500, "INTERNAL_SERVER_ERROR", "Internal server error")
}

/// A portal that answers the first `count` creates of the task `ill` with `failure`.
fn failing_portal(tasks: &Tasks, count: usize, failure: Answer) -> Portal {
    let (tasks, failed) = (tasks.clone(), AtomicUsize::new(0));
    Portal::start(move |call| {
        if creates(call, "ill") && failed.fetch_add(1, Ordering::Relaxed) < count {
            return failure.clone();
        }
        tasks.answer(call)
    })
}

fn assert_one_failure_costs_time_only(failure: Answer) {
    let queues = Queues::new("one failure");
    let tasks = Tasks::new();
    let portal = failing_portal(&tasks, 1, failure);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("ill"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(portal.count_of(|call| creates(call, "ill")), 2);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_message_is_retried_after_an_error_of_the_server() {
    assert_one_failure_costs_time_only(server_error());
}

#[test]
fn a_message_is_retried_after_a_reset_connection() {
    assert_one_failure_costs_time_only(Answer::Http(Reply::Reset));
}

#[test]
fn a_message_is_retried_after_an_answer_that_does_not_come() {
    assert_one_failure_costs_time_only(Answer::Http(Reply::Hang));
}

#[test]
fn the_delay_between_two_tries_of_a_message_does_not_hold_up_the_others() {
    let queues = Queues::new("delay between tries");
    let tasks = Tasks::new();
    let tries = Arc::new(Mutex::new(Vec::new()));
    let portal = Portal::start({
        let (tasks, tries) = (tasks.clone(), tries.clone());
        move |call| {
            if !creates(call, "ill") {
                return tasks.answer(call);
            }
            let mut tries = tries.lock().unwrap_or_else(PoisonError::into_inner);
            tries.push(Instant::now());
            if tries.len() == 1 { server_error() } else { tasks.answer(call) }
        }
    });
    let mut worker = start(&queues, &portal.webhook(), &[("RETRY_DELAY", "3")]);
    queues.publish_task(&seed_message("ill"));
    worker.await_log("trying again in 3s (failed 1 of 3 times): task=ill", PATIENCE);
    queues.publish_task(&seed_message("well"));
    queues.await_count(&queues.sent(), 2, PATIENCE);
    worker.stop();

    let order: Vec<String> = queues.peek_all(&queues.sent()).iter().map(|record| record.text()).collect();
    assert!(order[0].contains("\"well\"") && order[1].contains("\"ill\""), "{order:?}");
    let tries = tries.lock().unwrap();
    assert!(tries[1] - tries[0] >= Duration::from_secs(3), "{:?}", tries[1] - tries[0]);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_message_whose_attempts_are_used_up_is_parked_with_their_number() {
    let queues = Queues::new("attempts used up");
    let tasks = Tasks::new();
    let portal = failing_portal(&tasks, usize::MAX, server_error());
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("ill"));
    queues.await_count(&queues.errors(), 1, PATIENCE);
    worker.stop();
    let parked = queues.peek_all(&queues.errors())[0].json();
    assert_eq!(parked["error_type"], "RETRY_LIMIT_EXCEEDED");
    assert_eq!(parked["attempts"], 3);
    assert_eq!(portal.count_of(|call| creates(call, "ill")), 3);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn attempts_are_counted_on_after_a_restart() {
    let queues = Queues::new("attempts survive");
    let tasks = Tasks::new();
    let portal = failing_portal(&tasks, usize::MAX, server_error());
    let mut worker = start(&queues, &portal.webhook(), &[("RETRY_ATTEMPTS", "2"), ("RETRY_DELAY", "60")]);
    queues.publish_task(&field_text("ill"));
    worker.await_log("failed 1 of 2 times", PATIENCE);
    worker.stop();
    queues.await_count(&queues.retry(), 1, PATIENCE);

    let mut worker = start(&queues, &portal.webhook(), &[("RETRY_ATTEMPTS", "2")]);
    // It waits for a minute: the message says when it is to be tried.
    worker.await_log("received, waiting", PATIENCE);
    worker.stop();
    assert_eq!(portal.count_of(|call| creates(call, "ill")), 1);

    let returned = queues.take_all(&queues.retry()).remove(0);
    let mut headers = returned.headers.clone();
    ["x-retry-at", "x-retry-wait"].iter().for_each(|wait| drop(headers.remove(*wait)));
    queues.publish(&queues.retry(), &returned.body, headers);
    let mut worker = start(&queues, &portal.webhook(), &[("RETRY_ATTEMPTS", "2")]);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    worker.stop();
    assert_eq!(queues.peek_all(&queues.errors())[0].json()["attempts"], 2);
    assert_eq!(portal.count_of(|call| creates(call, "ill")), 2);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_refused_message_is_parked_with_the_portals_own_words_and_the_next_one_proceeds() {
    let queues = Queues::new("refused");
    let tasks = Tasks::new();
    let words = "Пользователь-постановщик не найден<br>";
    let portal = failing_portal(&tasks, usize::MAX, Answer::refused(400, "ERROR_CORE", words));
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.publish_tasks(&[field_text("ill"), field_text("well")]);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    let parked = queues.peek_all(&queues.errors())[0].json();
    assert_eq!(parked["error_type"], "REQUEST_ERROR");
    assert_eq!(parked["attempts"], 1);
    assert_eq!(parked["source_queue"], queues.input());
    let told = parked["error_message"].as_str().unwrap();
    assert!(told.contains("Пользователь-постановщик не найден"), "{told}");
    // One for the assignee, one more alone if that was in a batch, and one for the default responsible.
    let together = portal.count_of(|call| creates(call, "ill") && call.batched);
    assert_eq!(portal.count_of(|call| creates(call, "ill")), 2 + together);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_message_that_always_fails_does_not_hold_up_the_others() {
    let queues = Queues::new("poison");
    let tasks = Tasks::new();
    let portal = failing_portal(&tasks, usize::MAX, server_error());
    let narrow = [("PREFETCH", "1"), ("HANDLER_THREADS", "1")];
    let mut worker = start(&queues, &portal.webhook(), &narrow);
    let names = (0..10).map(|number| format!("well-{number}"));
    let messages: Vec<_> = ["ill".to_string()].into_iter().chain(names).map(|name| seed_message(&name)).collect();
    queues.publish_tasks(&messages);
    queues.await_count(&queues.sent(), 10, PATIENCE);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn three_messages_that_always_fail_slow_the_others_down_and_do_not_stop_them() {
    let queues = Queues::new("three poisons");
    let tasks = Tasks::new();
    let portal = Portal::start({
        let tasks = tasks.clone();
        move |call| match call.params["fields"]["UF_CAMUNDA_ID_EXTERNAL_TASK"].as_str() {
            Some(name) if name.starts_with("ill") => server_error(),
            _ => tasks.answer(call),
        }
    });
    let _worker = start(&queues, &portal.webhook(), &[("BITRIX_REQUEST_TIMEOUT", "0.3")]);
    let ill = (0..3).map(|number| seed_message(&format!("ill-{number}")));
    let well = (0..5).map(|number| seed_message(&format!("well-{number}")));
    queues.publish_tasks(&ill.chain(well).collect::<Vec<_>>());
    queues.await_count(&queues.sent(), 5, PATIENCE);
    assert!(tasks.markers().iter().all(|marker| marker.starts_with("well")));
}

#[test]
fn a_create_whose_answer_is_lost_is_found_and_not_repeated() {
    let queues = Queues::new("answer lost");
    let tasks = Tasks::new();
    let portal = Portal::start({
        let tasks = tasks.clone();
        move |call| match tasks.answer(call) {
            _ if creates(call, "task-1") => Answer::Http(Reply::Close),
            answer => answer,
        }
    });
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(portal.count_of(|call| creates(call, "task-1")), 1);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

/// Every create takes effect at once and stays invisible for `hidden`; its answer never comes.
fn portal_that_shows_late(tasks: &Tasks, hidden: Duration) -> Portal {
    let (tasks, created) = (tasks.clone(), Mutex::new(None));
    tasks.conceal_new();
    Portal::start(move |call| {
        let mut created = created.lock().unwrap_or_else(PoisonError::into_inner);
        if created.is_some_and(|created: Instant| created.elapsed() > hidden) {
            tasks.reveal();
        }
        let answer = tasks.answer(call);
        if call.method == "tasks.task.add" {
            created.get_or_insert(Instant::now());
            return Answer::Http(Reply::Close);
        }
        answer
    })
}

#[test]
fn a_create_that_shows_a_second_later_is_waited_for_and_not_repeated() {
    let queues = Queues::new("shows late");
    let tasks = Tasks::new();
    let portal = portal_that_shows_late(&tasks, Duration::from_secs(1));
    let mut worker = start(&queues, &portal.webhook(), &[("BITRIX_REQUEST_TIMEOUT", "2")]);
    queues.publish_task(&field_text("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_message_published_twice_at_once_becomes_one_task_and_one_record() {
    let queues = Queues::new("twice at once");
    let tasks = Tasks::new();
    let gate = Gate::closed();
    let portal = Portal::start({
        let (tasks, gate) = (tasks.clone(), gate.clone());
        move |call| {
            if looks_up(call, "task-1") {
                gate.wait();
            }
            tasks.answer(call)
        }
    });
    let mut worker = start(&queues, &portal.webhook(), &[("LOG_LEVEL", "DEBUG"), ("BITRIX_REQUEST_TIMEOUT", "30")]);
    queues.publish_tasks(&[field_text("task-1"), field_text("task-1")]);
    worker.await_log("received again while at work: task=task-1", PATIENCE);
    gate.open();
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(portal.count_of(|call| looks_up(call, "task-1")), 1);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn bodies_that_are_no_task_are_parked_as_they_are_and_the_lane_goes_on() {
    let queues = Queues::new("unreadable");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
    let not_json: [&[u8]; 5] = [b"", b"\xff\xfe\x00", b"{\"task_id\": \"cut", b"{} {}", &deep];
    let no_task: [&[u8]; 4] = [b"null", b"[1]", b"{\"topic\": \"x\"}", b"{\"task_id\": \" \"}"];
    for body in not_json.iter().chain(&no_task) {
        queues.publish(&queues.input(), body, FieldTable::new());
    }
    queues.publish_task(&field_text("well"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    queues.await_count(&queues.errors(), not_json.len() + no_task.len(), PATIENCE);
    worker.stop();

    let parked: Vec<_> = queues.peek_all(&queues.errors()).iter().map(|message| message.json()).collect();
    assert!(parked.iter().all(|parked| parked["error_type"] == "INVALID_MESSAGE"), "{parked:?}");
    let kept = |body: &[u8]| parked.iter().any(|parked| parked["original_body_base64"] == STANDARD.encode(body));
    assert!(not_json.iter().all(|body| kept(body)), "{parked:?}");
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_body_that_is_too_large_to_work_on_is_parked_byte_for_byte() {
    let queues = Queues::new("too large");
    let portal = Portal::of(&Tasks::new());
    let mut worker = start(&queues, &portal.webhook(), &[]);
    let large = field_text("task-1") + &" ".repeat(12 << 20);
    queues.publish(&queues.input(), &large, FieldTable::new());
    queues.await_count(&queues.errors(), 1, PATIENCE);
    worker.stop();
    let parked = queues.take_all(&queues.errors()).remove(0);
    assert!(parked.body == large.as_bytes(), "{} bytes", parked.body.len());
    assert_eq!(parked.headers["error_type"], header("INVALID_MESSAGE"));
    assert_eq!(portal.count("tasks.task.add"), 0);
}

#[test]
fn a_message_whose_headers_fill_a_frame_is_retried_like_any_other() {
    let queues = Queues::new("large headers");
    let tasks = Tasks::new();
    let portal = failing_portal(&tasks, 1, server_error());
    let mut worker = start(&queues, &portal.webhook(), &[]);
    let large = header(&"x".repeat(130_990));
    let body = field_text("ill");
    queues.publish(&queues.input(), &body, FieldTable::from([("note".to_string(), large)]));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(portal.count_of(|call| creates(call, "ill")), 2);
    assert!(!worker.log().contains("no session with RabbitMQ"), "{}", worker.log());
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_failed_look_up_after_a_kill_does_not_make_the_worker_forget_to_wait() {
    let queues = Queues::new("look-up fails after a kill");
    let tasks = Tasks::new();
    tasks.conceal_new();
    let (created, look_ups) = (Arc::new(Mutex::new(None)), AtomicUsize::new(0));
    let stalled = Gate::closed();
    let portal = Portal::start({
        let (tasks, stalled, created) = (tasks.clone(), stalled.clone(), created.clone());
        move |call| {
            if created.lock().unwrap().is_some_and(|created: Instant| created.elapsed() > Duration::from_secs(2)) {
                tasks.reveal();
            }
            if looks_up(call, "task-1") && look_ups.fetch_add(1, Ordering::Relaxed) == 1 {
                return server_error();
            }
            let answer = tasks.answer(call);
            if creates(call, "task-1") && created.lock().unwrap().replace(Instant::now()).is_none() {
                stalled.wait();
            }
            answer
        }
    });
    let mut worker = start(&queues, &portal.webhook(), &[("BITRIX_REQUEST_TIMEOUT", "3")]);
    queues.publish_task(&field_text("task-1"));
    stalled.await_waiting(1, PATIENCE);
    worker.kill();
    worker.start_again();
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_message_published_again_when_its_task_exists_is_looked_up_and_not_created_again() {
    let queues = Queues::new("published again");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("task-1"));
    portal.await_replies("imena.camunda.sync", 1, PATIENCE);
    queues.publish_task(&field_text("task-1"));
    portal.await_count_of("the look-up", 2, |call| looks_up(call, "task-1"));
    worker.stop();
    // The bridge published it twice, so a second record does no harm: the tracker answers a task once.
    Audit::take(&queues, tasks.markers()).after_faults(1).assert_holds();
}
