//! What counts as a list, and which texts hold a list.

use serde_json::{Value, json};

use super::super::tests::{made, of_extensions, of_variables};
use crate::message::given::checklists::Checklist;

#[test]
fn tags_are_a_list_or_separated_by_commas() {
    assert_eq!(of_variables(json!({"tags": ["a", " b ", "", null, 7]}), "TAGS"), json!(["a", "b", "7"]));
    assert_eq!(of_variables(json!({"tags": " a, b,,в г "}), "TAGS"), json!(["a", "b", "в г"]));
    for none in [json!([]), json!(""), json!(" , "), json!(null)] {
        assert_eq!(of_variables(json!({"tags": none}), "TAGS"), Value::Null, "{none}");
    }
}

#[test]
fn a_text_that_holds_a_list_is_read_as_one() {
    let tags = json!(["договор", "срочно"]);
    for given in [
        json!("[\"договор\",\"срочно\"]"),
        json!(" [ \"договор\" , \"срочно\", \"\", null ] "),
        json!({"value": "[\"договор\",\"срочно\"]", "type": "Json"}),
        json!({"value": "[\"договор\",\"срочно\"]", "type": "String"}),
        json!({"value": ["договор", "срочно"], "type": "Object"}),
        json!({"value": "\"договор, срочно\"", "type": "Json"}),
        // As Java writes a list where an expression makes it a text.
        json!("[договор, срочно]"),
    ] {
        assert_eq!(of_variables(json!({"tags": given}), "TAGS"), tags, "{given}");
    }
    assert_eq!(of_variables(json!({"tags": "[договор, срочно"}), "TAGS"), json!(["[договор", "срочно"]));
    for given in [json!("[17, 23.0]"), json!("[\"17\", \"23\"]"), json!("17, 23.0"), json!([17.0, "23.0", 17])] {
        assert_eq!(of_extensions(json!({"accomplices": given}), "ACCOMPLICES"), json!([17, 23]), "{given}");
        assert_eq!(of_variables(json!({"accomplices": given}), "ACCOMPLICES"), json!([17, 23]), "{given}");
    }
}

#[test]
fn tags_that_are_no_texts_are_left_out_with_one_warning() {
    let left_out = |tags: Value| {
        let made = made(json!({"variables": {"tags": tags}}));
        (made.fields.get("TAGS").cloned().unwrap_or_default(), made.warnings)
    };
    let (tags, warnings) = left_out(json!(["a", ["b"], {"c": 1}, "rO0ABXNyAA==", 7]));
    assert_eq!(tags, json!(["a", "7"]));
    assert_eq!(warnings, ["tags: 3 of 5 left out, being no texts, the first is [\"b\"]"]);
    for object in [json!({"a": 1}), json!("{\"a\": 1, \"b\": 2}"), json!({"value": "{\"a\": 1}", "type": "Json"})] {
        let (tags, warnings) = left_out(object);
        assert_eq!((tags, warnings.len()), (Value::Null, 1), "{warnings:?}");
    }
}

#[test]
fn a_serialised_java_object_is_named_in_a_warning_and_is_no_tag() {
    let java = "rO0ABXNyABNqYXZhLnV0aWwuQXJyYXlMaXN0eIHSHZnHYZ0DAAFJAARzaXpleHA=";
    for given in [json!(java), json!({"value": java, "type": "Object"})] {
        let made = made(json!({"variables": {"tags": given}}));
        assert!(!made.fields.contains_key("TAGS"));
        let [warning] = made.warnings.as_slice() else { panic!("{:?}", made.warnings) };
        assert!(warning.starts_with("variables.tags is a serialised Java object (\"rO0ABXNy"), "{warning}");
        assert!(warning.ends_with("it is not used; let the process set it as a text or as JSON"), "{warning}");
    }
    assert_eq!(of_variables(json!({"tags": "rO0, AB"}), "TAGS"), json!(["rO0", "AB"]));
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
    assert_eq!(lists(r#"[{"name": "\ud83d", "items": [1.0]}]"#), [list("\u{fffd}", &["1.0"])]);
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

#[test]
fn wrong_parts_of_a_checklist_are_counted_in_one_warning() {
    let given =
        r#"[7, {"name": ["a"], "items": ["x", {"y": 1}, null, " "]}, {"name": "b", "items": "x"}, {"items": ""}]"#;
    // A process model has texts only; another sender may have a list.
    let as_list: Value = serde_json::from_str(given).expect("JSON");
    for given in [json!(given), as_list] {
        let made = made(json!({"metadata": {"extensionProperties": {"checklists": given}}}));
        let names: Vec<&str> = made.checklists.iter().map(|list| list.name.as_str()).collect();
        assert_eq!(names, ["Без названия", "b", "Без названия"]);
        assert_eq!(made.checklists[0].items, ["x"]);
        let place = "metadata.extensionProperties.checklists";
        assert_eq!(made.warnings, [format!("4 part(s) of {place} are no checklists or lines; left out")]);
    }
}
