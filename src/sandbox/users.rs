//! The users of the portal and the methods that tell about them. They are only numbers with a name; those who finish
//! tasks are in [`simulated_users`](crate::commands::fakes::simulated_users).

use serde_json::{Value, json};

use super::portal::Portal;
use super::reply::Outcome;
use super::request::texts;

/// The owner of the webhook.
pub(super) const OWNER: u64 = 1;
/// The user who changes checklists when a test does what a person would.
pub(super) const COLLEAGUE: u64 = 2;

/// Users 1 to 100, also those who have left the company.
pub(super) fn exists(id: i64) -> bool {
    (1..=100).contains(&id)
}

pub(super) fn profile(portal: &mut Portal, _params: &Value) -> Outcome {
    let mut owner = user(portal, OWNER);
    owner["ADMIN"] = portal.rules.owner_is_admin.into();
    Ok(owner.into())
}

pub(super) fn current(portal: &mut Portal, _params: &Value) -> Outcome {
    Ok(user(portal, OWNER).into())
}

pub(super) fn admin(portal: &mut Portal, _params: &Value) -> Outcome {
    Ok(Value::from(portal.rules.owner_is_admin).into())
}

/// The users with these ids; an unknown id leads to no user.
pub(super) fn get(portal: &mut Portal, params: &Value) -> Outcome {
    let ids = [&params["ID"], &params["FILTER"]["ID"], &params["filter"]["ID"]];
    let ids: Vec<i64> = ids.into_iter().flat_map(texts).filter_map(|id| id.parse().ok()).collect();
    let found = ids.into_iter().filter(|id| exists(*id)).filter_map(|id| u64::try_from(id).ok());
    Ok(found.map(|id| user(portal, id)).collect::<Value>().into())
}

fn user(portal: &Portal, id: u64) -> Value {
    let last_name = if id == OWNER { "Тестовый".into() } else { id.to_string() };
    let active = !portal.rules.dismissed.contains(&id);
    json!({"ID": id.to_string(), "ACTIVE": active, "NAME": "Портал", "LAST_NAME": last_name, "TIME_ZONE": ""})
}

#[cfg(test)]
mod tests {
    use super::super::methods::tests::{refused, result};
    use super::*;

    #[test]
    fn the_owner_and_dismissed_users_are_shown_as_they_are() {
        let portal = &mut Portal::default();
        portal.rules.dismissed.insert(7);
        assert_eq!(result(portal, "user.get", json!({"ID": 7}))[0]["ACTIVE"], false);
        assert_eq!(result(portal, "user.get", json!({"ID": "8"}))[0]["ACTIVE"], true);
        assert_eq!(result(portal, "user.get", json!({"ID": 101})), json!([]));
        for admin in [true, false] {
            portal.rules.owner_is_admin = admin;
            assert_eq!(result(portal, "profile", json!([]))["ADMIN"], admin);
            assert_eq!(result(portal, "user.admin", json!([])), admin);
        }
        assert_eq!(result(portal, "user.current", json!([]))["ID"], "1");
    }

    #[test]
    fn without_the_right_no_user_is_shown() {
        let portal = &mut Portal::default();
        portal.rules.scopes.remove("user");
        assert_eq!(refused(portal, "user.get", json!({"ID": 1})), (401, "insufficient_scope".into()));
        assert_eq!(result(portal, "profile", json!([]))["ID"], "1");
    }
}
