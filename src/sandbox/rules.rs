//! How a portal is set up: rights, users, and what differs between versions and servers. All of it can be changed while
//! the sandbox runs. This file knows no task.

use std::collections::BTreeSet;
use std::time::Duration;

use super::operating::OperatingLimit;

/// The set-up of a portal. The default is the newest cloud portal, with an administrator as the webhook's owner.
#[derive(Clone, Debug)]
pub struct Rules {
    /// If not, the webhook's owner, user 1, sees only tasks with a part in them: author, responsible, accomplice or
    /// auditor. Tasks that they create for others exist all the same, and are answered with `[]`.
    pub owner_is_admin: bool,
    /// The rights of the webhook: `task` and `user`.
    pub scopes: BTreeSet<String>,
    /// Users who have left the company. A portal gives them tasks all the same.
    pub dismissed: BTreeSet<u64>,
    /// Groups in which no task can be created.
    pub denied_groups: BTreeSet<u64>,
    /// When the custom fields of a new task are written; everything else is written at once.
    pub custom_fields: CustomFields,
    /// What happens to a description that is too long for its column.
    pub long_description: LongDescription,
    /// A self-hosted portal never says when operating time is forgotten.
    pub self_hosted: bool,
    /// The newest versions know the prefix `@` of a filter key; other versions ignore such a key as unknown.
    pub knows_at: bool,
    /// How much operating time each method has.
    pub operating: OperatingLimit,
}

/// When the custom fields of a new task are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CustomFields {
    /// With the task.
    AtOnce,
    /// This long after the task. Until then no search finds the task by them, and they read as unset.
    After(Duration),
    /// Never: the portal fails in between.
    Never,
}

/// How strict the database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongDescription {
    /// Strict: such a task is refused.
    Refused,
    /// Generous: the end is cut off silently.
    Cut,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            owner_is_admin: true,
            scopes: ["task", "user"].map(str::to_owned).into(),
            dismissed: BTreeSet::new(),
            denied_groups: BTreeSet::new(),
            custom_fields: CustomFields::AtOnce,
            long_description: LongDescription::Refused,
            self_hosted: false,
            knows_at: false,
            operating: OperatingLimit::default(),
        }
    }
}
