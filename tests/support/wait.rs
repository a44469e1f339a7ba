//! Waiting for a condition with a deadline: the only place of the tests that sleeps. It does not know the condition.

use std::thread;
use std::time::{Duration, Instant};

/// For waits that are long only in case of a defect: generous, because the test machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Short compared with anything a test measures, long enough not to keep a core busy.
const INTERVAL: Duration = Duration::from_millis(10);

/// Returns when `condition` holds; panics when it does not within `deadline`.
#[track_caller]
pub fn eventually(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    eventually_some(what, deadline, || condition().then_some(()));
}

/// Returns the first value that `probe` finds.
#[track_caller]
pub fn eventually_some<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    eventually_ok(what, deadline, || probe().ok_or_else(String::new))
}

/// Returns the first success of `probe`; otherwise the panic shows its last error.
#[track_caller]
pub fn eventually_ok<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        let seen = match probe() {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        if started.elapsed() >= deadline {
            let last = if seen.is_empty() { String::new() } else { format!("; last seen: {seen}") };
            panic!("waited {deadline:?} in vain for {what}{last}");
        }
        thread::sleep(INTERVAL);
    }
}
