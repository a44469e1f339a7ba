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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::config::Config;
    use crate::lane::Lane;
    use crate::lane::control::Control;
    use crate::message::Record;
    use crate::queues::Queues;
    use crate::rabbitmq::publisher::LargestBody;
    use crate::stats::Stats;
    use crate::stop;
    use crate::systems::routing::Routes;
    use crate::systems::{Progress, Tracker};

    /// Has news at once, and counts the sweeps that it is told of.
    #[derive(Clone, Default)]
    struct Ears(Arc<AtomicUsize>);

    impl Tracker for Ears {
        fn check(&mut self, _: &[Record]) -> Vec<Result<Progress, Failure>> {
            Vec::new()
        }

        fn swept(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn listen(&mut self) -> Result<Heard, Failure> {
            Ok(Heard::News)
        }
    }

    /// How many sweeps the tracker is told of, and whether it is listened to.
    fn listened(is_stopped: bool, checked_last_time: u32) -> (usize, bool) {
        let config = Config::read(|name: &str| (name == "RABBITMQ_PASSWORD").then(|| "secret".to_owned()));
        let (config, (stopper, stop)) = (config.expect("right settings"), stop::signal());
        let lane = Lane {
            name: "telegram",
            looks_up: false,
            queues: Queues::of("telegram", &config),
            routes: Routes::default(),
            config: &config,
            stats: &Stats::default(),
            largest: LargestBody::default(),
            control: Control::default(),
            notices: Default::default(),
            pulse: Default::default(),
            stop,
        };
        let _stopper = (!is_stopped).then_some(stopper);
        let ears = Ears::default();
        let mut tracking = Tracking::new(&lane, Box::new(ears.clone()));
        tracking.checked_last_time = checked_last_time;
        tracking.listen(Instant::now());
        (ears.0.load(Ordering::Relaxed), tracking.heard)
    }

    #[test]
    fn a_sweep_that_the_stop_or_its_length_has_cut_short_counts_as_none() {
        assert_eq!(listened(false, 0), (1, true));
        assert_eq!((listened(true, 0), listened(false, 7)), ((0, false), (0, false)));
    }
}
