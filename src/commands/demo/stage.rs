//! The running demo: it publishes the messages one after the other, lets the simulated users work, and shows and counts
//! what happens.
//!
//! It does not start the worker and does not make the queues.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossbeam_channel::{Receiver, after, select};

use super::audit::{Audit, History};
use super::bridge::{Bridge, Outcome};
use super::screen::Screen;
use super::setup::log_folder;
use super::table::Layout;
use crate::commands::fakes::simulated_users::{News, SimulatedUsers};
use crate::commands::fakes::{self, Fake};
use crate::config::Config;
use crate::stats::Stats;
use crate::stop::Stop;
use crate::terminal;

/// Between two messages, and until simulated users finish a task: slow enough to watch.
const MESSAGE_PAUSE: Duration = Duration::from_millis(400);
const FINISH_AFTER: Duration = Duration::from_millis(1500);
/// Between two messages where several systems work side by side: they are many.
const SHORT_PAUSE: Duration = Duration::from_millis(200);
/// How often the fakes are read and the table is drawn.
const TICK: Duration = Duration::from_millis(50);
/// Four times the usual time or more: after it, something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The running demo.
pub struct Stage {
    fakes: Vec<Box<dyn Fake>>,
    simulated_users: SimulatedUsers,
    audit: Audit,
    layout: Layout,
    screen: Screen,
    started: Instant,
    /// Between two messages.
    pause: Duration,
    /// When the time is up.
    over: Instant,
}

/// How a demo ended.
pub enum Ending {
    /// Every message has arrived.
    Complete,
    /// Time was up.
    Overdue,
    /// Somebody pressed Ctrl+C.
    Interrupted,
}

impl Stage {
    /// Starts the time. The demo ends when the usual time is up several times over, and at `over` in any case.
    pub fn open(fakes: Vec<Box<dyn Fake>>, audit: Audit, layout: Layout, screen: Screen, over: Instant) -> Stage {
        let started = Instant::now();
        Stage {
            simulated_users: SimulatedUsers::new(Some(FINISH_AFTER)),
            pause: if fakes.len() > 1 { SHORT_PAUSE } else { MESSAGE_PAUSE },
            over: over.min(started + PATIENCE),
            fakes,
            audit,
            layout,
            screen,
            started,
        }
    }

    /// Runs until every message has arrived, the time is up, or somebody interrupts.
    ///
    /// # Errors
    /// RabbitMQ is gone, or the worker gave up.
    pub fn play(
        &mut self,
        bridge: &mut Bridge,
        counters: &[(&str, &Stats)],
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
                    next_message = Some(Instant::now() + self.pause);
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

    /// Says that the demo was cut short.
    pub fn interrupted(&mut self) {
        self.screen.say("\nInterrupted. The worker has stopped, and the demo's queues are deleted.\n");
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.over
    }

    /// One at a time: the next one is published when this one is confirmed.
    fn publish_next(&mut self, bridge: &mut Bridge) -> anyhow::Result<()> {
        let Some(history) = self.audit.next() else { return Ok(()) };
        bridge.publish(history.message.system, &history.message.body)?;
        // Shown now: the worker may be faster than the confirm.
        let at = self.started.elapsed();
        let history = self.audit.published(at);
        let what = history.map(|history| format!("sent: {}", history.message.note)).unwrap_or_default();
        tell(&mut self.screen, &self.layout, history, &what, at);
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

    /// Shows what is new at the fakes and in the worker's counters.
    fn look_around(&mut self, counters: &[(&str, &Stats)]) {
        self.look_at_fakes();
        let at = self.started.elapsed();
        for (system, stats) in counters {
            let recognised = self.audit.recognised(system, stats.duplicates_prevented.get(), at);
            tell(&mut self.screen, &self.layout, recognised, "known already, no second task", at);
        }
        let sum = |counter: fn(&Stats) -> u64| counters.iter().map(|(_, stats)| counter(stats)).sum::<u64>();
        let recorded = sum(|stats| stats.sent_to_success_queue.get());
        let answered = sum(|stats| stats.tracker.moved_to_responses.get());
        let open = recorded.saturating_sub(answered);
        let status =
            format!("  {:.1} s; {recorded} recorded in the sent queue, {open} of them still there", at.as_secs_f64());
        self.draw(Some(status));
    }

    fn look_at_fakes(&mut self) {
        for news in self.simulated_users.work(&mut self.fakes, Instant::now()) {
            let at = self.started.elapsed();
            let (history, what) = match news {
                News::Created(task) => {
                    let history = self.audit.created(&task, at);
                    let noun = history.map_or("", |history| fakes::of(history.message.system).noun);
                    (history, format!("created as {noun} {}", task.id))
                }
                News::Finished(task, answer) => {
                    let history = self.audit.finished(&task.marker, answer, at);
                    (history, answer.map_or_else(|| "finished".into(), |answer| format!("finished, answer {answer}")))
                }
            };
            tell(&mut self.screen, &self.layout, history, &what, at);
        }
    }

    /// Draws the table, with this line below.
    pub fn draw(&mut self, status: Option<String>) {
        let table = self.layout.table(&self.audit.histories, self.screen.width);
        self.screen.draw(&table.into_iter().chain(status).collect::<Vec<_>>());
    }

    /// The worker has published this.
    pub fn arrived(&mut self, outcome: Outcome) {
        // What is finished at once is answered moments after it was created.
        self.look_at_fakes();
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
        tell(&mut self.screen, &self.layout, history, &what, at);
    }

    /// Shows the balance, and `next` after a good one, and returns the exit code. So many messages are `left` in the
    /// worker's queues.
    pub fn report(&mut self, left: u32, config: &Config, next: &str) -> ExitCode {
        let log = log_folder(config).join("worker.log");
        if !self.screen.is_live() {
            let table = self.layout.table(&self.audit.histories, self.screen.width);
            self.screen.say(&format!("\n{}\n", table.join("\n")));
        }
        let markers: Vec<String> = self.fakes.iter().flat_map(|fake| fake.markers()).collect();
        let balance = self.audit.balance(&markers, left);
        let width = self.screen.width - 1;
        self.screen.say(&format!("\n{}\n", terminal::wrapped(&balance.line, width, 0)));
        balance.faults.iter().for_each(|fault| self.tell_fault(fault));
        if !balance.faults.is_empty() {
            self.screen.say(&format!("The log says more: {}\n", log.display()));
            return ExitCode::FAILURE;
        }
        self.screen.say(&format!("\n{}\n", terminal::wrapped(next, width, 0)));
        ExitCode::SUCCESS
    }
}

/// Prints a line for an event if there is no table.
fn tell(screen: &mut Screen, layout: &Layout, history: Option<&History>, what: &str, at: Duration) {
    if let Some(history) = history.filter(|_| !screen.is_live()) {
        screen.say(&layout.event(history, what, at));
    }
}
