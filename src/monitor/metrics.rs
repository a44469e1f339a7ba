//! The metrics of the worker: the counters of every lane with what is known of it now. It asks the lanes as the other
//! faces do, and decides nothing.

use super::hub::Hub;
use super::lanes::{self, LaneState, LaneView};
use super::watch::Look;
use crate::stats::figures::{Common, LaneFigures, LaneGauges, QueueFigures};
use crate::stats::prometheus;

/// The answer of `GET /metrics`.
pub fn text(hub: &Hub) -> String {
    let views = lanes::all(hub);
    let lanes: Vec<LaneFigures> = hub
        .lanes
        .iter()
        .zip(&views)
        .map(|(lane, view)| LaneFigures {
            system: lane.name,
            stats: &lane.stats,
            gauges: gauges(view),
            queues: [&lane.queues.input, &lane.queues.retry, &lane.queues.sent]
                .map(|queue| of_queue(hub, queue))
                .into(),
        })
        .collect();
    let shared = [&hub.config.error_queue, &hub.config.responses_queue].map(|queue| of_queue(hub, queue));
    prometheus::text(&lanes, &Common { queues: shared.into(), ..Common::default() })
}

fn gauges(lane: &LaneView) -> LaneGauges {
    let number = |number: Option<usize>| number.map(|number| number as u64);
    let is_known = lane.in_hand.is_some();
    LaneGauges {
        ready: Some(lane.ready),
        paused: Some(lane.state == LaneState::Paused),
        target_away: Some(lane.state == LaneState::TargetAway),
        waiting: lane.waiting.queue.map(|ready| u64::from(ready) + lane.waiting.taken as u64),
        oldest_waiting_seconds: is_known.then(|| lane.oldest_waiting_seconds.unwrap_or(0)),
        in_hand: number(lane.in_hand),
        retrying: number(lane.retrying),
    }
}

fn of_queue<'a>(hub: &Hub, queue: &'a str) -> QueueFigures<'a> {
    let Look { found, .. } = hub.looks.of(queue);
    QueueFigures {
        queue,
        messages: found.map(|found| found.ready.into()),
        consumers: found.map(|found| found.consumers.into()),
    }
}
