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

/// The id of the task in a reply to an add.
fn id_in(reply: &Value) -> u64 {
    reply["result"]["task"]["id"].as_str().and_then(|id| id.parse().ok()).expect("an id in text")
}

fn new_task(number: u32) -> Value {
    let marker = format!("m-{number}");
    json!({"fields": {"TITLE": "t", "RESPONSIBLE_ID": 1, "UF_CAMUNDA_ID_EXTERNAL_TASK": marker}})
}

#[test]
fn a_task_is_created_found_finished_and_deleted() {
    let (sandbox, url, agent) = sandbox(Limits::default());
    let (status, added) = post(&agent, &url, "tasks.task.add", &new_task(1));
    let id = id_in(&added);
    assert_eq!(status, 200);
    assert!(added["time"]["operating"].is_number() && added["time"]["operating_reset_at"].is_u64());
    assert!(added["time"]["start"].is_u64());

    assert!(sandbox.finish(id, 5, Some("ДА")));
    let search = json!({
        "filter": {"=UF_CAMUNDA_ID_EXTERNAL_TASK": ["m-1", "m-2"]}, "start": -1,
        "select": ["ID", "STATUS", "UF_RESULT_ANSWER"],
    });
    let (_, found) = post(&agent, &url, "tasks.task.list.json", &search);
    let row = json!({"id": id.to_string(), "status": "5", "ufResultAnswer": "26"});
    assert_eq!(found["result"]["tasks"], json!([row]));
    assert!(found.get("total").is_none() && found.get("next").is_none());

    let task = sandbox.tasks().remove(0);
    assert_eq!((task.marker.as_deref(), task.status), (Some("m-1"), 5));
    assert!(sandbox.delete(id) && !sandbox.finish(id, 5, None));
    let (_, gone) = post(&agent, &url, "tasks.task.get", &json!({"taskId": id}));
    assert_eq!(gone["result"], json!([]));
}

#[test]
fn an_unknown_method_is_reported_before_a_wrong_token() {
    let (_sandbox, url, agent) = sandbox(Limits::default());
    for (url, method, told) in [
        (format!("{url}x"), "scope", (401, "INVALID_CREDENTIALS")),
        (format!("{url}x"), "batch", (401, "INVALID_CREDENTIALS")),
        (format!("{url}x"), "no.such.method", (404, "ERROR_METHOD_NOT_FOUND")),
        (url.clone(), "no.such.method", (404, "ERROR_METHOD_NOT_FOUND")),
    ] {
        let (status, body) = post(&agent, &url, method, &json!({}));
        assert_eq!((status, body["error"].as_str().unwrap_or_default()), told, "{method}");
    }
}

#[test]
fn parameters_may_come_as_form_or_query() {
    let (sandbox, url, agent) = sandbox(Limits::default());
    let form = [("fields[TITLE]", "А+Б"), ("fields[RESPONSIBLE_ID]", "2")];
    agent.post(format!("{url}/tasks.task.add")).send_form(form).expect("the sandbox answers");
    assert_eq!(sandbox.tasks()[0].title, "А+Б");
    let id = sandbox.tasks()[0].id;
    let url = format!("{url}/tasks.task.get?taskId={id}&select[0]=RESPONSIBLE_ID");
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
    let id = sandbox.tasks()[1].id.to_string();
    assert_eq!((status, &body["result"]["result"]["b"]["task"]["id"]), (200, &json!(id)));
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
fn faults_strike_requests_over_the_wire() {
    let (sandbox, url, agent) = sandbox(Limits::default());
    sandbox.order(Fault::before(ANY_REQUEST, What::refuse(401, "OVERLOAD_LIMIT", "blocked")).times(1));
    let (status, body) = post(&agent, &url, "tasks.task.add", &new_task(1));
    assert_eq!((status, &body["error"], sandbox.tasks().len()), (401, &json!("OVERLOAD_LIMIT"), 0));
    sandbox.order(Fault::after("batch", What::refuse(200, "WRONG_ENCODING", "")).times(1));
    let add = "tasks.task.add?fields[TITLE]=t&fields[RESPONSIBLE_ID]=1";
    let (status, body) = post(&agent, &url, "batch", &json!({"cmd": {"a": add}}));
    assert_eq!((status, &body["error"], sandbox.tasks().len()), (200, &json!("WRONG_ENCODING"), 1));
    for what in [What::Close, What::Reset, What::Half, What::Hang(Some(Duration::from_millis(1)))] {
        let order = sandbox.order(Fault::after("tasks.task.add", what).times(1));
        let request = agent.post(format!("{url}/tasks.task.add")).content_type("application/json");
        let read = request.send(new_task(2).to_string()).and_then(|mut reply| reply.body_mut().read_to_string());
        assert!(read.is_err(), "{read:?}");
        assert_eq!(order.struck(), 1);
    }
    assert_eq!(sandbox.tasks().len(), 5);
}

#[test]
fn a_portal_outlives_its_server() {
    let (sandbox, url, agent) = sandbox(Limits::default());
    post(&agent, &url, "tasks.task.add", &new_task(1));
    let memory = sandbox.memory.clone();
    drop(sandbox);
    let sandbox = Sandbox::serve(0, Limits::default(), memory).expect("a free port");
    let (_, found) = post(&agent, &sandbox.webhook_url(), "tasks.task.list", &json!({"filter": {"XML_ID": ""}}));
    assert_eq!(found["result"]["tasks"][0]["id"], sandbox.tasks()[0].id.to_string());
}

#[test]
fn a_strained_portal_is_slower_the_more_requests_are_under_way() {
    let delay = Duration::from_millis(10);
    let (sandbox, url, agent) = sandbox(Limits { request_delay: delay, strain_from: 1, ..Limits::default() });
    let order = sandbox.order(Fault::before("profile", What::Hang(None)));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| agent.get(format!("{url}/profile")).call());
        }
        let started = Instant::now();
        while order.struck() < 3 {
            assert!(started.elapsed() < Duration::from_secs(10));
            thread::yield_now();
        }
        let started = Instant::now();
        post(&agent, &url, "scope", &json!({}));
        assert!(started.elapsed() >= 16 * delay, "{:?}", started.elapsed());
        sandbox.release();
    });
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
fn a_delay_between_commands_ends_when_the_sandbox_is_dropped() {
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
