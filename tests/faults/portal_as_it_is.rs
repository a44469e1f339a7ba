//! The built worker with a portal that behaves as Bitrix24's source shows: refusals that are none, creates without an
//! answer, markers that come late, texts that are taken for references. The portal is the sandbox, over HTTP, with
//! ordered faults. Kills between a create and its follow-up are in `half_done.rs`.
//!
//! It knows queues, messages, what a person sees at the portal and what the portal was asked; nothing of the worker's
//! inside.

mod answers;
pub mod checklists;
mod creates;
mod look_ups;
mod refusals;
mod texts;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use task_creator::sandbox::{ANY_CALL, Call, Fault, Limits, Order, Rules, Sandbox, SandboxTask, What};

use crate::support::{Audit, PATIENCE, Queues, Worker, eventually, eventually_ok};

pub const ADD: &str = "tasks.task.add";
pub const LIST: &str = "tasks.task.list";
pub const ITEM: &str = "task.checklistitem.add";
pub const ITEMS: &str = "task.checklistitem.getlist";
pub const SYNC: &str = "imena.camunda.sync";

/// One try after the other without delay, and no sweep but the one at the start.
const QUICK: [(&str, &str); 4] =
    [("BITRIX_RATE", "0"), ("BITRIX_REQUEST_TIMEOUT", "2"), ("RETRY_DELAY", "0.2"), ("HEARTBEAT_INTERVAL", "3600")];

/// Requests are scarce, and one thread takes all that waits: it goes to the portal in one batch.
pub const IN_BATCHES: [(&str, &str); 2] = [("BITRIX_RATE", "2"), ("HANDLER_THREADS", "1")];

/// For something that takes a moment on a machine without other load.
pub const LONG: Duration = Duration::from_secs(60);

/// A worker with a portal of its own.
pub struct Scene {
    pub queues: Queues,
    pub sandbox: Sandbox,
    pub worker: Worker,
    /// How many messages it gets before it may start.
    waiting: usize,
}

impl Scene {
    pub fn new(test: &str, changes: &[(&str, &str)]) -> Scene {
        Scene::at(test, Limits::default(), |_| {}, changes)
    }

    pub fn at(test: &str, limits: Limits, rules: impl FnOnce(&mut Rules), changes: &[(&str, &str)]) -> Scene {
        let queues = Queues::new(test);
        let sandbox = Sandbox::start(0, limits).expect("a free port");
        sandbox.change(rules);
        let worker = Worker::start(&queues, &sandbox.webhook_url(), &[&QUICK, changes].concat());
        Scene { queues, sandbox, worker, waiting: 0 }
    }

    /// A worker that has all of these messages before it may start them with [`Scene::start`].
    pub fn waiting(test: &str, messages: &[Value], changes: &[(&str, &str)]) -> Scene {
        let queues = Queues::new(test);
        queues.publish_tasks(messages);
        let sandbox = Sandbox::start(0, Limits::default()).expect("a free port");
        // The first request asks whether the portal can search at all.
        sandbox.order(Fault::before(LIST, What::Delay(LONG)).times(1));
        let worker = Worker::start(&queues, &sandbox.webhook_url(), &[&QUICK, changes].concat());
        Scene { queues, sandbox, worker, waiting: messages.len() }
    }

    pub fn start(&self) {
        self.queues.await_consumers(&self.queues.input(), 1, PATIENCE);
        self.queues.await_count(&self.queues.input(), 0, PATIENCE);
        // What RabbitMQ has sent may still be on its way.
        let received = || self.worker.log().matches("] received: task=").count();
        eventually("all messages at the worker", PATIENCE, || received() >= self.waiting);
        self.sandbox.release();
    }

    /// Waits until the fault has struck, kills the worker at this moment and withdraws the fault; calls that hang at
    /// the portal end without an answer and without a further effect.
    pub fn kill_at(&mut self, fault: &Order) {
        eventually("the moment of the kill", PATIENCE, || fault.struck() > 0);
        self.worker.kill();
        self.sandbox.clear(fault);
        self.sandbox.release();
    }

    pub fn calls(&self, method: &str) -> u64 {
        self.sandbox.calls().get(method).copied().unwrap_or(0)
    }

    /// The only task of this message.
    #[track_caller]
    pub fn task(&self, id: &str) -> SandboxTask {
        let ids = self.sandbox.ids_of(id);
        assert_eq!(ids.len(), 1, "tasks of {id}");
        self.sandbox.task(ids[0]).expect("it was there a moment ago")
    }

    #[track_caller]
    pub fn await_records(&self, count: usize) {
        let sent = self.queues.sent();
        eventually_ok(&format!("{count} records"), PATIENCE, || match self.queues.count(&sent) {
            seen if seen >= count => Ok(()),
            seen => Err(format!("{seen}")),
        });
    }

    /// Waits until every task is synchronised, which is the last step, and ends the worker. Then nothing is lost or
    /// doubled, but so many interrupted tasks may have two records.
    #[track_caller]
    pub fn end(&mut self, tasks: usize, interrupted: usize) {
        eventually_ok("the end of all work", PATIENCE, || {
            let synced: std::collections::BTreeSet<String> =
                self.sandbox.syncs().into_iter().map(|sync| sync.process_instance_id).collect();
            if synced.len() >= tasks { Ok(()) } else { Err(format!("{} of {tasks}", synced.len())) }
        });
        self.stop(interrupted);
    }

    /// The same without waiting.
    #[track_caller]
    pub fn stop(&mut self, interrupted: usize) {
        self.worker.stop();
        Audit::take(&self.queues, markers(&self.sandbox)).after_faults(interrupted).assert_holds();
    }
}

/// The marker of every task; a task that exists twice has two entries.
pub fn markers(sandbox: &Sandbox) -> Vec<String> {
    sandbox.tasks().into_iter().map(|task| task.marker.unwrap_or_else(|| "(no marker)".into())).collect()
}

/// A message whose title is its id.
pub fn message(id: &str) -> Value {
    json!({
        "task_id": id,
        "topic": "bitrix_create_task",
        "variables": {"title": id},
        "process_definition_key": "Process_invented",
        "process_instance_id": id,
        "metadata": {"extensionProperties": {}},
    })
}

pub fn messages(count: usize) -> Vec<Value> {
    (0..count).map(|number| message(&format!("task-{number}"))).collect()
}

/// All calls of the portal from now on, in order.
#[derive(Clone, Default)]
pub struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    /// A fault that matches no call sees all of them.
    pub fn of(sandbox: &Sandbox) -> Calls {
        let calls = Calls::default();
        let seen = calls.clone();
        sandbox.order(Fault::before(ANY_CALL, What::Close).when(move |call| {
            seen.0.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
            false
        }));
        calls
    }

    pub fn all(&self) -> Vec<Call> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The calls about the task of this message: their methods, and whether they came in a batch.
    pub fn about(&self, id: &str) -> Vec<(String, bool)> {
        let about = |call: &Call| match call.method.as_str() {
            ADD => creates(call, id),
            LIST => call.params["filter"].to_string().contains(&format!("\"{id}\"")),
            _ => false,
        };
        self.all().into_iter().filter(about).map(|call| (call.method, call.batched)).collect()
    }
}

/// Does this call create the task of the message with this id and title?
pub fn creates(call: &Call, id: &str) -> bool {
    call.method == ADD && call.params["fields"]["TITLE"] == id
}
