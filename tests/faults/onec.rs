//! 1C whose answers are lost, and SIGKILL at any step between the create of a document and its posting: in the end
//! every document is there once and posted, and Camunda has heard of it. It knows what people see in 1C, nothing of the
//! worker's inside.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::onec::{self, Onec, PASSWORD, USER};
use task_creator::sandbox::{ANY_CALL, Call, Fault, What};

use crate::support::*;

/// A wait of a second stands before each second try.
const LONG: Duration = Duration::from_secs(60);

fn creates(call: &Call) -> bool {
    call.method.starts_with("POST") && call.method.ends_with("%BA%D0%B0")
}

fn posts(call: &Call) -> bool {
    call.method.ends_with("/Post")
}

/// The mapping of the sandbox, with documents that are posted once they are written.
fn mapping() -> TextFile {
    let example = fs::read_to_string("src/systems/onec/mapping.example.json").expect("it is part of the repository");
    let mut mapping: Value = serde_json::from_str(&example).expect("JSON");
    mapping["1c_create_document"]["then"] = "Post".into();
    TextFile::new(&mapping.to_string())
}

/// A document that is answered in the end only: posted or not, its record stays until then.
fn document(number: usize) -> String {
    field_text(&format!("task-{number}")).replacen("bitrix_create_task", "1c_create_document", 1)
}

/// The tasks that have a record.
fn recorded(queues: &Queues) -> BTreeSet<String> {
    let id = |record: &Message| record.json()["original_message"]["task_id"].as_str().map(str::to_owned);
    queues.peek_all(&queues.sent()).iter().filter_map(id).collect()
}

/// Publishes so many documents before each of the faults, with a kill when it strikes or without; returns how many
/// creates 1C was asked for.
fn survives(test: &str, faults: Vec<Fault>, kill: bool) -> usize {
    const SHARE: usize = 5;
    let queues = Queues::of("1c", test);
    let fake = HttpFake::start(0, Onec::default()).expect("loopback has a free port");
    let (url, mapping) = (onec::url(fake.address()), mapping());
    let settings = |sweeps: &'static str| {
        let own = [
            ("ONEC_URL", url.as_str()),
            ("ONEC_USERNAME", USER),
            ("ONEC_PASSWORD", PASSWORD),
            ("ONEC_MAPPING_FILE", mapping.path()),
            ("ONEC_REQUEST_TIMEOUT", "1"),
            ("RETRY_ATTEMPTS", "10"),
            ("RETRY_DELAY", "0.2"),
            ("HEARTBEAT_INTERVAL", sweeps),
        ];
        changed(&queues, "", &own)
    };
    let mut worker = Worker::run(&[], &settings("3600"));
    let (mut published, kills) = (0, if kill { faults.len() } else { 0 });
    for fault in faults {
        let order = fake.order(fault);
        queues.publish_tasks(&(published..published + SHARE).map(document).collect::<Vec<_>>());
        published += SHARE;
        eventually("the fault", PATIENCE, || order.struck() > 0);
        if kill {
            worker.kill();
            fake.clear_all();
            fake.release();
            worker.start_again();
        }
    }
    eventually("every record", LONG, || recorded(&queues).len() == published);
    worker.stop();
    let tasks = fake.target().tasks();
    for task in &tasks {
        assert_eq!(fake.target().of_task(task).map(|object| object["Posted"].clone()), Some(true.into()), "{task}");
        assert!(fake.target().finish(task, "Согласовано"));
    }
    let mut worker = Worker::run(&[], &settings("0.3"));
    queues.await_count(&queues.responses(), published, PATIENCE);
    worker.stop();
    Audit::take(&queues, tasks.clone()).after_faults(kills).with_finished(tasks).assert_holds();
    fake.asked().iter().filter(|asked| asked.method == "POST" && !asked.path.ends_with("/Post")).count() - published
}

#[test]
fn documents_whose_answers_are_lost_are_created_once_and_posted() {
    let fault = |what: What, after: bool, fits: fn(&Call) -> bool| {
        let fault = if after { Fault::after(ANY_CALL, what) } else { Fault::before(ANY_CALL, what) };
        fault.when(fits).from_nth(2).times(2)
    };
    let faults = vec![
        fault(What::Close, true, creates),
        fault(What::Close, false, creates),
        fault(What::Half, true, creates),
        fault(What::html(502, "Bad Gateway"), true, posts),
        fault(What::Reset, false, posts),
    ];
    assert!(survives("1c answers lost", faults, false) > 0, "something was tried again");
}

#[test]
fn documents_of_a_worker_that_is_killed_on_the_way_are_created_once_and_posted() {
    let hang = |after: bool, fits: fn(&Call) -> bool| {
        let what = What::Hang(None);
        let fault = if after { Fault::after(ANY_CALL, what) } else { Fault::before(ANY_CALL, what) };
        fault.when(fits).from_nth(2).times(1)
    };
    let faults = vec![hang(false, creates), hang(true, creates), hang(false, posts), hang(true, posts)];
    assert!(survives("1c killed", faults, true) > 0, "something was tried again");
}

/// The control run: without a fault nothing is tried again.
#[test]
fn documents_without_a_fault_take_one_create_each() {
    let nothing = Fault::before(ANY_CALL, What::Delay(Duration::from_millis(1)));
    assert_eq!(survives("1c control", vec![nothing], false), 0);
}
