//! Is anybody there to do the tasks? Checks the users that the worker acts for.
//!
//! Most webhooks may not ask for users: then the report says so, and nothing is wrong.

use serde_json::Value;

use super::super::client::Call;
use super::super::fields;
use super::{Answered, Look};
use crate::message::text;

const DEFAULT: &str = "BITRIX_DEFAULT_RESPONSIBLE_ID";

/// What the portal says about a user.
enum State {
    Active,
    Dismissed,
    /// The portal has no user with this id, or does not show it.
    Missing,
}

impl Look<'_> {
    /// The default responsible, and the webhook's owner if that is another user.
    pub(super) fn at_users(&mut self, owner: Option<&str>) -> Answered {
        let default = self.settings.default_responsible.to_string();
        let told = self.at_user(&default, DEFAULT)?;
        match owner.filter(|owner| told && *owner != default) {
            Some(owner) => self.at_user(owner, "the webhook's owner").map(drop),
            None => Ok(()),
        }
    }

    /// `false` when the portal does not tell, so that asking for the next user is useless.
    fn at_user(&mut self, id: &str, role: &str) -> Answered<bool> {
        let user = format!("user {id} ({role})");
        match self.state_of(id)? {
            Ok(State::Active) => self.report.ok(format!("bitrix24: {user} is active")),
            Ok(State::Dismissed) if role == DEFAULT => self.report.warn(format!(
                "bitrix24: {user} is dismissed: the portal takes tasks for a dismissed user, and nobody does them; \
                 correct {DEFAULT}"
            )),
            Ok(State::Missing) if role == DEFAULT => self.report.fail(format!(
                "bitrix24: the portal has no {user}, or does not show it: a task that names nobody is refused and \
                 parked; correct {DEFAULT}"
            )),
            Ok(State::Dismissed) => self.report.warn(format!(
                "bitrix24: {user} is dismissed: the portal may refuse this webhook; make one of another administrator"
            )),
            Ok(State::Missing) => self.report.warn(format!("bitrix24: the portal does not show {user}")),
            Err(why) => {
                let right = "the right \"user_brief\" lets the webhook look";
                self.report.off(format!("bitrix24: is {user} active? This could not be checked: {why}; {right}"));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The inner error is why the portal does not tell.
    fn state_of(&self, id: &str) -> Answered<Result<State, String>> {
        let reply = match self.ask(&Call { method: "user.get", params: vec![("ID", id.into())] })? {
            Ok(reply) => reply,
            Err(err) => return Ok(Err(err.to_string())),
        };
        let users = reply["result"].as_array().map(Vec::as_slice).unwrap_or_default();
        let user = users.iter().find(|user| text(&user["ID"]).as_deref() == Some(id));
        Ok(match user.map(|user| &user["ACTIVE"]) {
            Some(Value::Null) => Err("user.get: the reply does not say it".into()),
            Some(active) if fields::is_yes(active) => Ok(State::Active),
            Some(_) => Ok(State::Dismissed),
            None if users.is_empty() => Ok(State::Missing),
            // The portal has ignored the id and answered with other users.
            None => Err("user.get: the reply has other users".into()),
        })
    }
}
