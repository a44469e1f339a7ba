//! What one look shows of the worker: counters and conditions, read from memory, and how much each lane has, which it
//! is asked for. It decides nothing.

use std::sync::Arc;

use crate::lane::control::Snapshot;
use crate::lane::notices::ParkedLast;
use crate::lane::tasks::Swept;
use crate::monitor::hub::{Hub, LaneHandle};
use crate::stats::condition::Obstacle;

/// The worker at one look.
#[derive(Debug, Default)]
pub struct Seen {
    /// Its lanes.
    pub lanes: Vec<LaneSeen>,
    /// Tasks that reconciliations have found lost.
    pub lost: u64,
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
            lost: hub.reconciliations.lost(),
        }
    }
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
