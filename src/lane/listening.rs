//! Between two sweeps: a target that tells by itself what people do is listened to, so that nobody waits for the next
//! sweep. What was told is the tracker's; what follows from it for a record is decided in the sweep.

use std::time::Instant;

use super::tracking::Tracking;
use crate::systems::{Failure, Heard};

impl Tracking<'_, '_> {
    /// After a sweep of all records, and while its lock is ours: waits for what the target tells by itself, until the
    /// next sweep is due or somebody asks for one.
    pub(super) fn listen(&mut self, started: Instant) {
        // A sweep that the stop or its length has cut short has not seen every record.
        if self.lane.stop.raised() || self.checked_last_time > 0 {
            return;
        }
        self.tracker.swept();
        let (lane, next) = (self.lane, started + self.lane.config.heartbeat_interval);
        while Instant::now() < next && !lane.stop.raised() && lane.control.polls().is_empty() {
            match self.tracker.listen() {
                Ok(Heard::News) => {
                    self.deaf.over();
                    self.heard = true;
                    return;
                }
                Ok(Heard::Nothing) => self.deaf.over(),
                Ok(Heard::Deaf) => return,
                Err(failure) => self.wait_for_ears(&failure, next),
            }
        }
    }

    /// The target does not tell what people do; what they did is told later.
    fn wait_for_ears(&mut self, failure: &Failure, next: Instant) {
        let now = Instant::now();
        let asked = match failure {
            Failure::Unavailable { until, .. } => *until,
            _ => None,
        };
        let pause =
            asked.unwrap_or_default().max(self.lane.config.retry_delay).min(next.saturating_duration_since(now));
        self.lane.stats.tracker.failed_checks.count();
        if let Some(text) = self.deaf.say(&failure.to_string(), now) {
            log::warn!("the target does not tell what people do, asking again in {pause:.1?}: {text}");
        }
        self.lane.stop.pause(pause);
    }
}
