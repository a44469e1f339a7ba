//! Reports parked tasks to Camunda's engine, where each shows as an incident, on a thread of its own.
//!
//! Best effort: no lane waits for it, and nothing is tried twice. What is not reported is counted and logged; it is
//! parked all the same. How the engine is spoken to is in [`crate::camunda`].

use std::time::Instant;

use crossbeam_channel::{Receiver, select};

use crate::camunda::{Engine, Told};
use crate::lane::log_throttle::LogThrottle;
use crate::lane::notices::Notice;
use crate::stop::Stop;

/// The most parked tasks that wait to be reported. While the engine hangs, that is for more than an hour.
pub const MOST_WAITING: usize = 1000;

/// Reports what comes, until the stop signal. Then it drops what still waits.
pub fn run(engine: &Engine, notices: Receiver<Notice>, stop: &Stop) {
    let mut failures = LogThrottle::default();
    while !stop.raised() {
        select! {
            recv(notices) -> notice => match notice {
                Ok(notice) => report(engine, notice, &mut failures),
                Err(_) => return,
            },
            recv(stop.receiver()) -> _ => break,
        }
    }
    let left = notices.try_iter().map(|notice| notice.counts.unreported.count()).count();
    if left > 0 {
        log::warn!("parked without an incident in Camunda, since the worker stops: {left} task(s)");
    }
}

fn report(engine: &Engine, Notice { task, counts }: Notice, failures: &mut LogThrottle) {
    let id = &task.id;
    match engine.fail(&task) {
        Ok(Told::Done) => {
            counts.reported.count();
            failures.over();
            log::info!("reported to Camunda as an incident: task={id}");
        }
        Ok(Told::NoTask) => log::info!("parked, and Camunda no longer has the task: task={id}"),
        Err(err) => {
            counts.unreported.count();
            let told = failures.say(&format!("{err:#}"), Instant::now());
            told.inspect(|why| log::warn!("parked without an incident in Camunda: task={id}: {why}"));
        }
    }
}
