//! Each row of the table in the folder's README, and what nobody wrote there. What is here serves the tests of the parts too.

use serde_json::json;

use super::super::tests::settings;
use super::*;

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
fn a_message_that_says_nothing_becomes_a_task_all_the_same() {
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
fn the_deadline_is_sent_as_iso_8601() {
    for (given, deadline) in [
        ("2026-11-23T10:00:00+03:00", "2026-11-23T10:00:00+03:00"),
        ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00+00:00"),
        ("2026-11-23T10:00:00.123456Z", "2026-11-23T10:00:00+00:00"),
        ("2026-11-23T10:00+03:00", "2026-11-23T10:00:00+03:00"),
        ("2026-11-23T10:00Z", "2026-11-23T10:00:00+00:00"),
        ("2026-11-23T10:00:00+03", "2026-11-23T10:00:00+03:00"),
        ("2026-11-23T10:00:00.000+0300", "2026-11-23T10:00:00+03:00"),
        ("2026-11-23T10:00:00-0530", "2026-11-23T10:00:00-05:30"),
        ("2026-11-23 10:00:00+0300", "2026-11-23T10:00:00+03:00"),
        ("2026-11-23 10:00:00", "2026-11-23T10:00:00"),
        ("2026-11-23T10:00:00", "2026-11-23T10:00:00"),
        ("2026-11-23T10:00", "2026-11-23T10:00:00"),
        ("2026-11-23", "2026-11-23T00:00:00"),
    ] {
        assert_eq!(of_variables(json!({"deadline": given}), "DEADLINE"), deadline, "{given}");
    }
    for name in ["deadline", "due_date", "end_date", "finish_date"] {
        assert_eq!(of_variables(json!({name: "2026-11-23"}), "DEADLINE"), "2026-11-23T00:00:00", "{name}");
    }
    let several = json!({"finish_date": "2026-11-24", "due_date": "2026-11-23", "deadline": ""});
    assert_eq!(of_variables(several, "DEADLINE"), "2026-11-23T00:00:00");
}

#[test]
fn what_is_no_date_is_not_sent_and_warned_about() {
    for wrong in ["tomorrow", "2026-13-01", "2026-02-30", "23.11.2026", "1795409859911", "2026-11-23T25:00:00Z"] {
        let made = made(json!({"variables": {"deadline": wrong}}));
        assert!(!made.fields.contains_key("DEADLINE"), "{wrong}");
        assert!(made.warnings.len() == 1 && made.warnings[0].contains(wrong), "{:?}", made.warnings);
    }
}

#[test]
fn tags_are_a_list_or_separated_by_commas() {
    assert_eq!(of_variables(json!({"tags": ["a", " b ", "", null, 7]}), "TAGS"), json!(["a", "b", "7"]));
    assert_eq!(of_variables(json!({"tags": " a, b,,в г "}), "TAGS"), json!(["a", "b", "в г"]));
    for none in [json!([]), json!(""), json!(" , "), json!(null), json!({"a": 1})] {
        assert_eq!(of_variables(json!({"tags": none}), "TAGS"), Value::Null, "{none}");
    }
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
fn an_id_of_more_than_50_bytes_is_no_second_marker_and_as_the_only_one_is_warned_about() {
    // Two bytes each.
    let (short, long) = ("я".repeat(25), "я".repeat(25) + "1");
    assert_eq!((xml_id(&short), xml_id(&long)), (Some(short.as_str()), None));
    let made = |id: &str, field: &str| {
        let task = Task::parse(json!({"task_id": id}).to_string().into_bytes()).expect("a task");
        fields(&task, &settings(&[("BITRIX_TASK_ID_FIELD", field)]))
    };
    let second = made(&long, "UF_MARKER");
    assert_eq!((&second.fields["UF_MARKER"], second.fields.get(XML_ID)), (&json!(long), None));
    assert!(second.warnings.is_empty());
    assert_eq!(second.passed_over, ["task_id has 51 bytes and XML_ID holds 50: it is not sent"]);
    let only = made(&long, XML_ID);
    assert_eq!(only.fields[XML_ID], long);
    let expected = "task_id has 51 bytes and XML_ID holds 50: the task cannot be found again, and may be created twice";
    assert_eq!(only.warnings, [expected]);
    assert!(made(&short, XML_ID).warnings.is_empty());
}

#[test]
fn checklists_are_read_from_a_text_that_holds_json() {
    let lists = |text: &str| made(json!({"metadata": {"extensionProperties": {"checklists": text}}})).checklists;
    let list = |name: &str, items: &[&str]| Checklist {
        name: name.into(),
        items: items.iter().map(|item| item.to_string()).collect(),
    };
    let two = r#"[{"name": " Документы ", "items": ["Устав", " ", "", null, " Доверенность "]}, {"items": ["x"]}]"#;
    assert_eq!(lists(two), [list("Документы", &["Устав", "Доверенность"]), list("Без названия", &["x"])]);
    assert_eq!(lists(r#"[{"name": " ", "items": []}, {"name": "a"}]"#), [list("Без названия", &[]), list("a", &[])]);
    assert_eq!(lists(r#"[7, "x", null, {"name": "a", "items": "x"}]"#), [list("a", &[])]);
    assert_eq!(lists("[]"), []);
}

#[test]
fn checklists_that_cannot_be_read_are_warned_about() {
    for wrong in ["not JSON", "{}", "null", r#"{"name": "a"}"#, "[", &"[".repeat(10_000)] {
        let made = made(json!({"metadata": {"extensionProperties": {"checklists": wrong}}}));
        assert!(made.checklists.is_empty());
        assert_eq!(made.warnings.len(), 1);
    }
    assert!(made(json!({"metadata": {"extensionProperties": {"checklists": " "}}})).warnings.is_empty());
}
