//! `src/packaging/sample.bpmn`: what the bridge would make of its tasks is what the worker reads. Whether the file
//! keeps to the schema of BPMN is for `tests/packaging/bpmn`.

use std::fs;
use std::{env, process};

use crate::support::*;
use serde_json::{Map, Value, json};

const PROCESS: &str = include_str!("../../src/packaging/sample.bpmn");

/// The value of this attribute in a tag.
fn attribute(tag: &str, name: &str) -> String {
    let (_, rest) = tag.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("{tag} has no {name}"));
    let (value, _) = rest.split_once('"').expect("it is closed");
    value.replace("&quot;", "\"").replace("&amp;", "&")
}

/// The Camunda properties in this part of the file.
fn properties(part: &str) -> Map<String, Value> {
    let tags = part.split("<camunda:property ").skip(1).map(|rest| rest.split_once("/>").expect("it is closed").0);
    tags.map(|tag| format!(" {tag}")).map(|tag| (attribute(&tag, "name"), attribute(&tag, "value").into())).collect()
}

/// The service tasks, from the opening tag to the closing one.
fn service_tasks() -> Vec<&'static str> {
    let tasks = PROCESS.split("<bpmn:serviceTask").skip(1);
    tasks.map(|rest| rest.split_once("</bpmn:serviceTask>").expect("it is closed").0).collect()
}

/// A message as the bridge publishes it for this task.
fn message(task: &str) -> Value {
    let of_process = PROCESS.split("<bpmn:startEvent").next().expect("the head");
    let (tag, _) = task.split_once('>').expect("it is closed");
    let (activity, topic) = (attribute(tag, "id"), attribute(tag, "camunda:topic"));
    json!({
        "task_id": "sample-1", "topic": topic, "system": "bitrix24", "activity_id": activity,
        "process_instance_id": "instance-1", "process_definition_key": "sample_approval",
        "variables": {"description": "Договор поставки", "deadline": "2026-12-31"},
        "metadata": {
            "extensionProperties": properties(task),
            "activityInfo": {"id": activity, "name": attribute(tag, "name"), "type": "external", "topic": topic},
            "processProperties": properties(of_process),
        },
    })
}

#[test]
fn the_worker_reads_every_property_of_the_sample_process_and_warns_of_none() {
    let tasks = service_tasks();
    assert_eq!(tasks.len(), 2);
    for task in tasks {
        let message = message(task);
        let file = env::temp_dir().join(format!("task-creator-bpmn-{}-{}.json", process::id(), message["activity_id"]));
        fs::write(&file, message.to_string()).expect("the temporary folder is writable");
        let explained = run(&["explain", file.to_str().expect("a plain name")], &[]);
        let _ = fs::remove_file(&file);
        explained.ended_with(0).has_not("warning").has_not("note: ").has("  metadata.activityInfo.name  ");
        explained.has("variables.description ").has("variables.deadline ");
        for (place, names) in
            [("extensionProperties", properties(task)), ("processProperties", properties_of_process())]
        {
            assert!(!names.is_empty());
            for name in names.keys() {
                explained.has(&format!(" metadata.{place}.{name} "));
            }
        }
    }
}

fn properties_of_process() -> Map<String, Value> {
    properties(PROCESS.split("<bpmn:startEvent").next().expect("the head"))
}

#[test]
fn the_gateway_reads_the_variable_that_the_bridge_sets() {
    let asking: Vec<&str> = service_tasks().into_iter().filter(|task| task.contains("UF_RESULT_EXPECTED")).collect();
    let [task] = asking[..] else { panic!("one task asks") };
    let (tag, _) = task.split_once('>').expect("it is closed");
    assert!(PROCESS.contains(&format!("${{{} == \"ok\"}}", attribute(tag, "id"))));
}

#[test]
fn every_element_is_drawn() {
    for id in PROCESS.split("<bpmn:").skip(1).filter(|tag| !tag.starts_with("process") && !tag.starts_with("defini")) {
        let (tag, _) = id.split_once('>').expect("it is closed");
        if tag.contains(" id=\"") {
            let drawn = format!("bpmnElement=\"{}\"", attribute(tag, "id"));
            assert!(PROCESS.contains(&drawn), "{drawn}");
        }
    }
}
