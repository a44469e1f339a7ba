//! Every system there is, and the settings of the whole program, read together: the only file that knows all systems.
//!
//! It knows their names and who reads their settings; it does not know what a system or its lane does.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::routing::{Route, Routes};
use super::{Configured, Messenger, System, bitrix24, default, email, onec, openproject, python, telegram};
use crate::camunda;
use crate::config::{self, Config, People};
use crate::message::Task;
use crate::queues::Queues;
use crate::redact;
use crate::settings::{Environment, Lookup, Secret, SettingsErrors, Variables, right};
use crate::tls::RootCertificates;

/// The system for what belongs to no other one that is on.
pub const DEFAULT: &str = "default";

/// A line of [`TABLE`].
pub struct SystemEntry {
    /// The system's name; its queues are named after it.
    pub name: &'static str,
    /// The topics that belong to it, as the bridge has them: such messages are moved to its queue from any other.
    pub topics: &'static [&'static str],
    /// Reads its settings. Nothing is connected to find out whether it is on.
    pub open: fn(&mut Variables) -> Configured,
    /// The same for commands that send nothing, so the target's address need not be set.
    pub open_without_target: fn(&mut Variables) -> Configured,
    /// The setting that names whom this system tells of alerts, with an example; `None`: it writes to nobody.
    pub alerts: Option<(&'static str, &'static str)>,
}

/// Every system, the most used one first.
pub const TABLE: &[SystemEntry] = &[
    SystemEntry {
        name: "bitrix24",
        topics: &[
            "bitrix_create_task",
            "bitrix_update_task",
            "bitrix_create_deal",
            "bitrix_update_deal",
            "bitrix_create_contact",
        ],
        open: bitrix24::open,
        open_without_target: bitrix24::open_without_target,
        alerts: None,
    },
    SystemEntry {
        name: "openproject",
        topics: &["op_create_task", "op_update_task", "op_create_project", "op_create_milestone"],
        open: openproject::open,
        open_without_target: openproject::open_without_target,
        alerts: None,
    },
    SystemEntry {
        name: "1c",
        topics: &["1c_create_document", "1c_update_document", "1c_create_counterparty", "1c_sync_data"],
        open: onec::open,
        open_without_target: onec::open_without_target,
        alerts: None,
    },
    SystemEntry {
        name: "python-services",
        topics: &[
            "create_yandex_file",
            "yandex_disk",
            "create_user",
            "user_management",
            "file_processing",
            "data_processing",
        ],
        open: python::open,
        open_without_target: python::open_without_target,
        alerts: None,
    },
    SystemEntry {
        name: "email",
        topics: &["send_email", "email_notify", "email_notification"],
        open: email::open,
        open_without_target: email::open_without_target,
        alerts: Some(("ALERT_EMAIL_TO", "ALERT_EMAIL_TO=operator@firma.example")),
    },
    SystemEntry {
        name: "telegram",
        topics: &["send_telegram", "telegram_notify", "telegram_task"],
        open: telegram::open,
        open_without_target: telegram::open_without_target,
        alerts: Some(("ALERT_TELEGRAM_CHAT", "ALERT_TELEGRAM_CHAT=-1001234567890")),
    },
    SystemEntry {
        name: DEFAULT,
        topics: &[],
        open: default::open,
        open_without_target: default::open_without_target,
        alerts: None,
    },
];

/// The names of all systems.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().map(|entry| entry.name).collect()
}

/// Which system each message belongs to, where these are on.
pub fn routes(is_on: impl Fn(&str) -> bool) -> Routes {
    Routes::new(TABLE.iter().map(|SystemEntry { name, topics, .. }| Route { name, topics, is_on: is_on(name) }))
}

/// The system to which a task belongs, on or off; the first one where that is none.
pub fn entry_of(task: &Task) -> &'static SystemEntry {
    let routes = routes(|_| true);
    TABLE.iter().find(|entry| Some(entry.name) == routes.to(task)).unwrap_or(&TABLE[0])
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
            // Those that are read only where the system is on.
            TABLE.iter().for_each(|entry| drop((entry.open_without_target)(variables)));
        });
        names.into_inner()
    })
}

/// What the settings say: the common ones, and those of every system.
#[derive(Debug)]
pub struct Setup {
    /// The common settings.
    pub config: Config,
    /// Every system with its name, in the order of the table.
    pub systems: Vec<(&'static str, Configured)>,
}

impl Setup {
    /// Reads the settings; `value` returns the value of a variable.
    ///
    /// # Errors
    /// [`SettingsErrors`]: all of them, each with the variable's name and an example.
    pub fn read(value: impl Fn(&str) -> Option<String>) -> Result<Setup, SettingsErrors> {
        right(Variables::read(value, Setup::from_variables))
    }

    /// The same when it is known where each value was read from.
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

    /// The settings in these variables; a wrong one is replaced by its default.
    pub fn from_variables(variables: &mut Variables) -> Setup {
        let mut config = Config::from_variables(variables);
        refuse_own_queues(&config, variables);
        let systems: Vec<_> = TABLE.iter().map(|entry| (entry.name, (entry.open)(variables))).collect();
        config.alerts.people = told_of_alerts(&systems, &config.https, variables);
        let setup = Setup { config, systems };
        setup.refuse_queues_of_targets(variables);
        let camunda = setup.config.camunda.as_ref().is_some_and(camunda::Settings::uses_https);
        let uses_https = camunda || setup.on().any(|(_, system)| system.uses_https());
        if variables.text(config::HTTPS_CA_FILE).is_some() && !uses_https {
            let example = "BITRIX_WEBHOOK_URL=https://bitrix.example/rest/1/TOKEN";
            variables.error(config::HTTPS_CA_FILE, "is set, but no address is https, so it protects nothing", example);
        }
        setup
    }

    /// What is put into another queue of ours for a target is no message there, and what is taken from one as its reply
    /// would be lost.
    fn refuse_queues_of_targets(&self, variables: &mut Variables) {
        let Config { queue_prefix, error_queue, responses_queue, .. } = &self.config;
        for (name, queue) in self.on().flat_map(|(_, system)| system.queues()) {
            if Queues::are_called(queue, queue_prefix, &names())
                || [error_queue, responses_queue].iter().any(|own| *own == queue)
            {
                variables.error(name, &format!("is {queue:?}, a queue of our own"), &format!("{name}=celery"));
            }
        }
    }

    /// The systems that are on, with their names.
    pub fn on(&self) -> impl Iterator<Item = (&'static str, &dyn System)> {
        self.systems.iter().filter_map(|(name, configured)| match configured {
            Configured::On(system) => Some((*name, system.as_ref())),
            Configured::Off(_) => None,
        })
    }

    /// Which system each message belongs to.
    pub fn routes(&self) -> Routes {
        routes(|name| self.on().any(|(on, _)| on == name))
    }

    /// Why this system is off, if it is.
    pub fn why_off(&self, name: &str) -> Option<&'static str> {
        self.systems.iter().find_map(|(system, configured)| match configured {
            Configured::Off(why) if *system == name => Some(*why),
            Configured::Off(_) | Configured::On(_) => None,
        })
    }

    /// The default system and why this task is left to it: it is on, and the task belongs to no other one that is.
    pub fn left_to_default(&self, task: &Task) -> Option<(&dyn System, String)> {
        let (routes, (_, default)) = (self.routes(), self.on().find(|(name, _)| *name == DEFAULT)?);
        let is_left = routes.to(task).is_none_or(|system| system == DEFAULT);
        is_left.then(|| (default, routes.why_left_to(DEFAULT, task)))
    }

    /// Who tells people of alerts: the people, and what writes to them.
    pub fn messengers(&self) -> Vec<(&People, Box<dyn Messenger>)> {
        let messenger = |people: &People| {
            let (_, system) = self.on().find(|(name, _)| *name == people.system)?;
            system.messenger(&self.config.https, &people.to).ok()
        };
        self.config.alerts.people.iter().filter_map(|people| Some((people, messenger(people)?))).collect()
    }

    /// What must not appear in any output.
    pub fn secrets(&self) -> Vec<Secret> {
        self.on().flat_map(|(_, system)| system.secrets()).chain(self.config.secrets()).collect()
    }

    /// Hides them in every later line. To be called before anything is printed.
    pub fn hide_secrets(&self) {
        redact::hide(self.secrets().iter().map(Secret::expose));
    }
}

/// Whom these systems tell of alerts.
fn told_of_alerts(
    systems: &[(&'static str, Configured)],
    https: &RootCertificates,
    variables: &mut Variables,
) -> Vec<People> {
    let mut told = Vec::new();
    for (SystemEntry { alerts, .. }, (system, configured)) in TABLE.iter().zip(systems) {
        let Some((setting, example)) = *alerts else { continue };
        let Some(to) = variables.text(setting) else { continue };
        let messenger = match configured {
            Configured::On(system) => system.messenger(https, &to),
            Configured::Off(why) => Err(format!("is set, but {system} cannot tell anybody: {why}")),
        };
        match messenger {
            Ok(_) => told.push(People { setting, system, to }),
            Err(wrong) => variables.error(setting, &wrong, example),
        }
    }
    told
}

/// A message that is published to a system's own queue would come back to us.
fn refuse_own_queues(config: &Config, variables: &mut Variables) {
    let common = [(config::ERROR_QUEUE, &config.error_queue), (config::RESPONSES_QUEUE, &config.responses_queue)];
    for ((name, default), queue) in common {
        if Queues::are_called(queue, &config.queue_prefix, &names()) {
            let wrong = format!("is {queue:?}, a queue of a system");
            variables.error(name, &wrong, &format!("{name}={default}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_of_celery_s_is_none_of_ours() {
        let wrong = |name: &str, queue: &str, others: &[(&str, &str)]| {
            let given = [&[("RABBITMQ_PASSWORD", "x"), ("QUEUE_PREFIX", "p-"), (name, queue)], others].concat();
            let value =
                |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            Setup::read(value).err().map(|errors| errors.to_string()).unwrap_or_default()
        };
        for queue in
            ["p-python-services.queue", "p-1c.sent.queue", "camunda.responses.queue", "errors.camunda_tasks.queue"]
        {
            let told = wrong("CELERY_QUEUE", queue, &[]);
            assert!(told.contains(&format!("CELERY_QUEUE is \"{queue}\", a queue of our own")), "{told}");
            assert!(
                wrong("CELERY_RESULT_QUEUE", queue, &[("CELERY_QUEUE", "celery")]).contains("CELERY_RESULT_QUEUE is")
            );
        }
        assert_eq!(wrong("CELERY_QUEUE", "python-services.queue", &[]), "", "it has no prefix");
        let elsewhere = [("CELERY_HOST", "celery.example"), ("CELERY_PASSWORD", "x")];
        assert_eq!(wrong("CELERY_QUEUE", "p-python-services.queue", &elsewhere), "", "it is at another broker");
    }

    #[test]
    fn no_topic_belongs_to_two_systems_and_each_is_spelt_as_messages_are_read() {
        let topics: Vec<&str> = TABLE.iter().flat_map(|entry| entry.topics).copied().collect();
        assert_eq!(topics.iter().collect::<BTreeSet<_>>().len(), topics.len(), "{topics:?}");
        assert!(topics.iter().all(|topic| !topic.is_empty() && topic.trim() == *topic), "{topics:?}");
    }
}
