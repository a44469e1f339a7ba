//! A call to a portal, and what it is until it is sent: a parcel that waits for a request. It sends nothing.

use std::sync::Arc;

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::Value;

use super::super::batch;

/// A method and its parameters, in order: the old `task.*` methods take them by position.
#[derive(Clone, Debug)]
pub struct Call {
    /// Such as `tasks.task.add`.
    pub method: &'static str,
    /// Names and values.
    pub params: Vec<(&'static str, Value)>,
}

impl Serialize for Call {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.params.len()))?;
        for (name, value) in &self.params {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Asked when the request that carries a call is about to be sent, at the end of all waiting: may the call still go?
pub type MayGo = Arc<dyn Fn() -> bool + Send + Sync>;

/// When calls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// When it is their turn.
    Queued,
    /// Before all others, since their turn has come before, in vain; where turns are rare, at once. Those run ahead of
    /// the portal's budget, but where turns are rare there are few of them.
    AtOnce,
}

/// A call that waits for a request.
pub struct Parcel {
    pub(super) call: Call,
    pub(super) may_go: Option<MayGo>,
    /// `None`: it has to go alone, and plainly.
    pub(super) command: Option<String>,
    /// One of many by one thread, which can send no two requests side by side.
    pub(super) bulk: bool,
}

impl Parcel {
    /// One that has to go alone, and plainly.
    pub(super) fn alone(call: Call) -> Parcel {
        Parcel { call, may_go: None, command: None, bulk: false }
    }

    /// One that may share a request.
    pub(super) fn shared(call: Call) -> Parcel {
        Parcel { command: batch::command(&call), ..Parcel::alone(call) }
    }

    pub(super) fn may_go(&self) -> bool {
        self.may_go.as_ref().is_none_or(|may_go| may_go())
    }
}
