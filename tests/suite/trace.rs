//! `trace`: where one task is, as a user asks it on the command line, with a worker, a portal and an engine.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use task_creator::http::{Http, Method, Request};
use task_creator::sandbox::camunda::{Camunda, PASSWORD, ROOT, USER};
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::{self, ANY_REQUEST, Fault, Limits, Sandbox, What};
use task_creator::tls::RootCertificates;

use crate::support::*;

/// Who has locked the tasks: what the messages say.
const BRIDGE: &str = "universal-worker";
const ID: &str = "task-1";

/// An engine, a portal and queues; a test starts its worker itself.
struct Scene {
    engine: HttpFake<Camunda>,
    portal: Sandbox,
    queues: Queues,
    settings: Vec<(String, String)>,
}

impl Scene {
    fn set(test: &str) -> Scene {
        Scene::with(test, &[])
    }

    fn with(test: &str, changes: &[(&str, &str)]) -> Scene {
        let engine = HttpFake::start(0, Camunda::default()).expect("a free port");
        let portal = Sandbox::start(0, Limits::default()).expect("a free port");
        let queues = Queues::new(&format!("trace {test}"));
        let url = format!("http://{}{ROOT}", engine.address());
        let own = [
            ("CAMUNDA_URL", url.as_str()),
            ("CAMUNDA_USER", USER),
            ("CAMUNDA_PASSWORD", PASSWORD),
            ("BITRIX_RATE", "0"),
            ("BITRIX_REQUEST_TIMEOUT", "2"),
            ("HEARTBEAT_INTERVAL", "0.3"),
        ];
        let kept = own.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| name != changed)).copied();
        let webhook = sandbox::webhook_url(portal.address());
        let settings = changed(&queues, &webhook, &kept.chain(changes.iter().copied()).collect::<Vec<_>>());
        Scene { engine, portal, queues, settings }
    }

    fn worker(&self) -> Worker {
        let worker = Worker::run(&[], &self.settings);
        self.queues.await_consumers(&self.queues.input(), 1, PATIENCE);
        worker
    }

    /// The bridge has locked the task and published its message.
    fn publish(&self) {
        self.engine.target().lock(ID, BRIDGE);
        self.queues.publish_task(&field_text(ID));
    }

    /// A worker makes its task, and stops.
    #[track_caller]
    fn made(&self) -> u64 {
        let mut worker = self.worker();
        self.publish();
        self.queues.await_count(&self.queues.sent(), 1, PATIENCE);
        worker.stop();
        self.portal.ids_of(ID)[0]
    }

    fn trace(&self, arguments: &[&str]) -> Ended {
        run(&[&["trace", ID], arguments].concat(), &self.settings)
    }

    /// The same as JSON, with its exit code.
    #[track_caller]
    fn told(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let ended = self.trace(&[arguments, &["--json"]].concat());
        let told = parked::json_lines(&ended.output).pop().unwrap_or_else(|| panic!("{}", ended.output));
        has_known_codes(&told);
        (told, ended.code)
    }

    /// The bridge takes the response and completes the task.
    fn complete(&self) {
        let url = format!("http://{}{ROOT}/external-task/{ID}/complete", self.engine.address());
        let body = json!({"workerId": BRIDGE, "variables": {}}).to_string();
        let request = Request::new(Method::POST, &url).basic(USER, PASSWORD).json(body.as_bytes());
        let http = Http::new(Duration::from_secs(5), &RootCertificates::public());
        assert_eq!(http.send(request).expect("it answers").status, 204);
    }
}

#[track_caller]
fn says(told: &(Value, Option<i32>), code: &str, exit: i32) {
    assert_eq!((&told.0["verdict"]["code"], told.1), (&json!(code), Some(exit)), "{:#}", told.0);
}

/// The page has texts for the codes in the description.
#[track_caller]
fn has_known_codes(told: &Value) {
    let described: Value =
        serde_json::from_str(include_str!("../../src/monitor/openapi.json")).expect("the description is JSON");
    let known = &described["components"]["schemas"]["Trace"]["properties"];
    let steps = told["steps"].as_array().into_iter().flatten().map(|step| (step, &known["steps"]["items"]));
    for (part, known) in steps.chain(["verdict", "suggestion"].map(|part| (&told[part], &known[part]))) {
        let codes = known["properties"]["code"]["enum"].as_array().expect("a list");
        assert!(codes.contains(&part["code"]), "{part:#}");
    }
}

#[track_caller]
fn step<'a>(told: &'a Value, source: &str, part: &str) -> &'a Value {
    let steps = told["steps"].as_array().expect("steps");
    let fits =
        |step: &&Value| step["source"] == source && step["text"].as_str().is_some_and(|text| text.contains(part));
    steps.iter().find(fits).unwrap_or_else(|| panic!("{source} {part:?} in {told:#}"))
}

#[test]
fn an_id_that_nobody_knows_is_unknown() {
    let scene = Scene::set("unknown id");
    let told = scene.told(&["--browse"]);
    says(&told, "unknown_id", 3);
    assert_eq!(step(&told.0, "target", "shows no task with this id")["found"], false);
    assert_eq!(step(&told.0, "worker", "MONITOR_ADDR is not set")["looked"], "not_looked");
    assert_eq!(told.0["verdict"]["moving"], Value::Null);
    scene.trace(&[]).ended_with(3).has("Nobody knows this id").has("trace --browse task-1");
}

#[test]
fn a_task_at_the_portal_shows_who_has_it() {
    let scene = Scene::set("open");
    let number = scene.made();
    let seen = scene.trace(&[]);
    seen.ended_with(3).has(&format!("bitrix24 has it as {number}: open (waiting); responsible: User 17 (user 17)"));
    seen.has("Camunda waits for it, and the bridge has locked it").has("topic: bitrix_create_task");
    seen.has("(process instance process-of-task-1)").has_not("sandbox-token");
    let told = scene.told(&["--browse"]);
    says(&told, "open", 0);
    step(&told.0, "queues", &format!("{} has it", scene.queues.sent()));
    assert_eq!(scene.queues.count(&scene.queues.sent()), 1, "every message stays");
}

#[test]
fn a_task_that_waits_or_was_tried_before_is_found_in_its_queue() {
    let scene = Scene::with("queues", &[("RETRY_DELAY", "600")]);
    scene.publish();
    let told = scene.told(&["--browse"]);
    says(&told, "waiting", 0);
    assert_eq!(told.0["process_id"], "process-of-task-1");
    scene.portal.order(Fault::before("tasks.task.add", What::html(500, "down")));
    let mut worker = scene.worker();
    worker.await_log("trying again in ", PATIENCE);
    scene.queues.await_count(&scene.queues.input(), 0, PATIENCE);
    worker.stop();
    scene.queues.await_count(&scene.queues.retry(), 1, PATIENCE);
    let told = scene.told(&["--browse"]);
    says(&told, "retrying", 0);
    let step = step(&told.0, "queues", "retry.queue has it");
    assert!(step["details"]["error"].as_str().is_some_and(|error| error.contains("500")), "{step}");
    assert!(step["details"]["next_try"].is_string(), "{step}");
    assert_eq!(scene.queues.count(&scene.queues.retry()), 1, "every message stays");
}

#[test]
fn a_message_in_the_queue_of_a_system_that_is_off_is_not_lost() {
    let scene = Scene::set("system off");
    scene.engine.target().lock(ID, BRIDGE);
    let queue = scene.queues.named("telegram.queue");
    scene.queues.declare(&queue);
    scene.queues.publish(&queue, field_text(ID), Default::default());
    let told = scene.told(&["--browse"]);
    says(&told, "waiting", 0);
    step(&told.0, "queues", &format!("{queue} has it"));
}

#[test]
fn an_answered_task_is_followed_to_its_end() {
    let scene = Scene::set("answered");
    let number = scene.made();
    assert!(scene.portal.finish(number, 5, Some("ДА")));
    scene.trace(&[]).ended_with(3).has("finished in bitrix24 on ").has("Camunda still waits").has("answer: ДА");
    let told = scene.told(&["--browse"]);
    says(&told, "finished", 0);
    assert_eq!(told.0["suggestion"]["action"], "sweep");
    let mut worker = scene.worker();
    scene.queues.await_count(&scene.queues.responses(), 1, PATIENCE);
    worker.stop();
    let told = scene.told(&["--browse"]);
    says(&told, "answered", 0);
    assert_eq!(step(&told.0, "queues", "camunda.responses.queue has it")["details"]["answer"], "ДА");
    scene.complete();
    says(&scene.told(&["--browse"]), "answer_not_wanted", 0);
    scene.queues.purge(&scene.queues.responses());
    let told = scene.told(&[]);
    says(&told, "done", 0);
    step(&told.0, "camunda", "it was completed");
    // A history that is cleaned up knows nothing.
    scene.engine.target().history.clean_up();
    says(&scene.told(&[]), "finished_unclear", 3);
}

#[test]
fn a_parked_task_says_what_it_was_parked_for() {
    let scene = Scene::set("parked");
    scene.portal.order(Fault::before("tasks.task.add", What::refuse(400, "ERROR_CORE", "user 17 is not there")));
    let mut worker = scene.worker();
    scene.publish();
    scene.queues.await_count(&scene.queues.errors(), 1, PATIENCE);
    eventually("the incident", PATIENCE, || scene.engine.target().task(ID).is_some_and(|task| task.incident.is_some()));
    worker.stop();
    let told = scene.told(&[]);
    says(&told, "incident", 1);
    assert_eq!(told.0["suggestion"]["action"], "browse");
    let seen = scene.trace(&["--browse"]);
    seen.ended_with(1).has("It is parked as REQUEST_ERROR: ").has("user 17 is not there").has("parked replay task-1");
    assert_eq!(scene.queues.count(&scene.queues.errors()), 1, "every message stays");
    scene.complete_is_refused();
}

impl Scene {
    /// A process that was cancelled needs no parked message.
    #[track_caller]
    fn complete_is_refused(&self) {
        self.engine.target().cancel(ID);
        self.trace(&["--browse"]).ended_with(1).has("no longer waits for it").has("parked discard --yes task-1");
    }
}

#[test]
fn a_lost_task_is_told_only_when_nothing_may_hold_it() {
    let scene = Scene::set("lost");
    scene.engine.target().lock(ID, BRIDGE);
    says(&scene.told(&[]), "not_found", 3);
    let seen = scene.trace(&["--browse"]);
    seen.ended_with(1).has("It is lost: Camunda waits for it").has("reconcile --repair");
    // A worker that tells nothing may have it.
    let mut worker = scene.worker();
    let told = scene.told(&["--browse"]);
    says(&told, "not_found", 3);
    step(&told.0, "queues", "a worker may hold more");
    worker.stop();
    // So may a portal that does not answer.
    scene.portal.order(Fault::before(ANY_REQUEST, What::Close));
    let told = scene.told(&["--browse"]);
    says(&told, "not_found", 3);
    assert_eq!(step(&told.0, "target", "bitrix24: ")["looked"], "could_not");
}

#[test]
fn a_task_without_its_record_is_untracked() {
    let scene = Scene::set("untracked");
    let number = scene.made();
    scene.queues.purge(&scene.queues.sent());
    says(&scene.told(&["--browse"]), "untracked", 1);
    assert!(scene.portal.finish(number, 5, Some("ДА")));
    let told = scene.told(&["--browse"]);
    says(&told, "finished_untracked", 1);
    assert_eq!(told.0["suggestion"]["action"], "repair");
}

#[test]
fn a_task_that_nobody_wants_any_more_is_an_orphan() {
    let scene = Scene::set("orphan");
    scene.made();
    scene.engine.target().cancel(ID);
    says(&scene.told(&[]), "orphan", 1);
}

#[test]
fn an_engine_that_is_off_or_away_is_said() {
    let scene = Scene::with("no engine", &[("CAMUNDA_URL", "http://127.0.0.1:1/engine-rest")]);
    scene.made();
    let told = scene.told(&["--browse"]);
    says(&told, "open", 0);
    assert_eq!(step(&told.0, "camunda", "Camunda: ")["looked"], "could_not");
    let off: Vec<(String, String)> =
        scene.settings.iter().filter(|(name, _)| !name.starts_with("CAMUNDA_")).cloned().collect();
    run(&["trace", ID], &off).ended_with(3).has("CAMUNDA_URL is not set");
}

// The running worker is asked.

/// A worker that answers questions, and what it says.
struct Asked {
    worker: Worker,
    address: String,
}

impl Scene {
    /// The settings of a worker whose API is at a free port of this machine.
    fn with_api(test: &str, changes: &[(&str, &str)]) -> (Scene, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        drop(listener);
        let scene = Scene::with(test, &[changes, &[("MONITOR_ADDR", address.as_str())]].concat());
        (scene, address)
    }

    fn asked(&self, address: &str) -> Asked {
        Asked { worker: self.worker(), address: address.to_owned() }
    }
}

impl Asked {
    fn get(&self, path: &str) -> Value {
        let http = Http::new(Duration::from_secs(30), &RootCertificates::public());
        let answer =
            http.send(Request::new(Method::GET, &format!("http://{}{path}", self.address))).expect("it answers");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    fn trace(&self, query: &str) -> Value {
        let told = self.get(&format!("/api/v1/tasks/{ID}{query}"));
        has_known_codes(&told);
        told
    }

    #[track_caller]
    fn await_verdict(&self, query: &str, code: &str) -> Value {
        let what = format!("the verdict {code}");
        eventually_ok(&what, PATIENCE, || {
            let told = self.trace(query);
            if told["verdict"]["code"] == code { Ok(told) } else { Err(format!("{told:#}")) }
        })
    }
}

#[test]
fn the_api_tells_what_the_worker_follows() {
    let (scene, address) = Scene::with_api("api open", &[]);
    let mut asked = scene.asked(&address);
    scene.publish();
    scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
    let told = asked.await_verdict("", "open");
    let number = scene.portal.ids_of(ID)[0].to_string();
    let worker = step(&told, "worker", "follows it until it is finished");
    assert_eq!((&worker["details"]["target_id"], &worker["details"]["lane"]), (&json!(number), &json!("works")));
    assert_eq!(step(&told, "target", "has it as")["details"]["responsible"], "User 17 (user 17)");
    assert_eq!((&told["verdict"]["moving"], &told["process_id"]), (&json!(true), &json!("process-of-task-1")));
    assert!(scene.portal.finish(scene.portal.ids_of(ID)[0], 5, Some("ДА")));
    scene.queues.await_count(&scene.queues.responses(), 1, PATIENCE);
    let told = asked.await_verdict("?browse=true", "answered");
    assert!(told["verdict"]["text"].as_str().is_some_and(|text| text.contains("ДА")), "{told:#}");
    asked.worker.stop();
}

#[test]
fn the_api_says_lost_only_when_the_worker_has_named_all_its_tasks() {
    let (scene, address) = Scene::with_api("api lost", &[]);
    scene.engine.target().lock(ID, BRIDGE);
    let mut asked = scene.asked(&address);
    let told = asked.await_verdict("?browse=true", "lost");
    assert_eq!(told["suggestion"]["action"], "repair");
    assert_eq!(asked.trace("")["verdict"]["code"], "not_found");
    asked.worker.stop();
}

#[test]
#[ignore = "takes long"]
fn the_api_says_why_a_task_waits_and_ends_in_time() {
    let (scene, address) = Scene::with_api("api away", &[("BITRIX_REQUEST_TIMEOUT", "60")]);
    let refused = scene.portal.order(Fault::before(ANY_REQUEST, What::refuse(401, "expired_token", "no")));
    let mut asked = scene.asked(&address);
    scene.publish();
    let told = asked.await_verdict("", "target_away");
    assert_eq!(told["verdict"]["moving"], false);
    assert!(told["verdict"]["text"].as_str().is_some_and(|text| text.contains("401")), "{told:#}");
    scene.portal.clear(&refused);
    let held = scene.portal.order(Fault::before(ANY_REQUEST, What::Hang(None)));
    let started = Instant::now();
    let told = asked.trace("");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(step(&told, "target", "no answer in time")["looked"], "could_not");
    scene.portal.clear(&held);
    scene.portal.release();
    scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
    asked.worker.stop();
}

#[test]
fn the_command_asks_the_running_worker() {
    let token = "canary-of-control-0123456789-0123";
    let (scene, _) = Scene::with_api("command", &[("MONITOR_CONTROL_TOKEN", token)]);
    let mut worker = scene.worker();
    scene.publish();
    scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
    eventually("the first sweep", PATIENCE, || scene.told(&[]).0["verdict"]["code"] == "open");
    scene.trace(&[]).ended_with(0).has("the worker follows it until it is finished").has("lane: works").has_not(token);
    // The next task waits while the lane is paused.
    run(&["control", "pause", "bitrix24", "--reason", "maintenance"], &scene.settings).ended_with(0);
    scene.queues.publish_task(&field_text("task-2"));
    let paused = || run(&["trace", "task-2"], &scene.settings);
    eventually("the lane has it", PATIENCE, || paused().output.contains("since bitrix24 is paused: "));
    paused().ended_with(1).has("maintenance").has("control resume bitrix24");
    run(&["control", "resume", "bitrix24"], &scene.settings).ended_with(0);
    scene.queues.await_count(&scene.queues.sent(), 2, PATIENCE);
    worker.stop();
    scene.trace(&[]).ended_with(3).has("could not").has("no worker answers at");
}
