//! Every system there is, and the settings of the whole program, read at once: the only file that knows all systems.
//!
//! It knows their names and who reads their settings; what any of them does, and what its lane does, it does not.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::{Configured, System, bitrix24, email, telegram};
use crate::config::{self, Config};
use crate::queues::Queues;
use crate::redact;
use crate::settings::{Environment, Lookup, Secret, SettingsErrors, Variables, right};

/// A line of [`TABLE`].
pub struct SystemEntry {
    /// The system's name; its queues are called after it.
    pub name: &'static str,
    /// Reads its settings. Nothing is connected to find out whether it is on.
    pub open: fn(&mut Variables) -> Configured,
    /// The same where nothing will be sent, so that it need not be set where its target is.
    pub open_without_target: fn(&mut Variables) -> Configured,
}

/// Every system, the usual one first.
pub const TABLE: &[SystemEntry] = &[
    SystemEntry { name: "bitrix24", open: bitrix24::open, open_without_target: bitrix24::open_without_target },
    planned("openproject"),
    planned("1c"),
    planned("python-services"),
    planned("default"),
    SystemEntry { name: "email", open: email::open, open_without_target: email::open_without_target },
    SystemEntry { name: "telegram", open: telegram::open, open_without_target: telegram::open_without_target },
];

const fn planned(name: &'static str) -> SystemEntry {
    let open = |_: &mut Variables| Configured::Off("this version does not support it yet");
    SystemEntry { name, open, open_without_target: open }
}

/// The names of all systems.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().map(|entry| entry.name).collect()
}

/// The name of every setting.
pub fn settings() -> &'static BTreeSet<String> {
    static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let names = RefCell::new(BTreeSet::new());
        let note = |name: &str| {
            names.borrow_mut().insert(name.to_owned());
            None
        };
        let _ = Variables::read(note, |variables| {
            Setup::from_variables(variables);
            // Those that count only where the system is on.
            TABLE.iter().for_each(|entry| drop((entry.open_without_target)(variables)));
        });
        names.into_inner()
    })
}

/// What the settings say: those that all systems share, and every system.
#[derive(Debug)]
pub struct Setup {
    /// The common settings.
    pub config: Config,
    /// Every system with its name, in the order of the table.
    pub systems: Vec<(&'static str, Configured)>,
}

impl Setup {
    /// Reads the settings through `value`, which gives that of a variable.
    ///
    /// # Errors
    /// [`SettingsErrors`]: every one of them, each with the variable's name and an example.
    pub fn read(value: impl Fn(&str) -> Option<String>) -> Result<Setup, SettingsErrors> {
        right(Variables::read(value, Setup::from_variables))
    }

    /// The same where it is known in which place each value stands.
    ///
    /// # Errors
    /// As [`Setup::read`].
    pub fn found(lookup: Lookup) -> Result<Setup, SettingsErrors> {
        right(Variables::found(lookup, Setup::from_variables))
    }

    /// The settings of this process.
    ///
    /// # Errors
    /// As [`Setup::read`].
    pub fn from_env(environment: &Environment) -> Result<Setup, SettingsErrors> {
        right(Variables::of(environment, Setup::from_variables))
    }

    /// The settings in these variables; in place of one that is wrong, its default.
    pub fn from_variables(variables: &mut Variables) -> Setup {
        let config = Config::from_variables(variables);
        refuse_own_queues(&config, variables);
        let systems = TABLE.iter().map(|entry| (entry.name, (entry.open)(variables))).collect();
        let setup = Setup { config, systems };
        if variables.text(config::HTTPS_CA_FILE).is_some() && !setup.on().any(|(_, system)| system.uses_https()) {
            let example = "BITRIX_WEBHOOK_URL=https://bitrix.example/rest/1/TOKEN";
            variables.error(config::HTTPS_CA_FILE, "is set, but no address is https, so it protects nothing", example);
        }
        setup
    }

    /// The systems that are on, with their names.
    pub fn on(&self) -> impl Iterator<Item = (&'static str, &dyn System)> {
        self.systems.iter().filter_map(|(name, configured)| match configured {
            Configured::On(system) => Some((*name, system.as_ref())),
            Configured::Off(_) => None,
        })
    }

    /// What must not appear in any output.
    pub fn secrets(&self) -> Vec<Secret> {
        self.on().flat_map(|(_, system)| system.secrets()).chain(self.config.secrets()).collect()
    }

    /// From here on no line shows them. To be called before anything is said.
    pub fn hide_secrets(&self) {
        redact::hide(self.secrets().iter().map(Secret::expose));
    }
}

/// What is put into a system's own queue would come back to us.
fn refuse_own_queues(config: &Config, variables: &mut Variables) {
    let common = [(config::ERROR_QUEUE, &config.error_queue), (config::RESPONSES_QUEUE, &config.responses_queue)];
    for ((name, default), queue) in common {
        if Queues::are_called(queue, &config.queue_prefix, &names()) {
            let wrong = format!("is {queue:?}, a queue of a system");
            variables.error(name, &wrong, &format!("{name}={default}"));
        }
    }
}
