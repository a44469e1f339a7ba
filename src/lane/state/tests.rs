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
use crate::lane::tasks::Step;
use crate::lane::{Queues, control::Control, notices::Notices, outgoing};
use crate::message::{Earlier, Task, fingerprint, sent_record};
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
        looks_up: !seed.is_multiple_of(2),
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
        pulse: Default::default(),
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

/// Three creates without an answer pause the lane, and the third task waits in it.
#[test]
fn a_create_without_an_answer_is_remembered_by_a_task_that_waits_in_the_lane() {
    with_world(1, |mut world| {
        world.steady = true;
        ["a", "b", "c"].into_iter().for_each(|id| world.publish(id));
        world.deliver_all();
        for _ in 0..3 {
            assert_eq!(world.earlier(), [Earlier::None]);
            world.fail_without_answer();
            world.deliver_all();
        }
        assert!(world.earlier().is_empty(), "the lane is paused");
        world.pass(Duration::from_secs(31));
        assert_eq!(world.earlier(), [Earlier::WouldShow]);
        world.bring_to_its_end();
    });
}

#[test]
fn a_create_without_an_answer_is_remembered_when_its_retry_message_is_lost() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish("a");
        world.deliver_all();
        world.fail_without_answer();
        world.lose_session();
        world.deliver_all();
        world.pass(Duration::from_secs(31));
        let earlier = world.earlier();
        assert!(!earlier.is_empty() && !earlier.contains(&Earlier::None), "{earlier:?}");
        world.bring_to_its_end();
    });
}

#[test]
fn a_task_that_waits_says_since_when_why_and_until_when_also_after_its_session_was_lost() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish("a");
        world.deliver_all();
        let first = world.now;
        let told = |world: &World| world.state.under_way(world.now).pop().expect("it is under way");
        assert_eq!((told(&world).step, told(&world).since), (Step::Handling, Some(first)));
        world.pass(Duration::from_secs(10));
        world.fail_without_answer();
        world.confirm_all();
        for _ in 0..2 {
            world.deliver_all();
            let task = told(&world);
            assert_eq!((task.since, task.error.as_deref()), (Some(first), Some("no answer")), "{task:?}");
            assert!(task.is_retrying && task.next_try.is_some_and(|next| next > world.now), "{task:?}");
            assert_eq!((task.step, task.attempts), (Step::WaitingForTry, 1));
            world.lose_session();
        }
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
            world.refuse_what_goes_to("errors.camunda_tasks.queue");
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
            world.refuse_what_goes_to("errors.camunda_tasks.queue");
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
        world.refuse_what_goes_to("nowhere");
        world.deliver_all();
        let outgoing = world.outgoing();
        assert!(matches!(&outgoing[..], [outgoing] if outgoing.queue == "mail.queue"), "{outgoing:?}");
        assert!(outgoing[0].headers.is_set("x-may-exist"), "an earlier delivery may have moved it: {outgoing:?}");
        world.bring_to_its_end();
        assert_eq!(world.state.lane.stats.moved.get(), 1);
    });
}

#[test]
fn a_full_queue_of_another_system_leaves_room_for_what_belongs_here() {
    with_world(1, |mut world| {
        world.steady = true;
        (0..20).for_each(|number| world.publish_for_another(&format!("other-{number}"), number % 2));
        world.publish("a");
        for _ in 0..100 {
            world.deliver_as_allowed();
            world.refuse_what_goes_to("mail.queue");
            world.pass(Duration::from_millis(200));
        }
        assert_eq!(world.handed_out(), 1);
        let stats = world.state.lane.stats;
        assert_eq!([&stats.moved, &stats.total_messages].map(|counter| counter.get()), [20, 1]);
        world.bring_to_its_end();
        let mut moved = world.moved_elsewhere();
        moved.sort_unstable();
        let expected: Vec<_> = (0..20).map(|number| (format!("other-{number}"), number % 2 == 1)).collect();
        assert!(expected.iter().all(|expected| moved.binary_search(expected).is_ok()), "{moved:?}");
        assert_eq!(moved.len(), 20);
    });
}

#[test]
fn a_stop_does_not_wait_for_room_in_the_queue_of_another_system() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish_for_another("other-1", 0);
        world.deliver_all();
        world.refuse_what_goes_to("mail.queue");
        world.stop();
        assert_eq!(world.unsettled(), 1, "it is left to the broker");
    });
}

#[test]
fn a_copy_of_a_task_that_waits_to_be_parked_is_settled_with_it() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish("a");
        world.deliver_all();
        world.fail_for_good();
        world.refuse_what_goes_to("errors.camunda_tasks.queue");
        world.publish("a");
        world.deliver_all();
        world.pass(Duration::from_secs(5));
        assert_eq!((world.outgoing().len(), world.unsettled()), (1, 2));
        world.refuse_what_goes_to("nowhere");
        assert_eq!((world.handed_out(), world.unsettled()), (0, 0));
    });
}

/// Where tasks cannot be looked up.
#[test]
fn a_task_that_its_tracker_has_parked_is_done_again_when_it_is_published_again() {
    with_world(2, |mut world| {
        world.steady = true;
        world.publish("a");
        world.bring_to_its_end();
        world.publish("a");
        world.deliver_all();
        assert_eq!((world.handed_out(), world.unsettled()), (0, 0), "a copy");
        world.park("a");
        world.publish("a");
        world.deliver_all();
        assert_eq!(world.handed_out(), 1);
        world.await_follow_up();
        world.park("a");
        world.publish("a");
        world.deliver_all();
        assert_eq!((world.handed_out(), world.unsettled()), (0, 2), "its follow-up is not over");
        world.finish_without_ack();
        world.carry_out();
        assert_eq!((world.handed_out(), world.unsettled()), (1, 1));
        world.bring_to_its_end();
        world.publish("a");
        world.deliver_all();
        assert_eq!((world.handed_out(), world.unsettled()), (0, 0), "a copy of the next try");
    });
}

#[test]
fn a_replay_whose_ack_is_lost_is_done_once_and_the_next_replay_too() {
    for seed in [1, 2] {
        with_world(seed, |mut world| {
            world.steady = true;
            world.publish("a");
            world.bring_to_its_end();
            for at in [7, 8] {
                world.publish_replay("a", Some(at));
                world.deliver_all();
                assert_eq!(world.handed_out(), 1, "{at}");
                world.finish_without_ack();
                world.lose_session();
                world.deliver_all();
                assert_eq!((world.handed_out(), world.unsettled()), (0, 0), "{at}");
            }
            // An earlier version does not say when it was.
            world.publish_replay("a", None);
            world.deliver_all();
            assert_eq!(world.handed_out(), 1);
            world.bring_to_its_end();
        });
    }
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

/// After a reconcile, the bridge publishes the task again with a new time. Whoever browses the queue requeues it.
#[test]
fn a_message_that_was_requeued_unread_is_not_taken_for_the_one_that_finished_its_task() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish("a");
        world.bring_to_its_end();
        world.add_task("a", 1, "");
        world.deliver_all();
        assert_eq!((world.handed_out(), world.unsettled()), (0, 0), "the same message, whose ack was lost");
        world.add_task("a", 1, "published again");
        world.deliver_all();
        assert_eq!((world.handed_out(), world.unsettled()), (1, 1));
        world.bring_to_its_end();
        world.add_task("a", 1, "published again");
        world.deliver_all();
        assert_eq!((world.handed_out(), world.unsettled()), (0, 0), "its ack was lost, too");
    });
}

#[test]
fn what_becomes_of_a_message_is_counted_once_with_the_time_that_it_took() {
    with_world(1, |mut world| {
        world.steady = true;
        world.publish("refused");
        world.deliver_all();
        world.pass(Duration::from_secs(3));
        world.fail_for_good();
        world.publish("created");
        world.bring_to_its_end();
        let stats = world.state.lane.stats;
        assert_eq!((stats.parked.get(), stats.created.get() + stats.found.get()), (1, 1));
        assert_eq!(stats.counters()["parked_request_error"], 1);
        let handled = stats.handling.counted();
        assert!(handled.count == 2 && handled.sum >= 3.0, "{handled:?}");
    });
}
