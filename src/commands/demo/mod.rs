//! `task-creator demo`: shows the whole loop on one machine. The worker and RabbitMQ are real, and the queues are the
//! demo's own. The systems are [fakes](crate::commands::fakes); the demo takes Camunda's part.
//!
//! [`arguments`] say which systems, [`setup`] starts their fakes and makes the settings, [`stage`] runs the demo: their
//! messages go in, [`bridge`] is Camunda's side with the queues, [`audit`] counts, [`introduction`], [`table`] and
//! [`screen`] show. [`live`] is the demo that goes on and has a page. The worker uses nothing of this.

pub mod arguments;
pub mod audit;
pub mod bridge;
pub mod introduction;
pub mod live;
pub mod screen;
pub mod setup;
pub mod stage;
pub mod table;

use std::process::{self, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use crossbeam_channel::{Receiver, after, at, bounded, select};

use super::interrupts::{self, INTERRUPTED};
use crate::config::{Config, RabbitMq};
use crate::monitor::events::Events;
use crate::stats::Stats;
use crate::stop::{self, Stop, Stopper};
use crate::supervisor::Supervisor;
use crate::systems::table::Setup;
use crate::terminal;
use crate::{logging, worker};
use arguments::Options;
use audit::Audit;
use bridge::{OwnQueues, Parked};
use live::{Engine, Live, SettingsFile};
use screen::Screen;
use setup::{Settings, Shown, log_folder};
use stage::{Ending, Stage};
use table::Layout;

/// For the whole demo, connecting included. After it the demo has only [`CLEARING_UP`].
const LONGEST: Duration = Duration::from_secs(50);
/// The same for the one that goes on until Ctrl+C, in case that everybody has forgotten it.
const LONGEST_LIVE: Duration = Duration::from_secs(24 * 3600);
/// For clearing up after Ctrl+C, or after [`LONGEST`].
const CLEARING_UP: Duration = Duration::from_secs(10);
/// A second interrupt that comes sooner is part of the first.
const SAME_INTERRUPT: Duration = Duration::from_secs(1);
/// Of each system where there are several, so that the table fits a usual terminal.
const MOST_OF_ONE: usize = 6;

/// Runs the demo. An interrupt ends it after clearing up, a second one at once.
///
/// # Errors
/// A setting is wrong, there is no RabbitMQ, or something broke on the way.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (environment, interrupts) = (&super::environment()?, &interrupts::channel()?);
    let shown = setup::start(&options.systems.entries())?;
    let engine = options.monitor.then(Engine::start).transpose()?;
    let run = format!("demo-{}-{:x}", process::id(), crate::message::now_ms() & 0xff_ffff);
    let more = engine.as_ref().map(|engine| engine.settings(environment)).unwrap_or_default();
    let settings = Settings::of(environment, &run, &shown, more);
    let setup = settings.setup()?;
    setup.hide_secrets();
    let config = &setup.config;
    // Compiling has taken a while, and connecting may: say that something happens.
    terminal::tell(&connecting(config), 0);
    let _logger = logging::start_in_files(config, log_folder(config))?;
    let (stopper, interrupted) = stop::signal();
    let (sender, ended) = bounded(1);
    let over = Instant::now() + if options.monitor { LONGEST_LIVE } else { LONGEST };
    thread::scope(|scope| {
        let demo = thread::Builder::new().name("demo".into()).spawn_scoped(scope, || {
            let result = match &engine {
                Some(engine) => go_on(&run, &setup, &settings, engine, shown, &interrupted),
                None => play(&run, &setup, shown, &interrupted, over),
            };
            // Moved in, so that a panic closes the channel.
            let _ = { sender }.send(());
            result
        })?;
        watch(&ended, interrupts, stopper, over, &run);
        demo.join().map_err(|_| anyhow!("the demo has panicked; the last line of the log says where"))?
    })
}

/// Returns when the demo has ended; ends the process when that takes too long or a second signal comes.
fn watch(ended: &Receiver<()>, interrupts: &Receiver<()>, stopper: Stopper, over: Instant, run: &str) {
    let mut code = select! {
        recv(ended) -> _ => return,
        recv(interrupts) -> _ => INTERRUPTED,
        recv(at(over)) -> _ => 1,
    };
    stopper.raise();
    // A closed terminal interrupts several times at once, so a second interrupt counts only after a while.
    select! {
        recv(ended) -> _ => return,
        recv(after(SAME_INTERRUPT)) -> _ => interrupts.try_iter().for_each(drop),
    }
    select! {
        recv(ended) -> _ => return,
        recv(interrupts) -> _ => code = INTERRUPTED,
        recv(after(CLEARING_UP)) -> _ => {}
    }
    terminal::complain(&format!(
        "ended without clearing up; if queues {run}.* are left, RabbitMQ deletes them within {} minutes",
        bridge::UNUSED.as_secs() / 60
    ));
    log::logger().flush();
    process::exit(code.into());
}

fn connecting(config: &Config) -> String {
    let RabbitMq { host, port, .. } = &config.rabbitmq;
    format!("Connecting to RabbitMQ at {host}:{port} …")
}

fn play(run: &str, setup: &Setup, shown: Vec<Shown>, interrupted: &Stop, over: Instant) -> anyhow::Result<ExitCode> {
    let config = &setup.config;
    let systems: Vec<&'static str> = shown.iter().map(|shown| shown.entry.name).collect();
    let queues = OwnQueues::make(config, &systems)?;
    let most = if shown.len() > 1 { MOST_OF_ONE } else { usize::MAX };
    let messages = shown.iter().flat_map(|shown| (shown.entry.messages)(run).into_iter().take(most)).collect();
    let audit = Audit::open(messages);
    let layout = Layout::of(&audit.histories);
    // Head and status line.
    let mut screen = Screen::new(audit.histories.len() + 2, layout.narrowest());
    screen.say(&introduction::introduction(run, config, &shown, Some(audit.histories.len()), screen.width));
    let next = introduction::next(&shown);
    let fakes = shown.into_iter().map(|shown| shown.fake).collect();
    let mut stage = Stage::open(fakes, audit, layout, screen, over);
    let played = queues.bridge(Parked::Taken, |bridge| {
        with_worker(setup, |counters, refusals| stage.play(bridge, counters, refusals, interrupted))
    });
    // The worker has ended, so this number does not change any more.
    let left = queues.waiting();
    let removed = queues.remove().inspect_err(|err| log::error!("{err:#}"));
    let (ending, last) = played?;
    last.into_iter().for_each(|outcome| stage.arrived(outcome));
    if let Ending::Complete | Ending::Interrupted = ending {
        stage.draw(None);
    }
    let code = match ending {
        Ending::Interrupted => ExitCode::from(INTERRUPTED),
        Ending::Complete | Ending::Overdue => stage.report(left?, config, &next),
    };
    removed?;
    if let Ending::Interrupted = ending {
        stage.interrupted();
    }
    Ok(code)
}

/// The demo that goes on until Ctrl+C.
fn go_on(
    run: &str,
    setup: &Setup,
    settings: &Settings,
    engine: &Engine,
    shown: Vec<Shown>,
    interrupted: &Stop,
) -> anyhow::Result<ExitCode> {
    let config = &setup.config;
    let systems: Vec<&'static str> = shown.iter().map(|shown| shown.entry.name).collect();
    let queues = OwnQueues::make(config, &systems)?;
    let width = terminal::width().unwrap_or(screen::USUAL_WIDTH);
    terminal::print(&introduction::introduction(run, config, &shown, None, width));
    let _file = SettingsFile::write(log_folder(config), &settings.lines())?;
    terminal::print(&live::advice(config));
    let mut live = Live::open(engine, run, shown);
    let played = queues
        .bridge(Parked::Left, |bridge| with_worker(setup, |_, refusals| live.play(bridge, refusals, interrupted)));
    let removed = queues.remove().inspect_err(|err| log::error!("{err:#}"));
    played?;
    removed?;
    terminal::print("\nStopped. The demo's queues are deleted.\n");
    Ok(ExitCode::SUCCESS)
}

/// Runs the worker as the command `run` does, while `work` runs.
fn with_worker<T>(
    setup: &Setup,
    work: impl FnOnce(&[(&str, &Stats)], &Receiver<anyhow::Error>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (stopper, stop) = stop::signal();
    let systems = worker::systems(setup, &stop)?;
    let hub = worker::hub(&setup.config, &systems, Events::start(&setup.config), &stop);
    let (refused, refusals) = bounded(systems.len() + 1);
    thread::scope(|scope| {
        thread::Builder::new().name("heartbeat".into()).spawn_scoped(scope, || {
            worker::run(&setup.config, &stop, systems, &hub, &Supervisor::default(), &refused)
        })?;
        let named: Vec<(&str, &Stats)> = hub.lanes.iter().map(|lane| (lane.name, lane.stats.as_ref())).collect();
        let result = work(&named, &refusals);
        // If `work` panics, dropping the stopper raises it, so that the worker ends in any case.
        stopper.raise();
        result
    })
}
