//! `/metrics`: the numbers of the lanes, of their queues and of this process, for Prometheus.
//!
//! It gathers what others know, and never looks into a queue. How a metric is called and written is in
//! [`stats`](crate::stats).

use super::hub::{Hub, LaneHandle};
use super::lanes::{self, LaneState, LaneView};
use crate::queues::Queues;
use crate::stats::figures::{Common, LaneFigures, LaneGauges, LastReconciliation, QueueFigures};
use crate::stats::prometheus;

/// All metrics as they are now.
pub fn text(hub: &Hub) -> String {
    let views = lanes::all(hub);
    let lanes: Vec<LaneFigures> = hub.lanes.iter().zip(&views).map(|(lane, view)| figures(hub, lane, view)).collect();
    let shared = hub.lanes.first().map(|lane| [&*lane.queues.errors, &*lane.queues.responses]);
    let reconciliation = hub.reconciliations.last_done().map(|(ended_at, counts)| LastReconciliation {
        ended_ms: u64::try_from(ended_at.timestamp_millis()).unwrap_or_default(),
        classes: counts.by_class().to_vec(),
    });
    let queues = shared.into_iter().flatten().map(|queue| queue_figures(hub, queue)).collect();
    prometheus::text(&lanes, &Common { queues, reconciliation })
}

fn figures<'a>(hub: &Hub, lane: &'a LaneHandle, view: &LaneView) -> LaneFigures<'a> {
    let Queues { input, retry, sent, .. } = &lane.queues;
    let count = |number: usize| number as u64;
    LaneFigures {
        system: lane.name,
        stats: &lane.stats,
        gauges: LaneGauges {
            ready: Some(view.ready),
            paused: Some(view.state == LaneState::Paused),
            target_away: Some(view.state == LaneState::TargetAway),
            waiting: view.waiting.queue.map(|queued| u64::from(queued) + count(view.waiting.taken)),
            // Without an answer of the lane it is not known.
            oldest_waiting_seconds: view.in_hand.map(|_| view.oldest_waiting_seconds.unwrap_or_default()),
            in_hand: view.in_hand.map(count),
            retrying: view.retrying.map(count),
        },
        queues: [input, retry, sent].map(|queue| queue_figures(hub, queue)).into(),
    }
}

fn queue_figures<'a>(hub: &Hub, queue: &'a str) -> QueueFigures<'a> {
    let found = hub.looks.of(queue).found;
    QueueFigures {
        queue,
        messages: found.map(|found| found.ready.into()),
        consumers: found.map(|found| found.consumers.into()),
    }
}
