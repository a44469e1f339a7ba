//! How long to wait before the next try. Pure: it knows no clock, and not why a try failed.

use std::time::Duration;

/// The pause after this many failures: `first`, doubled each time, at most `limit`.
pub fn delay(failures: u32, first: Duration, limit: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    first.saturating_mul(1 << doublings).min(limit)
}

/// `delay` shortened by up to a quarter, so that several workers do not return to a restarted server at the same
/// instant. `seed` is anything that differs between callers; the same seed gives the same result.
pub fn jittered(delay: Duration, seed: u64) -> Duration {
    // A multiplicative hash is random enough to spread a handful of reconnects.
    let spread = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54) as u32;
    delay - delay / 4 * spread / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(5);
    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn the_delay_doubles_up_to_its_limit() {
        let seconds: Vec<u64> = (1..=6).map(|failures| delay(failures, FIRST, LIMIT).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 60, 60]);
        assert_eq!(delay(u32::MAX, FIRST, LIMIT), LIMIT);
    }

    #[test]
    fn jitter_only_shortens_and_by_a_quarter_at_most() {
        for seed in 0..1000 {
            let jittered = jittered(LIMIT, seed);
            assert!(jittered <= LIMIT && jittered >= LIMIT * 3 / 4, "{jittered:?}");
        }
    }
}
