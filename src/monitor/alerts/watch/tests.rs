//! What is told of a worker that is seen every five seconds.

use super::super::tests::at;
use super::*;
use crate::lane::notices::ParkedLast;
use crate::lane::tasks::{Swept, Tracked};

/// A worker with two lanes, and what was told of it.
struct World {
    watch: Watch,
    second: u64,
    bitrix24: LaneSeen,
    email: LaneSeen,
    lost: u64,
}

impl World {
    fn new() -> World {
        let pace = Pace::of(Duration::from_secs(5));
        let lane = |system| LaneSeen { system, ..LaneSeen::default() };
        World {
            watch: Watch::new(pace, Duration::from_secs(86_400)),
            second: 0,
            bitrix24: lane("bitrix24"),
            email: lane("email"),
            lost: 0,
        }
    }

    /// So many looks; what they lead to.
    fn look(&mut self, looks: u64) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..looks {
            self.second += 5;
            let seen = Seen { lanes: vec![self.bitrix24.clone(), self.email.clone()], lost: self.lost };
            told.extend(self.watch.look(&seen, at(self.second)).iter().map(News::line));
        }
        told
    }

    fn park(&mut self, count: u64) {
        let number = self.bitrix24.parked + count;
        self.bitrix24.parked = number;
        let (id, cause) = (format!("task-{number}"), "REQUEST_ERROR".into());
        self.bitrix24.last_parked = Some(ParkedLast { number, id, cause });
    }

    fn clock(&self, seconds_ago: u64) -> String {
        at(self.second - seconds_ago).clock.format("%H:%M:%S").to_string()
    }
}

fn stands(obstacle: Obstacle) -> Vec<(Obstacle, String)> {
    vec![(obstacle, "why".into())]
}

fn swept(ids: &[&str]) -> std::sync::Arc<Swept> {
    let task = |id: &&str| Tracked {
        id: (*id).to_owned(),
        about: Default::default(),
        created_at: None,
        target_id: None,
        within: None,
        host: None,
        why: Some("no answer".into()),
    };
    let unanswered = ids.iter().map(task).collect();
    std::sync::Arc::new(Swept { unanswered, has_all_unanswered: true, ..Swept::default() })
}

#[test]
fn of_a_worker_that_works_nothing_is_told() {
    let mut world = World::new();
    (0..1000).for_each(|progress| {
        (world.bitrix24.progress, world.bitrix24.has) = (progress, 17);
        assert_eq!(world.look(1), [] as [&str; 0]);
    });
}

#[test]
fn parked_messages_are_told_at_the_first_and_the_tenth_and_when_no_more_come() {
    let mut world = World::new();
    world.park(1);
    assert_eq!(world.look(2), ["bitrix24: 1 message is parked: task task-1, REQUEST_ERROR"]);
    world.park(8);
    assert_eq!(world.look(2), [] as [&str; 0]);
    world.park(3);
    let told = format!(
        "bitrix24: 12 messages are parked since {}: the last one is task task-12, REQUEST_ERROR",
        world.clock(10)
    );
    assert_eq!(world.look(2), [told]);
    let last = world.clock(0);
    let over = format!("bitrix24: none parked since {last}, 12 messages before, which wait for a person.");
    assert_eq!(world.look(180), [over]);
    world.park(1);
    assert_eq!(world.look(2).len(), 1, "it is another first one");
}

#[test]
fn a_parked_message_without_a_task_is_told_without_the_name_of_another() {
    let mut world = World::new();
    world.park(1);
    world.look(200);
    world.bitrix24.parked += 1;
    assert_eq!(world.look(5), ["bitrix24: 1 message is parked."]);
}

#[test]
fn a_parked_message_that_is_confirmed_late_is_told_with_its_name() {
    let mut world = World::new();
    world.bitrix24.parked = 1;
    assert_eq!(world.look(3), [] as [&str; 0]);
    world.bitrix24.parked = 0;
    world.park(1);
    assert_eq!(world.look(1), ["bitrix24: 1 message is parked: task task-1, REQUEST_ERROR"]);
}

#[test]
fn a_target_that_is_away_is_told_and_that_it_is_back() {
    let mut world = World::new();
    world.bitrix24.obstacles = stands(Obstacle::Target);
    let told = world.look(100);
    assert_eq!(told, [format!("bitrix24: the target is away since {}: why", world.clock(495))]);
    world.bitrix24.obstacles.clear();
    assert_eq!(world.look(100), ["bitrix24: the target is back, after 8m15s."]);
}

#[test]
fn a_broker_that_all_lanes_miss_is_told_once() {
    let mut world = World::new();
    (world.bitrix24.obstacles, world.email.obstacles) = (stands(Obstacle::NoSession), stands(Obstacle::NoSession));
    assert_eq!(world.look(3).len(), 1);
    world.bitrix24.obstacles.clear();
    assert_eq!(world.look(20), [] as [&str; 0], "one lane still misses it");
    world.email.obstacles.clear();
    assert_eq!(world.look(20).len(), 1);
}

#[test]
fn each_obstacle_has_its_own_words() {
    let obstacles = [Obstacle::Alarm, Obstacle::FullQueue, Obstacle::Paused];
    for (obstacle, words) in
        obstacles.into_iter().zip(["RabbitMQ: takes no messages", "bitrix24: a queue takes", "bitrix24: paused by"])
    {
        let mut world = World::new();
        world.bitrix24.obstacles = stands(obstacle);
        let told = world.look(3);
        assert!(told.len() == 1 && told[0].starts_with(words), "{told:?}");
    }
}

#[test]
fn a_budget_that_is_used_up_is_told_and_not_as_a_target_that_is_away() {
    let mut world = World::new();
    world.bitrix24.budget = Some("tasks.task.add rests for 300s".into());
    world.bitrix24.obstacles = stands(Obstacle::Target);
    let told = world.look(60);
    let since = world.clock(295);
    assert_eq!(told, [format!("bitrix24: the request budget is used up since {since}: tasks.task.add rests for 300s")]);
    world.bitrix24.obstacles.clear();
    world.bitrix24.budget = None;
    assert_eq!(world.look(20), ["bitrix24: requests may be sent again, after 4m55s."]);
}

#[test]
fn a_lane_that_has_tasks_and_does_not_move_is_stalled() {
    let mut world = World::new();
    world.bitrix24.has = 17;
    assert_eq!(world.look(120), [] as [&str; 0]);
    let told = world.look(4);
    assert!(told.len() == 1 && told[0].ends_with(": 17 taken and 0 in the queue wait"), "{told:?}");
    world.bitrix24.progress += 1;
    let told = world.look(20);
    assert!(told.len() == 1 && told[0].starts_with("bitrix24: messages are settled again, after "), "{told:?}");
    // A lane that is paused does not stall.
    world.bitrix24.obstacles = stands(Obstacle::Paused);
    assert_eq!(world.look(500).len(), 1);
}

#[test]
fn a_lane_that_takes_nothing_is_stalled_when_two_sweeps_have_seen_its_queue() {
    let mut world = World::new();
    let sweep = |world: &mut World, queued| {
        let number = world.bitrix24.swept.number + 1;
        world.bitrix24.swept = std::sync::Arc::new(Swept { number, ..Swept::default() });
        world.bitrix24.queued = queued;
    };
    // What the last sweep has seen may be gone for long.
    sweep(&mut world, 17);
    assert_eq!(world.look(1000), [] as [&str; 0]);
    sweep(&mut world, 0);
    assert_eq!(world.look(1000), [] as [&str; 0]);
    sweep(&mut world, 5);
    assert_eq!(world.look(150), [] as [&str; 0]);
    sweep(&mut world, 6);
    let told = world.look(10);
    assert!(told.len() == 1 && told[0].ends_with(": 0 taken and 6 in the queue wait"), "{told:?}");
}

#[test]
fn a_task_that_lacks_its_answer_for_a_day_is_told_and_one_that_gets_it_is_not() {
    let mut world = World::new();
    world.bitrix24.swept = swept(&["task-1", "task-2"]);
    assert_eq!(world.look(17_000), [] as [&str; 0]);
    world.bitrix24.swept = swept(&["task-3", "task-2"]);
    let told = world.look(1000);
    assert_eq!(told, ["bitrix24: 1 task is finished without an answer: for 1d00h or longer, such as task task-2"]);
    world.bitrix24.swept = swept(&[]);
    assert_eq!(world.look(20), ["bitrix24: no task lacks its answer any more."]);
}

#[test]
fn a_sweep_that_has_not_seen_every_task_starts_no_timer_again() {
    let mut world = World::new();
    world.bitrix24.swept = swept(&["task-1"]);
    world.look(17_000);
    let partial = |ids| std::sync::Arc::new(Swept { has_all_unanswered: false, ..(*swept(ids)).clone() });
    world.bitrix24.swept = partial(&[]);
    world.look(10);
    world.bitrix24.swept = swept(&["task-1"]);
    let told = world.look(271);
    assert_eq!(told, ["bitrix24: 1 task is finished without an answer: for 1d00h or longer, such as task task-1"]);
    world.bitrix24.swept = partial(&[]);
    assert_eq!(world.look(100), [] as [&str; 0]);
    // Nobody has seen it for a day.
    assert_eq!(world.look(17_280), ["bitrix24: no task lacks its answer any more."]);
}

#[test]
fn lost_tasks_are_told_until_a_reconciliation_finds_none() {
    let mut world = World::new();
    world.lost = 3;
    assert_eq!(world.look(5), ["reconcile: 3 tasks are lost."]);
    world.lost = 0;
    assert_eq!(world.look(20), ["reconcile: no task is lost any more."]);
}

#[test]
fn a_lane_that_flaps_for_a_day_is_told_a_few_times() {
    let mut world = World::new();
    let told: Vec<String> = (0..17_280 / 6)
        .flat_map(|_| {
            world.bitrix24.obstacles = stands(Obstacle::Target);
            let mut told = world.look(3);
            world.bitrix24.obstacles.clear();
            told.extend(world.look(3));
            told
        })
        .collect();
    assert_eq!(told.len(), 4, "at 1, 10, 100 and 1000: {told:?}");
    assert!(world.watch.episodes.len() == 1);
}
