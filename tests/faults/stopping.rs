//! Ctrl+C, SIGTERM and the like: started tasks are finished, the rest waits in RabbitMQ, and nothing keeps the worker
//! from ending.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::worker::settings;
use crate::support::*;
use amiquip::FieldTable;

const QUICK: [(&str, &str); 3] = [("BITRIX_RATE", "0"), ("RETRY_DELAY", "0.2"), ("HEARTBEAT_INTERVAL", "3600")];

/// For an end without anything to wait for; far below `SHUTDOWN_TIMEOUT`.
const AT_ONCE: Duration = Duration::from_secs(5);

fn start(queues: &Queues, webhook: &str, changes: &[(&str, &str)]) -> Worker {
    Worker::start(queues, webhook, &[&QUICK[..], changes].concat())
}

#[track_caller]
fn assert_the_last_line_is(worker: &Worker, text: &str) {
    let log = worker.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(text), "{last}");
}

const ALL_SETTLED: &str = "stopped: every message at work is settled, the rest waits in RabbitMQ";

fn assert_started_work_is_finished_after(signal: &str) {
    let queues = Queues::new("started work");
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.publish_task(&field_text("task-1"));
    gate.await_waiting(1, PATIENCE);
    worker.signal(signal);
    worker.await_log("stopping: finishing 1 started", PATIENCE);
    gate.open();
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    assert_the_last_line_is(&worker, ALL_SETTLED);
    assert_eq!(queues.count(&queues.sent()), 1);
    assert_eq!(tasks.syncs().len(), 1);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn sigterm_lets_started_work_be_finished_and_recorded() {
    assert_started_work_is_finished_after("TERM");
}

#[test]
fn ctrl_c_lets_started_work_be_finished_and_recorded() {
    assert_started_work_is_finished_after("INT");
}

#[test]
fn messages_that_were_not_started_are_requeued() {
    let queues = Queues::new("not started");
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
    let mut worker = start(&queues, &portal.webhook(), &[("HANDLER_THREADS", "1")]);
    queues.publish_task(&seed_message("task-0"));
    gate.await_waiting(1, PATIENCE);
    let others: Vec<_> = (1..=5).map(|number| seed_message(&format!("task-{number}"))).collect();
    queues.publish_tasks(&others);
    queues.await_count(&queues.input(), 0, PATIENCE);
    worker.signal("TERM");
    worker.await_log("stopping: finishing 1 started", PATIENCE);
    gate.open();
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    queues.await_count(&queues.input(), 5, PATIENCE);
    assert_eq!(tasks.markers(), ["task-0"]);
    Audit::take(&queues, tasks.markers()).may_wait("they were not started").assert_holds();
}

#[test]
fn a_message_that_waits_for_its_next_try_is_requeued_with_its_attempts() {
    let queues = Queues::new("waiting for a try");
    let tasks = Tasks::new();
    let portal = Portal::start({
        let tasks = tasks.clone();
        move |call| match call.method.as_str() {
            "tasks.task.add" => Answer::refused(500, "INTERNAL_SERVER_ERROR", "down"),
            _ => tasks.answer(call),
        }
    });
    let mut worker = start(&queues, &portal.webhook(), &[("RETRY_DELAY", "60"), ("LOG_LEVEL", "DEBUG")]);
    queues.publish_task(&field_text("task-1"));
    worker.await_log(": task=task-1 topic=bitrix_create_task attempts=1", PATIENCE);
    worker.stop();
    queues.await_count(&queues.retry(), 1, PATIENCE);
    assert_eq!(queues.peek_all(&queues.retry())[0].headers["x-attempts"], amiquip::AmqpValue::LongInt(1));
    Audit::take(&queues, tasks.markers()).may_wait("its minute is not over").assert_holds();
}

#[test]
fn past_the_shutdown_timeout_the_worker_ends_with_1_and_names_the_unsettled_task() {
    let queues = Queues::new("shutdown timeout");
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
    let mut worker = start(&queues, &portal.webhook(), &[("SHUTDOWN_TIMEOUT", "1"), ("BITRIX_REQUEST_TIMEOUT", "2")]);
    queues.publish_task(&field_text("task-1"));
    gate.await_waiting(1, PATIENCE);
    worker.signal("TERM");
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    assert_the_last_line_is(&worker, "stopped with 1 unsettled task(s)");
    assert_the_last_line_is(&worker, ": task-1");
    queues.await_count(&queues.input(), 1, PATIENCE);

    gate.open();
    worker.start_again();
    queues.await_count(&queues.sent(), 1, PATIENCE);
    // Its checklists have to wait for requests that may still be under way at the portal.
    eventually("the follow-up", PATIENCE, || tasks.syncs().len() == 1);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_second_ctrl_c_ends_the_worker_at_once() {
    let queues = Queues::new("second Ctrl+C");
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
    let mut worker = start(&queues, &portal.webhook(), &[("SHUTDOWN_TIMEOUT", "60")]);
    queues.publish_task(&field_text("task-1"));
    gate.await_waiting(1, PATIENCE);
    worker.signal("INT");
    worker.await_log("a second Ctrl+C ends at once", PATIENCE);
    worker.signal("INT");
    assert_eq!(worker.wait(AT_ONCE).code(), Some(130));
    assert_the_last_line_is(&worker, "unsettled task(s)");
    queues.await_count(&queues.input(), 1, PATIENCE);
}

#[test]
fn an_idle_worker_ends_at_once() {
    let queues = Queues::new("idle");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.await_consumers(&queues.retry(), 1, PATIENCE);
    worker.signal("INT");
    assert_eq!(worker.wait(AT_ONCE).code(), Some(0));
    assert_the_last_line_is(&worker, ALL_SETTLED);
    assert_eq!(worker.errors(), "");
}

#[test]
fn a_worker_whose_broker_is_away_ends_at_once() {
    let queues = Queues::new("broker away");
    let relay = Relay::to(RabbitMq::from_env().address());
    relay.refuse();
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let port = relay.port().to_string();
    let mut worker = start(&queues, &portal.webhook(), &[("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port)]);
    worker.await_log("no session with RabbitMQ", PATIENCE);
    worker.signal("INT");
    assert_eq!(worker.wait(AT_ONCE).code(), Some(0));
}

#[test]
fn a_worker_whose_broker_accepts_and_says_nothing_ends_within_the_shutdown_timeout() {
    let queues = Queues::new("silent broker");
    let relay = Relay::to(RabbitMq::from_env().address());
    relay.hold(Direction::ToServer);
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let port = relay.port().to_string();
    let mut worker = start(&queues, &portal.webhook(), &[("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port)]);
    relay.await_connections(2, PATIENCE);
    worker.signal("INT");
    assert_eq!(worker.wait(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn a_paused_worker_ends_at_once_and_its_messages_stay() {
    let queues = Queues::new("paused");
    let portal = Portal::start(|_| Answer::refused(401, "NO_AUTH_FOUND", "Wrong authorization data"));
    let mut worker = start(&queues, &portal.webhook(), &[("RETRY_DELAY", "60")]);
    queues.publish_tasks(&[field_text("task-1"), field_text("task-2")]);
    worker.await_log("pausing, messages stay in their queue", PATIENCE);
    worker.signal("TERM");
    assert_eq!(worker.wait(AT_ONCE).code(), Some(0));
    queues.await_count(&queues.input(), 2, PATIENCE);
}

#[test]
fn a_sweep_that_is_under_way_is_finished_before_the_end() {
    let queues = Queues::new("stop during a sweep");
    queues.declare(&queues.sent());
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let id = tasks.put("task-1");
    tasks.set_status("task-1", 5);
    let portal = Portal::start({
        let (tasks, gate) = (tasks.clone(), gate.clone());
        move |call| {
            if is_sweep(call) {
                gate.wait();
            }
            tasks.answer(call)
        }
    });
    let record = serde_json::json!({
        "original_message": seed_message("task-1"),
        "response_data": {"result": {"task": {"id": id.to_string()}}, "success": true},
        "processing_status": "success",
    });
    queues.publish(&queues.sent(), record.to_string(), FieldTable::new());
    let mut worker = start(&queues, &portal.webhook(), &[]);
    gate.await_waiting(1, PATIENCE);
    worker.signal("TERM");
    worker.await_log("stopping: finishing 0 started", PATIENCE);
    gate.open();
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    assert_eq!((queues.count(&queues.responses()), queues.count(&queues.sent())), (1, 0));
}

#[test]
fn a_closed_terminal_does_not_end_the_worker() {
    let queues = Queues::new("SIGHUP");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[]);
    queues.await_consumers(&queues.retry(), 1, PATIENCE);
    worker.signal("HUP");
    queues.publish_task(&field_text("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

/// Killed at the end of the test, even if it fails.
struct Unheard(Child);

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn assert_works_with(line: &str) {
    let queues = Queues::new("unheard");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let folder = std::env::temp_dir().join(queues.prefix());
    let child = Command::new("sh")
        .args(["-c", line, env!("CARGO_BIN_EXE_task-creator")])
        .env_clear()
        .envs(settings(&queues, &portal.webhook()))
        .env("LOG_DIR", &folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut worker = Unheard(child.expect("sh runs"));
    // Nobody reads its output.
    drop((worker.0.stdout.take(), worker.0.stderr.take()));
    queues.publish_task(&field_text("task-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    assert!(matches!(worker.0.try_wait(), Ok(None)));
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn closed_outputs_do_not_end_the_worker() {
    assert_works_with("exec \"$0\" >&- 2>&-");
}

#[test]
fn a_pipe_whose_reader_has_left_does_not_end_the_worker() {
    assert_works_with("exec \"$0\"");
}

#[test]
fn a_full_disk_under_the_output_does_not_end_the_worker() {
    assert_works_with("exec \"$0\" >/dev/full 2>/dev/full");
}

#[test]
fn a_refused_publish_does_not_keep_the_worker_longer_than_its_timeout() {
    let queues = Queues::new("full while stopping");
    let full = [("x-max-length", amiquip::AmqpValue::LongInt(0))];
    let reject = [("x-overflow", broker::header("reject-publish"))];
    let arguments = full.into_iter().chain(reject).map(|(name, value)| (name.to_string(), value)).collect();
    queues.declare_with(&queues.sent(), &arguments);
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut worker = start(&queues, &portal.webhook(), &[("SHUTDOWN_TIMEOUT", "1")]);
    queues.publish_task(&field_text("task-1"));
    worker.await_log("does not take messages", PATIENCE);
    let started = Instant::now();
    worker.signal("TERM");
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    assert_the_last_line_is(&worker, ": task-1");
    queues.await_count(&queues.input(), 1, PATIENCE);
}

#[test]
fn an_unsettled_task_is_named_even_when_the_broker_hangs() {
    let queues = Queues::new("unsettled with a hanging broker");
    let relay = Relay::to(RabbitMq::from_env().address());
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
    let port = relay.port().to_string();
    let changes = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port), ("SHUTDOWN_TIMEOUT", "1")];
    let mut worker = start(&queues, &portal.webhook(), &[&changes[..], &[("RABBITMQ_HEARTBEAT", "60")]].concat());
    queues.publish_task(&field_text("task-1"));
    gate.await_waiting(1, PATIENCE);
    relay.hold(Direction::ToServer);
    relay.hold(Direction::ToClient);
    worker.signal("TERM");
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    assert_the_last_line_is(&worker, "stopped with 1 unsettled task(s)");
}

#[test]
fn an_unsettled_task_is_named_even_when_the_broker_went_away_before() {
    let queues = Queues::new("unsettled without a broker");
    let relay = Relay::to(RabbitMq::from_env().address());
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
    let port = relay.port().to_string();
    let changes = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port), ("SHUTDOWN_TIMEOUT", "1")];
    let mut worker = start(&queues, &portal.webhook(), &changes);
    queues.publish_task(&field_text("task-1"));
    gate.await_waiting(1, PATIENCE);
    relay.refuse();
    relay.cut();
    worker.await_log("no session with RabbitMQ", PATIENCE);
    worker.signal("TERM");
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    assert_the_last_line_is(&worker, "stopped with 1 unsettled task(s)");
}

#[test]
fn a_task_that_was_created_and_could_not_be_recorded_is_named_in_the_last_line() {
    let queues = Queues::new("created and not recorded");
    let relay = Relay::to(RabbitMq::from_env().address());
    let (tasks, gate) = (Tasks::new(), Gate::closed());
    let portal = Portal::holding_creates(&tasks, &gate);
    let port = relay.port().to_string();
    let changes = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port), ("BITRIX_REQUEST_TIMEOUT", "2")];
    let mut worker = start(&queues, &portal.webhook(), &changes);
    queues.publish_task(&field_text("task-1"));
    gate.await_waiting(1, PATIENCE);
    relay.refuse();
    relay.cut();
    worker.await_log("no session with RabbitMQ", PATIENCE);
    worker.signal("TERM");
    worker.await_log("a second Ctrl+C ends at once", PATIENCE);
    gate.open();
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    assert_the_last_line_is(&worker, "stopped with 1 unsettled task(s)");
    assert_eq!(tasks.markers(), ["task-1"]);

    relay.accept();
    worker.start_again();
    queues.await_count(&queues.sent(), 1, PATIENCE);
    // Its checklists have to wait for requests that may still be under way at the portal.
    eventually("the follow-up", PATIENCE, || tasks.syncs().len() == 1);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}
