//! The demo's fakes, and the settings with which the worker finds them: those of RabbitMQ and of the log as they are
//! set, all others the demo's own. It names no system and no message.

use std::path::Path;

use crate::commands::fakes::{Fake, FakeEntry, Pace};
use crate::config::Config;
use crate::settings::{Environment, Given, SettingsErrors};
use crate::systems::table::{self, Setup};

/// Between two sweeps of the tracker, in seconds.
const SWEEP_INTERVAL: &str = "0.5";
/// The folder of the demo's log in `LOG_DIR`.
const LOG_FOLDER: &str = "demo";

/// A system of the demo, with its fake.
pub struct Shown {
    /// What is known of it.
    pub entry: &'static FakeEntry,
    /// Its running fake.
    pub fake: Box<dyn Fake>,
}

/// Starts the fakes of these systems.
///
/// # Errors
/// One of them cannot start on this machine.
pub fn start(entries: &[&'static FakeEntry]) -> anyhow::Result<Vec<Shown>> {
    entries.iter().map(|entry| Ok(Shown { entry, fake: (entry.start)(0, Pace::Near)? })).collect()
}

/// The settings of the demo, by name: its own, and those of RabbitMQ and of the log as they are set.
pub struct Settings(Vec<(String, Result<Given, String>)>);

impl Settings {
    /// For queues of this run, with what the fakes and `more` say.
    pub fn of(environment: &Environment, run: &str, shown: &[Shown], more: Vec<(&str, String)>) -> Settings {
        let own = [
            ("QUEUE_PREFIX", format!("{run}.")),
            ("ERROR_QUEUE", format!("{run}.errors.camunda_tasks.queue")),
            ("RESPONSES_QUEUE", format!("{run}.camunda.responses.queue")),
            ("HEARTBEAT_INTERVAL", SWEEP_INTERVAL.to_owned()),
            ("RETRY_DELAY", SWEEP_INTERVAL.to_owned()),
        ];
        let of_fakes = shown.iter().flat_map(|Shown { fake, .. }| fake.settings());
        let mut settings = Settings(Vec::new());
        own.into_iter().chain(of_fakes).chain(more).for_each(|(name, value)| settings.set(name, value));
        let is_blank = |given: &Result<Given, String>| given.as_ref().is_ok_and(|given| given.value.trim().is_empty());
        let is_kept = |name: &&String| name.starts_with("RABBITMQ_") || name.starts_with("LOG_");
        for name in table::settings().iter().filter(is_kept) {
            let given = environment.get(name).filter(|given| !is_blank(given));
            settings.0.extend(given.map(|given| (name.clone(), given)));
        }
        // RabbitMQ as installed lets `guest` in from the same machine.
        if !settings.has("RABBITMQ_PASSWORD") {
            settings.set("RABBITMQ_PASSWORD", "guest".to_owned());
            if !settings.has("RABBITMQ_USERNAME") {
                settings.set("RABBITMQ_USERNAME", "guest".to_owned());
            }
        }
        settings
    }

    fn set(&mut self, name: &str, value: String) {
        self.0.push((name.to_owned(), Ok(Given { value, place: None, quoted: false })));
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// What they say.
    ///
    /// # Errors
    /// A setting of RabbitMQ or of the log is wrong.
    pub fn setup(&self) -> Result<Setup, SettingsErrors> {
        let found = |name: &str| self.0.iter().find(|(known, _)| known == name).map(|(_, given)| given.clone());
        let mut setup = Setup::found(&found)?;
        // The demo does not write to the real worker's log, and has one where that has none.
        let folder = setup.config.log_dir.unwrap_or_else(|| "logs".into());
        setup.config.log_dir = Some(folder.join(LOG_FOLDER));
        Ok(setup)
    }

    /// For a `.env` with which other commands find the demo.
    pub fn lines(&self) -> Vec<(String, String)> {
        let read = self.0.iter().filter_map(|(name, given)| Some((name.clone(), given.as_ref().ok()?.value.clone())));
        read.collect()
    }
}

/// Where the demo's log is, as [`Settings::setup`] has set it.
pub fn log_folder(config: &Config) -> &Path {
    config.log_dir.as_deref().unwrap_or(Path::new(LOG_FOLDER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::fakes::FAKES;

    #[test]
    fn the_demo_keeps_to_queues_and_fakes_of_its_own() {
        for entries in FAKES.iter().map(|entry| vec![entry]).chain([FAKES.iter().collect()]) {
            let shown = start(&entries).expect("there are free ports");
            let settings = Settings::of(&Environment::default(), "demo-1-2", &shown, Vec::new());
            let setup = settings.setup().expect("the settings are right");
            let config = &setup.config;
            assert_eq!(config.queue_prefix, "demo-1-2.");
            assert!(log_folder(config).ends_with("demo"), "the log of the real worker is another");
            assert!(config.error_queue.starts_with("demo-1-2.") && config.responses_queue.starts_with("demo-1-2."));
            let on: Vec<(&str, String)> = setup.on().map(|(name, system)| (name, system.target())).collect();
            assert_eq!(on.len(), shown.len(), "{on:?}");
            for (name, target) in on {
                let Shown { entry, fake } = shown.iter().find(|shown| shown.entry.name == name).expect("it is shown");
                assert!(entry.port.is_none() || target.contains(&fake.place()), "{target} is not {}", fake.place());
            }
        }
    }
}
