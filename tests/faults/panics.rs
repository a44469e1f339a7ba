//! A panic in a handler or in a tracker. No message is known that makes the real ones panic (`hostile.rs` looks for
//! one). So these tests run a lane of the library, on a real RabbitMQ, with a handler and a tracker that panic.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use task_creator::config::Config;
use task_creator::lane::control::Control;
use task_creator::lane::notices::Notices;
use task_creator::lane::{Lane, reader, tracking};
use task_creator::message::{Record, Task};
use task_creator::queues;
use task_creator::rabbitmq::publisher::LargestBody;
use task_creator::stats::Stats;
use task_creator::stop;
use task_creator::systems::routing::Routes;
use task_creator::systems::{Batch, Created, Failure, FollowUp, Found, Handler, Missing, Progress, Tracker};

use crate::support::*;

/// Panics over every task whose name starts with `ill`, and over every follow-up.
struct Fragile;

impl Handler for Fragile {
    fn next_batch(&self) -> Batch {
        Batch::Nagle(10)
    }

    fn preflight(&self) -> Result<(), Failure> {
        panic!("in the look before the first task")
    }

    fn visible_within(&self) -> Option<Duration> {
        None
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|_| Ok(Found::Nothing(Instant::now()))).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        assert!(!missing.iter().any(|missing| missing.task.id.starts_with("ill")), "over a task");
        let created = |missing: &Missing| {
            let reply = json!({"result": {"task": {"id": "1"}}, "success": true, "of": missing.task.id});
            Ok(Created::new(reply, "1".into()))
        };
        missing.iter().map(created).collect()
    }

    fn follow_up(&self, _: &[(Task, Created)]) -> Vec<FollowUp> {
        panic!("in the follow-up")
    }
}

/// Panics in the first sweep, and finds everything finished in the next one.
#[derive(Default)]
struct FragileTracker {
    looks: usize,
}

impl Tracker for FragileTracker {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        self.looks += 1;
        assert!(self.looks > 1, "in the first sweep");
        records.iter().map(|_| Ok(Progress::Finished(json!({"status": "5"})))).collect()
    }
}

/// Runs `work` beside a lane's threads and ends them.
pub fn with_lane(queues: &Queues, work: impl FnOnce(), run: impl Fn(&Lane) + Sync) -> Stats {
    with_changed_lane(queues, &[], work, run)
}

/// The same with other settings.
pub fn with_changed_lane(
    queues: &Queues,
    changes: &[(&str, &str)],
    work: impl FnOnce(),
    run: impl Fn(&Lane) + Sync,
) -> Stats {
    let mut settings = worker::settings(queues, "http://127.0.0.1:1/rest/1/none");
    settings.extend(changes.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    settings.push(("RETRY_ATTEMPTS".into(), "2".into()));
    settings.push(("HANDLER_THREADS".into(), "1".into()));
    let value = |name: &str| settings.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let config = Config::read(value).expect("the settings of a test are right");
    let (stats, (stopper, stop)) = (Stats::default(), stop::signal());
    let lane = Lane {
        name: "bitrix24",
        looks_up: true,
        queues: queues::Queues::of("bitrix24", &config),
        routes: Routes::default(),
        config: &config,
        stats: &stats,
        largest: LargestBody::default(),
        control: Control::default(),
        notices: Notices::default(),
        pulse: Default::default(),
        stop,
    };
    thread::scope(|scope| {
        // It is raised even if `work` fails, or the scope would never end.
        let _stopper = stopper;
        scope.spawn(|| run(&lane));
        work();
    });
    stats
}

#[test]
fn a_panic_in_a_handler_costs_that_message_an_attempt_and_the_others_nothing() {
    let queues = Queues::new("panic in a handler");
    let names = ["well-1", "ill-1", "well-2", "ill-2", "well-3"];
    queues.publish_tasks(&names.map(seed_message));
    let work = || {
        queues.await_count(&queues.sent(), 3, PATIENCE);
        queues.await_count(&queues.errors(), 2, PATIENCE);
        queues.await_count(&queues.input(), 0, PATIENCE);
    };
    with_lane(&queues, work, |lane| reader::run(lane, &Fragile).expect("RabbitMQ lets us in"));
    let parked = queues.peek_all(&queues.errors());
    for parked in parked.iter().map(Message::json) {
        assert_eq!((&parked["error_type"], &parked["attempts"]), (&json!("RETRY_LIMIT_EXCEEDED"), &json!(2)));
        assert!(parked["error_message"].as_str().is_some_and(|text| text.contains("the handler panicked")), "{parked}");
    }
    Audit::take(&queues, vec!["well-1".into(), "well-2".into(), "well-3".into()]).assert_holds();
}

#[test]
fn a_panic_in_a_tracker_costs_a_sweep() {
    let queues = Queues::new("panic in a tracker");
    queues.declare(&queues.sent());
    let record = json!({
        "original_message": seed_message("task-1"),
        "response_data": {"result": {"task": {"id": "1"}}, "success": true},
        "processing_status": "success",
    });
    queues.publish(&queues.sent(), record.to_string(), amiquip::FieldTable::new());
    let work = || queues.await_count(&queues.responses(), 1, PATIENCE);
    with_lane(&queues, work, |lane| tracking::run(lane, Box::new(FragileTracker::default())));
    assert_eq!(queues.count(&queues.sent()), 0);
}
