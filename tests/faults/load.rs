//! A restart under load: a long queue does not fill the worker's memory. The portal is that of the soak test, with its
//! simulated users.

use std::time::Duration;

use task_creator::sandbox::webhook_url;

use crate::support::*;
use crate::target::Target;

const QUEUED: usize = 10_000;
const TRACKED: usize = 5_000;
/// For each part of the test; a machine without other load needs a tenth.
const AN_AGE: Duration = Duration::from_secs(180);
/// Less than twice what it uses with replies as long as a real portal's.
const LARGEST_KIB: usize = 160 * 1024;

#[test]
#[ignore = "takes a minute"]
fn a_restart_with_ten_thousand_queued_and_five_thousand_tracked_takes_them_in_its_stride() {
    let queues = Queues::new("mountain");
    let target = Target::start(1);
    let changes = [("BITRIX_RATE", "0"), ("BITRIX_REQUEST_TIMEOUT", "2"), ("HEARTBEAT_INTERVAL", "2")];
    let mut worker = Worker::start(&queues, &webhook_url(target.address()), &changes);
    let messages: Vec<_> = (0..QUEUED + TRACKED).map(|number| seed_message(&format!("task-{number}"))).collect();
    queues.publish_tasks(&messages);
    let mut largest = 0;
    let mut watch = |worker: &Worker, what: &str, done: &dyn Fn() -> bool| {
        eventually(what, AN_AGE, || {
            largest = largest.max(worker.memory_kib());
            done()
        });
    };
    watch(&worker, "a third of it", &|| target.created() >= TRACKED);
    worker.kill();
    let left = QUEUED + TRACKED - target.created();
    worker.start_again();
    watch(&worker, "every task", &|| target.created() >= messages.len());
    watch(&worker, "the end of the queue", &|| queues.count(&queues.input()) + queues.count(&queues.retry()) == 0);
    target.work(100);
    let finished = target.finished().len();
    watch(&worker, "every answer", &|| queues.count(&queues.responses()) >= finished);
    worker.stop();
    println!("killed with {left} left; the worker used {largest} KiB at most");
    assert!(left > 0 && largest < LARGEST_KIB, "{left} left, {largest} KiB");
    let audit = Audit::take(&queues, target.markers()).after_faults(QUEUED);
    audit.with_finished(target.finished()).assert_holds();
}
