//! Alerts to people, for those without Prometheus: who a setting names is told when something is wrong, and when it is
//! over, by systems that the worker has anyway.
//!
//! For each of these systems there is a thread of its own, which looks at the worker every few seconds. [`seen`] is
//! what one look shows, [`watch`] finds what is wrong in it, [`episode`] says when that is told, [`words`] how, and
//! [`outbox`] when a message goes. All of them but the look are pure. A message that cannot be sent is logged and tried
//! again; it is never an alert, and holds up neither a lane nor the other messages nor the end of the worker.

pub mod episode;
pub mod outbox;
pub mod seen;
pub mod watch;
pub mod words;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Local};

use self::episode::Pace;
use self::outbox::{Message, Outbox};
use self::seen::Seen;
use self::watch::Watch;
pub use self::words::News;
use super::hub::Hub;
use crate::config::Config;
use crate::lane::log_throttle::LogThrottle;
use crate::redact;
use crate::stop::Stop;
use crate::systems::table::Setup;
use crate::systems::{Failure, Messenger};

/// Between two looks; less where the heartbeat is faster.
const LOOK: Duration = Duration::from_secs(5);
/// However fast the heartbeat is.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);

/// A point in time: on the clock that nobody sets, and for people.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// On the clock that nobody sets.
    pub at: Instant,
    /// For people.
    pub clock: DateTime<Local>,
}

impl Moment {
    fn now() -> Moment {
        Moment { at: Instant::now(), clock: Local::now() }
    }
}

/// Starts a thread for each system that tells people, if a setting names any. Nobody waits for these threads: a mail
/// server that hangs must not delay the end of the worker.
pub fn start(setup: &Setup, hub: &Arc<Hub>, stop: &Stop) {
    let look = setup.config.heartbeat_interval.clamp(SHORTEST_LOOK, LOOK);
    for (people, messenger) in setup.messengers() {
        let alerts = Alerts {
            name: people.system,
            messenger,
            watch: Watch::new(Pace::of(look), setup.config.alerts.unanswered_after),
            outbox: Outbox::new(Pace::of(look), page(&setup.config)),
            unsent: LogThrottle::default(),
        };
        let (hub, stop) = (Arc::clone(hub), stop.clone());
        let thread = thread::Builder::new().name(format!("alerts/{}", people.system));
        match thread.spawn(move || alerts.run(&hub, &stop, look)) {
            Ok(_) => log::info!("alerts go out by {}", people.system),
            Err(err) => log::warn!("no alerts go out by {}, since a thread cannot be started: {err}", people.system),
        }
    }
}

/// The address of the page for the end of each message: what the setting says, or where this machine's browsers find
/// it.
fn page(config: &Config) -> Option<String> {
    let here = config.monitor.as_ref().map(|monitor| format!("http://{}/", monitor.address));
    config.alerts.page.clone().or(here)
}

/// What tells the people of one system.
struct Alerts {
    name: &'static str,
    messenger: Box<dyn Messenger>,
    watch: Watch,
    outbox: Outbox,
    unsent: LogThrottle,
}

impl Alerts {
    /// Looks until the stop signal. Then nothing is told any more: what happens at the end is meant.
    fn run(mut self, hub: &Hub, stop: &Stop, look: Duration) {
        while !stop.pause(look) {
            let (seen, now) = (Seen::of(hub), Moment::now());
            self.outbox.add(self.watch.look(&seen, now), now);
            if let Some(message) = self.outbox.due(now).filter(|_| !stop.raised()) {
                self.send(&message);
            }
        }
    }

    fn send(&mut self, message: &Message) {
        let sent = self.messenger.send(&message.subject, &message.text);
        let now = Moment::now();
        match sent {
            Ok(()) => {
                self.outbox.sent(now);
                self.unsent.over();
                log::info!("alert sent by {}: {}", self.name, message.subject);
            }
            Err(failure) => {
                let asked = match &failure {
                    Failure::Unavailable { until, .. } => *until,
                    Failure::OutcomeUnknown { visible_in, .. } => Some(*visible_in),
                    _ => None,
                };
                let pause = self.outbox.failed(asked, now);
                let why = redact::clean(&failure.to_string());
                let told = self.unsent.say(&why, now.at);
                told.inspect(|why| {
                    log::warn!("an alert does not go out by {}, next try in {pause:.0?}: {why}", self.name)
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
