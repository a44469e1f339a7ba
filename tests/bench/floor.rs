//! The floor: the same messages consumed, published with confirm and acknowledged, with nothing in between. No worker
//! that keeps the rules can be faster on this machine and this broker.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crossbeam_channel::select;
use task_creator::config::RabbitMq;
use task_creator::rabbitmq::connection::Connection;
use task_creator::rabbitmq::consumer::{AckToken, Consumer};
use task_creator::rabbitmq::publisher::{OutgoingMessage, Publisher};
use task_creator::settings::Secret;

use crate::support::Queues;

/// Publishes one message at a time without waiting for anything.
pub struct Sender {
    publisher: std::cell::RefCell<Publisher>,
    _connection: Connection,
}

impl Sender {
    /// Opens a connection for it.
    pub fn open(queues: &Queues) -> Sender {
        let mut connection = Connection::open(&settings(queues), "bench: send").expect("RabbitMQ is there");
        let publisher = Publisher::open(&mut connection).expect("a channel").into();
        Sender { publisher, _connection: connection }
    }

    /// Publishes.
    pub fn send(&self, queue: &str, body: Vec<u8>) {
        let outgoing = OutgoingMessage::new(queue.to_owned(), String::new(), body);
        self.publisher.borrow_mut().publish(&outgoing).expect("published");
    }
}

/// How long the floor takes for `count` messages that wait in the input queue.
pub fn run(queues: &Queues, count: usize, prefetch: u16) -> Duration {
    let settings = settings(queues);
    let mut consuming = Connection::open(&settings, "bench: consume").expect("RabbitMQ is there");
    let mut publishing = Connection::open(&settings, "bench: publish").expect("RabbitMQ is there");
    let consumer = Consumer::open(&mut consuming, prefetch, 1).expect("a channel");
    let mut publisher = Publisher::open(&mut publishing).expect("a channel");
    let started = Instant::now();
    let subscription = consumer.consume(&queues.input()).expect("a consumer");
    let deliveries = subscription.receiver().clone();
    let confirms = publisher.confirms().clone();
    let mut unconfirmed: HashMap<u64, AckToken> = HashMap::new();
    let (mut taken, mut done) = (0, 0);
    while done < count {
        select! {
            recv(deliveries) -> message => {
                let delivery = consumer.delivery(message.expect("the connection holds")).expect("a delivery");
                taken += 1;
                let outgoing = OutgoingMessage::new(queues.sent(), format!("{taken}"), delivery.body);
                unconfirmed.insert(publisher.publish(&outgoing).expect("published"), delivery.token);
            },
            recv(confirms) -> confirm => {
                for (tag, _) in publisher.outcomes(confirm.expect("the connection holds")) {
                    done += 1;
                    if let Some(token) = unconfirmed.remove(&tag) {
                        consumer.ack(token).expect("acknowledged");
                    }
                }
            },
        }
    }
    let took = started.elapsed();
    drop(subscription);
    took
}

/// How to reach the broker of the bench.
pub fn settings(queues: &Queues) -> RabbitMq {
    let rabbitmq = queues.broker().rabbitmq();
    RabbitMq {
        host: rabbitmq.host.clone(),
        port: rabbitmq.port,
        username: rabbitmq.username.clone(),
        password: Secret::new(rabbitmq.password.clone()),
        vhost: rabbitmq.vhost.clone(),
        heartbeat: 60,
        tls: None,
    }
}
