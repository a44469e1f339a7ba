//! Faults of a whole RabbitMQ node, on a private node: it is restarted, killed or frozen, lacks memory or disk, limits
//! the time of acks or the size of messages, or refuses the worker.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::support::*;

/// One fault at a time: each affects all connections of the node.
pub fn node() -> Option<MutexGuard<'static, Node>> {
    static NODE: OnceLock<Option<Mutex<Node>>> = OnceLock::new();
    let node = NODE.get_or_init(|| Node::start().map(Mutex::new)).as_ref()?;
    Some(node.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A worker with one unsettled create.
struct Scene {
    queues: Queues,
    tasks: Tasks,
    portal: Portal,
    gate: Gate,
    worker: Worker,
}

impl Scene {
    fn set(node: &Node, changes: &[(&str, &str)]) -> Scene {
        let queues = Queues::through(Broker::connect_to(node.rabbitmq()), "node");
        for queue in [queues.input(), queues.responses(), queues.errors()] {
            queues.declare(&queue);
        }
        let (tasks, gate) = (Tasks::new(), Gate::closed());
        let portal = Portal::start({
            let (tasks, gate) = (tasks.clone(), gate.clone());
            move |call| {
                if creates(call, "task-1") {
                    gate.wait();
                }
                tasks.answer(call)
            }
        });
        let quick = [("BITRIX_RATE", "0"), ("HEARTBEAT_INTERVAL", "3600"), ("HANDLER_THREADS", "1")];
        let worker = Worker::start(&queues, &portal.webhook(), &[&quick[..], changes].concat());
        queues.publish_task(&seed_message("task-1"));
        gate.await_waiting(1, PATIENCE);
        Scene { queues, tasks, portal, gate, worker }
    }

    /// The worker is back, and finishes the task that it had started without a second request.
    fn assert_goes_on(mut self) {
        let queues = &self.queues;
        queues.await_consumers(&queues.input(), 1, PATIENCE);
        queues.await_consumers(&queues.retry(), 1, PATIENCE);
        self.gate.open();
        queues.publish_task(&seed_message("task-2"));
        queues.await_count(&queues.sent(), 2, PATIENCE);
        self.worker.stop();
        let calls = |name: &str| {
            let look_ups = self.portal.count_of(|call| looks_up(call, name));
            (look_ups, self.portal.count_of(|call| creates(call, name)))
        };
        assert_eq!(calls("task-1"), (1, 1));
        Audit::take(&self.queues, self.tasks.markers()).assert_holds();
    }
}

#[test]
fn a_restarted_node_is_found_again() {
    let Some(node) = node() else { return };
    let scene = Scene::set(&node, &[]);
    node.ctl(&["stop_app"]);
    scene.worker.await_log("no session with RabbitMQ", PATIENCE);
    node.ctl(&["start_app"]);
    scene.assert_goes_on();
}

#[test]
fn a_killed_node_is_found_again_when_it_lives() {
    let Some(node) = node() else { return };
    let scene = Scene::set(&node, &[]);
    node.kill();
    scene.worker.await_log("no session with RabbitMQ", PATIENCE);
    node.revive();
    scene.assert_goes_on();
}

#[test]
fn connections_that_an_administrator_closes_are_opened_again() {
    let Some(node) = node() else { return };
    let scene = Scene::set(&node, &[]);
    // amiquip may close the connection before it has read the reason.
    eventually("the reason in the log", PATIENCE, || {
        let lost = scene.worker.log().matches("no session with RabbitMQ").count();
        node.ctl(&["close_all_connections", "maintenance"]);
        eventually("the end of the session", PATIENCE, || {
            scene.worker.log().matches("no session with RabbitMQ").count() > lost
        });
        scene.worker.log().contains("maintenance")
    });
    scene.assert_goes_on();
}

/// It wakes the node even if the test fails.
struct Frozen<'a>(&'a Node);

impl Frozen<'_> {
    fn freeze(node: &Node) -> Frozen<'_> {
        node.freeze(true);
        Frozen(node)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.freeze(false);
    }
}

#[test]
fn a_frozen_node_is_noticed_and_found_again_when_it_goes_on() {
    let Some(node) = node() else { return };
    let scene = Scene::set(&node, &[("RABBITMQ_HEARTBEAT", "1")]);
    let frozen = Frozen::freeze(&node);
    scene.worker.await_log("no session with RabbitMQ", PATIENCE);
    drop(frozen);
    scene.assert_goes_on();
}

/// The broker closes a channel whose delivery is not acknowledged within `timeout` milliseconds.
fn limit_acks_to(node: &Node, timeout: u32, tick: u32) {
    let set = |name: &str, value: u32| format!("application:set_env(rabbit, {name}, {value})");
    let set = [set("consumer_timeout", timeout), set("channel_tick_interval", tick)].join(", ");
    node.ctl(&["eval", &format!("{set}.")]);
}

#[test]
fn a_broker_that_requeues_deliveries_after_its_timeout_causes_no_second_create() {
    let Some(node) = node() else { return };
    limit_acks_to(&node, 1000, 500);
    let scene = Scene::set(&node, &[]);
    scene.worker.await_log("no session with RabbitMQ", PATIENCE);
    limit_acks_to(&node, 1_800_000, 60_000);
    scene.assert_goes_on();
}

#[test]
#[ignore = "takes long"]
fn messages_that_wait_longer_than_the_broker_allows_are_done_all_the_same() {
    const TASKS: usize = 5;
    let Some(node) = node() else { return };
    let queues = Queues::through(Broker::connect_to(node.rabbitmq()), "impatient");
    [queues.input(), queues.responses(), queues.errors()].iter().for_each(|queue| queues.declare(queue));
    queues.publish_tasks(&(0..TASKS).map(|number| seed_message(&format!("task-{number}"))).collect::<Vec<_>>());
    assert_eq!(queues.peek_all(&queues.input()).len(), TASKS);
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    limit_acks_to(&node, 3000, 500);
    let patient = [("BITRIX_RATE", "0"), ("HEARTBEAT_INTERVAL", "3600"), ("BITRIX_REQUEST_TIMEOUT", "8")];
    let mut worker = Worker::start(&queues, &portal.webhook(), &patient);
    queues.await_count(&queues.sent(), TASKS, PATIENCE * 2);
    assert!(worker.log().contains("no session with RabbitMQ"));
    limit_acks_to(&node, 1_800_000, 60_000);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

/// It restores the node even if the test fails.
struct Alarm<'a>(&'a Node, &'static [&'static str]);

impl Alarm<'_> {
    fn of_memory(node: &Node) -> Alarm<'_> {
        node.ctl(&["set_vm_memory_high_watermark", "0.00001"]);
        Alarm(node, &["set_vm_memory_high_watermark", "0.4"])
    }

    fn of_disk(node: &Node) -> Alarm<'_> {
        node.ctl(&["set_disk_free_limit", "1000000GB"]);
        Alarm(node, &["set_disk_free_limit", "50MB"])
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.ctl(self.1);
    }
}

fn assert_is_waited_for(raise: fn(&Node) -> Alarm<'_>) {
    let Some(node) = node() else { return };
    let scene = Scene::set(&node, &[]);
    let alarm = raise(&node);
    scene.gate.open();
    scene.worker.await_log("RabbitMQ takes no messages for now", PATIENCE);
    drop(alarm);
    scene.assert_goes_on();
}

#[test]
fn a_node_without_memory_is_waited_for_and_gets_every_record() {
    assert_is_waited_for(Alarm::of_memory);
}

#[test]
fn a_worker_is_not_ready_while_a_node_without_memory_blocks_it_and_is_ready_again_after() {
    let Some(node) = node() else { return };
    let api = api::Api::anywhere();
    let scene = Scene::set(&node, &api.settings());
    let await_ready = |status: u16, text: &str| {
        eventually_ok(text, PATIENCE, || {
            let answer = api.get("/readyz?verbose").map_err(|err| err.to_string())?;
            let is_so = answer.status == status && answer.body.contains(text);
            if is_so { Ok(()) } else { Err(format!("{} {}", answer.status, answer.body)) }
        });
    };
    await_ready(200, "[+] bitrix24 ready");
    let alarm = Alarm::of_memory(&node);
    // What it has done cannot be recorded, so nothing is acknowledged.
    scene.gate.open();
    await_ready(503, "[-] bitrix24: RabbitMQ takes no messages: ");
    assert!(api.get("/livez").is_ok_and(|answer| answer.status == 200), "it need not be restarted");
    drop(alarm);
    await_ready(200, "[+] bitrix24 ready");
    scene.assert_goes_on();
}

#[test]
fn a_node_without_room_on_its_disk_is_waited_for_and_gets_every_record() {
    assert_is_waited_for(Alarm::of_disk);
}

#[test]
fn a_node_without_memory_at_the_first_session_is_waited_for_and_nothing_is_taken_meanwhile() {
    let Some(node) = node() else { return };
    let (queues, tasks) = (Queues::through(Broker::connect_to(node.rabbitmq()), "node"), Tasks::new());
    [queues.input(), queues.responses(), queues.errors()].iter().for_each(|queue| queues.declare(queue));
    let portal = Portal::of(&tasks);
    queues.publish_task(&seed_message("task-1"));
    let alarm = Alarm::of_memory(&node);
    let mut worker = Worker::start(&queues, &portal.webhook(), &[("BITRIX_RATE", "0")]);
    worker.await_log("RabbitMQ takes no messages for now", PATIENCE);
    let check = run_with(&["check"], &queues, &portal.webhook(), &[]);
    check.ended_with(0).has("warn  RabbitMQ takes no messages for now (low on memory)");
    assert_eq!(portal.count_of(|call| creates(call, "task-1")), 0);
    // A message that is taken and cannot be published again wears out.
    assert_eq!(queues.count(&queues.input()), 1);
    drop(alarm);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_node_without_memory_does_not_keep_the_worker_from_ending() {
    let Some(node) = node() else { return };
    // On a busy machine it takes longer to set the alarm, and the create waits for that.
    let mut scene = Scene::set(&node, &[("SHUTDOWN_TIMEOUT", "1"), ("BITRIX_REQUEST_TIMEOUT", "20")]);
    let alarm = Alarm::of_memory(&node);
    scene.gate.open();
    scene.worker.await_log("RabbitMQ takes no messages for now", PATIENCE);
    scene.worker.signal("TERM");
    assert_eq!(scene.worker.wait(Duration::from_secs(5)).code(), Some(1));
    assert!(scene.worker.log().lines().last().unwrap_or_default().contains("task-1"));
    drop(alarm);
    scene.worker.start_again();
    let queues = &scene.queues;
    eventually("every record", 2 * PATIENCE, || {
        queues.count(&queues.input()) == 0 && queues.count(&queues.sent()) >= 1
    });
    scene.worker.stop();
    Audit::take(&scene.queues, scene.tasks.markers()).after_faults(1).assert_holds();
}

#[test]
fn a_worker_that_is_no_longer_let_in_says_so_and_waits() {
    let Some(node) = node() else { return };
    node.ctl(&["add_user", "worker", "its-password"]);
    node.ctl(&["set_permissions", "worker", ".*", ".*", ".*"]);
    let as_worker = [("RABBITMQ_USERNAME", "worker"), ("RABBITMQ_PASSWORD", "its-password")];
    let mut scene = Scene::set(&node, &as_worker);
    node.ctl(&["delete_user", "worker"]);
    scene.worker.await_log("trying again every 30s", PATIENCE);
    assert!(scene.worker.exited().is_none());
    scene.gate.open();
    scene.worker.signal("TERM");
    assert_eq!(scene.worker.wait(Duration::from_secs(10)).code(), Some(1));
    scene.queues.await_count(&scene.queues.input(), 1, PATIENCE);
}

/// Channels that are opened while this exists take no larger messages.
pub struct Narrow<'a>(&'a Node);

impl Narrow<'_> {
    pub fn to(node: &Node, bytes: usize) -> Narrow<'_> {
        limit(node, bytes);
        Narrow(node)
    }
}

/// RabbitMQ 4 reads the limit in one place, earlier versions in the other.
fn limit(node: &Node, bytes: usize) {
    let both = "application:set_env(rabbit, max_message_size, N), persistent_term:put(max_message_size, N).";
    node.ctl(&["eval", &both.replace('N', &bytes.to_string())]);
}

impl Drop for Narrow<'_> {
    fn drop(&mut self) {
        limit(self.0, 134_217_728);
    }
}

#[test]
fn a_worker_that_may_not_use_its_queues_says_so_and_ends() {
    let Some(node) = node() else { return };
    node.ctl(&["add_user", "newcomer", "its-password"]);
    let settings = [("RABBITMQ_USERNAME", "newcomer"), ("RABBITMQ_PASSWORD", "its-password")];
    let refused = |changes: &[(&str, &str)]| {
        let queues = Queues::through(Broker::connect_to(node.rabbitmq()), "not let in");
        let portal = Portal::of(&Tasks::new());
        let mut worker = Worker::start(&queues, &portal.webhook(), &[&settings, changes].concat());
        assert_eq!(worker.wait(PATIENCE).code(), Some(78), "{changes:?}");
        let errors = worker.errors();
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains("RabbitMQ does not let us in"), "{errors}");
    };
    refused(&[]);
    refused(&[("RABBITMQ_VHOST", "no-such-vhost")]);
    node.ctl(&["set_permissions", "newcomer", "none", "none", "none"]);
    refused(&[]);
    node.ctl(&["delete_user", "newcomer"]);
}
