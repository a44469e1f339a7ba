//! Parked messages over the API of a running worker: lists, one in full, replay, replays with a brake, discard; nothing
//! is lost or doubled, and what is told of a replay is true.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::{Answered, Api, CONTROL_TOKEN};
use crate::support::parked::*;
use crate::support::*;

struct Stage {
    queues: Queues,
    tasks: Tasks,
    /// Open: the portal takes tasks.
    fixed: Gate,
    worker: Worker,
    api: Api,
}

impl Stage {
    /// A worker whose portal refuses every task until `fixed` is open.
    fn open(test: &str) -> Stage {
        let (queues, tasks, fixed, api) = (Queues::new(test), Tasks::new(), Gate::closed(), Api::anywhere());
        let portal = Portal::start({
            let (tasks, fixed) = (tasks.clone(), fixed.clone());
            move |call| match call.method.as_str() {
                "tasks.task.add" if !fixed.is_open() => Answer::refused(400, "ERROR_CORE", "no such field"),
                _ => tasks.answer(call),
            }
        });
        let changes = [&api.settings()[..], &[("BITRIX_RATE", "0")]].concat();
        let worker = Worker::start(&queues, &portal.webhook(), &changes);
        queues.await_consumers(&queues.input(), 1, PATIENCE);
        // It lives as long as the process.
        Box::leak(Box::new(portal));
        Stage { queues, tasks, fixed, worker, api }
    }

    /// Puts so many tasks into the error queue, `task-0` and on.
    fn park(&self, count: usize) {
        let body = |n: usize| {
            parked(&field_text(&format!("task-{n}")), "REQUEST_ERROR", "http status 400", &self.queues.input())
        };
        put(&self.queues, &(0..count).map(body).collect::<Vec<_>>());
    }

    fn get(&self, path: &str) -> Value {
        let answered = self.api.get(path).expect("an answer");
        assert_eq!(answered.status, 200, "{path}: {}", answered.body);
        answered.json()
    }

    fn change(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answered {
        let token = format!("Bearer {CONTROL_TOKEN}");
        self.api.ask_with(method, path, &[&[("Authorization", &*token)], headers].concat(), None).expect("an answer")
    }

    fn start(&self, order: &Value) -> Answered {
        self.api.ask("POST", "/api/v1/replays", Some(order)).expect("an answer")
    }

    /// Waits for the end of a replay, and returns it.
    fn await_end(&self, started: &Answered) -> Value {
        assert_eq!(started.status, 202, "{}", started.body);
        let place = started.header("Location").expect("a place").to_owned();
        let mut last = Value::Null;
        eventually("the end of the replay", PATIENCE, || {
            last = self.get(&place);
            last["ended_at"].is_string()
        });
        last
    }

    fn created(&self) -> (usize, usize) {
        let markers = self.tasks.markers();
        (markers.len(), markers.into_iter().collect::<BTreeSet<_>>().len())
    }
}

fn numbers(replay: &Value) -> [u64; 6] {
    ["matched", "replayed", "settled", "failed_again", "left", "skipped"]
        .map(|name| replay[name].as_u64().expect("a number"))
}

#[test]
fn parked_messages_are_listed_by_pages_filters_and_causes_and_shown_whole() {
    let stage = Stage::open("api parked list");
    stage.park(5);
    put(&stage.queues, &[parked(&small_task("other"), "NO_SYSTEM", "nobody", "elsewhere"), "nothing".into()]);
    let first = stage.get("/api/v1/parked?limit=4");
    assert_eq!((&first["total"], &first["complete"]), (&json!(7), &json!(true)));
    let (item, cursor) = (&first["items"][0], first["next_cursor"].as_str().expect("there is more"));
    assert_eq!(
        (&item["id"], &item["cause"], &item["replayable"]),
        (&json!("task-0"), &json!("REQUEST_ERROR"), &json!(true))
    );
    assert_eq!((&item["process_id"], &item["attempts"]), (&json!("process-of-task-0"), &json!(3)));
    let second = stage.get(&format!("/api/v1/parked?limit=4&cursor={cursor}"));
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next_cursor"]), (3, &Value::Null));
    assert_eq!(second["snapshot_at"], first["snapshot_at"], "a turned page reads nothing");
    assert_eq!(stage.get("/api/v1/parked?cause=no_system&system=bitrix24")["total"], 1);
    assert_eq!(stage.get("/api/v1/parked?q=PROCESS-OF-TASK-3")["items"][0]["id"], "task-3");
    let causes = stage.get("/api/v1/parked/causes");
    let told: Vec<_> = causes["causes"].as_array().unwrap().iter().map(|one| (&one["cause"], &one["count"])).collect();
    assert_eq!(told[0], (&json!("REQUEST_ERROR"), &json!(5)));
    assert!(causes["causes"][0]["advice"].as_str().unwrap().contains("correct what the target objects to"));
    let whole = stage.api.get("/api/v1/parked/task-2").expect("an answer");
    let etag = whole.json()["etag"].as_str().expect("it has one").to_owned();
    assert_eq!(whole.header("ETag"), Some(&*format!("\"{etag}\"")));
    assert_eq!(whole.json()["message"], field_message("task-2"));
    let other = stage.get("/api/v1/parked/other");
    assert!(other["why_not"].as_str().unwrap().contains("is not a queue of a system"), "{other}");
    assert_eq!(stage.api.get("/api/v1/parked/nobody").unwrap().status, 404);
    assert_eq!(stage.queues.count(&stage.queues.errors()), 7, "all are still there");
    assert_eq!(stage.api.get("/api/v1/parked?cursor=OS85").unwrap().status, 410);
}

#[test]
fn one_is_replayed_and_discarded_only_as_it_was_seen() {
    let mut stage = Stage::open("api parked one");
    stage.park(2);
    stage.fixed.open();
    let etag = stage.get("/api/v1/parked/task-0")["etag"].as_str().unwrap().to_owned();
    let (own, wrong) = (format!("\"{etag}\""), "\"0000000000000000\"");
    for (method, path) in [("DELETE", "/api/v1/parked/task-0"), ("POST", "/api/v1/parked/task-0/replay")] {
        assert_eq!(stage.change(method, path, &[("If-Match", wrong)]).status, 412, "{method}");
    }
    assert_eq!(stage.change("DELETE", "/api/v1/parked/task-0", &[]).status, 428);
    assert_eq!(stage.queues.count(&stage.queues.errors()), 2);
    assert_eq!(stage.change("DELETE", "/api/v1/parked/task-0", &[("If-Match", &own)]).status, 204);
    assert_eq!(stage.change("DELETE", "/api/v1/parked/task-0", &[("If-Match", &own)]).status, 404);
    assert_eq!(stage.get("/api/v1/parked")["total"], 1);
    let answered = stage.change("POST", "/api/v1/parked/task-1/replay", &[]);
    assert_eq!((answered.status, &answered.json()["state"]), (202, &json!("replayed")), "{}", answered.body);
    let place = format!("/api/v1/replays/{}", answered.json()["replay"]["id"].as_str().unwrap());
    eventually("its outcome", PATIENCE, || numbers(&stage.get(&place)) == [1, 1, 1, 0, 0, 0]);
    put(&stage.queues, &[parked(&small_task("stuck"), "X", "y", "elsewhere")]);
    let stuck = stage.change("POST", "/api/v1/parked/stuck/replay", &[]);
    assert_eq!(stuck.status, 409, "{}", stuck.body);
    assert!(stuck.body.contains("is not a queue of a system"), "{}", stuck.body);
    stage.worker.stop();
    assert_eq!(stage.created(), (1, 1));
    assert_eq!(ids(&stage.queues, &stage.queues.errors()), ["stuck"]);
}

/// The same task may be parked twice, by two workers or by hand.
#[test]
fn each_of_two_messages_with_one_id_is_reached_by_its_etag() {
    let mut stage = Stage::open("api parked twins");
    let body = |error: &str| parked(&field_text("twin"), "REQUEST_ERROR", error, &stage.queues.input());
    put(&stage.queues, &[body("the first"), body("the second")]);
    stage.fixed.open();
    let list = stage.get("/api/v1/parked");
    let etag_of = |error: &str| {
        let item = list["items"].as_array().unwrap().iter().find(|item| item["error"] == error).expect("it is listed");
        format!("\"{}\"", item["etag"].as_str().unwrap())
    };
    for error in ["the first", "the second"] {
        let shown = stage.change("GET", "/api/v1/parked/twin", &[("If-Match", &etag_of(error))]);
        assert_eq!((shown.status, &shown.json()["error"]), (200, &json!(error)), "{}", shown.body);
    }
    let wrong = stage.change("GET", "/api/v1/parked/twin", &[("If-Match", "\"0000000000000000\"")]);
    assert_eq!(wrong.status, 412, "{}", wrong.body);
    let second = etag_of("the second");
    let replayed = stage.change("POST", "/api/v1/parked/twin/replay", &[("If-Match", &second)]);
    assert_eq!(replayed.status, 202, "{}", replayed.body);
    eventually("the first is left", PATIENCE, || stage.get("/api/v1/parked/twin")["error"] == "the first");
    stage.worker.stop();
    assert_eq!((stage.created(), stage.queues.count(&stage.queues.errors())), ((1, 1), 1));
}

#[test]
fn a_record_is_not_followed_and_a_replay_that_is_over_cannot_be_stopped() {
    let mut stage = Stage::open("api replay record");
    let record =
        json!({"original_message": serde_json::from_str::<Value>(&field_text("task-r")).unwrap(), "response_data": {}});
    let sent = stage.queues.sent();
    put(&stage.queues, &[parked(&record.to_string(), "INVALID_RECORD", "no task", &sent)]);
    let started = stage.start(&json!({"all": true, "per_second": 1000}));
    let done = stage.await_end(&started);
    assert_eq!(
        (&done["state"], &done["replayed"], &done["not_followed"]),
        (&json!("done"), &json!(1), &json!(1)),
        "{done}"
    );
    assert_eq!((&done["items"][0]["state"], &done["complete"]), (&json!("not_followed"), &json!(true)));
    let last = stage.get("/api/v1/events")["events"].as_array().unwrap().len();
    assert_eq!(stage.change("DELETE", started.header("Location").unwrap(), &[]).status, 202);
    let events = stage.get("/api/v1/events");
    assert_eq!(events["events"].as_array().unwrap().len(), last, "{events}");
    stage.worker.stop();
}

#[test]
fn a_target_that_still_refuses_gets_one_message_and_the_rest_stays_parked() {
    let mut stage = Stage::open("api replay brake");
    stage.park(8);
    let order = json!({"cause": "REQUEST_ERROR", "limit": 5, "per_second": 1000});
    let dry = stage.await_end(&stage.start(&json!({"all": true, "limit": 100, "dry_run": true})));
    assert_eq!((numbers(&dry), &dry["state"]), ([8, 0, 0, 0, 8, 0], &json!("done")));
    let failed = stage.await_end(&stage.start(&order));
    assert_eq!((numbers(&failed), &failed["state"]), ([5, 1, 0, 1, 4, 0], &json!("failed")), "{failed}");
    let item = failed["items"].as_array().unwrap().iter().find(|item| item["state"] == "failed_again").unwrap();
    assert!(item["error"].as_str().unwrap().contains("no such field"), "{item}");
    stage.queues.await_count(&stage.queues.errors(), 8, PATIENCE);
    stage.fixed.open();
    let done = stage.await_end(&stage.start(&json!({"all": true, "limit": 100, "per_second": 1000})));
    assert_eq!((numbers(&done), &done["state"]), ([8, 8, 8, 0, 0, 0], &json!("done")), "{done}");
    let polled = stage.get("/api/v1/status");
    assert_eq!((&polled["replay"]["id"], &polled["replay"]["settled"]), (&done["id"], &json!(8)));
    assert_eq!(polled["replay"].get("items"), None, "what is polled has the numbers only");
    stage.worker.stop();
    assert_eq!((stage.created(), stage.queues.count(&stage.queues.errors())), ((8, 8), 0));
    assert_eq!(stage.queues.count(&stage.queues.sent()), 8);
}

#[test]
fn one_replay_runs_at_a_time_and_stopping_it_loses_and_doubles_nothing() {
    let mut stage = Stage::open("api replay stop");
    stage.park(30);
    stage.fixed.open();
    let started = stage.start(&json!({"all": true, "limit": 30, "per_second": 4, "stop_on_failure": false}));
    let place = started.header("Location").expect("a place").to_owned();
    let second = stage.start(&json!({"all": true}));
    assert_eq!(second.status, 409, "{}", second.body);
    assert!(second.body.contains("urn:task-creator:problem:replay-is-running"), "{}", second.body);
    eventually("a few", PATIENCE, || stage.get(&place)["replayed"].as_u64() >= Some(3));
    assert_eq!(stage.change("DELETE", "/api/v1/parked/task-29", &[("If-Match", "*")]).status, 409);
    let listed = stage.get("/api/v1/parked")["total"].as_u64().unwrap();
    assert!((20..30).contains(&listed), "what a replay holds is listed, what has gone is not: {listed}");
    assert_eq!(stage.change("DELETE", &place, &[]).status, 202);
    let stopped = stage.await_end(&started);
    let [matched, replayed, _, failed_again, left, skipped] = numbers(&stopped);
    assert_eq!((&stopped["state"], matched, replayed + left), (&json!("stopped"), 30, 30), "{stopped}");
    assert_eq!((failed_again, skipped), (0, 0));
    stage.queues.await_count(&stage.queues.errors(), left as usize, PATIENCE);
    stage.queues.await_count(&stage.queues.sent(), replayed as usize, PATIENCE);
    // The command does the rest.
    run_with(&["parked", "replay", "--all"], &stage.queues, "", &[])
        .ended_with(0)
        .has(&format!("replayed {left}, skipped 0"));
    stage.queues.await_count(&stage.queues.sent(), 30, PATIENCE);
    stage.worker.stop();
    assert_eq!((stage.created(), stage.queues.count(&stage.queues.errors())), ((30, 30), 0));
}

#[test]
fn an_order_that_says_nothing_or_too_much_is_refused() {
    let stage = Stage::open("api replay orders");
    for wrong in [
        json!({}),
        json!({"q": "x"}),
        json!({"all": false}),
        json!({"all": true, "limit": 0}),
        json!({"all": true, "per_second": 0}),
        json!({"all": true, "unknown": 1}),
    ] {
        assert_eq!(stage.start(&wrong).status, 400, "{wrong}");
    }
    assert_eq!(stage.api.get("/api/v1/replays/1").unwrap().status, 404);
    let nothing = stage.await_end(&stage.start(&json!({"cause": "NOBODY"})));
    assert_eq!((numbers(&nothing), &nothing["state"]), ([0; 6], &json!("done")));
}

/// A debug build on a busy machine takes longer than the second that an operator may wait.
#[test]
fn ten_thousand_parked_messages_are_listed_soon_and_stay() {
    let stage = Stage::open("api parked many");
    for part in 0..10 {
        let body = |n: usize| {
            let id = format!("task-{}", part * 1000 + n);
            parked(&field_text(&id), "REQUEST_ERROR", "http status 400: user 17 is not there", &stage.queues.input())
        };
        put(&stage.queues, &(0..1000).map(body).collect::<Vec<_>>());
    }
    let started = Instant::now();
    let first = stage.get("/api/v1/parked?limit=200");
    let took = started.elapsed();
    assert_eq!((first["items"].as_array().unwrap().len(), &first["total"]), (200, &json!(10_000)));
    println!("the first page of 10,000 took {took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    let started = Instant::now();
    let cursor = first["next_cursor"].as_str().expect("there is more");
    stage.get(&format!("/api/v1/parked?limit=200&cursor={cursor}"));
    println!("the next page took {:?}", started.elapsed());
    assert_eq!(stage.queues.count(&stage.queues.errors()), 10_000);
}
