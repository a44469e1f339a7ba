//! The whole portal is down, refuses us or does not exist: the lane waits for it, messages stay in their queue with all
//! their attempts, and the work goes on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::failures::{server_error, start};
use crate::support::*;

/// While the portal is down, creates get `down_answer`; the lane pauses and goes on when the portal is back.
fn assert_the_lane_waits(down_answer: Answer, messages: usize) {
    let queues = Queues::new("outage");
    let tasks = Tasks::new();
    let down = Arc::new(AtomicBool::new(true));
    let portal = Portal::start({
        let (tasks, down) = (tasks.clone(), down.clone());
        move |call| match call.method.as_str() {
            "tasks.task.add" if down.load(Ordering::Relaxed) => down_answer.clone(),
            _ => tasks.answer(call),
        }
    });
    let changes = [("RETRY_ATTEMPTS", "2"), ("BITRIX_REQUEST_TIMEOUT", "0.5")];
    let mut worker = start(&queues, &portal.webhook(), &changes);
    let messages: Vec<_> = (0..messages).map(|number| seed_message(&format!("task-{number}"))).collect();
    queues.publish_tasks(&messages);
    worker.await_log("pausing, messages stay in their queue", PATIENCE);
    // More tries than a message has attempts, each after a longer pause: 0.2, 0.4 and 0.8 seconds.
    let tries = || portal.count("tasks.task.add");
    let of_outage = tries();
    let started = Instant::now();
    eventually("three more tries", PATIENCE, || tries() >= of_outage + 3);
    assert!(started.elapsed() > Duration::from_secs(1), "a hot loop: {:?}", started.elapsed());
    assert_eq!(queues.count(&queues.errors()), 0);
    down.store(false, Ordering::Relaxed);
    queues.await_count(&queues.sent(), messages.len(), PATIENCE);
    worker.await_log("the target answers again", PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn three_messages_failing_in_a_row_pause_the_lane_and_park_nothing() {
    assert_the_lane_waits(server_error(), 3);
}

#[test]
fn a_webhook_that_is_not_let_in_pauses_the_lane_and_parks_nothing() {
    assert_the_lane_waits(Answer::refused(401, "NO_AUTH_FOUND", "Wrong authorization data"), 1);
}

#[test]
fn a_portal_that_refuses_connections_pauses_the_lane_and_parks_nothing() {
    let queues = Queues::new("portal away");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let relay = Relay::to(portal.address());
    relay.refuse();
    let webhook = format!("http://{}/rest/1/portal-canary-token", relay.address());
    let mut worker = start(&queues, &webhook, &[("RETRY_ATTEMPTS", "1")]);
    queues.publish_tasks(&[field_text("task-1"), field_text("task-2")]);
    worker.await_log("pausing, messages stay in their queue", PATIENCE);
    relay.accept();
    queues.await_count(&queues.sent(), 2, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_portal_that_was_blocked_by_hand_is_left_alone_and_its_messages_stay() {
    let queues = Queues::new("overload limit");
    let tasks = Tasks::new();
    let down = Arc::new(AtomicBool::new(true));
    let portal = Portal::start({
        let (tasks, down) = (tasks.clone(), down.clone());
        move |call| match down.load(Ordering::Relaxed) {
            true => Answer::refused(503, "OVERLOAD_LIMIT", "REST API is blocked due to overload"),
            false => tasks.answer(call),
        }
    });
    let mut worker = start(&queues, &portal.webhook(), &[("RETRY_ATTEMPTS", "1")]);
    queues.publish_tasks(&[seed_message("task-1"), seed_message("task-2"), seed_message("task-3")]);
    worker.await_log("trying again in 300s", PATIENCE);
    worker.stop();
    assert!(portal.requests().len() <= 4, "{} requests", portal.requests().len());
    queues.await_count(&queues.input(), 3, PATIENCE);

    down.store(false, Ordering::Relaxed);
    worker.start_again();
    queues.await_count(&queues.sent(), 3, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

/// Nobody ever answers there.
fn assert_waits_for(webhook: &str) {
    let queues = Queues::new("portal nowhere");
    let mut worker = start(&queues, webhook, &[("RETRY_ATTEMPTS", "1")]);
    queues.publish_tasks(&[field_text("task-1"), field_text("task-2")]);
    worker.await_log("pausing, messages stay in their queue", PATIENCE);
    worker.stop();
    assert_eq!(queues.count(&queues.errors()), 0);
    queues.await_count(&queues.input(), 2, PATIENCE);
    Audit::take(&queues, Vec::new()).may_wait("there is no portal").assert_holds();
}

#[test]
fn a_portal_whose_name_nobody_knows_pauses_the_lane_and_parks_nothing() {
    assert_waits_for("http://no-such-host.invalid/rest/1/portal-canary-token");
}

#[test]
fn a_portal_in_a_black_hole_pauses_the_lane_and_parks_nothing() {
    assert_waits_for("http://203.0.113.1:81/rest/1/portal-canary-token");
}
