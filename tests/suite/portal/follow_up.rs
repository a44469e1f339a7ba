//! What follows at Bitrix24 when a task is recorded: checklists and the process synchronisation. Both are best effort,
//! and counted.

use serde_json::{Value, json};

use super::{message, start, statistic};
use crate::support::*;

#[test]
fn checklists_stand_under_their_headings() {
    let queues = Queues::new("checklists");
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    queues.publish_task(&field_text("field-1"));
    let mut worker = start(&queues, &portal, &[]);
    eventually("five items", PATIENCE, || tasks.checklists().len() == 5);
    let task = tasks.ids_of("field-1")[0];
    let items = tasks.checklists();
    let text = |value: &Value| value.to_string().replace('"', "");
    assert!(items.iter().all(|item| text(&item["TASKID"]) == task.to_string()));
    let under = |heading: &str| {
        let parent = items.iter().find(|item| item["FIELDS"]["TITLE"] == heading).expect("the heading is there");
        assert_eq!(text(&parent["FIELDS"]["PARENT_ID"]), "0");
        let own = items.iter().filter(|item| text(&item["FIELDS"]["PARENT_ID"]) == text(&parent["id"]));
        own.map(|item| item["FIELDS"]["TITLE"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(under("Документы"), ["Устав", "Доверенность"]);
    assert_eq!(under("Сроки"), ["Оплата до 30 дней"]);
    assert_eq!(statistic(&mut worker, "missing_parts"), "0");
}

#[test]
fn a_part_of_a_checklist_that_fails_is_counted_and_the_task_stays() {
    let queues = Queues::new("failing items");
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        Portal::start(move |call| match call.params["FIELDS"]["TITLE"].as_str() {
            Some("Доверенность") => Answer::refused(400, "ERROR_CORE", "Нельзя<br>"),
            Some("Сроки") => Answer::refused(400, "ERROR_CORE", ""),
            _ => tasks.answer(call),
        })
    };
    queues.publish_task(&field_text("field-1"));
    let mut worker = start(&queues, &portal, &[("HANDLER_THREADS", "1")]);
    portal.await_replies("imena.camunda.sync", 1, PATIENCE);
    queues.await_count(&queues.sent(), 1, PATIENCE);
    // An item, and a heading with its item.
    assert_eq!((statistic(&mut worker, "missing_parts").as_str(), tasks.checklists().len()), ("3", 2));
    let missing = "checklists lack 3 (\"Доверенность\", \"Сроки\", \"Оплата до 30 дней\"), given up: task=field-1: ";
    assert!(worker.log().lines().any(|line| line.contains("WARN") && line.contains(missing)), "{}", worker.log());
    assert_eq!(statistic(&mut worker, "successful_tasks"), "1");
    assert_eq!(queues.count(&queues.errors()), 0);
    Audit::take(&queues, tasks.markers()).assert_holds();
}

#[test]
fn a_process_is_synchronised_when_its_task_is_recorded_and_only_then() {
    let queues = Queues::new("sync");
    let tasks = Tasks::new();
    let gate = Gate::closed();
    let portal = {
        let (tasks, gate) = (tasks.clone(), gate.clone());
        Portal::start(move |call| {
            if call.method == "imena.camunda.sync" {
                gate.wait();
            }
            tasks.answer(call)
        })
    };
    let mut worker = start(&queues, &portal, &[]);
    queues.publish_task(&seed_message("seed-1"));
    gate.await_waiting(1, PATIENCE);
    assert_eq!(queues.count(&queues.sent()), 1, "the record is there before the process is synchronised");
    gate.open();
    eventually("the sync", PATIENCE, || tasks.syncs().len() == 1);
    let expected = json!({"processDefinitionKey": "Process_invented", "processInstanceId": "process-of-seed-1"});
    assert_eq!(tasks.syncs(), [expected]);
    let request = portal.requests().into_iter().find(|request| request.method == "imena.camunda.sync");
    let request = request.expect("a plain request");
    assert_eq!((request.verb.as_str(), request.header("content-type")), ("POST", Some("application/json")));
    worker.stop();
}

#[test]
fn what_became_of_the_synchronisation_is_counted_and_changes_nothing_else() {
    let answers = [
        ("good", Answer::Done(json!({"success": true}))),
        ("good-1", Answer::Done(json!({"success": "1"}))),
        ("denied", Answer::Done(json!({"success": false}))),
        ("no-success", Answer::Done(json!({}))),
        ("list", Answer::Done(json!([]))),
        ("unknown", Answer::refused(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")),
        ("token", Answer::refused(401, "expired_token", "")),
        ("html", Answer::Http(Reply::html(500, "<html>"))),
        ("cut", Answer::Http(Reply::Half(200, json!({"result": {"success": true}})))),
    ];
    let queues = Queues::new("syncs");
    let tasks = Tasks::new();
    let portal = {
        let (tasks, answers) = (tasks.clone(), answers.clone());
        Portal::start(move |call| {
            let instance = call.params["processInstanceId"].as_str();
            let answer = answers.iter().find(|(id, _)| instance == Some(*id));
            answer.map_or_else(|| tasks.answer(call), |(_, answer)| answer.clone())
        })
    };
    let mut worker = start(&queues, &portal, &[("RETRY_ATTEMPTS", "1")]);
    for (number, (id, _)) in answers.iter().enumerate() {
        let mut message = message(id);
        message["process_instance_id"] = (*id).into();
        message["process_definition_key"] = "key".into();
        queues.publish_task(&message);
        portal.await_replies("imena.camunda.sync", number.saturating_sub(1), PATIENCE);
        portal.await_call("imena.camunda.sync", number + 1, PATIENCE);
    }
    let (mut no_key, mut no_instance) = (message("no-key"), message("no-instance"));
    no_key["process_instance_id"] = "x".into();
    no_instance["process_definition_key"] = "x".into();
    queues.publish_tasks(&[no_key, no_instance, message("neither")]);
    queues.await_count(&queues.sent(), answers.len() + 3, PATIENCE);
    assert_eq!(statistic(&mut worker, "sync_requests_sent"), "2");
    assert_eq!(statistic(&mut worker, "sync_requests_failed"), "7");
    assert_eq!(statistic(&mut worker, "sync_success_rate"), "22.2");
    assert_eq!(statistic(&mut worker, "successful_tasks"), "12");
    assert_eq!(
        portal.count("imena.camunda.sync"),
        answers.len(),
        "nothing is repeated, and nothing is sent without both ids"
    );
    Audit::take(&queues, tasks.markers()).assert_holds();
}
