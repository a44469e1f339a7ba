//! The Python services as their users see them: what a service is asked, and what its answers lead to. What every
//! system stands is in `systems`.

use std::time::Duration;

use serde_json::{Value, json};
use task_creator::sandbox::http_fake::{Asked, HttpFake};
use task_creator::sandbox::job_service::{JobService, TASKS, TOKEN};
use task_creator::sandbox::{ANY_CALL, Fault, What};

use crate::support::*;

/// A worker, its queues and a service.
struct Scene {
    queues: Queues,
    service: HttpFake<JobService>,
    worker: Worker,
}

impl Scene {
    fn set(case: &str, at_once: Option<Value>, changes: &[(&str, &str)]) -> Scene {
        let service = service(at_once);
        let url = format!("http://{}{TASKS}", service.address());
        let changes = [&[("PYTHON_URL", url.as_str()), ("PYTHON_TOKEN", TOKEN)], changes].concat();
        let (queues, worker) = worker(case, &changes);
        Scene { queues, service, worker }
    }

    fn await_one(&self, queue: &str) -> Value {
        self.queues.await_count(queue, 1, PATIENCE);
        self.queues.peek_all(queue)[0].json()
    }

    fn parked(&self) -> Value {
        self.await_one(&self.queues.errors())
    }

    fn response(&self) -> Value {
        self.await_one(&self.queues.responses())
    }

    /// Publishes the usual message, which expects an answer, and waits for its record.
    fn recorded(&self) -> Value {
        self.queues.publish_task(&field_text("task-1"));
        self.await_one(&self.queues.sent())
    }

    fn end(mut self) -> Audit {
        self.worker.stop();
        let posted = self.service.target().jobs().iter().map(|job| job.key.clone()).collect();
        Audit::take(&self.queues, posted)
    }
}

fn service(at_once: Option<Value>) -> HttpFake<JobService> {
    let service = HttpFake::start(0, JobService::default()).expect("a free port");
    service.target().rules.at_once = at_once;
    service
}

fn worker(case: &str, changes: &[(&str, &str)]) -> (Queues, Worker) {
    let queues = Queues::of("python-services", &format!("python {case}"));
    let quick =
        [("BITRIX_WEBHOOK_URL", ""), ("HEARTBEAT_INTERVAL", "0.2"), ("RETRY_ATTEMPTS", "1"), ("RETRY_DELAY", "0.2")];
    let worker = Worker::run(&[], &changed(&queues, "", &[&quick, changes].concat()));
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    (queues, worker)
}

/// How often jobs were asked for.
fn polls(service: &HttpFake<JobService>) -> usize {
    service.asked().iter().filter(|asked| asked.method == "GET").count()
}

// What is asked.

#[test]
fn a_task_is_posted_with_its_key_and_its_variables_as_they_are() {
    let scene = Scene::set("posted", None, &[]);
    scene.recorded();
    let asked: Asked = scene.service.asked().remove(0);
    let header = |name: &str| asked.header(name).unwrap_or_default().to_owned();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", TASKS));
    assert_eq!(header("Idempotency-Key"), "task-1");
    assert_eq!(header("Authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(header("Prefer"), "respond-async");
    assert_eq!(header("Content-Type"), "application/json");
    let posted = String::from_utf8(asked.body).expect("UTF-8");
    let sent: Value = serde_json::from_str(&posted).expect("JSON");
    assert_eq!(sent["title"], "Согласовать договор «Лютик» №8");
    assert_eq!(sent["extension_properties"]["assigneeId"], "17");
    assert!(posted.contains(r#""serial":12345678901234567890"#) && posted.contains(r#""amount":1.10"#), "{posted}");
    scene.end().assert_holds();
}

#[test]
fn each_topic_goes_to_its_own_address_and_one_without_is_parked() {
    let (one, other) = (service(None), service(None));
    let urls = format!("bitrix_create_task=http://{}{TASKS},b=http://{}{TASKS}", one.address(), other.address());
    let (queues, mut worker) = worker("topics", &[("PYTHON_TOPIC_URLS", &urls), ("PYTHON_TOKEN", TOKEN)]);
    let of_topic = |id: &str, topic: &str| {
        let mut message = field_message(id);
        message["topic"] = topic.into();
        queues.publish_task(&message);
    };
    of_topic("task-1", "bitrix_create_task");
    of_topic("task-2", "b");
    of_topic("task-3", "c");
    queues.await_count(&queues.sent(), 2, PATIENCE);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    let parked = queues.peek_all(&queues.errors())[0].json();
    assert_eq!(parked["error_type"], "REQUEST_ERROR");
    assert_eq!(
        parked["error_message"],
        "no address for the topic \"c\": PYTHON_TOPIC_URLS names b, bitrix_create_task"
    );
    worker.stop();
    let keys = |service: &HttpFake<JobService>| service.target().jobs().iter().map(|job| job.key.clone()).collect();
    let keys: [Vec<String>; 2] = [keys(&one), keys(&other)];
    assert_eq!(keys, [["task-1"], ["task-2"]]);
    Audit::take(&queues, keys.concat()).assert_holds();
}

#[test]
fn without_an_address_the_queue_is_left_alone() {
    let queues = Queues::of("python-services", "python off");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    queues.declare(&queues.named("bitrix24.queue"));
    queues.publish_task(&field_text("task-1"));
    let mut worker = Worker::start(&queues, &portal.webhook(), &[("PYTHON_TOKEN", TOKEN)]);
    queues.await_consumers(&queues.named("bitrix24.queue"), 1, PATIENCE);
    worker.stop();
    assert_eq!(queues.count(&queues.input()), 1);
    assert!(!worker.log().contains("python-services"), "{}", worker.log());
    run_with(&["check"], &queues, &portal.webhook(), &[("PYTHON_TOKEN", TOKEN)])
        .has("off   python-services: none of PYTHON_URL, PYTHON_TOPIC_URLS and CELERY_QUEUE is set");
}

// Done at once.

#[test]
fn a_result_is_answered_at_once_in_the_form_that_the_bridge_reads() {
    let scene = Scene::set("at once", Some(json!({"id": 7, "answer": true, "sum": 1})), &[]);
    scene.queues.publish_task(&field_text("task-1"));
    let response = scene.response();
    assert_eq!(response["processing_status"], "completed_by_tracker");
    let data = &response["response_data"];
    let task = json!({
        "id": "7", "title": "Согласовать договор «Лютик» №8", "status": "succeeded",
        "ufResultExpected": "1", "ufResultAnswer_text": "ДА",
    });
    assert_eq!((&data["result"]["task"], &data["reply"]["sum"], &data["success"]), (&task, &json!(1), &json!(true)));
    assert_eq!(scene.queues.count(&scene.queues.sent()), 0);
    scene.end().with_finished(vec!["task-1".into()]).assert_holds();
}

#[test]
fn a_result_without_the_answer_that_is_expected_is_parked() {
    let scene = Scene::set("no answer", Some(json!({"sum": 1})), &[("PYTHON_ANSWER", "/verdict")]);
    scene.queues.publish_task(&field_text("task-1"));
    let parked = scene.parked();
    assert!(parked["error_message"].as_str().is_some_and(|told| told.contains("has none at /verdict")), "{parked}");
}

#[test]
fn a_result_that_says_it_has_failed_is_parked() {
    let scene = Scene::set("200 failed", Some(json!({"status": "Failed", "error": "no such contract"})), &[]);
    scene.queues.publish_task(&field_text("task-1"));
    assert_eq!(scene.parked()["error_message"], "it has failed: no such contract");
}

#[test]
fn a_service_that_says_nothing_has_done_the_task_all_the_same() {
    let scene = Scene::set("204", Some(json!({})), &[]);
    let nothing = What::Raw { status: 204, content_type: "", body: Vec::new() };
    scene.service.order(Fault::after("POST /tasks", nothing));
    scene.queues.publish_task(&seed_message("task-1"));
    let told = &scene.response()["response_data"];
    assert_eq!((&told["reply"], &told["result"]["task"]["id"]), (&Value::Null, &"task-1".into()));
    scene.end().with_finished(vec!["task-1".into()]).assert_holds();
}

// Jobs.

#[test]
fn a_job_is_asked_for_until_it_is_done_and_then_answered() {
    let scene = Scene::set("job", None, &[]);
    let record = scene.recorded();
    let url = format!("http://{}/jobs/0", scene.service.address());
    assert_eq!(record["response_data"]["job"]["url"], url);
    assert_eq!(record["response_data"]["reply"]["status"], "queued");
    eventually("several polls", PATIENCE, || polls(&scene.service) >= 3);
    scene.service.target().succeed("task-1", json!({"answer": "НЕТ", "sum": 1}));
    let told = &scene.response()["response_data"];
    assert_eq!(told["result"]["task"]["ufResultAnswer_text"], "НЕТ");
    assert_eq!((&told["reply"]["result"]["sum"], &told["result"]["task"]["id"]), (&json!(1), &json!("/jobs/0")));
    scene.end().with_finished(vec!["task-1".into()]).assert_holds();
}

#[test]
fn a_job_is_not_asked_for_before_it_is_due() {
    let scene = Scene::set("due", None, &[]);
    scene.service.target().rules.retry_after = Some(3600);
    scene.recorded();
    // The second one is due at once, so sweeps have gone by when it is answered.
    scene.service.target().rules.retry_after = None;
    scene.queues.publish_task(&field_text("task-2"));
    scene.queues.await_count(&scene.queues.sent(), 2, PATIENCE);
    scene.service.target().succeed("task-1", json!({"answer": true}));
    scene.service.target().succeed("task-2", json!({"answer": true}));
    assert_eq!(scene.response()["original_message"]["task_id"], "task-2");
    let asked = scene.service.asked();
    assert!(!asked.iter().any(|asked| asked.path == "/jobs/0"), "{asked:?}");
    scene.end().assert_holds();
}

#[test]
fn a_failed_job_is_parked_in_the_service_s_own_words() {
    let scene = Scene::set("failed", None, &[]);
    scene.recorded();
    scene.service.target().fail("task-1", "division by zero");
    let parked = scene.parked();
    assert_eq!(parked["error_type"], "TASK_FAILED");
    assert_eq!(parked["error_message"], "the job has failed: division by zero");
    scene.end().assert_holds();
}

#[test]
fn a_failed_job_is_answered_where_that_is_wished_for() {
    let scene = Scene::set("failed and answered", None, &[("PYTHON_FAILED_JOB", "answer")]);
    scene.recorded();
    scene.service.target().fail("task-1", "division by zero");
    let told = &scene.response()["response_data"];
    let task = &told["result"]["task"];
    assert_eq!((&task["status"], &task["ufResultAnswer_text"]), (&"failed".into(), &"НЕТ".into()));
    assert_eq!(told["reply"]["error"], "division by zero");
    scene.end().with_finished(vec!["task-1".into()]).assert_holds();
}

#[test]
fn a_state_that_no_setting_names_counts_as_at_work_and_is_logged() {
    let scene = Scene::set("state", None, &[]);
    scene.recorded();
    scene.service.target().set("task-1", json!({"status": "finished"}));
    let told = "/jobs/0 is \"finished\", which neither PYTHON_COMPLETED_STATUSES nor PYTHON_FAILED_STATUSES names";
    scene.worker.await_log(told, PATIENCE);
    scene.end().assert_holds();
}

#[test]
fn a_job_on_another_host_is_parked_and_nobody_there_is_asked() {
    let other = service(None);
    let scene = Scene::set("elsewhere", None, &[]);
    scene.service.target().rules.location_at = format!("http://{}", other.address());
    scene.queues.publish_task(&field_text("task-1"));
    let parked = scene.parked();
    let told = format!("the job is at http://{}, and the task was posted to", other.address());
    assert!(parked["error_message"].as_str().is_some_and(|words| words.starts_with(&told)), "{parked}");
    assert!(other.asked().is_empty());
}

#[test]
fn a_record_of_a_service_that_has_moved_waits_and_the_new_one_is_not_asked_for_it() {
    let scene = Scene::set("moved", None, &[]);
    scene.recorded();
    let Scene { queues, service: old, mut worker } = scene;
    worker.stop();
    let new = service(None);
    let url = format!("http://{}{TASKS}", new.address());
    let quick =
        [("BITRIX_WEBHOOK_URL", ""), ("HEARTBEAT_INTERVAL", "0.2"), ("PYTHON_URL", &url), ("PYTHON_TOKEN", TOKEN)];
    let mut worker = Worker::run(&[], &changed(&queues, "", &quick));
    worker.await_log(&format!("its job is at http://{}, which neither PYTHON_URL", old.address()), PATIENCE);
    worker.stop();
    assert_eq!((queues.count(&queues.sent()), new.asked().len()), (1, 0));
}

#[test]
fn a_job_that_cannot_be_asked_for_stays_and_is_answered_later() {
    let scene = Scene::set("unasked", None, &[("PYTHON_REQUEST_TIMEOUT", "1")]);
    scene.recorded();
    for what in [
        What::html(200, "<h1>Welcome</h1>"),
        What::refuse(500, "", "down"),
        What::refuse(401, "", "Not authenticated"),
        What::refuse(400, "", "what?"),
        What::Result(json!({"state": "succeeded"})),
        What::Close,
    ] {
        let order = scene.service.order(Fault::before(ANY_CALL, what));
        eventually("two of them", PATIENCE, || order.struck() >= 2);
        scene.service.clear(&order);
    }
    scene.service.target().succeed("task-1", json!({"answer": true}));
    assert_eq!(scene.response()["response_data"]["result"]["task"]["ufResultAnswer_text"], "ДА");
    assert_eq!(scene.queues.count(&scene.queues.errors()), 0);
    scene.end().with_finished(vec!["task-1".into()]).assert_holds();
}

#[test]
fn a_key_that_is_still_at_work_is_tried_again() {
    let scene = Scene::set("at work", None, &[("PYTHON_REQUEST_TIMEOUT", "1"), ("RETRY_ATTEMPTS", "2")]);
    scene.service.target().rules.conflicts = 1;
    scene.service.order(Fault::after("POST /tasks", What::Close).times(1));
    scene.recorded();
    assert_eq!(scene.service.target().rules.conflicts, 0);
    scene.end().assert_holds();
}

#[test]
fn any_other_conflict_is_for_a_person() {
    let scene = Scene::set("conflict", None, &[]);
    let conflict = What::refuse(409, "", "another version is there");
    scene.service.order(Fault::before("POST /tasks", conflict));
    scene.queues.publish_task(&field_text("task-1"));
    let told = "http status 409: {\"detail\":\"another version is there\"}";
    assert_eq!(scene.parked()["error_message"], told);
    scene.end().assert_holds();
}

#[test]
fn each_of_many_jobs_is_asked_for_once_a_sweep() {
    let scene = Scene::set("many", None, &[("HEARTBEAT_INTERVAL", "3600")]);
    let messages: Vec<String> = (0..200).map(|number| field_text(&format!("task-{number}"))).collect();
    scene.queues.publish_tasks(&messages);
    scene.queues.await_count(&scene.queues.sent(), messages.len(), Duration::from_secs(60));
    let Scene { queues, service, mut worker } = scene;
    worker.stop();
    let before = polls(&service);
    for job in 0..messages.len() {
        assert!(service.target().succeed(&format!("task-{job}"), json!({"answer": true})));
    }
    worker.start_again();
    queues.await_count(&queues.responses(), messages.len(), Duration::from_secs(60));
    worker.stop();
    assert_eq!(polls(&service) - before, messages.len());
}

// Commands.

#[test]
fn check_looks_at_each_address_and_posts_nothing() {
    let queues = Queues::of("python-services", "python check");
    let service = service(None);
    let urls = format!("a=http://{0}{TASKS},b=http://{0}/nowhere", service.address());
    let settings = [("BITRIX_WEBHOOK_URL", ""), ("PYTHON_TOPIC_URLS", &urls), ("PYTHON_TOKEN", TOKEN)];
    let check = run_with(&["check"], &queues, "", &settings);
    check
        .has(&format!("ok    python-services: http://{}/tasks answers (http status 405)", service.address()))
        .has(&format!("warn  python-services: http://{}/nowhere: http status 404", service.address()))
        .has("every topic but a, b is parked")
        .ended_with(0);
    assert!(service.asked().iter().all(|asked| asked.method == "OPTIONS"));
    let wrong = [("PYTHON_TOKEN", "another-token")];
    let check = run_with(&["check"], &queues, "", &[&settings[..2], &wrong].concat());
    check
        .has("FAIL  python-services: http://")
        .has("401; check the name, password or token for the target")
        .ended_with(1);
}

#[test]
fn explain_shows_the_request_that_would_be_posted() {
    let file = std::env::temp_dir().join(format!("task-creator-python-{}.json", std::process::id()));
    let mut message = field_message("task-1");
    message["topic"] = "create_user".into();
    std::fs::write(&file, message.to_string()).expect("the temporary folder is writable");
    let settings = [("PYTHON_URL".to_owned(), "http://services.example/tasks".to_owned())];
    let explained = run(&["explain", file.to_str().expect("a plain name")], &settings);
    let _ = std::fs::remove_file(&file);
    explained
        .has("queue     python-services.queue")
        .has("1. POST: http://services.example/tasks, with Idempotency-Key task-1")
        .has("2. GET: the Location of the answer")
        .has("the process expects an answer: it is looked for in the result at /answer")
        .has("not used: metadata.processProperties.groupId")
        .ended_with(0);
}
