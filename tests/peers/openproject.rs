//! OpenProject's published contract, made strict, between the worker and the sandbox's OpenProject: every request of
//! the worker is one that it allows, and every answer of the fake is one that it describes.

use serde_json::{Value, json};
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::openproject::store::CLOSED;
use task_creator::sandbox::openproject::{ANSWER_FIELD, MARKER_FIELD, PROJECT, Store, TOKEN};

use crate::prism::Prism;
use crate::support::{PATIENCE, Queues, Worker, changed, run};

const CONTRACT: &str = "openproject/openproject-strict.json";

#[test]
#[ignore = "needs programs of others: tests/peers/run"]
fn every_request_and_every_answer_keeps_to_the_published_contract() {
    let sandbox = HttpFake::start(0, Store::default()).expect("loopback has a free port");
    let Some(prism) = Prism::before(sandbox.address(), CONTRACT) else { return };
    let queues = Queues::of("openproject", "openproject contract");
    let (url, project) = (format!("http://{}", prism.address()), PROJECT.to_string());
    let settings = [
        ("OPENPROJECT_URL", &*url),
        ("OPENPROJECT_TOKEN", TOKEN),
        ("OPENPROJECT_TASK_ID_FIELD", MARKER_FIELD),
        ("OPENPROJECT_ANSWER_FIELD", ANSWER_FIELD),
        ("OPENPROJECT_DEFAULT_PROJECT", &project),
        ("OPENPROJECT_PRIORITIES", "low=7,normal=8,high=9"),
        ("OPENPROJECT_REQUEST_TIMEOUT", "10"),
        // Whatever Prism objects to is to show at once.
        ("RETRY_ATTEMPTS", "1"),
        ("HEARTBEAT_INTERVAL", "0.5"),
    ];
    let settings = changed(&queues, "", &settings);
    run(&["check"], &settings).ended_with(0).has("people answer in").has_not("warn  openproject");
    let mut worker = Worker::run(&[], &settings);
    let changed_one = sandbox.target().put("Старое", Some("somebody"));
    messages(changed_one).iter().for_each(|message| queues.publish_task(message));
    // Two are work packages for people; a change and a project are finished at once.
    queues.await_count(&queues.sent(), 2, PATIENCE);
    queues.await_count(&queues.responses(), 2, PATIENCE);
    for marker in ["task-1", "task-2"] {
        let mut store = sandbox.target();
        let id = store.ids_of(marker)[0];
        assert!(store.finish(id, CLOSED, Some("ДА")));
    }
    queues.await_count(&queues.responses(), 4, PATIENCE);
    assert_eq!(queues.count(&queues.errors()), 0, "nothing is parked: {}", worker.log());
    worker.stop();
}

fn messages(changed_one: u64) -> [Value; 4] {
    let message = |id: &str, topic: &str, variables: Value, properties: Value| {
        json!({
            "task_id": id, "topic": topic, "system": "openproject", "activity_id": "Activity_1", "variables": variables,
            "metadata": {"extensionProperties": properties},
        })
    };
    let everything = json!({
        "title": "Согласовать", "description": "Текст", "deadline": "2026-12-01", "start_date": "2026-11-20",
        "priority": "high", "parentTaskId": changed_one,
    });
    let properties = json!({
        "assigneeId": "17", "responsibleId": 5, "UF_RESULT_EXPECTED": "true", "UF_RESULT_QUESTION": "Согласен?",
        "Номер договора": "А-7", "Сумма": "1,5", "Метки": "Срочно,Важно",
        "checklists": "[{\"name\": \"Документы\", \"items\": [\"Устав\"]}]",
    });
    [
        message("task-1", "op_create_task", everything, properties),
        message("task-2", "op_create_milestone", json!({"title": "Сдача", "deadline": "2026-12-01"}), json!({})),
        message(
            "task-3",
            "op_update_task",
            json!({"workPackageId": changed_one, "statusId": 7}),
            json!({"assigneeId": 6}),
        ),
        message("task-4", "op_create_project", json!({"name": "Склад", "description": "Текст"}), json!({})),
    ]
}
