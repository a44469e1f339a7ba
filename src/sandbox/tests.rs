//! The sandbox over real HTTP.

use super::*;
use serde_json::{Value, json};
use std::thread;

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .max_idle_connections_per_host(32)
        .build()
        .into()
}

/// Status and body of a POST.
fn post(agent: &ureq::Agent, url: &str, method: &str, params: &Value) -> (u16, Value) {
    let request = agent.post(format!("{url}/{method}")).content_type("application/json");
    let mut reply = request.send(params.to_string()).expect("the sandbox answers");
    let body = reply.body_mut().read_to_string().expect("a body");
    (reply.status().as_u16(), serde_json::from_str(&body).expect("the body is JSON"))
}

fn sandbox(limits: Limits) -> (Sandbox, String, ureq::Agent) {
    let sandbox = Sandbox::start(0, limits).expect("a free port");
    let url = sandbox.webhook_url();
    (sandbox, url, agent())
}

fn new_task(number: u32) -> Value {
    let marker = format!("m-{number}");
    json!({"fields": {"TITLE": "t", "RESPONSIBLE_ID": 1, "UF_CAMUNDA_ID_EXTERNAL_TASK": marker}})
}

#[test]
fn a_task_is_created_found_finished_and_deleted() {
    let (sandbox, url, agent) = sandbox(Limits::default());
    let (status, added) = post(&agent, &url, "tasks.task.add", &new_task(1));
    assert_eq!((status, &added["result"]["task"]["id"]), (200, &json!("1")));
    assert!(added["time"]["operating"].is_number());

    assert!(sandbox.finish(1, 5, Some("ДА")));
    let search = json!({
        "filter": {"=UF_CAMUNDA_ID_EXTERNAL_TASK": "m-1"}, "start": -1,
        "select": ["ID", "STATUS", "UF_RESULT_ANSWER"],
    });
    let (_, found) = post(&agent, &url, "tasks.task.list.json", &search);
    let row = json!({"id": "1", "status": "5", "ufResultAnswer": "26"});
    assert_eq!(found["result"]["tasks"], json!([row]));
    assert!(found["total"] == 0 && found.get("next").is_none());

    let task = sandbox.tasks().remove(0);
    assert_eq!((task.marker.as_deref(), task.status), (Some("m-1"), 5));
    assert!(sandbox.delete(1) && !sandbox.finish(1, 5, None));
    let (_, gone) = post(&agent, &url, "tasks.task.get", &json!({"taskId": 1}));
    assert_eq!(gone["result"], json!([]));
}

#[test]
fn a_wrong_token_is_401_and_an_unknown_method_404() {
    let (_sandbox, url, agent) = sandbox(Limits::default());
    let (status, body) = post(&agent, &format!("{url}x"), "scope", &json!({}));
    assert_eq!((status, &body["error"]), (401, &json!("INVALID_CREDENTIALS")));
    let (status, body) = post(&agent, &url, "no.such.method", &json!({}));
    assert_eq!((status, &body["error"]), (404, &json!("ERROR_METHOD_NOT_FOUND")));
}

#[test]
fn parameters_may_come_as_form_or_query() {
    let (sandbox, url, agent) = sandbox(Limits::default());
    let form = [("fields[TITLE]", "А+Б"), ("fields[RESPONSIBLE_ID]", "2")];
    agent.post(format!("{url}/tasks.task.add")).send_form(form).expect("the sandbox answers");
    assert_eq!(sandbox.tasks()[0].title, "А+Б");
    let url = format!("{url}/tasks.task.get?taskId=1&select[0]=RESPONSIBLE_ID");
    let body = agent.get(url).call().expect("an answer").body_mut().read_to_string().expect("text");
    assert!(body.contains(r#""responsibleId":"2""#), "{body}");
}

#[test]
fn a_batch_counts_as_one_request_and_its_commands_as_calls() {
    let (sandbox, url, agent) = sandbox(Limits::default());
    let add = "tasks.task.add?fields[TITLE]=t&fields[RESPONSIBLE_ID]=1";
    let batch =
        json!({"cmd": {"a": add, "b": add, "c": "imena.camunda.sync?processDefinitionKey=P&processInstanceId=I"}});
    let (status, body) = post(&agent, &url, "batch", &batch);
    assert_eq!((status, &body["result"]["result"]["b"]["task"]["id"]), (200, &json!("2")));
    assert_eq!(body["result"]["result_error"], json!([]));
    let counts = sandbox.counts();
    assert_eq!((counts.requests, counts.syncs), (1, 1));
    assert_eq!((counts.calls["tasks.task.add"], counts.calls["batch"]), (2, 1));
    assert_eq!(sandbox.syncs()[0].process_definition_key, "P");
}

#[test]
fn a_request_over_the_rate_is_refused_and_not_executed() {
    let (sandbox, url, agent) = sandbox(Limits { rate: 0.001, burst: 2, ..Limits::default() });
    let statuses = [1, 2, 3].map(|number| post(&agent, &url, "tasks.task.add", &new_task(number)).0);
    assert_eq!(statuses, [200, 200, 503]);
    assert_eq!(sandbox.tasks().len(), 2);
    assert_eq!(sandbox.counts().refused, 1);
}

#[test]
fn delayed_requests_overlap() {
    let delay = Duration::from_millis(200);
    let (_sandbox, url, agent) = sandbox(Limits { request_delay: delay, ..Limits::default() });
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| post(&agent, &url, "scope", &json!({})));
        }
    });
    assert!(started.elapsed() < 10 * delay, "{:?}", started.elapsed());
}

#[test]
fn a_delay_between_commands_ends_when_the_sandbox_goes() {
    let command_delay = Duration::from_secs(60);
    let (sandbox, url, agent) = sandbox(Limits { command_delay, ..Limits::default() });
    let started = Instant::now();
    thread::scope(|scope| {
        let batch = json!({"cmd": {"a": "scope", "b": "scope"}}).to_string();
        let request = agent.post(format!("{url}/batch")).content_type("application/json");
        let waiting = scope.spawn(move || request.send(batch));
        while !sandbox.counts().calls.contains_key("scope") {
            assert!(started.elapsed() < Duration::from_secs(10));
            thread::yield_now();
        }
        drop(sandbox);
        assert!(waiting.join().expect("no panic").is_err());
    });
    assert!(started.elapsed() < Duration::from_secs(10));
}
