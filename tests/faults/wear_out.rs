//! What wears messages out: each time one is given back, whoever held it, its queue counts, and a quorum queue deletes it
//! when it has counted enough. Messages on which a session or the process would die, and everybody who takes and returns.

use std::time::Duration;

use crate::support::broker::header;
use crate::support::wire::{entry, long, nested};
use crate::support::*;
use amiquip::{AmqpValue, FieldTable};

/// A queue that deletes what was given back more than 20 times, as RabbitMQ 4 has it by itself.
fn counting() -> FieldTable {
    FieldTable::from([
        ("x-queue-type".to_owned(), header("quorum")),
        ("x-delivery-limit".to_owned(), AmqpValue::LongInt(20)),
    ])
}

/// Queues that count, the responses queue excepted.
fn counting_queues(test: &str) -> Queues {
    let queues = Queues::undeclared(test);
    for queue in [queues.input(), queues.sent(), queues.retry(), queues.errors()] {
        queues.declare_with(&queue, &counting());
    }
    queues.declare(&queues.responses());
    queues
}

fn start(queues: &Queues, portal: &Portal, changes: &[(&str, &str)]) -> Worker {
    let quick = [("RETRY_DELAY", "0.1"), ("BITRIX_RATE", "0"), ("LOG_LEVEL", "DEBUG")];
    Worker::start(queues, &portal.webhook(), &[&quick, changes].concat())
}

#[test]
fn amqp_that_would_end_a_session_or_the_process_is_worked_on_with_its_neighbours() {
    let queues = counting_queues("hostile amqp");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut wire = Wire::connect(queues.broker().rabbitmq());
    let exchange = wire.exchange_in_front_of(&queues.input());
    let deep_list = (0..3000).fold(Vec::new(), |inner, _| [b"A".as_slice(), &long(&inner)].concat());
    let hostile: [(&str, &[u8], Vec<u8>, &[u8]); 6] = [
        ("routing key", b"\xff\xfe.\xd0", Vec::new(), b"id"),
        ("nested", b"key", nested(3000), b"id"),
        ("nested list", b"key", entry(b"list", b'A', &long(&deep_list)), b"id"),
        ("header's name", b"key", entry(b"\xff", b'I', &[0, 0, 0, 1]), b"id"),
        ("header's text", b"key", entry(b"text", b'S', &long(b"\xc3\x28")), b"id"),
        ("message id", b"key", Vec::new(), b"\xff\xff"),
    ];
    for (name, routing_key, headers, message_id) in &hostile {
        let body = field_text(&format!("hostile {name}"));
        wire.publish(&exchange, routing_key, headers, message_id, body.as_bytes());
        queues.note_published(body.into_bytes());
    }
    wire.end();
    let innocent: Vec<_> = (0..30).map(|number| field_text(&format!("task-{number}"))).collect();
    queues.publish_tasks(&innocent);
    let mut worker = start(&queues, &portal, &[]);
    queues.await_count(&queues.sent(), 36, PATIENCE);
    worker.stop();
    assert_eq!(worker.errors(), "");
    assert!(!worker.log().contains("no session with RabbitMQ"), "{}", worker.log());
    Account::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn amqp_that_would_kill_is_harmless_in_each_queue_that_is_read() {
    let queues = counting_queues("hostile amqp elsewhere");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let record = |task: &str| {
        let id = tasks.put(task);
        tasks.set_status(task, 5);
        format!(
            r#"{{"original_message":{},"response_data":{{"result":{{"task":{{"id":"{id}"}}}}}}}}"#,
            parked::small_task(task)
        )
    };
    let parked = parked::parked(&field_text("parked"), "REQUEST_ERROR", "no", &queues.input());
    for (queue, body) in [(queues.sent(), record("sent")), (queues.errors(), parked)] {
        let mut wire = Wire::connect(queues.broker().rabbitmq());
        let exchange = wire.exchange_in_front_of(&queue);
        wire.publish(&exchange, b"\xff", &nested(3000), b"\xff", body.as_bytes());
        wire.end();
    }
    let look = |arguments: &[&str]| run_with(&[&["parked"], arguments].concat(), &queues, "", &[]);
    look(&["list"]).ended_with(0).has("1 message(s)");
    look(&["show", "parked"]).ended_with(0).has("the message (");
    look(&["replay", "--all"]).ended_with(0).has("replayed 1, skipped 0");
    let mut worker = start(&queues, &portal, &[("HEARTBEAT_INTERVAL", "0.1")]);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    eventually("the replayed task", PATIENCE, || tasks.ids_of("parked").len() == 1);
    worker.stop();
    assert_eq!(queues.take_all(&queues.responses())[0].json()["original_message"]["task_id"], "sent");
}
