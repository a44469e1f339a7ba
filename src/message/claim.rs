//! The right to work on a message. It knows neither who delivered the message nor what the work is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends with the session that delivered the message: from then on the broker may give it to another worker. All clones are
/// the same claim, held by the thread of the session and by those that work on what it brought.
#[derive(Clone, Debug, Default)]
pub struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Is the message still ours, as far as is known?
    pub fn is_held(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }

    /// The session is gone.
    pub fn lose(&self) {
        self.0.store(true, Ordering::Release);
    }
}
