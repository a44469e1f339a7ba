//! What one look shows of the worker: counters and conditions, read from memory, and how much each lane has, which it
//! is asked for. It decides nothing.

use std::sync::Arc;

use crate::lane::control::Snapshot;
use crate::lane::notices::ParkedLast;
use crate::lane::tasks::Swept;
use crate::monitor::hub::{Hub, LaneHandle};
use crate::reconcile::Counts;
use crate::stats::condition::Obstacle;

/// The worker at one look.
#[derive(Debug, Default)]
pub struct Seen {
    /// Its lanes.
    pub lanes: Vec<LaneSeen>,
    /// Tasks that the last reconciliation has found lost; `None`: nobody knows.
    pub lost: Option<u64>,
}

/// One lane at one look.
#[derive(Clone, Debug, Default)]
pub struct LaneSeen {
    /// The system's name.
    pub system: &'static str,
    /// What keeps it from working, and why.
    pub obstacles: Vec<(Obstacle, String)>,
    /// Messages that were parked since the start.
    pub parked: u64,
    /// The last one of them.
    pub last_parked: Option<ParkedLast>,
    /// It grows whenever the lane takes or settles something.
    pub progress: u64,
    /// Tasks that it has, except for those that wait for another try.
    pub has: u64,
    /// Messages in its queue, at the last sweep.
    pub queued: u64,
    /// What its last sweep has seen.
    pub swept: Arc<Swept>,
    /// Why the target takes no requests for a while, if it does not.
    pub budget: Option<String>,
}

impl Seen {
    /// The worker as it is now.
    pub fn of(hub: &Hub) -> Seen {
        Seen {
            lanes: hub.lanes.iter().zip(hub.snapshots()).map(LaneSeen::of).collect(),
            lost: lost(hub.reconciliations.last_done().map(|(_, counts)| counts)),
        }
    }
}

/// A reconciliation that could not look at every task says nothing by finding none.
fn lost(counts: Option<Counts>) -> Option<u64> {
    counts.filter(|counts| counts.lost > 0 || counts.unknown == 0).map(|counts| counts.lost)
}

impl LaneSeen {
    fn of((lane, snapshot): (&LaneHandle, Option<Snapshot>)) -> LaneSeen {
        let stats = &lane.stats;
        LaneSeen {
            system: lane.name,
            obstacles: stats.condition.obstacles(),
            parked: stats.parked.get(),
            last_parked: lane.last_parked.get(),
            progress: [&stats.total_messages, &stats.successful_tasks, &stats.sent_messages]
                .into_iter()
                .map(|counter| counter.get())
                .sum(),
            has: snapshot.map_or(0, |lane| (lane.numbers.taken + lane.numbers.in_hand) as u64),
            queued: stats.condition.queued.get(),
            swept: lane.control.swept(),
            budget: lane.handler.rests(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reconciliation_that_has_seen_every_task_can_say_that_none_is_lost() {
        let counts = |lost, unknown| Some(Counts { lost, unknown, ..Counts::default() });
        assert_eq!([lost(counts(0, 0)), lost(counts(2, 0)), lost(counts(2, 1))], [Some(0), Some(2), Some(2)]);
        assert_eq!([lost(counts(0, 1)), lost(None)], [None, None]);
    }
}
