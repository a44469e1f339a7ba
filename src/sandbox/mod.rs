//! Fakes of all targets on loopback, for `task-creator demo`, `task-creator sandbox`, tests and benchmarks. This file
//! is Bitrix24's, with the files that are named first below.
//!
//! It answers the methods that the worker uses, and a few more, as badly as a portal does: string ids that start
//! anywhere, `[]` for an empty map and for a missing task, filters that are ignored silently, texts that are cut,
//! checklists that come out reversed, custom fields that are written late. It keeps everything in memory, checks one
//! fixed token, and does not know the worker: any program that speaks the Bitrix24 REST interface can use it. It models
//! what is known about portals; it is none. Left out: parameters by position, positions of boards, events, files, and
//! the rights of every user but the webhook's owner. Users 1 to 100 exist; a task for any other user is refused.
//!
//! [`Rules`] say how the portal is set up, [`Limits`] how fast it is, a [`Fault`] what goes wrong. [`Memory`] is the
//! same portal without a server, [`Forgetful`] a portal for benchmarks.
//!
//! Reading order: `methods` and `tasks` with `checklists`, `fields`, `values` and `users` (what can be called),
//! `portal` and `index` (what is remembered), `list` with `filter`, `batch` with `references` (two methods with rules
//! of their own), `request` and `reply` (the form of both), `rules` (how it is set up), `memory` with `faults` (calls,
//! and what goes wrong), `limits` and `operating` (how much at once), [`steering`] (by hand), `forgetful` (for
//! benchmarks). [`crate::http::server`] reads and writes the bytes.
//!
//! The others stand on [`http_fake`]: [`openproject`], [`onec`], [`job_service`] (Python services), [`telegram`],
//! [`camunda`]; [`smtp`] is a mail server. `strikes` lets the faults of all fakes strike. The simulated users who
//! finish tasks are those of the commands: [`crate::commands::fakes`].

mod batch;
pub mod camunda;
mod checklists;
mod faults;
mod fields;
mod filter;
mod forgetful;
pub mod http_fake;
mod index;
pub mod job_service;
mod limits;
mod list;
mod memory;
mod methods;
pub mod onec;
pub mod openproject;
mod operating;
mod portal;
mod references;
mod reply;
mod request;
mod rules;
pub mod smtp;
pub mod steering;
mod strikes;
mod tasks;
pub mod telegram;
mod users;
mod values;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError};

pub use batch::Batch;
pub use checklists::ChecklistItem;
pub use faults::{ANY_CALL, ANY_REQUEST, Fault, Moment, Order, What};
pub use fields::ANSWERS;
pub use forgetful::Forgetful;
pub use limits::Limits;
pub use memory::Memory;
pub use operating::OperatingLimit;
pub use portal::{SandboxTask, Sync};
pub use reply::{Answer, Broken, Outcome, Refusal, half};
pub use request::{Call, params};
pub use rules::{CustomFields, LongDescription, Rules};

use crate::http::server::{self, Reply, Request, Respond, Server};
use faults::Scope;
use limits::Throttle;
use request::Asked;

/// User and token of the one webhook. They are fixed, so a `.env` stays valid from run to run.
const WEBHOOK: &str = "1/sandbox-token";

/// A running fake; it derefs to its [`Memory`]. Dropping it cuts all connections, ends all waits and joins all threads.
pub struct Sandbox {
    server: Server,
    memory: Memory,
    // Shared with the threads of the connections.
    throttle: Arc<Mutex<Throttle>>,
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
        Sandbox::serve(port, limits, Memory::new())
    }

    /// The same for an existing portal, such as one whose server was dropped.
    ///
    /// # Errors
    /// As [`Sandbox::start`].
    pub fn serve(port: u16, limits: Limits, memory: Memory) -> anyhow::Result<Sandbox> {
        let throttle = Arc::new(Mutex::new(Throttle::new(&limits, Instant::now())));
        let server = serve(port, |stopped| Desk {
            limits,
            memory: memory.clone(),
            throttle: Arc::clone(&throttle),
            under_way: AtomicU32::new(0),
            stopped,
        })?;
        Ok(Sandbox { server, memory, throttle })
    }

    /// The address for `BITRIX_WEBHOOK_URL`, without a trailing slash.
    pub fn webhook_url(&self) -> String {
        webhook_url(self.address())
    }

    /// The address where it listens: for a relay in front of it.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What has been asked so far.
    pub fn counts(&self) -> Counts {
        let (requests, refused) = {
            let throttle = lock(&self.throttle);
            (throttle.requests, throttle.refused)
        };
        Counts { requests, refused, calls: self.memory.calls(), syncs: self.memory.sync_count() }
    }
}

impl Deref for Sandbox {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.memory
    }
}

/// The webhook's URL at a server with this address, which may be a relay's.
pub fn webhook_url(address: SocketAddr) -> String {
    format!("http://{address}/rest/{WEBHOOK}")
}

/// Takes requests: checks token and rate, waits, and calls. It holds no lock during a wait, so that parallel requests
/// overlap.
struct Desk {
    limits: Limits,
    memory: Memory,
    throttle: Arc<Mutex<Throttle>>,
    /// Requests that have started and not ended.
    under_way: AtomicU32,
    /// Closed when the sandbox is dropped.
    stopped: Receiver<()>,
}

impl Respond for Desk {
    fn respond(&self, request: &Request<'_>) -> Reply {
        if let Some(reply) = steering::hear(&self.memory, request) {
            return reply;
        }
        let start = SystemTime::now();
        let strain = self.limits.strain(self.under_way.fetch_add(1, Ordering::Relaxed) + 1);
        let admitted = lock(&self.throttle).admit(Instant::now());
        let outcome = if admitted {
            self.answer(request, strain)
        } else {
            Ok(Err(Refusal::new(503, "QUERY_LIMIT_EXCEEDED", "Too many requests")))
        };
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        outcome.map_or_else(Broken::into_http, |outcome| Reply::Page(reply::page(outcome, start)))
    }
}

impl Desk {
    fn answer(&self, request: &Request<'_>, strain: f64) -> Result<Outcome, Broken> {
        let Some((webhook, asked)) = request::parse(request) else {
            return Ok(Err(Refusal::new(404, "NOT_FOUND", "Not found")));
        };
        let batch = Call::plain("batch", serde_json::Value::Null);
        let (whole, known) = match &asked {
            Asked::Call(call) => (call, methods::find(&call.method).is_some()),
            Asked::Batch(_) => (&batch, true),
        };
        self.memory.struck(Scope::Request, whole, &self.stopped, || match &asked {
            // An unknown method is reported before the token is checked.
            _ if webhook != WEBHOOK && !known => Ok(Err(methods::unknown())),
            _ if webhook != WEBHOOK => Ok(Err(Refusal::new(401, "INVALID_CREDENTIALS", "Invalid request credentials"))),
            Asked::Call(call) => self.execute(call, self.limits.request_delay.mul_f64(strain)),
            Asked::Batch(batch) => self.run(batch, strain),
        })
    }

    fn run(&self, batch: &Batch, strain: f64) -> Result<Outcome, Broken> {
        let mut pause = self.limits.request_delay;
        self.memory.run_batch(&self.stopped, || {
            let answer = batch.run(|command| {
                let pause = std::mem::replace(&mut pause, self.limits.command_delay);
                self.execute(command, pause.mul_f64(strain))
            });
            answer.map(Ok)
        })
    }

    fn execute(&self, call: &Call, pause: Duration) -> Result<Outcome, Broken> {
        self.memory.execute(call, || self.pause(pause), &self.stopped)
    }

    fn pause(&self, pause: Duration) -> Result<(), Broken> {
        match self.stopped.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Broken::Close),
        }
    }
}

/// Every fake listens on loopback only.
fn serve<R: Respond>(port: u16, respond: impl FnOnce(Receiver<()>) -> R) -> anyhow::Result<Server> {
    Server::start("sandbox", (Ipv4Addr::LOCALHOST, port).into(), server::Limits::default(), respond)
}

/// The panic of a thread is reported elsewhere; what it left behind is still usable for a fake.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
