//! SIGKILL on the way back to Camunda, on the way through the retry queue and on the way into the error queue; and a
//! kill whenever a certain message is worked on. As in `kills.rs`, each test has its run without the kill.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::kills::{Fault, ID, Scene, Seen, UNDISTURBED, both, first, relay};
use crate::support::portal::is_sweep;
use crate::support::*;

/// A worker that has one record, whose task is finished, and that sweeps when it is started.
fn scene_before_the_sweep(script: impl Fn(&Call, &Tasks) -> Option<Answer> + Send + Sync + 'static) -> Scene {
    let mut scene = Scene::set(relay(), &[], script);
    scene.publish();
    scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
    scene.worker.stop();
    scene.tasks.set(ID, "UF_RESULT_ANSWER", json!("26"));
    scene.tasks.set_status(ID, 5);
    scene
}

/// How often the portal was asked for the task, and all else that is seen.
fn swept(mut scene: Scene, fault: Fault, responses: usize) -> (usize, Seen) {
    let seen = scene.seen_at_the_end(fault, 0, responses);
    (scene.portal.count_of(is_sweep), seen)
}

const ANSWERED: Seen = Seen { records: 0, responses: 1, ..UNDISTURBED };

#[test]
fn a_kill_in_the_middle_of_a_sweep_costs_another_check_of_the_task() {
    let (control, killed) = both(|fault| {
        let (gate, sweeps) = (Gate::closed(), AtomicUsize::new(0));
        let mut scene = scene_before_the_sweep({
            let gate = gate.clone();
            move |call, _| {
                if is_sweep(call) && sweeps.fetch_add(1, Ordering::Relaxed) == 0 {
                    gate.wait();
                }
                None
            }
        });
        scene.worker.start_again();
        gate.await_waiting(1, PATIENCE);
        if fault == Fault::Kill {
            scene.kill_and_restart();
        }
        gate.open();
        swept(scene, fault, 1)
    });
    assert_eq!(control, (1, ANSWERED));
    assert_eq!(killed, (2, ANSWERED));
}

#[test]
fn a_kill_between_the_response_and_its_confirm_doubles_a_response_at_most() {
    let (control, killed) = both(|fault| {
        let mut scene = scene_before_the_sweep(|_, _| None);
        let responses = scene.queues.responses();
        scene.relay.when_seen(Direction::ToServer, publish_to(&responses), Then::Hold(Direction::ToClient));
        scene.worker.start_again();
        scene.queues.await_count(&responses, 1, PATIENCE);
        match fault {
            Fault::Kill => scene.kill_and_restart(),
            Fault::None => scene.relay.pass(),
        }
        swept(scene, fault, fault.copies())
    });
    assert_eq!(control, (1, ANSWERED));
    assert_eq!(killed, (2, Seen { responses: 2, ..ANSWERED }));
}

#[test]
fn a_kill_between_the_publish_for_a_retry_and_its_confirm_leaves_one_task_and_one_record() {
    let (control, killed) = both(|fault| {
        let first = first(creates);
        let mut scene = Scene::set(relay(), &[], {
            move |call, _| first(call).then(|| Answer::refused(500, "INTERNAL_SERVER_ERROR", "down"))
        });
        let retry = scene.queues.retry();
        let seen = scene.relay.when_seen(Direction::ToServer, publish_to(&retry), Then::Hold(Direction::ToClient));
        scene.publish();
        seen.wait(PATIENCE);
        match fault {
            Fault::Kill => scene.kill_and_restart(),
            Fault::None => scene.relay.pass(),
        }
        scene.seen_at_the_end(fault, 1, 0)
    });
    assert_eq!(control, Seen { look_ups: 2, creates: 2, ..UNDISTURBED });
    assert_eq!(killed, Seen { look_ups: 3, creates: 2, ..UNDISTURBED });
}

/// A worker whose portal answers every create with this failure.
fn scene_of_failures(changes: &[(&str, &str)], answer: Answer) -> Scene {
    Scene::set(relay(), changes, move |call, _| creates(call, ID).then(|| answer.clone()))
}

fn parked(scene: &mut Scene, fault: Fault, count: usize) -> (Seen, Vec<u64>) {
    scene.queues.await_count(&scene.queues.errors(), count, PATIENCE);
    let seen = scene.seen_at_the_end(fault, 0, 0);
    let parked = scene.queues.peek_all(&scene.queues.errors());
    (seen, parked.iter().filter_map(|parked| parked.json()["attempts"].as_u64()).collect())
}

#[test]
fn a_kill_while_a_message_waits_for_its_next_try_gives_it_no_attempt_back() {
    let (control, killed) = both(|fault| {
        let failure = Answer::refused(500, "INTERNAL_SERVER_ERROR", "down");
        let mut scene = scene_of_failures(&[("RETRY_ATTEMPTS", "2"), ("RETRY_DELAY", "2")], failure);
        scene.publish();
        scene.worker.await_log("failed 1 of 2 times", PATIENCE);
        let (input, retry) = (scene.queues.input(), scene.queues.retry());
        scene.queues.await_count(&input, 0, PATIENCE);
        if fault == Fault::Kill {
            scene.kill_and_restart();
            scene.queues.await_consumers(&retry, 1, PATIENCE);
        }
        parked(&mut scene, fault, 1)
    });
    let lost = Seen { look_ups: 3, creates: 2, syncs: 0, records: 0, responses: 0, parked: 1 };
    assert_eq!(control, (lost, vec![2]));
    // It was delivered before, so it is looked up twice.
    assert_eq!(killed, (Seen { look_ups: 4, creates: 2, syncs: 0, records: 0, responses: 0, parked: 1 }, vec![2]));
}

#[test]
fn a_kill_between_parking_a_message_and_its_ack_parks_it_twice_at_most() {
    let (control, killed) = both(|fault| {
        let mut scene = scene_of_failures(&[], Answer::refused(400, "ERROR_CORE", "no"));
        let hold = Then::Hold(Direction::ToServer);
        let confirmed = Then::when(Direction::ToClient, CONFIRM, hold);
        let seen = scene.relay.when_seen(Direction::ToServer, publish_to(&scene.queues.errors()), confirmed);
        scene.publish();
        seen.wait(PATIENCE);
        match fault {
            Fault::Kill => scene.kill_and_restart(),
            Fault::None => scene.relay.pass(),
        }
        parked(&mut scene, fault, fault.copies())
    });
    // Each try has one create for the assignee and one for the default responsible, with a look-up in between.
    let refused = Seen { look_ups: 2, creates: 2, syncs: 0, records: 0, responses: 0, parked: 1 };
    assert_eq!(control, (refused, vec![1]));
    assert_eq!(killed, (Seen { look_ups: 5, creates: 4, syncs: 0, records: 0, responses: 0, parked: 2 }, vec![1, 1]));
}

/// The death of the process uses up no attempt, so such a message is never parked: it is worked on again after every
/// start, with the messages that came with it.
#[test]
fn a_message_on_which_the_process_dies_each_time_is_lost_as_little_as_the_others() {
    const KILLS: usize = 5;
    let gate = Gate::closed();
    let mut scene = Scene::set(relay(), &[("BITRIX_REQUEST_TIMEOUT", "0.5")], {
        let gate = gate.clone();
        move |call, _| {
            if looks_up(call, ID) {
                gate.wait();
            }
            None
        }
    });
    let others = (0..10).map(|number| seed_message(&format!("other-{number}")));
    let messages: Vec<_> = [seed_message(ID)].into_iter().chain(others).collect();
    scene.queues.publish_tasks(&messages);
    for kill in 0..KILLS {
        // The requests of the killed workers still wait.
        gate.await_waiting(kill + 1, PATIENCE);
        scene.kill_and_restart();
    }
    gate.open();
    let queues = &scene.queues;
    eventually("the end of all work", PATIENCE, || {
        scene.tasks.markers().len() == messages.len()
            && queues.count(&queues.input()) == 0
            && queues.count(&queues.sent()) >= messages.len()
    });
    scene.worker.stop();
    let audit = Audit::take(&scene.queues, scene.tasks.markers());
    audit.after_faults(KILLS * messages.len()).assert_holds();
}
