//! How many look-ups come before many creates. It knows counts, not how a task is looked up.

use super::*;

#[test]
fn look_ups_of_many_tasks_share_their_calls() {
    const TASKS: usize = 40;
    let mut scene = Scene::waiting("shared look-ups", &messages(TASKS), &[]);
    scene.start();
    scene.end(TASKS, 0);
    let (look_ups, creates) = (scene.calls(LIST), scene.calls(ADD));
    assert_eq!(creates, TASKS as u64);
    assert!(look_ups <= TASKS as u64 / 2, "{look_ups} look-ups of {TASKS} tasks");
}
