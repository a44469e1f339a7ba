//! Each row of the table in the folder's README, and what is not written there. What is written here once serves the
//! tests of the parts too.

use serde_json::json;

use super::super::tests::settings;
use super::*;

mod dates;

pub fn task(mut message: Value) -> Task {
    message["task_id"] = "task-1".into();
    Task::parse(message.to_string().into_bytes()).expect("a task")
}

pub fn made(message: Value) -> Fields {
    fields(&task(message), &settings(&[("BITRIX_DEFAULT_RESPONSIBLE_ID", "9")]))
}

pub fn field(message: Value, name: &str) -> Value {
    made(message).fields.get(name).cloned().unwrap_or_default()
}

pub fn of_variables(variables: Value, name: &str) -> Value {
    field(json!({"variables": variables}), name)
}

pub fn of_extensions(properties: Value, name: &str) -> Value {
    field(json!({"metadata": {"extensionProperties": properties}}), name)
}

#[test]
fn a_message_without_any_value_becomes_a_task_all_the_same() {
    let Fields { fields, checklists, warnings, .. } = made(json!({}));
    let expected = json!({
        "TITLE": "Задача из Camunda процесса ()",
        "DESCRIPTION": "Задача из Camunda процесса ()",
        "RESPONSIBLE_ID": 9,
        "PRIORITY": 1,
        "UF_CAMUNDA_ID_EXTERNAL_TASK": "task-1",
        "XML_ID": "task-1",
    });
    assert_eq!(Value::Object(fields), expected);
    assert!(checklists.is_empty() && warnings.is_empty());
}

#[test]
fn the_priority_is_0_1_or_2() {
    for (given, priority) in [
        (json!("low"), 0),
        (json!("Normal"), 1),
        (json!("HIGH"), 2),
        (json!("0"), 0),
        (json!(1), 1),
        (json!("2"), 2),
        (json!("3"), 2),
        (json!(50), 2),
        (json!("99999999999999999999"), 2),
        (json!(2.0), 2),
        (json!("0.0"), 0),
        (json!({"value": 2.0, "type": "Double"}), 2),
        (json!(1e3), 2),
        (json!("urgent"), 1),
        (json!("-1"), 1),
        (json!(null), 1),
        (json!(""), 1),
    ] {
        assert_eq!(of_variables(json!({"priority": given}), "PRIORITY"), priority, "{given}");
    }
    for name in ["priority", "task_priority", "urgency", "importance"] {
        assert_eq!(of_variables(json!({name: "high"}), "PRIORITY"), 2, "{name}");
    }
    assert_eq!(of_variables(json!({"priority": "low", "importance": "high"}), "PRIORITY"), 0);
    let settings = settings(&[("BITRIX_DEFAULT_PRIORITY", "2")]);
    assert_eq!(fields(&task(json!({"priority": 0})), &settings).fields["PRIORITY"], 2);
}

#[test]
fn a_wrong_priority_is_warned_about_and_after_a_blank_one_the_next_name_is_tried() {
    for wrong in [json!("urgent"), json!("-1"), json!(1.5), json!(true), json!(["high"]), json!({"a": 1})] {
        let made = made(json!({"variables": {"priority": wrong, "urgency": "high"}}));
        assert_eq!(made.fields["PRIORITY"], 1);
        let expected = format!("variables.priority {wrong} is no priority: BITRIX_DEFAULT_PRIORITY counts");
        assert_eq!(made.warnings, [expected]);
    }
    for blank in [json!(null), json!(" "), json!([]), json!({})] {
        let made = made(json!({"variables": {"priority": blank, "urgency": "high"}}));
        assert_eq!((&made.fields["PRIORITY"], made.warnings.len()), (&json!(2), 0), "{blank}");
    }
}

/// For every field: a value that cannot be used is warned about, and a blank one is not.
#[test]
fn every_value_that_cannot_be_used_is_warned_about() {
    let variables = [
        "title",
        "description",
        "description_additional",
        "startedBy",
        "group_id",
        "groupId",
        "project_id",
        "parentTaskId",
        "parent_task_id",
        "priority",
        "task_priority",
        "urgency",
        "importance",
        "deadline",
        "due_date",
        "end_date",
        "finish_date",
        "tags",
        "accomplices",
    ];
    let extensions = [
        "assigneeId",
        "accomplices",
        "taskControl",
        "resultRequired",
        "UF_RESULT_EXPECTED",
        "UF_RESULT_QUESTION",
        "checklists",
    ];
    let of = |part: &str, name: &str, value: &Value| match part {
        "variables" => made(json!({part: {name: value}})),
        _ => made(json!({"metadata": {part: {name: value}}})),
    };
    let names = variables.map(|name| ("variables", name)).into_iter();
    let names = names.chain(extensions.map(|name| ("extensionProperties", name)));
    for (part, name) in names.chain([("processProperties", "groupId"), ("processProperties", "originatorId")]) {
        let object = of(part, name, &json!({"a": [1]}));
        // People can read it in the description.
        let expected = usize::from(!name.starts_with("description"));
        assert_eq!(object.warnings.len(), expected, "{part}.{name}: {:?}", object.warnings);
        let java = of(part, name, &json!("rO0ABXNyABFqYXZhLnV0aWwuTGlzdA=="));
        assert_eq!(java.warnings.len(), 1, "{part}.{name}: {:?}", java.warnings);
        let is_yes_or_no = name.ends_with("Control") || name.ends_with("Required") || name.ends_with("EXPECTED");
        assert!(is_yes_or_no || java.warnings[0].contains("serialised Java object"), "{:?}", java.warnings);
        for blank in [json!(null), json!(""), json!("\t ")] {
            assert!(of(part, name, &blank).warnings.is_empty(), "{part}.{name}: {blank}");
        }
    }
}

#[test]
fn a_warning_shows_as_much_of_a_value_as_helps_to_find_it() {
    let made = made(json!({"variables": {"group_id": "я".repeat(100_000)}}));
    let shown = "я".repeat(59);
    assert_eq!(
        made.warnings,
        [format!("variables.group_id \"{shown}… is not a positive whole number: it is not used")]
    );
}

#[test]
fn nothing_in_a_message_replaces_a_marker() {
    let marker = "UF_CAMUNDA_ID_EXTERNAL_TASK";
    let message = json!({
        "variables": {"XML_ID": "another", "xmlId": "another"},
        "metadata": {"extensionProperties": {marker: "another", "XML_ID": "another", "xmlId": "another"}},
    });
    for (field, marked) in [(marker, vec![marker, XML_ID]), (XML_ID, vec![XML_ID]), ("none", vec![XML_ID])] {
        let made = fields(&task(message.clone()), &settings(&[("BITRIX_TASK_ID_FIELD", field)]));
        for marker in marked {
            assert_eq!(made.fields[marker], "task-1", "{field}");
            assert_eq!(made.origins[marker], ["task_id"], "{field}");
        }
        assert!(made.warnings.is_empty(), "{:?}", made.warnings);
    }
    let none = fields(&task(json!({})), &settings(&[("BITRIX_TASK_ID_FIELD", "none")])).fields;
    assert!(!none.contains_key(marker));
}

#[test]
fn an_id_over_50_bytes_is_no_second_marker_and_as_the_only_one_is_warned_about() {
    // Each character has two bytes.
    let (short, long) = ("я".repeat(25), "я".repeat(25) + "1");
    assert_eq!((xml_id(&short), xml_id(&long)), (Some(short.as_str()), None));
    let made = |id: &str, field: &str| {
        let task = Task::parse(json!({"task_id": id}).to_string().into_bytes()).expect("a task");
        fields(&task, &settings(&[("BITRIX_TASK_ID_FIELD", field)]))
    };
    let second = made(&long, "UF_MARKER");
    assert_eq!((&second.fields["UF_MARKER"], second.fields.get(XML_ID)), (&json!(long), None));
    assert!(second.warnings.is_empty());
    assert_eq!(second.left_out, ["task_id has 51 bytes and XML_ID holds 50: it is not sent"]);
    let only = made(&long, XML_ID);
    assert_eq!(only.fields[XML_ID], long);
    let expected = "task_id has 51 bytes and XML_ID holds 50: the task cannot be found again, and may be created twice";
    assert_eq!(only.warnings, [expected]);
    assert!(made(&short, XML_ID).warnings.is_empty());
}
