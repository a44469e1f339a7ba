//! The demo's fakes, and the settings with which the worker finds them: those of RabbitMQ and of the log as they are
//! set, all others the demo's own. It names no system and no message.

use crate::commands::fakes::{Fake, FakeEntry, Pace};
use crate::settings::{Environment, Given, SettingsErrors};
use crate::systems::table::Setup;

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

/// The settings of a demo with these queues and fakes.
///
/// # Errors
/// A setting of RabbitMQ or of the log is wrong.
pub fn settings(environment: &Environment, run: &str, shown: &[Shown]) -> Result<Setup, SettingsErrors> {
    let is_blank = |given: &Result<Given, String>| given.as_ref().is_ok_and(|given| given.value.trim().is_empty());
    let given = |name: &str| environment.get(name).filter(|given| !is_blank(given));
    let own = |value: String| Some(Ok(Given { value, place: None, quoted: false }));
    let of_fakes: Vec<(&str, String)> = shown.iter().flat_map(|Shown { fake, .. }| fake.settings()).collect();
    let newcomer = given("RABBITMQ_PASSWORD").is_none();
    let mut setup = Setup::found(&|name| match name {
        "QUEUE_PREFIX" => own(format!("{run}.")),
        "ERROR_QUEUE" => own(format!("{run}.errors.camunda_tasks.queue")),
        "RESPONSES_QUEUE" => own(format!("{run}.camunda.responses.queue")),
        "HEARTBEAT_INTERVAL" | "RETRY_DELAY" => own(SWEEP_INTERVAL.to_owned()),
        // RabbitMQ as installed lets `guest` in from the same machine.
        "RABBITMQ_PASSWORD" if newcomer => own("guest".to_owned()),
        "RABBITMQ_USERNAME" if newcomer => given(name).or_else(|| own("guest".to_owned())),
        name if name.starts_with("RABBITMQ_") || name.starts_with("LOG_") => given(name),
        name => of_fakes.iter().find(|(known, _)| *known == name).and_then(|(_, value)| own(value.clone())),
    })?;
    // The demo does not write to the real worker's log.
    setup.config.log_dir.push(LOG_FOLDER);
    Ok(setup)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::fakes::FAKES;

    #[test]
    fn the_demo_keeps_to_queues_and_fakes_of_its_own() {
        for entries in FAKES.iter().map(|entry| vec![entry]).chain([FAKES.iter().collect()]) {
            let shown = start(&entries).expect("there are free ports");
            let setup = settings(&Environment::default(), "demo-1-2", &shown).expect("the settings are right");
            let config = &setup.config;
            assert_eq!(config.queue_prefix, "demo-1-2.");
            assert!(config.log_dir.ends_with("demo"), "the log of the real worker is another");
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
