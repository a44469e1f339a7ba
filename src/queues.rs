//! The names of the queues: a system's own, which start with the prefix and its name, and those that all systems share.
//!
//! Names are made here and nowhere else. It knows no system by name, not what is in a queue, and not how a queue is
//! reached.

use crate::config::Config;

/// How the names of a system's own queues end.
const INPUT: &str = "queue";
const SENT: &str = "sent.queue";
const RETRY: &str = "retry.queue";
const SWEEP_LOCK: &str = "sent.queue.sweep";
/// What is added to the name of a queue for [`Queues::browse_lock`].
const BROWSE_LOCK: &str = ".browse";

/// The queues of a system.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Where the bridge puts the tasks.
    pub input: String,
    /// Created tasks, until somebody has finished them.
    pub sent: String,
    /// Failed messages, until their next try.
    pub retry: String,
    /// A name that the tracker holds during a sweep, so that two workers do not sweep at once.
    pub sweep_lock: String,
    /// Parked messages, of all systems.
    pub errors: String,
    /// Answers for Camunda, of all systems.
    pub responses: String,
}

impl Queues {
    /// The queues of this system.
    pub fn of(system: &str, config: &Config) -> Queues {
        let own = |kind: &str| own(&config.queue_prefix, system, kind);
        Queues {
            input: own(INPUT),
            sent: own(SENT),
            retry: own(RETRY),
            sweep_lock: own(SWEEP_LOCK),
            errors: config.error_queue.clone(),
            responses: config.responses_queue.clone(),
        }
    }

    /// The beginning of the names of the system's own queues, and of no others.
    pub fn stem(&self) -> &str {
        self.input.strip_suffix(INPUT).unwrap_or(&self.input)
    }

    /// Is this one of them?
    pub fn include(&self, queue: &str) -> bool {
        [&self.input, &self.sent, &self.retry, &self.errors, &self.responses].iter().any(|own| *own == queue)
    }

    /// The name that is held while messages of this queue are held, so that two browses do not hide them from each
    /// other.
    pub fn browse_lock(queue: &str) -> String {
        format!("{queue}{BROWSE_LOCK}")
    }

    /// Does a queue of this name hold messages of one of these systems?
    pub fn hold_messages(name: &str, prefix: &str, systems: &[&str]) -> bool {
        is_any(name, prefix, systems, &[INPUT, SENT, RETRY])
    }

    /// Does one of these systems use this name?
    pub fn are_called(name: &str, prefix: &str, systems: &[&str]) -> bool {
        let name = name.strip_suffix(BROWSE_LOCK).unwrap_or(name);
        is_any(name, prefix, systems, &[INPUT, SENT, RETRY, SWEEP_LOCK])
    }
}

fn own(prefix: &str, system: &str, kind: &str) -> String {
    format!("{prefix}{system}.{kind}")
}

fn is_any(name: &str, prefix: &str, systems: &[&str], kinds: &[&str]) -> bool {
    systems.iter().any(|system| kinds.iter().any(|kind| own(prefix, system, kind) == name))
}
