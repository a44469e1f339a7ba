//! What a reconciliation cannot know: messages that others hold, a worker that is not asked, an engine or a target that
//! does not answer. Nothing of that is called lost, or nothing is unlocked.

use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use task_creator::parked::Selection;
use task_creator::parked::entry::ParkedEntry;
use task_creator::parked::replay::{self, Observer, Plan, Step};

use super::*;

/// A replay that waits with a message in its hands.
struct Holds {
    holds: Sender<()>,
    until: Receiver<()>,
}

impl Observer for Holds {
    fn may_go(&mut self) -> bool {
        let _ = self.holds.send(());
        let _ = self.until.recv();
        false
    }

    fn told(&mut self, _: &ParkedEntry, _: Step, _: Option<&str>) {}
}

#[test]
fn what_a_replay_holds_is_not_lost() {
    let scene = Scene::set("held", &[]);
    scene.engine.target().lock(ID, WORKER_ID);
    scene.age();
    parked::put(&scene.queues, &[parked::parked(&field_text(ID), "REQUEST_ERROR", "no", &scene.queues.input())]);
    let (config, (_stopper, stop)) = (scene.setup().config, stop::signal());
    let selection = Selection::all();
    let plan = Plan { selection, limit: None, selected: None, held_at_most: replay::LONGEST, dry_run: false };
    thread::scope(|scope| {
        let ((holds, is_held), (_end, until)) = (bounded(1), bounded(0));
        scope.spawn(|| replay::run(&config, &stop, &plan, &mut Holds { holds, until }).expect("it ends"));
        is_held.recv_timeout(PATIENCE).expect("it holds the message");
        let report = scene.reconciled();
        assert_eq!((report.counts.unknown, report.counts.lost), (1, 0), "{report:#?}");
        assert!(report.items[0].text.contains("somebody else reads"), "{report:#?}");
        run(&["trace", ID, "--browse"], &scene.settings).ended_with(3).has("somebody else reads");
    });
    assert_eq!(scene.reconciled().counts.parked, 1, "it can be seen again");
}

#[test]
fn a_worker_that_cannot_be_asked_may_have_it_so_nothing_is_unlocked() {
    let scene = Scene::set("not asked", &[]);
    scene.lost();
    let _worker = scene.worker();
    let told = scene.report(REPAIR);
    says(&told, "lost", "none", 1);
    let text = told.0["items"][0]["text"].as_str().unwrap_or_default();
    assert!(text.contains("a worker that was not asked may have it: set MONITOR_ADDR"), "{text}");
    assert_eq!(scene.engine.target().fetchable(), Vec::<&str>::new());
}

#[test]
fn a_target_that_does_not_answer_leaves_it_open() {
    let scene = Scene::set("silent", &[]);
    scene.lost();
    let order = scene.portal.order(Fault::before(ANY_REQUEST, What::refuse(503, "DOWN", "")));
    says(&scene.report(REPAIR), "unknown", "none", 3);
    scene.portal.clear(&order);
    says(&scene.report(ALL), "lost", "would_unlock", 1);
}

#[test]
fn without_an_engine_or_a_worker_id_it_says_what_to_set() {
    let mut scene = Scene::set("settings", &[("CAMUNDA_WORKER_ID", "")]);
    run(&["reconcile"], &scene.settings).ended_with(1).has("set CAMUNDA_WORKER_ID");
    scene.come(ID);
    scene.queues.await_count(&scene.queues.input(), 1, PATIENCE);
    let (told, code) = scene.report(ALL);
    assert_eq!((&told["checked"], code), (&json!(1), Some(0)), "the message names it: {told:#}");
    scene.bridge = None;
    scene.engine.order(Fault::before(ANY_CALL, What::refuse(503, "DOWN", "")));
    run(&["reconcile"], &scene.settings).ended_with(1).has("Camunda: http status 503");
    let without: Vec<_> = scene.settings.iter().filter(|(name, _)| !name.starts_with("CAMUNDA")).cloned().collect();
    run(&["reconcile"], &without).ended_with(1).has("set CAMUNDA_URL");
}

#[test]
fn an_unlock_that_the_engine_refuses_is_said_and_an_interrupt_ends_the_wait_for_the_bridge() {
    let mut scene = Scene::set("refused", &[]);
    scene.lost();
    let call = format!("POST {ROOT}/external-task/{ID}/unlock");
    let order = scene.engine.order(Fault::before(call, What::refuse(403, "RestException", "no right")));
    says(&scene.report(REPAIR), "lost", "failed", 1);
    scene.engine.clear(&order);
    scene.bridge = None;
    let mut repair = Worker::run(&[&["reconcile"], REPAIR].concat(), &scene.settings);
    repair.await_output("reconcile: unlocked in Camunda: task=task-1 system=bitrix24 class=lost age=36", PATIENCE);
    repair.signal("INT");
    assert_eq!(repair.wait(PATIENCE).code(), Some(130), "it waited for the bridge: {}", repair.output());
    assert_eq!(scene.engine.target().fetchable(), [ID]);
}
