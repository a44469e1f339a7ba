//! No secret in any output: canaries in the settings, every failing path, then a search through all output.

use crate::support::secrets::{dressed, files, found_in};
use crate::support::*;
use serde_json::{Value, json};

const TOKEN: &str = "portal-canary-token";
const PASSWORD: &str = "canary pässword/+=";

#[track_caller]
fn assert_silent(places: &[(String, String)], secrets: &[String]) {
    assert!(!places.is_empty());
    assert_eq!(found_in(places, secrets), None);
}

/// The portal's own URL, as gateways and frameworks show it.
fn echo(portal: &str) -> String {
    format!("Cannot POST {portal}/rest/1/{TOKEN}/tasks.task.add: bad token {TOKEN}")
}

/// The answer of a portal that shows its own URL in each task.
fn showing(answer: Answer, member: &str) -> Answer {
    let mut result = match answer {
        Answer::Done(result) | Answer::Page { result, .. } => result,
        other => return other,
    };
    let tasks = match &mut result[member] {
        Value::Array(tasks) => tasks.iter_mut().collect(),
        task => vec![task],
    };
    tasks.into_iter().for_each(|task| task["link"] = echo("http://bitrix.example").into());
    Answer::Done(result)
}

#[test]
fn a_portal_that_shows_the_token_does_not_get_it_into_logs_or_queues() {
    let queues = Queues::new("canary");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| {
            let echo = echo("http://bitrix.example");
            let marker = call.params["fields"]["UF_CAMUNDA_ID_EXTERNAL_TASK"].as_str().unwrap_or_default();
            match (call.method.as_str(), marker) {
                ("tasks.task.add", "good" | "between-0") => showing(tasks.answer(call), "task"),
                ("tasks.task.list", _) => showing(tasks.answer(call), "tasks"),
                ("tasks.task.add", "refused") => Answer::refused(400, "ERROR_CORE", &echo),
                ("tasks.task.add", "code") => Answer::refused(400, TOKEN, ""),
                ("tasks.task.add", "page") => Answer::Http(Reply::html(502, &echo)),
                ("tasks.task.add", "failing") => Answer::refused(500, "INTERNAL_SERVER_ERROR", &echo),
                ("tasks.task.add", "token") => Answer::refused(401, "expired_token", &echo),
                ("imena.camunda.sync", _) => Answer::Done(json!({"success": false, "url": echo})),
                ("task.checklistitem.add", _) => Answer::refused(403, "ACCESS_DENIED", &echo),
                ("imena.camunda.userfield.list", _) => Answer::refused(404, "ERROR_METHOD_NOT_FOUND", &echo),
                _ => tasks.answer(call),
            }
        })
    };
    let changes = [
        ("LOG_LEVEL", "DEBUG"),
        ("RETRY_ATTEMPTS", "1"),
        ("RETRY_DELAY", "0.1"),
        ("BITRIX_REQUEST_TIMEOUT", "1"),
        ("HEARTBEAT_INTERVAL", "0.3"),
    ];
    let mut worker = Worker::start(&queues, &portal.webhook(), &changes);
    queues.publish_task(&field_text("good"));
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    eventually("the good one", PATIENCE, || tasks.ids_of("good").len() == 1);
    tasks.set("good", "UF_RESULT_ANSWER", json!("26"));
    tasks.set_status("good", 5);
    worker.await_log("the text of answer 26 is not known", PATIENCE);
    tasks.set("good", "UF_RESULT_ANSWER", json!("ДА"));
    queues.await_count(&queues.responses(), 1, PATIENCE);
    for (number, id) in ["refused", "code", "page", "failing"].into_iter().enumerate() {
        queues.publish_task(&json!({"task_id": id}));
        queues.await_count(&queues.errors(), number + 1, PATIENCE);
        let between = format!("between-{number}");
        queues.publish_task(&json!({"task_id": between}));
        eventually(&between, PATIENCE, || tasks.ids_of(&between).len() == 1);
    }
    queues.publish_task(&json!({"task_id": "token"}));
    worker.await_log("expired_token", PATIENCE);
    queues.publish_task(&json!({"nothing": "at all"}));
    worker.signal("INT");
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));

    let mut places = files(worker.folder());
    for queue in [queues.input(), queues.sent(), queues.retry(), queues.errors(), queues.responses()] {
        for message in queues.peek_all(&queue) {
            places.push((queue.clone(), format!("{} {:?} {:?}", message.text(), message.headers, message.properties)));
        }
    }
    assert!(places.len() >= 8, "{} places", places.len());
    assert_silent(&places, &dressed(TOKEN, "1"));
    assert!(worker.log().contains("rest/1/***/tasks.task.add"), "the refusal itself is told");
    for queue in [queues.sent(), queues.responses()] {
        let link = "http://bitrix.example/rest/1/***/tasks.task.add";
        assert!(places.iter().any(|(place, text)| *place == queue && text.contains(link)), "{queue} holds a link");
    }
    let host = portal.address().to_string();
    assert!(!places.iter().any(|(_, text)| text.contains(&format!("{host}/rest/1/portal"))));
}

#[test]
fn a_password_is_not_shown_whatever_is_wrong_with_the_broker() {
    let queues = Queues::new("password");
    let rabbitmq = queues.broker().rabbitmq();
    let port = rabbitmq.port.to_string();
    let secrets = [dressed(PASSWORD, &rabbitmq.username), dressed(TOKEN, "1")].concat();
    let webhook = format!("http://127.0.0.1:1/rest/1/{TOKEN}/");
    // Refused; nobody there; a name that does not resolve; something else is wrong with the settings.
    for (changes, ends) in [
        (vec![("RABBITMQ_PORT", port.as_str())], Some(78)),
        (vec![("RABBITMQ_PORT", "1")], None),
        (vec![("RABBITMQ_HOST", "no-such-host.invalid")], None),
        (vec![("RABBITMQ_HEARTBEAT", "often"), ("BITRIX_RATE", PASSWORD)], Some(78)),
        (vec![("BITRIX_WEBHOOK_URL", "bitrix.example/rest/1/portal-canary-token")], Some(78)),
    ] {
        // The last but one has the password in a wrong setting, so the output may repeat it there.
        let repeats = changes.iter().any(|(_, value)| *value == PASSWORD);
        let password = [("RABBITMQ_PASSWORD", if repeats { "other canary" } else { PASSWORD }), ("LOG_LEVEL", "DEBUG")];
        let mut worker = Worker::start(&queues, &webhook, &[&password, changes.as_slice()].concat());
        match ends {
            Some(code) => assert_eq!(worker.wait(PATIENCE).code(), Some(code), "{changes:?}"),
            None => {
                worker.await_log("trying again in", PATIENCE);
                worker.signal("INT");
                assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{changes:?}");
            }
        }
        let places = files(worker.folder());
        let own = if repeats { dressed("other canary", &rabbitmq.username) } else { secrets.clone() };
        assert_silent(&places, &own);
    }
}

#[test]
fn the_token_stays_in_the_path_and_the_message_cannot_say_where_to() {
    let queues = Queues::new("address");
    let tasks = Tasks::new();
    let (portal, elsewhere) = (Portal::of(&tasks), Portal::of(&tasks));
    let place = elsewhere.webhook();
    let worker = Worker::start(&queues, &portal.webhook(), &[]);
    let message = json!({
        "task_id": "../../x/y?auth=1#", "topic": format!("../{place}"), "system": place,
        "variables": {"BITRIX_WEBHOOK_URL": place, "webhook": place, "title": place},
        "process_instance_id": place, "process_definition_key": place,
        "metadata": {"extensionProperties": {"UF_URL": place, "method": "tasks.task.delete"}},
    });
    queues.publish_task(&message);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    eventually("the sync", PATIENCE, || tasks.syncs().len() == 1);
    assert_eq!(elsewhere.requests().len(), 0);
    for request in portal.requests() {
        assert_eq!(request.path, format!("/rest/1/{TOKEN}/{}", request.method));
        assert!(
            ["tasks.task.list", "tasks.task.add", "imena.camunda.sync", "task.item.userfield.getlist", "batch"]
                .contains(&request.method.as_str())
        );
        let headers: Vec<String> = request.headers.iter().map(|(_, value)| value.clone()).collect();
        assert!(!headers.concat().contains(TOKEN));
    }
    drop(worker);
}

// Every `Worker` searches its output for secrets when it is dropped. The tests below only cause what could show them.

#[test]
fn no_command_shows_a_secret_when_rabbitmq_is_not_to_be_had() {
    let queues = Queues::new("commands");
    let port = queues.broker().rabbitmq().port.to_string();
    let webhook = format!("https://127.0.0.1:{port}/rest/1/{TOKEN}/");
    // Refused; nobody there; no TLS there; a name that does not resolve.
    let faults: [&[(&str, &str)]; 4] = [
        &[],
        &[("RABBITMQ_PORT", "1")],
        &[("RABBITMQ_TLS", "true"), ("RABBITMQ_PORT", &port)],
        &[("RABBITMQ_HOST", "no-such-host.invalid")],
    ];
    for fault in faults {
        let changes = [fault, &[("RABBITMQ_PASSWORD", PASSWORD), ("LOG_LEVEL", "DEBUG")]].concat();
        for command in [&["check"][..], &["check", "--create-field"], &["send"], &["demo"]] {
            run_with(command, &queues, &webhook, &changes).ended_with(1);
        }
        let mut worker = Worker::start(&queues, &webhook, &changes);
        worker.await_log("RabbitMQ at ", PATIENCE);
        worker.signal("TERM");
        worker.wait(PATIENCE);
    }
}

#[test]
fn no_check_shows_a_secret_whatever_the_portal_says() {
    let queues = Queues::new("check");
    let page = echo("http://bitrix.example");
    let error = json!({"error": TOKEN, "error_description": &page});
    let redirect = format!("http://127.0.0.1:1/rest/1/{TOKEN}/");
    for reply in [
        Reply::Json(200, json!({"result": {"NAME": &page, "ID": &page}})),
        Reply::Json(400, error.clone()),
        Reply::Json(401, error.clone()),
        Reply::Json(500, error),
        Reply::html(502, &page),
        Reply::Redirect(redirect),
        Reply::Close,
    ] {
        let portal = Portal::behind(move |_| Some(reply.clone()), |_| panic!("the door is closed"));
        run_with(&["check"], &queues, &portal.webhook(), &[("LOG_LEVEL", "DEBUG")])
            .ended_with(1)
            .has("FAIL  bitrix24: ");
    }
}

#[test]
fn a_sign_in_before_the_portals_host_is_a_secret_too() {
    let queues = Queues::new("sign-in");
    let tasks = Tasks::new();
    let refuse = |request: &Request| {
        let header = request.header("authorization").unwrap_or_default();
        let error = json!({"error": "ERROR_CORE", "error_description": format!("{header} portal-password")});
        (request.method == "tasks.task.add").then_some(Reply::Json(400, error))
    };
    let portal = Portal::behind(refuse, move |call| tasks.answer(call));
    let webhook = portal.webhook().replace("http://", "http://somebody:portal-password@");
    let mut worker = Worker::start(&queues, &webhook, &[("LOG_LEVEL", "DEBUG")]);
    queues.publish_task(&field_text("refused"));
    queues.await_count(&queues.errors(), 1, PATIENCE);
    worker.stop();
    let parked = queues.peek_all(&queues.errors()).into_iter().map(|message| ("parked".into(), message.text()));
    let places: Vec<(String, String)> = parked.chain(files(worker.folder())).collect();
    assert!(places[0].1.contains("***"), "{places:?}");
    assert_silent(&places, &dressed("portal-password", "somebody"));
    run_with(&["check"], &queues, &webhook, &[]).ended_with(0).has_not("portal-password");
}
