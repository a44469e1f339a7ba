//! The whole worker as the page polls it: what needs attention, every lane, the shared queues. It reads memory and the
//! last look at the queues; no queue is read for it.

use std::fs;
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::Value;

use super::attention::{self, Attention};
use super::hub::Hub;
use super::lanes::{self, LaneView};
use super::time;
use crate::logging;

/// What others add to it, each as the API has it.
#[derive(Debug, Default)]
pub struct Besides {
    /// The replay that is running, or the last one.
    pub replay: Option<Value>,
    /// The reconciliation that is running, or the last one, without its items.
    pub reconciliation: Option<Value>,
}

/// The worker, as `GET /api/v1/status` has it.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the manual describes each member")]
pub struct Status {
    pub snapshot_at: String,
    pub version: &'static str,
    pub pid: u32,
    pub started_at: String,
    pub host: &'static str,
    pub log_level: &'static str,
    pub access: &'static str,
    pub ready: bool,
    pub attention: Vec<Attention>,
    pub lanes: Vec<LaneView>,
    pub queues: Vec<QueueView>,
    pub replay: Option<Value>,
    pub reconciliation: Option<Value>,
    pub last_event: u64,
}

/// A queue that all lanes share.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the manual describes each member")]
pub struct QueueView {
    pub name: String,
    pub role: &'static str,
    pub messages: Option<u32>,
    pub consumers: Option<u32>,
    pub checked_at: Option<String>,
}

/// The worker as it is now, for a caller who may do this.
pub fn now(hub: &Hub, access: &'static str, besides: Besides) -> Status {
    let (lanes, queues) = (lanes::all(hub), shared_queues(hub));
    let Besides { replay, reconciliation } = besides;
    Status {
        snapshot_at: time::now(),
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        started_at: time::text(hub.started_at),
        host: host(),
        log_level: level(),
        access,
        ready: lanes.iter().all(|lane| lane.ready),
        attention: attention::all(&lanes, &queues, logging::lost_lines(), hub.reconciliations.lost()),
        lanes,
        queues,
        replay,
        reconciliation,
        last_event: hub.events.last(),
    }
}

/// The part of it that an ETag stands for. A look at the queues that has seen the same is no news; an age that grows
/// while something waits is.
pub fn lasting(mut status: Value) -> Value {
    if let Some(members) = status.as_object_mut() {
        members.remove("snapshot_at");
    }
    for queue in status["queues"].as_array_mut().into_iter().flatten() {
        queue.as_object_mut().map(|members| members.remove("checked_at"));
    }
    status
}

fn shared_queues(hub: &Hub) -> Vec<QueueView> {
    let (errors, responses) = (&hub.config.error_queue, &hub.config.responses_queue);
    let view = |(name, role): (&String, &'static str)| {
        let look = hub.looks.of(name);
        QueueView {
            name: name.clone(),
            role,
            messages: look.found.map(|found| found.ready),
            consumers: look.found.map(|found| found.consumers),
            checked_at: look.checked_at.map(time::text),
        }
    };
    [(errors, "errors"), (responses, "responses")].map(view).into()
}

fn level() -> &'static str {
    match logging::level() {
        log::LevelFilter::Warn => "WARNING",
        other => other.as_str(),
    }
}

/// The machine's name, as far as it says it.
fn host() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let file = fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let name = file.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
        name.map(|name| name.trim().to_owned()).unwrap_or_default()
    })
}
