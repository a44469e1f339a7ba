//! Settings, keys, answers and jobs, as far as they need no service.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::key;
use super::job::Job;
use super::*;
use crate::http::server::Page;
use crate::message::{Record, Task, now, sent_record};
use crate::sandbox::http_fake::{Asked, HttpFake, Target};
use crate::stop;
use crate::systems::{Failure, Progress, Tracker};
use crate::tls::RootCertificates;

const NAMED: Named = Named { system: "services", what: "services", prefix: "SVC", off: "no address" };

fn settings(values: &[(&str, &str)]) -> Settings {
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let (settings, errors) = Variables::read(value, |variables| Settings::from_variables(&NAMED, variables));
    assert_eq!(errors, Vec::<String>::new());
    settings
}

fn wrong(name: &str, value: &str) -> String {
    let given = |wanted: &str| (wanted == name).then(|| value.to_owned());
    let (_, errors) = Variables::read(given, |variables| Settings::from_variables(&NAMED, variables));
    errors.concat()
}

fn task(expects_answer: &str) -> Task {
    let message = json!({
        "task_id": "t-1", "topic": "calculate", "variables": {"n": {"value": 1, "type": "Integer"}, "": null},
        "metadata": {"extensionProperties": {"UF_RESULT_EXPECTED": expects_answer}, "activityInfo": {"name": "Счёт"}},
    });
    Task::parse(message.to_string().into_bytes()).expect("a task")
}

// Settings.

#[test]
fn a_topic_has_its_own_address_or_the_one_for_all() {
    let both = settings(&[
        ("SVC_URL", "http://all.example"),
        ("SVC_TOPIC_URLS", "a=http://a.example/x/, b = http://b.example"),
    ]);
    let of = |topic| both.urls.of(topic).map(url::Url::as_str);
    assert_eq!(
        [of("a"), of("b"), of("c")],
        [Some("http://a.example/x/"), Some("http://b.example/"), Some("http://all.example/")]
    );
    let some = settings(&[("SVC_TOPIC_URLS", "a=http://a.example")]);
    assert!(some.urls.of("c").is_none() && !some.urls.is_empty());
    assert!(settings(&[]).urls.is_empty());
}

#[test]
fn an_address_that_cannot_be_meant_is_told() {
    for address in [
        "services.example",
        "ftp://services.example",
        "http://",
        "http://u:p@services.example/",
        "http://а.example/?k=v",
    ] {
        assert!(wrong("SVC_URL", address).starts_with("SVC_URL "), "{address}: {:?}", wrong("SVC_URL", address));
    }
    for list in ["http://services.example", "a", "a=", "=http://a.example", "a=http://a.example,a=http://b.example"] {
        assert!(wrong("SVC_TOPIC_URLS", list).starts_with("SVC_TOPIC_URLS "), "{list}");
    }
    assert!(wrong("SVC_TOKEN", "short").contains("shorter than 8"));
    assert!(wrong("SVC_TOKEN", "line\nfeed-in-it").contains("character"));
}

// Requests.

#[test]
fn a_key_is_the_task_s_id_and_two_ids_never_have_the_same() {
    assert_eq!(key("8e03978e-40d5-43dd-bc93-6894a57f9324"), "8e03978e-40d5-43dd-bc93-6894a57f9324");
    assert_eq!(key("задача 1\r\nX: y"), "%D0%B7%D0%B0%D0%B4%D0%B0%D1%87%D0%B0%201%0D%0AX:%20y");
    assert_ne!(key("a b"), key("a%20b"));
}

#[test]
fn what_is_posted_has_the_variables_plain_and_in_full() {
    let long = "я".repeat(1 << 20);
    let message = json!({"task_id": "t", "variables": {"long": long, "n": {"value": 7, "type": "Long"}, "o": {"value": 1, "own": 2}}});
    let task = Task::parse(message.to_string().into_bytes()).expect("a task");
    assert!(task.variables["long"].as_str().expect("a text").len() < long.len());
    let posted: Value = serde_json::from_slice(&fields::Fields::of(&task).encode()).expect("JSON");
    assert_eq!(posted["variables"], json!({"long": long, "n": 7, "o": {"value": 1, "own": 2}}));
    assert_eq!(posted["title"], "");
}

// Answers.

#[test]
fn the_answer_is_found_in_the_result_and_spelt_for_the_bridge() {
    for (result, spelt) in [
        (json!({"answer": true}), "ДА"),
        (json!({"answer": false}), "НЕТ"),
        (json!({"answer": " ДА "}), "ДА"),
        (json!({"answer": 7}), "7"),
    ] {
        let told = outcome::done(&task("yes"), "id", &result, &result, "/answer").expect("an answer");
        let expected = json!({
            "id": "id", "title": "Счёт", "status": "succeeded", "ufResultExpected": "1", "ufResultAnswer_text": spelt,
        });
        assert_eq!((&told["result"]["task"], &told["reply"]), (&expected, &result));
    }
}

#[test]
fn a_process_that_expects_an_answer_is_never_told_of_none() {
    for result in [json!({}), json!(null), json!({"answer": " "}), json!({"answer": {}}), json!([true])] {
        assert!(outcome::done(&task("yes"), "id", &result, &result, "/answer").is_err(), "{result}");
        let told = outcome::done(&task("no"), "id", &result, &result, "/answer").expect("nobody asks");
        assert_eq!(told["result"]["task"]["ufResultAnswer_text"], "");
    }
    let told = outcome::failed(&task("yes"), "id", &json!({"error": "no"}));
    assert_eq!(
        (&told["result"]["task"]["status"], &told["result"]["task"]["ufResultAnswer_text"]),
        (&"failed".into(), &"НЕТ".into())
    );
}

// Jobs.

/// What becomes of a `Location` in the answer to a task that was posted to `http://services.example:81/v1/tasks`.
fn located(location: Option<&str>) -> anyhow::Result<String> {
    let posted_to = url::Url::parse("http://services.example:81/v1/tasks").expect("a URL");
    Job::located(location, &posted_to, Duration::ZERO).map(|job| job.url.to_string())
}

#[test]
fn a_job_is_where_its_location_says_on_the_same_host() {
    for (location, url) in [
        ("/jobs/1", "http://services.example:81/jobs/1"),
        ("jobs/1?t=%20", "http://services.example:81/v1/jobs/1?t=%20"),
        ("http://SERVICES.example:81/1", "http://services.example:81/1"),
        ("//services.example:81/1", "http://services.example:81/1"),
        ("../1", "http://services.example:81/1"),
    ] {
        assert_eq!(located(Some(location)).expect("a job"), url, "{location}");
    }
}

#[test]
fn a_job_at_another_place_is_not_followed() {
    for location in [
        "https://services.example:81/1",
        "http://services.example/1",
        "http://services.example:82/1",
        "http://evil.example:81/1",
        "//evil.example/1",
        "/\\evil.example/1",
        "http://services.example:81@evil.example/1",
        "http:\\\\evil.example\\1",
        "http://user:password@services.example:81/1",
        "http://user@services.example:81/1",
        "file:///etc/passwd",
        "javascript:1",
        "http://[",
    ] {
        assert!(located(Some(location)).is_err(), "{location}");
    }
    assert!(located(None).is_err());
}

#[test]
fn a_job_is_read_from_its_record_again_and_one_at_a_place_that_is_not_named_is_not_asked_for() {
    let (task, due) = (task("no"), now() + 60.0);
    let job = Job { url: url::Url::parse("http://services.example/jobs/1?sign=x").expect("a URL"), due };
    let record = Record::parse(sent_record(&task, "services.queue", job.reply(&task, &json!({"id": 1})), None));
    let read = Job::in_record(&record.expect("a record")).expect("a job");
    assert_eq!((read.url.as_str(), read.due, read.waited()), ("http://services.example/jobs/1?sign=x", due, None));
    assert_eq!(read.id(), "/jobs/1");
    let at = |url| read.elsewhere(&settings(&[("SVC_URL", url)]));
    assert_eq!(at("http://services.example/other"), None);
    assert!(at("https://services.example/").is_some_and(|why| why.contains("SVC_TOPIC_URLS")));
}

#[test]
fn a_record_without_a_job_is_told() {
    let record = Record::parse(sent_record(&task("no"), "services.queue", json!({"id": 1}), None)).expect("a record");
    assert!(Job::in_record(&record).is_err());
}

#[test]
fn a_job_that_is_due_in_years_was_made_by_a_wrong_clock_and_is_asked_for() {
    let at = |due| Job { url: url::Url::parse("http://services.example/").expect("a URL"), due }.waited();
    assert_eq!((at(now() + 3000.0), at(now() + 9000.0)), (None, Some(Duration::ZERO)));
    assert!(at(now() - 60.0).is_some_and(|waited| waited >= Duration::from_secs(60)));
}

// Tracking.

/// Answers everything with this, or wants to be left alone; some of its jobs it shows to nobody.
struct Service(Option<&'static str>);

/// Where the jobs are that nobody may see, such as those whose signature is too old.
const HIDDEN: &str = "/hidden";

impl Target for Service {
    fn answer(&mut self, asked: &Asked) -> Page {
        match self.0 {
            _ if asked.path.starts_with(HIDDEN) => Page::new(403, "text/html", "Request has expired"),
            Some(body) => Page::new(200, "application/json", body),
            None => Page::new(429, "application/json", "{}"),
        }
    }

    fn refusal(status: u16, _: &str, _: &str) -> Page {
        Page::new(status, "application/json", "{}")
    }
}

fn service(answer: Option<&'static str>) -> (HttpFake<Service>, String) {
    let service = HttpFake::start(0, Service(answer)).expect("a free port");
    let url = format!("http://{}/", service.address());
    (service, url)
}

fn record(id: &str, url: &str, due: f64) -> Record {
    let task = Task { id: id.into(), ..task("no") };
    let job = Job { url: url::Url::parse(url).expect("a URL"), due };
    let message = json!({"task_id": id, "topic": "calculate"}).to_string();
    let task = Task { body: serde_json::value::RawValue::from_string(message).expect("JSON"), ..task };
    Record::parse(sent_record(&task, "services.queue", job.reply(&task, &Value::Null), None)).expect("a record")
}

fn tracker(settings: Settings, stop: &stop::Stop) -> tracker::JobTracker {
    let client = Arc::new(Client::new(&settings, &RootCertificates::public()));
    tracker::JobTracker::new(settings, client, stop)
}

#[test]
fn a_service_that_wants_to_be_left_alone_is_asked_once_a_sweep_and_the_others_go_on() {
    let ((busy, busy_url), (idle, idle_url)) = (service(None), service(Some(r#"{"status": "done"}"#)));
    let urls = format!("a={busy_url},b={idle_url}");
    let (_stopper, stop) = stop::signal();
    let values = [("SVC_TOPIC_URLS", &*urls), ("SVC_PARALLEL_REQUESTS", "1"), ("SVC_COMPLETED_STATUSES", "done")];
    let mut tracker = tracker(settings(&values), &stop);
    let records: Vec<Record> =
        [&busy_url, &busy_url, &idle_url, &busy_url].iter().map(|url| record("t", url, 0.0)).collect();
    let results = tracker.check(&records);
    assert!(matches!(results[2], Ok(Progress::Finished(_))), "{results:?}");
    // So that the sweep goes on.
    assert!(
        results.iter().filter(|result| matches!(result, Err(Failure::Transient { .. }))).count() == 3,
        "{results:?}"
    );
    assert_eq!((busy.asked().len(), idle.asked().len()), (1, 1));
    // Where nobody answers, it is an outage.
    let results = tracker.check(&records[..2]);
    assert!(results.iter().all(|result| matches!(result, Err(Failure::Unavailable { .. }))), "{results:?}");
}

#[test]
fn the_job_that_waits_longest_is_asked_for_first_and_nothing_is_once_the_worker_stops() {
    let (service, url) = service(Some(r#"{"status": "running"}"#));
    let (stopper, stop) = stop::signal();
    let mut tracker = tracker(settings(&[("SVC_URL", &*url), ("SVC_PARALLEL_REQUESTS", "1")]), &stop);
    let at = |id: &str, due| record(id, &format!("{url}{id}"), now() + due);
    let records = [at("late", -1.0), at("not-yet", 60.0), at("first", -9.0)];
    assert!(tracker.check(&records).iter().all(|result| matches!(result, Ok(Progress::Open))));
    let asked = || service.asked().iter().map(|asked| asked.path.clone()).collect::<Vec<_>>();
    assert_eq!(asked(), ["/first", "/late"]);
    stopper.raise();
    tracker.check(&records);
    assert_eq!(asked().len(), 2);
}

#[test]
fn jobs_that_the_service_shows_to_nobody_hold_up_no_other() {
    let (service, url) = service(Some(r#"{"status": "succeeded"}"#));
    let (_stopper, stop) = stop::signal();
    let mut tracker = tracker(settings(&[("SVC_URL", &*url), ("SVC_PARALLEL_REQUESTS", "1")]), &stop);
    let at = |id: &str, path: &str, due| record(id, &format!("{url}{path}"), now() + due);
    let mut records = vec![at("a", "hidden/a", -9.0), at("b", "b", -1.0)];
    let results = tracker.check(&records);
    assert!(matches!(results[..], [Err(Failure::Transient { .. }), Ok(Progress::Finished(_))]), "{results:?}");
    // Three in a row look like an account that may see nothing. They go behind the others then.
    records = vec![at("c", "hidden/c", -9.0), at("d", "hidden/d", -9.0), at("e", "hidden/e", -9.0), at("f", "f", -1.0)];
    let results = tracker.check(&records);
    assert!(results.iter().all(|result| matches!(result, Err(Failure::Unavailable { .. }))), "{results:?}");
    let results = tracker.check(&records);
    assert!(matches!(results[3], Ok(Progress::Finished(_))), "{results:?}");
    drop(service);
}

#[test]
fn a_reply_says_by_its_status_alone_that_the_work_has_failed() {
    let usual = settings(&[]);
    assert!(usual.says_failed(&json!({"status": "FAILED"})) && !usual.says_failed(&json!({"status": "ok"})));
    assert!(!usual.says_failed(&json!({"state": "failed"})) && !usual.says_failed(&json!("failed")));
}
