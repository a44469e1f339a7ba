//! E-mail by SMTP: finished when the server has accepted it.
//!
//! Reading order: [`settings`] with [`addresses`], [`fields`] (what a task becomes), `handler` (sends it), `message`
//! (the mail as bytes), `smtp` (the server, step by step) over `conversation` (what is said, with deadlines), `check`,
//! [`explain`]. `messenger` writes to people outside of any task. What servers do and why is in the README beside this
//! file. A build without the feature `email` lacks what lettre is needed for.

pub mod addresses;
#[cfg(feature = "email")]
pub mod check;
#[cfg(feature = "email")]
mod conversation;
pub mod explain;
pub mod fields;
#[cfg(feature = "email")]
pub mod handler;
#[cfg(feature = "email")]
mod message;
#[cfg(feature = "email")]
mod messenger;
pub mod settings;
#[cfg(feature = "email")]
mod smtp;

use super::{Configured, Connected, Explanation, Surroundings, System};
use crate::message::Task;
use crate::settings::{Secret, Variables};

pub use settings::Settings;

/// Reads the settings; without `EMAIL_SMTP_HOST` the system is off.
pub fn open(variables: &mut Variables) -> Configured {
    match Settings::from_variables(variables) {
        Some(settings) if cfg!(feature = "email") => Configured::On(Box::new(settings)),
        Some(_) => Configured::Off("this build was made without the feature \"email\""),
        None => Configured::Off("EMAIL_SMTP_HOST is not set"),
    }
}

/// The same where no server is needed, since nothing will be sent.
pub fn open_without_target(variables: &mut Variables) -> Configured {
    Configured::On(Box::new(Settings::without_server(variables)))
}

impl System for Settings {
    fn target(&self) -> String {
        format!("mail server {}:{}", self.host, self.port)
    }

    fn uses_https(&self) -> bool {
        false
    }

    fn secrets(&self) -> Vec<Secret> {
        Settings::secrets(self)
    }

    #[cfg(feature = "email")]
    fn connect(&self, _: &Surroundings) -> anyhow::Result<Connected> {
        Ok(Connected {
            handler: std::sync::Arc::new(handler::EmailHandler::new(self.clone())),
            tracker: Box::new(super::untracked::Untracked),
        })
    }

    #[cfg(not(feature = "email"))]
    fn connect(&self, _: &Surroundings) -> anyhow::Result<Connected> {
        anyhow::bail!("this build was made without the feature \"email\"")
    }

    #[cfg(feature = "email")]
    fn messenger(&self, _: &crate::tls::RootCertificates, to: &str) -> Result<Box<dyn super::Messenger>, String> {
        Ok(Box::new(messenger::EmailMessenger::new(self, to)?))
    }

    #[cfg(feature = "email")]
    fn check(&self, _: &Surroundings, report: &mut crate::report::Report) {
        check::run(self, report);
    }

    fn explain(&self, task: &Task) -> Explanation {
        explain::run(task, self)
    }
}

#[cfg(all(test, feature = "email"))]
mod tests;
