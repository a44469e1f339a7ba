//! (e) From the publish of a message to its record in the sent queue, at 20 messages a second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crossbeam_channel::{after, select, tick};
use task_creator::rabbitmq::connection::Connection;
use task_creator::rabbitmq::consumer::Consumer;
use task_creator::sandbox::{Limits, Sandbox};

use crate::support::{PATIENCE, Queues, Worker, eventually};
use crate::{Figure, create, floor, progress};

/// p50 and p99 over 400 messages.
pub fn at_twenty_a_second() -> Vec<Figure> {
    const COUNT: usize = 400;
    progress("latency: 20 s at 20 messages a second");
    let queues = Queues::new("bench latency");
    let sandbox = Sandbox::start(0, Limits::default()).expect("a free port");
    let settings = [("BITRIX_RATE", "0"), ("HEARTBEAT_INTERVAL", "3600")];
    let worker = Worker::start(&queues, &sandbox.webhook_url(), &settings);
    eventually("the sent queue", PATIENCE, || {
        queues.state(&queues.sent()).is_some() && queues.consumers(&queues.input()) > 0
    });
    let mut connection = Connection::open(&floor::settings(&queues), "bench: records").expect("RabbitMQ is there");
    let consumer = Consumer::open(&mut connection, 1000, 1).expect("a channel");
    let subscription = consumer.consume(&queues.sent()).expect("a consumer");
    let records = subscription.receiver().clone();
    let publisher = floor::Sender::open(&queues);
    let (clock, end) = (tick(Duration::from_millis(50)), after(PATIENCE * 2));
    let mut sent: HashMap<String, Instant> = HashMap::new();
    let mut took = Vec::new();
    while took.len() < COUNT {
        select! {
            recv(clock) -> _ => if sent.len() < COUNT {
                let id = format!("latency-{}", sent.len());
                sent.insert(id.clone(), Instant::now());
                publisher.send(&queues.input(), create::message(&id).into_bytes());
            },
            recv(records) -> message => {
                let delivery = consumer.delivery(message.expect("the connection holds")).expect("a delivery");
                let record: serde_json::Value = serde_json::from_slice(&delivery.body).expect("a record");
                let id = record["original_message"]["task_id"].as_str().expect("an id");
                took.push(sent[id].elapsed().as_secs_f64() * 1000.0);
                consumer.ack(delivery.token).expect("acknowledged");
            },
            recv(end) -> _ => panic!("{} of {COUNT} records came", took.len()),
        }
    }
    drop((subscription, worker));
    took.sort_by(f64::total_cmp);
    let (p50, p99) = (took[COUNT / 2], took[COUNT * 99 / 100]);
    vec![
        Figure::held("(e) publish → sent record at 20/s, p50", format!("{p50:.1} ms"), "< 4 ms", p50 < 4.0),
        Figure::held("(e) publish → sent record at 20/s, p99", format!("{p99:.1} ms"), "< 12 ms", p99 < 12.0),
    ]
}
