//! What the worker does when Bitrix24 refuses or fails, in each possible way: for a plain create, and for one in a
//! batch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;
use serde_json::{Value, json};

/// A message may fail once, so each used attempt is seen; nothing waits long.
const QUICK: [(&str, &str); 5] = [
    ("RETRY_ATTEMPTS", "1"),
    ("RETRY_DELAY", "0.05"),
    ("BITRIX_RATE", "0"),
    ("BITRIX_REQUEST_TIMEOUT", "1"),
    ("HEARTBEAT_INTERVAL", "60"),
];

fn start(queues: &Queues, portal: &Portal, changes: &[(&str, &str)]) -> Worker {
    Worker::start(queues, &portal.webhook(), &[&QUICK, changes].concat())
}

/// Lets the worker settle its messages: a kill could leave a message that is parked but not acknowledged.
#[track_caller]
fn stop(mut worker: Worker) {
    worker.signal("INT");
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
}

fn message(id: &str) -> Value {
    json!({"task_id": id, "topic": "bitrix_create_task", "variables": {"title": id}, "activity_id": "a", "timestamp": 1})
}

fn marker(call: &Call) -> String {
    call.params["fields"]["UF_CAMUNDA_ID_EXTERNAL_TASK"].as_str().unwrap_or_default().to_owned()
}

/// What becomes of a message after this answer to its create.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// Refused for good.
    Parked,
    /// One of its attempts is used up, which was the only one.
    Failed,
    /// It waits, and is created in the end without using an attempt.
    Created,
}

use Outcome::{Created, Failed, Parked};

/// The table of errors, without the two that pause a lane for a minute and more.
const ROWS: &[(u16, &str, Outcome)] = &[
    (503, "QUERY_LIMIT_EXCEEDED", Created),
    (500, "INTERNAL_SERVER_ERROR", Failed),
    (500, "ERROR_UNEXPECTED_ANSWER", Failed),
    (400, "ERROR_CORE", Parked),
    (400, "100", Parked),
    (400, "0", Parked),
    (400, "1048582", Parked),
    (400, "INVALID_ARG_VALUE", Parked),
    (400, "INVALID_REQUEST", Created),
    (401, "NO_AUTH_FOUND", Created),
    (401, "expired_token", Created),
    (401, "invalid_token", Created),
    (401, "METHOD_CONFIRM_WAITING", Created),
    (401, "PAYMENT_REQUIRED", Created),
    (401, "authorization_error", Created),
    (401, "INVALID_CREDENTIALS", Created),
    (403, "insufficient_scope", Created),
    (403, "ACCESS_DENIED", Created),
    (403, "user_access_error", Created),
    (403, "WRONG_AUTH_TYPE", Created),
    (403, "allowed_only_intranet_user", Created),
    (200, "ERROR_CORE", Parked),
    (200, "INTERNAL_SERVER_ERROR", Failed),
    (200, "expired_token", Created),
];

fn row_id(index: usize) -> String {
    let (status, code, _) = ROWS[index];
    format!("row-{index}-{status}-{code}")
}

/// A portal that answers the first create of each row's task with its error; and these creates. After a refusal in a
/// batch the portal refuses the plain create as well.
fn portal_of_rows(tasks: &Tasks, before: impl Fn(&Call) + Send + Sync + 'static) -> (Portal, Arc<Mutex<Vec<Call>>>) {
    let refused: Arc<Mutex<Vec<Call>>> = Arc::default();
    let (tasks, seen) = (tasks.clone(), refused.clone());
    let rows: HashMap<String, usize> = (0..ROWS.len()).map(|index| (row_id(index), index)).collect();
    let portal = Portal::start(move |call| {
        before(call);
        let mut seen = seen.lock().expect("no script panics");
        match rows.get(&marker(call)) {
            Some(row) => {
                let (status, code, expected) = ROWS[*row];
                let earlier: Vec<bool> =
                    seen.iter().filter(|earlier| marker(earlier) == marker(call)).map(|call| call.batched).collect();
                let again = expected == Parked && earlier == [true] && !call.batched;
                if !earlier.is_empty() && !again {
                    return tasks.answer(call);
                }
                seen.push(call.clone());
                Answer::refused(status, code, "Отказано<br>")
            }
            None => tasks.answer(call),
        }
    });
    (portal, refused)
}

/// What has become of this task, if it is decided.
fn outcome(id: &str, tasks: &Tasks, parked: &[Value]) -> Option<Outcome> {
    let parked = parked.iter().find(|parked| parked["original_message"]["task_id"] == id);
    match parked.map(|parked| parked["error_type"].as_str().unwrap_or_default()) {
        Some("REQUEST_ERROR") => Some(Parked),
        Some("RETRY_LIMIT_EXCEEDED") => Some(Failed),
        Some(other) => panic!("{id}: {other}"),
        None => (tasks.ids_of(id).len() == 1).then_some(Created),
    }
}

fn parked(queues: &Queues) -> Vec<Value> {
    queues.peek_all(&queues.errors()).iter().map(Message::json).collect()
}

#[track_caller]
fn assert_rows(queues: &Queues, tasks: &Tasks) {
    let parked = parked(queues);
    for (index, (status, code, expected)) in ROWS.iter().enumerate() {
        assert_eq!(outcome(&row_id(index), tasks, &parked), Some(*expected), "{status} {code}");
    }
    for parked in &parked {
        let error = parked["error_message"].as_str().expect("a text");
        let told = error.ends_with(": Отказано") || parked["error_type"] == "RETRY_LIMIT_EXCEEDED";
        assert!(told, "{error}");
        assert_eq!(parked["attempts"], 1);
    }
    Audit::take(queues, tasks.markers()).assert_holds();
}

#[test]
fn each_row_of_the_table_as_the_answer_to_a_plain_create() {
    let queues = Queues::new("rows plain");
    let tasks = Tasks::new();
    let (portal, refused) = portal_of_rows(&tasks, |_| {});
    let worker = start(&queues, &portal, &[]);
    let mut parked = 0;
    for (index, (_, _, expected)) in ROWS.iter().enumerate() {
        let (id, next) = (row_id(index), format!("next-{index}"));
        queues.publish_task(&message(&id));
        match expected {
            Created => eventually(&id, PATIENCE, || tasks.ids_of(&id).len() == 1),
            Parked | Failed => {
                parked += 1;
                queues.await_count(&queues.errors(), parked, PATIENCE);
            }
        }
        // The next message proceeds, and shows that the portal is there.
        queues.publish_task(&message(&next));
        eventually(&next, PATIENCE, || tasks.ids_of(&next).len() == 1);
    }
    assert!(refused.lock().expect("no script panics").iter().all(|call| !call.batched));
    queues.await_count(&queues.sent(), tasks.markers().len(), PATIENCE);
    stop(worker);
    assert_rows(&queues, &tasks);
}

/// One thread, which waits at the gate until all other messages have come.
fn gathered(tasks: &Tasks, messages: &[Value], check: impl FnOnce(&Queues, &Portal, &[Call])) {
    let queues = Queues::new("rows in a batch");
    let gate = Gate::closed();
    let (portal, refused) = {
        let gate = gate.clone();
        portal_of_rows(tasks, move |call| {
            if call.method == "tasks.task.list" && call.nth == 1 {
                gate.wait()
            }
        })
    };
    let worker = start(&queues, &portal, &[("HANDLER_THREADS", "1")]);
    queues.publish_task(&message("opener"));
    gate.await_waiting(1, PATIENCE);
    queues.publish_tasks(messages);
    queues.await_count(&queues.input(), 0, PATIENCE);
    gate.open();
    let settled = || queues.count(&queues.sent()) + queues.count(&queues.errors());
    eventually("everything settled", PATIENCE, || settled() == messages.len() + 1);
    stop(worker);
    let refused = refused.lock().expect("no script panics").clone();
    check(&queues, &portal, &refused);
}

#[test]
fn each_row_of_the_table_as_the_answer_to_a_command_of_a_batch() {
    let tasks = Tasks::new();
    // A message that succeeds follows each, so no three failures in a row look like an outage.
    let messages: Vec<Value> =
        (0..ROWS.len()).flat_map(|index| [message(&row_id(index)), message(&format!("next-{index}"))]).collect();
    gathered(&tasks, &messages, |queues, _, refused| {
        let (batched, alone): (Vec<&Call>, Vec<&Call>) = refused.iter().partition(|call| call.batched);
        let parked = ROWS.iter().filter(|(_, _, expected)| *expected == Parked).count();
        assert_eq!((batched.len(), alone.len()), (ROWS.len(), parked));
        assert_rows(queues, &tasks);
    });
}

/// Answers that do not say whether the task was created.
fn unclear_answers() -> Vec<(&'static str, Reply)> {
    let empty = |status| Reply::Raw { status, content_type: "application/json".into(), body: Vec::new() };
    vec![
        ("html", Reply::html(502, "<html><body>502 Bad Gateway</body></html>")),
        ("html-200", Reply::html(200, "<html>login</html>")),
        ("half", Reply::Half(200, json!({"result": {"task": {"id": "1001"}}}))),
        ("empty", empty(200)),
        ("error-500", Reply::Json(500, json!({"error": "INTERNAL_SERVER_ERROR"}))),
        ("error-200", Reply::Json(200, json!({"error": "INTERNAL_SERVER_ERROR"}))),
        ("empty-500", empty(500)),
        ("no-task", Reply::Json(200, json!({"result": []}))),
        ("null", Reply::Json(200, json!({"result": null}))),
        ("nothing", Reply::Json(200, json!({}))),
        ("close", Reply::Close),
        ("reset", Reply::Reset),
        ("drip", Reply::Drip(json!({"result": {"task": {"id": "1001"}}}), Duration::from_millis(100))),
        ("hang", Reply::Hang),
    ]
}

/// `executed`: whether the portal had created the task before this answer.
fn unclear_creates(executed: bool) {
    let queues = Queues::new("unclear");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        let unclear: HashMap<_, _> = unclear_answers().into_iter().collect();
        let seen: Mutex<Vec<String>> = Mutex::default();
        Portal::start(move |call| {
            let id = marker(call);
            let mut seen = seen.lock().expect("no script panics");
            let Some(reply) = unclear.get(id.as_str()).filter(|_| !seen.contains(&id)) else {
                return tasks.answer(call);
            };
            seen.push(id);
            if executed {
                let _ = tasks.answer(call);
            }
            Answer::Http(reply.clone())
        })
    };
    let worker = start(&queues, &portal, &[("RETRY_ATTEMPTS", "3"), ("HANDLER_THREADS", "8")]);
    // A create with an empty answer was executed; see `portal_as_it_is`.
    let answers = || unclear_answers().into_iter().filter(|(id, _)| executed || *id != "no-task");
    for (number, (id, _)) in answers().enumerate() {
        queues.publish_task(&message(id));
        eventually(id, PATIENCE, || portal.calls().iter().any(|call| marker(call) == id));
        let next = format!("next-{number}");
        queues.publish_task(&message(&next));
        eventually(&next, PATIENCE, || tasks.ids_of(&next).len() == 1);
    }
    queues.await_count(&queues.sent(), 2 * answers().count(), PATIENCE);
    stop(worker);
    for (id, _) in answers() {
        let creates = portal.calls().iter().filter(|call| marker(call) == id).count();
        assert_eq!((id, creates), (id, if executed { 1 } else { 2 }));
    }
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_create_that_was_executed_without_a_clear_answer_is_found_and_not_repeated() {
    unclear_creates(true);
}

#[test]
fn a_create_that_was_not_executed_is_looked_up_and_then_repeated() {
    unclear_creates(false);
}

#[test]
fn a_batch_of_creates_whose_answer_is_lost_creates_nothing_twice() {
    let queues = Queues::new("lost batch");
    let tasks = Tasks::new();
    let gate = Gate::closed();
    let portal = {
        let (tasks, gate) = (tasks.clone(), gate.clone());
        let lost: Mutex<Option<usize>> = Mutex::default();
        Portal::start(move |call| {
            if call.method == "tasks.task.list" && call.nth == 1 {
                gate.wait();
            }
            let answer = tasks.answer(call);
            // The third command ends its batch without an answer: two more tasks exist, nobody knows about the others.
            let mut lost = lost.lock().expect("no script panics");
            if marker(call) == "task-2" && lost.is_none() {
                *lost = Some(call.request);
                return Answer::Http(Reply::Close);
            }
            answer
        })
    };
    let worker = start(&queues, &portal, &[("HANDLER_THREADS", "1"), ("RETRY_ATTEMPTS", "3")]);
    queues.publish_task(&message("opener"));
    gate.await_waiting(1, PATIENCE);
    let messages: Vec<Value> = (0..8).map(|number| message(&format!("task-{number}"))).collect();
    queues.publish_tasks(&messages);
    queues.await_count(&queues.input(), 0, PATIENCE);
    gate.open();
    queues.await_count(&queues.sent(), 9, PATIENCE);
    assert!(portal.calls().iter().any(|call| marker(call) == "task-2" && call.batched));
    stop(worker);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_method_or_portal_in_cool_down_is_left_alone_and_no_message_pays_for_it() {
    let rows = [
        (429, "OPERATION_TIME_LIMIT", "trying again in 60s"),
        (503, "OVERLOAD_LIMIT", "trying again in 300s"),
        (500, "PORTAL_DELETED", "trying again in 300s"),
        (410, "PORTAL_DELETED", "trying again in 300s"),
    ];
    let held = |(status, code, pause): (u16, &'static str, &str), count: usize| {
        let queues = Queues::new("held");
        let tasks = Tasks::new();
        let portal = {
            let tasks = tasks.clone();
            Portal::start(move |call| match call.method.as_str() {
                "tasks.task.add" => Answer::refused(status, code, "Подождите"),
                _ => tasks.answer(call),
            })
        };
        let messages: Vec<Value> = (0..count).map(|number| message(&format!("task-{number}"))).collect();
        queues.publish_tasks(&messages);
        let mut worker = start(&queues, &portal, &[("HANDLER_THREADS", "1")]);
        worker.await_log(&format!("pausing, messages stay in their queue; {pause}"), PATIENCE);
        // The tasks that the thread works on may still fail, in one more request.
        let creates = portal.count("tasks.task.add") + count;
        // A lane without the pause would try 20 times a second.
        thread::sleep(Duration::from_millis(700));
        assert!(portal.count("tasks.task.add") <= creates, "{code}: {} creates", portal.count("tasks.task.add"));
        let alarms = worker.errors();
        assert!(alarms.lines().count() == 1 && alarms.contains(code), "{alarms}");
        worker.signal("INT");
        assert_eq!(worker.wait(PATIENCE).code(), Some(0));
        queues.await_count(&queues.input(), count, PATIENCE);
        assert!(queues.peek_all(&queues.input()).iter().all(|message| !message.headers.contains_key("x-attempts")));
        Audit::take(&queues, tasks.markers()).may_wait("the portal is in cool-down").assert_holds();
    };
    thread::scope(|scope| {
        for row in rows {
            scope.spawn(move || [1, 5].map(|count| held(row, count)));
        }
    });
}

#[test]
fn a_burst_of_refusals_for_too_many_requests_slows_the_worker_down_and_costs_nothing() {
    let queues = Queues::new("too fast");
    let tasks = Tasks::new();
    let portal = {
        let first: Mutex<Option<Instant>> = Mutex::default();
        let refuses = move |request: &Request| {
            let started = *first.lock().expect("no script panics").get_or_insert_with(Instant::now);
            let refused = Answer::refused(503, "QUERY_LIMIT_EXCEEDED", "Too many requests");
            let Answer::Refused { status, error, description } = refused else { return None };
            let reply = Reply::Json(status, json!({"error": error, "error_description": description}));
            (request.number > 6 && started.elapsed() < Duration::from_secs(3)).then_some(reply)
        };
        let tasks = tasks.clone();
        Portal::behind(refuses, move |call| tasks.answer(call))
    };
    let worker = start(&queues, &portal, &[]);
    for number in 0..30 {
        queues.publish_task(&message(&format!("task-{number}")));
    }
    queues.await_count(&queues.sent(), 30, PATIENCE);
    let refused = worker.log().matches("QUERY_LIMIT_EXCEEDED").count();
    assert!((1..=20).contains(&refused), "{refused} refusals in 3 s");
    stop(worker);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_redirect_is_not_followed_and_the_token_goes_nowhere() {
    let queues = Queues::new("redirect");
    let tasks = Tasks::new();
    let elsewhere = Portal::of(&tasks);
    let portal = {
        let place = elsewhere.webhook();
        Portal::behind(
            move |request| Some(Reply::Redirect(format!("{place}/{}", request.method))),
            |_| panic!("the door is closed"),
        )
    };
    let worker = start(&queues, &portal, &[]);
    queues.publish_task(&message("task-1"));
    worker.await_log("the portal has moved: correct BITRIX_WEBHOOK_URL", PATIENCE);
    eventually("another try", PATIENCE, || portal.requests().len() >= 3);
    assert_eq!(elsewhere.requests().len(), 0);
    assert_eq!(queues.count(&queues.errors()), 0);
    stop(worker);
    Audit::take(&queues, tasks.markers()).may_wait("the portal has moved").assert_holds();
}
