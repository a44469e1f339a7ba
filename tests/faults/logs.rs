//! What the operator reads, whatever happens to the files, the disk and the terminal: logs that are renamed or
//! truncated, a full disk, a terminal that nobody reads, one id through all steps, and a heartbeat that says what is
//! wrong.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::*;

const QUICK: [(&str, &str); 4] =
    [("BITRIX_RATE", "0"), ("BITRIX_REQUEST_TIMEOUT", "1"), ("RETRY_DELAY", "0.2"), ("HEARTBEAT_INTERVAL", "0.2")];

/// For an end without anything to wait for; far below `SHUTDOWN_TIMEOUT`.
const AT_ONCE: Duration = Duration::from_secs(5);

struct Scene {
    queues: Queues,
    tasks: Tasks,
    _portal: Portal,
    worker: Worker,
}

impl Scene {
    /// A worker started by this line of the shell.
    fn under(name: &str, line: &str, changes: &[(&str, &str)]) -> Scene {
        let (queues, tasks) = (Queues::new(name), Tasks::new());
        let portal = Portal::of(&tasks);
        let changes = [&QUICK[..], changes].concat();
        let worker = Worker::run_under(line, &command::changed(&queues, &portal.webhook(), &changes));
        queues.await_consumers(&queues.retry(), 1, PATIENCE);
        Scene { queues, tasks, _portal: portal, worker }
    }

    fn set(name: &str, changes: &[(&str, &str)]) -> Scene {
        Scene::under(name, "exec \"$0\"", changes)
    }

    fn log_file(&self) -> PathBuf {
        self.worker.folder().join("logs/worker.log")
    }

    fn do_one_task(&self, id: &str) {
        self.queues.publish_task(&field_text(id));
        eventually("the task", PATIENCE, || self.tasks.ids_of(id).len() == 1);
    }
}

/// The lines that `grep ID` finds.
fn lines_with(worker: &Worker, id: &str) -> Vec<String> {
    worker.log().lines().filter(|line| line.contains(id)).map(String::from).collect()
}

#[test]
fn a_renamed_log_is_created_again_with_the_next_line_or_at_a_hangup() {
    let mut scene = Scene::set("logs renamed", &[]);
    let (log, errors) = (scene.log_file(), scene.worker.folder().join("logs/worker_errors.log"));
    for file in [&log, &errors] {
        fs::rename(file, file.with_extension("log.1")).expect("the logs are ours");
    }
    scene.worker.await_log(" works: ", PATIENCE);
    assert!(!errors.exists(), "there was no error to write");
    scene.worker.signal("HUP");
    eventually("both logs", PATIENCE, || errors.exists());
    let ended = scene.worker.log();
    scene.worker.stop();
    assert!(fs::read_to_string(log.with_extension("log.1")).expect("it is there").contains(" starts: "));
    assert!(!ended.contains(" starts: ") && scene.worker.log().contains("SIGHUP"), "{ended}");
}

#[test]
fn a_truncated_output_is_written_from_its_start() {
    let mut scene = Scene::under("output truncated", "exec \"$0\" > worker.out 2>&1", &[]);
    let file = scene.worker.folder().join("worker.out");
    let read = || fs::read(&file).expect("it is there");
    eventually("the first beat", PATIENCE, || String::from_utf8_lossy(&read()).contains(" works: "));
    fs::write(&file, "").expect("it is ours");
    eventually("the next beat", PATIENCE, || String::from_utf8_lossy(&read()).contains(" works: "));
    assert!(!read().contains(&0), "{:?}", String::from_utf8_lossy(&read()));
    scene.worker.stop();
}

#[test]
fn a_disk_that_is_full_for_a_while_is_reported_once_and_the_gap_is_marked() {
    let mut scene = Scene::set("disk full", &[]);
    let (log, full) = (scene.log_file(), scene.worker.folder().join("full"));
    symlink("/dev/full", &full).expect("the folder is ours");
    fs::rename(&full, &log).expect("the folder is ours");
    scene.worker.await_output("logs/worker.log cannot be written, ", PATIENCE);
    scene.worker.await_output("log line(s) are lost so far; stderr says why", PATIENCE);
    scene.do_one_task("task-1");
    scene.queues.await_count(&scene.queues.sent(), 1, PATIENCE);
    fs::remove_file(&log).expect("it is ours");
    scene.worker.await_log("line(s) are missing here: No space left on device", PATIENCE);
    scene.worker.stop();
    let output = scene.worker.output();
    assert_eq!(output.matches("cannot be written").count(), 1, "{output}");
    assert!(!output.contains("flexi_logger"), "{output}");
    let log = scene.worker.log();
    let lost = log.rsplit_once("lost_log_lines=").expect("the last line of the statistics").1;
    assert!(!lost.starts_with("0 "), "{lost}");
}

/// A full pipe, like a terminal that is halted with Ctrl+S.
#[test]
fn a_terminal_that_nobody_reads_holds_up_neither_work_nor_the_end() {
    let full = "mkfifo full; exec 3<>full; rm full; head -c 65536 /dev/zero >&3; exec \"$0\" 2>&3";
    for signal in ["INT", "TERM"] {
        let mut scene = Scene::under("terminal halted", full, &[("LOG_LEVEL", "DEBUG")]);
        for number in 0..5 {
            scene.do_one_task(&format!("task-{number}"));
        }
        scene.queues.await_count(&scene.queues.input(), 0, PATIENCE);
        scene.worker.signal(signal);
        assert_eq!(scene.worker.wait(AT_ONCE).code(), Some(0));
        assert!(scene.worker.log().lines().last().is_some_and(|line| line.contains("is settled")));
        Audit::take(&scene.queues, scene.tasks.markers()).assert_holds();
    }
}

#[test]
fn a_terminal_that_nobody_reads_does_not_hold_up_the_hard_end() {
    let (queues, tasks, gate) = (Queues::new("hard end"), Tasks::new(), Gate::closed());
    let portal = Portal::start({
        let (tasks, gate) = (tasks.clone(), gate.clone());
        move |call| {
            if creates(call, "task-1") {
                gate.wait();
            }
            tasks.answer(call)
        }
    });
    let changes = [("SHUTDOWN_TIMEOUT", "1"), ("BITRIX_REQUEST_TIMEOUT", "60")];
    let full = "mkfifo full; exec 3<>full; rm full; head -c 65536 /dev/zero >&3; exec \"$0\" 2>&3";
    let mut worker = Worker::run_under(full, &command::changed(&queues, &portal.webhook(), &changes));
    queues.publish_task(&field_text("task-1"));
    gate.await_waiting(1, PATIENCE);
    worker.signal("INT");
    assert_eq!(worker.wait(AT_ONCE).code(), Some(1));
    assert!(worker.log().lines().last().is_some_and(|line| line.contains("unsettled task(s)")));
}

#[test]
fn every_step_of_a_task_is_one_line_that_its_id_finds() {
    let mut scene = Scene::set("steps", &[]);
    scene.do_one_task("step-by-step");
    scene.queues.await_count(&scene.queues.input(), 0, PATIENCE);
    scene.tasks.set("step-by-step", "UF_RESULT_ANSWER", json!("26"));
    scene.tasks.set_status("step-by-step", 5);
    scene.worker.await_log("answered to Camunda", PATIENCE);
    scene.worker.stop();
    let lines = lines_with(&scene.worker, "task=step-by-step");
    let id = scene.tasks.ids_of("step-by-step")[0];
    let link = format!("/company/personal/user/1/tasks/task/view/{id}/");
    let steps = ["received: ", "created: ", "finished, answer \"ДА\": ", "s after it was created: "];
    let told: Vec<_> = lines.iter().filter(|line| steps.iter().any(|step| line.contains(step))).collect();
    assert_eq!(told.len(), steps.len(), "{lines:#?}");
    for (line, step) in told.iter().zip(steps) {
        assert!(line.contains(" INFO ") && line.contains(step), "{step}: {line}");
    }
    assert!(told[1].contains("http://127.0.0.1:") && told[1].ends_with(&link), "{}", told[1]);
}

#[test]
fn a_message_without_an_id_has_the_same_name_in_the_log_and_in_parked_list() {
    let mut scene = Scene::set("unreadable", &[]);
    for (number, body) in [r#"{"no": "id"}"#, "not JSON", "[1]"].into_iter().enumerate() {
        scene.queues.publish_task(&body);
        scene.queues.await_count(&scene.queues.errors(), number + 1, PATIENCE);
    }
    // And a record that cannot be read.
    scene.queues.publish(&scene.queues.sent(), "no record", amiquip::FieldTable::new());
    scene.queues.await_count(&scene.queues.errors(), 4, PATIENCE);
    scene.worker.stop();
    let settings = command::changed(&scene.queues, "http://127.0.0.1:1/rest/1/some-token", &[]);
    let list = run(&["parked", "list", "--json"], &settings);
    list.ended_with(0);
    let ids: Vec<String> = parked::json_lines(&list.output).iter().map(|line| line["id"].to_string()).collect();
    assert_eq!(ids.len(), 4, "{}", list.output);
    for id in ids {
        let lines = lines_with(&scene.worker, &format!("task={}: ", id.trim_matches('"')));
        assert!(lines.len() == 1 && lines[0].contains("parking in "), "{id}: {lines:?}");
    }
}

#[test]
fn the_heartbeat_fits_a_terminal_and_every_number_is_logged_at_debug_and_at_the_end() {
    let mut scene = Scene::set("heartbeat", &[]);
    scene.do_one_task("task-1");
    scene.worker.await_log("works: in 1, created 1, parked 0, open 1, done 0", PATIENCE);
    assert!(!scene.worker.log().contains("total_messages="), "{}", scene.worker.log());
    scene.worker.stop();
    let log = scene.worker.log();
    assert_eq!(log.matches("total_messages=1 ").count(), 1, "at the end");
    let beats = log.lines().filter(|line| line.contains(" works: "));
    assert!(beats.clone().count() > 0 && beats.clone().all(|line| line.chars().count() <= 120), "{log}");
    let offset = |line: &str| line.get(23..29).is_some_and(|offset| offset.starts_with(['+', '-']));
    assert!(log.lines().all(offset), "a time without its offset: {log}");

    let scene = Scene::set("heartbeat at debug", &[("LOG_LEVEL", "DEBUG")]);
    scene.worker.await_log("DEBUG [heartbeat] bitrix24: total_messages=0", PATIENCE);
}

#[test]
fn the_heartbeat_of_a_paused_lane_says_since_when_why_how_many_wait_and_the_next_try() {
    let queues = Queues::new("paused");
    let portal = Portal::start(|_| Answer::refused(401, "expired_token", "the token has expired"));
    let changes = [&QUICK[..], &[("RETRY_DELAY", "60")]].concat();
    let mut worker = Worker::start(&queues, &portal.webhook(), &changes);
    for number in 0..3 {
        queues.publish_task(&field_text(&format!("task-{number}")));
    }
    worker.await_log("; 3 taken and 0 in the queue wait: ", PATIENCE);
    let log = worker.log();
    let line = log.lines().rfind(|line| line.contains("bitrix24 paused since ")).expect("a line about the pause");
    assert!(line.contains(" INFO  [heartbeat] ") && line.contains("), next try in ") && line.contains("expired_token"));
    assert!(log.contains("[heartbeat] bitrix24 waits: in 3"), "{log}");
    worker.stop();
}

#[test]
fn the_heartbeat_of_a_lane_without_rabbitmq_says_so_and_starts_with_the_first_session() {
    let queues = Queues::new("no heartbeat");
    let relay = Relay::to(RabbitMq::from_env().address());
    relay.refuse();
    let portal = Portal::of(&Tasks::new());
    let port = relay.port().to_string();
    let through = [("RABBITMQ_HOST", "127.0.0.1"), ("RABBITMQ_PORT", &port)];
    let mut worker = Worker::start(&queues, &portal.webhook(), &[&QUICK[..], &through].concat());
    worker.await_log("no session with RabbitMQ, trying again in", PATIENCE);
    let started = Instant::now();
    eventually("five intervals", PATIENCE, || started.elapsed() > Duration::from_secs(1));
    relay.accept();
    worker.await_log(" works: ", PATIENCE);
    let log = worker.log();
    let before = log.split_once("deliveries at a time").expect("a session").0;
    assert!(!before.contains("[heartbeat]"), "{before}");
    relay.refuse();
    relay.cut();
    worker.await_log("[heartbeat] bitrix24 no session with RabbitMQ since ", PATIENCE);
    relay.accept();
    let waits = worker.log().matches(" works: ").count();
    eventually("work again", PATIENCE, || worker.log().matches(" works: ").count() > waits);
    worker.stop();
}

#[test]
fn after_a_refused_sign_in_the_last_line_is_the_error() {
    let queues = Queues::new("refused sign-in");
    let portal = Portal::of(&Tasks::new());
    let mut worker =
        Worker::start(&queues, &portal.webhook(), &[&QUICK[..], &[("RABBITMQ_PASSWORD", "wrong")]].concat());
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    for text in [worker.log(), worker.output()] {
        let last = text.lines().last().unwrap_or_default();
        assert!(last.contains(" ERROR ") && last.contains("RabbitMQ does not let us in"), "{text}");
        assert!(!text.contains("is settled") && !text.contains("[heartbeat]"), "{text}");
    }
}
