//! The program `task-creator`: command line, settings, logging and signals; picks the exit code.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
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
use task_creator::{app, check, demo, explain, logging, parked, sandbox, send, stop, terminal};

/// As in sysexits.h: wrong usage, wrong settings.
const EX_USAGE: u8 = 64;
const EX_CONFIG: u8 = 78;
/// As shells report it: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

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
            explain::run(&file, &Environment::load(Path::new(".env"))?).map(|fine| ExitCode::from(u8::from(!fine)))
        }
        Command::Demo => demo::run(&Environment::load(Path::new(".env"))?, &interrupts()?),
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
    let environment = Environment::read(Path::new(".env"))?;
    // One of the mistakes may come of what the advice is about.
    let config = Config::from_env(&environment).inspect_err(|_| environment.tell())?;
    // Before the first thread: every later one inherits what is blocked here.
    let signals = signals()?;
    let _logger = logging::start(&config).map_err(|err| Mistakes(vec![format!("{err:#}")]))?;
    log::info!("task-creator {} starts", env!("CARGO_PKG_VERSION"));
    environment.advice.iter().for_each(|advice| log::warn!("{advice}"));
    let (stopper, stop) = stop::signal();
    let systems = app::systems(&config, &stop);
    let counters: Vec<Stats> = systems.iter().map(|_| Stats::default()).collect();
    let (gave_up, given_up) = bounded(systems.len() + 1);
    let (done, ended) = bounded(1);
    let code = thread::scope(|scope| {
        thread::Builder::new().name("heartbeat".into()).spawn_scoped(scope, || {
            app::run(&config, &stop, systems, &counters, &gave_up);
            let _ = done.send(());
        })?;
        let code = select! {
            recv(signals) -> _ => {
                log::info!("stopping; a second Ctrl+C ends at once");
                0
            }
            recv(given_up) -> why => why.map_or(0, |why| say_why(&why)),
        };
        stopper.raise();
        await_end(&ended, &signals, config.shutdown_timeout, &counters);
        anyhow::Ok(code)
    })?;
    if in_the_air(&counters) {
        return Ok(ExitCode::FAILURE);
    }
    log::info!("stopped: everything that was in hand is settled, the rest waits in RabbitMQ");
    Ok(ExitCode::from(code))
}

/// Says why the worker gives up, and returns the exit code for that.
fn say_why(why: &anyhow::Error) -> u8 {
    match why.downcast_ref::<Trouble>() {
        Some(refusal) => {
            log::error!("stopping, since RabbitMQ does not let us in: {refusal:#}");
            EX_CONFIG
        }
        None => {
            log::error!("stopping: {why:#}");
            1
        }
    }
}

/// Returns when all threads have ended; ends the process when that takes too long or a second signal comes.
fn await_end(ended: &Receiver<()>, signals: &Receiver<()>, patience: Duration, counters: &[Stats]) {
    let code = select! {
        recv(ended) -> _ => return,
        recv(signals) -> _ => INTERRUPTED,
        recv(after(patience)) -> _ => 1,
    };
    if !in_the_air(counters) {
        log::warn!("stopped before all threads had ended; what was begun is delivered again and looked up first");
    }
    log::logger().flush();
    // Not even a broker that hangs can hold this up.
    process::exit(code);
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
    Ok(Config::from_env(&Environment::load(Path::new(".env"))?)?)
}

/// Ctrl+C and SIGTERM. SIGHUP is blocked, here and in every thread to come: a closed terminal does not end the worker,
/// with `nohup` or without.
fn signals() -> anyhow::Result<Receiver<()>> {
    let mut hangup = SigSet::empty();
    hangup.add(Signal::SIGHUP);
    hangup.thread_block().context("blocking SIGHUP")?;
    interrupts()
}

/// Raised by Ctrl+C, SIGTERM and a closed terminal; a second one ends the process at once.
fn stop_on_interrupt() -> anyhow::Result<Stop> {
    let (stopper, stop) = stop::signal();
    let mut stopper = Some(stopper);
    let told = move || match stopper.take() {
        Some(stopper) => stopper.raise(),
        None => process::exit(INTERRUPTED),
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
