//! What the monitor says of lanes and their tasks, and what it does to a lane: with a real worker, a real RabbitMQ and
//! a portal that does what the test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::{Answered, Api};
use crate::support::*;

/// An answer comes within this time, however the broker is.
const AT_ONCE: Duration = Duration::from_secs(5);

fn started(queues: &Queues, portal: &Portal, changes: &[(&str, &str)]) -> (Worker, Api) {
    let api = Api::anywhere();
    let worker = Worker::start(queues, &portal.webhook(), &[&api.settings(), changes].concat());
    eventually("the monitor", PATIENCE, || api.get("/livez").is_ok_and(|answer| answer.status == 200));
    (worker, api)
}

fn get(api: &Api, path: &str) -> Answered {
    let started = Instant::now();
    let answer = api.get(path).expect("an answer");
    assert!(started.elapsed() < AT_ONCE, "{path} took {:?}", started.elapsed());
    answer
}

fn lane(api: &Api) -> Value {
    get(api, "/api/v1/lanes/bitrix24").json()
}

/// Waits until the lane is as it should be, and returns it.
fn await_lane(api: &Api, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    eventually_ok(what, PATIENCE, || {
        last = lane(api);
        if is_so(&last) { Ok(last.clone()) } else { Err(last.to_string()) }
    })
}

fn tasks(api: &Api, query: &str) -> Value {
    let answer = get(api, &format!("/api/v1/tasks?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("a list").iter().map(|task| task["task_id"].as_str().expect("an id")).collect()
}

fn set_state(api: &Api, order: &Value) -> Answered {
    api.ask("PUT", "/api/v1/lanes/bitrix24/state", Some(order)).expect("an answer")
}

#[test]
fn a_task_is_seen_open_then_unanswered_and_then_no_more() {
    let (queues, tasks_there) = (Queues::new("monitor open"), Tasks::new());
    let portal = Portal::of(&tasks_there);
    let (mut worker, api) = started(&queues, &portal, &[]);
    queues.publish_task(&field_text("field-1"));
    eventually("the open task", PATIENCE, || ids(&tasks(&api, "state=open")) == ["field-1"]);
    let page = tasks(&api, "q=PROCESS-OF-FIELD");
    let task = &page["items"][0];
    assert_eq!((&task["state"], &task["process_id"]), (&json!("open"), &json!("process-of-field-1")));
    assert_eq!(task["target_id"], json!(tasks_there.ids_of("field-1")[0].to_string()));
    let link = task["link"].as_str().expect("a link");
    assert!(link.ends_with(&format!("/tasks/task/view/{}/", tasks_there.ids_of("field-1")[0])), "{link}");
    let shown = await_lane(&api, "an open task", |lane| lane["open"] == 1 && lane["queues"]["sent_messages"] == 1);
    assert_eq!((&shown["state"], &shown["ready"], &shown["consumers"]), (&json!("works"), &json!(true), &json!(1)));
    assert_eq!(shown["rate_per_minute"].as_array().map(Vec::len), Some(60));
    assert!(["last_ack_at", "last_message_at", "last_sweep_at"].iter().all(|time| shown[time].is_string()), "{shown}");

    tasks_there.set_status("field-1", 5);
    eventually("the unanswered task", PATIENCE, || ids(&tasks(&api, "state=unanswered")) == ["field-1"]);
    let status = get(&api, "/api/v1/status").json();
    let said = &status["attention"][0];
    assert_eq!((&said["code"], &said["system"]), (&json!("unanswered"), &json!("bitrix24")), "{status}");
    tasks_there.set("field-1", "UF_RESULT_ANSWER", json!("26"));
    queues.await_count(&queues.responses(), 1, PATIENCE);
    eventually("no task", PATIENCE, || tasks(&api, "")["total"] == 0);
    let settled = await_lane(&api, "nothing under way", |lane| lane["in_hand"] == 0 && lane["unanswered"] == 0);
    assert_eq!(settled["waiting"]["taken"], 0);
    worker.stop();
}

#[test]
fn an_outage_of_the_target_is_told_with_its_reason_and_the_tasks_that_wait() {
    let (queues, tasks_there) = (Queues::new("monitor outage"), Tasks::new());
    let away = Arc::new(AtomicBool::new(true));
    let portal = {
        let (tasks, away) = (tasks_there.clone(), away.clone());
        Portal::start(move |call| match away.load(Ordering::Relaxed) {
            true => Answer::refused(401, "INVALID_CREDENTIALS", "the webhook is not accepted"),
            false => tasks.answer(call),
        })
    };
    let (mut worker, api) = started(&queues, &portal, &[]);
    queues.publish_tasks(&["a", "b"].map(seed_message));
    let lane = await_lane(&api, "the outage", |lane| lane["state"] == "target_away");
    assert!(lane["reason"].as_str().is_some_and(|why| why.contains("INVALID_CREDENTIALS")), "{lane}");
    assert!(lane["next_try_in_seconds"].is_u64() && lane["since"].is_string(), "{lane}");
    eventually("both tasks", PATIENCE, || ids(&tasks(&api, "")).len() == 2);
    let failed = tasks(&api, "q=invalid_cred");
    let task = &failed["items"][0];
    assert_eq!((&task["state"], task["next_try_in_seconds"].is_u64()), (&json!("retrying"), true), "{failed}");
    assert_eq!(task["step"], "waiting for the target");
    let status = get(&api, "/api/v1/status");
    let said = status.json()["attention"][0].clone();
    assert_eq!(said["code"], "target_away");
    assert!(
        said["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("bitrix24 waits ") && text.contains("webhook is not accepted"))
    );
    assert!(!status.body.contains("portal-canary-token"));
    away.store(false, Ordering::Relaxed);
    queues.await_count(&queues.sent(), 2, PATIENCE);
    await_lane(&api, "work", |lane| lane["state"] == "works" && lane["in_hand"] == 0);
    worker.stop();
}

#[test]
fn a_lane_is_paused_and_resumed_and_says_by_whom_and_why() {
    let (queues, tasks_there) = (Queues::new("monitor pause"), Tasks::new());
    let portal = Portal::of(&tasks_there);
    let (mut worker, api) = started(&queues, &portal, &[("HEARTBEAT_INTERVAL", "3600")]);
    let order = json!({"state": "paused", "reason": "maintenance", "for_seconds": 900});
    let paused = set_state(&api, &order);
    assert_eq!((paused.status, &paused.json()["state"]), (200, &json!("paused")), "{}", paused.body);
    let lane = paused.json();
    assert_eq!((&lane["reason"], &lane["paused_by"]), (&json!("maintenance"), &json!("control")));
    assert!(lane["paused_until"].is_string(), "{lane}");
    queues.publish_task(&seed_message("a"));
    await_lane(&api, "a task that waits", |lane| lane["waiting"]["taken"] == 1);
    assert_eq!(tasks(&api, "state=in_hand")["items"][0]["step"], "waiting, the lane is paused");
    assert_eq!(portal.count("tasks.task.add"), 0);
    let resumed = set_state(&api, &json!({"state": "running"}));
    assert_eq!((resumed.status, &resumed.json()["state"]), (200, &json!("works")), "{}", resumed.body);
    queues.await_count(&queues.sent(), 1, PATIENCE);

    let swept = lane_time(&api, "last_sweep_at");
    let asked = api.ask("POST", "/api/v1/lanes/bitrix24/sweeps", None).expect("an answer");
    assert_eq!(asked.status, 202, "{}", asked.body);
    await_lane(&api, "a sweep, long before the next", |lane| lane["last_sweep_at"] != swept && lane["open"] == 1);
    let events = get(&api, "/api/v1/events").body;
    assert!(
        events.contains("bitrix24: paused for 900 s: maintenance") && events.contains("bitrix24: resumed"),
        "{events}"
    );
    for wrong in [
        json!({"state": "paused"}),
        json!({"state": "paused", "reason": " "}),
        json!({"state": "paused", "reason": "x".repeat(201)}),
        json!({"state": "paused", "reason": "x", "for_seconds": 0}),
        json!({"state": "running", "reason": "x"}),
        json!({"state": "stopped"}),
        json!({"state": "running", "more": 1}),
    ] {
        assert_eq!(set_state(&api, &wrong).status, 400, "{wrong}");
    }
    worker.stop();
}

fn lane_time(api: &Api, name: &str) -> Value {
    lane(api)[name].clone()
}

#[test]
fn a_worker_is_ready_while_it_consumes_and_says_why_when_it_does_not() {
    let (queues, tasks_there) = (Queues::new("monitor ready"), Tasks::new());
    let portal = Portal::of(&tasks_there);
    let relay = Relay::to(queues.broker().rabbitmq().address());
    let port = relay.port().to_string();
    let (mut worker, api) = started(&queues, &portal, &[("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port)]);
    let await_ready = |what: &str, text: &str| {
        eventually_ok(what, PATIENCE, || {
            let answer = get(&api, "/readyz?verbose");
            let is_so = answer.body.contains(text) && (answer.status == 200) == text.starts_with("[+]");
            if is_so { Ok(()) } else { Err(format!("{} {}", answer.status, answer.body)) }
        });
    };
    await_ready("a worker that is ready", "[+] bitrix24 ready");
    relay.refuse();
    relay.cut();
    await_ready("no session", "[-] bitrix24: no session with RabbitMQ: ");
    relay.accept();
    await_ready("a worker that is ready again", "[+] bitrix24 ready");
    // A broker that hangs is noticed, and holds up no request.
    relay.hold(Direction::ToClient);
    await_ready("a broker that hangs", "[-] bitrix24: ");
    let unknown = |queue: &Value| queue["messages"].is_null() && queue["checked_at"].is_string();
    eventually("queues of which nothing is known any more", PATIENCE, || {
        let status = get(&api, "/api/v1/status").json();
        status["ready"] == false && unknown(&status["queues"][0])
    });
    relay.pass();
    await_ready("a worker that is ready in the end", "[+] bitrix24 ready");
    assert_eq!(api.ask_with("GET", "/readyz", &[], None).expect("an answer").body, "ready\n");
    worker.stop();
}

#[test]
fn a_pause_that_comes_later_is_told_as_asked_for_and_comes() {
    let (queues, tasks_there) = (Queues::new("monitor pause later"), Tasks::new());
    let portal = Portal::of(&tasks_there);
    let relay = Relay::to(queues.broker().rabbitmq().address());
    let port = relay.port().to_string();
    let (mut worker, api) = started(&queues, &portal, &[("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port)]);
    await_lane(&api, "work", |lane| lane["ready"] == true);
    // The lane is opening a session with a broker that does not answer.
    relay.hold(Direction::ToClient);
    relay.cut();
    let asked = eventually_some("a lane that is busy", PATIENCE * 2, || {
        let answer = set_state(&api, &json!({"state": "paused", "reason": "maintenance", "for_seconds": 900}));
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(asked.status, 202, "{}", asked.body);
    let said = asked.json();
    assert_eq!((&said["system"], &said["asked"], &said["state"]), (&json!("bitrix24"), &json!(true), &json!("paused")));
    assert!(said["comes_when"].as_str().is_some_and(|when| when.starts_with("the lane ")), "{said}");
    let events = get(&api, "/api/v1/events").body;
    assert!(events.contains("bitrix24: asked for, and comes later: paused for 900 s: maintenance"), "{events}");
    relay.pass();
    let paused = await_lane(&api, "the pause", |lane| lane["state"] == "paused");
    assert_eq!((&paused["paused_by"], &paused["reason"]), (&json!("control"), &json!("maintenance")));
    worker.stop();
}

#[test]
fn a_list_of_an_old_sweep_or_of_a_part_of_the_tasks_says_so() {
    let (queues, tasks_there) = (Queues::new("monitor old sweep"), Tasks::new());
    let away = Arc::new(AtomicBool::new(false));
    let portal = {
        let (tasks, away) = (tasks_there.clone(), away.clone());
        Portal::start(move |call| match away.load(Ordering::Relaxed) {
            true => Answer::refused(503, "DOWN", ""),
            false => tasks.answer(call),
        })
    };
    let (mut worker, api) = started(&queues, &portal, &[("HEARTBEAT_INTERVAL", "3600")]);
    queues.publish_task(&field_text("field-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    let sweep = || api.ask("POST", "/api/v1/lanes/bitrix24/sweeps", None).expect("an answer");
    let await_list = |what: &str, complete: bool, listed: &[&str]| {
        eventually_ok(what, PATIENCE, || {
            let page = tasks(&api, "state=open");
            let is_so = page["complete"] == complete && ids(&page) == listed;
            if is_so { Ok(page) } else { Err(page.to_string()) }
        })
    };
    sweep();
    let known = await_list("the open task", true, &["field-1"]);
    assert_eq!(
        (&known["snapshot_at"], &lane(&api)["open_is_current"]),
        (&lane_time(&api, "last_sweep_at"), &json!(true))
    );
    away.store(true, Ordering::Relaxed);
    sweep();
    let old = await_list("the same list, which is old", false, &["field-1"]);
    assert_eq!((&old["snapshot_at"], &lane(&api)["open_is_current"]), (&known["snapshot_at"], &json!(false)));
    away.store(false, Ordering::Relaxed);
    sweep();
    await_list("a new list", true, &["field-1"]);
    // It is not shown, and not parked before the third time.
    tasks_there.delete("field-1");
    sweep();
    await_list("a list without a task of which nothing is known", false, &[]);
    worker.stop();
}

#[test]
fn open_tasks_are_paged_oldest_first_and_the_status_has_an_etag() {
    let (queues, tasks_there) = (Queues::new("monitor pages"), Tasks::new());
    let portal = Portal::of(&tasks_there);
    let (mut worker, api) = started(&queues, &portal, &[("HEARTBEAT_INTERVAL", "4")]);
    let names: Vec<String> = (1..=7).map(|number| format!("task-{number}")).collect();
    queues.publish_tasks(names.iter().map(|name| seed_message(name)).collect::<Vec<_>>().iter());
    eventually("all open", PATIENCE, || tasks(&api, "state=open")["total"] == 7);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = tasks(&api, &format!("state=open&limit=3&cursor={cursor}"));
        assert_eq!((&page["total"], &page["complete"]), (&json!(7), &json!(true)));
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, names);
    assert_eq!(tasks(&api, "state=open&older_than=3600")["total"], 0);
    assert_eq!(get(&api, "/api/v1/tasks?state=lost").status, 400);

    // Within two polls nothing may have happened, between two sweeps.
    eventually("the same status twice", PATIENCE, || {
        let etag = get(&api, "/api/v1/status").header("ETag").expect("an ETag").to_owned();
        let token = format!("Bearer {}", crate::support::api::CONTROL_TOKEN);
        let again = api.ask_with("GET", "/api/v1/status", &[("Authorization", &token), ("If-None-Match", &etag)], None);
        again.expect("an answer").status == 304
    });
    worker.stop();
}
