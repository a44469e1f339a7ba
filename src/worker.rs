//! Starts a lane for every system that is on, the heartbeat, which logs how they are, and the thread that reports
//! parked tasks to Camunda; joins them all.
//!
//! It names no system, and does not know what a system or a lane does.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{process, thread};

use anyhow::Context as _;
use crossbeam_channel::{Sender, bounded};
use log::Level;

use crate::camunda::Engine;
use crate::config::{Config, RabbitMq};
use crate::http::server::Server;
use crate::incidents;
use crate::lane::control::Control;
use crate::lane::notices::{Counts, LastParked, Notice, Notices};
use crate::lane::{Lane, reader, tracking};
use crate::logging;
use crate::monitor;
use crate::monitor::events::Events;
use crate::monitor::hub::{Hub, LaneHandle};
use crate::monitor::watch::{self, Watching};
use crate::queues::Queues;
use crate::rabbitmq::publisher::LargestBody;
use crate::settings::SettingsErrors;
use crate::stats::{Declared, Stats};
use crate::stop::Stop;
use crate::supervisor::Supervisor;
use crate::systems::routing::Routes;
use crate::systems::table::Setup;
use crate::systems::{Configured, Connected, Surroundings};

/// A system that is on, with the parts that its lane uses.
pub struct Running {
    name: &'static str,
    /// What and where its target is, for people.
    target: String,
    routes: Routes,
    connected: Connected,
    /// What becomes of notices of its parked tasks, if there are any.
    noticed: Option<Counts>,
}

impl Running {
    /// Its counters, all at zero.
    pub fn counters(&self) -> Stats {
        let mut own = self.connected.handler.counters();
        if let Some(Counts { reported, unreported }) = &self.noticed {
            let help = "Parked tasks that show as an incident in Camunda.";
            own.push(Declared::count("incidents_reported", help, reported));
            let help = "Parked tasks that could not be reported to Camunda.";
            own.push(Declared::count("incidents_unreported", help, unreported));
        }
        Stats::with(own)
    }

    fn notices(&self, listener: &Sender<Notice>, last: Option<LastParked>) -> Notices {
        let notices = match &self.noticed {
            Some(counts) => Notices::to(listener.clone(), counts.clone()),
            None => Notices::default(),
        };
        match last {
            Some(last) => notices.noting(last),
            None => notices,
        }
    }
}

/// The line with every number is written this often, and at the end.
const FULL_LINE: Duration = Duration::from_secs(3600);

/// Logs what runs here, with which settings, and where it connects to.
pub fn introduce(setup: &Setup, settings: &Path) {
    let config = &setup.config;
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let from = match settings.exists() {
        true => format!("settings from {} and the environment", absolute(settings).display()),
        false => format!("settings from the environment, no {}", absolute(settings).display()),
    };
    let logs = config.log_dir.as_deref().map(|folder| format!("logs in {}", absolute(folder).display()));
    log::info!(
        "task-creator {} starts: pid {}, {from}, {}",
        env!("CARGO_PKG_VERSION"),
        process::id(),
        logs.as_deref().unwrap_or("no log files")
    );
    let RabbitMq { host, port, username, vhost, tls, .. } = &config.rabbitmq;
    let tls = if tls.is_some() { ", encrypted" } else { "" };
    log::info!("RabbitMQ at {host}:{port}, virtual host {vhost}, as {username}{tls}");
    if let Some(camunda) = &config.camunda {
        log::info!("Camunda at {}, told of parked tasks", camunda.url());
    }
    for (name, system) in setup.on() {
        log::info!("{}, tasks from {}", system.target(), Queues::of(name, config).input);
    }
}

/// Connects the systems that are on.
///
/// # Errors
/// One of them cannot work on this machine.
pub fn systems(setup: &Setup, stop: &Stop) -> anyhow::Result<Vec<Running>> {
    let Config { https, handler_threads: threads, rabbitmq, .. } = &setup.config;
    let routes = setup.routes();
    let around = Surroundings { https, threads: *threads, routes: &routes, stop, rabbitmq };
    let running: anyhow::Result<Vec<Running>> = setup
        .on()
        .map(|(name, system)| {
            let noticed = setup.config.camunda.as_ref().map(|_| Counts::default());
            let (target, routes) = (system.target(), routes.clone());
            Ok(Running { name, target, routes, connected: system.connect(&around).context(name)?, noticed })
        })
        .collect();
    if running.as_ref().is_ok_and(Vec::is_empty) {
        log::warn!("no system is on, so there is nothing to do; {}", reasons(setup));
    }
    running
}

/// Why each system that is off is off.
fn reasons(setup: &Setup) -> String {
    let off = setup.systems.iter().filter_map(|(name, configured)| match configured {
        Configured::Off(why) => Some(format!("{name}: {why}")),
        Configured::On(_) => None,
    });
    off.collect::<Vec<_>>().join("; ")
}

/// The handles to the lanes of these systems, by which others see and control them.
pub fn hub(config: &Config, systems: &[Running], events: Arc<Events>, stop: &Stop) -> Arc<Hub> {
    let lanes = systems.iter().map(|running| LaneHandle {
        name: running.name,
        target: running.target.clone(),
        queues: Queues::of(running.name, config),
        control: Control::default(),
        stats: Arc::new(running.counters()),
        last_parked: LastParked::default(),
        handler: Arc::clone(&running.connected.handler),
    });
    Arc::new(Hub::new(config.clone(), lanes.collect(), events, stop))
}

/// Works until the stop signal. The hub, which [`hub`] has made of these systems, belongs to the caller, who may read
/// it when this takes too long to return. The error that makes a lane give up goes to `gave_up`.
pub fn run(
    config: &Config,
    stop: &Stop,
    systems: Vec<Running>,
    hub: &Arc<Hub>,
    supervisor: &Supervisor,
    gave_up: &Sender<anyhow::Error>,
) {
    let (notices, noticed) = bounded(incidents::MOST_WAITING);
    let are_told = !config.alerts.people.is_empty();
    let lanes: Vec<Lane> = systems
        .iter()
        .zip(&hub.lanes)
        .zip(supervisor.pulses(systems.iter().map(|running| running.name)))
        .map(|((running, handle), pulse)| Lane {
            name: running.name,
            looks_up: running.connected.handler.visible_within().is_some(),
            queues: handle.queues.clone(),
            routes: running.routes.clone(),
            config,
            stats: &handle.stats,
            largest: LargestBody::default(),
            control: handle.control.clone(),
            notices: running.notices(&notices, are_told.then(|| handle.last_parked.clone())),
            pulse,
            stop: stop.clone(),
        })
        .collect();
    // Until the lanes have ended: it shows how they stop.
    let _monitor = monitor(config, hub, stop, gave_up);
    thread::scope(|scope| {
        let named = |name: String| thread::Builder::new().name(name);
        if let Some(camunda) = &config.camunda {
            // Half of the time, so that an engine that hangs does not keep the worker from stopping in time.
            let engine = Engine::new(&camunda.within(config.shutdown_timeout / 2), &config.https);
            let reporting = named("camunda".into()).spawn_scoped(scope, move || incidents::run(&engine, noticed, stop));
            if let Err(err) = reporting {
                log::warn!("parked tasks show no incident in Camunda, since a thread cannot be started: {err}");
            }
        }
        for (lane, Running { connected: Connected { handler, tracker }, .. }) in lanes.iter().zip(systems) {
            let reading = named(lane.name.into()).spawn_scoped(scope, move || {
                reader::run(lane, handler.as_ref()).map_err(|err| drop(gave_up.send(err)))
            });
            let tracking = named(format!("{}/tracker", lane.name)).spawn_scoped(scope, || tracking::run(lane, tracker));
            if let Err(err) = reading.map(drop).and(tracking.map(drop)) {
                let _ = gave_up.send(anyhow::Error::new(err).context("cannot start a thread"));
            }
        }
        beat(config, stop, &lanes);
        // A replay ends with the lanes, which tell it what becomes of its messages.
        hub.end();
    });
    let started = lanes.iter().filter(|lane| lane.stats.condition.has_started());
    started.for_each(|lane| log::info!("{}", lane.stats.line(lane.name)));
}

/// Starts the monitor, if it is on. Without it nobody sees or controls what was asked for, so the worker gives up.
fn monitor(
    config: &Config,
    hub: &Arc<Hub>,
    stop: &Stop,
    gave_up: &Sender<anyhow::Error>,
) -> Option<(Server, Option<Watching>)> {
    let settings = config.monitor.as_ref()?;
    let server = monitor::start(settings, Arc::clone(hub)).map_err(|err| {
        let wrong = format!("MONITOR_ADDR: the monitor cannot listen at {}: {err:#}", settings.address);
        let _ = gave_up.send(SettingsErrors(vec![wrong]).into());
    });
    let watching = watch::start(Arc::clone(hub), stop.clone());
    let watching =
        watching.inspect_err(|err| log::warn!("the monitor sees no queue, since a thread cannot be started: {err}"));
    Some((server.ok()?, watching.ok()))
}

/// Logs in every interval how the lanes are. A lane that has not had a session yet is left out.
fn beat(config: &Config, stop: &Stop, lanes: &[Lane]) {
    let (mut full_since, mut lost) = (Instant::now(), 0);
    while !stop.pause(config.heartbeat_interval) {
        let full = full_since.elapsed() >= FULL_LINE;
        if full {
            full_since = Instant::now();
        }
        for lane in lanes.iter().filter(|lane| lane.stats.condition.has_started()) {
            log::info!("{}", lane.stats.short_line(lane.name));
            if let Some(line) = lane.stats.condition.line(lane.name) {
                log::info!("{line}");
            }
            log::log!(if full { Level::Info } else { Level::Debug }, "{}", lane.stats.line(lane.name));
        }
        let lost_before = std::mem::replace(&mut lost, logging::lost_lines());
        if lost > lost_before {
            log::warn!("{lost} log line(s) are lost so far; stderr says why");
        }
    }
}
