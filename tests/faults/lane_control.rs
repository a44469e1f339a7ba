//! Commands to a lane while it works (`lane::control`), on a real RabbitMQ. The tests run a lane of the library, since
//! no command of the program uses it yet.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::json;
use task_creator::lane::control::{Control, Snapshot};
use task_creator::lane::{reader, tracking};
use task_creator::message::{Record, Task};
use task_creator::systems::{Created, Failure, Found, Handler, Missing, Progress, Tracker};

use crate::panics::with_changed_lane;
use crate::support::*;

/// Creates every task.
struct Creates;

impl Handler for Creates {
    fn visible_within(&self) -> Option<Duration> {
        None
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|_| Ok(Found::Nothing(Instant::now()))).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        missing.iter().map(|_| Ok(Created::new(json!({"success": true}), "1".into()))).collect()
    }
}

/// Finds every task finished.
struct Finished;

impl Tracker for Finished {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        records.iter().map(|_| Ok(Progress::Finished(json!({"status": "5"})))).collect()
    }
}

fn snapshot(control: &Control) -> Snapshot {
    control.snapshot(PATIENCE).expect("the lane answers")
}

/// Waits until `run` has set it.
fn of(control: &OnceLock<Control>) -> &Control {
    eventually("the lane", PATIENCE, || control.get().is_some());
    control.get().expect("it is there")
}

#[test]
fn a_paused_lane_starts_nothing_until_it_is_resumed() {
    let queues = Queues::new("paused by command");
    let control = OnceLock::new();
    let work = || {
        let control = of(&control);
        eventually("a session", PATIENCE, || snapshot(control).has_session);
        control.pause("test", "maintenance", None).and_then(|done| done.within(PATIENCE)).expect("it is paused");
        queues.publish_tasks(&["a", "b"].map(seed_message));
        eventually("two that wait", PATIENCE, || snapshot(control).waiting == 2);
        let paused = snapshot(control);
        assert_eq!(paused.paused.map(|pause| pause.reason).as_deref(), Some("maintenance"));
        assert_eq!((paused.in_pool, queues.count(&queues.sent())), (0, 0));
        control.resume().and_then(|done| done.within(PATIENCE)).expect("it is resumed");
        queues.await_count(&queues.sent(), 2, PATIENCE);
        eventually("nothing unsettled", PATIENCE, || snapshot(control).unsettled.is_empty());
        assert!(control.pause("test", "a moment", Some(Duration::from_secs(1))).is_ok());
        queues.publish_task(&seed_message("c"));
        queues.await_count(&queues.sent(), 3, PATIENCE);
        assert_eq!(snapshot(control).paused, None);
    };
    with_changed_lane(&queues, &[], work, |lane| {
        control.get_or_init(|| lane.control.clone());
        reader::run(lane, &Creates).expect("RabbitMQ lets us in");
    });
    Audit::take(&queues, ["a", "b", "c"].map(String::from).to_vec()).assert_holds();
}

#[test]
fn a_lane_without_rabbitmq_carries_out_commands_too() {
    let queues = Queues::new("control without RabbitMQ");
    let control = OnceLock::new();
    let work = || {
        let control = of(&control);
        assert!(control.pause("test", "nobody there", None).is_ok());
        let snapshot = snapshot(control);
        assert!(!snapshot.has_session && snapshot.paused.is_some(), "{snapshot:?}");
    };
    with_changed_lane(&queues, &[("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", "1")], work, |lane| {
        control.get_or_init(|| lane.control.clone());
        reader::run(lane, &Creates).expect("what passes by itself is waited for");
    });
}

#[test]
fn a_tracker_sweeps_at_once_when_it_is_asked() {
    let queues = Queues::new("poll now");
    queues.declare(&queues.sent());
    let control = OnceLock::new();
    let work = || {
        let control = of(&control);
        let record = json!({
            "original_message": seed_message("task-1"),
            "response_data": {"result": {"task": {"id": "1"}}, "success": true},
            "processing_status": "success",
        });
        queues.publish(&queues.sent(), record.to_string(), amiquip::FieldTable::new());
        eventually("the response, long before the next sweep", PATIENCE, || {
            control.sweep_now();
            queues.count(&queues.responses()) == 1
        });
    };
    with_changed_lane(&queues, &[("HEARTBEAT_INTERVAL", "3600")], work, |lane| {
        control.get_or_init(|| lane.control.clone());
        tracking::run(lane, Box::new(Finished));
    });
}
