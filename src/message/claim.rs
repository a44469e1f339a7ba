//! The right to work on a message. It knows neither who delivered the message nor what the work is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// It ends with the session that delivered the message: from then on the broker may deliver it to another worker. All
/// clones are the same claim; the session's thread and the threads that work on its messages hold one each.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    lost: Arc<AtomicBool>,
    end: Option<Instant>,
}

impl Claim {
    /// Is the message still ours, as far as is known?
    pub fn is_held(&self) -> bool {
        !self.lost.load(Ordering::Acquire) && self.end.is_none_or(|end| Instant::now() < end)
    }

    /// The session is gone.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// The same claim, which ends at this time in any case.
    pub fn until(&self, end: Instant) -> Claim {
        Claim { lost: Arc::clone(&self.lost), end: Some(end) }
    }
}
