//! Random walks over a whole lane: the broker, the pool and the target behave in every way they may, in any order.
//! After each step all invariants of the lane hold, and in the end everything is settled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use anyhow::anyhow;
use serde_json::json;

use super::*;
use crate::config::Config;
use crate::lane::breaker::BreakerState;
use crate::lane::ledger::Key;
use crate::lane::pool::Outcome;
use crate::lane::{Queues, control::Control, notices::Notices, outgoing};
use crate::message::{Task, fingerprint, sent_record};
use crate::rabbitmq::Headers;
use crate::rabbitmq::consumer::{DELIVERY_COUNT, Unsettled, WORN_OUT, times_requeued};
use crate::rabbitmq::publisher::{LargestBody, OutgoingMessage, PublishOutcome};
use crate::stats::Stats;
use crate::stop;
use crate::systems::routing::{Route, Routes};
use crate::systems::{Created, Failure, FollowUp};

mod world;

use world::World;

/// The size limit of RabbitMQ in some of the worlds, in bytes.
const LIMIT: usize = 1000;

/// The topic of what belongs to another system.
const OTHERS: &str = "send";

/// Runs `walk` with a world that has a lane of its own.
fn with_world(seed: u64, walk: impl FnOnce(World)) {
    let config = Config::read(|name: &str| match name {
        "RABBITMQ_PASSWORD" => Some("secret".into()),
        "PREFETCH" => Some("5".into()),
        _ => None,
    });
    let config = config.expect("right settings");
    let (_stopper, stop) = stop::signal();
    let lane = Lane {
        name: "bitrix24",
        looks_up: true,
        queues: Queues::of("bitrix24", &config),
        routes: Routes::new([
            Route { name: "bitrix24", topics: &[], is_on: true },
            Route { name: "mail", topics: &[OTHERS], is_on: true },
        ]),
        config: &config,
        stats: &Stats::default(),
        largest: LargestBody::default(),
        control: Control::default(),
        notices: Notices::default(),
        stop,
    };
    if seed.is_multiple_of(3) {
        lane.largest.learn(&format!("larger than configured max size {LIMIT}"));
    }
    walk(World::new(&lane, seed));
}

#[test]
fn whatever_happens_nothing_is_lost_settled_twice_or_settled_too_early() {
    for seed in 1..150 {
        with_world(seed, |mut world| {
            (0..400).for_each(|_| world.step());
            world.bring_to_its_end();
        });
    }
}

#[test]
fn a_stopped_lane_settles_what_it_has_started_and_leaves_the_rest_to_the_next_one() {
    for seed in 1..150 {
        with_world(seed, |mut world| {
            (0..150).for_each(|_| world.step());
            world.stop();
            world.restart();
            world.bring_to_its_end();
        });
    }
}

#[test]
fn a_pause_starts_nothing_and_ends_at_its_time_or_when_it_is_resumed() {
    with_world(1, |mut world| {
        world.publish("a");
        world.pause("maintenance", Some(Duration::from_secs(60)));
        world.deliver_all();
        assert_eq!(world.handed_out(), 0);
        let snapshot = world.state.snapshot(world.now);
        assert_eq!(snapshot.paused.map(|pause| pause.reason).as_deref(), Some("maintenance"));
        assert_eq!((snapshot.waiting, snapshot.in_pool, snapshot.has_session), (1, 0, true));
        assert_eq!(world.state.next_wake(world.now), Some(world.now + Duration::from_secs(60)));
        world.pass(Duration::from_secs(60));
        assert_eq!(world.handed_out(), 1);
        world.pause("again", None);
        assert_eq!(world.handed_out(), 0, "what no thread has started is taken back");
        world.pass(Duration::from_secs(500));
        world.state.resume();
        world.carry_out();
        assert_eq!(world.handed_out(), 1);
        world.bring_to_its_end();
    });
}

/// A quorum queue of RabbitMQ 4 lets a message be requeued this often.
const DELIVERY_LIMIT: u32 = 20;

#[test]
fn an_unreadable_message_survives_an_error_queue_that_is_full_for_a_day() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish_unreadable("no task", 0);
        for _ in 0..300 {
            world.deliver_all();
            world.refuse_what_is_parked();
            world.pass(Duration::from_secs(300));
        }
        assert!(world.most_requeued() <= DELIVERY_LIMIT, "{}", world.most_requeued());
        world.bring_to_its_end();
    });
}

#[test]
fn a_lane_survives_a_day_without_room_at_the_broker_while_its_target_is_away() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish("a");
        world.pause("the target is away", None);
        world.deliver_all();
        world.start_alarm();
        (0..300).for_each(|_| world.pass(Duration::from_secs(300)));
        assert!(world.most_requeued() <= DELIVERY_LIMIT, "{}", world.most_requeued());
        world.bring_to_its_end();
    });
}

#[test]
fn messages_that_wait_at_the_head_of_a_queue_do_not_keep_others_from_being_read() {
    with_world(1, |mut world| {
        world.steady = true;
        (0..2).for_each(|number| world.publish_unreadable(&format!("no task {number}"), 3));
        world.publish("good");
        world.lose_session();
        for _ in 0..20 {
            world.deliver_as_allowed();
            world.refuse_what_is_parked();
            world.pass(Duration::from_secs(1));
        }
        assert_eq!(world.handed_out(), 1);
        world.bring_to_its_end();
    });
}

#[test]
fn a_lane_that_is_paused_for_long_takes_its_deliveries_again() {
    with_world(1, |mut world| {
        world.publish("a");
        world.pause("maintenance", None);
        world.deliver_all();
        let session = world.session;
        (0..30).for_each(|_| world.pass(Duration::from_secs(60)));
        assert!(world.session > session + 1, "RabbitMQ would have ended it");
    });
}

#[test]
fn what_belongs_to_another_system_is_moved_as_it_came_and_counted_there() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish_for_another("other-1", 0);
        world.deliver_all();
        let outgoing = world.outgoing();
        assert!(matches!(&outgoing[..], [outgoing] if outgoing.queue == "mail.queue"), "{outgoing:?}");
        assert!(!outgoing[0].headers.is_set("x-may-exist"), "nobody had it before");
        assert_eq!((world.handed_out(), world.state.unsettled()), (0, vec!["other-1"]), "nothing is acknowledged yet");
        let stats = world.state.lane.stats;
        assert_eq!([&stats.moved, &stats.total_messages].map(|counter| counter.get()), [1, 0]);
        world.bring_to_its_end();
    });
}

#[test]
fn what_may_have_been_moved_before_says_so_where_it_is_moved_to() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish_for_another("other-1", 1);
        world.deliver_all();
        assert!(world.outgoing()[0].headers.is_set("x-may-exist"), "{:?}", world.outgoing());
        world.bring_to_its_end();
    });
}

#[test]
fn what_its_queue_would_soon_delete_is_published_again_before_it_is_moved() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish_for_another("other-1", WORN_OUT);
        world.deliver_all();
        let outgoing = world.outgoing();
        assert!(matches!(&outgoing[..], [outgoing] if outgoing.queue == "bitrix24.queue"), "{outgoing:?}");
        world.bring_to_its_end();
        assert_eq!(world.state.lane.stats.moved.get(), 1);
    });
}

#[test]
fn a_lane_goes_on_while_the_queue_of_another_system_is_missing() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish_for_another("other-1", 0);
        world.publish("a");
        let session = world.session;
        for _ in 0..5 {
            world.deliver_all();
            world.return_all("312 NO_ROUTE");
            world.pass(Duration::from_secs(5));
        }
        assert_eq!((world.session, world.handed_out()), (session, 1));
        world.bring_to_its_end();
    });
}

#[test]
fn a_message_that_was_moved_twice_is_worked_on_once() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish_moved("moved-1", false);
        world.bring_to_its_end();
        world.publish_moved("moved-1", true);
        world.deliver_all();
        assert_eq!((world.handed_out(), world.state.unsettled().len()), (0, 0));
        world.publish_moved("moved-1", false);
        world.deliver_all();
        assert_eq!(world.handed_out(), 1, "somebody may have put the message of a deleted task back");
        world.bring_to_its_end();
    });
}
