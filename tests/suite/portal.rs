//! What the worker asks Bitrix24 before it creates a task, and what it does when the create is refused; and the
//! statistics.

mod follow_up;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::*;
use serde_json::{Value, json};

const MARKER: &str = "UF_CAMUNDA_ID_EXTERNAL_TASK";

/// Starts a worker that does not sweep, so that all records stay in the sent queue.
fn start(queues: &Queues, portal: &Portal, changes: &[(&str, &str)]) -> Worker {
    let quiet = [("HEARTBEAT_INTERVAL", "600"), ("RETRY_DELAY", "0.2"), ("BITRIX_RATE", "0")];
    Worker::start(queues, &portal.webhook(), &[&quiet, changes].concat())
}

fn message(id: &str) -> Value {
    json!({"task_id": id, "topic": "bitrix_create_task", "variables": {"title": id}})
}

fn assigned(id: &str, assignee: &str) -> Value {
    let mut message = message(id);
    message["metadata"] = json!({"extensionProperties": {"assigneeId": assignee}});
    message
}

/// The number after this name in the last statistics line; the worker is stopped for it.
#[track_caller]
fn statistic(worker: &mut Worker, name: &str) -> String {
    worker.stop();
    let log = worker.log();
    let line = log.lines().rfind(|line| line.contains("bitrix24: total_messages=")).expect("a statistics line");
    let value = line.split(&format!(" {name}=")).nth(1).unwrap_or_else(|| panic!("no {name} in {line}"));
    value.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn without_a_searchable_marker_nothing_is_created_until_the_field_is_made() {
    let queues = Queues::new("no marker");
    let tasks = Tasks::new();
    tasks.put("somebody's");
    tasks.forget_field(MARKER);
    let portal = Portal::of(&tasks);
    queues.publish_tasks(&[message("task-1"), message("task-2")]);
    let mut worker = start(&queues, &portal, &[("RETRY_ATTEMPTS", "1")]);
    worker.await_log("the portal cannot search tasks by UF_CAMUNDA_ID_EXTERNAL_TASK", PATIENCE);
    for advice in ["task-creator check --create-field", "BITRIX_TASK_ID_FIELD=XML_ID", "or none", "messages stay"] {
        worker.await_log(advice, PATIENCE);
    }
    eventually("a second probe", PATIENCE, || portal.count("tasks.task.list") >= 2);
    assert_eq!((portal.count("tasks.task.add"), queues.count(&queues.errors())), (0, 0));
    let made = Call {
        method: "task.item.userfield.add".into(),
        params: json!({"PARAMS": {"FIELD_NAME": MARKER, "USER_TYPE_ID": "string"}}),
        nth: 1,
        request: 0,
        batched: false,
    };
    let _ = tasks.answer(&made);
    queues.await_count(&queues.sent(), 2, PATIENCE);
    worker.stop();
    let markers = tasks.markers().into_iter().filter(|marker| marker != "somebody's").collect();
    Audit::take(&queues, markers).assert_holds();
}

#[test]
fn a_portal_that_shows_a_full_page_for_a_marker_is_not_believed() {
    let queues = Queues::new("full page");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| match call.method.as_str() {
            "tasks.task.list" if call.nth > 1 => {
                let marker = call.params["filter"][MARKER].clone();
                let row = json!({"id": "5", "ufCamundaIdExternalTask": marker});
                Answer::Done(json!({"tasks": vec![row; 50]}))
            }
            _ => tasks.answer(call),
        })
    };
    queues.publish_task(&message("task-1"));
    let worker = start(&queues, &portal, &[]);
    worker.await_log("the portal cannot search tasks by", PATIENCE);
    assert_eq!((portal.count("tasks.task.add"), queues.count(&queues.sent())), (0, 0));
}

#[test]
fn a_portal_without_tasks_and_without_the_field_creates_nothing() {
    let queues = Queues::new("empty portal");
    let tasks = Tasks::new();
    tasks.forget_field(MARKER);
    let portal = Portal::of(&tasks);
    queues.publish_task(&message("task-1"));
    let worker = start(&queues, &portal, &[]);
    worker.await_log("cannot search tasks by", PATIENCE);
    assert_eq!((portal.count("tasks.task.add"), queues.count(&queues.sent())), (0, 0));
}

#[test]
fn a_look_up_that_fails_never_leads_to_a_create() {
    let queues = Queues::new("failing look-up");
    let tasks = Tasks::new();
    let look_ups = Arc::new(AtomicUsize::new(0));
    let refused = [(500, "INTERNAL_SERVER_ERROR"), (503, "QUERY_LIMIT_EXCEEDED"), (401, "expired_token")];
    let portal = {
        let tasks = tasks.clone();
        let look_ups = look_ups.clone();
        Portal::start(move |call| {
            if call.params["filter"][MARKER] != "task-1" {
                return tasks.answer(call);
            }
            match look_ups.fetch_add(1, Ordering::Relaxed) {
                nth @ 0..3 => Answer::refused(refused[nth].0, refused[nth].1, ""),
                3 => Answer::Http(Reply::html(502, "<html>")),
                4 => Answer::Done(json!([])),
                _ => tasks.answer(call),
            }
        })
    };
    tasks.put("task-1");
    queues.publish_task(&message("task-1"));
    let mut worker = start(&queues, &portal, &[("RETRY_ATTEMPTS", "3")]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    assert_eq!((portal.count("tasks.task.add"), look_ups.load(Ordering::Relaxed)), (0, 6));
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn the_marker_may_be_the_xml_id() {
    let queues = Queues::new("xml id");
    let tasks = Tasks::marked_by("XML_ID");
    let there = tasks.put("task-1");
    let portal = Portal::of(&tasks);
    queues.publish_tasks(&[message("task-1"), message("task-2")]);
    let mut worker = start(&queues, &portal, &[("BITRIX_TASK_ID_FIELD", "XML_ID")]);
    queues.await_count(&queues.sent(), 2, PATIENCE);
    assert_eq!(tasks.ids_of("task-1"), [there]);
    assert_eq!(tasks.task("task-2")["XML_ID"], "task-2");
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn without_a_marker_nothing_is_looked_up_and_every_start_says_so() {
    let queues = Queues::new("no look-up");
    let tasks = Tasks::new();
    tasks.forget_field(MARKER);
    let portal = Portal::of(&tasks);
    queues.publish_task(&message("task-1"));
    let worker = start(&queues, &portal, &[("BITRIX_TASK_ID_FIELD", "none")]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    assert!(worker.log().contains("BITRIX_TASK_ID_FIELD=none: tasks are not looked up"));
    assert_eq!(portal.count("tasks.task.list"), 0);
    let create = portal.await_call("tasks.task.add", 1, PATIENCE);
    let fields = &create.params["fields"];
    // So that people can find it, and so can a later worker that looks up.
    assert_eq!((fields.get(MARKER), &fields["XML_ID"]), (None, &json!("task-1")));
}

#[test]
fn an_existing_task_is_recorded_in_place_of_the_reply() {
    let queues = Queues::new("found");
    let tasks = Tasks::new();
    let there = tasks.put("field-1");
    let portal = Portal::of(&tasks);
    queues.publish_task(&field_text("field-1"));
    // The worker waits this long, since whoever created the task may still be adding its checklists.
    let mut worker = start(&queues, &portal, &[("BITRIX_REQUEST_TIMEOUT", "1")]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    let record = queues.peek_all(&queues.sent())[0].json();
    assert_eq!(record["response_data"]["result"]["task"]["id"], there.to_string());
    assert_eq!((&record["response_data"]["success"], &record["processing_status"]), (&json!(true), &json!("success")));
    portal.await_call("imena.camunda.sync", 1, PATIENCE);
    // The missing parts of its checklists are added: two lists with three lines.
    assert_eq!((portal.count("tasks.task.add"), portal.count("task.checklistitem.add")), (0, 5));
    assert_eq!(statistic(&mut worker, "duplicates_prevented"), "1");
    assert_eq!(statistic(&mut worker, "successful_tasks"), "1");
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_message_that_comes_twice_creates_one_task() {
    let queues = Queues::new("twice");
    let tasks = Tasks::new();
    let gate = Gate::closed();
    let portal = Portal::holding_creates(&tasks, &gate);
    let mut worker = start(&queues, &portal, &[("LOG_LEVEL", "DEBUG")]);
    queues.publish_task(&message("task-1"));
    gate.await_waiting(1, PATIENCE);
    // While the first one is being worked on, and after it.
    queues.publish_task(&message("task-1"));
    queues.await_count(&queues.input(), 0, PATIENCE);
    gate.open();
    queues.await_count(&queues.sent(), 1, PATIENCE);
    queues.publish_task(&message("task-1"));
    // Published again, it is looked up and recorded once more, unless the follow-up of the first still runs.
    let noticed = |log: &str| log.contains("exists already") || log.matches("while at work").count() == 2;
    eventually("the third one is noticed", PATIENCE, || noticed(&worker.log()));
    assert_eq!(statistic(&mut worker, "duplicates_prevented"), "2");
    assert_eq!(portal.count("tasks.task.add"), 1);
    Audit::take(&queues, tasks.markers()).after_faults(1).assert_holds();
}

#[test]
fn a_create_that_is_answered_with_another_task_is_looked_up_and_not_repeated() {
    let queues = Queues::new("another's reply");
    let tasks = Tasks::new();
    let others = tasks.put("another");
    let portal = Portal::start({
        let tasks = tasks.clone();
        move |call| {
            let answer = tasks.answer(call);
            match call.method.as_str() {
                "tasks.task.add" => {
                    Answer::Done(json!({"task": {"id": others.to_string(), "ufCamundaIdExternalTask": "another"}}))
                }
                _ => answer,
            }
        }
    });
    let mut worker = start(&queues, &portal, &[("BITRIX_REQUEST_TIMEOUT", "1")]);
    queues.publish_task(&message("task-1"));
    worker.await_log("the reply is about another task", PATIENCE);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.stop();
    assert_eq!(portal.count("tasks.task.add"), 1);
    let record = queues.peek_all(&queues.sent()).remove(0).json();
    let id = record["response_data"]["result"]["task"]["id"].to_string();
    assert_ne!(id.trim_matches('"'), others.to_string());
    assert_eq!(id.trim_matches('"'), tasks.ids_of("task-1")[0].to_string());
}

/// Refuses every create for user 17, and every create of the task `hopeless`.
fn portal_that_refuses_17(tasks: &Tasks, gate: &Gate) -> Portal {
    let (tasks, gate) = (tasks.clone(), gate.clone());
    Portal::start(move |call| {
        if call.method == "tasks.task.list" && call.nth == 1 {
            gate.wait();
        }
        let fields = &call.params["fields"];
        let refused = fields["RESPONSIBLE_ID"].to_string().contains("17") || fields[MARKER] == "hopeless";
        match call.method.as_str() {
            "tasks.task.add" if refused => Answer::refused(400, "ERROR_CORE", "Ответственный не найден<br>"),
            _ => tasks.answer(call),
        }
    })
}

#[test]
fn a_refused_assignee_is_replaced_by_the_default_once() {
    for together in [false, true] {
        let queues = Queues::new("assignee");
        let tasks = Tasks::new();
        let gate = Gate::closed();
        let portal = portal_that_refuses_17(&tasks, &gate);
        let changes = [("HANDLER_THREADS", "1"), ("BITRIX_DEFAULT_RESPONSIBLE_ID", "9")];
        let mut worker = start(&queues, &portal, &changes);
        queues.publish_task(&message("opener"));
        gate.await_waiting(1, PATIENCE);
        let messages =
            [assigned("moved", "17"), assigned("hopeless", "17"), assigned("kept", "3"), message("nobody's")];
        if together {
            queues.publish_tasks(&messages);
            queues.await_count(&queues.input(), 0, PATIENCE);
            gate.open();
        } else {
            gate.open();
            for (number, message) in messages.iter().enumerate() {
                queues.publish_task(message);
                let settled = || queues.count(&queues.sent()) + queues.count(&queues.errors());
                eventually("it is settled", PATIENCE, || settled() == number + 2);
            }
        }
        queues.await_count(&queues.sent(), 4, PATIENCE);
        queues.await_count(&queues.errors(), 1, PATIENCE);

        let responsible = |marker: &str| tasks.task(marker)["RESPONSIBLE_ID"].to_string().replace('"', "");
        assert_eq!(["moved", "kept", "nobody's"].map(responsible), ["9", "3", "9"]);
        let creates = |marker: &str| {
            let calls = portal.calls().into_iter().filter(|call| call.params["fields"][MARKER] == marker);
            calls.map(|call| call.batched).collect::<Vec<bool>>()
        };
        for refused in ["moved", "hopeless"] {
            let creates = creates(refused);
            // The refusal of a command in a batch may be another's, so such a task is tried alone before anything
            // follows.
            assert_eq!(creates[1..], vec![false; 1 + usize::from(creates[0])], "{refused}");
        }
        assert_eq!(["kept", "nobody's"].map(|marker| creates(marker).len()), [1, 1]);
        let warning = "refused, trying again with responsible 9 instead of 17: task=moved";
        assert!(worker.log().lines().any(|line| line.contains("WARN") && line.contains(warning)));
        let parked = queues.peek_all(&queues.errors())[0].json();
        assert_eq!((&parked["error_type"], &parked["attempts"]), (&json!("REQUEST_ERROR"), &json!(1)));
        assert!(parked["error_message"].as_str().expect("a text").ends_with("Ответственный не найден"));
        worker.stop();
        Audit::take(&queues, tasks.markers()).assert_holds();
    }
}

#[test]
fn a_task_that_was_refused_after_it_was_created_is_not_created_again() {
    let queues = Queues::new("created and refused");
    let tasks = Tasks::new();
    let portal = Portal::start({
        let tasks = tasks.clone();
        move |call| {
            let answer = tasks.answer(call);
            match call.method.as_str() {
                "tasks.task.add" => Answer::refused(400, "ERROR_CORE", "an event handler has failed"),
                _ => answer,
            }
        }
    });
    queues.publish_task(&assigned("moved", "17"));
    let mut worker = start(&queues, &portal, &[]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    assert_eq!(portal.count("tasks.task.add"), 1);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_refused_task_of_the_default_responsible_is_not_tried_again() {
    let queues = Queues::new("refused default");
    let tasks = Tasks::new();
    let gate = Gate::closed();
    gate.open();
    let portal = portal_that_refuses_17(&tasks, &gate);
    queues.publish_task(&assigned("hopeless", "1"));
    let mut worker = start(&queues, &portal, &[]);
    queues.await_count(&queues.errors(), 1, PATIENCE);
    assert_eq!(portal.count("tasks.task.add"), 1);
    worker.stop();
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn the_statistics_have_every_name_of_the_contract() {
    let queues = Queues::new("statistics");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    queues.publish_task(&message("task-1"));
    let worker = start(&queues, &portal, &[("HEARTBEAT_INTERVAL", "1"), ("LOG_LEVEL", "DEBUG")]);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    worker.await_log("sent_to_success_queue=1 ", PATIENCE);
    let log = worker.log();
    let line = log.lines().rfind(|line| line.contains("total_messages=")).expect("a statistics line");
    let (system, rest) = line.split_once(" | publisher: ").expect("the publisher's part");
    let (publisher, tracker) = rest.split_once(" | tracker: ").expect("the tracker's part");
    let names = |part: &str| -> HashSet<String> {
        part.split(' ').filter_map(|word| Some(word.split_once('=')?.0.to_owned())).collect()
    };
    let contract: [(&str, &[&str]); 3] = [
        (
            system,
            &[
                "total_messages",
                "successful_tasks",
                "failed_tasks",
                "sent_to_success_queue",
                "failed_to_send_success",
                "success_rate",
                "success_queue_rate",
                "sync_requests_sent",
                "sync_requests_failed",
                "sync_success_rate",
                "last_message_time",
                "uptime_seconds",
                "lost_log_lines",
                "returned",
                "parked",
                "duplicates_prevented",
            ],
        ),
        (publisher, &["sent_messages", "failed_messages", "success_rate", "is_connected"]),
        (
            tracker,
            &[
                "total_checked",
                "completed_tasks",
                "moved_to_responses",
                "failed_moves",
                "failed_checks",
                "last_check_time",
                "open_tasks",
                "oldest_open",
            ],
        ),
    ];
    for (part, wanted) in contract {
        let names = names(part);
        for name in wanted {
            assert!(names.contains(*name), "{name} in {part}");
        }
    }
    assert!(publisher.contains("is_connected=true"), "{publisher}");
}
