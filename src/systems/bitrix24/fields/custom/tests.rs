//! The custom fields that a process model sets.

use serde_json::{Value, json};

use super::super::tests::{made, of_extensions};

#[test]
fn the_expected_result_is_y_or_n_and_absent_where_the_model_has_none() {
    let expected = |value: Value| of_extensions(json!({"UF_RESULT_EXPECTED": value}), "UF_RESULT_EXPECTED");
    for yes in [
        json!("true"),
        json!("TRUE"),
        json!("1"),
        json!("да"),
        json!("ДА"),
        json!("Yes"),
        json!("y"),
        json!(true),
        json!(1),
        json!(1.0),
        json!("1.0"),
    ] {
        assert_eq!(expected(yes.clone()), "Y", "{yes}");
    }
    for no in [json!("false"), json!("0"), json!("нет"), json!("N"), json!("on"), json!(""), json!(false), json!(2)]
    {
        assert_eq!(expected(no.clone()), "N", "{no}");
    }
    assert_eq!(expected(Value::Null), Value::Null);
    assert_eq!(of_extensions(json!({}), "UF_RESULT_EXPECTED"), Value::Null);
}

#[test]
fn a_value_that_is_neither_yes_nor_no_counts_as_no_with_a_warning() {
    for name in ["UF_RESULT_EXPECTED", "taskControl", "resultRequired"] {
        let warnings = |value: Value| made(json!({"metadata": {"extensionProperties": {name: value}}})).warnings;
        for (value, shown) in [(json!("on"), "\"on\""), (json!(2), "2"), (json!(["Y"]), "[\"Y\"]"), (json!(0.5), "0.5")]
        {
            let place = format!("metadata.extensionProperties.{name}");
            assert_eq!(warnings(value), [format!("{place} {shown} is neither yes nor no: it counts as no")]);
        }
        let clear = [json!("Нет"), json!(" no "), json!("N"), json!("0"), json!(0.0), json!("FALSE"), json!(false)];
        for value in clear.into_iter().chain([json!("да"), json!(1.0), json!(""), json!([]), json!(null)]) {
            assert!(warnings(value.clone()).is_empty(), "{value}");
        }
    }
}

#[test]
fn a_custom_field_that_java_has_serialised_is_not_sent() {
    let made = made(json!({"metadata": {"extensionProperties": {"UF_A": "rO0ABXNyAA==", "UF_B": "rO0"}}}));
    assert_eq!((made.fields.get("UF_A"), &made.fields["UF_B"]), (None, &json!("rO0")));
    assert!(made.warnings.len() == 1 && made.warnings[0].contains("UF_A is a serialised Java object"));
}

#[test]
fn the_question_is_trimmed_and_not_sent_when_blank() {
    let question = |value: &str| of_extensions(json!({"UF_RESULT_QUESTION": value}), "UF_RESULT_QUESTION");
    assert_eq!(question(" Согласован? \n"), "Согласован?");
    assert_eq!(question("  "), Value::Null);
}

#[test]
fn other_custom_fields_are_sent_as_they_are_and_nothing_else_is_a_field() {
    let properties = json!({
        "UF_CRM_TASK": ["L_4", "C_7"], "UF_1": " as it is ", "UF_EMPTY": "", "UF_NULL": null,
        "UF_": "1", "uf_low": "1", "UF_low": "1", "UF_А": "1", "!UF_X": "1", "UF_X[0]": "1", "UF_X&Y": "1", " UF_X": "1",
        "TITLE": "1", "RESPONSIBLE_ID": "1", "assigneeName": "1",
    });
    let fields = made(json!({"metadata": {"extensionProperties": properties}})).fields;
    let mut names: Vec<&str> = fields.keys().map(String::as_str).filter(|name| name.contains("UF_")).collect();
    names.sort_unstable();
    assert_eq!(names, ["UF_1", "UF_CAMUNDA_ID_EXTERNAL_TASK", "UF_CRM_TASK", "UF_EMPTY"]);
    assert_eq!((&fields["UF_CRM_TASK"], &fields["UF_1"]), (&json!(["L_4", "C_7"]), &json!(" as it is ")));
    // TITLE, DESCRIPTION, RESPONSIBLE_ID, PRIORITY and XML_ID beside them.
    assert_eq!(fields.len(), 9, "{fields:?}");
    assert_eq!(fields["RESPONSIBLE_ID"], 9);
}

#[test]
fn booleans_travel_as_y_and_n_wherever_they_stand_and_texts_as_they_are() {
    let given = json!({
        "UF_YES": true, "UF_NO": false, "UF_LIST": [true, [false, "true", 1, null]], "UF_MEMBERS": {"a": true},
        "UF_TEXT": "true", "UF_NUMBER": 1,
    });
    let fields = made(json!({"metadata": {"extensionProperties": given}})).fields;
    for (name, expected) in [
        ("UF_YES", json!("Y")),
        ("UF_NO", json!("N")),
        ("UF_LIST", json!(["Y", ["N", "true", 1, null]])),
        ("UF_MEMBERS", json!({"a": "Y"})),
        ("UF_TEXT", json!("true")),
        ("UF_NUMBER", json!(1)),
    ] {
        assert_eq!(fields[name], expected, "{name}");
    }
}

#[test]
fn control_and_a_required_result_are_yes_or_no_and_absent_where_the_model_has_none() {
    let control = |value: Value| of_extensions(json!({"taskControl": value}), "TASK_CONTROL");
    let result = |value: Value| of_extensions(json!({"resultRequired": value}), "SE_PARAMETER");
    for yes in [json!("true"), json!("Да"), json!(" YES "), json!("y"), json!(1), json!(true)] {
        assert_eq!(control(yes.clone()), "Y", "{yes}");
        assert_eq!(result(yes.clone()), json!([{"CODE": 3, "VALUE": "Y"}]), "{yes}");
    }
    for no in [json!("false"), json!("нет"), json!(""), json!("on"), json!(false), json!(["Y"])] {
        assert_eq!(control(no.clone()), "N", "{no}");
        assert_eq!(result(no.clone()), json!([{"CODE": 3, "VALUE": "N"}]), "{no}");
    }
    for name in ["TASK_CONTROL", "SE_PARAMETER"] {
        assert_eq!(of_extensions(json!({"taskControl": null, "resultRequired": null}), name), Value::Null);
        assert_eq!(of_extensions(json!({"TASK_CONTROL": "Y", "SE_PARAMETER": []}), name), Value::Null);
    }
    let origins =
        made(json!({"metadata": {"extensionProperties": {"taskControl": "Y", "resultRequired": "Y"}}})).origins;
    assert_eq!(origins["TASK_CONTROL"], ["metadata.extensionProperties.taskControl"]);
    assert_eq!(origins["SE_PARAMETER"], ["metadata.extensionProperties.resultRequired"]);
}
