//! Refusals inside a batch: each message gets its own outcome and its own reason, and no neighbour pays for it. It
//! knows what the portal refuses and what is parked, not how a refusal is read.

use serde_json::json;
use task_creator::sandbox::{Fault, What};

use super::*;

/// Refusals of a task that need no state of the portal.
const REFUSED: [(&str, &str, &str); 4] = [
    ("task-2", "4", "Базовая задача не найдена"),
    ("task-3", "8", "Действие не выполнено"),
    ("task-5", "256", "Доступ запрещён"),
    ("task-7", "1048578", "Неверные данные"),
];

/// The parked messages: id, cause and text.
fn parked(scene: &Scene) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let parked = scene.queues.peek_all(&scene.queues.errors());
    let mut parked: Vec<_> = parked
        .iter()
        .map(|message| message.json())
        .map(|body| {
            (text(&body["original_message"]["task_id"]), text(&body["error_type"]), text(&body["error_message"]))
        })
        .collect();
    parked.sort();
    parked
}

#[test]
fn a_refusal_in_a_batch_parks_its_message_with_its_own_reason_and_no_other() {
    let mut waiting = messages(10);
    waiting[4]["variables"]["group_id"] = json!("66");
    let mut scene = Scene::waiting("refusals in a batch", &waiting, &IN_BATCHES);
    scene.sandbox.change(|rules| rules.denied_groups = [66].into());
    for (id, code, text) in REFUSED {
        scene.sandbox.order(Fault::before(ADD, What::refuse(400, code, text)).when(move |call| creates(call, id)));
    }
    let calls = Calls::of(&scene.sandbox);
    scene.start();
    scene.queues.await_count(&scene.queues.errors(), 5, PATIENCE);
    scene.end(5, 0);

    let denied = ("task-4", "ERROR_TASK_CREATE_ACCESS_DENIED", "Нет прав на создание задачи в группе");
    let mut expected = [&REFUSED[..], &[denied]].concat();
    expected.sort();
    for ((id, cause, why), (expected, code, text)) in parked(&scene).iter().zip(expected) {
        assert_eq!((id.as_str(), cause.as_str()), (expected, "REQUEST_ERROR"));
        assert!(why.contains(code) && why.contains(text), "{id}: {why}");
        let creates: Vec<(String, bool)> = calls.about(id).into_iter().filter(|(method, _)| method == ADD).collect();
        assert_eq!(creates, [(ADD.into(), true), (ADD.into(), false)], "{id}: in the batch, and once alone");
    }
    assert!(!scene.worker.log().contains("pausing"), "the lane goes on");
}

#[test]
fn a_message_that_gets_its_neighbours_error_is_created_once() {
    let mut waiting = messages(6);
    waiting[1]["variables"]["group_id"] = json!("66");
    let mut scene = Scene::waiting("stale error", &waiting, &IN_BATCHES);
    scene.sandbox.change(|rules| rules.denied_groups = [66].into());
    let stale = What::refuse(400, "ERROR_CORE", "Нет прав на создание задачи в группе");
    let fault = scene.sandbox.order(Fault::before(ADD, stale).when(|call| creates(call, "task-3")).times(1));
    let calls = Calls::of(&scene.sandbox);
    scene.start();
    scene.queues.await_count(&scene.queues.errors(), 1, PATIENCE);
    scene.end(5, 0);
    assert_eq!(fault.struck(), 1);
    let about: Vec<(String, bool)> = calls.about("task-3");
    let first = about.iter().position(|(method, _)| method == ADD).expect("a create");
    assert!(about[first].1, "in a batch: {about:?}");
    let (again, looks) = about[first + 1..].split_last().expect("called again");
    assert_eq!(again, &(ADD.to_owned(), false), "{about:?}");
    assert!(!looks.is_empty() && looks.iter().all(|(method, _)| method == LIST), "{about:?}");
}

/// The portal mixes errors up: a command that lacks a right gets the error of an earlier command.
#[test]
fn a_message_is_parked_with_its_own_reason_though_the_batch_gave_it_another_one() {
    let mut waiting = messages(4);
    // No user has this number, so the task goes to the default responsible.
    waiting[0]["metadata"]["extensionProperties"]["assigneeId"] = json!("5000");
    waiting[2]["variables"]["group_id"] = json!("66");
    let mut scene = Scene::waiting("another one's reason", &waiting, &IN_BATCHES);
    scene.sandbox.change(|rules| rules.denied_groups = [66].into());
    scene.start();
    scene.queues.await_count(&scene.queues.errors(), 1, PATIENCE);
    scene.end(3, 0);
    let parked = parked(&scene);
    assert_eq!((parked[0].0.as_str(), parked[0].1.as_str()), ("task-2", "REQUEST_ERROR"));
    assert!(parked[0].2.contains("ERROR_TASK_CREATE_ACCESS_DENIED"), "{}", parked[0].2);
    let task = scene.task("task-0");
    assert_eq!(scene.sandbox.field(task.id, "RESPONSIBLE_ID"), Some("1".into()));
}
