//! How a portal is set up: rights, people, and what differs from version to version and from server to server.
//! Everything here can be changed while the sandbox runs. Knows no task.

use std::collections::BTreeSet;
use std::time::Duration;

use super::operating::OperatingLimit;

/// The set-up of a portal. The default is the newest cloud portal, seen by an administrator.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Otherwise the webhook's owner, user 1, sees only tasks with a part in them: author, responsible, accomplice or
    /// auditor. What they create for others is there all the same, and answered with `[]`.
    pub owner_is_admin: bool,
    /// What the webhook may do: `task` and `user`.
    pub scopes: BTreeSet<String>,
    /// Users 1 to 100 exist, these are no longer with the company. A portal gives them tasks all the same.
    pub dismissed: BTreeSet<u64>,
    /// Groups in which no task can be made.
    pub denied_groups: BTreeSet<u64>,
    /// When the custom fields of a new task are written; everything else is there at once.
    pub custom_fields: CustomFields,
    /// What becomes of a description that is too long for its column.
    pub long_description: LongDescription,
    /// A server of one's own never says when operating time is forgotten.
    pub self_hosted: bool,
    /// The newest versions know the prefix `@` of a filter key; to the others such a key is unknown, and ignored.
    pub knows_at: bool,
    /// How much operating time each method has.
    pub operating: OperatingLimit,
}

/// When the custom fields of a new task are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CustomFields {
    /// With the task.
    AtOnce,
    /// So long after the task. Until then no search finds the task by them, and they read as unset.
    After(Duration),
    /// The portal fails in between.
    Never,
}

/// How the database is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongDescription {
    /// Strictly: such a task is refused.
    Refused,
    /// Generously: the end is lost without a word.
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
