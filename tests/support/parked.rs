//! Messages of the error queue, put there by our worker, by another one, or by an unknown program. It knows the form of
//! parked messages only, and of the queue only the name.

use amiquip::{AmqpProperties, FieldTable};
use serde_json::Value;

use super::broker::Message;
use super::queues::Queues;
use super::wait::PATIENCE;

/// A parked message as our worker writes it; `original` is JSON text and is copied exactly.
pub fn parked(original: &str, cause: &str, error: &str, source_queue: &str) -> String {
    let error = Value::from(error);
    format!(
        r#"{{"timestamp":1795409858911,"original_message":{original},"error_type":"{cause}","error_message":{error},"system":"bitrix24","source_queue":"{source_queue}","requires_manual_intervention":true,"suggested_action":"do something","attempts":3}}"#
    )
}

/// The smallest task with this id, written as no serialiser would write it.
pub fn small_task(id: &str) -> String {
    format!(r#"{{ "task_id":"{id}",  "n": 1.10, "big":12345678901234567890, "ё":"\u0451" }}"#)
}

/// Puts messages into the error queue, in this order.
pub fn put(queues: &Queues, bodies: &[String]) {
    let properties = AmqpProperties::default().with_delivery_mode(2).with_headers(FieldTable::new());
    let messages: Vec<_> = bodies.iter().map(|body| (body.clone().into_bytes(), properties.clone())).collect();
    queues.broker().publish(&queues.errors(), &messages).expect("the error queue is there");
}

/// So many tasks refused by the portal: `task-000` and on.
pub fn put_tasks(queues: &Queues, count: usize) -> Vec<String> {
    let body = |n: usize| {
        let error = format!("tasks.task.add: http status 400: user {n} is not there");
        parked(&small_task(&format!("task-{n:03}")), "REQUEST_ERROR", &error, &queues.input())
    };
    let bodies: Vec<String> = (0..count).map(body).collect();
    put(queues, &bodies);
    bodies
}

/// The bodies in a queue, in order; they stay there.
pub fn bodies(queues: &Queues, queue: &str) -> Vec<String> {
    peek(queues, queue).iter().map(|message| message.text()).collect()
}

/// The ids of the tasks in a queue, in order; they stay there. "" stands for a body that is no task.
pub fn ids(queues: &Queues, queue: &str) -> Vec<String> {
    let id = |message: &Message| {
        let body = message.json();
        let task = if body["original_message"].is_object() { &body["original_message"] } else { &body };
        task["task_id"].as_str().unwrap_or_default().to_owned()
    };
    peek(queues, queue).iter().map(id).collect()
}

/// The messages of a queue that nobody else reads. The broker requeues them one by one, so this waits for the last.
fn peek(queues: &Queues, queue: &str) -> Vec<Message> {
    let messages = queues.peek_all(queue);
    queues.await_count(queue, messages.len(), PATIENCE);
    messages
}

/// The lines of an output that are JSON objects.
pub fn json_lines(output: &str) -> Vec<Value> {
    let lines = output.lines().filter(|line| line.starts_with("{\""));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|err| panic!("{err}: {line}"))).collect()
}
