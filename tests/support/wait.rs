//! Waiting for a condition with a deadline: the only place of the tests that sleeps. Knows nothing of what is awaited.

use std::thread;
use std::time::{Duration, Instant};

/// For waits that only a defect makes long: generous, because the machine that runs the tests may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Short beside anything a test measures, long enough not to keep a core busy.
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

/// Returns the first success of `probe`; the panic shows what the last failure said it saw instead.
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
