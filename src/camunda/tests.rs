use chrono::{TimeDelta, Utc};

use super::history::TaskEventKind;
use super::tasks::Locked;
use super::*;
use crate::sandbox::camunda::{Camunda, PASSWORD, ROOT, USER, YEAR};
use crate::sandbox::http_fake::HttpFake;
use crate::sandbox::{ANY_CALL, Fault, What};
use crate::settings::Variables;

const BRIDGE: &str = "universal-worker";

fn engine() -> (HttpFake<Camunda>, Engine) {
    let fake = HttpFake::start(0, Camunda::default()).expect("a free port");
    let engine = engine_at(&format!("http://{}{ROOT}", fake.address()));
    (fake, engine)
}

fn engine_at(url: &str) -> Engine {
    let value = |name: &str| match name {
        "CAMUNDA_URL" => Some(url.to_owned()),
        "CAMUNDA_USER" => Some(USER.to_owned()),
        "CAMUNDA_PASSWORD" => Some(PASSWORD.to_owned()),
        _ => None,
    };
    let (settings, errors) = Variables::read(value, Settings::from_variables);
    assert!(errors.is_empty(), "{errors:?}");
    Engine::new(&settings.expect("a URL is set"), &RootCertificates::public())
}

#[test]
fn an_error_message_is_cut_as_the_engine_counts_and_never_within_a_character() {
    assert_eq!(beginning("коротко"), "коротко");
    assert_eq!(beginning(&"я".repeat(700)).chars().count(), 666);
    assert_eq!(beginning(&"😀".repeat(700)).chars().count(), 333);
    assert_eq!(beginning(&format!("x{}", "😀".repeat(700))).encode_utf16().count(), 665);
}

#[test]
fn a_task_is_shown_with_its_lock_and_after_its_end_only_its_history_is_there() {
    let (fake, engine) = engine();
    assert_eq!(engine.task("a/ b").expect("an answer"), None);
    fake.target().lock("a/ b", BRIDGE);
    let task = engine.task("a/ b").expect("an answer").expect("the task");
    assert_eq!((task.id.as_str(), task.topic.as_deref()), ("a/ b", Some("bitrix_create_task")));
    assert_eq!((task.worker_id.as_deref(), task.retries, task.suspended), (Some(BRIDGE), None, false));
    let left = task.locked_until.expect("a lock") - Utc::now();
    assert!(left > YEAR - TimeDelta::minutes(1) && left <= YEAR, "{left}");
    let process = task.process_instance_id.expect("a process");
    let running = engine.process_instance(&process).expect("an answer").expect("the process");
    assert_eq!((running.state.as_deref(), running.ended), (Some("ACTIVE"), None));
    fake.target().cancel("a/ b");
    assert_eq!(engine.task("a/ b").expect("an answer"), None);
    let history = engine.task_history("a/ b").expect("an answer");
    let kinds: Vec<TaskEventKind> = history.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [TaskEventKind::Created, TaskEventKind::Deleted]);
    assert!(history.iter().all(|event| event.at.is_some() && event.process_instance_id.as_ref() == Some(&process)));
    let ended = engine.process_instance(&process).expect("an answer").expect("the process");
    assert_eq!((ended.state.as_deref(), ended.ended.is_some()), (Some("EXTERNALLY_TERMINATED"), true));
    fake.target().history.clean_up();
    assert_eq!(engine.task_history("a/ b").expect("an answer"), []);
    assert_eq!(engine.process_instance(&process).expect("an answer"), None);
}

#[test]
fn locked_tasks_come_in_pages_those_first_that_were_locked_first() {
    let (fake, engine) = engine();
    // Equal ages are equal.
    let now = Utc::now();
    for (id, hours) in [("new", 0), ("b", 2), ("a", 2), ("old", 3), ("ended", 24 * 366)] {
        fake.target().lock(id, BRIDGE);
        fake.target().change(id, |task| task.locked_until = Some(now + YEAR - TimeDelta::hours(hours)));
    }
    fake.target().lock("of-another", "somebody-else");
    fake.target().lock("unlocked", BRIDGE);
    assert_eq!(engine.unlock("unlocked").expect("an answer"), Told::Done);
    let all = Locked { worker_id: BRIDGE.into() };
    let ids = |which: &Locked, first, most| {
        let tasks = engine.locked_tasks(which, first, most).expect("an answer");
        tasks.into_iter().map(|task| task.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&all, 0, 100), ["old", "a", "b", "new"]);
    assert_eq!((ids(&all, 0, 3), ids(&all, 3, 3)), (vec!["old".into(), "a".into(), "b".into()], vec!["new".into()]));
}

#[test]
fn an_unlock_is_for_whoever_asks_and_a_finished_task_is_none() {
    let (fake, engine) = engine();
    fake.target().lock("task-1", "somebody-else");
    assert_eq!(engine.unlock("task-1").expect("an answer"), Told::Done);
    assert_eq!(fake.target().fetchable(), ["task-1"]);
    assert_eq!(engine.unlock("task-2").expect("an answer"), Told::NoTask);
}

#[test]
fn an_address_without_an_engine_never_looks_like_a_missing_task() {
    let (fake, _) = engine();
    let elsewhere = engine_at(&format!("http://{}/rest", fake.address()));
    assert!(elsewhere.task("task-1").is_err() && elsewhere.unlock("task-1").is_err());
    assert!(elsewhere.task_history("task-1").is_err() && elsewhere.process_instance("p").is_err());
    let page = engine();
    page.0.order(Fault::before(ANY_CALL, What::html(404, "<h1>Not Found</h1>")));
    assert!(page.1.task("task-1").is_err());
}
