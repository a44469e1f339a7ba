//! A call to a portal, and the parcel in which it waits for a request. It sends nothing.

use std::sync::Arc;

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::Value;

use super::super::batch;

/// A method and its parameters, in order: the old `task.*` methods read them by position.
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

/// Asked when all waiting is over and the request that carries a call is about to be sent: may the call still go?
pub type MayGo = Arc<dyn Fn() -> bool + Send + Sync>;

/// When calls are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// When they get a permit, in order.
    Queued,
    /// Before all others, since an earlier permit came too late for them; where permits are rare, at once. They then
    /// run ahead of the rate limiter, but where permits are rare, such calls are few.
    AtOnce,
}

/// A call that waits for a request.
pub struct Parcel {
    pub(super) call: Call,
    pub(super) may_go: Option<MayGo>,
    /// `None`: it has to be sent alone, as a plain call.
    pub(super) command: Option<String>,
    /// One of many calls of one thread, which cannot send two requests side by side.
    pub(super) bulk: bool,
}

impl Parcel {
    /// A call that has to be sent alone, as a plain call.
    pub(super) fn alone(call: Call) -> Parcel {
        Parcel { call, may_go: None, command: None, bulk: false }
    }

    /// A call that may share a request.
    pub(super) fn shared(call: Call) -> Parcel {
        Parcel { command: batch::command(&call), ..Parcel::alone(call) }
    }

    pub(super) fn may_go(&self) -> bool {
        self.may_go.as_ref().is_none_or(|may_go| may_go())
    }
}
