//! SIGKILL between a create and its follow-up, with a portal that behaves as its source shows. In the end every task is
//! there once, and every checklist is complete, in order and not doubled, whatever people did to it meanwhile. Each
//! test has its run without a kill. It knows what people see and what the portal was asked, nothing of the worker's
//! inside.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use task_creator::sandbox::{ChecklistItem, Fault, SandboxTask, What};

use crate::portal_as_it_is::checklists::{Lists, as_read, with_checklists};
use crate::portal_as_it_is::{ADD, IN_BATCHES, ITEM, ITEMS, LONG, SYNC, Scene};
use crate::support::{PATIENCE, eventually};

const TASKS: usize = 60;

/// With a name and a line that occur twice, as in production.
fn lists() -> Lists {
    let list = |name: &str, lines: &[&str]| (name.to_owned(), lines.iter().map(|line| line.to_string()).collect());
    vec![
        list("Документы", &["Подпись", "Печать", "Подпись"]),
        list("Сроки", &["Оплата до 30 дней", "Приёмка"]),
        list("Документы", &["Устав"]),
    ]
}

/// The moments of the kills: the call that hangs then, before or after its effect. A task has nine parts.
fn moments() -> [Fault; 6] {
    let hang = || What::Hang(None);
    [
        Fault::after(ADD, hang()).from_nth(4).times(1),
        Fault::before(ITEM, hang()).from_nth(1).times(1),
        Fault::after(ITEM, hang()).from_nth(17).times(1),
        Fault::before(ITEM, hang()).from_nth(35).times(1),
        Fault::after(ITEM, hang()).from_nth(60).times(1),
        Fault::before(SYNC, hang()).from_nth(5).times(1),
    ]
}

/// The result in the end, with all that only a kill can change.
#[derive(Debug, PartialEq)]
struct Seen {
    creates: u64,
    complete: usize,
    /// Tasks that lacked something when the worker was killed.
    half_done: bool,
    read_back: bool,
}

fn sixty_tasks(test: &str, moments: Vec<Fault>, changes: &[(&str, &str)]) -> Seen {
    let mut scene = Scene::new(test, changes);
    let messages: Vec<Value> = (0..TASKS).map(|number| with_checklists(&format!("task-{number}"), &lists())).collect();
    let (kills, mut half_done) = (moments.len(), 0);
    let mut shares = messages.chunks(TASKS / 6);
    for moment in moments {
        let fault = scene.sandbox.order(moment);
        scene.queues.publish_tasks(shares.next().expect("a share for each kill"));
        scene.kill_at(&fault);
        half_done += scene.sandbox.tasks().iter().filter(|task| as_read(task) != lists()).count();
        scene.worker.start_again();
    }
    shares.for_each(|share| scene.queues.publish_tasks(share));
    scene.end(TASKS, kills * TASKS);
    let is_complete = |task: &SandboxTask| as_read(task) == lists();
    let (complete, others): (Vec<SandboxTask>, Vec<SandboxTask>) =
        scene.sandbox.tasks().into_iter().partition(is_complete);
    others.iter().for_each(|task| println!("{test}: {:?} {:?}", task.marker, as_read(task)));
    let complete = complete.len();
    Seen { creates: scene.calls(ADD), complete, half_done: half_done > 0, read_back: scene.calls(ITEMS) > 0 }
}

#[test]
fn sixty_tasks_whose_worker_is_killed_six_times_have_all_their_checklists_once() {
    for (changes, test) in [(&[][..], "half done"), (&IN_BATCHES, "half done in batches")] {
        let (control, killed) = thread::scope(|scope| {
            let control = scope.spawn(|| sixty_tasks(&format!("{test}: control"), Vec::new(), changes));
            let killed = sixty_tasks(test, moments().into(), changes);
            (control.join().expect("the control run fails"), killed)
        });
        let all = TASKS as u64;
        assert_eq!(control, Seen { creates: all, complete: TASKS, half_done: false, read_back: false }, "{test}");
        assert_eq!(killed, Seen { creates: all, complete: TASKS, half_done: true, read_back: true }, "{test}");
    }
}

/// Kills the worker before the call of this number for a part of the task's checklists, which come in one batch.
fn killed_before_part(test: &str, part: u64) -> (Scene, SandboxTask) {
    let mut scene = Scene::new(test, &IN_BATCHES);
    let fault = scene.sandbox.order(Fault::before(ITEM, What::Hang(None)).from_nth(part).times(1));
    scene.queues.publish_task(&with_checklists("task-0", &lists()));
    scene.kill_at(&fault);
    let task = scene.task("task-0");
    assert_eq!(task.checklist.len() as u64, part - 1, "what was added before the kill");
    (scene, task)
}

fn item<'a>(task: &'a SandboxTask, title: &str, parent: u64) -> &'a ChecklistItem {
    let found = task.checklist.iter().find(|item| item.title == title && item.parent == parent);
    found.unwrap_or_else(|| panic!("{title} is missing in {:?}", task.checklist))
}

fn tick(scene: &Scene, task: u64, item: u64) {
    let ticked = scene.sandbox.call("task.checklistitem.complete", json!({"TASKID": task, "ITEMID": item}));
    assert!(ticked.is_ok_and(|answer| answer.is_ok()), "item {item} of task {task}");
}

#[test]
fn what_people_did_to_a_half_done_checklist_stays_and_the_rest_is_added() {
    // Three headings, the first list's lines, and one of the second's.
    let (mut scene, task) = killed_before_part("half done and changed", 8);
    let [documents, terms] = ["Документы", "Сроки"].map(|name| item(&task, name, 0).id);
    let [stamp, payment] = [("Печать", documents), ("Оплата до 30 дней", terms)];
    let [stamp, payment] = [stamp, payment].map(|(title, parent)| item(&task, title, parent).id);
    scene.sandbox.rename_checklist_item(task.id, stamp, "Печать и дата");
    tick(&scene, task.id, payment);
    scene.sandbox.rename_checklist_item(task.id, terms, "Сроки и деньги");
    scene.sandbox.add_checklist_item(task.id, documents, "Своё");
    let own = scene.sandbox.add_checklist_item(task.id, 0, "Свой список").expect("the task is there");
    scene.sandbox.add_checklist_item(task.id, own, "Подпись");
    scene.worker.start_again();
    scene.end(1, 1);

    let task = scene.task("task-0");
    let list = |name: &str, lines: &[&str]| (name.to_owned(), lines.iter().map(|line| line.to_string()).collect());
    let expected: Lists = vec![
        list("Документы", &["Подпись", "Печать и дата", "Подпись", "Своё"]),
        list("Сроки и деньги", &["Оплата до 30 дней", "Приёмка"]),
        list("Документы", &["Устав"]),
        list("Свой список", &["Подпись"]),
    ];
    assert_eq!(as_read(&task), expected);
    let ticked: Vec<u64> = task.checklist.iter().filter(|item| item.complete).map(|item| item.id).collect();
    assert_eq!(ticked, [payment]);
}

#[test]
fn a_checklist_that_was_complete_when_the_worker_was_killed_is_left_alone() {
    let mut scene = Scene::new("complete and changed", &[]);
    let fault = scene.sandbox.order(Fault::before(SYNC, What::Hang(None)).times(1));
    scene.queues.publish_task(&with_checklists("task-0", &lists()));
    scene.kill_at(&fault);
    let (task, added) = (scene.task("task-0"), scene.calls(ITEM));
    assert_eq!(as_read(&task), lists());
    for (number, item) in task.checklist.iter().enumerate() {
        scene.sandbox.rename_checklist_item(task.id, item.id, &format!("переписано {number}"));
        tick(&scene, task.id, item.id);
    }
    let changed = scene.task("task-0");
    scene.worker.start_again();
    scene.end(1, 1);
    assert_eq!((scene.task("task-0"), scene.calls(ITEM)), (changed, added));
}

/// A portal finishes a batch even when its client has gone.
#[test]
fn a_checklist_that_the_portal_was_still_adding_when_the_worker_came_back_is_not_doubled() {
    let mut scene = Scene::new("still at it", &IN_BATCHES);
    let hold = scene.sandbox.order(Fault::before(ITEM, What::Delay(LONG)).from_nth(6).times(1));
    scene.queues.publish_task(&with_checklists("task-0", &lists()));
    eventually("the middle of the batch", PATIENCE, || hold.struck() > 0);
    scene.worker.kill();
    scene.worker.start_again();
    scene.worker.await_log("exists already, not created again: task=task-0", PATIENCE);
    // A worker that reads the checklist back at once sees it half done.
    let started = Instant::now();
    eventually("a moment", PATIENCE, || scene.calls(ITEMS) > 0 || started.elapsed() > Duration::from_secs(1));
    scene.sandbox.release();
    scene.end(1, 1);
    assert_eq!(as_read(&scene.task("task-0")), lists());
}
