//! An OpenProject fake on loopback, for tests and for people: work packages, projects, states, types and custom fields
//! in memory, as unkindly as the real one answers.
//!
//! One id that is missing in a filter makes the whole request 400; without a filter only what is open shows; a page
//! holds fewer rows than were asked for; unknown members, and custom fields that the project or type does not have, are
//! ignored without a word; a stale `lockVersion` is 409; texts of errors are localised. It is a model of what is known
//! of OpenProject, not an OpenProject. It knows nothing of the worker.
//!
//! Reading order: [`store`] (what is remembered), routes (what can be asked), filters, write (bodies), show (answers).

mod answer;
mod filters;
mod routes;
mod show;
pub mod store;
mod write;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crossbeam_channel::Receiver;

use super::faults::{ANY_REQUEST, Fault, Moment, Order, Scope, What};
use super::mishaps::Mishaps;
use super::reply::Broken;
use super::request::Call;
use super::{lock, serve};
use crate::http::server::{Reply, Request, Respond, Server};
use answer::{Answer, Refusal, page};
pub use store::{ANSWER_FIELD, MARKER_FIELD, Rules, Store};

/// The token of its only user. Fixed, so that a `.env` stays valid from run to run.
pub const TOKEN: &str = "sandbox-openproject-token";
/// The project in which work packages may be created.
pub const PROJECT: u64 = 2;

/// A running fake. Dropping it cuts all connections, ends all waits and joins all threads.
pub struct OpenProject {
    server: Server,
    shared: Arc<Shared>,
}

/// Belongs to the threads of the connections and to whoever looks on.
#[derive(Default)]
struct Shared {
    store: Mutex<Store>,
    mishaps: Mishaps,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl OpenProject {
    /// Starts on `127.0.0.1:port`; port 0 takes any free one.
    ///
    /// # Errors
    /// The port is taken, or no thread can be started.
    pub fn start(port: u16) -> anyhow::Result<OpenProject> {
        let shared = Arc::<Shared>::default();
        let server = serve(port, |stopped| Desk { shared: Arc::clone(&shared), stopped })?;
        Ok(OpenProject { server, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What it remembers, to be looked at and changed; requests wait meanwhile.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.shared.store)
    }

    /// Requests so far by what they asked for, such as `GET work_packages` and `GET work_packages/{id}`.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        lock(&self.shared.counts).clone()
    }

    /// Orders a fault; what a call asks for is its method, see [`OpenProject::counts`].
    pub fn order(&self, fault: Fault) -> Order {
        self.shared.mishaps.order(fault)
    }

    /// Takes one order back.
    pub fn clear(&self, order: &Order) {
        self.shared.mishaps.clear(order);
    }

    /// Takes all orders back, and ends everything that hangs.
    pub fn mend(&self) {
        self.shared.mishaps.clear_all();
        self.shared.mishaps.release();
    }
}

/// Where requests arrive.
struct Desk {
    shared: Arc<Shared>,
    /// Closed when the fake goes.
    stopped: Receiver<()>,
}

impl Respond for Desk {
    fn respond(&self, request: &Request<'_>) -> Reply {
        let asked = routes::read(request);
        let call = Call::plain(asked.name(), asked.params());
        *lock(&self.shared.counts).entry(call.method.clone()).or_default() += 1;
        let answer = self.struck(&call, || {
            routes::answer(&mut lock(&self.shared.store), &asked).unwrap_or_else(Refusal::into_answer)
        });
        answer.map_or_else(Broken::into_http, |answer| Reply::Page(page(&answer)))
    }
}

impl Desk {
    /// Does what `run` does, unless or until a fault strikes.
    fn struck(&self, call: &Call, run: impl FnOnce() -> Answer) -> Result<Answer, Broken> {
        for scope in [Scope::Request, Scope::Call] {
            if let Some(instead) = self.instead(scope, call, Moment::Before)? {
                return Ok(instead);
            }
        }
        let answer = run();
        let instead = self.instead(Scope::Call, call, Moment::After)?;
        Ok(instead.unwrap_or(answer))
    }

    fn instead(&self, scope: Scope, call: &Call, moment: Moment) -> Result<Option<Answer>, Broken> {
        let what = self.shared.mishaps.strike(scope, call, moment, &self.stopped)?;
        Ok(match what {
            Some(What::Refuse { status, code, text }) => Some(Refusal::new(status, &code, text).into_answer()),
            Some(What::Result(body)) => Some(Answer { status: 200, body }),
            _ => None,
        })
    }
}

/// For an order that strikes every request, before it is looked at.
pub const EVERY_REQUEST: &str = ANY_REQUEST;

#[cfg(test)]
mod tests;
