//! Does the webhook's owner see all tasks? Only then is a task that cannot be found surely missing. It asks when a
//! decision depends on it, before and after a look-up: somebody may give the owner the right, or take it away, at any
//! time. It knows no task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::client::{Call, Client};
use super::errors::{ApiError, Kind};
use super::{fields, member};

/// Two equal answers within this time mean that it was so between them, too.
const STEADY: Duration = Duration::from_secs(60);

/// The owner of a webhook.
pub struct Owner {
    client: Arc<Client>,
    told: Mutex<Option<Told>>,
}

/// What the portal has told, last and before.
#[derive(Clone, Copy)]
struct Told {
    /// Is the owner an administrator? `None`: the portal does not tell.
    admin: Option<bool>,
    /// When it was asked last.
    asked: Instant,
    /// When it gave the first of the answers that are the same as the last one.
    since: Instant,
}

/// Which tasks the owner could see at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All, before that time and after it.
    All,
    /// All by now, but perhaps not at that time.
    Unsure,
    /// Not all.
    NotAll,
    /// The portal does not tell.
    Untold,
}

impl Owner {
    /// The owner of this client's webhook.
    pub fn new(client: Arc<Client>) -> Owner {
        Owner { client, told: Mutex::default() }
    }

    /// Forgets what the portal has told.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    /// Which tasks the owner could see at this time. Asks, unless that was done since.
    ///
    /// # Errors
    /// The portal gave no answer to that.
    pub fn sight(&self, at: Instant) -> Result<Sight, ApiError> {
        let told = (*self.lock()).filter(|told| told.asked >= at);
        let told = told.map_or_else(|| self.find_out(), Ok)?;
        Ok(match told.admin {
            Some(true) if told.since <= at => Sight::All,
            Some(true) => Sight::Unsure,
            Some(false) => Sight::NotAll,
            None => Sight::Untold,
        })
    }

    fn find_out(&self) -> Result<Told, ApiError> {
        let asked = Instant::now();
        let admin = match self.ask("profile")?.and_then(|profile| member(&profile, "ADMIN").cloned()) {
            Some(admin) if !admin.is_null() => Some(fields::is_yes(&admin)),
            _ => self.ask("user.admin")?.filter(|admin| !admin.is_null()).map(|admin| fields::is_yes(&admin)),
        };
        let mut known = self.lock();
        let before = known.filter(|told| told.admin == admin && told.asked + STEADY > asked);
        let told = Told { admin, asked, since: before.map_or_else(Instant::now, |told| told.since) };
        *known = Some(told);
        Ok(told)
    }

    /// The result of a method without parameters; `None` where the webhook may not call it.
    fn ask(&self, method: &'static str) -> Result<Option<serde_json::Value>, ApiError> {
        match self.client.call(&Call { method, params: Vec::new() }) {
            Ok(mut reply) => Ok(Some(reply["result"].take())),
            Err(err) if matches!(err.kind, Kind::Refused | Kind::Configuration) => Ok(None),
            Err(err) => Err(err),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
