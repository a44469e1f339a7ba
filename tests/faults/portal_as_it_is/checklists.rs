//! Checklists as a person reads them: in the message's order, complete, and nothing twice, whatever happens to single
//! calls. It knows messages and what is read at the portal.

use std::time::Instant;

use serde_json::json;
use task_creator::sandbox::{Fault, SandboxTask, What};

use super::*;

/// Headings, each with its lines.
pub type Lists = Vec<(String, Vec<String>)>;

pub fn with_checklists(id: &str, lists: &Lists) -> Value {
    let lists: Vec<Value> = lists.iter().map(|(name, items)| json!({"name": name, "items": items})).collect();
    let mut message = message(id);
    message["metadata"]["extensionProperties"]["checklists"] = Value::from(lists).to_string().into();
    message
}

/// What a person sees, from top to bottom.
pub fn as_read(task: &SandboxTask) -> Lists {
    let under = |parent: u64| task.checklist.iter().filter(move |item| item.parent == parent);
    let lines = |list: u64| under(list).map(|item| item.title.clone()).collect();
    under(0).map(|list| (list.title.clone(), lines(list.id))).collect()
}

fn long_lists() -> Lists {
    // Neither in rising nor in falling order.
    let lines = |name: &str| (0..12).map(|line| format!("{name} {}", (line * 5) % 12)).collect();
    ["Сроки", "Документы"].into_iter().map(|name| (name.to_owned(), lines(name))).collect()
}

#[test]
fn long_checklists_are_read_in_the_messages_order() {
    for (changes, test) in [(&[][..], "order"), (&IN_BATCHES, "order in batches")] {
        let waiting: Vec<Value> =
            (0..4).map(|number| with_checklists(&format!("task-{number}"), &long_lists())).collect();
        let mut scene = Scene::waiting(test, &waiting, changes);
        let calls = Calls::of(&scene.sandbox);
        scene.start();
        scene.end(4, 0);
        for task in scene.sandbox.tasks() {
            assert_eq!(as_read(&task), long_lists());
        }
        let batched = calls.all().iter().filter(|call| call.method == ITEM && call.batched).count();
        // Half a dozen batches have no items, and more on a busy machine.
        let each = batched as u64 / scene.calls("batch").max(1);
        assert!(changes.is_empty() || each > 5, "{batched} items in {} batches", scene.calls("batch"));
        assert_eq!((scene.calls(ITEM), scene.calls(ITEMS)), (4 * 26, 0), "nothing has to be read back");
    }
}

#[test]
fn checklists_that_are_added_by_plain_calls_are_not_upside_down() {
    // Texts that a batch would change are sent in plain calls.
    let lists: Lists = ["$result[c0]", "$total[c0]", "$error[c1]"]
        .into_iter()
        .map(|name| (name.to_owned(), vec![format!("{name} раз"), format!("{name} два")]))
        .collect();
    let mut scene = Scene::new("plain items", &[]);
    let calls = Calls::of(&scene.sandbox);
    scene.queues.publish_task(&with_checklists("task-0", &lists));
    scene.end(1, 0);
    assert_eq!(as_read(&scene.task("task-0")), lists);
    assert!(calls.all().iter().all(|call| call.method != ITEM || !call.batched));
}

fn short_lists() -> Lists {
    let lines = |lines: &[&str]| lines.iter().map(|line| line.to_string()).collect();
    vec![
        ("Документы".into(), lines(&["Подпись", "Печать", "Подпись"])),
        ("Сроки".into(), lines(&["Оплата до 30 дней", "Приёмка"])),
        ("Документы".into(), lines(&["Устав"])),
    ]
}

#[test]
#[ignore = "takes long"]
fn a_checklist_whose_calls_get_no_answer_is_completed_and_not_doubled() {
    for (order, test) in [
        (Fault::before as fn(&'static str, What) -> Fault, "items not done and not answered"),
        (Fault::after as fn(&'static str, What) -> Fault, "items done and not answered"),
    ] {
        let mut scene = Scene::new(test, &[]);
        let fault = scene.sandbox.order(order(ITEM, What::Close).times(3));
        scene.queues.publish_task(&with_checklists("task-0", &short_lists()));
        scene.end(1, 0);
        assert_eq!(as_read(&scene.task("task-0")), short_lists(), "{test}");
        assert_eq!(fault.struck(), 3);
        assert!(scene.calls(ITEMS) > 0, "what is there is read back");
    }
}

#[test]
fn the_missing_one_of_two_lists_with_the_same_name_is_added() {
    let mut scene = Scene::new("the first of two", &IN_BATCHES);
    let unknown = What::refuse(500, "INTERNAL_SERVER_ERROR", "");
    // At first only the last of the three lists is added.
    let fault = scene.sandbox.order(Fault::before(ITEM, unknown).times(2));
    scene.queues.publish_task(&with_checklists("task-0", &short_lists()));
    eventually("the last list", PATIENCE, || fault.struck() == 2 && as_read(&scene.task("task-0")).len() == 1);
    scene.end(1, 0);
    assert_eq!(as_read(&scene.task("task-0")), short_lists());
}

#[test]
fn a_checklist_that_waits_for_its_next_try_does_not_hold_up_a_stop() {
    let mut scene = Scene::new("stop before the next try", &[("BITRIX_REQUEST_TIMEOUT", "5")]);
    let fault = scene.sandbox.order(Fault::before(ITEM, What::Close));
    scene.queues.publish_task(&with_checklists("task-0", &short_lists()));
    scene.worker.await_log("checklists lack", PATIENCE);
    let started = Instant::now();
    scene.worker.stop();
    // The next try would be five seconds after the first.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!((scene.queues.count(&scene.queues.sent()), scene.queues.count(&scene.queues.input())), (1, 1));

    scene.sandbox.clear(&fault);
    scene.worker.start_again();
    scene.end(1, 1);
    assert_eq!(as_read(&scene.task("task-0")), short_lists());
}
