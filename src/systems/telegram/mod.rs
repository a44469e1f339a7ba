//! Telegram: messages by a bot, and tasks that people finish by a button.
//!
//! Reading order: [`settings`], [`fields`] with [`text`] and [`buttons`] (what a task becomes), [`handler`] (sends it),
//! [`updates`] and [`tracker`] (what people pressed), [`client`] and [`errors`] (the Bot API), [`check`] (is the bot
//! ready?), [`explain`]. [`messenger`] writes to people outside of any task. What Telegram does and why is in the
//! README beside this file.

pub mod buttons;
pub mod check;
pub mod client;
pub mod errors;
pub mod explain;
pub mod fields;
pub mod handler;
pub mod messenger;
pub mod settings;
pub mod text;
pub mod tracker;
pub mod updates;

use std::sync::Arc;

use super::{Configured, Connected, Explanation, Messenger, Surroundings, System};
use crate::message::Task;
use crate::report::Report;
use crate::settings::{Secret, Variables};
use crate::tls::RootCertificates;

pub use settings::Settings;

/// Reads the settings; without `TELEGRAM_BOT_TOKEN` the system is off.
pub fn open(variables: &mut Variables) -> Configured {
    match Settings::from_variables(variables) {
        Some(settings) => Configured::On(Box::new(settings)),
        None => Configured::Off("TELEGRAM_BOT_TOKEN is not set"),
    }
}

/// The same where no bot is needed, since nothing will be sent.
pub fn open_without_target(variables: &mut Variables) -> Configured {
    Configured::On(Box::new(Settings::without_bot(variables)))
}

impl System for Settings {
    fn target(&self) -> String {
        format!("Telegram's {} at {}", self.host(), self.api.base)
    }

    fn uses_https(&self) -> bool {
        self.api.base.starts_with("https://")
    }

    fn secrets(&self) -> Vec<Secret> {
        self.token.secrets()
    }

    fn connect(&self, around: &Surroundings) -> anyhow::Result<Connected> {
        let client = Arc::new(client::Client::new(self, around.https));
        Ok(Connected {
            handler: Arc::new(handler::TelegramHandler::new(self.clone(), Arc::clone(&client))),
            tracker: Box::new(tracker::TelegramTracker::new(self.clone(), client, around.stop.clone())),
        })
    }

    fn messenger(&self, https: &RootCertificates, to: &str) -> Result<Box<dyn Messenger>, String> {
        Ok(Box::new(messenger::TelegramMessenger::new(self, https, to)?))
    }

    fn check(&self, around: &Surroundings, report: &mut Report) {
        check::run(self, around, report);
    }

    fn explain(&self, task: &Task) -> Explanation {
        explain::run(task, self)
    }
}

impl Settings {
    /// For records: the messages of another bot cannot be answered by ours.
    pub fn host(&self) -> String {
        format!("bot {}", self.token.bot())
    }
}
