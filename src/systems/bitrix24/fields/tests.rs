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
fn nothing_in_a_message_replaces_the_marker() {
    let marker = "UF_CAMUNDA_ID_EXTERNAL_TASK";
    assert_eq!(of_extensions(json!({marker: "another"}), marker), "task-1");
    let other = settings(&[("BITRIX_TASK_ID_FIELD", "XML_ID")]);
    let message = json!({"metadata": {"extensionProperties": {"XML_ID": "another"}}});
    assert_eq!(fields(&task(message.clone()), &other).fields["XML_ID"], "task-1");
    let none = settings(&[("BITRIX_TASK_ID_FIELD", "none")]);
    assert!(fields(&task(message), &none).fields.keys().all(|name| name != marker && name != "XML_ID"));
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
