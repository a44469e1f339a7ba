//! Whether the worker works, for whatever starts and restarts it: every lane has its consumers at RabbitMQ, and
//! acknowledges what waits. It changes nothing.

use super::hub::Hub;
use super::lanes::{self, LaneView};
use crate::redact::clean;

/// Whether every lane is ready, and a line for each that says why not.
#[derive(Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Every lane that is on works.
    pub ready: bool,
    /// A line for each lane.
    pub lines: Vec<String>,
}

/// How the lanes are now.
pub fn readiness(hub: &Hub) -> Readiness {
    of(&lanes::all(hub))
}

fn of(lanes: &[LaneView]) -> Readiness {
    let line = |lane: &LaneView| match &lane.not_ready_because {
        None => format!("[+] {} ready", lane.system),
        Some(why) => format!("[-] {}: {}", lane.system, why.replace(['\r', '\n'], " ")),
    };
    Readiness { ready: lanes.iter().all(|lane| lane.ready), lines: lanes.iter().map(line).collect() }
}

impl Readiness {
    /// Its first line.
    pub fn head(&self) -> String {
        format!("{}\n", if self.ready { "ready" } else { "not ready" })
    }

    /// The answer in text; without `verbose` the lanes that are ready are left out.
    pub fn text(&self, verbose: bool) -> String {
        let shown = self.lines.iter().filter(|line| verbose || line.starts_with("[-]"));
        self.head() + &shown.map(|line| format!("{}\n", clean(line))).collect::<String>()
    }
}
