//! RabbitMQ comes late, goes away, hangs, loses a queue or has it in another form: the worker finds its way back by
//! itself, with what it had in hand.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use amiquip::{AmqpValue, FieldTable};
use support::broker::header;
use support::*;

const QUICK: [(&str, &str); 4] =
    [("BITRIX_RATE", "0"), ("BITRIX_REQUEST_TIMEOUT", "2"), ("RETRY_DELAY", "0.2"), ("HEARTBEAT_INTERVAL", "3600")];

fn start(queues: &Queues, webhook: &str, changes: &[(&str, &str)]) -> Worker {
    Worker::start(queues, webhook, &[&QUICK[..], changes].concat())
}

/// A worker that reaches RabbitMQ through this relay only.
fn start_through(relay: &Relay, queues: &Queues, webhook: &str, changes: &[(&str, &str)]) -> Worker {
    let port = relay.port().to_string();
    let through_relay = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port)];
    start(queues, webhook, &[&through_relay[..], changes].concat())
}

fn relay() -> Relay {
    Relay::to(RabbitMq::from_env().address())
}

fn arguments<const N: usize>(arguments: [(&str, AmqpValue); N]) -> FieldTable {
    arguments.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// A publish to this queue, as it goes over the wire: class 60, method 40, the default exchange.
fn publish_to(queue: &str) -> Vec<u8> {
    let length = u8::try_from(queue.len()).expect("a queue's name is a short string");
    [&[0, 60, 0, 40, 0, 0, 0, length], queue.as_bytes()].concat()
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

/// Three creates are in the air while `fault` strikes and until the worker is back.
fn assert_work_in_hand_survives(changes: &[(&str, &str)], fault: impl Fn(&Relay, &Worker)) {
    let queues = Queues::new("session lost");
    let relay = relay();
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::start({
        let (tasks, gate) = (tasks.clone(), gate.clone());
        move |call| {
            if call.method == "tasks.task.add" {
                gate.wait();
            }
            tasks.answer(call)
        }
    });
    let names = ["task-1", "task-2", "task-3"];
    let patient = [&[("BITRIX_REQUEST_TIMEOUT", "60")], changes].concat();
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &patient);
    for (number, name) in names.iter().enumerate() {
        queues.publish_task(&field_text(name));
        gate.await_waiting(number + 1, PATIENCE);
    }
    fault(&relay, &worker);
    // The broker knows the consumers of the new session, and no others.
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    queues.await_consumers(&queues.retry(), 1, PATIENCE);
    queues.await_count(&queues.input(), 0, PATIENCE);
    gate.open();
    queues.await_count(&queues.sent(), 3, PATIENCE);
    queues.publish_task(&field_text("task-4"));
    queues.await_count(&queues.sent(), 4, PATIENCE);
    worker.stop();
    for name in names {
        let calls = (portal.count_of(|call| looks_up(call, name)), portal.count_of(|call| creates(call, name)));
        assert_eq!(calls, (1, 1), "{name}");
    }
    Account::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_cut_connection_costs_no_result_and_no_second_create() {
    assert_work_in_hand_survives(&[], |relay, worker| {
        relay.cut();
        worker.await_log("no session with RabbitMQ", PATIENCE);
    });
}

#[test]
fn a_reset_connection_costs_no_result_and_no_second_create() {
    assert_work_in_hand_survives(&[], |relay, worker| {
        relay.reset();
        worker.await_log("no session with RabbitMQ", PATIENCE);
    });
}

#[test]
fn a_connection_whose_packets_vanish_is_noticed_by_its_heartbeats() {
    assert_work_in_hand_survives(&[("RABBITMQ_HEARTBEAT", "1")], |relay, worker| {
        relay.swallow(Direction::ToClient);
        relay.swallow(Direction::ToServer);
        worker.await_log("no session with RabbitMQ", Duration::from_secs(10));
        relay.pass();
    });
}

#[test]
fn a_connection_that_is_lost_twice_costs_no_result_and_no_second_create() {
    assert_work_in_hand_survives(&[], |relay, worker| {
        relay.cut();
        worker.await_log("no session with RabbitMQ", PATIENCE);
        eventually("the next session", PATIENCE, || worker.log().matches("deliveries at a time").count() == 2);
        relay.cut();
        // Not its line in the log: the same trouble is not told twice.
        eventually("the third session", PATIENCE, || worker.log().matches("deliveries at a time").count() == 3);
    });
}

#[test]
fn a_result_that_comes_while_there_is_no_session_is_recorded_in_the_next_one() {
    let queues = Queues::new("result without a session");
    let relay = relay();
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::start({
        let (tasks, gate) = (tasks.clone(), gate.clone());
        move |call| {
            if call.method == "tasks.task.add" {
                gate.wait();
            }
            tasks.answer(call)
        }
    });
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("task-1"));
    gate.await_waiting(1, PATIENCE);
    relay.refuse();
    relay.cut();
    worker.await_log("no session with RabbitMQ", PATIENCE);
    gate.open();
    portal.await_replies("tasks.task.add", 1, PATIENCE);
    relay.accept();
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(portal.count_of(|call| looks_up(call, "task-1")), 1);
    assert_eq!(tasks.syncs().len(), 1);
    Account::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_record_whose_confirm_was_lost_with_the_connection_is_published_again() {
    let queues = Queues::new("confirm lost");
    let relay = relay();
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &[]);
    queues.await_consumers(&queues.retry(), 1, PATIENCE);
    relay.when_seen(Direction::ToServer, publish_to(&queues.sent()), Then::Hold(Direction::ToClient));
    queues.publish_task(&field_text("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    relay.cut();
    relay.pass();
    queues.await_count(&queues.sent(), 2, PATIENCE);
    worker.stop();
    assert_eq!(portal.count_of(|call| looks_up(call, "task-1")), 1);
    assert_eq!(tasks.syncs().len(), 1);
    Account::take(&queues, tasks.markers()).after_faults(1).assert_holds();
}

#[test]
fn a_message_delivered_again_after_it_was_finished_is_acked_without_a_request() {
    let queues = Queues::new("delivered again");
    let relay = relay();
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &[]);
    queues.await_consumers(&queues.retry(), 1, PATIENCE);
    let confirmed = Then::when(Direction::ToClient, CONFIRM, Then::Hold(Direction::ToServer));
    relay.when_seen(Direction::ToServer, publish_to(&queues.sent()), confirmed);
    queues.publish_task(&field_text("task-1"));
    portal.await_replies("imena.camunda.sync", 1, PATIENCE);
    let requests = portal.requests().len();
    relay.cut();
    relay.pass();
    worker.await_log("received again although finished, nothing to do: task=task-1", PATIENCE);
    worker.stop();
    assert_eq!(portal.requests().len(), requests);
    Account::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn connections_cut_at_any_byte_lose_and_double_nothing() {
    let cut_at = |direction: Direction, bytes: [u64; 3]| {
        let queues = Queues::new("cut at any byte");
        let relay = relay();
        let tasks = Tasks::new();
        let portal = Portal::of(&tasks);
        let mut worker = start_through(&relay, &queues, &portal.webhook(), &[("BITRIX_REQUEST_TIMEOUT", "0.5")]);
        queues.await_consumers(&queues.retry(), 1, PATIENCE);
        for (round, bytes) in bytes.into_iter().enumerate() {
            relay.cut_after(direction, bytes);
            let names = (0..10).map(|number| seed_message(&format!("task-{round}-{number}")));
            queues.publish_tasks(&names.collect::<Vec<_>>());
            eventually("the end of the round", PATIENCE, || {
                queues.count(&queues.input()) == 0 && queues.count(&queues.sent()) >= 10 * (round + 1)
            });
        }
        relay.pass();
        let whole = |worker: &Worker| worker.log().matches("created: task=").count() == 30;
        eventually("the end of all work", PATIENCE, || whole(&worker));
        worker.stop();
        println!("cut {direction:?} after {bytes:?} bytes");
        let account = Account::take(&queues, tasks.markers()).after_faults(30);
        account.assert_holds();
        assert_eq!(portal.count_of(|call| call.method == "tasks.task.add"), 30);
    };
    thread::scope(|scope| {
        for (direction, bytes) in [
            (Direction::ToServer, [30, 1200, 4000]),
            (Direction::ToServer, [700, 2600, 5000]),
            (Direction::ToServer, [1500, 3300, 7000]),
            (Direction::ToClient, [1, 4000, 9000]),
            (Direction::ToClient, [2000, 6000, 12000]),
            (Direction::ToClient, [5500, 8000, 15000]),
        ] {
            scope.spawn(move || cut_at(direction, bytes));
        }
    });
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
    worker.await_log("did not take a message, publishing it again", PATIENCE);
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
    second.stop();
    first.kill();
    assert_eq!(portal.count_of(|call| creates(call, "task-1")), 1);
    Account::take(&queues, tasks.markers()).assert_holds();
}
