//! What is put into Celery's queue, and what its result messages mean.

use serde_json::{Value, json};

use super::outcome::{End, ResultMessage};
use super::*;
use crate::settings::Variables;
use crate::systems::Progress;
use crate::systems::http_jobs::Named;

const NAMED: Named = Named { system: "python-services", what: "services", prefix: "PYTHON", off: "off" };

fn settings(values: &[(&str, &str)]) -> (Option<Settings>, Vec<String>) {
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Variables::read(value, |variables| Settings::from_variables(&NAMED, variables))
}

fn on(values: &[(&str, &str)]) -> Settings {
    let (settings, errors) = settings(&[&[("CELERY_QUEUE", "celery")], values].concat());
    assert_eq!(errors, Vec::<String>::new());
    settings.expect("it is on")
}

fn task() -> Task {
    let message = json!({
        "task_id": "t-1", "topic": "calculate", "variables": {"n": {"value": 1, "type": "Integer"}},
        "metadata": {"extensionProperties": {"UF_RESULT_EXPECTED": "yes"}},
    });
    Task::parse(message.to_string().into_bytes()).expect("a task")
}

fn result(status: &str, result: &Value) -> ResultMessage {
    let message = json!({"status": status, "result": result, "task_id": "t-1", "traceback": null});
    ResultMessage::parse(message.to_string().as_bytes(), None).expect("a result")
}

#[test]
fn the_body_is_that_of_protocol_2_with_the_task_as_its_only_argument() {
    let body: Value = serde_json::from_slice(&handler::body(&task())).expect("JSON");
    assert_eq!(body[0][0]["variables"], json!({"n": 1}));
    assert_eq!((body[0].as_array().map(Vec::len), &body[1]), (Some(1), &json!({})));
    assert_eq!(body[2], json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null}));
}

#[test]
fn a_topic_that_has_no_name_at_celery_is_called_the_same() {
    let settings = on(&[("CELERY_TASKS", "calculate=svc.calculate , convert = svc.convert")]);
    assert_eq!(
        ["calculate", "convert", "svc.x"].map(|topic| settings.task_name(topic)),
        ["svc.calculate", "svc.convert", "svc.x"]
    );
}

#[test]
fn without_a_host_of_its_own_celery_is_at_the_broker_of_the_messages() {
    assert!(on(&[]).broker.is_none());
    let own = on(&[("CELERY_HOST", "celery.example"), ("CELERY_PASSWORD", "canary"), ("CELERY_TLS", "true")]);
    let broker = own.broker.as_ref().expect("one of its own");
    assert_eq!((broker.host.as_str(), broker.port, broker.vhost.as_str()), ("celery.example", 5671, "/"));
    assert!(own.secrets().iter().any(|secret| secret.expose() == "canary") && !format!("{own:?}").contains("canary"));
}

#[test]
fn what_cannot_be_meant_is_told() {
    let wrong = |values: &[(&str, &str)]| settings(&[&[("CELERY_QUEUE", "celery")], values].concat()).1.concat();
    assert!(wrong(&[("PYTHON_URL", "http://services.example")]).contains("two places"));
    assert!(wrong(&[("CELERY_RESULT_QUEUE", "celery")]).contains("is the same queue"));
    assert!(wrong(&[("CELERY_HOST", "celery.example")]).contains("CELERY_PASSWORD"));
    assert!(settings(&[("CELERY_TASKS", "a=b")]).0.is_none());
}

#[test]
fn a_success_is_answered_and_a_failure_parked_or_answered() {
    let parked = |result: &ResultMessage, settings: &Settings| match result.progress(&task(), settings) {
        Progress::Failed(err) => err.to_string(),
        other => panic!("{other:?}"),
    };
    let told = |result: &ResultMessage, settings: &Settings| match result.progress(&task(), settings) {
        Progress::Finished(told) => told["result"]["task"]["ufResultAnswer_text"].clone(),
        other => panic!("{other:?}"),
    };
    let failed =
        result("FAILURE", &json!({"exc_type": "ValueError", "exc_message": ["a", 1], "exc_module": "builtins"}));
    assert_eq!(told(&result("SUCCESS", &json!({"answer": true})), &on(&[])), "ДА");
    assert!(parked(&result("SUCCESS", &json!(3)), &on(&[])).contains("has none at /answer"));
    assert_eq!(parked(&failed, &on(&[])), "Celery: ValueError: a, 1");
    assert_eq!(told(&failed, &on(&[("PYTHON_FAILED_JOB", "answer")])), "НЕТ");
}

#[test]
fn what_is_no_end_is_told_from_what_is_no_result() {
    assert_eq!(result("STARTED", &json!({"pid": 1})).end, None);
    assert_eq!(result("REVOKED", &Value::Null).end, Some(End::Failure));
    for body in ["", "[]", "{}", r#"{"status": "SUCCESS"}"#, r#"{"task_id": "t"}"#, "\u{80}\u{4}K"] {
        assert!(ResultMessage::parse(body.as_bytes(), None).is_none(), "{body}");
    }
}

/// Python writes NaN, which is no JSON; another serializer writes no JSON at all.
#[test]
fn a_result_that_cannot_be_read_parks_its_task() {
    for body in [r#"{"status": "SUCCESS", "result": NaN, "task_id": "t-1"}"#, "\u{80}\u{4}K", "{}"] {
        let result = ResultMessage::parse(body.as_bytes(), Some("t-1")).expect("whose it is says its correlation id");
        assert_eq!(result.task_id, "t-1");
        for settings in [on(&[]), on(&[("PYTHON_FAILED_JOB", "answer")])] {
            let Progress::Failed(err) = result.progress(&task(), &settings) else { panic!("{body}") };
            assert!(err.to_string().contains("is no result in JSON"), "{err}");
        }
    }
}

#[test]
fn a_name_that_fits_into_no_header_is_refused() {
    let settings = on(&[]);
    assert!(
        settings.refusal(&Task { topic: "я".repeat(128), ..task() }).is_some_and(|why| why.contains("CELERY_TASKS"))
    );
    assert!(settings.refusal(&task()).is_none());
}
