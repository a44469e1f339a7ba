//! Parked tasks in Camunda's engine: each shows as an incident, a replay gives it its retries back, and whatever the
//! engine does holds up nothing and loses nothing.

use std::time::Duration;

use amiquip::AmqpValue;
use serde_json::{Value, json};
use task_creator::sandbox::camunda::{Camunda, ExternalTask, PASSWORD, ROOT, USER};
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::job_service::{JobService, TASKS, TOKEN};
use task_creator::sandbox::{ANY_CALL, Fault, What};

use crate::support::broker::header;
use crate::support::secrets::{files, found_in, in_settings};
use crate::support::*;

/// Who has locked the tasks: what the messages say.
const BRIDGE: &str = "universal-worker";

/// An engine, a worker that parks whatever comes, and its queues.
struct Scene {
    engine: HttpFake<Camunda>,
    queues: Queues,
    settings: Vec<(String, String)>,
    worker: Worker,
}

impl Scene {
    fn set(test: &str, changes: &[(&str, &str)]) -> Scene {
        let engine = HttpFake::start(0, Camunda::default()).expect("a free port");
        let queues = Queues::of("default", &format!("camunda {test}"));
        let url = format!("http://{}{ROOT}", engine.address());
        let own = [
            ("DEFAULT_ACTION", "park"),
            ("CAMUNDA_URL", url.as_str()),
            ("CAMUNDA_USER", USER),
            ("CAMUNDA_PASSWORD", PASSWORD),
            ("HEARTBEAT_INTERVAL", "0.2"),
            ("LOG_LEVEL", "DEBUG"),
        ];
        let kept = own.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| name != changed)).copied();
        let settings = changed(&queues, "", &kept.chain(changes.iter().copied()).collect::<Vec<_>>());
        let worker = Worker::run(&[], &settings);
        queues.await_consumers(&queues.input(), 1, PATIENCE);
        Scene { engine, queues, settings, worker }
    }

    /// Publishes tasks that the bridge has locked, and waits until they are parked.
    #[track_caller]
    fn park(&self, ids: &[&str]) {
        for id in ids {
            self.engine.target().lock(id, BRIDGE);
            self.queues.publish_task(&field_text(id));
        }
        self.queues.await_count(&self.queues.errors(), ids.len(), PATIENCE);
    }

    /// From now on the queue is another one, which takes nothing.
    fn make_full(&self, queue: &str) {
        let full = [("x-max-length", AmqpValue::LongInt(0)), ("x-overflow", header("reject-publish"))];
        self.queues.delete(queue);
        self.queues.declare_with(queue, &full.map(|(name, value)| (name.to_owned(), value)).into_iter().collect());
    }

    fn task(&self, id: &str) -> ExternalTask {
        self.engine.target().task(id).expect("the engine has it").clone()
    }

    #[track_caller]
    fn await_incident(&self, id: &str) -> String {
        eventually_some("the incident", PATIENCE, || self.task(id).incident)
    }

    fn replay(&self, arguments: &[&str]) -> Ended {
        run(&[&["parked", "replay", "--all"], arguments].concat(), &self.settings)
    }

    /// Stops the worker, in time and with everything settled. Returns its log.
    #[track_caller]
    fn end(&mut self, counts: &str) -> String {
        self.worker.stop();
        Audit::take(&self.queues, Vec::new()).assert_holds();
        let log = self.worker.log();
        assert!(log.contains(counts), "{counts}: {log}");
        log
    }
}

// Parked.

#[test]
fn a_parked_task_shows_as_an_incident_with_its_cause_and_stays_locked() {
    let mut scene = Scene::set("incident", &[]);
    scene.park(&["task-1"]);
    let incident = scene.await_incident("task-1");
    assert!(incident.starts_with("NO_SYSTEM: it belongs to bitrix24, which is off"), "{incident}");
    let task = scene.task("task-1");
    assert_eq!((task.retries, task.details.as_deref()), (Some(0), incident.strip_prefix("NO_SYSTEM: ")));
    let asked: Vec<Value> = scene.engine.asked().iter().map(|asked| asked.json()).collect();
    assert_eq!((asked.len(), &asked[0]["workerId"]), (1, &json!(BRIDGE)));
    let log = scene.end(" incidents_reported=1 incidents_unreported=0 ");
    assert!(log.contains("reported to Camunda as an incident: task=task-1"), "{log}");
}

#[test]
fn a_task_is_reported_only_when_its_parked_message_is_safe() {
    let mut scene = Scene::set("not confirmed", &[("RETRY_DELAY", "0.2")]);
    let errors = scene.queues.errors();
    scene.make_full(&errors);
    scene.engine.target().lock("task-1", BRIDGE);
    scene.queues.publish_task(&field_text("task-1"));
    scene.worker.await_log(&format!("{errors} does not take messages"), PATIENCE);
    assert!(scene.engine.asked().is_empty(), "nothing is parked yet");
    scene.queues.delete(&errors);
    scene.await_incident("task-1");
    scene.queues.await_count(&errors, 1, PATIENCE);
    scene.end(" incidents_reported=1 incidents_unreported=0 ");
}

#[test]
fn a_task_that_the_tracker_parks_shows_as_an_incident_too() {
    let service = HttpFake::start(0, JobService::default()).expect("a free port");
    let url = format!("http://{}{TASKS}", service.address());
    let http = [("DEFAULT_ACTION", "http"), ("DEFAULT_URL", url.as_str()), ("DEFAULT_TOKEN", TOKEN)];
    let mut scene = Scene::set("tracker", &http);
    scene.engine.target().lock("task-1", BRIDGE);
    scene.queues.publish_task(&field_text("task-1"));
    scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
    assert!(service.target().fail("task-1", "division by zero"));
    assert_eq!(scene.await_incident("task-1"), "TASK_FAILED: the job has failed: division by zero");
    scene.worker.stop();
}

#[test]
fn a_task_for_which_nobody_waits_any_more_is_no_failure() {
    let mut scene = Scene::set("nobody waits", &[]);
    scene.queues.publish_task(&field_text("task-1"));
    scene.worker.await_log("parked, and Camunda no longer has the task: task=task-1", PATIENCE);
    scene.end(" incidents_reported=0 incidents_unreported=0 ");
}

#[test]
fn a_task_that_another_worker_has_locked_is_said() {
    let mut scene = Scene::set("another worker", &[]);
    scene.engine.target().lock("task-1", "somebody-else");
    scene.queues.publish_task(&field_text("task-1"));
    scene.worker.await_log("parked without an incident in Camunda: task=task-1: http status 400", PATIENCE);
    let log = scene.end(" incidents_reported=0 incidents_unreported=1 ");
    assert!(log.contains("It is locked by worker 'somebody-else'"), "{log}");
    assert_eq!(scene.task("task-1").incident, None);
}

#[test]
fn a_message_that_names_no_worker_is_said_and_one_that_is_no_task_is_not_reported() {
    let mut scene = Scene::set("no worker", &[]);
    scene.queues.publish_task(&json!({"task_id": "task-1"}));
    scene.queues.publish_task(&"not a task");
    scene.worker.await_log("task=task-1: its message has no worker_id", PATIENCE);
    scene.queues.await_count(&scene.queues.errors(), 2, PATIENCE);
    scene.worker.stop();
    assert!(scene.engine.asked().is_empty());
}

#[test]
fn without_the_setting_nobody_is_asked() {
    let mut scene = Scene::set("not set", &[("CAMUNDA_URL", "")]);
    scene.park(&["task-1"]);
    let log = scene.end("default: total_messages=1 ");
    assert!(!log.contains("incident") && scene.engine.asked().is_empty(), "{log}");
    scene.replay(&[]).ended_with(0).has(&format!("task-1 to {}\n", scene.queues.input()));
    assert!(scene.engine.asked().is_empty());
}

// Replayed.

#[test]
fn a_replay_gives_the_retries_back_before_the_message_and_the_bridge_does_not_fetch_it_again() {
    let mut scene = Scene::set("replay", &[]);
    scene.park(&["task-1"]);
    scene.await_incident("task-1");
    scene.worker.stop();
    let call = format!("PUT {ROOT}/external-task/task-1/retries");
    let held = scene.engine.order(Fault::after(call, What::Delay(Duration::from_secs(3600))).times(1));
    let patient = [scene.settings.clone(), vec![("CAMUNDA_REQUEST_TIMEOUT".into(), "60".into())]].concat();
    let mut replay = Worker::run(&["parked", "replay", "--all"], &patient);
    eventually("the retries", PATIENCE, || held.struck() == 1 && scene.task("task-1").retries == Some(1));
    assert_eq!(scene.queues.count(&scene.queues.input()), 0, "the message comes after");
    scene.engine.release();
    assert_eq!(replay.wait(PATIENCE).code(), Some(0), "{}", replay.output());
    replay.await_output("; it has its retries back in Camunda", PATIENCE);
    assert_eq!(scene.queues.count(&scene.queues.input()), 1);
    assert_eq!(scene.task("task-1").incident, None);
    assert_eq!(scene.engine.target().fetchable(), Vec::<&str>::new());
}

#[test]
fn a_replay_goes_on_whatever_the_engine_says() {
    let mut scene = Scene::set("replay refused", &[]);
    scene.park(&["task-1", "task-2", "task-3"]);
    ["task-1", "task-2", "task-3"].iter().for_each(|id| drop(scene.await_incident(id)));
    scene.worker.stop();
    let refused = scene.engine.order(Fault::before(ANY_CALL, What::refuse(403, "RestException", "no right")));
    scene
        .replay(&["--limit", "1"])
        .ended_with(0)
        .has("; its incident stays in Camunda: http status 403")
        .has("replayed 1");
    scene.engine.clear(&refused);
    scene.engine.order(Fault::before(ANY_CALL, What::Close));
    let away = scene.replay(&["--json"]).ended_with(0).output.clone();
    let lines = parked::json_lines(&away);
    let told: Vec<Option<&str>> = lines.iter().map(|line| line["camunda"].as_str()).collect();
    assert!(told[0].is_some_and(|told| told.ends_with("; the engine is not asked again")), "{away}");
    assert_eq!((told.len(), told[1]), (2, None), "{away}");
    assert_eq!(scene.queues.count(&scene.queues.input()), 3);
    assert_eq!(scene.queues.count(&scene.queues.errors()), 0);
}

#[test]
fn a_task_that_stays_parked_after_it_got_its_retries_back_says_both() {
    let mut scene = Scene::set("replay full", &[]);
    scene.park(&["task-1"]);
    scene.await_incident("task-1");
    scene.worker.stop();
    scene.make_full(&scene.queues.input());
    scene.replay(&[]).ended_with(1).has("it stays parked; its incident is in Camunda again").has("skipped 1");
    assert_eq!(scene.queues.count(&scene.queues.errors()), 1);
    let task = scene.task("task-1");
    let incident = task.incident.expect("what stays parked shows in Camunda");
    assert!(incident.starts_with("NO_SYSTEM: it belongs to bitrix24, which is off"), "{incident}");
    assert_eq!(task.retries, Some(0), "the bridge must not fetch it");
}

#[test]
fn a_replay_of_a_task_that_camunda_no_longer_has_says_so() {
    let mut scene = Scene::set("replay gone", &[]);
    scene.queues.publish_task(&field_text("task-1"));
    scene.queues.await_count(&scene.queues.errors(), 1, PATIENCE);
    scene.worker.stop();
    scene.replay(&["--dry-run"]).ended_with(0).has(&format!("task-1 to {}\n", scene.queues.input()));
    assert!(scene.engine.asked().iter().all(|asked| asked.method == "POST"), "a dry run changes nothing");
    scene.replay(&[]).ended_with(0).has("; Camunda no longer has the task").has("replayed 1, skipped 0");
}

// An engine that fails.

/// Whatever the engine does, all tasks are parked, and the worker stops in time.
#[track_caller]
fn holds_up_nothing(test: &str, what: What, said: &str) {
    let mut scene = Scene::set(test, &[("CAMUNDA_REQUEST_TIMEOUT", "1")]);
    scene.engine.order(Fault::before(ANY_CALL, what));
    scene.park(&["task-1", "task-2", "task-3"]);
    scene.worker.await_log("parked without an incident in Camunda: task=task-", PATIENCE);
    let log = scene.end(" incidents_reported=0 incidents_unreported=3 ");
    assert!(log.contains(said), "{said}: {log}");
}

#[test]
fn an_engine_that_is_down_holds_up_nothing() {
    holds_up_nothing("down", What::Reset, "the connection broke");
}

#[test]
fn an_engine_that_hangs_holds_up_nothing_not_even_the_stop() {
    holds_up_nothing("hangs", What::Hang(None), "no complete answer in time");
}

#[test]
fn an_engine_that_does_not_let_us_in_is_said_with_what_to_do() {
    let said = "http status 401; check the name, password or token for the target";
    holds_up_nothing("401", What::html(401, ""), said);
}

#[test]
fn a_page_in_place_of_the_engine_is_no_report() {
    holds_up_nothing(
        "page",
        What::html(200, "<h1>Welcome</h1>"),
        "http status 200, which is no answer of Camunda's engine",
    );
    holds_up_nothing("no path", What::html(404, "<h1>Not Found</h1>"), "http status 404: Not Found");
}

#[test]
fn what_still_waits_when_the_worker_stops_is_dropped_and_said() {
    let mut scene = Scene::set("stop", &[("CAMUNDA_REQUEST_TIMEOUT", "60"), ("SHUTDOWN_TIMEOUT", "10")]);
    let held = scene.engine.order(Fault::before(ANY_CALL, What::Hang(None)));
    scene.park(&["task-1", "task-2", "task-3"]);
    eventually("a request", PATIENCE, || held.struck() == 1);
    let log = scene.end(" incidents_reported=0 incidents_unreported=3 ");
    assert!(log.contains("parked without an incident in Camunda, since the worker stops: 2 task(s)"), "{log}");
}

#[test]
fn the_password_comes_out_nowhere_even_if_the_engine_shows_it() {
    let mut scene = Scene::set("secret", &[]);
    let text = format!("bad password {PASSWORD} of {USER}");
    let refusal = What::Refuse { status: 400, code: "RestException".into(), text: text.into() };
    scene.engine.order(Fault::before(ANY_CALL, refusal));
    scene.park(&["task-1"]);
    scene.worker.await_log("bad password *** of", PATIENCE);
    scene.worker.stop();
    let replay = scene.replay(&[]);
    let mut places = files(scene.worker.folder());
    places.push(("replay".into(), replay.output.clone()));
    places.push(("check".into(), run(&["check"], &scene.settings).output.clone()));
    assert!(replay.output.contains("bad password ***"), "{}", replay.output);
    assert_eq!(found_in(&places, &in_settings(&scene.settings)), None);
}

// Checked.

#[test]
fn check_tells_the_version_or_what_is_wrong() {
    let engine = HttpFake::start(0, Camunda::default()).expect("a free port");
    let queues = Queues::new("camunda check");
    let check = |path: &str, password: &str| {
        let url = format!("http://{}{path}", engine.address());
        let own = [("CAMUNDA_URL", url.as_str()), ("CAMUNDA_USER", USER), ("CAMUNDA_PASSWORD", password)];
        run_with(&["check"], &queues, "", &own)
    };
    check(ROOT, PASSWORD).has("ok    Camunda 7.20.0 at http://127.0.0.1:");
    check(ROOT, "wrong password").has("FAIL  Camunda at ").has("http status 401; check the name, password");
    check("/rest", PASSWORD).has("FAIL  Camunda at ").has("is the address of the REST interface");
    run_with(&["check"], &queues, "", &[]).has("off   Camunda: CAMUNDA_URL is not set");
    run_with(&["check"], &queues, "", &[("CAMUNDA_URL", "http://camunda.example/engine-rest"), ("CAMUNDA_USER", "me")])
        .ended_with(78)
        .has("CAMUNDA_PASSWORD is not set");
}
