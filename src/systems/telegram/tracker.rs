//! Finds out which tasks people have finished by a button. Telegram tells that by itself; the record that it belongs to
//! is found by the next sweep. What becomes of a record is decided in the lane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::json;

use super::Settings;
use super::buttons;
use super::client::{self, Call, Client};
use super::errors::{ApiError, Kind};
use super::updates::{Press, Updates, Worth};
use crate::message::{Record, text};
use crate::stop::Stop;
use crate::systems::{Failure, Heard, Progress, Tracker, question};

/// Between two questions to a target that answers at once.
const PACE: Duration = Duration::from_secs(1);

/// For a press without a record: the task was answered before, or its record is not there yet.
const NOT_OPEN: &str = "Задача сейчас не открыта. Если кнопки останутся, нажмите ещё раз позже";

/// The tracker; one thread uses it.
pub struct TelegramTracker {
    settings: Settings,
    client: Arc<Client>,
    stop: Stop,
    updates: Updates,
}

impl TelegramTracker {
    /// A tracker for the bot of these settings.
    pub fn new(settings: Settings, client: Arc<Client>, stop: Stop) -> TelegramTracker {
        TelegramTracker { settings, client, stop, updates: Updates::default() }
    }
}

impl Tracker for TelegramTracker {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        records.iter().map(|record| self.progress(record)).collect()
    }

    fn answered(&mut self, task_ids: &[&str]) {
        let keys: Vec<String> = task_ids.iter().map(|id| buttons::key(id)).collect();
        let presses = self.updates.settle(|press| keys.contains(&press.key) && press.worth != Worth::Unknown);
        self.tell(&presses, |press| {
            let told = match press.worth {
                Worth::TooLate(answer) => format!("Уже решено: {}", answer.label()),
                Worth::Counts | Worth::Unknown => format!("Принято: {}", press.verdict.label()),
            };
            let buttons = press.place.map(client::remove_buttons);
            [client::answer_press(&press.id, &told)].into_iter().chain(buttons).collect()
        });
    }

    fn swept(&mut self) {
        let presses = self.updates.missed(Instant::now());
        presses
            .iter()
            .for_each(|press| log::info!("a button of a task that is not open was pressed: task={}", press.key));
        // Their buttons stay: a record may be missing because RabbitMQ has not taken it yet, and nobody else asks
        // again.
        self.tell(&presses, |press| vec![client::answer_press(&press.id, NOT_OPEN)]);
    }

    fn listen(&mut self) -> Result<Heard, Failure> {
        let asked = Instant::now();
        let reply = self.client.updates(self.updates.offset()).map_err(ApiError::into_failure)?;
        let new = self
            .updates
            .take(&reply, Instant::now())
            .ok_or_else(|| Failure::Transient { error: anyhow!("getUpdates: the reply is no list of updates") })?;
        let strangers: Vec<Press> = new.iter().filter(|press| !self.may_press(press)).cloned().collect();
        let is_news = strangers.len() < new.len();
        self.turn_away(&strangers);
        match is_news {
            true => Ok(Heard::News),
            false => {
                self.stop.pause(PACE.saturating_sub(asked.elapsed()));
                Ok(Heard::Nothing)
            }
        }
    }
}

impl TelegramTracker {
    fn progress(&mut self, record: &Record) -> Result<Progress, Failure> {
        let (here, there) = (self.settings.host(), record.target_host());
        if let Some(there) = there.filter(|there| *there != here) {
            return Ok(Progress::Foreign(format!("its message is of {there}, and TELEGRAM_BOT_TOKEN is of {here}")));
        }
        let task = &record.response_data["result"]["task"];
        let id = text(&task["id"]).ok_or_else(|| {
            Failure::Permanent(anyhow!("the record does not name a message in response_data.result.task.id"))
        })?;
        let expected = question::is_expected(&record.task);
        let (chat, allowed) = (task["chatId"].as_i64(), &self.settings.allowed);
        // Whoever has any chat with the bot can send from there what no button says. Only those on the list may do
        // that: a group that has moved has the message under another number.
        let is_from_there =
            |press: &Press| allowed.contains(&press.person) || press.place.is_some_and(|at| Some(at.chat) == chat);
        let is_its_own = |press: &Press| press.verdict.fits(expected) && is_from_there(press);
        let press = self.updates.of_record(&buttons::key(&record.task.id), is_its_own);
        let Some(press) = press else { return Ok(Progress::Open) };
        let by = json!({"id": press.person, "name": press.name});
        let finished = json!({
            "id": id, "title": task["title"], "status": "completed", "chatId": task["chatId"], "closedBy": by,
        });
        Ok(Progress::Finished(question::result(finished, expected, press.verdict.answer())))
    }

    /// Everybody in a group sees the buttons.
    fn may_press(&self, press: &Press) -> bool {
        let chat = press.place.map(|place| place.chat);
        let is_allowed = |id: i64| self.settings.allowed.contains(&id);
        // The chat with a person has the person's number.
        is_allowed(press.person) || chat.is_some_and(|chat| is_allowed(chat) || chat == press.person)
    }

    fn turn_away(&mut self, strangers: &[Press]) {
        for press in strangers {
            log::warn!(
                "pressed by {}, who is not in TELEGRAM_ALLOWED_IDS; it does not count: task={}",
                press.person,
                press.key
            );
        }
        self.tell(strangers, |press| vec![client::answer_press(&press.id, "Вам это не разрешено")]);
        self.updates.settle(|press| strangers.contains(press));
    }

    /// Tells people by these calls what became of their presses. Nothing depends on it: it is not tried
    /// again. A Telegram that is away would not answer the next call either.
    fn tell(&self, presses: &[Press], calls: impl Fn(&Press) -> Vec<Call>) {
        let _ = presses.iter().flat_map(calls).all(|call| self.told(&call));
    }

    /// `false`: Telegram is away.
    fn told(&self, call: &Call) -> bool {
        match self.client.call(call) {
            Ok(_) => true,
            // A press is too old after a while, and buttons may be gone already.
            Err(err) if matches!(err.kind, Kind::BadRequest | Kind::Refused | Kind::Migrated(_)) => {
                log::debug!("{err}");
                true
            }
            Err(err) => {
                log::warn!("people are not told what became of their presses: {err}");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
