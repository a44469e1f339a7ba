//! A clock for the tests of the decisions.

use std::sync::OnceLock;
use std::time::Duration;

use super::Moment;

/// So many seconds after the start of the tests.
pub(super) fn at(seconds: u64) -> Moment {
    static START: OnceLock<Moment> = OnceLock::new();
    let Moment { at, clock } = *START.get_or_init(Moment::now);
    let since = Duration::from_secs(seconds);
    Moment { at: at + since, clock: clock + since }
}
