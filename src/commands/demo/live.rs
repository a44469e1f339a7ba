//! `demo --monitor`: the loop goes on until Ctrl+C, so that its page, `status`, `trace`, `reconcile` and `control` can
//! be tried on it.
//!
//! Camunda is a fake engine here. The bridge fetches its tasks and publishes them, and completes what is answered; what
//! is unlocked is fetched and published again. Parked messages stay in the error queue. Nothing is audited: whoever
//! tries this pauses, replays and discards as he likes.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossbeam_channel::{Receiver, after, select};

use super::bridge::{Bridge, Outcome};
use super::setup::{Shown, log_folder};
use crate::commands::DOTENV;
use crate::commands::fakes::messages::{Kind, Message};
use crate::commands::fakes::simulated_users::SimulatedUsers;
use crate::commands::fakes::{Fake, FakeEntry};
use crate::config::Config;
use crate::message::Task;
use crate::sandbox::camunda::{Camunda, PASSWORD, ROOT, USER};
use crate::sandbox::http_fake::HttpFake;
use crate::settings::Environment;
use crate::stop::Stop;
use crate::terminal;

/// Where the page is, unless this setting says otherwise.
const MONITOR_ADDR: &str = "MONITOR_ADDR";
const ADDRESS: &str = "127.0.0.1:9180";
/// Of the demo only, so it may be shown.
const TOKEN: &str = "demo-control-token-of-this-machine-only";
/// As the field's bridge calls itself.
const BRIDGE: &str = "universal-worker";
/// Between two messages, and until simulated users finish a task: the page shows some open ones.
const MESSAGE_PAUSE: Duration = Duration::from_secs(2);
const FINISH_AFTER: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(200);

/// The fake engine, and the settings with which the worker finds it and has a monitor.
pub struct Engine(HttpFake<Camunda>);

impl Engine {
    /// An engine without tasks.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start() -> anyhow::Result<Engine> {
        Ok(Engine(HttpFake::start(0, Camunda::default())?))
    }

    /// What the demo sets besides the settings of its fakes.
    pub fn settings(&self, environment: &Environment) -> Vec<(&'static str, String)> {
        let address = environment.value(MONITOR_ADDR).filter(|address| !address.trim().is_empty());
        vec![
            (MONITOR_ADDR, address.unwrap_or_else(|| ADDRESS.to_owned())),
            ("CAMUNDA_URL", format!("http://{}{ROOT}", self.0.address())),
            ("CAMUNDA_USER", USER.to_owned()),
            ("CAMUNDA_PASSWORD", PASSWORD.to_owned()),
            ("MONITOR_CONTROL_TOKEN", TOKEN.to_owned()),
        ]
    }
}

/// The running loop.
pub struct Live<'a> {
    engine: &'a Engine,
    entries: Vec<&'static FakeEntry>,
    fakes: Vec<Box<dyn Fake>>,
    users: SimulatedUsers,
    run: String,
    /// So many rounds of messages were made.
    rounds: u32,
    /// Messages that Camunda has not come to yet.
    coming: VecDeque<Message>,
    /// What the bridge publishes for each task of the engine: its system and its body.
    bodies: HashMap<String, (&'static str, Vec<u8>)>,
    /// What the bridge publishes next. One message at a time is unconfirmed.
    to_publish: VecDeque<(&'static str, Vec<u8>)>,
    unconfirmed: bool,
}

impl<'a> Live<'a> {
    /// Nothing has happened yet.
    pub fn open(engine: &'a Engine, run: &str, shown: Vec<Shown>) -> Live<'a> {
        let entries = shown.iter().map(|shown| shown.entry).collect();
        Live {
            engine,
            entries,
            fakes: shown.into_iter().map(|shown| shown.fake).collect(),
            users: SimulatedUsers::new(Some(FINISH_AFTER)),
            run: run.to_owned(),
            rounds: 0,
            coming: VecDeque::new(),
            bodies: HashMap::new(),
            to_publish: VecDeque::new(),
            unconfirmed: false,
        }
    }

    /// Goes on until somebody interrupts.
    ///
    /// # Errors
    /// RabbitMQ is gone, or the worker gave up.
    pub fn play(
        &mut self,
        bridge: &mut Bridge,
        refusals: &Receiver<anyhow::Error>,
        interrupted: &Stop,
    ) -> anyhow::Result<()> {
        let [responses, _] = bridge.deliveries().clone();
        let confirms = bridge.confirms().clone();
        let mut next_message = Instant::now();
        loop {
            if next_message <= Instant::now() {
                self.go_on();
                next_message = Instant::now() + MESSAGE_PAUSE;
            }
            self.users.work(&mut self.fakes, Instant::now());
            self.fetch();
            self.publish(bridge)?;
            select! {
                recv(confirms) -> confirm => {
                    self.unconfirmed = !bridge.confirmed(confirm.context("RabbitMQ is gone")?)?;
                }
                recv(responses) -> message => {
                    self.complete(bridge.outcome(message.context("RabbitMQ is gone")?)?);
                }
                recv(refusals) -> refusal => return Err(refusal?.context("the worker gave up")),
                recv(interrupted.receiver()) -> _ => return Ok(()),
                recv(after(TICK)) -> _ => {}
            }
        }
    }

    /// A process comes to its next task, or somebody publishes what no process knows.
    fn go_on(&mut self) {
        if self.coming.is_empty() {
            self.rounds += 1;
            let run = format!("{}-{}", self.run, self.rounds);
            let of_each = self.entries.iter().map(|entry| VecDeque::from((entry.messages)(&run)));
            self.coming = in_turns(of_each.collect());
        }
        let Some(Message { kind, system, body, .. }) = self.coming.pop_front() else { return };
        match kind {
            Kind::Task(id) | Kind::Nobodys(id) => {
                let topic = Task::parse(body.clone()).map(|task| task.topic).unwrap_or_default();
                self.engine.0.target().add(&id, &topic);
                self.bodies.insert(id, (system, body));
            }
            Kind::Again(_) | Kind::Unreadable => self.to_publish.push_back((system, body)),
        }
    }

    /// The bridge locks what is free, and publishes it.
    fn fetch(&mut self) {
        let mut engine = self.engine.0.target();
        let free: Vec<String> = engine.fetchable().into_iter().map(str::to_owned).collect();
        for id in free {
            engine.lock(&id, BRIDGE);
            self.to_publish.extend(self.bodies.get(&id).cloned());
        }
    }

    fn publish(&mut self, bridge: &mut Bridge) -> anyhow::Result<()> {
        if self.unconfirmed {
            return Ok(());
        }
        if let Some((system, body)) = self.to_publish.pop_front() {
            bridge.publish(system, &body)?;
            self.unconfirmed = true;
        }
        Ok(())
    }

    /// The bridge tells the engine what was answered.
    fn complete(&mut self, outcome: Outcome) {
        if let Outcome::Response { task_id, .. } = outcome {
            self.engine.0.target().finish(&task_id);
            self.bodies.remove(&task_id);
        }
    }
}

/// The messages of several systems, one of each after the other.
fn in_turns(mut of_each: Vec<VecDeque<Message>>) -> VecDeque<Message> {
    let longest = of_each.iter().map(VecDeque::len).max().unwrap_or_default();
    (0..longest).flat_map(|_| of_each.iter_mut().filter_map(VecDeque::pop_front).collect::<Vec<_>>()).collect()
}

/// The settings of the demo in a folder, for other commands. The file goes when this is dropped.
pub struct SettingsFile(PathBuf);

impl SettingsFile {
    /// Writes them, for nobody else's eyes: RabbitMQ's password is among them.
    ///
    /// # Errors
    /// The folder takes no file.
    pub fn write(folder: &Path, settings: &[(String, String)]) -> anyhow::Result<SettingsFile> {
        let path = folder.join(DOTENV);
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.with_context(|| format!("writing {}", path.display()))?;
        let own = SettingsFile(path);
        for (name, value) in settings {
            writeln!(file, "{name}='{}'", value.replace('\\', r"\\").replace('\'', r"\'"))?;
        }
        Ok(own)
    }
}

impl Drop for SettingsFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What to try.
pub fn advice(config: &Config) -> String {
    let address = config.monitor.as_ref().map_or_else(|| ADDRESS.to_owned(), |monitor| monitor.address.to_string());
    let program = match terminal::program() {
        // The commands below run in another folder.
        called if called.contains('/') && !called.starts_with('/') => {
            std::env::current_exe().map_or_else(|_| called.to_owned(), |path| path.display().to_string())
        }
        called => called.to_owned(),
    };
    let folder = log_folder(config).display();
    format!(
        "The loop goes on until Ctrl+C.\n\n  page    http://{address}/\n  token   {TOKEN}\n\nIn another terminal, for example:\n\n  \
         cd {folder}\n  {program} status\n  {program} control pause bitrix24 --reason lunch --for 1m\n  \
         {program} trace TASK_ID\n  {program} parked list\n  {program} reconcile --older-than 1m\n\n"
    )
}
