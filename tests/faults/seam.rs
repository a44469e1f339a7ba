//! Results that a system may give and Bitrix24 never gives: finished at once, a create that may have happened, a job
//! that failed. The tests run a lane of the library, on a real RabbitMQ, with systems made for this.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use amiquip::AmqpProperties;
use anyhow::anyhow;
use serde_json::{Value, json};
use task_creator::lane::{reader, tracking};
use task_creator::message::{Record, Task};
use task_creator::systems::{Created, Failure, Found, Handler, Missing, Progress, Tracker, create};

use crate::panics::with_lane;
use crate::support::*;

/// After this time the target shows its tasks.
const VISIBLE: Duration = Duration::from_millis(200);

/// A target that keeps the ids of its tasks, in the order in which they were created.
struct Target {
    tasks: Mutex<Vec<String>>,
    /// Its result for the first create of each task.
    says: fn(&Task) -> Result<Created, Failure>,
}

impl Target {
    fn saying(says: fn(&Task) -> Result<Created, Failure>) -> Target {
        Target { tasks: Mutex::default(), says }
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<String>> {
        self.tasks.lock().expect("no thread has panicked")
    }
}

impl Handler for Target {
    fn visible_within(&self) -> Option<Duration> {
        Some(VISIBLE)
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        let asked = Instant::now();
        let there = |task: &&Task| match self.tasks().contains(&task.id) {
            true => Found::There(Created::new(json!({"of": task.id}), "found".into())),
            false => Found::Nothing(asked),
        };
        tasks.iter().map(|task| Ok(there(task))).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        create::one_by_one(missing, |task| {
            self.tasks().push(task.id.clone());
            (self.says)(task)
        })
    }
}

fn finished_at_once(task: &Task) -> Result<Created, Failure> {
    Ok(Created::finished(json!({"sum": 3, "of": task.id}), "1".into()))
}

#[test]
fn a_task_finished_at_once_is_answered_and_never_recorded() {
    let queues = Queues::new("finished at once");
    let target = Target::saying(finished_at_once);
    let messages = ["a", "b", "c"].map(field_message);
    queues.publish_tasks(&messages);
    let work = || {
        queues.await_count(&queues.responses(), 3, PATIENCE);
        queues.await_count(&queues.input(), 0, PATIENCE);
    };
    let stats = with_lane(&queues, work, |lane| reader::run(lane, &target).expect("RabbitMQ lets us in"));
    assert_eq!((queues.count(&queues.sent()), queues.count(&queues.input())), (0, 0));
    for response in queues.peek_all(&queues.responses()) {
        let body = response.json();
        let id = body["original_message"]["task_id"].as_str().expect("a task id");
        assert_eq!(body["response_data"], json!({"sum": 3, "of": id, "success": true}));
        assert_eq!(body["processing_status"], "completed_by_tracker");
        assert_eq!(response.properties.message_id().as_deref(), Some(id));
        assert_eq!(body["original_queue"], queues.input());
        assert!(body["timestamp"].is_number() && body["processed_at"].is_number());
        assert!(messages.iter().any(|message| response.text().contains(&message.to_string())), "{body}");
    }
    let counted = [&stats.successful_tasks, &stats.tracker.moved_to_responses, &stats.sent_to_success_queue];
    assert_eq!(counted.map(|counter| counter.get()), [3, 3, 0]);
    Audit::take(&queues, target.tasks().clone()).assert_holds();
}

#[test]
fn a_create_that_may_have_happened_is_looked_for_and_not_repeated() {
    let queues = Queues::new("outcome unknown");
    let target = Target::saying(|_| Err(Failure::OutcomeUnknown { error: anyhow!("no answer"), visible_in: VISIBLE }));
    queues.publish_task(&field_message("a"));
    let work = || {
        queues.await_count(&queues.sent(), 1, PATIENCE);
        queues.await_count(&queues.retry(), 0, PATIENCE);
    };
    let stats = with_lane(&queues, work, |lane| reader::run(lane, &target).expect("RabbitMQ lets us in"));
    assert_eq!(*target.tasks(), ["a"]);
    assert_eq!((stats.returned.get(), stats.duplicates_prevented.get()), (1, 1));
    Audit::take(&queues, target.tasks().clone()).assert_holds();
}

/// The tasks that the tracker was told of in one call, and the number of responses in the queue at that time.
type Heard = Vec<(HashSet<String>, usize)>;

/// Reports the same progress for every task, and notes what it is told.
struct Says {
    progress: fn(&Record) -> Progress,
    responses: (RabbitMq, String),
    heard: Arc<Mutex<Heard>>,
}

impl Tracker for Says {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        records.iter().map(|record| Ok((self.progress)(record))).collect()
    }

    fn answered(&mut self, task_ids: &[&str]) {
        let (rabbitmq, queue) = &self.responses;
        let count = Broker::connect_to(rabbitmq.clone()).state(queue).expect("the queue is there").ready;
        let ids = task_ids.iter().map(|id| id.to_string()).collect();
        self.heard.lock().expect("no thread has panicked").push((ids, count));
    }
}

/// Sweeps a sent queue with records of these tasks until it is empty. Returns what the tracker was told.
fn sweep(queues: &Queues, tasks: &[&str], progress: fn(&Record) -> Progress) -> Heard {
    queues.declare(&queues.sent());
    let properties = AmqpProperties::default().with_delivery_mode(2);
    let record = |task: &&str| {
        let record =
            json!({"original_message": seed_message(task), "response_data": {}, "processing_status": "success"});
        (record.to_string().into_bytes(), properties.clone())
    };
    let records: Vec<_> = tasks.iter().map(record).collect();
    queues.broker().publish(&queues.sent(), &records).expect("the sent queue takes records");
    let heard = Arc::new(Mutex::new(Heard::new()));
    let responses = (queues.broker().rabbitmq().clone(), queues.responses());
    let tracker = || Box::new(Says { progress, responses: responses.clone(), heard: Arc::clone(&heard) });
    let out = || queues.count(&queues.responses()) + queues.count(&queues.errors());
    let work = || eventually("an end", PATIENCE, || out() > 0 && queues.count(&queues.sent()) == 0);
    with_lane(queues, work, |lane| tracking::run(lane, tracker()));
    assert_eq!(queues.count(&queues.sent()), 0);
    let heard = heard.lock().expect("no thread has panicked");
    heard.clone()
}

#[test]
fn the_tracker_is_told_of_a_response_when_it_is_confirmed() {
    let queues = Queues::new("answered");
    let heard = sweep(&queues, &["a", "b"], |record| Progress::Finished(json!({"of": record.task.id})));
    assert_eq!(heard, [(HashSet::from(["a".to_owned(), "b".to_owned()]), 2)]);
    let responses: Vec<Value> = queues.peek_all(&queues.responses()).iter().map(Message::json).collect();
    let data: Vec<&Value> = responses.iter().map(|response| &response["response_data"]).collect();
    assert_eq!(data, [&json!({"of": "a", "success": true}), &json!({"of": "b", "success": true})]);
}

#[test]
fn two_records_of_a_failed_job_that_are_far_apart_are_parked_once() {
    let queues = Queues::new("failed far apart");
    // So many that the first is confirmed before the last is checked.
    let others: Vec<String> = (0..600).map(|number| format!("other-{number}")).collect();
    let tasks: Vec<&str> = ["a"].into_iter().chain(others.iter().map(String::as_str)).chain(["a"]).collect();
    sweep(&queues, &tasks, |_| Progress::Failed(anyhow!("division by zero")));
    assert_eq!(queues.count(&queues.errors()), 601);
}

#[test]
fn a_job_that_failed_is_parked_once_with_its_reason_and_can_be_replayed() {
    let queues = Queues::new("failed");
    let heard = sweep(&queues, &["a", "a"], |_| Progress::Failed(anyhow!("division by zero")));
    assert_eq!((heard.len(), queues.count(&queues.responses())), (0, 0));
    let parked = queues.peek_all(&queues.errors());
    assert_eq!(parked.len(), 1);
    let parked = parked[0].json();
    assert_eq!((&parked["error_type"], &parked["error_message"]), (&json!("TASK_FAILED"), &json!("division by zero")));
    // The original message is parked, so a replay does the task once more.
    assert_eq!(parked["original_message"], seed_message("a"));
    assert_eq!(parked["source_queue"], queues.input());
}
