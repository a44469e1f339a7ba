//! The program `task-creator`: command line, settings, logging and signals; picks the exit code.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, process, thread};

use anyhow::Context as _;
use crossbeam_channel::{Receiver, after, bounded, select};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use task_creator::cli::{self, Command};
use task_creator::config::{Config, Mistakes};
use task_creator::dotenv::Environment;
use task_creator::rabbitmq::Trouble;
use task_creator::sandbox::arguments::Order;
use task_creator::stats::Stats;
use task_creator::stop::Stop;
use task_creator::terminal::{self, INTERRUPTED};
use task_creator::{app, check, demo, explain, logging, parked, sandbox, send, stop};

/// As in sysexits.h: wrong usage, wrong settings.
const EX_USAGE: u8 = 64;
const EX_CONFIG: u8 = 78;
/// In the working directory.
const DOTENV: &str = ".env";

fn main() -> ExitCode {
    let command = match cli::parse(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(wrong) => return complain(EX_USAGE, &wrong.text),
    };
    match execute(command) {
        Ok(code) => code,
        Err(err) if err.is::<Mistakes>() => {
            complain(EX_CONFIG, &format!("{err}\nconfig.env.example explains each setting."))
        }
        Err(err) => complain(1, &logging::clean(&format!("{err:#}"))),
    }
}

/// Prints to the terminal, if there still is one.
fn complain(code: u8, text: &str) -> ExitCode {
    terminal::complain(text);
    ExitCode::from(code)
}

fn execute(command: Command) -> anyhow::Result<ExitCode> {
    // Logs are for the group at most.
    umask(Mode::from_bits_truncate(0o027));
    match command {
        Command::Help(name) => print(&cli::help::help(name)),
        Command::Version => print(concat!("task-creator ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Run => run(),
        Command::Check { create_field } => check::run(create_field).map(|fine| ExitCode::from(u8::from(!fine))),
        Command::Send { what, queue } => send::run(&settings()?, &what, queue.as_deref()).map(|()| ExitCode::SUCCESS),
        Command::Print(sample) => print(&sample.message()),
        Command::Parked(action) => parked::run(&settings()?, action, &stop_on_interrupt()?),
        Command::Explain { file } => {
            explain::run(&file, &Environment::load(Path::new(DOTENV))?).map(|fine| ExitCode::from(u8::from(!fine)))
        }
        Command::Demo => demo::run(&Environment::load(Path::new(DOTENV))?, &interrupts()?),
        Command::Sandbox(Order::Run { port, finish_after }) => {
            sandbox::command::run(port, finish_after, &interrupts()?)
        }
        Command::Sandbox(Order::Step { port, step }) => sandbox::command::step(port, &step),
    }
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    // A reader that has seen enough is a normal end.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// Works until a signal, and for as long after it as settling what is in hand takes.
fn run() -> anyhow::Result<ExitCode> {
    let environment = Environment::read(Path::new(DOTENV))?;
    // One of the mistakes may come of what the advice is about.
    let config = Config::from_env(&environment).inspect_err(|_| environment.tell())?;
    // Before the first thread: every later one inherits what is blocked here.
    let signals = signals()?;
    let logging = logging::start(&config).map_err(|err| Mistakes(vec![format!("{err:#}")]))?;
    reopen_logs_on_hangup()?;
    app::introduce(&config, Path::new(DOTENV));
    environment.advice.iter().for_each(|advice| log::warn!("{advice}"));
    let (stopper, stop) = stop::signal();
    let systems = app::systems(&config, &stop);
    let counters: Vec<Stats> = systems.iter().map(app::Running::counters).collect();
    let (gave_up, given_up) = bounded(systems.len() + 1);
    let (done, ended) = bounded(1);
    let why = thread::scope(|scope| {
        thread::Builder::new().name("heartbeat".into()).spawn_scoped(scope, || {
            app::run(&config, &stop, systems, &counters, &gave_up);
            let _ = done.send(());
        })?;
        let why = select! {
            recv(signals) -> _ => None,
            recv(given_up) -> why => why.ok(),
        };
        stopper.raise();
        // Before anything is said: nothing may hold the end up.
        let deadline = after(config.shutdown_timeout);
        if why.is_none() {
            log::info!("stopping; a second Ctrl+C ends at once");
        }
        if let Some(code) = await_end(&ended, &signals, &deadline) {
            last_words(why.as_ref(), Some(code), &counters);
            logging.flush();
            // Not even a broker that hangs can hold this up.
            process::exit(code.into());
        }
        anyhow::Ok(why)
    })?;
    Ok(ExitCode::from(last_words(why.as_ref(), None, &counters)))
}

/// Returns when all threads have ended, or, when that takes too long or a second signal comes, with the exit code for that.
fn await_end(ended: &Receiver<()>, signals: &Receiver<()>, deadline: &Receiver<Instant>) -> Option<u8> {
    select! {
        recv(ended) -> _ => None,
        recv(signals) -> _ => Some(INTERRUPTED),
        recv(deadline) -> _ => Some(1),
    }
}

/// Says how it ended, the reason last, and returns the exit code for it.
fn last_words(why: Option<&anyhow::Error>, cut_short: Option<u8>, counters: &[Stats]) -> u8 {
    let in_the_air = in_the_air(counters);
    if cut_short.is_some() && !in_the_air {
        log::warn!("stopped before all threads had ended; what was begun is delivered again and looked up first");
    }
    let Some(why) = why else {
        if cut_short.is_none() && !in_the_air {
            log::info!("stopped: everything that was in hand is settled, the rest waits in RabbitMQ");
        }
        return cut_short.unwrap_or(u8::from(in_the_air));
    };
    let refused = why.downcast_ref::<Trouble>();
    match refused {
        Some(refusal) => log::error!("stopped, since RabbitMQ does not let us in: {refusal:#}"),
        None => log::error!("stopped: {why:#}"),
    }
    let code = if refused.is_some() && !in_the_air { EX_CONFIG } else { 1 };
    cut_short.unwrap_or(code)
}

/// Says which tasks could not be settled, if there are any.
fn in_the_air(counters: &[Stats]) -> bool {
    let in_hand: Vec<String> = counters.iter().flat_map(Stats::in_hand).collect();
    if in_hand.is_empty() {
        return false;
    }
    log::warn!(
        "stopped with {} task(s) in the air; RabbitMQ delivers them again, and the next start looks each one up before \
         creating it: {}",
        in_hand.len(),
        in_hand.join(", ")
    );
    true
}

/// The settings, `.env` of the working directory included.
fn settings() -> anyhow::Result<Config> {
    Ok(Config::from_env(&Environment::load(Path::new(DOTENV))?)?)
}

/// Ctrl+C and SIGTERM. SIGHUP is blocked, here and in every thread to come: a closed terminal does not end the worker,
/// with `nohup` or without.
fn signals() -> anyhow::Result<Receiver<()>> {
    hangup().thread_block().context("blocking SIGHUP")?;
    interrupts()
}

fn hangup() -> SigSet {
    let mut hangup = SigSet::empty();
    hangup.add(Signal::SIGHUP);
    hangup
}

/// SIGHUP, which is blocked, opens the logs anew. The thread waits for it until the process ends.
fn reopen_logs_on_hangup() -> anyhow::Result<()> {
    let wait = || {
        while hangup().wait().is_ok() {
            log::info!("SIGHUP: opening the log files anew");
            logging::reopen();
        }
    };
    thread::Builder::new().name("hangup".into()).spawn(wait).context("cannot start a thread")?;
    Ok(())
}

/// Raised by Ctrl+C, SIGTERM and a closed terminal; a second one ends the process at once.
fn stop_on_interrupt() -> anyhow::Result<Stop> {
    let (stopper, stop) = stop::signal();
    let mut stopper = Some(stopper);
    let told = move || match stopper.take() {
        Some(stopper) => stopper.raise(),
        None => process::exit(INTERRUPTED.into()),
    };
    ctrlc::set_handler(told).context("listening for Ctrl+C")?;
    Ok(stop)
}

/// Ctrl+C, SIGTERM, and a closed terminal where that is not blocked.
fn interrupts() -> anyhow::Result<Receiver<()>> {
    let (sender, signals) = bounded(16);
    let told = move || {
        // A full channel means that enough signals wait already.
        let _ = sender.try_send(());
    };
    ctrlc::set_handler(told).context("listening for Ctrl+C")?;
    Ok(signals)
}
