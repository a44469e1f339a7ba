//! Creates that are found again: by either marker, when the custom fields are written late or never, and when the
//! method has used up its time at the portal. It knows when the portal writes what, not how a task is looked up.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use task_creator::sandbox::{CustomFields, Fault, OperatingLimit, What};

use super::*;

const MARKER: &str = "UF_CAMUNDA_ID_EXTERNAL_TASK";

#[test]
fn a_task_whose_custom_fields_come_late_or_never_is_created_once() {
    for (custom_fields, test) in [
        (CustomFields::After(Duration::from_secs(4)), "late marker"),
        (CustomFields::Never, "marker that never comes"),
        (CustomFields::AtOnce, "marker at once"),
    ] {
        let mut scene = Scene::at(test, Limits::default(), |rules| rules.custom_fields = custom_fields, &[]);
        let created = scene.sandbox.order(Fault::after(ADD, What::Hang(None)).times(1));
        scene.queues.publish_task(&message("task-0"));
        scene.kill_at(&created);
        scene.worker.start_again();
        scene.end(1, 0);
        assert_eq!((scene.calls(ADD), scene.sandbox.tasks().len()), (1, 1), "{test}");
        scene.worker.await_log("exists already, not created again: task=task-0", PATIENCE);
    }
}

#[test]
fn an_old_task_that_has_only_one_of_the_two_markers_is_found() {
    let mut scene = Scene::new("one marker", &[]);
    let put = |field: &str, id: &str| {
        let fields = json!({"TITLE": "made earlier", "RESPONSIBLE_ID": "1", field: id});
        scene.sandbox.put(fields.as_object().expect("an object"))
    };
    let old = [put(MARKER, "task-0"), put("XML_ID", "task-1")];
    scene.queues.publish_tasks(&messages(3));
    scene.end(3, 0);
    assert_eq!((scene.calls(ADD), scene.sandbox.tasks().len()), (1, 3));
    assert_eq!([scene.task("task-0").id, scene.task("task-1").id], old);
}

/// Waits until a second has just started. The portal sends times in whole seconds and cuts off the rest, so a worker
/// that takes such a time literally comes too early.
fn await_the_start_of_a_second() {
    eventually("the start of a second", PATIENCE, || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        since.subsec_millis() < 100
    });
}

#[test]
fn a_method_that_has_used_up_its_time_is_not_called_again_too_early() {
    let operating = OperatingLimit {
        limit: Duration::from_millis(150),
        window: Duration::from_millis(3500),
        // A call that comes too early is blocked for longer than this test waits.
        penalty: 10 * PATIENCE,
        charge: Duration::ZERO,
    };
    let mut scene = Scene::at("held method", Limits::default(), |rules| rules.operating = operating, &[]);
    scene.sandbox.order(Fault::before(ADD, What::Delay(Duration::from_millis(200))).times(1));
    await_the_start_of_a_second();
    let messages = messages(4);
    scene.queues.publish_task(&messages[0]);
    scene.await_records(1);
    scene.queues.publish_task(&messages[1]);
    scene.worker.await_log("pausing, messages stay in their queue", PATIENCE);
    scene.worker.await_log("OPERATION_TIME_LIMIT", PATIENCE);
    scene.queues.publish_tasks(&messages[2..]);
    scene.end(4, 0);
    assert_eq!((scene.calls(ADD), scene.sandbox.tasks().len()), (5, 4), "one call was refused");
}
