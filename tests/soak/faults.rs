//! The faults of the soak: which there are, how often each is drawn, and what it does to the [`Stage`]. Each is over
//! when its function returns.

use std::time::Duration;
use std::{mem, thread};

use super::random::Random;
use super::stage::Stage;
use super::support::Direction;

/// How long the worker may take until all published tasks are at the portal, before faults that demand this.
const CALM: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    WorkerKilled,
    WorkerStopped,
    WorkerFrozen,
    ConnectionsCut,
    ConnectionsReset,
    ConnectionsCutMidFrame,
    BytesHeld,
    PacketsSwallowed,
    BytesDelayed,
    ConnectionsClosedByAdministrator,
    BrokerStopped,
    BrokerKilled,
    BrokerAndWorkerKilled,
    BrokerFrozen,
    MemoryAlarm,
    SentQueueFull,
    EmptyQueueDeleted,
    PortalRefusesConnections,
    SecondWorker,
    Takeover,
}

/// How often each fault is drawn, as a weight. The rare ones cost the machine seconds of work.
const WEIGHTS: [(Fault, u64); 20] = [
    (Fault::WorkerKilled, 9),
    (Fault::WorkerStopped, 5),
    (Fault::WorkerFrozen, 5),
    (Fault::ConnectionsCut, 8),
    (Fault::ConnectionsReset, 6),
    (Fault::ConnectionsCutMidFrame, 7),
    (Fault::BytesHeld, 5),
    (Fault::PacketsSwallowed, 5),
    (Fault::BytesDelayed, 4),
    (Fault::ConnectionsClosedByAdministrator, 2),
    (Fault::BrokerStopped, 2),
    (Fault::BrokerKilled, 2),
    (Fault::BrokerAndWorkerKilled, 1),
    (Fault::BrokerFrozen, 3),
    (Fault::MemoryAlarm, 2),
    (Fault::SentQueueFull, 2),
    (Fault::EmptyQueueDeleted, 2),
    (Fault::PortalRefusesConnections, 4),
    (Fault::SecondWorker, 2),
    (Fault::Takeover, 2),
];

impl Fault {
    pub fn draw(random: &mut Random) -> Fault {
        let mut left = random.below(WEIGHTS.iter().map(|(_, weight)| weight).sum());
        for (fault, weight) in WEIGHTS {
            if left < weight {
                return fault;
            }
            left -= weight;
        }
        Fault::WorkerKilled
    }

    /// Ends the worker's process.
    pub fn ends_worker(self) -> bool {
        use Fault::{BrokerAndWorkerKilled, Takeover, WorkerKilled, WorkerStopped};
        matches!(self, WorkerKilled | WorkerStopped | BrokerAndWorkerKilled | Takeover)
    }

    /// Only when nothing else is wrong: two workers and two copies of a message, or a queue that is not quite empty,
    /// lose and double by definition.
    pub fn stands_alone(self) -> bool {
        matches!(self, Fault::SecondWorker | Fault::Takeover | Fault::EmptyQueueDeleted)
    }

    /// Returns whether it could be done.
    pub fn strike(self, stage: &mut Stage, random: &mut Random) -> bool {
        use Fault::*;
        match self {
            WorkerKilled | WorkerStopped | WorkerFrozen => self.on_the_worker(stage, random),
            ConnectionsCut
            | ConnectionsReset
            | ConnectionsCutMidFrame
            | BytesHeld
            | PacketsSwallowed
            | BytesDelayed => {
                self.on_the_link(stage, random);
            }
            PortalRefusesConnections => {
                stage.to_portal.refuse();
                stage.to_portal.cut();
                last(random, 500, 5000);
                stage.to_portal.accept();
            }
            EmptyQueueDeleted => return delete_an_empty_queue(stage, random),
            SecondWorker | Takeover => return self.with_a_second_worker(stage, random),
            _ => self.on_the_broker(stage, random),
        }
        true
    }

    fn on_the_worker(self, stage: &mut Stage, random: &mut Random) {
        match self {
            Fault::WorkerKilled => {
                stage.kill_worker();
                last(random, 10, 1500);
                stage.restart_worker();
            }
            Fault::WorkerStopped => {
                stage.end_worker();
                stage.restart_worker();
            }
            _ => {
                stage.worker.signal("STOP");
                last(random, 500, 8000);
                stage.worker.signal("CONT");
            }
        }
    }

    fn on_the_link(self, stage: &mut Stage, random: &mut Random) {
        let link = &stage.to_broker;
        let direction = if random.percent(50) { Direction::ToServer } else { Direction::ToClient };
        match self {
            Fault::ConnectionsCut => return link.cut(),
            Fault::ConnectionsReset => return link.reset(),
            Fault::ConnectionsCutMidFrame => {
                link.cut_after(direction, 1 + random.below(4000));
                last(random, 500, 2500);
            }
            Fault::BytesHeld => {
                link.hold(direction);
                last(random, 300, 9000);
                // Either the bytes go on late, or the link is dead.
                if random.percent(50) {
                    link.cut();
                }
            }
            Fault::PacketsSwallowed => {
                link.swallow(direction);
                last(random, 300, 9000);
                link.cut();
            }
            _ => {
                link.delay(direction, Duration::from_millis(50 + random.below(450)));
                last(random, 2000, 6000);
            }
        }
        link.pass();
    }

    fn on_the_broker(self, stage: &mut Stage, random: &mut Random) {
        match self {
            Fault::BrokerStopped => {
                stage.node.ctl(&["stop_app"]);
                last(random, 100, 3000);
                stage.node.ctl(&["start_app"]);
            }
            Fault::BrokerKilled => {
                stage.node.kill();
                last(random, 100, 3000);
                stage.node.revive();
            }
            Fault::BrokerAndWorkerKilled => {
                stage.node.kill();
                stage.kill_worker();
                stage.restart_worker();
                stage.node.revive();
            }
            Fault::BrokerFrozen => {
                stage.node.freeze(true);
                last(random, 500, 9000);
                stage.node.freeze(false);
            }
            Fault::MemoryAlarm => {
                stage.node.ctl(&["set_vm_memory_high_watermark", "0.00001"]);
                last(random, 500, 5000);
                stage.node.ctl(&["set_vm_memory_high_watermark", "0.4"]);
            }
            Fault::SentQueueFull => {
                stage.refuse_records(true);
                last(random, 500, 5000);
                stage.refuse_records(false);
            }
            _ => drop(stage.node.ctl(&["close_all_connections", "soak"])),
        }
    }

    /// For a while, or for good: then the first worker is killed.
    fn with_a_second_worker(self, stage: &mut Stage, random: &mut Random) -> bool {
        stage.producer.singly(true);
        let calm = stage.catches_up(CALM);
        if calm {
            let (mut second, mut api) = stage.another_worker();
            last(random, 3000, 8000);
            if self == Fault::Takeover {
                mem::swap(&mut second, &mut stage.worker);
                mem::swap(&mut api, &mut stage.api);
                second.kill();
            } else {
                second.stop();
            }
        }
        stage.producer.singly(false);
        calm
    }
}

fn delete_an_empty_queue(stage: &mut Stage, random: &mut Random) -> bool {
    stage.producer.pause();
    let (input, retry) = (stage.queues.input(), stage.queues.retry());
    let empty = stage.catches_up(CALM) && stage.is_empty(&input) && stage.is_empty(&retry);
    if empty {
        stage.queues.delete(if random.percent(50) { &input } else { &retry });
    }
    stage.producer.go_on();
    empty
}

/// A random duration of a fault, in milliseconds.
fn last(random: &mut Random, least: u64, most: u64) {
    thread::sleep(Duration::from_millis(least + random.below(most - least)));
}
