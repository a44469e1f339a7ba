//! What the worker promises about a task, whatever its target is. Each case ends with the account of every message:
//! nothing lost, nothing doubled.
//!
//! A message has a single attempt, so a case fails when a failure of the target is counted as one.

use std::sync::Arc;

use task_creator::stop;
use task_creator::systems::seen::{Looked, NOT_LOOKED_UP, Seen, State};
use task_creator::systems::table::Setup;
use task_creator::systems::{Failure, Handler, Surroundings};
use task_creator::tls::RootCertificates;

use super::targets::{Fault, Target};
use crate::support::secrets::{dressed, files, found_in};
use crate::support::{Audit, PATIENCE, Queues, Worker, changed, eventually};

const ID: &str = "task-1";
/// What a target answers to a wrong request.
const WORDS: &str = "words of the target";

/// A worker, its queues and its target.
struct Scene<T> {
    queues: Queues,
    target: T,
    worker: Worker,
    faults: usize,
}

impl<T: Target> Scene<T> {
    fn set(case: &str) -> Scene<T> {
        Scene::before(T::start(), case)
    }

    /// The worker is running when this returns.
    fn before(target: T, case: &str) -> Scene<T> {
        let queues = Queues::of(T::SYSTEM, &format!("{} {case}", T::SYSTEM));
        let own = target.settings();
        let of_target = own.iter().map(|(name, value)| (*name, value.as_str()));
        let quick =
            [("RETRY_ATTEMPTS", "1"), ("RETRY_DELAY", "0.2"), ("HEARTBEAT_INTERVAL", "0.3"), ("LOG_LEVEL", "DEBUG")];
        let settings = changed(&queues, "", &of_target.chain(quick).collect::<Vec<_>>());
        let worker = Worker::run(&[], &settings);
        queues.await_consumers(&queues.input(), 1, PATIENCE);
        Scene { queues, target, worker, faults: 0 }
    }

    fn publish(&self, id: &str) {
        self.queues.publish_task(&self.target.message(id));
    }

    fn created(&self, id: &str) -> usize {
        self.target.tasks().iter().filter(|task| *task == id).count()
    }

    /// After a create whose outcome is unknown.
    #[track_caller]
    fn assert_not_doubled(&self) {
        let most = if T::IS_LOOKED_UP { 1 } else { 2 };
        assert!((1..=most).contains(&self.created(ID)), "there are {}", self.created(ID));
    }

    #[track_caller]
    fn await_struck(&self, times: u64) {
        eventually("the fault", PATIENCE, || self.target.struck() >= times);
    }

    /// Where a task is as soon as it is created.
    fn recorded(&self) -> String {
        if T::IS_TRACKED { self.queues.sent() } else { self.queues.responses() }
    }

    #[track_caller]
    fn await_recorded(&self, count: usize) {
        self.queues.await_count(&self.recorded(), count, PATIENCE);
    }

    /// One fault: the message is recorded in the end, and its task exists once.
    #[track_caller]
    fn survives(self, fault: Fault) {
        self.target.fail(fault, WORDS);
        self.publish(ID);
        self.await_struck(1);
        self.await_recorded(1);
        self.assert_not_doubled();
        self.end();
    }

    /// Lets it finish what it has started, and stops it.
    #[track_caller]
    fn stop(&mut self) {
        self.await_whole();
        self.worker.stop();
    }

    #[track_caller]
    fn await_whole(&self) {
        for task in self.target.tasks() {
            eventually(&format!("all that belongs to {task}"), PATIENCE, || self.target.is_whole(&task));
        }
    }

    /// What somebody works with who only looks.
    fn handler(&self) -> Arc<dyn Handler> {
        let own = self.target.settings();
        let value = |name: &str| match name {
            "RABBITMQ_PASSWORD" => Some("unused".into()),
            name => own.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()),
        };
        let setup = Setup::read(value).expect("right settings");
        let (_, stop) = stop::signal();
        let around = Surroundings {
            https: &RootCertificates::public(),
            threads: 1,
            routes: &setup.routes(),
            stop: &stop,
            rabbitmq: &setup.config.rabbitmq,
        };
        let (_, system) = setup.on().find(|(name, _)| *name == T::SYSTEM).expect("it is on");
        system.connect(&around).expect("it works on this machine").handler
    }

    fn audit(&self) -> Audit {
        let mut tasks = self.target.tasks();
        if !T::IS_LOOKED_UP {
            tasks.sort();
            tasks.dedup();
        }
        Audit::take(&self.queues, tasks).after_faults(self.faults)
    }

    /// Stops the worker, and checks that nothing is lost or doubled; returns the target.
    #[track_caller]
    fn end(mut self) -> T {
        self.stop();
        self.audit().assert_holds();
        self.target
    }
}

pub fn created_once<T: Target>() {
    let scene = Scene::<T>::set("created once");
    scene.publish(ID);
    scene.await_recorded(1);
    // The same message once more, as a bridge sends it that was not sure.
    scene.publish(ID);
    scene.publish("task-2");
    eventually("the second task", PATIENCE, || scene.created("task-2") == 1);
    scene.queues.await_count(&scene.queues.input(), 0, PATIENCE);
    assert_eq!(scene.created(ID), 1);
    Scene { faults: 1, ..scene }.end();
}

/// Another worker, which remembers nothing, gets a copy of the message.
pub fn found<T: Target>() {
    let first = Scene::<T>::set("found, first");
    first.publish(ID);
    first.await_recorded(1);
    let second = Scene::before(first.end(), "found, second");
    second.publish(ID);
    second.await_recorded(1);
    assert_eq!(second.created(ID), 1);
    second.end();
}

pub fn unknown_outcome<T: Target>() {
    Scene::<T>::set("unknown outcome").survives(Fault::AnswerLost);
}

pub fn slow<T: Target>() {
    Scene::<T>::set("slow").survives(Fault::Slow);
}

pub fn garbage<T: Target>() {
    Scene::<T>::set("garbage").survives(Fault::Garbage);
}

/// Parked at once, with the target's own words; the next message passes.
pub fn refused<T: Target>() {
    let scene = Scene::<T>::set("refused");
    scene.target.fail(Fault::Refused, WORDS);
    scene.publish(ID);
    scene.queues.await_count(&scene.queues.errors(), 1, PATIENCE);
    scene.target.mend();
    scene.publish("task-2");
    scene.await_recorded(1);
    let parked = scene.queues.peek_all(&scene.queues.errors())[0].json();
    assert_eq!(parked["error_type"], "REQUEST_ERROR");
    assert!(parked["error_message"].as_str().is_some_and(|told| told.contains(WORDS)), "{parked}");
    scene.end();
}

/// Not an attempt: messages wait until the target works again.
#[track_caller]
fn waits_out<T: Target>(case: &str, fault: Fault) {
    let scene = Scene::<T>::set(case);
    scene.target.fail(fault, WORDS);
    scene.publish(ID);
    scene.worker.await_log("pausing, messages stay in their queue", PATIENCE);
    scene.publish("task-2");
    scene.target.mend();
    scene.await_recorded(2);
    assert_eq!(scene.queues.count(&scene.queues.errors()), 0);
    scene.end();
}

pub fn down<T: Target>() {
    waits_out::<T>("down", Fault::Down);
}

pub fn unauthorised<T: Target>() {
    waits_out::<T>("unauthorised", Fault::Unauthorised);
}

pub fn gone<T: Target>() {
    let scene = Scene::<T>::set("gone");
    scene.publish(ID);
    scene.await_recorded(1);
    scene.await_whole();
    scene.target.delete(ID);
    scene.queues.await_count(&scene.queues.errors(), 1, PATIENCE);
    let parked = scene.queues.peek_all(&scene.queues.errors())[0].json();
    assert_eq!((&parked["error_type"], &parked["original_message"]["task_id"]), (&"TASK_NOT_FOUND".into(), &ID.into()));
    scene.end();
}

pub fn answered<T: Target>() {
    let mut scene = Scene::<T>::set("answered");
    ["task-1", "task-2"].iter().for_each(|id| scene.publish(id));
    scene.await_recorded(2);
    scene.target.finish(ID);
    scene.queues.await_count(&scene.queues.responses(), 1, PATIENCE);
    scene.stop();
    scene.audit().with_finished(vec![ID.into()]).assert_holds();
}

/// What somebody sees who looks for a task by its id.
#[track_caller]
fn seen(looked: Vec<Looked>) -> Seen {
    match &looked[..] {
        [Ok(Some(seen))] => seen.clone(),
        other => panic!("{other:?}"),
    }
}

/// A target that finds tasks shows them; any other says that it cannot be asked.
pub fn shown<T: Target>() {
    let scene = Scene::<T>::set("shown");
    scene.publish(ID);
    scene.await_recorded(1);
    let handler = scene.handler();
    let before = scene.target.tasks();
    if handler.visible_within().is_none() {
        let looked = handler.look(&[ID, "nobody"]);
        assert!(looked.len() == 2 && looked.iter().all(cannot_be_asked), "{looked:?}");
    } else {
        let [Ok(Some(open)), Ok(None)] = &handler.look(&[ID, "nobody"])[..] else { panic!("one is there") };
        let record = scene.queues.peek_all(&scene.queues.sent())[0].json();
        let target_id = &record["response_data"]["result"]["task"]["id"];
        assert_eq!(*target_id, *open.target_id);
        assert_eq!((open.state, &open.answer, &open.finished), (State::Open, &None, &None));
        assert!(open.status.is_some());
    }
    assert_eq!(scene.target.tasks(), before, "nothing is created");
    scene.end();
}

fn cannot_be_asked(looked: &Looked) -> bool {
    matches!(looked, Err(Failure::Permanent(why)) if why.to_string() == NOT_LOOKED_UP)
}

/// The answer of a person is shown too.
pub fn shown_finished<T: Target>() {
    let mut scene = Scene::<T>::set("shown finished");
    ["task-1", "task-2"].iter().for_each(|id| scene.publish(id));
    scene.await_recorded(2);
    let handler = scene.handler();
    scene.target.finish(ID);
    let finished = seen(handler.look(&[ID]));
    assert_eq!((finished.state, finished.answer.as_deref()), (State::Finished, Some("ДА")), "{finished:?}");
    let [Ok(Some(several)), Ok(Some(open))] = &handler.look(&[ID, "task-2"])[..] else { panic!("both are there") };
    assert_eq!((several.state, open.state), (State::Finished, State::Open));
    scene.queues.await_count(&scene.queues.responses(), 1, PATIENCE);
    scene.stop();
    scene.audit().with_finished(vec![ID.into()]).assert_holds();
}

/// The target shows its secret in all its answers, and the worker does not pass it on.
pub fn redacted<T: Target>() {
    let mut scene = Scene::<T>::set("redacted");
    let words = format!("{WORDS}, among them {}", scene.target.secret());
    scene.target.fail(Fault::Refused, &words);
    scene.publish("refused");
    scene.queues.await_count(&scene.queues.errors(), 1, PATIENCE);
    scene.target.mend();
    scene.target.fail(Fault::Garbage, &words);
    scene.publish("garbage");
    scene.await_recorded(1);
    scene.target.fail(Fault::Unauthorised, &words);
    scene.publish("unauthorised");
    scene.worker.await_log("pausing, messages stay in their queue", PATIENCE);
    scene.target.mend();
    scene.await_recorded(2);
    scene.stop();
    let queues = [scene.recorded(), scene.queues.errors()];
    let shown = |queue: &String| scene.queues.peek_all(queue).iter().map(|message| message.text()).collect::<String>();
    let mut places: Vec<_> = queues.iter().map(|queue| (queue.clone(), shown(queue))).collect();
    assert!(places[1].1.contains(WORDS), "the target's words are kept: {}", places[1].1);
    places.extend(files(scene.worker.folder()));
    assert_eq!(found_in(&places, &dressed(scene.target.secret(), scene.target.user())), None);
    scene.audit().assert_holds();
}

/// SIGKILL while the create is under way; its answer is lost.
#[track_caller]
fn survives_a_kill<T: Target>(case: &str, held: Fault) {
    let mut scene = Scene::<T>::set(case);
    scene.target.fail(held, WORDS);
    scene.publish(ID);
    scene.await_struck(1);
    scene.worker.kill();
    scene.target.mend();
    scene.worker.start_again();
    scene.await_recorded(1);
    scene.assert_not_doubled();
    scene.end();
}

pub fn killed_before_the_create<T: Target>() {
    survives_a_kill::<T>("killed before", Fault::HeldBefore);
}

pub fn killed_after_the_create<T: Target>() {
    survives_a_kill::<T>("killed after", Fault::HeldAfter);
}
