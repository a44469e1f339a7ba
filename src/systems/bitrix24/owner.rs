//! Does the webhook's owner see all tasks? Only then is a task that cannot be found surely missing. It asks when a
//! decision depends on it, and remembers the answer for a short time. It knows no task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::client::{Call, Client};
use super::errors::{ApiError, Kind};
use super::{fields, member};

/// How long a yes counts. A no counts for less, since somebody should correct it soon.
const YES: Duration = Duration::from_secs(60);
const NO: Duration = Duration::from_secs(5);

/// The owner of a webhook.
pub struct Owner {
    client: Arc<Client>,
    /// When the portal answered, and what; an inner `None`: it does not tell.
    told: Mutex<Option<(Instant, Option<bool>)>>,
}

impl Owner {
    /// The owner of this client's webhook.
    pub fn new(client: Arc<Client>) -> Owner {
        Owner { client, told: Mutex::default() }
    }

    /// Whether the owner was an administrator a moment ago. Sends nothing.
    pub fn saw_all(&self) -> bool {
        self.recently_told() == Some(Some(true))
    }

    /// Forgets what the portal has told.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    /// Whether the owner is an administrator. `None` where the portal does not tell.
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
