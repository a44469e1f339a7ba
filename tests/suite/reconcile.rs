//! `reconcile`: which processes are lost, with a real RabbitMQ and worker, a portal, an engine that keeps Camunda's
//! rules and a bridge between them. A task is taken away by hand; it is found, repaired, and answered in the end.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use task_creator::commands;
use task_creator::reconcile::{Options, Report, Told, reconcile};
use task_creator::sandbox::camunda::{Camunda, PASSWORD, ROOT, USER};
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::{self, ANY_CALL, ANY_REQUEST, Fault, Limits, Sandbox, What};
use task_creator::stop;
use task_creator::systems::table::Setup;

use crate::support::bridge::{Bridge, WORKER_ID};
use crate::support::*;

mod unknown;

const ID: &str = "task-1";
/// Everything is old enough.
const ALL: &[&str] = &["--older-than", "0s"];
const REPAIR: &[&str] = &["--older-than", "0s", "--repair"];

/// An engine, a portal, queues and a bridge; a test starts its worker itself.
struct Scene {
    bridge: Option<Bridge>,
    engine: HttpFake<Camunda>,
    portal: Sandbox,
    queues: Arc<Queues>,
    settings: Vec<(String, String)>,
}

impl Scene {
    fn set(test: &str, changes: &[(&str, &str)]) -> Scene {
        let engine = HttpFake::start(0, Camunda::default()).expect("a free port");
        let portal = Sandbox::start(0, Limits::default()).expect("a free port");
        let queues = Arc::new(Queues::new(&format!("reconcile {test}")));
        let url = format!("http://{}{ROOT}", engine.address());
        let own = [
            ("CAMUNDA_URL", url.as_str()),
            ("CAMUNDA_USER", USER),
            ("CAMUNDA_PASSWORD", PASSWORD),
            ("CAMUNDA_WORKER_ID", WORKER_ID),
            ("BITRIX_RATE", "0"),
            ("BITRIX_REQUEST_TIMEOUT", "2"),
            ("HEARTBEAT_INTERVAL", "0.3"),
        ];
        let webhook = sandbox::webhook_url(portal.address());
        let settings = changed(&queues, &webhook, &own.iter().chain(changes).copied().collect::<Vec<_>>());
        let bridge = Some(Bridge::start(engine.address(), &queues));
        Scene { bridge, engine, portal, queues, settings }
    }

    fn worker(&self) -> Worker {
        let worker = Worker::run(&[], &self.settings);
        self.queues.await_consumers(&self.queues.input(), 1, PATIENCE);
        worker
    }

    /// The process has come to the task; the bridge fetches and publishes it.
    fn come(&self, id: &str) {
        self.engine.target().add(id, "bitrix_create_task");
    }

    /// The same, and a worker that stops afterwards has made it.
    #[track_caller]
    fn made(&self) {
        self.come(ID);
        let mut worker = self.worker();
        self.queues.await_count(&self.queues.sent(), 1, PATIENCE);
        worker.stop();
        self.age();
    }

    /// The bridge has fetched it an hour ago, so that the portal would show it.
    fn age(&self) {
        self.engine.target().age(ID, TimeDelta::hours(1));
    }

    /// The process has come to the task, and its message was deleted by hand.
    #[track_caller]
    fn lost(&self) {
        self.come(ID);
        self.queues.await_count(&self.queues.input(), 1, PATIENCE);
        assert_eq!(self.queues.purge(&self.queues.input()), 1);
        self.age();
    }

    fn finish(&self) {
        let id = self.portal.ids_of(ID)[0];
        self.portal.finish(id, 5, Some("ДА"));
    }

    /// The report, with the exit code.
    #[track_caller]
    fn report(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let ended = run(&[&["reconcile", "--json"], arguments].concat(), &self.settings);
        let told = parked::json_lines(&ended.output).pop().unwrap_or_else(|| panic!("{}", ended.output));
        (told, ended.code)
    }

    fn setup(&self) -> Setup {
        let value =
            |name: &str| self.settings.iter().rev().find(|(known, _)| known == name).map(|(_, own)| own.clone());
        Setup::read(value).expect("right settings")
    }

    /// The same in this process, without a long wait for others.
    #[track_caller]
    fn reconciled(&self) -> Report {
        let (_stopper, stop) = stop::signal();
        let sources = commands::reconcile::sources(&self.setup(), &stop).expect("right settings");
        let (older_than, browse, between) = (Duration::ZERO, Duration::from_millis(1), Duration::ZERO);
        let options = Options { older_than, browse, between, ..Options::default() };
        let nobody = || Told::Nothing("nobody is asked".to_owned());
        reconcile(&sources, &options, &nobody, &|_| {}).expect("it ends")
    }

    /// In the end the task was made once, answered, and is over in Camunda.
    #[track_caller]
    fn is_answered_once(&self) {
        let mut worker = self.worker();
        eventually("the task", PATIENCE, || self.portal.ids_of(ID).len() == 1);
        self.finish();
        eventually("the end in Camunda", PATIENCE, || self.engine.target().task(ID).is_none());
        worker.stop();
        assert_eq!(self.portal.ids_of(ID).len(), 1, "it was made once");
        assert_eq!(self.report(ALL), (self.report(ALL).0, Some(0)));
    }
}

/// There is this one item, with this class and action, and this end of the run.
#[track_caller]
fn says(told: &(Value, Option<i32>), class: &str, action: &str, exit: i32) {
    let item = &told.0["items"][0];
    assert_eq!((&item["class"], &item["action"], told.1), (&json!(class), &json!(action), Some(exit)), "{:#}", told.0);
    assert_eq!((&told.0["counts"][class], told.0["items"].as_array().map(Vec::len)), (&json!(1), Some(1)));
}

#[track_caller]
fn is_healed(told: &(Value, Option<i32>)) {
    let item = &told.0["items"][0];
    assert_eq!((&item["action"], &item["healed"], told.1), (&json!("unlocked"), &json!(true), Some(0)), "{:#}", told.0);
    assert_eq!((&told.0["repaired"], &told.0["healed"]), (&json!(1), &json!(1)));
}

// What is wrong, and its repair.

#[test]
fn a_message_that_was_deleted_by_hand_is_found_repaired_and_answered() {
    let scene = Scene::set("lost", &[]);
    scene.lost();
    says(&scene.report(ALL), "lost", "would_unlock", 1);
    assert_eq!(scene.engine.target().fetchable(), Vec::<&str>::new(), "a dry run changes nothing");
    is_healed(&scene.report(REPAIR));
    scene.is_answered_once();
}

#[test]
fn a_task_whose_record_was_deleted_is_followed_again_and_not_made_again() {
    let scene = Scene::set("untracked", &[]);
    scene.made();
    assert_eq!(scene.queues.purge(&scene.queues.sent()), 1);
    says(&scene.report(ALL), "untracked", "would_unlock", 1);
    is_healed(&scene.report(REPAIR));
    scene.is_answered_once();
}

#[test]
fn a_finished_task_without_an_answer_is_answered() {
    let scene = Scene::set("unanswered", &[]);
    scene.made();
    assert_eq!(scene.queues.purge(&scene.queues.sent()), 1);
    scene.finish();
    says(&scene.report(ALL), "unanswered", "would_unlock", 1);
    is_healed(&scene.report(REPAIR));
    scene.is_answered_once();
}

#[test]
fn what_is_parked_or_an_orphan_is_told_and_never_unlocked() {
    let scene = Scene::set("parked", &[]);
    scene.engine.target().lock("task-2", WORKER_ID);
    scene.engine.target().age("task-2", TimeDelta::hours(1));
    let task = field_text("task-2");
    parked::put(&scene.queues, &[parked::parked(&task, "REQUEST_ERROR", "no", &scene.queues.input())]);
    let told = scene.report(REPAIR);
    says(&told, "parked", "none", 1);
    assert_eq!(told.0["items"][0]["text"], "parked: REQUEST_ERROR");
    scene.queues.purge(&scene.queues.errors());
    scene.engine.target().cancel("task-2");
    scene.made();
    scene.engine.target().cancel(ID);
    says(&scene.report(REPAIR), "orphan", "none", 1);
}

#[test]
fn an_incident_without_a_parked_message_is_parked() {
    let scene = Scene::set("incident", &[]);
    scene.lost();
    scene.engine.target().change(ID, |task| task.retries = Some(0));
    let told = scene.report(REPAIR);
    says(&told, "parked", "none", 1);
    assert!(told.0["items"][0]["text"].as_str().is_some_and(|text| text.contains("give it retries")), "{:#}", told.0);
}

#[test]
fn with_its_worker_asked_a_task_is_found_repaired_and_answered_while_the_worker_works() {
    let api = api::Api::anywhere();
    let scene = Scene::set("asked", &api.settings());
    scene.lost();
    let mut worker = scene.worker();
    scene.come("task-2");
    scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
    is_healed(&scene.report(REPAIR));
    eventually("the task", PATIENCE, || scene.portal.ids_of(ID).len() == 1);
    scene.finish();
    eventually("the end in Camunda", PATIENCE, || scene.engine.target().task(ID).is_none());
    let (told, code) = scene.report(REPAIR);
    assert_eq!((&told["checked"], &told["items"], code), (&json!(1), &json!([]), Some(0)), "{told:#}");
    worker.stop();
    assert_eq!(scene.portal.ids_of(ID).len(), 1, "it was made once");
}

#[test]
fn an_answer_that_the_bridge_has_lost_is_given_again_by_the_worker_that_gave_it() {
    let api = api::Api::anywhere();
    let mut scene = Scene::set("answer lost", &api.settings());
    scene.come(ID);
    let mut worker = scene.worker();
    scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
    scene.bridge = None;
    scene.finish();
    scene.queues.await_count(&scene.queues.responses(), 1, PATIENCE);
    scene.age();
    scene.queues.purge(&scene.queues.responses());
    scene.bridge = Some(Bridge::start(scene.engine.address(), &scene.queues));
    is_healed(&scene.report(REPAIR));
    eventually("the end in Camunda", PATIENCE, || scene.engine.target().task(ID).is_none());
    worker.stop();
    assert_eq!(scene.portal.ids_of(ID).len(), 1, "it was made once");
}

#[test]
fn the_api_reconciles_as_the_command_does() {
    let api = api::Api::anywhere();
    let scene = Scene::set("api", &api.settings());
    scene.lost();
    let mut worker = scene.worker();
    let order = json!({"older_than_seconds": 0, "repair": true, "per_second": 5});
    let ask = |body: &Value| api.ask("POST", "/api/v1/reconciliations", Some(body)).expect("it answers");
    let started = ask(&order);
    assert_eq!((started.status, started.header("Location")), (202, Some("/api/v1/reconciliations/1")));
    assert_eq!(ask(&json!({})).status, 409, "one runs at a time");
    let done = eventually_some("the end", PATIENCE, || {
        let told = api.get("/api/v1/reconciliations/1").expect("it answers").json();
        (told["state"] != "running").then_some(told)
    });
    assert_eq!((&done["state"], &done["counts"]["lost"], &done["healed"]), (&json!("done"), &json!(1), &json!(1)));
    eventually("the task", PATIENCE, || scene.portal.ids_of(ID).len() == 1);
    assert_eq!(api.get("/api/v1/reconciliations/2").expect("it answers").status, 404);
    let status = api.get("/api/v1/status").expect("it answers").json();
    assert_eq!(status["reconciliation"]["id"], "1");
    assert!(status["reconciliation"]["items"].is_null(), "{status:#}");
    let events = api.get("/api/v1/events?limit=100").expect("it answers").body;
    assert!(events.contains("reconcile: unlocked in Camunda: task=task-1"), "{events}");
    assert_eq!(ask(&json!({"limit": 0})).status, 400);
    worker.stop();
}

#[test]
fn a_reconciliation_that_is_stopped_ends_at_once_and_lost_tasks_stay_lost_until_it_is_known_better() {
    let api = api::Api::anywhere();
    let mut scene = Scene::set("stopped", &api.settings());
    scene.lost();
    // Nobody fetches what is unlocked.
    scene.bridge = None;
    let mut worker = scene.worker();
    let start = |order: &Value| {
        let started = api.ask("POST", "/api/v1/reconciliations", Some(order)).expect("it answers");
        started.header("Location").unwrap_or_else(|| panic!("{}", started.body)).to_owned()
    };
    let ended = |place: &str, patience| {
        eventually_some("the end", patience, || {
            let told = api.get(place).expect("it answers").json();
            (told["state"] != "running").then_some(told)
        })
    };
    let lost = || {
        let status = api.get("/api/v1/status").expect("it answers").json();
        let attention = status["attention"].as_array().cloned().unwrap_or_default();
        attention
            .iter()
            .filter(|one| one["code"] == "lost")
            .map(|one| one["values"]["count"].clone())
            .collect::<Vec<_>>()
    };
    ended(&start(&json!({"older_than_seconds": 0})), PATIENCE);
    assert_eq!(lost(), [1]);
    let place = start(&json!({"older_than_seconds": 0, "repair": true}));
    eventually("the unlock", PATIENCE, || scene.engine.target().fetchable() == [ID]);
    assert_eq!(lost(), [1], "while it runs");
    let stopped = api.ask("DELETE", &place, None).expect("it answers");
    assert_eq!((stopped.status, &stopped.json()["state"]), (202, &json!("running")), "{}", stopped.body);
    let told = ended(&place, Duration::from_secs(3));
    assert_eq!((&told["state"], &told["error"]), (&json!("stopped"), &json!("somebody has stopped it")));
    assert_eq!(lost(), [1], "it has not said what became of the task");
    assert_eq!(api.ask("DELETE", &place, None).expect("it answers").status, 202, "it has ended already");
    assert_eq!(api.ask("DELETE", "/api/v1/reconciliations/7", None).expect("it answers").status, 404);
    worker.stop();
}

#[test]
fn a_repaired_task_whose_process_is_cancelled_is_not_called_answered() {
    let mut scene = Scene::set("cancelled", &[]);
    scene.lost();
    scene.bridge = None;
    let mut repair = Worker::run(&[&["reconcile"], REPAIR].concat(), &scene.settings);
    repair.await_output("reconcile: unlocked in Camunda: task=task-1", PATIENCE);
    scene.engine.target().cancel(ID);
    assert_eq!(repair.wait(PATIENCE).code(), Some(0), "{}", repair.output());
    let output = repair.output();
    assert!(output.contains("its process was cancelled") && !output.contains("answered since"), "{output}");
}

// What is left alone.

#[test]
fn what_moves_is_left_alone_wherever_it_is() {
    let mut scene = Scene::set("moves", &[]);
    scene.made();
    // From here on responses stay where they are.
    scene.bridge = None;
    let engine = |id: &str| scene.engine.target().lock(id, WORKER_ID);
    ["in-input", "in-retry", "in-responses"].into_iter().for_each(engine);
    scene.queues.publish_task(&field_text("in-input"));
    scene.queues.publish(&scene.queues.retry(), field_text("in-retry"), Default::default());
    let response =
        json!({"original_message": field_message("in-responses"), "processing_status": "completed_by_tracker"});
    scene.queues.publish(&scene.queues.responses(), response.to_string(), Default::default());
    let (told, code) = scene.report(REPAIR);
    assert_eq!((&told["items"], &told["counts"]["in_hand"], code), (&json!([]), &json!(4), Some(0)), "{told:#}");
    assert_eq!(scene.engine.target().fetchable(), Vec::<&str>::new());
}

#[test]
fn what_the_bridge_has_just_fetched_is_left_alone() {
    let scene = Scene::set("young", &[]);
    scene.lost();
    scene.engine.target().age(ID, -TimeDelta::minutes(31));
    let (told, code) = scene.report(&["--repair"]);
    assert_eq!((&told["items"], &told["counts"]["in_hand"], code), (&json!([]), &json!(1), Some(0)), "{told:#}");
    scene.age();
    let told = scene.report(&[]);
    says(&told, "lost", "would_unlock", 1);
    assert!(told.0["items"][0]["age_seconds"].as_u64().is_some_and(|age| (5340..5500).contains(&age)), "{:#}", told.0);
}

#[test]
fn tasks_of_others_are_none_of_ours() {
    let scene = Scene::set("others", &[]);
    scene.engine.target().lock("of-another-worker", "somebody-else");
    scene.engine.target().add("of-another-topic", "send_email");
    scene.engine.target().lock("of-another-topic", WORKER_ID);
    let (told, code) = scene.report(REPAIR);
    assert_eq!((&told["checked"], &told["items"], code), (&json!(0), &json!([]), Some(0)), "{told:#}");
}
