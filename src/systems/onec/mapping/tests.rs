//! What is wrong with a mapping is told with its topic and field; the examples are right.

use serde_json::json;

use super::super::{odata, service};
use super::*;

#[track_caller]
fn is_wrong<T: Topic>(topic: Value, told: &str) {
    let wrong = Mapping::<T>::parse(&json!({"t": topic}).to_string()).err().unwrap_or_default();
    assert!(wrong.contains(told), "{topic}: {wrong:?}");
}

#[test]
fn the_examples_are_right() {
    let odata = Mapping::<odata::Topic>::parse(include_str!("../mapping.example.json")).expect("right");
    for topic in ["1c_create_document", "1c_update_document", "1c_create_counterparty", "1c_sync_data", "other"] {
        assert!(odata.topic(topic).is_ok(), "{topic}");
    }
    Mapping::<service::Topic>::parse(include_str!("../mapping.service.example.json")).expect("right");
}

#[test]
fn a_wrong_topic_of_odata_is_told() {
    let field = |field: Value| json!({"entity": "Document_X", "fields": {"F": field}});
    for (topic, told) in [
        (json!({"entity": "Document_X"}), "missing field `fields`"),
        (json!({"entity": "InformationRegister_X", "fields": {}}), "does not start with one of Document_"),
        (json!({"entity": "Document_X?a", "fields": {}}), "has an entity"),
        (json!({"entity": "Document_X", "fields": {}, "form": 1}), "unknown field `form`"),
        (json!({"entity": "Document_X", "fields": {}, "then": "Delete"}), "unknown variant `Delete`"),
        (json!({"entity": "Document_X", "fields": {"Posted": {"value": true}}}), "writes Posted"),
        (json!({"entity": "Document_X", "fields": {"Ref_Key": {"from": "task_id"}}}), "writes Ref_Key"),
        (json!({"entity": "Document_X", "fields": {}, "update": "key"}), "no place in a message"),
        (json!({"entity": "Document_X", "fields": {}, "by": "Number"}), "\"by\" without \"update\""),
        (json!({"entity": "Document_X", "fields": {}, "finished": {"field": "A"}}), "missing field `values`"),
        (json!({"entity": "Document_X", "fields": {}, "answer": {"field": "a&b"}}), "names a field \"a&b\""),
        (json!({"entity": "Document_X", "fields": {}, "at_once": true, "answer": {"field": "A"}}), "\"at_once\""),
        (field(json!({})), "with neither \"from\" nor \"value\""),
        (field(json!({"from": "variable.x"})), "has a field \"F\" from \"variable.x\", which is no place"),
        (field(json!({"from": "task_id", "type": "text"})), "unknown variant `text`"),
        (field(json!({"from": "task_id", "type": "composite"})), "of type composite without \"of\""),
        (field(json!({"from": "task_id", "of": "Catalog_X"})), "with \"of\", which is for type composite only"),
        (field(json!({"from": "variables.x", "type": "rows"})), "of type rows without \"fields\""),
        (field(json!({"from": "variables.x", "type": "number", "longest": 5})), "which is for type string only"),
        (
            field(json!({"from": "variables.x", "type": "rows", "fields": {"G": {}}})),
            "has a field \"G\" with neither \"from\" nor \"value\"",
        ),
    ] {
        is_wrong::<odata::Topic>(topic, told);
    }
    assert!(Mapping::<odata::Topic>::parse("{}").is_err_and(|wrong| wrong.contains("maps no topic")));
}

#[test]
fn a_wrong_topic_of_a_service_is_told() {
    let with = |member: &str, value: Value| {
        let mut topic = json!({"create": "/t", "id": "/id"});
        topic[member] = value;
        topic
    };
    for (topic, told) in [
        (json!({"create": "/t"}), "missing field `id`"),
        (with("create", json!("t")), "which is no path below ONEC_URL"),
        (with("create", json!("//host/t")), "which is no path below ONEC_URL"),
        (with("create", json!("/../t")), "which is no path below ONEC_URL"),
        (with("create", json!("/t/{id}")), "which is not known there"),
        (with("find", json!("/t")), "has a find without {task_id}"),
        (with("status", json!("/t/{id}")), "needs both \"status\" and \"finished\""),
        (with("id", json!("id")), "for a JSON pointer"),
    ] {
        is_wrong::<service::Topic>(topic, told);
    }
}

#[test]
fn a_topic_that_is_not_mapped_is_told_with_those_that_are() {
    let mapping = super::super::tests::mapping::<odata::Topic>(&json!({"a": {"entity": "Task_X", "fields": {}}}));
    let wrong = mapping.topic("b").err().unwrap_or_default();
    assert_eq!(wrong, "ONEC_MAPPING_FILE has no topic \"b\" and no \"*\"; it has a");
}

#[test]
fn a_condition_is_met_in_any_spelling_and_an_answer_has_its_text() {
    let condition = Condition { field: "S".into(), values: vec![json!(true), json!("Готово"), json!(5)] };
    for (value, is_met) in [(json!(true), true), (json!("Готово"), true), (json!("5"), true), (json!(false), false)]
    {
        assert_eq!(condition.is_met(Some(&value)), is_met, "{value}");
    }
    assert!(!condition.is_met(None) && !condition.is_met(Some(&Value::Null)));
    let answer = Answer { field: "A".into(), texts: [("Согласовано".to_owned(), "ДА".to_owned())].into() };
    for (value, text) in
        [("Согласовано", Some("ДА")), ("ДА", Some("ДА")), (" ", None), (super::super::key::EMPTY, None)]
    {
        assert_eq!(answer.text(Some(&json!(value))).as_deref(), text, "{value}");
    }
}
