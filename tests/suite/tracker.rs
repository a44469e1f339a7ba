//! How the tracker asks a portal: many ids at once, and what it concludes from each way in which the portal can fail to
//! answer. The tracker is called directly, without RabbitMQ; the way from the sent queue to the answer is in
//! `contract.rs`.

use std::sync::Arc;

use crate::support::*;
use serde_json::{Value, json};
use task_creator::message::{Record, Task, sent_record};
use task_creator::settings::{Variables, right};
use task_creator::stop;
use task_creator::systems::bitrix24::Settings;
use task_creator::systems::bitrix24::client::Client;
use task_creator::systems::bitrix24::tracker::BitrixTracker;
use task_creator::systems::{Failure, Progress, Tracker};
use task_creator::tls::RootCertificates;

fn tracker(portal: &Portal, changes: &[(&str, &str)]) -> BitrixTracker {
    let webhook = portal.webhook();
    let known = [("BITRIX_WEBHOOK_URL", webhook.as_str()), ("BITRIX_RATE", "0")];
    let lookup =
        |name: &str| changes.iter().chain(&known).find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
    let settings =
        right(Variables::read(lookup, Settings::from_variables)).expect("right settings").expect("the webhook is set");
    let client = Arc::new(Client::new(&settings, &RootCertificates::public(), 4, &stop::signal().1));
    BitrixTracker::new(settings, client)
}

fn record(marker: &str, id: impl std::fmt::Display) -> Record {
    record_at(None, marker, id)
}

/// A record that says where its task is.
fn record_at(host: Option<&str>, marker: &str, id: impl std::fmt::Display) -> Record {
    let task = Task::parse(json!({"task_id": marker}).to_string().into_bytes()).expect("a task");
    let reply = json!({"result": {"task": {"id": id.to_string()}}});
    Record::parse(sent_record(&task, "bitrix24.queue", reply, host)).expect("a record")
}

/// This many tasks at the portal, with their records.
fn many(tasks: &Tasks, count: usize) -> Vec<Record> {
    (0..count).map(|number| format!("task-{number}")).map(|marker| record(&marker, tasks.put(&marker))).collect()
}

/// A word for each result, so that many can be compared at once.
fn words(results: &[Result<Progress, Failure>]) -> Vec<&'static str> {
    let word = |result: &Result<Progress, Failure>| match result {
        Ok(Progress::Open) => "open",
        Ok(Progress::Waiting(_)) => "unanswered",
        Ok(Progress::Finished(_)) => "finished",
        Ok(Progress::Gone) => "gone",
        Ok(Progress::Failed(_)) => "failed",
        Ok(Progress::Foreign(_)) => "foreign",
        Err(Failure::Transient { .. }) => "again",
        Err(Failure::Unavailable { .. }) => "wait",
        Err(Failure::Permanent(_)) => "never",
        Err(
            Failure::OutcomeUnknown { .. }
            | Failure::NoSystem(_)
            | Failure::TooEarly(_)
            | Failure::Unseen(_)
            | Failure::Outdated,
        ) => "unsettled",
    };
    results.iter().map(word).collect()
}

#[test]
fn many_tasks_are_asked_for_in_few_requests() {
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let mut records = many(&tasks, 120);
    for finished in ["task-0", "task-60", "task-119"] {
        tasks.set_status(finished, 5);
    }
    tasks.delete("task-70");
    records.push(record("task-5", tasks.ids_of("task-5")[0]));

    let words = words(&tracker(&portal, &[]).check(&records));

    let expected = |index: usize| match index {
        0 | 60 | 119 => "finished",
        70 => "gone",
        _ => "open",
    };
    assert_eq!(words, (0..121).map(expected).collect::<Vec<_>>());
    assert!(portal.requests().len() <= 3, "{} requests", portal.requests().len());
    let asked: Vec<Call> = portal.calls().into_iter().filter(|call| call.method == "tasks.task.list").collect();
    assert_eq!(asked.iter().map(|call| call.params["filter"]["ID"].as_array().map_or(0, Vec::len)).sum::<usize>(), 120);
    for call in asked {
        assert_eq!(call.params["start"].to_string().trim_matches('"'), "-1");
        assert_eq!(call.params["filter"].as_object().expect("a filter").len(), 1, "no filter by status");
        for field in ["STATUS", "UF_RESULT_EXPECTED", "UF_RESULT_QUESTION", "UF_RESULT_ANSWER"] {
            assert!(call.params["select"].as_array().expect("a list").contains(&json!(field)), "{field}");
        }
    }
}

#[test]
fn a_task_that_has_another_ones_id_answers_for_nobody() {
    for one_by_one in [false, true] {
        let tasks = Tasks::new();
        let portal = {
            let tasks = tasks.clone();
            Portal::start(move |call| match call.method.as_str() {
                "tasks.task.list" if one_by_one => tasks.answer(&Call { params: json!({}), ..call.clone() }),
                _ => tasks.answer(call),
            })
        };
        tasks.put("nobody asks for it");
        let mut records = many(&tasks, 3);
        // The portal was set up again, and counts from 1 again.
        tasks.set("task-0", "UF_CAMUNDA_ID_EXTERNAL_TASK", json!("another"));
        tasks.set("another", "XML_ID", json!("another"));
        tasks.set_status("another", 5);
        tasks.set_status("task-1", 5);
        // Made by hand.
        tasks.set("task-2", "UF_CAMUNDA_ID_EXTERNAL_TASK", json!(null));
        let by_hand = tasks.put("by hand");
        tasks.set("by hand", "UF_CAMUNDA_ID_EXTERNAL_TASK", json!(null));
        records.push(record("task-3", by_hand));
        let expected = ["foreign", "finished", "foreign", "foreign"];
        assert_eq!(words(&tracker(&portal, &[]).check(&records)), expected, "one by one: {one_by_one}");
    }
}

#[test]
fn a_task_at_another_portal_is_not_looked_for_here() {
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let id = tasks.put("task-1");
    tasks.set_status("task-1", 5);
    let here = portal.address().to_string();
    let records = [Some("test-portal.example"), Some(here.as_str()), None].map(|host| record_at(host, "task-1", id));
    let checked = tracker(&portal, &[]).check(&records);
    assert_eq!(words(&checked), ["foreign", "finished", "finished"]);
    let why = format!("its task is at test-portal.example, and BITRIX_WEBHOOK_URL names {here}; ");
    assert!(matches!(&checked[0], Ok(Progress::Foreign(told)) if told.starts_with(&why)), "{checked:?}");
    let calls = portal.requests().len();
    assert_eq!(words(&tracker(&portal, &[]).check(&records[..1])), ["foreign"]);
    assert_eq!(portal.requests().len(), calls, "its id means nothing here");
    let moved = [("BITRIX_FORMER_HOSTS", "test-portal.example")];
    assert_eq!(words(&tracker(&portal, &moved).check(&records)), ["finished"; 3]);
}

#[test]
fn a_record_that_names_no_task_never_reaches_a_request() {
    let portal = Portal::of(&Tasks::new());
    let records = [record("a", "1; DROP"), record("b", "-1"), record("c", "")];
    assert_eq!(words(&tracker(&portal, &[]).check(&records)), ["never"; 3]);
    assert_eq!(portal.count("tasks.task.list"), 0);
}

/// A refused list says nothing about a single task: all records would be parked for one error, ours or the portal's.
#[test]
fn a_refused_list_costs_no_record() {
    for (status, code) in [(400, "ERROR_CORE"), (400, "0"), (405, "ERROR_BATCH_METHOD_NOT_ALLOWED"), (404, "NEW_CODE")]
    {
        let tasks = Tasks::new();
        let portal = Portal::start(move |_| Answer::refused(status, code, "нет"));
        for count in [1, 120] {
            let words = words(&tracker(&portal, &[]).check(&many(&tasks, count)));
            assert!(words.iter().all(|word| ["again", "wait"].contains(word)), "{status} {code}: {words:?}");
        }
    }
}

#[test]
fn a_portal_that_fails_costs_no_record() {
    let page = |status| Reply::html(status, "<html>Bad Gateway</html>");
    let faults: Vec<Reply> = vec![
        page(502),
        page(413),
        page(404),
        page(302),
        Reply::Json(200, json!({"result": []})),
        Reply::Json(200, json!({"result": {"tasks": {}}})),
        Reply::Json(200, json!({"result": {"result": [], "result_error": []}})),
        Reply::Json(200, json!({})),
        Reply::Json(401, json!({"error": "expired_token"})),
        Reply::Half(200, json!({"result": {"tasks": []}})),
        Reply::Raw { status: 200, content_type: "application/json".into(), body: Vec::new() },
        Reply::Close,
        Reply::Reset,
    ];
    for fault in faults {
        let tasks = Tasks::new();
        let answered = fault.clone();
        let portal = Portal::behind(move |_| Some(answered.clone()), |_| panic!("the door is closed"));
        for count in [1, 120] {
            let words = words(&tracker(&portal, &[]).check(&many(&tasks, count)));
            assert!(words.iter().all(|word| ["again", "wait"].contains(word)), "{fault:?}: {words:?}");
        }
    }
}

#[test]
fn a_portal_that_ignores_the_filter_by_ids_is_asked_for_each_task() {
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        // As an unknown filter key: every task comes back.
        Portal::start(move |call| {
            let mut call = call.clone();
            if call.method == "tasks.task.list" {
                call.params["filter"] = json!({});
            }
            tasks.answer(&call)
        })
    };
    let mut records = many(&tasks, 30);
    tasks.put("somebody else's");
    tasks.set_status("task-7", 4);
    tasks.delete("task-8");
    let mut tracker = tracker(&portal, &[]);
    let expected: Vec<&str> = (0..30)
        .map(|index| match index {
            7 => "finished",
            8 => "gone",
            _ => "open",
        })
        .collect();
    assert_eq!(words(&tracker.check(&records)), expected);
    let lists = portal.count("tasks.task.list");
    records.truncate(9);
    assert_eq!(words(&tracker.check(&records)), expected[..9]);
    assert_eq!(portal.count("tasks.task.list"), lists, "it has learnt");
}

#[test]
fn a_refused_get_costs_no_record() {
    let tasks = Tasks::new();
    let records = many(&tasks, 3);
    let portal = {
        let tasks = tasks.clone();
        let denied = tasks.ids_of("task-1")[0].to_string();
        Portal::start(move |call| match call.method.as_str() {
            "tasks.task.list" => tasks.answer(&Call { params: json!({}), ..call.clone() }),
            _ if call.params["taskId"].to_string().contains(&denied) => Answer::refused(400, "0", "Access denied"),
            _ => tasks.answer(call),
        })
    };
    tasks.put("somebody else's");
    assert_eq!(words(&tracker(&portal, &[]).check(&records)), ["open", "again", "open"]);
}

#[test]
fn the_texts_of_answers_come_from_the_portal() {
    let tasks = Tasks::new();
    let portal = Portal::of(&tasks);
    let records = many(&tasks, 3);
    for (marker, stored) in [("task-0", "26"), ("task-1", "27"), ("task-2", "28")] {
        tasks.set(marker, "UF_RESULT_EXPECTED", json!("1"));
        tasks.set(marker, "UF_RESULT_ANSWER", json!(stored));
        tasks.set_status(marker, 5);
    }
    let checked = tracker(&portal, &[]).check(&records);
    let texts: Vec<Value> = checked
        .iter()
        .map(|result| match result {
            Ok(Progress::Finished(response)) => response["result"]["task"]["ufResultAnswer_text"].clone(),
            Ok(Progress::Waiting(why)) => why.clone().into(),
            other => panic!("{other:?}"),
        })
        .collect();
    let unknown =
        "the text of answer 28 is not known (BITRIX_ANSWER_TEXTS can tell it); the portal's list does not have it";
    assert_eq!(texts, ["ДА", "НЕТ", unknown]);
    assert_eq!(portal.count("imena.camunda.userfield.list"), 1);
}

#[test]
fn an_answer_that_is_too_large_makes_the_next_questions_smaller() {
    let tasks = Tasks::new();
    let portal = {
        let tasks = tasks.clone();
        let too_many = |request: &Request| request.body["cmd"].as_object().is_some_and(|commands| commands.len() > 25);
        let flood = Reply::Raw { status: 200, content_type: "application/json".into(), body: vec![b' '; 17 << 20] };
        Portal::behind(move |request| too_many(request).then(|| flood.clone()), move |call| tasks.answer(call))
    };
    let (mut tracker, records) = (tracker(&portal, &[]), many(&tasks, 2000));
    let first = words(&tracker.check(&records));
    assert!(first.contains(&"open") && first.contains(&"again"), "{first:?}");
    for _ in 0..2 {
        assert_eq!(words(&tracker.check(&records)), ["open"; 2000]);
    }
}
