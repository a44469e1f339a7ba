//! What is shown of a lane, from fabricated facts.

use std::sync::Arc;

use super::*;
use crate::config::Config;
use crate::lane::control::{Control, Pause};
use crate::lane::notices::LastParked;
use crate::message::{Task, now_ms};
use crate::monitor::attention;
use crate::rabbitmq::queues::Found;
use crate::stats::Stats;
use crate::systems::{Created, Failure, Found as TaskFound, Handler, Missing};

/// Is never asked.
struct Idle;

impl Handler for Idle {
    fn visible_within(&self) -> Option<Duration> {
        None
    }

    fn find(&self, _: &[&Task]) -> Vec<Result<TaskFound, Failure>> {
        Vec::new()
    }

    fn create(&self, _: &[Missing]) -> Vec<Result<Created, Failure>> {
        Vec::new()
    }
}

fn lane() -> LaneHandle {
    let config = Config::read(|name: &str| (name == "RABBITMQ_PASSWORD").then(|| "secret".to_owned()));
    LaneHandle {
        name: "email",
        target: "e-mail by smtp.example".into(),
        queues: Queues::of("email", &config.expect("right settings")),
        control: Control::default(),
        stats: Arc::new(Stats::default()),
        handler: Arc::new(Idle),
        last_parked: LastParked::default(),
    }
}

const WORKS: Snapshot = Snapshot {
    has_session: true,
    is_consuming: true,
    in_alarm: false,
    stopping: false,
    paused: None,
    target_away_for: None,
    waiting: 0,
    in_pool: 0,
    unsettled: Vec::new(),
    waiting_for_room: 0,
    numbers: Numbers { taken: 0, retrying: 0, in_hand: 0, oldest: None },
};

fn look(ready: u32, consumers: u32) -> Look {
    Look { found: Some(Found { ready, consumers }), checked_at: Some(Utc::now()), waits_for: None }
}

/// The lane with these facts, an hour after the start of the worker.
fn view(lane: &LaneHandle, snapshot: Option<Snapshot>, looks: [Look; 3]) -> LaneView {
    let now = (Instant::now(), Utc::now());
    let (obstacle, rate) = (lane.stats.condition.shown(), vec![0; 60]);
    Facts { lane, snapshot, obstacle, looks, rate, started_at: now.1 - Duration::from_secs(3600), now }.view()
}

const CONSUMED: fn() -> [Look; 3] = || [look(3, 1), look(0, 1), look(120, 0)];

fn started() -> LaneHandle {
    let lane = lane();
    lane.stats.condition.start();
    lane
}

/// It has waited for so many seconds.
fn waits(seconds: u64) -> Snapshot {
    let oldest = Instant::now().checked_sub(Duration::from_secs(seconds));
    Snapshot { numbers: Numbers { taken: 2, oldest, ..Numbers::default() }, ..WORKS }
}

fn acknowledged(lane: &LaneHandle, seconds_ago: u64) {
    lane.stats.last_ack_time.set(now_ms() - seconds_ago * 1000);
}

#[test]
fn a_lane_that_works_shows_its_numbers_and_is_ready() {
    let lane = started();
    acknowledged(&lane, 5);
    let view = view(&lane, Some(waits(10)), CONSUMED());
    assert_eq!((view.state, view.ready, view.not_ready_because.as_deref()), (LaneState::Works, true, None));
    assert_eq!((view.waiting.queue, view.waiting.taken, view.oldest_waiting_seconds), (Some(3), 2, Some(10)));
    assert_eq!((view.consumers, view.queues.sent_messages, view.queues.retry_messages), (Some(1), Some(120), Some(0)));
    assert!(attention::all(&[view], &[], 0, 0).is_empty());
}

#[test]
fn a_lane_without_a_consumer_at_rabbitmq_is_not_ready_whatever_it_says_itself() {
    let lane = started();
    let because = |snapshot, looks| view(&lane, snapshot, looks).not_ready_because.expect("not ready");
    assert_eq!(because(Some(WORKS), [look(0, 0), look(0, 1), look(0, 0)]), "no consumer at email.queue");
    assert_eq!(because(Some(WORKS), [look(0, 1), look(0, 0), look(0, 0)]), "no consumer at email.retry.queue");
    let unknown = "RabbitMQ does not say whether email.queue has a consumer";
    assert_eq!(because(Some(WORKS), [Look::default(); 3]), unknown);
    assert_eq!(because(None, CONSUMED()), "the lane does not answer");
    let careful = Snapshot { is_consuming: false, ..WORKS };
    assert_eq!(because(Some(careful), CONSUMED()), "it does not consume email.queue yet");
    assert_eq!(because(Some(Snapshot { stopping: true, ..WORKS }), CONSUMED()), "the worker stops");
}

#[test]
fn a_lane_is_stalled_when_something_waits_and_nothing_is_acknowledged_for_two_minutes() {
    let lane = started();
    acknowledged(&lane, 300);
    assert_eq!(view(&lane, Some(waits(60)), CONSUMED()).state, LaneState::Works);
    let stalled = view(&lane, Some(waits(200)), CONSUMED());
    assert_eq!((stalled.state, stalled.ready), (LaneState::Stalled, false));
    assert_eq!(stalled.reason.as_deref(), Some("messages wait, and none was acknowledged for 3m20s"));
    // Acks flow, although one task takes long.
    acknowledged(&lane, 1);
    assert_eq!(view(&lane, Some(waits(200)), CONSUMED()).state, LaneState::Works);
    // Nothing was ever acknowledged, and messages that nobody takes wait in the queue.
    lane.stats.last_ack_time.set(0);
    let untaken = Look { waits_for: Some(Duration::from_secs(121)), ..look(5, 1) };
    let stalled = view(&lane, Some(WORKS), [untaken, look(0, 1), look(0, 0)]);
    assert_eq!((stalled.state, stalled.ready), (LaneState::Stalled, false));
}

#[test]
fn a_paused_lane_says_who_why_and_until_when_and_is_ready_as_long_as_nothing_waits_for_long() {
    let lane = started();
    let condition = &lane.stats.condition;
    condition.stands(Obstacle::Paused, "maintenance", Some(Duration::from_secs(900)));
    let (now, reason) = (Instant::now(), "maintenance".to_owned());
    let pause = Pause { by: "control".into(), reason, since: now, until: Some(now + Duration::from_secs(900)) };
    let paused = |snapshot| Some(Snapshot { paused: Some(pause.clone()), ..snapshot });
    let shown = view(&lane, paused(waits(100)), CONSUMED());
    assert_eq!((shown.state, shown.ready, shown.reason.as_deref()), (LaneState::Paused, true, Some("maintenance")));
    assert_eq!((shown.paused_by.as_deref(), shown.paused_until.is_some()), (Some("control"), true));
    assert_eq!(shown.next_try_in_seconds, None);
    let late = view(&lane, paused(waits(200)), CONSUMED());
    assert!(!late.ready && late.not_ready_because.is_some_and(|why| why.ends_with(": maintenance")));
    let texts: Vec<String> = attention::all(&[shown], &[], 0, 0).into_iter().map(|one| one.text).collect();
    assert_eq!(texts, ["email is paused for less than a minute: maintenance"]);
}

#[test]
fn a_target_that_is_away_is_told_with_its_reason_and_the_next_try() {
    let lane = started();
    lane.stats.condition.stands(Obstacle::Target, "401: the password is not accepted", Some(Duration::from_secs(60)));
    let away = view(&lane, Some(waits(10)), CONSUMED());
    assert_eq!((away.state, away.ready), (LaneState::TargetAway, true));
    assert!(away.next_try_in_seconds.is_some_and(|seconds| (58..=60).contains(&seconds)));
    let away = LaneView { lasts: Some(Duration::from_secs(725)), unanswered: 2, ..away };
    let all = attention::all(&[away], &[], 3, 1);
    let all: Vec<_> = all.iter().map(|one| (one.code, one.system, one.text.as_str())).collect();
    assert_eq!(
        all,
        [
            ("target_away", Some("email"), "email waits 12 min: 401: the password is not accepted"),
            ("lost", None, "the last reconciliation has found 1 lost task"),
            ("unanswered", Some("email"), "email has 2 finished tasks not answered to Camunda"),
            ("log_lines_lost", None, "the log lacks 3 lines; stderr says why"),
        ]
    );
}

#[test]
fn a_lane_that_does_not_answer_is_shown_from_its_counters() {
    let lane = lane();
    assert_eq!(view(&lane, None, [Look::default(); 3]).state, LaneState::Starting);
    lane.stats.condition.stands(Obstacle::NoSession, "connection refused", Some(Duration::from_secs(8)));
    let away = view(&lane, None, [Look::default(); 3]);
    assert_eq!((away.state, away.reason.as_deref()), (LaneState::NoSession, Some("connection refused")));
    assert_eq!((away.in_hand, away.retrying, away.consumers, away.waiting.queue), (None, None, None, None));
    assert_eq!(away.not_ready_because.as_deref(), Some("no session with RabbitMQ: connection refused"));
}
