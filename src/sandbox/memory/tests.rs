//! Faults, rules and the work of people at a portal without a server.

use std::time::Duration;

use super::*;
use serde_json::json;

use super::super::{ANY_CALL, CustomFields, OperatingLimit};

fn new_task(marker: &str) -> Value {
    let fields = json!({
        "TITLE": "t", "RESPONSIBLE_ID": 1, "XML_ID": marker, "UF_CAMUNDA_ID_EXTERNAL_TASK": marker,
    });
    json!({"fields": fields})
}

fn add(memory: &Memory, marker: &str) -> Result<Outcome, Broken> {
    memory.call("tasks.task.add", new_task(marker))
}

/// The error code of a refusal, or "" for a success.
fn code(outcome: Result<Outcome, Broken>) -> String {
    match outcome.expect("an answer") {
        Ok(_) => String::new(),
        Err(refusal) => refusal.code.into_owned(),
    }
}

fn batch(commands: &[(&str, &str)]) -> Batch {
    let commands: Vec<String> = commands.iter().map(|(key, command)| format!(r#""{key}": "{command}""#)).collect();
    Batch::read("application/json", "", format!(r#"{{"cmd": {{{}}}}}"#, commands.join(",")).as_bytes())
}

const ADD: &str = "tasks.task.add?fields[TITLE]=t&fields[RESPONSIBLE_ID]=1";

#[test]
fn a_fault_before_keeps_the_task_from_being_created_and_one_after_does_not() {
    let memory = Memory::new();
    let refuse = || What::refuse(400, "ERROR_UNKNOWN_ADD_TASK_ERROR", "");
    memory.order(Fault::before("tasks.task.add", refuse()).times(1));
    assert_eq!((code(add(&memory, "a")).as_str(), memory.tasks().len()), ("ERROR_UNKNOWN_ADD_TASK_ERROR", 0));
    let order = memory.order(Fault::after("tasks.task.add", refuse()).times(1));
    assert_eq!((code(add(&memory, "b")).as_str(), memory.tasks().len()), ("ERROR_UNKNOWN_ADD_TASK_ERROR", 1));
    assert_eq!((code(add(&memory, "c")).as_str(), memory.tasks().len(), order.struck()), ("", 2, 1));
}

#[test]
fn a_broken_request_breaks_the_batch_after_the_commands_that_ran_before() {
    for (what, broken) in [(What::Close, Broken::Close), (What::Reset, Broken::Reset), (What::Half, Broken::Half)] {
        let memory = Memory::new();
        memory.order(Fault::after("tasks.task.add", what).from_nth(2));
        assert_eq!(memory.run(&batch(&[("a", ADD), ("b", ADD), ("c", ADD)])), Err(broken));
        assert_eq!(memory.tasks().len(), 2);
    }
}

#[test]
fn a_refusal_in_a_batch_has_no_status_and_a_result_can_be_ordered() {
    let memory = Memory::new();
    memory.order(Fault::before("tasks.task.add", What::refuse(500, "ERROR_CORE", "db")).times(1));
    memory.order(Fault::before("tasks.task.result.list", What::Result(json!([{"id": 1}]))));
    let answer = memory.run(&batch(&[("a", ADD), ("b", "tasks.task.result.list")])).expect("an answer");
    let result = answer.expect("a batch is never refused").result;
    assert_eq!(result["result_error"], json!({"a": {"error": "ERROR_CORE", "error_description": "db"}}));
    assert_eq!(result["result"], json!({"b": [{"id": 1}]}));
}

#[test]
fn a_hanging_answer_ends_in_time_or_upon_release() {
    let memory = Memory::new();
    memory.order(Fault::before("scope", What::Hang(Some(Duration::from_millis(5)))).times(1));
    assert_eq!(memory.call("scope", json!([])), Err(Broken::Close));
    memory.order(Fault::before("scope", What::Delay(Duration::from_millis(5))).times(1));
    assert_eq!(code(memory.call("scope", json!([]))), "");
    let order = memory.order(Fault::before("scope", What::Hang(None)));
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| memory.call("scope", json!([])));
        let started = Instant::now();
        while order.struck() == 0 || !hanging.is_finished() {
            assert!(started.elapsed() < Duration::from_secs(10));
            memory.release();
            std::thread::yield_now();
        }
        assert_eq!(hanging.join().expect("no panic"), Err(Broken::Close));
    });
}

#[test]
fn a_method_that_has_used_up_its_time_is_refused_plainly_and_in_batches() {
    let memory = Memory::new();
    let second = Duration::from_secs(1);
    let operating = OperatingLimit { limit: second, charge: second * 9 / 10, ..OperatingLimit::default() };
    memory.change(|rules| rules.operating = operating);
    let codes = ["a", "b", "c"].map(|marker| code(add(&memory, marker)));
    assert_eq!(codes, ["", "", "OPERATION_TIME_LIMIT"]);
    assert_eq!(code(memory.call("tasks.task.list", json!({}))), "");
    let answer = memory.run(&batch(&[("a", ADD), ("b", ADD), ("c", ADD)])).expect("an answer");
    let result = answer.expect("a batch is never refused").result;
    assert_eq!(result["result_error"]["c"]["error"], "OPERATION_TIME_LIMIT");
    let times = &result["result_time"];
    assert!(times["a"]["operating"].as_f64() >= Some(0.9) && times["b"]["operating"].as_f64() >= Some(1.8), "{times}");
    assert!(times["b"]["operating_reset_at"].is_u64());
    assert_eq!(memory.tasks().len(), 4);
}

#[test]
fn a_self_hosted_portal_does_not_say_when_to_come_back() {
    let memory = Memory::new();
    memory.change(|rules| rules.self_hosted = true);
    let answer = memory.run(&batch(&[("a", "scope")])).expect("an answer").expect("a batch is never refused");
    let time = &answer.result["result_time"]["a"];
    assert!(time["operating"].is_number() && time.get("operating_reset_at").is_none(), "{time}");
}

#[test]
fn a_task_without_its_custom_fields_is_found_by_its_xml_id() {
    let memory = Memory::new();
    memory.change(|rules| rules.custom_fields = CustomFields::Never);
    assert_eq!(code(add(&memory, "m-1")), "");
    let found = |field: &str| {
        let list = memory.call("tasks.task.list", json!({"filter": {field: ["m-1", "m-2"]}, "start": -1}));
        let answer = list.expect("an answer").expect("a list");
        assert_eq!(answer.total, None);
        answer.result["tasks"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((found("XML_ID"), found("UF_CAMUNDA_ID_EXTERNAL_TASK")), (1, 0));
    assert_eq!(memory.ids_of("m-1"), [memory.tasks()[0].id]);
    assert!(memory.ids_of("M-1").is_empty());
}

#[test]
fn people_change_checklists_and_write_at_the_end() {
    let memory = Memory::new();
    let fields = json!({"TITLE": "by hand"}).as_object().cloned().unwrap_or_default();
    let task = memory.put(&fields);
    let list = memory.add_checklist_item(task, 0, "list").expect("the task is there");
    let [one, two] = ["one", "two"].map(|title| memory.add_checklist_item(task, list, title).expect("it is there"));
    assert!(memory.rename_checklist_item(task, one, "ONE") && memory.tick_checklist_item(task, two));
    let checklist = memory.task(task).expect("it is there").checklist;
    let seen: Vec<_> = checklist.iter().map(|item| (item.title.as_str(), item.complete, item.created_by)).collect();
    assert_eq!(seen, [("list", false, 2), ("ONE", false, 2), ("two", true, 2)]);
    assert!(memory.delete_checklist_item(task, list) && !memory.delete_checklist_item(task, one));
    assert_eq!(memory.add_checklist_item(0, 0, "nowhere"), None);
}

#[test]
fn orders_can_be_given_and_cancelled_at_any_time() {
    let memory = Memory::new();
    let order = memory.order(Fault::before(ANY_CALL, What::refuse(401, "OVERLOAD_LIMIT", "")));
    assert_eq!(code(memory.call("scope", json!([]))), "OVERLOAD_LIMIT");
    memory.clear(&order);
    assert_eq!(code(memory.call("scope", json!([]))), "");
    memory.order(Fault::before("SCOPE", What::html(502, "<h1>")));
    assert!(matches!(memory.call("scope", json!([])), Err(Broken::Raw { status: 502, .. })));
    memory.clear_all();
    assert_eq!(code(memory.call("scope", json!([]))), "");
}
