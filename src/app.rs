//! Starts a lane for every system that is on, and the statistics line; joins them all.

use std::thread;

use crossbeam_channel::Sender;

use crate::config::Config;
use crate::lane::{Lane, Queues, reader, tracking};
use crate::rabbitmq::publisher::LargestBody;
use crate::stats::Stats;
use crate::stop::Stop;
use crate::systems::{System, TABLE};

/// A system that is on, with its counters.
pub struct Running {
    name: &'static str,
    system: System,
}

/// The systems that are on. Says in one line each which are off, and why.
pub fn systems(config: &Config, stop: &Stop) -> Vec<Running> {
    let mut running = Vec::new();
    for entry in TABLE {
        let queue = Queues::of(entry.name, config).input;
        match (entry.open)(config, stop) {
            Ok(system) => running.push(Running { name: entry.name, system }),
            Err(why) => log::info!("{} is off ({why}): {queue} is left alone", entry.name),
        }
    }
    if running.is_empty() {
        log::warn!("no system is on, so there is nothing to do; BITRIX_WEBHOOK_URL switches Bitrix24 on");
    }
    running
}

/// Works until the stop signal. The counters, one for each system, belong to the caller, who may read them when this takes
/// too long to return. What makes a lane give up goes to `gave_up`.
pub fn run(config: &Config, stop: &Stop, systems: Vec<Running>, counters: &[Stats], gave_up: &Sender<anyhow::Error>) {
    let lanes: Vec<Lane> = systems
        .iter()
        .zip(counters)
        .map(|(running, stats)| Lane {
            name: running.name,
            queues: Queues::of(running.name, config),
            config,
            stats,
            largest: LargestBody::default(),
            stop: stop.clone(),
        })
        .collect();
    thread::scope(|scope| {
        let named = |name: String| thread::Builder::new().name(name);
        for (lane, Running { system: System { handler, tracker }, .. }) in lanes.iter().zip(systems) {
            let reading = named(lane.name.into()).spawn_scoped(scope, move || {
                reader::run(lane, handler.as_ref()).map_err(|err| drop(gave_up.send(err)))
            });
            let tracking = named(format!("{}/tracker", lane.name)).spawn_scoped(scope, || tracking::run(lane, tracker));
            if let Err(err) = reading.map(drop).and(tracking.map(drop)) {
                let _ = gave_up.send(anyhow::Error::new(err).context("cannot start a thread"));
            }
        }
        while !stop.pause(config.heartbeat_interval) {
            lanes.iter().for_each(|lane| log::info!("{}", lane.stats.line(lane.name)));
        }
    });
    lanes.iter().for_each(|lane| log::info!("{}", lane.stats.line(lane.name)));
}
