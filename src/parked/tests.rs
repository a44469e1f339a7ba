//! Which messages are meant, and how they are told apart.

use super::entry::ParkedEntry;
use super::*;
use crate::rabbitmq::Headers;

fn entry(body: &str) -> ParkedEntry {
    ParkedEntry::read(body.as_bytes().to_vec(), Headers::new(), None)
}

fn parked(id: &str, error: &str) -> ParkedEntry {
    entry(&format!(
        r#"{{"original_message": {{"task_id": "{id}", "process_instance_id": "process-7", "variables": {{"title": "Счёт № 15"}}}},
            "error_type": "REQUEST_ERROR", "system": "bitrix24", "error_message": "{error}"}}"#
    ))
}

#[test]
fn a_message_is_selected_by_all_that_is_given() {
    let message = parked("task-1", "http status 400: user 17");
    let includes = |selection: Selection| selection.includes(&message);
    assert!(includes(Selection::all()));
    assert!(includes(Selection::of_ids(["task-1".into()])) && !includes(Selection::of_ids(["task-".into()])));
    assert!(includes(Selection::of_cause("request_error".into())) && !includes(Selection::of_cause("REQUEST".into())));
    let text = |text: &str| Selection { text: Some(text.into()), ..Selection::all() };
    for there in ["TASK-1", "счёт", "process-7", "USER 17", "request_"] {
        assert!(includes(text(there)), "{there}");
    }
    assert!(!includes(text("user 18")));
    let system =
        |system: &str| Selection { system: Some(system.into()), ..Selection::of_cause("REQUEST_ERROR".into()) };
    assert!(includes(system("bitrix24")) && !includes(system("email")));
    let etag = |etag: String| Selection { etags: Some([etag].into()), ..Selection::of_ids(["task-1".into()]) };
    assert!(includes(etag(message.etag())) && !includes(etag(parked("task-1", "another").etag())));
}

#[test]
fn a_mark_survives_a_requeue_and_tells_a_second_parking_from_the_first() {
    let body = br#"{"task_id": "task-1"}"#.to_vec();
    let with = |headers: Headers| ParkedEntry::read(body.clone(), headers, Some(7)).etag();
    let mut headers: Headers = [("error_type", "INVALID_MESSAGE"), ("source_queue", "q")].into_iter().collect();
    let before = with(headers.clone());
    headers.set("x-delivery-count", 3);
    headers.set("x-may-exist", true);
    assert_eq!(with(headers.clone()), before);
    headers.set("error_message", "another");
    assert_ne!(with(headers), before);
    assert_ne!(parked("task-1", "a").etag(), parked("task-1", "b").etag());
}
