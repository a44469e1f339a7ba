//! RabbitMQ comes late, lets nobody in, loses a queue or has it in another form, and two workers share it: the worker finds
//! its way by itself, with what it had in hand. Links that fail are in `links.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::links::{relay, start_through};
use crate::support::broker::header;
use crate::support::*;
use amiquip::{AmqpValue, FieldTable};

const QUICK: [(&str, &str); 4] =
    [("BITRIX_RATE", "0"), ("BITRIX_REQUEST_TIMEOUT", "2"), ("RETRY_DELAY", "0.2"), ("HEARTBEAT_INTERVAL", "3600")];

fn start(queues: &Queues, webhook: &str, changes: &[(&str, &str)]) -> Worker {
    Worker::start(queues, webhook, &[&QUICK[..], changes].concat())
}

fn arguments<const N: usize>(arguments: [(&str, AmqpValue); N]) -> FieldTable {
    arguments.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

#[test]
fn a_broker_that_comes_late_is_waited_for_and_said_once_to_be_missing() {
    let queues = Queues::new("late broker");
    let relay = relay();
    relay.refuse();
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &[]);
    worker.await_log("no session with RabbitMQ, trying again in", PATIENCE);
    queues.publish_task(&field_text("task-1"));
    relay.accept();
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(worker.log().matches("no session with RabbitMQ").count(), 1);
    Account::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_refused_password_is_said_in_one_line_and_ends_the_start() {
    let queues = Queues::new("wrong password");
    let portal = Portal::of(&Tasks::new());
    let mut worker = start(&queues, &portal.webhook(), &[("RABBITMQ_PASSWORD", "not-the-password")]);
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    let errors = worker.errors();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("RabbitMQ does not let us in"), "{errors}");
    assert!(!(worker.log() + &worker.output()).contains("not-the-password"));
}

#[test]
fn an_input_queue_that_is_deleted_is_declared_again_and_read() {
    let queues = Queues::new("input deleted");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.await_consumers(&queues.retry(), 1, PATIENCE);
    queues.delete(&queues.input());
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    queues.publish_task(&field_text("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    Account::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_sent_queue_that_is_gone_costs_no_record_and_no_second_create() {
    let queues = Queues::new("sent gone");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.await_consumers(&queues.retry(), 1, PATIENCE);
    queues.delete(&queues.sent());
    queues.publish_task(&field_text("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(portal.count_of(|call| looks_up(call, "task-1")), 1);
    Account::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_sent_queue_that_is_full_gets_the_record_when_it_has_room() {
    let queues = Queues::new("sent full");
    let full = [("x-max-length", AmqpValue::LongInt(1)), ("x-overflow", header("reject-publish"))];
    queues.declare_with(&queues.sent(), &arguments(full));
    queues.publish(&queues.sent(), "{}", FieldTable::new());
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    // No sweep may park what fills the queue.
    queues.declare(&queues.named("bitrix24.sent.queue.sweep"));
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("task-1"));
    worker.await_log("does not take messages", PATIENCE);
    assert_eq!(queues.purge(&queues.sent()), 1);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(portal.count_of(|call| creates(call, "task-1")), 1);
    Account::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn queues_that_exist_in_another_form_are_used_as_they_are() {
    let queues = Queues::undeclared("other arguments");
    let quorum = arguments([("x-queue-type", header("quorum"))]);
    let limited =
        arguments([("x-max-length", AmqpValue::LongInt(1000)), ("x-message-ttl", AmqpValue::LongInt(3_600_000))]);
    queues.declare_with(&queues.input(), &quorum);
    queues.declare_with(&queues.sent(), &quorum);
    [queues.retry(), queues.errors(), queues.responses()].iter().for_each(|queue| queues.declare_with(queue, &limited));
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(worker.errors(), "");
    Account::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_message_in_a_queue_that_counts_deliveries_outlives_its_limit() {
    let queues = Queues::undeclared("delivery limit");
    let limited = [("x-queue-type", header("quorum")), ("x-delivery-limit", AmqpValue::LongInt(20))];
    queues.declare_with(&queues.input(), &arguments(limited));
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    queues.publish_task(&field_text("task-1"));
    let give_back = |times: usize| (0..times).for_each(|_| assert_eq!(queues.peek_all(&queues.input()).len(), 1));
    give_back(18);
    // It has been given back eighteen times; the worker gets it, and is stopped before it has done anything.
    let mut worker = start(&queues, &portal.webhook(), &[("BITRIX_REQUEST_TIMEOUT", "60")]);
    worker.await_log("delivered before and not to be seen", PATIENCE);
    worker.stop();
    give_back(10);
    let mut worker = start(&queues, &portal.webhook(), &[("BITRIX_REQUEST_TIMEOUT", "0.5")]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    Account::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn two_workers_on_one_queue_double_nothing() {
    let queues = Queues::new("two workers");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let narrow = [("PREFETCH", "5"), ("HANDLER_THREADS", "2")];
    let mut workers = [start(&queues, &portal.webhook(), &narrow), start(&queues, &portal.webhook(), &narrow)];
    queues.await_consumers(&queues.input(), 2, PATIENCE);
    let messages: Vec<_> = (0..60).map(|number| seed_message(&format!("task-{number}"))).collect();
    queues.publish_tasks(&messages);
    queues.await_count(&queues.sent(), 60, PATIENCE);
    workers.iter_mut().for_each(Worker::stop);
    assert!(workers.iter().all(|worker| worker.log().contains("created: task=")));
    Account::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_task_whose_create_is_under_way_is_not_created_by_the_worker_that_gets_it_next() {
    let queues = Queues::new("moves to another worker");
    let relay = relay();
    let (tasks, gate, looks) = (Tasks::new(), Gate::closed(), Arc::new(AtomicUsize::new(0)));
    let portal = Portal::start({
        let (tasks, gate, looks) = (tasks.clone(), gate.clone(), looks.clone());
        move |call| {
            if creates(call, "task-1") {
                gate.wait();
            }
            let answer = tasks.answer(call);
            // The create of the first worker comes into effect after the first look of the second one.
            if looks_up(call, "task-1") && looks.fetch_add(1, Ordering::Relaxed) == 1 {
                gate.open();
            }
            answer
        }
    });
    let mut first = start_through(&relay, &queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("task-1"));
    gate.await_waiting(1, PATIENCE);
    let mut second = start(&queues, &portal.webhook(), &[]);
    queues.await_consumers(&queues.input(), 2, PATIENCE);
    relay.refuse();
    relay.cut();
    queues.await_count(&queues.sent(), 1, PATIENCE);
    // Its checklists have to wait for what the first one may have begun.
    eventually("the follow-up", PATIENCE, || tasks.syncs().len() == 1);
    second.stop();
    first.kill();
    assert_eq!(portal.count_of(|call| creates(call, "task-1")), 1);
    Account::take(&queues, tasks.markers()).assert_holds();
}
