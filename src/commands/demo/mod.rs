//! `task-creator demo`: shows the whole loop on one machine. The worker and RabbitMQ are real, and the queues are the
//! demo's own. Bitrix24 is the [`crate::sandbox`]; the demo takes Camunda's part.
//!
//! [`messages`] go in, [`bridge`] is Camunda's side with the queues, [`audit`] counts, [`table`] and [`screen`] show.
//! The worker uses nothing of this.

pub mod audit;
pub mod bridge;
pub mod messages;
pub mod screen;
pub mod table;

use std::process::{self, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use crossbeam_channel::{Receiver, after, at, bounded, select};

use super::interrupts::{self, INTERRUPTED};
use crate::config::{Config, RabbitMq};
use crate::sandbox::{Limits, News, Sandbox, SimulatedUsers};
use crate::settings::{Environment, Given, SettingsErrors};
use crate::stats::Stats;
use crate::stop::{self, Stop, Stopper};
use crate::systems::table::Setup;
use crate::terminal;
use crate::{logging, worker};
use audit::Audit;
use bridge::{Bridge, Outcome, OwnQueues};
use screen::Screen;

/// Between two messages, and until simulated users finish a task: slow enough to watch.
const MESSAGE_PAUSE: Duration = Duration::from_millis(400);
const FINISH_AFTER: Duration = Duration::from_millis(1500);
/// Between two sweeps of the tracker, in seconds.
const SWEEP_INTERVAL: &str = "0.5";
/// The fake answers about as fast as a near portal.
const PORTAL_DELAY: Duration = Duration::from_millis(40);
/// How often the portal is read and the table is drawn.
const TICK: Duration = Duration::from_millis(50);
/// Six times the usual time: after it, something hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// For the whole demo, connecting included. After it the demo has only [`CLEARING_UP`].
const LONGEST: Duration = Duration::from_secs(50);
/// The folder of the demo's log in `LOG_DIR`.
const LOG_FOLDER: &str = "demo";
/// Where the right column of the introduction starts.
const COLUMN: usize = 13;
/// For clearing up after Ctrl+C, or after [`LONGEST`].
const CLEARING_UP: Duration = Duration::from_secs(10);
/// A second interrupt that comes sooner is part of the first.
const SAME_INTERRUPT: Duration = Duration::from_secs(1);

/// Runs the demo. An interrupt ends it after clearing up, a second one at once.
///
/// # Errors
/// A setting is wrong, there is no RabbitMQ, or something broke on the way.
pub fn run() -> anyhow::Result<ExitCode> {
    let (environment, interrupts) = (&super::environment()?, &interrupts::channel()?);
    let limits = Limits { request_delay: PORTAL_DELAY, ..Limits::default() };
    let sandbox = Sandbox::start(0, limits)?;
    let run = format!("demo-{}-{:x}", process::id(), crate::message::now_ms() & 0xff_ffff);
    let setup = setup(environment, &run, &sandbox.webhook_url())?;
    setup.hide_secrets();
    let config = &setup.config;
    // Compiling has taken a while, and connecting may: say that something happens.
    terminal::tell(&connecting(config), 0);
    let _logger = logging::start_in_files(config)?;
    let (stopper, interrupted) = stop::signal();
    let (sender, ended) = bounded(1);
    let over = Instant::now() + LONGEST;
    thread::scope(|scope| {
        let demo = thread::Builder::new().name("demo".into()).spawn_scoped(scope, || {
            let result = play(&run, &setup, &sandbox, &interrupted, over);
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

/// The settings of the demo: those of RabbitMQ and the log as they are set, all others its own.
fn setup(environment: &Environment, run: &str, webhook_url: &str) -> Result<Setup, SettingsErrors> {
    let is_blank = |given: &Result<Given, String>| given.as_ref().is_ok_and(|given| given.value.trim().is_empty());
    let given = |name: &str| environment.get(name).filter(|given| !is_blank(given));
    let own = |value: String| Some(Ok(Given { value, place: None, quoted: false }));
    let newcomer = given("RABBITMQ_PASSWORD").is_none();
    let mut setup = Setup::found(&|name| match name {
        "QUEUE_PREFIX" => own(format!("{run}.")),
        "ERROR_QUEUE" => own(format!("{run}.errors.camunda_tasks.queue")),
        "RESPONSES_QUEUE" => own(format!("{run}.camunda.responses.queue")),
        "BITRIX_WEBHOOK_URL" => own(webhook_url.to_owned()),
        "HEARTBEAT_INTERVAL" | "RETRY_DELAY" => own(SWEEP_INTERVAL.to_owned()),
        // RabbitMQ as installed lets `guest` in from the same machine.
        "RABBITMQ_PASSWORD" if newcomer => own("guest".to_owned()),
        "RABBITMQ_USERNAME" if newcomer => given(name).or_else(|| own("guest".to_owned())),
        name if name.starts_with("RABBITMQ_") || name.starts_with("LOG_") => given(name),
        _ => None,
    })?;
    // The demo does not write to the real worker's log.
    setup.config.log_dir.push(LOG_FOLDER);
    Ok(setup)
}

fn connecting(config: &Config) -> String {
    let RabbitMq { host, port, .. } = &config.rabbitmq;
    format!("Connecting to RabbitMQ at {host}:{port} …")
}

/// How the demo ended.
enum Ending {
    /// Every message has arrived.
    Complete,
    /// Time was up.
    Overdue,
    /// Somebody pressed Ctrl+C.
    Interrupted,
}

fn play(run: &str, setup: &Setup, sandbox: &Sandbox, interrupted: &Stop, over: Instant) -> anyhow::Result<ExitCode> {
    let config = &setup.config;
    let queues = OwnQueues::make(config)?;
    let audit = Audit::open(messages::all(run));
    // Head and status line.
    let mut screen = Screen::new(audit.histories.len() + 2);
    screen.say(&introduction(run, config, sandbox, audit.histories.len(), screen.width));
    let started = Instant::now();
    let over = over.min(started + PATIENCE);
    let mut stage =
        Stage { sandbox, simulated_users: SimulatedUsers::new(Some(FINISH_AFTER)), audit, screen, started, over };
    let played = queues
        .bridge(|bridge| with_worker(setup, |counters, refusals| stage.play(bridge, counters, refusals, interrupted)));
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
        Ending::Complete | Ending::Overdue => stage.report(left?, config),
    };
    removed?;
    if let Ending::Interrupted = ending {
        stage.screen.say("\nInterrupted. The worker has stopped, and the demo's queues are deleted.\n");
    }
    Ok(code)
}

/// Runs the worker as the command `run` does, while `work` runs.
fn with_worker<T>(
    setup: &Setup,
    work: impl FnOnce(&[Stats], &Receiver<anyhow::Error>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (stopper, stop) = stop::signal();
    let systems = worker::systems(setup, &stop)?;
    let counters: Vec<Stats> = systems.iter().map(worker::Running::counters).collect();
    let (refused, refusals) = bounded(systems.len() + 1);
    thread::scope(|scope| {
        thread::Builder::new()
            .name("heartbeat".into())
            .spawn_scoped(scope, || worker::run(&setup.config, &stop, systems, &counters, &refused))?;
        let result = work(&counters, &refusals);
        // If `work` panics, dropping the stopper raises it, so that the worker ends in any case.
        stopper.raise();
        result
    })
}

/// The running demo.
struct Stage<'a> {
    sandbox: &'a Sandbox,
    simulated_users: SimulatedUsers,
    audit: Audit,
    screen: Screen,
    started: Instant,
    /// When the time is up.
    over: Instant,
}

impl Stage<'_> {
    /// Runs until every message has arrived, the time is up, or somebody interrupts.
    fn play(
        &mut self,
        bridge: &mut Bridge,
        counters: &[Stats],
        refusals: &Receiver<anyhow::Error>,
        interrupted: &Stop,
    ) -> anyhow::Result<Ending> {
        let [responses, parked] = bridge.deliveries().clone();
        let confirms = bridge.confirms().clone();
        let mut next_message = Some(self.started);
        while !self.audit.complete() {
            if self.is_over() {
                self.complain();
                return Ok(Ending::Overdue);
            }
            if next_message.is_some_and(|next| next <= Instant::now()) {
                self.publish_next(bridge)?;
                next_message = None;
            }
            self.look_around(counters);
            select! {
                recv(confirms) -> confirm => if bridge.confirmed(confirm.context("RabbitMQ is gone")?)? {
                    next_message = Some(Instant::now() + MESSAGE_PAUSE);
                },
                recv(responses) -> message => self.arrived(bridge.outcome(message.context("RabbitMQ is gone")?)?),
                recv(parked) -> message => self.arrived(bridge.outcome(message.context("RabbitMQ is gone")?)?),
                recv(refusals) -> refusal => return Err(refusal?.context("the worker gave up")),
                // It is raised when the time is up, too; the check above handles that.
                recv(interrupted.receiver()) -> _ => if !self.is_over() { return Ok(Ending::Interrupted) },
                recv(after(TICK)) -> _ => {}
            }
        }
        Ok(Ending::Complete)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.over
    }

    /// One at a time: the next one is published when this one is confirmed.
    fn publish_next(&mut self, bridge: &mut Bridge) -> anyhow::Result<()> {
        let Some(history) = self.audit.next() else { return Ok(()) };
        bridge.publish(&history.message.body)?;
        // Shown now: the worker may be faster than the confirm.
        let at = self.started.elapsed();
        let history = self.audit.published(at);
        let what = history.map(|history| format!("sent: {}", history.message.note)).unwrap_or_default();
        tell(&mut self.screen, history, &what, at);
        Ok(())
    }

    /// Says what is missing. Stopping and clearing up come later: they may take long if something hangs.
    fn complain(&mut self) {
        self.draw(None);
        let missing = self.audit.balance(&[], 0).faults;
        self.screen.say(&format!("\nTime is up. After {} s this is missing:\n", self.started.elapsed().as_secs()));
        missing.iter().for_each(|fault| self.tell_fault(fault));
    }

    fn tell_fault(&mut self, fault: &str) {
        let fault = terminal::wrapped(&format!("  {fault}"), self.screen.width, 2);
        self.screen.say(&format!("{fault}\n"));
    }

    /// Shows what is new at the portal and in the worker's counters.
    fn look_around(&mut self, counters: &[Stats]) {
        for news in self.simulated_users.work(self.sandbox, Instant::now()) {
            let at = self.started.elapsed();
            let (history, what) = match news {
                News::Created(task) => {
                    let history = self.audit.created(task.marker.as_deref().unwrap_or_default(), task.id, at);
                    (history, format!("created as task {}", task.id))
                }
                News::Finished(task, answer) => {
                    let history = self.audit.finished(task.marker.as_deref().unwrap_or_default(), answer, at);
                    (history, answer.map_or_else(|| "finished".into(), |answer| format!("finished, answer {answer}")))
                }
            };
            tell(&mut self.screen, history, &what, at);
        }
        let sum = |counter: fn(&Stats) -> u64| counters.iter().map(counter).sum::<u64>();
        let at = self.started.elapsed();
        let recognised = self.audit.recognised(sum(|stats| stats.duplicates_prevented.get()), at);
        tell(&mut self.screen, recognised, "known already, no second task", at);
        let recorded = sum(|stats| stats.sent_to_success_queue.get());
        let answered = sum(|stats| stats.tracker.moved_to_responses.get());
        let open = recorded.saturating_sub(answered);
        let status =
            format!("  {:.1} s; {recorded} recorded in the sent queue, {open} of them still there", at.as_secs_f64());
        self.draw(Some(status));
    }

    fn draw(&mut self, status: Option<String>) {
        let table = table::table(&self.audit.histories, self.screen.width);
        self.screen.draw(&table.into_iter().chain(status).collect::<Vec<_>>());
    }

    fn arrived(&mut self, outcome: Outcome) {
        let at = self.started.elapsed();
        let (history, what) = match outcome {
            Outcome::Response { task_id, answer } => {
                let what = if answer.is_empty() { String::new() } else { format!(": {answer}") };
                (self.audit.answered(&task_id, &answer, at), format!("answered to Camunda{what}"))
            }
            Outcome::Parked { task_id, cause } => (self.audit.parked(&task_id, &cause, at), format!("parked: {cause}")),
            Outcome::ParkedUnreadable { body, cause } => {
                (self.audit.parked_unreadable(&body, &cause, at), format!("parked: {cause}"))
            }
        };
        tell(&mut self.screen, history, &what, at);
    }

    /// Shows the balance and returns the exit code.
    fn report(&mut self, left: u32, config: &Config) -> ExitCode {
        let log = config.log_dir.join("worker.log");
        if !self.screen.is_live() {
            let table = table::table(&self.audit.histories, self.screen.width);
            self.screen.say(&format!("\n{}\n", table.join("\n")));
        }
        let markers: Vec<String> = self.sandbox.tasks().into_iter().filter_map(|task| task.marker).collect();
        let balance = self.audit.balance(&markers, left);
        let width = self.screen.width - 1;
        self.screen.say(&format!("\n{}\n", terminal::wrapped(&balance.line, width, 0)));
        balance.faults.iter().for_each(|fault| self.tell_fault(fault));
        if !balance.faults.is_empty() {
            self.screen.say(&format!("The log says more: {}\n", log.display()));
            return ExitCode::FAILURE;
        }
        self.screen.say(&format!("\n{}\n", terminal::wrapped(&next(), width, 0)));
        ExitCode::SUCCESS
    }
}

/// Prints a line for an event if there is no table.
fn tell(screen: &mut Screen, history: Option<&audit::History>, what: &str, at: Duration) {
    if let Some(history) = history.filter(|_| !screen.is_live()) {
        screen.say(&table::event(history, what, at));
    }
}

/// What to do after the demo.
fn next() -> String {
    format!(
        "Next: put BITRIX_WEBHOOK_URL and RABBITMQ_PASSWORD into .env (config.env.example explains them). Then \
         `{}` says what else is missing.",
        terminal::command(&["check"])
    )
}

fn introduction(run: &str, config: &Config, sandbox: &Sandbox, messages: usize, width: usize) -> String {
    let webhook_url = sandbox.webhook_url();
    let portal = webhook_url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let what = format!(
        "{messages} messages go through RabbitMQ to a Bitrix24 fake. Simulated users finish the tasks, and the answers \
         come back for Camunda. Times are in seconds."
    );
    let rows = [
        format!("  RabbitMQ   {}:{}, only queues named {run}.*", config.rabbitmq.host, config.rabbitmq.port),
        format!("  Bitrix24   a fake at {portal}"),
        format!("  worker     the real one; its log is {}", config.log_dir.join("worker.log").display()),
    ];
    let rows = rows.map(|row| terminal::wrapped(&row, width, COLUMN)).join("\n");
    format!("{}\n\n{rows}\n\n", terminal::wrapped(&what, width - 1, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_keeps_to_queues_and_a_portal_of_its_own() {
        let setup = setup(&Environment::default(), "demo-1-2", "http://127.0.0.1:8024/rest/1/token")
            .expect("the settings are right");
        let config = &setup.config;
        assert_eq!(config.queue_prefix, "demo-1-2.");
        assert!(config.log_dir.ends_with("demo"), "the log of the real worker is another");
        assert!(config.error_queue.starts_with("demo-1-2.") && config.responses_queue.starts_with("demo-1-2."));
        let targets: Vec<String> = setup.on().map(|(_, system)| system.target()).collect();
        assert_eq!(targets, ["Bitrix24 at http://127.0.0.1:8024/rest/1/***"]);
    }
}
