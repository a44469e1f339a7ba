//! Does the webhook's owner see all tasks? Only then is a task that cannot be found surely missing. It knows no task.

use std::sync::Arc;

use super::client::{Call, Client};
use super::errors::{ApiError, Kind};
use super::{fields, member};

/// The owner of a webhook.
pub struct Owner {
    client: Arc<Client>,
}

impl Owner {
    /// The owner of this client's webhook.
    pub fn new(client: Arc<Client>) -> Owner {
        Owner { client }
    }

    /// Whether the owner is an administrator. `None` where the portal does not tell. Nothing is remembered: somebody
    /// may give the right or take it away at any time. To rely on a look-up, ask before it.
    ///
    /// # Errors
    /// The portal gave no answer to that.
    pub fn sees_all(&self) -> Result<Option<bool>, ApiError> {
        match self.ask("profile")?.and_then(|profile| member(&profile, "ADMIN").cloned()) {
            Some(admin) if !admin.is_null() => Ok(Some(fields::is_yes(&admin))),
            _ => Ok(self.ask("user.admin")?.filter(|admin| !admin.is_null()).map(|admin| fields::is_yes(&admin))),
        }
    }

    /// Whether a task that is not found may exist all the same. A portal that does not tell is believed to show all.
    pub fn may_miss_tasks(&self) -> bool {
        !matches!(self.sees_all(), Ok(Some(true) | None))
    }

    /// The result of a method without parameters; `None` where the webhook may not call it.
    fn ask(&self, method: &'static str) -> Result<Option<serde_json::Value>, ApiError> {
        match self.client.call(&Call { method, params: Vec::new() }) {
            Ok(mut reply) => Ok(Some(reply["result"].take())),
            Err(err) if matches!(err.kind, Kind::Refused | Kind::Configuration) => Ok(None),
            Err(err) => Err(err),
        }
    }
}
