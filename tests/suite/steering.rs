//! `status`, `control` and `health` as an operator at a terminal uses them on a running worker. What the API says is
//! tested in `monitor` and its neighbours; here it is what the commands print and how they end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{Api, READ_TOKEN};
use crate::support::*;

const SYSTEM: &str = "bitrix24";

/// A worker with a monitor, and the settings with which commands find it.
struct Scene {
    queues: Queues,
    tasks: Tasks,
    _portal: Portal,
    api: Api,
    settings: Vec<(String, String)>,
    worker: Worker,
}

impl Scene {
    fn set(test: &str) -> Scene {
        let (queues, tasks, api) = (Queues::new(&format!("steering {test}")), Tasks::new(), Api::anywhere());
        let portal = Portal::of(&tasks);
        let own = [&[("HEARTBEAT_INTERVAL", "3600")], &api.settings()[..]].concat();
        let settings = changed(&queues, &portal.webhook(), &own);
        let worker = Worker::run(&[], &settings);
        let scene = Scene { queues, tasks, _portal: portal, api, settings, worker };
        eventually("it is ready", PATIENCE, || scene.api.get("/readyz").is_ok_and(|answer| answer.status == 200));
        scene
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        run(arguments, &self.settings)
    }

    fn status(&self) -> Value {
        let ended = self.run(&["status", "--json"]);
        serde_json::from_str(&ended.output).unwrap_or_else(|err| panic!("{err}: {}", ended.output))
    }
}

#[test]
fn a_lane_is_paused_and_resumed_from_the_command_line_and_the_api_says_the_same() {
    let mut scene = Scene::set("pauses");
    scene.run(&["health"]).ended_with(0).has("[+] bitrix24");
    scene.run(&["status"]).ended_with(0).has("bitrix24  works");
    scene.run(&["control", "pause", SYSTEM, "--reason", "maintenance of the portal"]).ended_with(0).has("is paused");
    scene.queues.publish_task(&field_text("task-1"));
    eventually("the pause is seen", PATIENCE, || scene.status()["lanes"][0]["state"] == "paused");
    let lane = scene.api.get("/api/v1/lanes/bitrix24").expect("it answers").json();
    assert_eq!((&lane["state"], &lane["reason"]), (&json!("paused"), &json!("maintenance of the portal")));
    scene.run(&["status"]).ended_with(1).has("maintenance of the portal");
    assert_eq!((scene.queues.count(&scene.queues.sent()), scene.tasks.markers().len()), (0, 0));
    scene.run(&["control", "resume", SYSTEM]).ended_with(0);
    scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
    scene.run(&["control", "sweep", SYSTEM]).ended_with(0);
    scene.run(&["control", "log-level", "debug", "--for", "1m"]).ended_with(0).has("the worker logs DEBUG until");
    let events = scene.api.get("/api/v1/events").expect("it answers").json();
    let by_control = events["events"].as_array().map_or(0, |events| {
        events.iter().filter(|event| event["kind"] == "operator" && event["by"] == "control").count()
    });
    assert!(by_control >= 4, "{events}");
    scene.worker.stop();
}

#[test]
fn who_may_only_read_cannot_pause_and_hears_why() {
    let mut scene = Scene::set("reads");
    scene.settings.retain(|(name, _)| name != "MONITOR_CONTROL_TOKEN");
    scene.run(&["status"]).ended_with(0);
    scene.run(&["control", "pause", SYSTEM, "--reason", "x"]).ended_with(1).has("the worker says no");
    assert!(!scene.worker.log().contains(READ_TOKEN));
    scene.run(&["control", "pause", "bitrix", "--reason", "x"]).ended_with(1);
    scene.worker.stop();
}

#[test]
fn without_a_worker_or_without_an_address_the_commands_say_what_to_do() {
    let queues = Queues::new("steering nobody");
    let api = Api::anywhere();
    let settings = changed(&queues, "", &api.settings());
    for command in [&["status"][..], &["health"], &["control", "sweep", SYSTEM]] {
        run(command, &settings).ended_with(1).has("no worker answers at http://127.0.0.1:");
        run(command, &changed(&queues, "", &[])).ended_with(1).has("MONITOR_ADDR is not set");
    }
}

#[test]
fn status_can_be_watched_until_an_interrupt_also_while_the_worker_restarts() {
    let mut scene = Scene::set("watched");
    let mut watching = Worker::run(&["status", "--watch"], &scene.settings);
    watching.await_output("bitrix24  works", PATIENCE);
    scene.worker.stop();
    watching.await_output("no worker answers", PATIENCE);
    scene.worker.start_again();
    let seen = watching.output().matches("bitrix24  works").count();
    eventually("it is seen again", PATIENCE + Duration::from_secs(5), || {
        watching.output().matches("bitrix24  works").count() > seen
    });
    watching.signal("INT");
    assert_eq!(watching.wait(PATIENCE).code(), Some(130));
    scene.worker.stop();
}
