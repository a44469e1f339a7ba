//! Python services that are Celery tasks, as a Celery worker sees them: what is put into its queue, and what its
//! results lead to. A real one is in `tests/peers/python`.

use amiquip::{AmqpProperties, FieldTable};
use serde_json::{Value, json};

use crate::support::{broker, *};

/// A worker behind a relay before RabbitMQ, its queues and those of Celery; the test is the Celery worker.
struct Scene {
    queues: Queues,
    worker: Worker,
    relay: Relay,
}

impl Scene {
    fn set(case: &str, changes: &[(&str, &str)]) -> Scene {
        let scene = Scene::without_celery(case, changes);
        scene.queues.declare(&scene.celery());
        scene
    }

    fn without_celery(case: &str, changes: &[(&str, &str)]) -> Scene {
        let queues = Queues::of("python-services", &format!("celery {case}"));
        let (celery, results) = (queues.named("celery"), queues.named("results"));
        queues.declare(&results);
        let relay = Relay::to(queues.broker().rabbitmq().address());
        let port = relay.port().to_string();
        let settings = [
            ("RABBITMQ_HOST", "127.0.0.1"),
            ("RABBITMQ_PORT", port.as_str()),
            ("BITRIX_WEBHOOK_URL", ""),
            ("HEARTBEAT_INTERVAL", "0.2"),
            ("RETRY_DELAY", "0.2"),
            ("CELERY_QUEUE", celery.as_str()),
            ("CELERY_RESULT_QUEUE", results.as_str()),
            ("CELERY_TASKS", "bitrix_create_task=svc.calculate"),
        ];
        let worker = Worker::run(&[], &changed(&queues, "", &[&settings, changes].concat()));
        queues.await_consumers(&queues.input(), 1, PATIENCE);
        Scene { queues, worker, relay }
    }

    fn celery(&self) -> String {
        self.queues.named("celery")
    }

    fn results(&self) -> String {
        self.queues.named("results")
    }

    /// A task comes, and its record is written.
    fn take(&self, id: &str) -> Message {
        self.queues.publish_task(&field_text(id));
        self.queues.await_count(&self.celery(), 1, PATIENCE);
        self.queues.await_count(&self.queues.sent(), 1, PATIENCE);
        self.queues.take_all(&self.celery()).remove(0)
    }

    fn reply(&self, id: &str, status: &str, result: &Value) {
        let message = json!({"status": status, "result": result, "task_id": id, "traceback": null, "children": []});
        let properties = AmqpProperties::default().with_correlation_id(id.to_owned()).with_delivery_mode(2);
        self.queues.publish_with(&self.results(), message.to_string(), properties);
    }

    fn await_one(&self, queue: &str) -> Value {
        self.queues.await_count(queue, 1, PATIENCE);
        self.queues.peek_all(queue)[0].json()
    }

    fn await_none(&self, queue: &str) {
        eventually("an empty queue", PATIENCE, || self.queues.count(queue) == 0);
    }

    /// Kills the worker and starts it again; what was on its way through the relay is lost.
    fn kill_and_restart(&mut self) {
        self.worker.kill();
        self.relay.cut();
        self.relay.pass();
        self.worker.start_again();
    }

    fn stop(&mut self) {
        self.worker.stop();
    }
}

#[test]
fn a_task_is_put_into_celery_s_queue_and_its_result_answers_it() {
    let mut scene = Scene::set("answered", &[]);
    let message = scene.take("task-1");
    let headers = ["lang", "task", "id", "root_id"].map(|name| message.headers[name].clone());
    assert_eq!(headers, ["py", "svc.calculate", "task-1", "task-1"].map(broker::header));
    let properties = message.properties.clone();
    assert_eq!(properties.correlation_id().as_deref(), Some("task-1"));
    assert_eq!(properties.reply_to().as_deref(), Some(scene.results().as_str()));
    assert_eq!(message.json()[0][0]["variables"]["projectId"], "2");
    scene.reply("task-1", "STARTED", &json!({"pid": 7}));
    scene.reply("task-1", "SUCCESS", &json!({"answer": true, "sum": 1}));
    let told = &scene.await_one(&scene.queues.responses())["response_data"];
    let task = &told["result"]["task"];
    assert_eq!((&task["ufResultExpected"], &task["ufResultAnswer_text"]), (&"1".into(), &"ДА".into()));
    assert_eq!(told["reply"]["result"]["sum"], 1);
    scene.await_none(&scene.results());
    scene.stop();
    Audit::take(&scene.queues, vec!["task-1".into()]).with_finished(vec!["task-1".into()]).assert_holds();
}

#[test]
fn a_second_result_of_an_answered_task_answers_nothing() {
    let mut scene = Scene::set("second", &[]);
    scene.take("task-1");
    scene.reply("task-1", "SUCCESS", &json!({"answer": true}));
    scene.await_one(&scene.queues.responses());
    // The tracker looks into the queue while there are records.
    scene.take("task-2");
    scene.reply("task-1", "SUCCESS", &json!({"answer": false}));
    scene.reply("task-2", "SUCCESS", &json!({"answer": true}));
    scene.queues.await_count(&scene.queues.responses(), 2, PATIENCE);
    scene.stop();
    // It waits for a record for a while, since a replay may have led to it.
    assert_eq!((scene.queues.count(&scene.results()), scene.queues.count(&scene.queues.errors())), (1, 0));
}

/// As when a task is done twice, and its code refuses the second time.
#[test]
fn of_two_results_that_come_together_the_first_counts() {
    let mut scene = Scene::set("two", &[]);
    scene.reply("task-1", "SUCCESS", &json!({"answer": true}));
    scene.reply("task-1", "FAILURE", &json!({"exc_type": "Exists", "exc_message": [], "exc_module": "svc"}));
    scene.queues.publish_task(&field_text("task-1"));
    let told = scene.await_one(&scene.queues.responses());
    assert_eq!(told["response_data"]["result"]["task"]["ufResultAnswer_text"], "ДА");
    scene.await_none(&scene.results());
    scene.stop();
    assert_eq!(scene.queues.count(&scene.queues.errors()), 0);
}

#[test]
fn a_task_that_has_failed_is_parked_and_a_replay_waits_for_a_result_of_its_own() {
    let mut scene = Scene::set("failed", &[]);
    scene.take("task-1");
    scene.reply(
        "task-1",
        "FAILURE",
        &json!({"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"}),
    );
    let parked = scene.await_one(&scene.queues.errors());
    assert_eq!(
        (&parked["error_type"], &parked["error_message"]),
        (&"TASK_FAILED".into(), &"Celery: ValueError: no".into())
    );
    scene.await_none(&scene.results());
    // It is published again, and not by `parked replay`.
    scene.queues.take_all(&scene.queues.errors());
    scene.take("task-1");
    scene.reply("task-1", "SUCCESS", &json!({"answer": false}));
    let told = scene.await_one(&scene.queues.responses());
    assert_eq!(told["response_data"]["result"]["task"]["ufResultAnswer_text"], "НЕТ");
    scene.stop();
    assert_eq!(scene.queues.count(&scene.queues.errors()), 0);
}

#[test]
fn without_celery_s_queue_the_lane_waits_and_parks_nothing() {
    let mut scene = Scene::without_celery("away", &[("RETRY_ATTEMPTS", "1")]);
    for id in ["task-1", "task-2", "task-3"] {
        scene.queues.publish_task(&field_text(id));
    }
    scene.worker.await_log("pausing, messages stay in their queue", PATIENCE);
    scene.queues.declare(&scene.celery());
    scene.queues.await_count(&scene.celery(), 3, PATIENCE);
    scene.queues.await_count(&scene.queues.sent(), 3, PATIENCE);
    scene.stop();
    let ids = ["task-1", "task-2", "task-3"].map(String::from).to_vec();
    Audit::take(&scene.queues, ids).assert_holds();
}

#[test]
fn a_result_without_a_record_waits_and_what_is_no_result_is_dropped() {
    let mut scene = Scene::set("unclaimed", &[]);
    scene.reply("task-2", "SUCCESS", &json!({"answer": true}));
    scene.queues.publish(&scene.results(), "<pickle>", FieldTable::new());
    scene.take("task-1");
    scene.worker.await_log("what is no result in JSON of a Celery task: <pickle>", PATIENCE);
    scene.reply("task-1", "SUCCESS", &json!({"answer": true}));
    scene.await_one(&scene.queues.responses());
    eventually("the result of task-2", PATIENCE, || scene.queues.count(&scene.results()) == 1);
    // Its record comes late.
    scene.queues.publish_task(&field_text("task-2"));
    scene.queues.await_count(&scene.queues.responses(), 2, PATIENCE);
    scene.await_none(&scene.results());
    scene.stop();
}

/// Python writes NaN into JSON.
#[test]
fn a_result_that_is_no_json_parks_its_task_and_a_topic_too_long_for_a_name_parks_itself() {
    let mut scene = Scene::set("unreadable", &[]);
    let mut message = field_message("task-0");
    message["topic"] = "x".repeat(200_000).into();
    // Its headers do not name it.
    scene.queues.publish(&scene.queues.input(), message.to_string(), FieldTable::new());
    scene.queues.await_count(&scene.queues.errors(), 1, PATIENCE);
    scene.take("task-1");
    let nan = r#"{"status": "SUCCESS", "result": NaN, "task_id": "task-1", "traceback": null, "children": []}"#;
    let properties = AmqpProperties::default().with_correlation_id("task-1".into()).with_delivery_mode(2);
    scene.queues.publish_with(&scene.results(), nan, properties);
    scene.queues.await_count(&scene.queues.errors(), 2, PATIENCE);
    let parked = scene.queues.peek_all(&scene.queues.errors());
    let told: Vec<String> = parked.iter().map(|parked| parked.json()["error_message"].to_string()).collect();
    assert!(told[0].contains("its topic has 200000 bytes") && told[1].contains("no result in JSON"), "{told:?}");
    scene.await_none(&scene.results());
    scene.stop();
    assert_eq!(scene.queues.count(&scene.queues.sent()), 0);
}

#[test]
fn a_result_that_came_while_nobody_was_there_is_answered_after_a_kill() {
    let mut scene = Scene::set("killed", &[]);
    scene.take("task-1");
    scene.worker.kill();
    scene.reply("task-1", "SUCCESS", &json!({"answer": true}));
    scene.worker.start_again();
    scene.await_one(&scene.queues.responses());
    scene.await_none(&scene.results());
    scene.stop();
    Audit::take(&scene.queues, vec!["task-1".into()]).with_finished(vec!["task-1".into()]).assert_holds();
}

#[test]
fn a_kill_between_the_result_and_its_response_loses_neither() {
    let mut scene = Scene::set("read", &[]);
    scene.take("task-1");
    let response = publish_to(&scene.queues.responses());
    let read = scene.relay.before_passing(Direction::ToServer, response, Then::Hold(Direction::ToServer));
    scene.reply("task-1", "SUCCESS", &json!({"answer": true}));
    read.wait(PATIENCE);
    scene.kill_and_restart();
    scene.await_one(&scene.queues.responses());
    scene.await_none(&scene.results());
    scene.stop();
    Audit::take(&scene.queues, vec!["task-1".into()]).with_finished(vec!["task-1".into()]).assert_holds();
}

#[test]
fn a_kill_between_the_result_and_the_confirm_of_its_response_doubles_a_response_at_most() {
    let mut scene = Scene::set("result", &[]);
    scene.take("task-1");
    let responses = scene.queues.responses();
    scene.relay.when_seen(Direction::ToServer, publish_to(&responses), Then::Hold(Direction::ToClient));
    scene.reply("task-1", "SUCCESS", &json!({"answer": true}));
    scene.queues.await_count(&responses, 1, PATIENCE);
    scene.kill_and_restart();
    scene.queues.await_count(&responses, 2, PATIENCE);
    scene.await_none(&scene.results());
    scene.stop();
    let audit = Audit::take(&scene.queues, vec!["task-1".into()]).after_faults(1);
    audit.with_finished(vec!["task-1".into()]).assert_holds();
}

#[test]
fn a_kill_before_celery_s_queue_has_confirmed_does_a_task_twice_and_answers_it_once() {
    let mut scene = Scene::set("confirm", &[]);
    scene.relay.when_seen(Direction::ToServer, publish_to(&scene.celery()), Then::Hold(Direction::ToClient));
    scene.queues.publish_task(&field_text("task-1"));
    scene.queues.await_count(&scene.celery(), 1, PATIENCE);
    scene.kill_and_restart();
    scene.queues.await_count(&scene.celery(), 2, PATIENCE);
    let tries = scene.queues.take_all(&scene.celery());
    assert!(tries.iter().all(|message| message.json()[0][0]["task_id"] == "task-1"));
    tries.iter().for_each(|_| scene.reply("task-1", "SUCCESS", &json!({"answer": true})));
    scene.await_one(&scene.queues.responses());
    scene.await_none(&scene.results());
    scene.stop();
    let audit = Audit::take(&scene.queues, vec!["task-1".into()]);
    audit.with_finished(vec!["task-1".into()]).assert_holds();
}

#[test]
fn celery_at_a_broker_of_its_own_may_go_away_and_come_back() {
    let queues = Queues::of("python-services", "celery own broker");
    let relay = Relay::to(queues.broker().rabbitmq().address());
    let RabbitMq { username, password, vhost, .. } = queues.broker().rabbitmq();
    let (celery, results, port) = (queues.named("celery"), queues.named("results"), relay.port().to_string());
    [&celery, &results].iter().for_each(|queue| queues.declare(queue));
    let settings = [
        ("BITRIX_WEBHOOK_URL", ""),
        ("HEARTBEAT_INTERVAL", "0.2"),
        ("RETRY_DELAY", "0.2"),
        ("RETRY_ATTEMPTS", "1"),
        ("CELERY_QUEUE", &*celery),
        ("CELERY_RESULT_QUEUE", &*results),
        ("CELERY_HOST", "127.0.0.1"),
        ("CELERY_PORT", &*port),
        ("CELERY_USERNAME", username),
        ("CELERY_PASSWORD", password),
        ("CELERY_VHOST", vhost),
    ];
    let worker = Worker::run(&[], &changed(&queues, "", &settings));
    let mut scene = Scene { queues, worker, relay };
    scene.queues.await_consumers(&scene.queues.input(), 1, PATIENCE);
    scene.relay.refuse();
    scene.queues.publish_task(&field_text("task-1"));
    scene.worker.await_log("trying again in", PATIENCE);
    scene.worker.await_log("the broker of Celery: RabbitMQ at 127.0.0.1", PATIENCE);
    scene.relay.accept();
    scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
    scene.relay.refuse();
    scene.worker.await_log("sweep ended early", PATIENCE);
    scene.reply("task-1", "SUCCESS", &json!({"answer": true}));
    scene.relay.accept();
    scene.await_one(&scene.queues.responses());
    scene.await_none(&scene.results());
    scene.stop();
    let audit = Audit::take(&scene.queues, vec!["task-1".into()]);
    audit.with_finished(vec!["task-1".into()]).assert_holds();
}
