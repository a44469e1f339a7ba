//! The loop as its users see it: a message goes in, a task is at the portal, a user finishes it, the answer is in the
//! responses queue.

use crate::support::*;
use serde_json::{Value, json};

#[test]
fn a_message_of_the_field_form_becomes_a_task_a_record_and_a_response() {
    let queues = Queues::new("field form");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let worker = Worker::start(&queues, &portal.webhook(), &[]);

    queues.publish_task(&field_text("field-1"));
    queues.await_count(&queues.sent(), 1, PATIENCE);
    let record: Value = queues.peek_all(&queues.sent())[0].json();
    assert_eq!(record["processing_status"], "success");
    assert_eq!(record["response_data"]["success"], true);

    tasks.set("field-1", "UF_RESULT_ANSWER", json!("26"));
    tasks.set_status("field-1", 5);
    queues.await_count(&queues.responses(), 1, PATIENCE);
    let response: Value = queues.peek_all(&queues.responses())[0].json();
    assert_eq!(response["processing_status"], "completed_by_tracker");
    let task = &response["response_data"]["result"]["task"];
    assert_eq!(task["ufResultExpected"], "1");
    assert_eq!(task["ufResultAnswer_text"], "ДА");
    drop(worker);
    Audit::take(&queues, tasks.markers()).with_finished(tasks.finished()).assert_holds();
}
