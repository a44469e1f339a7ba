//! To which system a message goes: from the queue in which the bridge has put it to that of its system, once; and what
//! becomes of one that belongs to nobody.

use amiquip::{AmqpValue, FieldTable};
use serde_json::{Value, json};

use crate::support::broker::header;
use crate::support::*;

/// A worker whose systems `bitrix24` and `default` are on, and what is around it.
struct Scene {
    queues: Queues,
    tasks: Tasks,
    worker: Worker,
    _portal: Portal,
}

impl Scene {
    fn set(test: &str) -> Scene {
        Scene::with(Queues::new(test), "256")
    }

    fn with(queues: Queues, prefetch: &str) -> Scene {
        queues.declare(&queues.named("default.queue"));
        let tasks = Tasks::new();
        let portal = Portal::of(&tasks);
        let settings = [("DEFAULT_ACTION", "park"), ("BITRIX_RATE", "0"), ("PREFETCH", prefetch)];
        let worker = Worker::start(&queues, &portal.webhook(), &settings);
        Scene { queues, tasks, worker, _portal: portal }
    }

    fn default(&self) -> String {
        self.queues.named("default.queue")
    }

    /// Publishes to the queue of the default system.
    fn publish_by_default(&self, body: &str, headers: FieldTable) {
        self.queues.publish(&self.default(), body, headers);
        self.queues.note_published(body.as_bytes().to_vec());
    }

    /// What is parked, as soon as there is so much.
    fn parked(&self, count: usize) -> Vec<Value> {
        self.queues.await_count(&self.queues.errors(), count, PATIENCE);
        self.queues.peek_all(&self.queues.errors()).iter().map(Message::json).collect()
    }

    /// Stops the worker; nothing is lost, nothing is doubled, and nothing is left by default.
    fn end(mut self) {
        self.worker.stop();
        assert_eq!(self.queues.count(&self.default()), 0);
        Audit::take(&self.queues, self.tasks.markers()).assert_holds();
    }
}

fn message(id: &str, topic: &str, system: &str) -> String {
    let mut message = field_message(id);
    (message["topic"], message["system"]) = (json!(topic), json!(system));
    message.to_string()
}

#[test]
fn a_message_that_the_bridge_has_put_elsewhere_is_moved_worked_on_and_answered() {
    let mut scene = Scene::set("moved");
    let (queues, body) = (&scene.queues, field_text("task-1"));
    scene.publish_by_default(&body, FieldTable::new());
    queues.await_count(&queues.sent(), 1, PATIENCE);
    let record = queues.peek_all(&queues.sent());
    assert_eq!(record[0].json()["original_queue"], queues.input());
    assert!(record[0].text().contains(&body), "as it came, to the byte: {}", record[0].text());
    scene.worker.await_log(&format!("moving to {}: task=task-1 topic=bitrix_create_task", queues.input()), PATIENCE);
    scene.tasks.set("task-1", "UF_RESULT_ANSWER", json!("26"));
    scene.tasks.set_status("task-1", 5);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    assert_eq!(queues.peek_all(&queues.responses())[0].json()["original_queue"], queues.input());
    scene.worker.stop();
    let log = scene.worker.log();
    let counted = |system: &str, counts: &str| {
        log.lines().any(|line| line.contains(&format!("{system}: total_messages=")) && line.contains(counts))
    };
    assert!(counted("default", "total_messages=0 ") && counted("default", " moved=1 "), "{log}");
    assert!(counted("bitrix24", "total_messages=1 ") && counted("bitrix24", " moved=0 "), "{log}");
    Audit::take(&scene.queues, scene.tasks.markers()).with_finished(scene.tasks.finished()).assert_holds();
}

#[test]
fn what_belongs_to_no_system_is_parked_and_says_which_topics_there_are() {
    let scene = Scene::set("nobody");
    scene.publish_by_default(&message("unknown", "no_such_topic", "default"), FieldTable::new());
    scene.publish_by_default(&message("off", "send_email", "python-services"), FieldTable::new());
    for parked in scene.parked(2) {
        let expected = match parked["original_message"]["task_id"].as_str() {
            Some("unknown") => [
                "its topic is \"no_such_topic\", its system \"default\"",
                "topics of systems that are on: bitrix_create_task, ",
            ],
            _ => ["it belongs to email, which is off: its topic is \"send_email\"", "its system \"python-services\""],
        };
        let told = parked["error_message"].as_str().expect("a text");
        assert!(expected.iter().all(|text| told.contains(text)), "{told}");
        assert_eq!((&parked["error_type"], &parked["system"]), (&json!("NO_SYSTEM"), &json!("default")));
        assert_eq!(parked["source_queue"], scene.default());
    }
    scene.end();
}

#[test]
fn nothing_goes_round_in_a_circle() {
    let scene = Scene::set("circle");
    let queues = &scene.queues;
    // It was moved here by a worker with other settings.
    let moved = FieldTable::from([("x-original-queue".to_owned(), header(&queues.input()))]);
    scene.publish_by_default(&field_text("moved before"), moved);
    // It belongs to the default system, whose it stays however often it comes.
    queues.publish_task(&message("by name", "no_such_topic", "default"));
    let parked = scene.parked(2);
    assert!(parked.iter().all(|parked| parked["source_queue"] == scene.default()));
    let told = parked.iter().filter_map(|parked| parked["error_message"].as_str());
    assert_eq!(told.filter(|told| told.contains("it belongs to bitrix24, and was moved or tried before")).count(), 1);
    let replayed = run_with(&["parked", "replay", "by name"], queues, "", &[]);
    replayed.ended_with(0).has("replayed 1, skipped 0");
    let times = || scene.worker.log().matches("task=by name: it belongs to no other system").count();
    eventually("it is parked once more", PATIENCE, || times() == 2);
    scene.end();
}

#[test]
fn what_belongs_to_a_system_that_is_off_stays_where_it_is_and_is_worked_on_there() {
    let scene = Scene::set("off");
    let queues = &scene.queues;
    queues.publish_task(&message("by topic", "op_create_task", "openproject"));
    queues.publish_task(&message("by system", "no_such_topic", "openproject"));
    queues.await_count(&queues.sent(), 2, PATIENCE);
    assert!(!scene.worker.log().contains("moving to"));
    scene.end();
}

#[test]
fn what_the_other_queue_does_not_take_waits_and_holds_nobody_up() {
    let queues = Queues::new("moved later");
    let (input, mut full) = (queues.input(), FieldTable::new());
    full.insert("x-max-length".into(), AmqpValue::LongInt(0));
    full.insert("x-overflow".into(), header("reject-publish"));
    queues.delete(&input);
    queues.declare_with(&input, &full);
    let scene = Scene::with(queues, "3");
    let waiting: Vec<String> = (1..=9).map(|number| format!("waits-{number}")).collect();
    waiting.iter().for_each(|id| scene.publish_by_default(&field_text(id), FieldTable::new()));
    scene.worker.await_log(&format!("{input} does not take messages"), PATIENCE);
    scene.publish_by_default(&message("unknown", "no_such_topic", "default"), FieldTable::new());
    assert_eq!(scene.parked(1)[0]["original_message"]["task_id"], "unknown");
    assert_eq!(scene.tasks.markers(), Vec::<String>::new());
    // Its lane makes it again, as it should be.
    scene.queues.delete(&input);
    scene.queues.await_count(&scene.queues.sent(), waiting.len(), PATIENCE);
    let mut created = scene.tasks.markers();
    created.sort_unstable();
    assert_eq!(created, waiting);
    scene.end();
}
