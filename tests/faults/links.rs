//! The link to RabbitMQ is cut, reset, half-open or slow: started tasks are finished, created once and recorded once.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;

const QUICK: [(&str, &str); 4] =
    [("BITRIX_RATE", "0"), ("BITRIX_REQUEST_TIMEOUT", "2"), ("RETRY_DELAY", "0.2"), ("HEARTBEAT_INTERVAL", "3600")];

/// A worker that reaches RabbitMQ through this relay only.
pub fn start_through(relay: &Relay, queues: &Queues, webhook: &str, changes: &[(&str, &str)]) -> Worker {
    let port = relay.port().to_string();
    let through_relay = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port)];
    Worker::start(queues, webhook, &[&QUICK[..], &through_relay, changes].concat())
}

pub fn relay() -> Relay {
    Relay::to(RabbitMq::from_env().address())
}

/// Three creates are unsettled from the `fault` until the worker is back.
fn assert_started_work_survives(changes: &[(&str, &str)], fault: impl Fn(&Relay, &Worker)) {
    let queues = Queues::new("session lost");
    let relay = relay();
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
    let names = ["task-1", "task-2", "task-3"];
    let patient = [&[("BITRIX_REQUEST_TIMEOUT", "60")], changes].concat();
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &patient);
    for (number, name) in names.iter().enumerate() {
        queues.publish_task(&field_text(name));
        gate.await_waiting(number + 1, PATIENCE);
    }
    fault(&relay, &worker);
    // The broker has only the consumers of the new session.
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
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_cut_connection_costs_no_result_and_no_second_create() {
    assert_started_work_survives(&[], |relay, worker| {
        relay.cut();
        worker.await_log("no session with RabbitMQ", PATIENCE);
    });
}

#[test]
fn a_reset_connection_costs_no_result_and_no_second_create() {
    assert_started_work_survives(&[], |relay, worker| {
        relay.reset();
        worker.await_log("no session with RabbitMQ", PATIENCE);
    });
}

#[test]
fn a_connection_whose_packets_vanish_is_noticed_by_its_heartbeats() {
    assert_started_work_survives(&[("RABBITMQ_HEARTBEAT", "1")], |relay, worker| {
        relay.swallow(Direction::ToClient);
        relay.swallow(Direction::ToServer);
        worker.await_log("no session with RabbitMQ", Duration::from_secs(10));
        relay.pass();
    });
}

#[test]
fn a_connection_that_carries_nothing_to_the_broker_any_more_is_given_up_by_it() {
    assert_started_work_survives(&[("RABBITMQ_HEARTBEAT", "1")], |relay, worker| {
        relay.swallow(Direction::ToServer);
        worker.await_log("no session with RabbitMQ", Duration::from_secs(10));
        relay.pass();
    });
}

#[test]
fn a_connection_that_carries_nothing_from_the_broker_any_more_is_given_up() {
    assert_started_work_survives(&[("RABBITMQ_HEARTBEAT", "1")], |relay, worker| {
        relay.swallow(Direction::ToClient);
        worker.await_log("no session with RabbitMQ", Duration::from_secs(10));
        relay.pass();
    });
}

/// How long it takes until every record is confirmed and every message acknowledged.
fn time_over_a_link_with(delay: Duration) -> Duration {
    let queues = Queues::new("slow link");
    let relay = relay();
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &[]);
    queues.await_consumers(&queues.retry(), 1, PATIENCE);
    relay.delay(Direction::ToClient, delay);
    relay.delay(Direction::ToServer, delay);
    let started = Instant::now();
    let messages: Vec<_> = (0..4).map(|number| seed_message(&format!("task-{number}"))).collect();
    queues.publish_tasks(&messages);
    eventually("every follow-up", PATIENCE, || tasks.syncs().len() == messages.len());
    let taken = started.elapsed();
    relay.pass();
    worker.stop();
    assert_eq!(worker.log().matches("no session with RabbitMQ").count(), 0);
    assert_eq!(portal.count("tasks.task.add"), messages.len());
    assert_eq!(queues.count(&queues.sent()), messages.len());
    Audit::take(&queues, tasks.markers()).assert_holds();
    taken
}

#[test]
fn confirms_that_come_late_are_waited_for_and_double_nothing() {
    let late = Duration::from_millis(500);
    let slow = time_over_a_link_with(late);
    // The delivery, the record and its confirm are late, one after the other.
    assert!(slow >= 3 * late, "{slow:?}");
    let quick = time_over_a_link_with(Duration::ZERO);
    assert!(quick < slow / 2, "{quick:?}");
}

#[test]
fn a_connection_that_is_lost_twice_costs_no_result_and_no_second_create() {
    assert_started_work_survives(&[], |relay, worker| {
        let sessions = || worker.log().matches("deliveries at a time").count();
        relay.cut();
        eventually("the second session", PATIENCE, || sessions() == 2);
        relay.cut();
        eventually("the third session", PATIENCE, || sessions() == 3);
    });
}

#[test]
fn a_result_that_comes_while_there_is_no_session_is_recorded_in_the_next_one() {
    let queues = Queues::new("result without a session");
    let relay = relay();
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
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
    Audit::take(&queues, tasks.markers()).assert_holds();
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
    Audit::take(&queues, tasks.markers()).after_faults(1).assert_holds();
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
    Audit::take(&queues, tasks.markers()).assert_holds();
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
        // Messages delivered again after a lost session wait before they are looked up, and are requeued when the
        // worker stops.
        eventually("the end of all work", PATIENCE, || {
            let instances = tasks.syncs().into_iter().map(|sync| sync["processInstanceId"].to_string());
            instances.collect::<std::collections::BTreeSet<_>>().len() == 30
        });
        worker.stop();
        println!("cut {direction:?} after {bytes:?} bytes");
        let audit = Audit::take(&queues, tasks.markers()).after_faults(30);
        audit.assert_holds();
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
