//! Does the webhook's owner see all tasks? Only then does it say something that a task cannot be found. Asked where
//! that decides something, and remembered for a short time. It knows no task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::client::{Call, Client};
use super::errors::{ApiError, Kind};
use super::{fields, member};

/// How long an answer counts. A no is to be mended soon.
const YES: Duration = Duration::from_secs(60);
const NO: Duration = Duration::from_secs(5);

/// The owner of a webhook.
pub struct Owner {
    client: Arc<Client>,
    /// When the portal told, and what; `None`: it does not tell.
    told: Mutex<Option<(Instant, Option<bool>)>>,
}

impl Owner {
    /// Of this client's webhook.
    pub fn new(client: Arc<Client>) -> Owner {
        Owner { client, told: Mutex::default() }
    }

    /// Was the owner an administrator a moment ago? Asks nobody.
    pub fn saw_all(&self) -> bool {
        self.recently_told() == Some(Some(true))
    }

    /// What was told before counts no longer.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    /// Is the owner an administrator? `None` where the portal does not tell.
    ///
    /// # Errors
    /// The portal gave no answer to that.
    pub fn sees_all(&self) -> Result<Option<bool>, ApiError> {
        if let Some(told) = self.recently_told() {
            return Ok(told);
        }
        let told = match self.ask("profile")?.and_then(|profile| member(&profile, "ADMIN").cloned()) {
            Some(admin) if !admin.is_null() => Some(fields::is_yes(&admin)),
            _ => self.ask("user.admin")?.filter(|admin| !admin.is_null()).map(|admin| fields::is_yes(&admin)),
        };
        *self.lock() = Some((Instant::now(), told));
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

    fn recently_told(&self) -> Option<Option<bool>> {
        let (at, told) = (*self.lock())?;
        let counts = if told == Some(false) { NO } else { YES };
        (at.elapsed() < counts).then_some(told)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Option<bool>)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
