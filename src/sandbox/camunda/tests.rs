use super::*;

fn engine() -> Camunda {
    let mut engine = Camunda::default();
    engine.lock("task-1", "bridge");
    engine
}

#[test]
fn a_failure_without_a_time_ends_the_lock_so_that_a_task_with_retries_is_fetched_again() {
    let mut engine = engine();
    assert_eq!(engine.fail("task-1", &json!({"workerId": "bridge", "retries": 0, "errorMessage": "no"})).status(), 204);
    assert_eq!(engine.task("task-1").and_then(|task| task.incident.as_deref()), Some("no"));
    assert_eq!(engine.fetchable(), Vec::<&str>::new());
    assert_eq!(engine.give_retries("task-1", &json!({"retries": 1})).status(), 204);
    assert_eq!((engine.fetchable(), &engine.tasks["task-1"].incident), (vec!["task-1"], &None));
}

#[test]
fn only_who_has_locked_a_task_may_report_its_failure() {
    let mut engine = engine();
    let status = |engine: &mut Camunda, id: &str, failure| engine.fail(id, &failure).status();
    assert_eq!(status(&mut engine, "task-1", json!({"workerId": "other", "retries": 0})), 400);
    assert_eq!(status(&mut engine, "task-1", json!({"retries": 0})), 500);
    assert_eq!(status(&mut engine, "task-1", json!({"workerId": "bridge", "worker_id": "bridge"})), 400);
    assert_eq!(status(&mut engine, "task-2", json!({"workerId": "bridge", "retries": 0})), 404);
    assert_eq!(engine.give_retries("task-2", &json!({"retries": 1})).status(), 404);
    assert!(engine.tasks["task-1"].incident.is_none());
}

fn fetch(engine: &mut Camunda, worker: &str, lock: i64) -> Vec<String> {
    let topics = json!([{"topicName": "bitrix_create_task", "lockDuration": lock}]);
    let page = engine.fetch(&json!({"workerId": worker, "maxTasks": 10, "topics": topics}));
    let rows: Value = serde_json::from_slice(page.body()).expect("JSON");
    rows.as_array().expect("a list").iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_task_is_fetched_when_it_is_free_has_retries_and_is_not_suspended() {
    let mut engine = Camunda::default();
    engine.add("task-1", "bitrix_create_task");
    engine.add("task-2", "send_email");
    assert_eq!(fetch(&mut engine, "bridge", 60_000), ["task-1"]);
    assert_eq!(fetch(&mut engine, "bridge", 60_000), Vec::<String>::new(), "it is locked, for its own worker, too");
    engine.age("task-1", TimeDelta::minutes(2));
    assert_eq!(engine.tasks["task-1"].worker.as_deref(), Some("bridge"), "a lock that has ended keeps its worker");
    assert_eq!(fetch(&mut engine, "other", 60_000), ["task-1"]);
    assert_eq!(engine.unlock("task-1").status(), 204);
    engine.change("task-1", |task| task.suspended = true);
    assert_eq!(fetch(&mut engine, "bridge", 60_000), Vec::<String>::new());
    engine.change("task-1", |task| (task.suspended, task.retries) = (false, Some(0)));
    assert_eq!(fetch(&mut engine, "bridge", 60_000), Vec::<String>::new());
}

#[test]
fn only_who_has_locked_a_task_completes_it_and_then_it_is_gone_but_remembered() {
    let mut engine = engine();
    let complete =
        |engine: &mut Camunda, worker: &str| engine.complete("task-1", &json!({"workerId": worker})).status();
    assert_eq!(complete(&mut engine, "other"), 400);
    engine.change("task-1", |task| task.suspended = true);
    assert_eq!(complete(&mut engine, "bridge"), 500);
    engine.change("task-1", |task| task.suspended = false);
    assert_eq!(engine.unlock("task-1").status(), 204);
    assert_eq!(complete(&mut engine, "bridge"), 400, "it is nobody's after an unlock");
    engine.lock("task-1", "bridge");
    engine.age("task-1", YEAR * 2);
    assert_eq!(complete(&mut engine, "bridge"), 204, "a lock that has ended is enough");
    assert_eq!((complete(&mut engine, "bridge"), engine.unlock("task-1").status()), (404, 404));
}
