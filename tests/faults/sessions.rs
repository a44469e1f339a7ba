//! RabbitMQ starts late, refuses the worker, loses a queue or has it with other arguments, or two workers share it: the
//! worker recovers by itself and settles what it had started. Links that fail are in `links.rs`.

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
fn a_broker_that_comes_late_is_waited_for_and_logged_once_as_missing() {
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
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_refused_password_is_logged_in_one_line_and_ends_the_start() {
    let queues = Queues::new("wrong password");
    let portal = Portal::of(&Tasks::new());
    let mut worker = start(&queues, &portal.webhook(), &[("RABBITMQ_PASSWORD", "not-the-password")]);
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    let errors = worker.errors();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("RabbitMQ does not let us in"), "{errors}");
    assert!(!(worker.log() + &worker.output()).contains("not-the-password"));
}

/// Every step of the handshake: its direction, class and method.
const STEPS: [(&str, Direction, [u8; 4]); 6] = [
    ("Start", Direction::ToClient, [0, 10, 0, 10]),
    ("StartOk", Direction::ToServer, [0, 10, 0, 11]),
    ("Tune", Direction::ToClient, [0, 10, 0, 30]),
    ("TuneOk", Direction::ToServer, [0, 10, 0, 31]),
    ("Open", Direction::ToServer, [0, 10, 0, 40]),
    ("OpenOk", Direction::ToClient, [0, 10, 0, 41]),
];

#[test]
#[ignore = "takes long"]
fn a_link_that_is_cut_at_any_step_of_the_handshake_is_no_refusal() {
    let portal = Portal::of(&Tasks::new());
    for (step, direction, method) in STEPS {
        for (moment, then) in [("before", Then::Cut), ("after", Then::Cut), ("after", Then::Reset)] {
            let (queues, relay) = (Queues::new("cut in the handshake"), relay());
            let seen = match moment {
                "before" => relay.before_passing(direction, method, then),
                _ => relay.when_seen(direction, method, then),
            };
            let mut worker = start_through(&relay, &queues, &portal.webhook(), &[]);
            seen.wait(PATIENCE);
            queues.await_consumers(&queues.input(), 1, PATIENCE);
            worker.stop();
            assert!(is_never_refused(&worker), "cut {moment} {step}: {}", worker.errors());
        }
    }
}

#[test]
fn a_handshake_that_stalls_is_no_refusal() {
    let (queues, relay, portal) = (Queues::new("hangs in the handshake"), relay(), Portal::of(&Tasks::new()));
    let seen = relay.when_seen(Direction::ToServer, [0, 10, 0, 11], Then::Swallow(Direction::ToClient));
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &[]);
    seen.wait(PATIENCE);
    worker.await_log("broke before RabbitMQ had answered the sign-in", PATIENCE);
    relay.pass();
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    worker.stop();
    assert!(is_never_refused(&worker), "{}", worker.errors());
}

/// amiquip reports it with an error of its own when a connection ends while a channel is opened.
fn is_never_refused(worker: &Worker) -> bool {
    worker.errors().lines().all(|line| line.contains("[amiquip-io]"))
}

/// A RabbitMQ user for one test, deleted after it. `None` where `rabbitmqctl` cannot be used.
struct Guest(String);

impl Guest {
    fn new(name: &str) -> Option<Guest> {
        let guest = Guest(format!("{name}-{}", std::process::id()));
        rabbitmqctl(&["add_user", &guest.0, "its-password"])?;
        rabbitmqctl(&["set_permissions", &guest.0, ".*", ".*", ".*"]);
        Some(guest)
    }

    fn settings(&self) -> [(&str, &str); 2] {
        [("RABBITMQ_USERNAME", &self.0), ("RABBITMQ_PASSWORD", "its-password")]
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        rabbitmqctl(&["delete_user", &self.0]);
    }
}

/// The worker is refused for a reason that can pass, logs it, and works when `end` has removed it.
#[track_caller]
fn assert_waited_for(queues: &Queues, settings: &[(&str, &str)], told: &str, end: &[&str]) {
    let portal = Portal::of(&Tasks::new());
    let mut worker = start(queues, &portal.webhook(), settings);
    worker.await_log(told, PATIENCE);
    assert!(worker.exited().is_none());
    rabbitmqctl(end);
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    worker.stop();
    assert!(is_never_refused(&worker), "{}", worker.errors());
}

#[test]
#[ignore = "takes long"]
fn a_user_with_too_many_connections_or_channels_is_waited_for_at_the_first_session() {
    for (limit, told) in [
        ("max-connections", "user connection limit (0) is reached"),
        ("max-channels", "number of channels opened for user"),
    ] {
        let Some(guest) = Guest::new(limit) else { return };
        rabbitmqctl(&["set_user_limits", &guest.0, &format!("{{\"{limit}\": 0}}")]);
        let end = ["clear_user_limits", &guest.0, "all"];
        assert_waited_for(&Queues::new("user limit"), &guest.settings(), told, &end);
    }
}

#[test]
fn a_virtual_host_with_too_many_connections_is_waited_for_at_the_first_session() {
    let Some(guest) = Guest::new("vhost-limit") else { return };
    let vhost = guest.0.as_str();
    rabbitmqctl(&["add_vhost", vhost]);
    rabbitmqctl(&["set_permissions", "-p", vhost, &guest.0, ".*", ".*", ".*"]);
    let mut rabbitmq = broker::RabbitMq::from_env();
    rabbitmq.vhost = vhost.into();
    (rabbitmq.username, rabbitmq.password) = (guest.0.clone(), "its-password".into());
    let queues = Queues::through(Broker::connect_to(rabbitmq), "vhost limit");
    // Our own connection takes the only place.
    rabbitmqctl(&["set_vhost_limits", "-p", vhost, "{\"max-connections\": 1}"]);
    let end = ["clear_vhost_limits", "-p", vhost];
    assert_waited_for(&queues, &guest.settings(), "connection limit (1) is reached", &end);
    drop(queues);
    rabbitmqctl(&["delete_vhost", vhost]);
}

#[test]
fn a_worker_without_a_right_that_it_needs_later_creates_nothing_and_says_which_and_how_to_get_it() {
    let Some(guest) = Guest::new("rights") else { return };
    for (configure, write, read, told) in [
        (".*", "", ".*", "access to exchange 'amq.default'"),
        (".*", ".*", "bitrix24.(retry.)?queue$", "bitrix24.sent.queue: RabbitMQ says: ACCESS_REFUSED"),
        ("bitrix24.(retry.|sent.)?queue$", ".*", ".*", "bitrix24.sent.queue.sweep: RabbitMQ says: ACCESS_REFUSED"),
    ] {
        let (queues, tasks) = (Queues::new("without rights"), Tasks::new());
        let portal = Portal::of(&tasks);
        queues.publish_task(&field_text("task-1"));
        rabbitmqctl(&["set_permissions", &guest.0, configure, write, read]);
        let mut worker = start(&queues, &portal.webhook(), &guest.settings());
        assert_eq!(worker.wait(PATIENCE).code(), Some(78), "{told}");
        let errors = worker.errors();
        assert!(errors.contains(told) && errors.contains("rabbitmqctl set_permissions -p / "), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert_eq!(portal.count_of(|call| creates(call, "task-1")), 0);
        queues.await_count(&queues.input(), 1, PATIENCE);
        Audit::take(&queues, tasks.markers()).may_wait("the worker may not work").assert_holds();
    }
}

#[test]
fn a_right_that_is_taken_away_while_at_work_is_logged_and_waited_for() {
    let Some(guest) = Guest::new("taken") else { return };
    let (queues, tasks) = (Queues::new("right taken"), Tasks::new());
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &guest.settings());
    queues.await_consumers(&queues.input(), 1, PATIENCE);
    rabbitmqctl(&["set_permissions", &guest.0, ".*", "", ".*"]);
    rabbitmqctl(&[
        "eval",
        "[rabbit_networking:close_connection(P, <<\"test\">>) || P <- rabbit_networking:connections(), \
                   element(2, hd(rabbit_networking:connection_info(P, [user]))) =:= <<\"GUEST\">>]."
            .replace("GUEST", &guest.0)
            .as_str(),
    ]);
    worker.await_log("trying again every 30s", PATIENCE);
    queues.publish_task(&field_text("task-1"));
    assert!(worker.errors().contains("rabbitmqctl set_permissions -p / "), "{}", worker.errors());
    worker.signal("TERM");
    worker.wait(PATIENCE);
    assert_eq!(portal.count_of(|call| creates(call, "task-1")), 0);
    Audit::take(&queues, tasks.markers()).may_wait("the worker may not work").assert_holds();
}

#[test]
fn a_refusal_ends_the_start_also_when_rabbitmq_came_late() {
    let (queues, relay, portal) = (Queues::new("late refusal"), relay(), Portal::of(&Tasks::new()));
    relay.refuse();
    let mut worker = start_through(&relay, &queues, &portal.webhook(), &[("RABBITMQ_PASSWORD", "not-the-password")]);
    worker.await_log("no session with RabbitMQ, trying again in", PATIENCE);
    relay.accept();
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    assert!(worker.errors().contains("correct RABBITMQ_USERNAME or RABBITMQ_PASSWORD"), "{}", worker.errors());
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
    Audit::take(&queues, tasks.markers()).assert_holds();
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
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_sent_queue_that_is_full_gets_the_record_when_it_has_room() {
    let queues = Queues::new("sent full");
    let full = [("x-max-length", AmqpValue::LongInt(1)), ("x-overflow", header("reject-publish"))];
    queues.declare_with(&queues.sent(), &arguments(full));
    queues.publish(&queues.sent(), "{}", FieldTable::new());
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    // No sweep may park the message that fills the queue.
    queues.declare(&queues.named("bitrix24.sent.queue.sweep"));
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("task-1"));
    worker.await_log("does not take messages", PATIENCE);
    assert_eq!(queues.purge(&queues.sent()), 1);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(portal.count_of(|call| creates(call, "task-1")), 1);
    Audit::take(&queues, tasks.markers()).assert_holds();
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
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_message_in_a_queue_that_counts_deliveries_survives_its_limit() {
    let queues = Queues::undeclared("delivery limit");
    let limited = [("x-queue-type", header("quorum")), ("x-delivery-limit", AmqpValue::LongInt(20))];
    queues.declare_with(&queues.input(), &arguments(limited));
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    queues.publish_task(&field_text("task-1"));
    let requeue_all = |times: usize| (0..times).for_each(|_| assert_eq!(queues.peek_all(&queues.input()).len(), 1));
    requeue_all(18);
    // The message has been requeued eighteen times. The worker gets it, and is stopped before it has done anything.
    let mut worker = start(&queues, &portal.webhook(), &[("BITRIX_REQUEST_TIMEOUT", "60")]);
    worker.await_log("delivered before and not found", PATIENCE);
    worker.stop();
    requeue_all(10);
    let mut worker = start(&queues, &portal.webhook(), &[("BITRIX_REQUEST_TIMEOUT", "0.5")]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn messages_settled_before_a_stop_are_not_delivered_again() {
    let queues = Queues::new("settled, stopped");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let messages: Vec<_> = (0..300).map(|number| seed_message(&format!("task-{number}"))).collect();
    queues.publish_tasks(&messages);
    let mut worker = start(&queues, &portal.webhook(), &[("PREFETCH", "300")]);
    queues.await_count(&queues.sent(), 300, PATIENCE);
    worker.stop();
    // A quorum queue forgets acks when their channel is closed too soon.
    queues.await_count(&queues.input(), 0, PATIENCE);
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
    Audit::take(&queues, tasks.markers()).assert_holds();
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
            // The create of the first worker takes effect after the first look-up of the second one.
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
    // Its checklists have to wait for requests that the first worker may have started.
    eventually("the follow-up", PATIENCE, || tasks.syncs().len() == 1);
    second.stop();
    first.kill();
    assert_eq!(portal.count_of(|call| creates(call, "task-1")), 1);
    Audit::take(&queues, tasks.markers()).assert_holds();
}
