//! `task-creator run`: starts the worker, waits for a signal, and logs how it ended.
//!
//! It chooses the exit code. It does not know what the worker does: that is in [`worker`].

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, bounded, select};

use super::interrupts::{self, INTERRUPTED};
use super::{DOTENV, EX_CONFIG};
use crate::logging::Logging;
use crate::monitor::alerts;
use crate::monitor::events::Events;
use crate::monitor::hub::Hub;
use crate::rabbitmq::ConnectionError;
use crate::settings::{Environment, SettingsErrors};
use crate::supervisor::Supervisor;
use crate::systems::table::{self, Setup};
use crate::{logging, stop, worker};

/// For the last lines of the log, after the time for stopping is over.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Runs the worker until a signal, and then until the unsettled messages are settled.
///
/// # Errors
/// A setting is wrong, or the system refuses threads or signals.
pub fn run() -> anyhow::Result<ExitCode> {
    let environment = Environment::read(Path::new(DOTENV), table::settings())?;
    // The advice may explain one of the errors.
    let setup = Setup::from_env(&environment).inspect_err(|_| super::tell(&environment))?;
    setup.hide_secrets();
    // Before the first thread is started: threads inherit the blocked signals.
    interrupts::hold_hangups()?;
    let signals = interrupts::channel()?;
    let logging = logging::start(&setup.config).map_err(|err| SettingsErrors(vec![format!("{err:#}")]))?;
    interrupts::on_hangup(|| {
        log::info!("SIGHUP: opening the log files again");
        logging::reopen();
        ControlFlow::Continue(())
    })?;
    // Before anything is logged that it should have.
    let events = Events::start(&setup.config);
    worker::introduce(&setup, Path::new(DOTENV));
    environment.advice.iter().for_each(|advice| log::warn!("{advice}"));
    work(&setup, events, &signals, &logging)
}

fn work(setup: &Setup, events: Arc<Events>, signals: &Receiver<()>, logging: &Logging) -> anyhow::Result<ExitCode> {
    let (stopper, stop) = stop::signal();
    let config = &setup.config;
    let supervisor = Supervisor::from_environment();
    let systems = worker::systems(setup, &stop)?;
    let hub = worker::hub(config, &systems, events, &stop);
    alerts::start(setup, &hub, &stop);
    let (gave_up, given_up) = bounded(systems.len() + 1);
    let (done, ended) = bounded(1);
    let why = thread::scope(|scope| {
        thread::Builder::new().name("heartbeat".into()).spawn_scoped(scope, || {
            worker::run(config, &stop, systems, &hub, &supervisor, &gave_up);
            let _ = done.send(());
        })?;
        let why = select! {
            recv(signals) -> _ => None,
            recv(given_up) -> why => why.ok(),
        };
        stopper.raise();
        // Before anything is logged: nothing may delay the end.
        let deadline = after(config.shutdown_timeout);
        supervisor.stopping(config.shutdown_timeout + LAST_WORDS);
        if why.is_none() {
            log::info!("stopping; a second Ctrl+C ends at once");
        }
        if let Some(code) = await_end(&ended, signals, &deadline) {
            last_words(why.as_ref(), Some(code), &hub);
            logging.flush();
            // Not even a hanging broker can delay this.
            process::exit(code.into());
        }
        anyhow::Ok(why)
    })?;
    Ok(ExitCode::from(last_words(why.as_ref(), None, &hub)))
}

/// Waits until all threads have ended. Returns an exit code if that takes too long or a second signal comes.
fn await_end(ended: &Receiver<()>, signals: &Receiver<()>, deadline: &Receiver<Instant>) -> Option<u8> {
    select! {
        recv(ended) -> _ => None,
        recv(signals) -> _ => Some(INTERRUPTED),
        recv(deadline) -> _ => Some(1),
    }
}

/// Logs how the worker ended, with the reason last, and returns the exit code.
fn last_words(why: Option<&anyhow::Error>, cut_short: Option<u8>, hub: &Hub) -> u8 {
    let some_unsettled = log_unsettled(hub);
    if cut_short.is_some() && !some_unsettled {
        log::warn!(
            "stopped before all threads had ended; RabbitMQ delivers their messages again, and each is looked up first"
        );
    }
    let Some(why) = why else {
        if cut_short.is_none() && !some_unsettled {
            log::info!("stopped: every message at work is settled, the rest waits in RabbitMQ");
        }
        return cut_short.unwrap_or(u8::from(some_unsettled));
    };
    let (refused, wrong) = (why.downcast_ref::<ConnectionError>(), why.downcast_ref::<SettingsErrors>());
    match (refused, wrong) {
        (Some(refusal), _) => log::error!("stopped, since RabbitMQ does not let us in: {refusal:#}"),
        (None, Some(SettingsErrors(errors))) => log::error!("stopped: {}", errors.join("; ")),
        (None, None) => log::error!("stopped: {why:#}"),
    }
    let is_wrong_setting = refused.is_some() || wrong.is_some();
    let code = if is_wrong_setting && !some_unsettled { EX_CONFIG } else { 1 };
    cut_short.unwrap_or(code)
}

/// Logs which tasks are unsettled, if there are any.
fn log_unsettled(hub: &Hub) -> bool {
    let unsettled: Vec<String> = hub.lanes.iter().flat_map(|lane| lane.stats.unsettled()).collect();
    if unsettled.is_empty() {
        return false;
    }
    log::warn!(
        "stopped with {} unsettled task(s); RabbitMQ delivers them again, and the next start looks each one up before \
         creating it: {}",
        unsettled.len(),
        unsettled.join(", ")
    );
    true
}
