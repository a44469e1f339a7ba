//! SIGKILL at every step of a task's way to its record; the way back and the retries are in `later_kills.rs`. Each test
//! runs twice, with the kill and without, and asserts a difference that only the kill can make: a kill test whose
//! control run looks the same proves nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::*;
use serde_json::json;

pub const ID: &str = "task-1";

/// One try after the other without delay, and no sweep but the one at the start.
const QUICK: [(&str, &str); 4] =
    [("BITRIX_RATE", "0"), ("BITRIX_REQUEST_TIMEOUT", "2"), ("RETRY_DELAY", "0.2"), ("HEARTBEAT_INTERVAL", "3600")];

/// What happens in the moment that a test is about.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    Kill,
    None,
}

impl Fault {
    /// How many copies there are of a message whose confirm came and whose ack did not.
    pub fn copies(self) -> usize {
        match self {
            Fault::Kill => 2,
            Fault::None => 1,
        }
    }
}

/// What is seen from outside in the end.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub look_ups: usize,
    pub creates: usize,
    pub syncs: usize,
    pub records: usize,
    pub responses: usize,
    pub parked: usize,
}

/// A worker between a broker and a portal that stop where the test wants it.
pub struct Scene {
    pub queues: Queues,
    pub relay: Arc<Relay>,
    pub tasks: Tasks,
    pub portal: Portal,
    pub worker: Worker,
}

impl Scene {
    /// `script` gets the first word on every call.
    pub fn set(
        relay: Arc<Relay>,
        changes: &[(&str, &str)],
        script: impl Fn(&Call, &Tasks) -> Option<Answer> + Send + Sync + 'static,
    ) -> Scene {
        let queues = Queues::new("kill");
        let tasks = Tasks::new();
        let portal = Portal::start({
            let tasks = tasks.clone();
            move |call| script(call, &tasks).unwrap_or_else(|| tasks.answer(call))
        });
        let port = relay.port().to_string();
        let through_relay = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port)];
        let changes = [&QUICK[..], &through_relay, changes].concat();
        let worker = Worker::start(&queues, &portal.webhook(), &changes);
        queues.await_consumers(&queues.retry(), 1, PATIENCE);
        Scene { queues, relay, tasks, portal, worker }
    }

    pub fn publish(&self) {
        self.queues.publish_task(&field_text(ID));
    }

    /// Kills the worker and starts it again; bytes on their way through the relay are lost.
    pub fn kill_and_restart(&mut self) {
        self.worker.kill();
        self.relay.cut();
        self.relay.pass();
        self.worker.start_again();
    }

    /// Waits for so many records and responses, ends the worker, and audits all messages; the fault may have doubled
    /// some.
    pub fn seen_at_the_end(&mut self, fault: Fault, records: usize, responses: usize) -> Seen {
        self.queues.await_count(&self.queues.sent(), records, PATIENCE);
        self.queues.await_count(&self.queues.responses(), responses, PATIENCE);
        // The follow-up may have to wait for requests of the killed worker.
        eventually("the follow-up", PATIENCE, || records + responses == 0 || !self.tasks.syncs().is_empty());
        self.worker.stop();
        let kills = usize::from(fault == Fault::Kill);
        Audit::take(&self.queues, self.tasks.markers()).after_faults(kills).assert_holds();
        let (queues, portal) = (&self.queues, &self.portal);
        Seen {
            look_ups: portal.count_of(|call| looks_up(call, ID)),
            creates: portal.count_of(|call| creates(call, ID)),
            syncs: self.tasks.syncs().len(),
            records: queues.count(&queues.sent()),
            responses: queues.count(&queues.responses()),
            parked: queues.count(&queues.errors()),
        }
    }
}

/// What is seen without a fault.
pub const UNDISTURBED: Seen = Seen { look_ups: 1, creates: 1, syncs: 1, records: 1, responses: 0, parked: 0 };

pub fn relay() -> Arc<Relay> {
    Arc::new(Relay::to(RabbitMq::from_env().address()))
}

/// The run without the kill and the run with it, at the same time.
pub fn both<S: Send>(run: impl Fn(Fault) -> S + Sync) -> (S, S) {
    thread::scope(|scope| {
        let control = scope.spawn(|| run(Fault::None));
        let killed = run(Fault::Kill);
        (control.join().expect("the control run fails"), killed)
    })
}

/// True for the first call that `kind` is about, and never again.
pub fn first(kind: fn(&Call, &str) -> bool) -> impl Fn(&Call) -> bool {
    let seen = AtomicBool::new(false);
    move |call| kind(call, ID) && !seen.swap(true, Ordering::Relaxed)
}

#[test]
fn a_kill_before_the_look_up_costs_another_look_up() {
    let (control, killed) = both(|fault| {
        let (gate, first) = (Gate::closed(), first(looks_up));
        let mut scene = Scene::set(relay(), &[], {
            let gate = gate.clone();
            move |call, _| {
                if first(call) {
                    gate.wait();
                }
                None
            }
        });
        scene.publish();
        gate.await_waiting(1, PATIENCE);
        if fault == Fault::Kill {
            scene.kill_and_restart();
        }
        gate.open();
        scene.seen_at_the_end(fault, 1, 0)
    });
    assert_eq!(control, UNDISTURBED);
    // One of the killed worker, one that finds nothing, and one more since an invisible create might have been on its
    // way.
    assert_eq!(killed, Seen { look_ups: 3, ..UNDISTURBED });
}

#[test]
fn a_kill_after_the_look_up_and_before_the_create_creates_once() {
    let (control, killed) = both(|fault| {
        let (gate, first) = (Gate::closed(), first(creates));
        let mut scene = Scene::set(relay(), &[], {
            let gate = gate.clone();
            move |call, _| {
                let arrived = first(call);
                if arrived {
                    gate.wait();
                }
                // The request of the killed worker is never carried out.
                (arrived && fault == Fault::Kill).then_some(Answer::Http(Reply::Close))
            }
        });
        scene.publish();
        gate.await_waiting(1, PATIENCE);
        if fault == Fault::Kill {
            scene.kill_and_restart();
        }
        gate.open();
        scene.seen_at_the_end(fault, 1, 0)
    });
    assert_eq!(control, UNDISTURBED);
    assert_eq!(killed, Seen { look_ups: 3, creates: 2, ..UNDISTURBED });
}

#[test]
fn a_kill_while_the_portal_has_yet_to_carry_out_the_create_leaves_one_task() {
    let (control, killed) = both(|fault| {
        let (gate, first, looks) = (Gate::closed(), first(creates), Arc::new(AtomicUsize::new(0)));
        let mut scene = Scene::set(relay(), &[], {
            let (gate, looks) = (gate.clone(), looks.clone());
            move |call, tasks| {
                if first(call) {
                    gate.wait();
                }
                let answer = tasks.answer(call);
                // The create takes effect between the new worker's first look-up, by both fields, and its second one.
                if call.params["filter"]["XML_ID"] == ID && looks.fetch_add(1, Ordering::Relaxed) == 1 {
                    gate.open();
                }
                Some(answer)
            }
        });
        scene.publish();
        gate.await_waiting(1, PATIENCE);
        match fault {
            Fault::Kill => scene.kill_and_restart(),
            Fault::None => gate.open(),
        }
        scene.seen_at_the_end(fault, 1, 0)
    });
    assert_eq!(control, UNDISTURBED);
    assert_eq!(killed, Seen { look_ups: 3, ..UNDISTURBED });
}

#[test]
fn a_kill_after_the_create_and_before_its_reply_leaves_one_task() {
    let (control, killed) = both(|fault| {
        let (gate, first) = (Gate::closed(), first(creates));
        let mut scene = Scene::set(relay(), &[], {
            let gate = gate.clone();
            move |call, tasks| {
                first(call).then(|| {
                    let answer = tasks.answer(call);
                    gate.wait();
                    answer
                })
            }
        });
        scene.publish();
        gate.await_waiting(1, PATIENCE);
        if fault == Fault::Kill {
            scene.kill_and_restart();
        }
        gate.open();
        scene.seen_at_the_end(fault, 1, 0)
    });
    assert_eq!(control, UNDISTURBED);
    assert_eq!(killed, Seen { look_ups: 3, ..UNDISTURBED });
}

#[test]
fn a_kill_after_the_reply_and_before_the_publish_leaves_one_task_and_one_record() {
    let (control, killed) = both(|fault| {
        let (relay, first) = (relay(), first(creates));
        let mut scene = Scene::set(relay.clone(), &[], {
            move |call, tasks| {
                first(call).then(|| {
                    relay.hold(Direction::ToServer);
                    tasks.answer(call)
                })
            }
        });
        scene.publish();
        scene.worker.await_log("created: task=task-1", PATIENCE);
        match fault {
            Fault::Kill => scene.kill_and_restart(),
            Fault::None => scene.relay.pass(),
        }
        scene.seen_at_the_end(fault, 1, 0)
    });
    assert_eq!(control, UNDISTURBED);
    assert_eq!(killed, Seen { look_ups: 3, ..UNDISTURBED });
}

#[test]
fn a_kill_between_the_publish_and_its_confirm_doubles_a_record_at_most() {
    let (control, killed) = both(|fault| {
        let mut scene = Scene::set(relay(), &[], |_, _| None);
        let sent = scene.queues.sent();
        scene.relay.when_seen(Direction::ToServer, publish_to(&sent), Then::Hold(Direction::ToClient));
        scene.publish();
        scene.queues.await_count(&sent, 1, PATIENCE);
        match fault {
            Fault::Kill => scene.kill_and_restart(),
            Fault::None => scene.relay.pass(),
        }
        scene.seen_at_the_end(fault, fault.copies(), 0)
    });
    assert_eq!(control, UNDISTURBED);
    assert_eq!(killed, Seen { look_ups: 3, records: 2, ..UNDISTURBED });
}

#[test]
fn a_kill_between_the_confirm_and_the_ack_doubles_a_record_at_most() {
    let (control, killed) = both(|fault| {
        let mut scene = Scene::set(relay(), &[], |_, _| None);
        let hold = Then::Hold(Direction::ToServer);
        let confirmed = Then::when(Direction::ToClient, CONFIRM, hold);
        scene.relay.when_seen(Direction::ToServer, publish_to(&scene.queues.sent()), confirmed);
        scene.publish();
        scene.portal.await_replies("imena.camunda.sync", 1, PATIENCE);
        match fault {
            Fault::Kill => scene.kill_and_restart(),
            Fault::None => scene.relay.pass(),
        }
        scene.seen_at_the_end(fault, fault.copies(), 0)
    });
    assert_eq!(control, UNDISTURBED);
    assert_eq!(killed, Seen { look_ups: 2, records: 2, syncs: 2, ..UNDISTURBED });
}

#[test]
fn a_kill_during_the_synchronisation_never_creates_again() {
    let (control, killed) = both(|fault| {
        let gate = Gate::closed();
        let mut scene = Scene::set(relay(), &[], {
            let gate = gate.clone();
            move |call, _| {
                if call.method == "imena.camunda.sync" && call.nth == 1 {
                    gate.wait();
                }
                None
            }
        });
        scene.publish();
        gate.await_waiting(1, PATIENCE);
        if fault == Fault::Kill {
            scene.kill_and_restart();
        }
        gate.open();
        scene.seen_at_the_end(fault, fault.copies(), 0)
    });
    assert_eq!(control, UNDISTURBED);
    assert_eq!(killed, Seen { look_ups: 2, records: 2, syncs: 2, ..UNDISTURBED });
}

#[test]
fn a_kill_between_the_response_and_the_ack_of_its_record_doubles_a_response_at_most() {
    let (control, killed) = both(|fault| {
        let mut scene = Scene::set(relay(), &[("HEARTBEAT_INTERVAL", "0.5")], |_, _| None);
        scene.publish();
        scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
        let responses = scene.queues.responses();
        let hold = Then::Hold(Direction::ToServer);
        let confirmed = Then::when(Direction::ToClient, CONFIRM, hold);
        let seen = scene.relay.when_seen(Direction::ToServer, publish_to(&responses), confirmed);
        scene.tasks.set(ID, "UF_RESULT_ANSWER", json!("26"));
        scene.tasks.set_status(ID, 5);
        seen.wait(PATIENCE);
        scene.queues.await_count(&responses, 1, PATIENCE);
        if fault == Fault::Kill {
            scene.kill_and_restart();
        }
        scene.relay.pass();
        scene.seen_at_the_end(fault, 0, fault.copies())
    });
    assert_eq!(control, Seen { records: 0, responses: 1, ..UNDISTURBED });
    assert_eq!(killed, Seen { records: 0, responses: 2, ..UNDISTURBED });
}

#[test]
fn a_kill_during_the_hop_to_the_retry_queue_leaves_one_task_and_one_record() {
    let (control, killed) = both(|fault| {
        let first = first(creates);
        let mut scene = Scene::set(relay(), &[], {
            move |call, _| first(call).then(|| Answer::refused(500, "INTERNAL_SERVER_ERROR", "down"))
        });
        let hold = Then::Hold(Direction::ToServer);
        let confirmed = Then::when(Direction::ToClient, CONFIRM, hold);
        let seen = scene.relay.when_seen(Direction::ToServer, publish_to(&scene.queues.retry()), confirmed);
        scene.publish();
        seen.wait(PATIENCE);
        match fault {
            Fault::Kill => scene.kill_and_restart(),
            Fault::None => scene.relay.pass(),
        }
        scene.seen_at_the_end(fault, 1, 0)
    });
    assert_eq!(control, Seen { look_ups: 2, creates: 2, ..UNDISTURBED });
    // The copy and the original are merged again; since the original was delivered before, it is looked up twice.
    assert_eq!(killed, Seen { look_ups: 3, creates: 2, ..UNDISTURBED });
}

#[test]
fn a_worker_that_is_killed_again_and_again_loses_and_doubles_no_task() {
    const TASKS: usize = 60;
    const KILLS: usize = 8;
    let mut scene =
        Scene::set(relay(), &[("BITRIX_REQUEST_TIMEOUT", "0.5"), ("HEARTBEAT_INTERVAL", "0.1")], |_, _| None);
    let names: Vec<String> = (0..TASKS).map(|number| format!("task-{number}")).collect();
    for kill in 0..KILLS {
        let share: Vec<_> = names.iter().skip(kill).step_by(KILLS).map(|name| seed_message(name)).collect();
        let requests = scene.portal.requests().len();
        scene.queues.publish_tasks(&share);
        // A different moment each time: after the probe, the look-up, the create, the follow-up, or in a sweep.
        eventually("some requests", PATIENCE, || scene.portal.requests().len() > requests + kill);
        scene.kill_and_restart();
    }
    // Look-up, wait and look-up again are over when every task has a record.
    eventually("every task", PATIENCE, || scene.tasks.markers().len() >= TASKS);
    let (input, sent) = (scene.queues.input(), scene.queues.sent());
    eventually("every record", PATIENCE, || scene.queues.count(&sent) >= TASKS);
    names.iter().for_each(|name| scene.tasks.set_status(name, 5));
    eventually("every answer", PATIENCE, || scene.queues.count(&scene.queues.responses()) >= TASKS);
    eventually("the end of all records", PATIENCE, || scene.queues.count(&sent) + scene.queues.count(&input) == 0);
    scene.worker.stop();
    let audit = Audit::take(&scene.queues, scene.tasks.markers()).after_faults(KILLS * TASKS);
    audit.with_finished(scene.tasks.finished()).assert_holds();
}
