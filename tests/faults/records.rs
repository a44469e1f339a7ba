//! Records in danger: their queue may delete them, they may be parked because the portal hides their tasks, or be
//! answered again and again while RabbitMQ takes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::panics::with_lane;
use crate::support::broker::header;
use crate::support::*;
use crate::tracking::RESTLESS;
use amiquip::{AmqpProperties, AmqpValue, FieldTable};
use anyhow::anyhow;
use serde_json::{Value, json};
use task_creator::lane::tracking;
use task_creator::message::Record;
use task_creator::systems::{Failure, Progress, Tracker};

fn record(task: &str, id: u64) -> Value {
    json!({
        "original_message": seed_message(task),
        "response_data": {"result": {"task": {"id": id.to_string()}}, "success": true},
        "processing_status": "success",
    })
}

/// Lets a queue take no further message.
pub fn close(queues: &Queues, queue: &str) -> Option<()> {
    let vhost = &*queues.broker().rabbitmq().vhost;
    let (name, pattern) = (queue, format!("^{queue}$"));
    // In one step RabbitMQ 3.10 would drop the messages in the queue.
    for definition in [r#"{"overflow": "reject-publish"}"#, r#"{"overflow": "reject-publish", "max-length": 0}"#] {
        rabbitmqctl(&["-q", "set_policy", "-p", vhost, "--apply-to", "queues", name, &pattern, definition])?;
    }
    Some(())
}

/// Lets it take messages again.
pub fn reopen(queues: &Queues, queue: &str) {
    rabbitmqctl(&["-q", "clear_policy", "-p", &queues.broker().rabbitmq().vhost, queue]);
}

#[test]
fn a_record_that_its_queue_would_soon_delete_and_does_not_take_again_waits_until_it_does() {
    let queues = Queues::new("worn out and full");
    // A quorum queue would have room for one more while its messages are delivered.
    queues.declare_with(&queues.sent(), &FieldTable::from([("x-queue-type".to_string(), header("classic"))]));
    let tasks = Tasks::new();
    let headers = FieldTable::from([("x-delivery-count".to_string(), AmqpValue::LongLongInt(15))]);
    let properties = AmqpProperties::default().with_delivery_mode(2).with_headers(headers);
    let worn_out = [(record("task-1", tasks.put("task-1")).to_string().into_bytes(), properties)];
    queues.broker().publish(&queues.sent(), &worn_out).expect("the queue has room");
    if close(&queues, &queues.sent()).is_none() {
        return;
    }
    eventually("no room", PATIENCE, || queues.broker().publish(&queues.sent(), &worn_out).is_err());
    let count = queues.count(&queues.sent());
    let portal = Portal::of(&tasks);
    let mut worker = Worker::start(&queues, &portal.webhook(), &[("BITRIX_RATE", "0"), ("HEARTBEAT_INTERVAL", "3600")]);
    worker.await_log("worn records wait in", PATIENCE);
    worker.await_log("does not take messages", PATIENCE);
    assert_eq!(queues.count(&queues.sent()) + queues.count(&queues.errors()), 0);
    reopen(&queues, &queues.sent());
    queues.await_count(&queues.sent(), count, PATIENCE);
    worker.stop();
    assert_eq!((queues.count(&queues.retry()), queues.count(&queues.errors())), (0, 0));
    let record = &queues.peek_all(&queues.sent())[0];
    assert_eq!(record.json()["original_message"]["task_id"], "task-1");
    assert!(!["x-delivery-count", "x-record"].iter().any(|name| record.headers.contains_key(*name)), "{record:?}");
}

#[test]
fn records_in_a_queue_that_counts_deliveries_survive_its_limit_over_thirty_sweeps() {
    const RECORDS: usize = 40;
    let tasks = Tasks::new();
    let queues = Queues::new("delivery limit");
    let quorum = FieldTable::from([
        ("x-queue-type".to_string(), header("quorum")),
        ("x-delivery-limit".to_string(), AmqpValue::LongInt(20)),
    ]);
    queues.declare_with(&queues.sent(), &quorum);
    // More than the first step of a sweep reads, and no more than one request checks.
    let mut names: Vec<String> = (1..=RECORDS).map(|number| format!("task-{number}")).collect();
    for task in &names {
        queues.publish(&queues.sent(), record(task, tasks.put(task)).to_string(), FieldTable::new());
    }
    let portal = Portal::of(&tasks);
    let changes = [&RESTLESS[..], &[("HEARTBEAT_INTERVAL", "0.02")]].concat();
    let mut worker = Worker::start(&queues, &portal.webhook(), &changes);
    portal.await_count_of("a sweep", 35, is_sweep);
    tasks.set_status("task-2", 5);
    queues.await_count(&queues.responses(), 1, Duration::from_secs(30));
    worker.stop();
    let left = queues.peek_all(&queues.sent());
    let mut left: Vec<Value> = left.iter().map(|record| record.json()["original_message"]["task_id"].clone()).collect();
    names.retain(|name| name != "task-2");
    names.sort();
    left.sort_by_key(Value::to_string);
    assert_eq!(left, names);
    assert_eq!(queues.count(&queues.errors()), 0);
}

/// Sees none of the tasks, and fails over one of them.
struct Blind {
    checks: Arc<AtomicUsize>,
    fails_over: Option<&'static str>,
}

impl Tracker for Blind {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        let progress = |record: &Record| match self.fails_over {
            Some(task) if record.task.id == task => Err(Failure::Transient { error: anyhow!("no answer") }),
            _ => Ok(Progress::Gone),
        };
        records.iter().map(progress).collect()
    }
}

/// So many tasks that are not shown are never parked, however often they are checked.
fn assert_stay(count: usize, chunks: usize, fails_over: Option<&'static str>) {
    let queues = Queues::new("blind");
    queues.declare(&queues.sent());
    let properties = AmqpProperties::default().with_delivery_mode(2).with_headers(FieldTable::new());
    let records: Vec<_> = (0..count).map(|number| record(&format!("task-{number}"), 1)).collect();
    let records: Vec<_> = records.iter().map(|record| (record.to_string().into_bytes(), properties.clone())).collect();
    queues.broker().publish(&queues.sent(), &records).expect("the sent queue takes records");
    let checks = Arc::new(AtomicUsize::new(0));
    // Three sweeps in a row would park missing tasks.
    let work = || eventually("five sweeps", PATIENCE, || checks.load(Ordering::Relaxed) >= 5 * chunks);
    with_lane(&queues, work, |lane| tracking::run(lane, Box::new(Blind { checks: checks.clone(), fails_over })));
    assert_eq!((queues.count(&queues.errors()), queues.count(&queues.sent())), (0, count));
}

#[test]
fn many_hidden_tasks_stay_though_some_could_not_be_checked() {
    assert_stay(12, 1, Some("task-3"));
}

#[test]
fn more_hidden_tasks_than_fit_in_one_chunk_stay() {
    assert_stay(2505, 2, None);
}

#[test]
#[ignore = "waits two minutes for confirms that do not come"]
fn an_answer_is_published_once_however_long_rabbitmq_takes_no_messages() {
    let Some(node) = Node::start() else { return };
    let queues = Queues::through(Broker::connect_to(node.rabbitmq()), "long alarm");
    [queues.input(), queues.responses(), queues.errors(), queues.sent()].iter().for_each(|name| queues.declare(name));
    let tasks = Tasks::new();
    let id = tasks.put("task-1");
    tasks.set_status("task-1", 5);
    queues.publish(&queues.sent(), record("task-1", id).to_string(), FieldTable::new());
    let portal = Portal::of(&tasks);
    node.ctl(&["set_vm_memory_high_watermark", "0.00001"]);
    let mut worker = Worker::start(&queues, &portal.webhook(), &[("BITRIX_RATE", "0"), ("HEARTBEAT_INTERVAL", "0.2")]);
    let minutes = Duration::from_secs(180);
    worker.await_log("sweep ended early", minutes);
    let looked = portal.count_of(is_sweep);
    worker.await_log("RabbitMQ takes no messages, so none is read", minutes);
    assert_eq!((looked, portal.count_of(is_sweep)), (1, 1));
    // A stop does not wait for the confirm either.
    worker.signal("TERM");
    assert_eq!(worker.wait(Duration::from_secs(20)).code(), Some(0));
    worker.start_again();
    node.ctl(&["set_vm_memory_high_watermark", "0.4"]);
    eventually("the answer", minutes, || queues.count(&queues.responses()) > 0 && queues.count(&queues.sent()) == 0);
    worker.stop();
    assert!(queues.count(&queues.responses()) <= 2);
}
