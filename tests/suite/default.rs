//! The default system: what each `DEFAULT_ACTION` makes of a message that belongs to no system that is on. `park` is
//! shown in `routing`, and what a service is promised in `systems`.

use serde_json::{Value, json};
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::job_service::{JobService, TASKS, TOKEN};

use crate::support::*;

/// A worker whose only system is the default one.
struct Scene {
    queues: Queues,
    worker: Worker,
}

impl Scene {
    fn set(test: &str, changes: &[(&str, &str)]) -> Scene {
        let queues = Queues::of("default", &format!("default {test}"));
        let worker = Scene::worker(&queues, changes);
        Scene { queues, worker }
    }

    fn worker(queues: &Queues, changes: &[(&str, &str)]) -> Worker {
        let quick = [("HEARTBEAT_INTERVAL", "0.2"), ("RETRY_ATTEMPTS", "1"), ("RETRY_DELAY", "0.2")];
        let worker = Worker::run(&[], &changed(queues, "", &[&quick, changes].concat()));
        queues.await_consumers(&queues.input(), 1, PATIENCE);
        worker
    }

    fn await_one(&self, queue: &str) -> Value {
        self.queues.await_count(queue, 1, PATIENCE);
        self.queues.peek_all(queue)[0].json()
    }

    fn end(mut self, finished: &[&str]) {
        self.worker.stop();
        let finished: Vec<String> = finished.iter().map(|id| (*id).to_owned()).collect();
        Audit::take(&self.queues, finished.clone()).with_finished(finished).assert_holds();
    }
}

/// A message that belongs to no system.
fn message(id: &str) -> Value {
    json!({
        "task_id": id, "topic": "archive_contract", "system": "default", "activity_id": "Archive",
        "variables": {"contract": {"value": "7/2026", "type": "String"}},
        "metadata": {"activityInfo": {"name": "Сдать договор в архив"}},
    })
}

// Recorded.

#[test]
fn what_is_only_recorded_is_answered_at_once_in_the_form_that_the_bridge_reads() {
    let scene = Scene::set("record", &[("DEFAULT_ACTION", "record")]);
    scene.queues.publish_task(&message("task-1"));
    let response = scene.await_one(&scene.queues.responses());
    assert_eq!(response["processing_status"], "completed_by_tracker");
    assert_eq!(response["original_message"], message("task-1"));
    let task = json!({
        "id": "task-1", "title": "Сдать договор в архив", "status": "recorded",
        "ufResultExpected": "0", "ufResultAnswer_text": "",
    });
    assert_eq!(response["response_data"], json!({"result": {"task": task}, "success": true}));
    assert_eq!(scene.queues.count(&scene.queues.sent()), 0);
    scene.end(&["task-1"]);
}

#[test]
fn a_question_is_not_only_recorded_since_nobody_would_answer_it() {
    let scene = Scene::set("question", &[("DEFAULT_ACTION", "record")]);
    let mut question = message("task-1");
    question["metadata"]["extensionProperties"] = json!({"UF_RESULT_EXPECTED": "да"});
    scene.queues.publish_task(&question);
    let parked = scene.await_one(&scene.queues.errors());
    assert_eq!(parked["error_type"], "REQUEST_ERROR");
    assert!(parked["error_message"].as_str().is_some_and(|told| told.contains("expects an answer")), "{parked}");
    scene.end(&[]);
}

#[test]
fn a_task_of_a_system_that_is_off_is_not_only_recorded() {
    let scene = Scene::set("system off", &[("DEFAULT_ACTION", "record")]);
    let mut mail = message("task-1");
    mail["topic"] = json!("send_email");
    scene.queues.publish_task(&mail);
    let parked = scene.await_one(&scene.queues.errors());
    assert_eq!(parked["error_type"], "NO_SYSTEM");
    let told = parked["error_message"].as_str().unwrap_or_default();
    assert!(told.contains("it belongs to email, which is off"), "{parked}");
    assert!(parked["suggested_action"].as_str().is_some_and(|told| told.contains("switch its system on")), "{parked}");
    scene.end(&[]);
}

// Posted.

#[test]
fn a_service_gets_what_belongs_to_no_system_and_its_result_is_the_answer() {
    let service = HttpFake::start(0, JobService::default()).expect("a free port");
    service.target().rules.at_once = Some(json!({"id": 17, "box": 4}));
    let url = format!("http://{}{TASKS}", service.address());
    let scene = Scene::set("http", &[("DEFAULT_ACTION", "http"), ("DEFAULT_URL", &url), ("DEFAULT_TOKEN", TOKEN)]);
    scene.queues.publish_task(&message("task-1"));
    let told = &scene.await_one(&scene.queues.responses())["response_data"];
    assert_eq!((&told["result"]["task"]["id"], &told["reply"]["box"]), (&json!("17"), &json!(4)));
    let asked = service.asked().remove(0);
    assert_eq!(asked.header("Idempotency-Key"), Some("task-1"));
    assert_eq!(asked.header("Authorization"), Some(&*format!("Bearer {TOKEN}")));
    scene.end(&["task-1"]);
}

#[test]
fn a_job_stays_recorded_while_another_action_is_set() {
    let service = HttpFake::start(0, JobService::default()).expect("a free port");
    let url = format!("http://{}{TASKS}", service.address());
    let http = [("DEFAULT_ACTION", "http"), ("DEFAULT_URL", &*url), ("DEFAULT_TOKEN", TOKEN)];
    let mut scene = Scene::set("another action", &http);
    scene.queues.publish_task(&message("task-1"));
    scene.await_one(&scene.queues.sent());
    scene.worker.stop();
    scene.worker = Scene::worker(&scene.queues, &[("DEFAULT_ACTION", "park")]);
    scene.worker.await_log("is asked for its job only with DEFAULT_ACTION=http", PATIENCE);
    scene.worker.stop();
    assert_eq!(scene.queues.count(&scene.queues.errors()), 0);
    scene.worker = Scene::worker(&scene.queues, &http);
    assert!(service.target().succeed("task-1", json!({"answer": true})));
    scene.await_one(&scene.queues.responses());
    scene.end(&["task-1"]);
}

// What is set.

#[test]
fn http_needs_an_address_and_says_so_once() {
    let told = |changes: &[(&str, &str)]| {
        let check = run_with(&["check"], &Queues::undeclared("default settings"), "", changes);
        (check.output.matches("DEFAULT_URL").count() > 0, check.output)
    };
    let (is_told, output) = told(&[("DEFAULT_ACTION", "http")]);
    assert!(is_told && output.contains("DEFAULT_URL is not set, but DEFAULT_ACTION=http needs it"), "{output}");
    let (_, output) = told(&[("DEFAULT_ACTION", "http"), ("DEFAULT_URL", "services.example")]);
    assert!(output.contains("DEFAULT_URL ") && !output.contains("is not set, but"), "{output}");
}

#[test]
fn explain_says_for_each_action_what_would_happen() {
    let explain = |changes: &[(&str, &str)]| {
        let file = TextFile::new(&message("task-1").to_string());
        run_with(&["explain", file.path()], &Queues::undeclared("default explain"), "", changes)
    };
    explain(&[]).has("default is off (DEFAULT_ACTION is not set)");
    explain(&[("DEFAULT_ACTION", "park")]).has("note: it would be parked, since it belongs to no system that is on");
    explain(&[("DEFAULT_ACTION", "record")]).has("recorded").has("note: it would be finished at once");
    explain(&[("DEFAULT_ACTION", "http"), ("DEFAULT_URL", "https://services.example/tasks")])
        .has("1. POST: https://services.example/tasks, with Idempotency-Key task-1");
}
