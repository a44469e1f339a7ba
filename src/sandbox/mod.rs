//! A Bitrix24 stand-in on loopback, for `task-creator demo`, `task-creator sandbox`, tests and benchmarks.
//!
//! It answers the methods the worker uses, and a few more, the way a portal does: string ids, `[]` for an empty map and
//! for a missing task, filters that are ignored without a word. It keeps everything in memory, checks one fixed token,
//! and knows nothing of the worker: whatever speaks the Bitrix24 REST interface can use it. It is a model of the
//! documentation, not a portal, and injects no faults beyond refusals and delays. Users 1 to 100 exist; a task for
//! anybody else is refused.
//!
//! Reading order: methods and tasks (what can be called), portal (what is remembered), list and batch (the two methods
//! with rules of their own), server (bytes in and out); people (who finish tasks) and command (the stand-in alone).

mod batch;
pub mod command;
mod fields;
mod limits;
mod list;
mod methods;
mod people;
mod portal;
mod reply;
mod request;
mod server;
mod tasks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError};

pub use limits::Limits;
pub use people::{News, People};
pub use portal::{ChecklistItem, SandboxTask, Sync};

use limits::Gate;
use portal::Portal;
use reply::{Outcome, Refusal};
use request::Call;
use server::{HttpReply, HttpRequest, Respond, Server, lock};

/// User and token of the one webhook. Fixed, so that a `.env` stays valid from run to run.
const WEBHOOK: &str = "1/sandbox-token";

/// A running stand-in. Dropping it cuts all connections, ends all waits and joins all threads.
pub struct Sandbox {
    server: Server,
    portal: Arc<Mutex<Portal>>,
    gate: Arc<Mutex<Gate>>,
}

/// What has been asked of the sandbox so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// HTTP requests, refused ones included.
    pub requests: u64,
    /// Requests answered with 503.
    pub refused: u64,
    /// Calls by method, those inside batches included; unknown methods are not counted.
    pub calls: BTreeMap<String, u64>,
    /// Calls of `imena.camunda.sync` with both values.
    pub syncs: u64,
}

impl Sandbox {
    /// Starts on `127.0.0.1:port`; port 0 takes any free one.
    ///
    /// # Errors
    /// The port is taken, or no thread can be started.
    pub fn start(port: u16, limits: Limits) -> anyhow::Result<Sandbox> {
        let portal = Arc::new(Mutex::new(Portal::default()));
        let gate = Arc::new(Mutex::new(Gate::new(&limits, Instant::now())));
        let server = Server::start(port, |stopped| Desk {
            limits,
            portal: Arc::clone(&portal),
            gate: Arc::clone(&gate),
            stopped,
        })?;
        Ok(Sandbox { server, portal, gate })
    }

    /// The address for `BITRIX_WEBHOOK_URL`, without a trailing slash.
    pub fn webhook_url(&self) -> String {
        format!("http://{}/rest/{WEBHOOK}", self.server.address())
    }

    /// All tasks, in the order of creation.
    pub fn tasks(&self) -> Vec<SandboxTask> {
        let portal = lock(&self.portal);
        portal.tasks().map(|task| portal.snapshot(task)).collect()
    }

    /// The tasks that were created after the one with this id, in the order of creation.
    pub fn tasks_after(&self, id: u64) -> Vec<SandboxTask> {
        let portal = lock(&self.portal);
        portal.tasks_after(id).map(|task| portal.snapshot(task)).collect()
    }

    /// One task, if it is there.
    pub fn task(&self, id: u64) -> Option<SandboxTask> {
        let portal = lock(&self.portal);
        portal.task(id).map(|task| portal.snapshot(task))
    }

    /// Moves a task to a status (4 awaiting control, 5 completed), as a person would, and sets `UF_RESULT_ANSWER` when
    /// an answer is given: "ДА" or "НЕТ". False, and nothing is changed, when there is no such task or answer.
    pub fn finish(&self, id: u64, status: u8, answer: Option<&str>) -> bool {
        let mut portal = lock(&self.portal);
        portal.task(id).is_some()
            && answer.is_none_or(|answer| portal.set_answer(id, answer))
            && portal.set_status(id, status)
    }

    /// Deletes a task. False when there is no such task.
    pub fn delete(&self, id: u64) -> bool {
        lock(&self.portal).delete(id)
    }

    /// All calls of `imena.camunda.sync`, in order.
    pub fn syncs(&self) -> Vec<Sync> {
        lock(&self.portal).syncs.clone()
    }

    /// What has been asked so far.
    pub fn counts(&self) -> Counts {
        let (requests, refused) = {
            let gate = lock(&self.gate);
            (gate.requests, gate.refused)
        };
        let portal = lock(&self.portal);
        Counts { requests, refused, calls: portal.calls.clone(), syncs: portal.syncs.len() as u64 }
    }
}

/// Where requests arrive: checks token and rate, waits, and calls. Shares its two locks with [`Sandbox`]; neither is
/// held during a wait, so that parallel requests overlap.
struct Desk {
    limits: Limits,
    portal: Arc<Mutex<Portal>>,
    gate: Arc<Mutex<Gate>>,
    /// Closed when the sandbox goes.
    stopped: Receiver<()>,
}

/// The sandbox went away during a wait.
struct Stopped;

impl Respond for Desk {
    fn respond(&self, request: HttpRequest) -> Option<HttpReply> {
        let start = SystemTime::now();
        let admitted = lock(&self.gate).admit(Instant::now());
        let outcome = if admitted {
            self.answer(&request).ok()?
        } else {
            Err(Refusal::new(503, "QUERY_LIMIT_EXCEEDED", "Too many requests"))
        };
        Some(reply::http(outcome, start))
    }
}

impl Desk {
    fn answer(&self, request: &HttpRequest) -> Result<Outcome, Stopped> {
        match request::parse(request) {
            Some((WEBHOOK, call)) => self.execute(&call),
            Some(_) => Ok(Err(Refusal::new(401, "INVALID_CREDENTIALS", "Invalid request credentials"))),
            None => Ok(Err(Refusal::new(404, "NOT_FOUND", "Not found"))),
        }
    }

    fn execute(&self, call: &Call) -> Result<Outcome, Stopped> {
        self.pause(self.limits.request_delay)?;
        if !call.method.eq_ignore_ascii_case("batch") {
            return Ok(methods::call(&mut lock(&self.portal), call));
        }
        *lock(&self.portal).calls.entry("batch".into()).or_default() += 1;
        let mut pause = Duration::ZERO;
        batch::run(&call.params, |command| {
            self.pause(std::mem::replace(&mut pause, self.limits.command_delay))?;
            Ok(methods::call(&mut lock(&self.portal), command))
        })
    }

    fn pause(&self, pause: Duration) -> Result<(), Stopped> {
        match self.stopped.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Stopped),
        }
    }
}

#[cfg(test)]
mod tests;
