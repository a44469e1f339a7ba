//! Values of every type, from everything that a message may say.

use serde_json::json;

use super::super::tests::task;
use super::*;

fn field(field: Value) -> Fields {
    let fields: Fields = serde_json::from_value(json!({"X": field})).expect("a field");
    super::super::mapping::check(&fields, false).expect("a right field");
    fields
}

/// What the variable `v` becomes in a field of these properties.
fn of(properties: Value, variable: Value) -> Made {
    let mut properties = properties;
    properties["from"] = json!("variables.v");
    made(&field(properties), &task("t", "1c", json!({"v": variable})), None)
}

#[track_caller]
fn becomes(properties: &Value, variable: Value, expected: Value) {
    let made = of(properties.clone(), variable.clone());
    assert_eq!(Value::Object(made.fields), expected, "{properties} {variable}: {:?}", made.warnings);
}

#[test]
fn a_text_is_cut_and_a_list_is_its_json() {
    let text = json!({});
    becomes(&text, json!(" Счёт № 5 "), json!({"X": "Счёт № 5"}));
    becomes(&text, json!(7), json!({"X": "7"}));
    becomes(&text, json!([1, "а"]), json!({"X": "[1,\"а\"]"}));
    becomes(&json!({"longest": 5}), json!("шесть!"), json!({"X": "шест…"}));
    becomes(&json!({"longest": 6}), json!("шесть!"), json!({"X": "шесть!"}));
}

#[test]
fn a_number_keeps_its_digits_and_may_be_a_text() {
    let number = json!({"type": "number"});
    for given in ["1.10", "12345678901234567890", "-3", "1e3"] {
        let value: Value = serde_json::from_str(given).expect("a number");
        for given in [value.clone(), json!(given)] {
            assert_eq!(of(number.clone(), given).fields["X"].to_string(), value.to_string());
        }
    }
    for wrong in [json!("1,5"), json!("десять"), json!(true), json!([1])] {
        becomes(&number, wrong, json!({}));
    }
}

#[test]
fn yes_and_no_have_the_spellings_of_every_system() {
    let flag = json!({"type": "boolean"});
    for (given, expected) in [(json!("да"), true), (json!(1), true), (json!("false"), false), (json!("Нет"), false)]
    {
        becomes(&flag, given, json!({"X": expected}));
    }
    becomes(&flag, json!("может быть"), json!({}));
    assert_eq!(
        of(flag, json!("может быть")).warnings,
        ["variables.v \"может быть\" is neither yes nor no: X is not set"]
    );
}

#[test]
fn a_moment_has_no_zone_and_is_that_of_1c_s_clock_where_it_is_known() {
    let date = json!({"type": "date"});
    for (given, here, there) in [
        ("2026-11-23T10:00:00.000+0300", "2026-11-23T10:00:00", "2026-11-23T12:00:00"),
        ("2026-11-23T22:00:00Z", "2026-11-23T22:00:00", "2026-11-24T03:00:00"),
        ("2026-11-23 10:00:00", "2026-11-23T10:00:00", "2026-11-23T10:00:00"),
        ("2026-11-23", "2026-11-23T00:00:00", "2026-11-23T00:00:00"),
    ] {
        becomes(&date, json!(given), json!({"X": here}));
        assert_eq!(moment(&json!(given), "+05:00".parse().ok()).as_deref(), Some(there), "{given}");
    }
    becomes(&date, json!("завтра"), json!({}));
    let now = made(&field(json!({"type": "date", "value": "now"})), &task("t", "1c", json!({})), None);
    assert_eq!(now.fields["X"].as_str().map(str::len), Some(19));
}

#[test]
fn a_reference_is_a_key_and_a_composite_one_says_to_what() {
    let key = "21DDA1C5-8c44-11db-a9b0-00055d49b45e";
    becomes(&json!({"type": "reference"}), json!(key), json!({"X": key.to_lowercase()}));
    becomes(&json!({"type": "reference"}), json!("7"), json!({}));
    let composite = json!({"type": "composite", "of": "Catalog_Договоры"});
    let expected = json!({"X": key.to_lowercase(), "X_Type": "StandardODATA.Catalog_Договоры"});
    becomes(&composite, json!(key), expected);
    becomes(&composite, json!("7"), json!({}));
}

#[test]
fn rows_have_their_numbers_and_what_is_wrong_in_one_says_in_which() {
    let rows = json!({"type": "rows", "fields": {
        "Имя": {"from": ["name", "title"], "required": true},
        "Цена": {"type": "number", "from": "price"},
    }});
    let items = json!([{"name": "Стол", "price": "1.5"}, {"title": "Стул", "price": "дорого"}]);
    let made = of(rows.clone(), items);
    assert_eq!(
        Value::Object(made.fields),
        json!({"X": [{"LineNumber": "1", "Имя": "Стол", "Цена": 1.5}, {"LineNumber": "2", "Имя": "Стул"}]})
    );
    assert_eq!(made.warnings, ["X, row 2: price \"дорого\" is not a number: Цена is not set"]);
    let made = of(rows.clone(), json!([{"price": 1}]));
    assert_eq!(made.missing, ["X, row 1: Имя is required, and name, title is absent or blank"]);
    becomes(&rows, json!("Стол"), json!({}));
    // What is no object has no members, and would be a row with a number alone.
    let optional = json!({"type": "rows", "fields": {"Имя": {"from": "name"}}});
    let made = of(optional, json!(["Стол", {"name": "Стул"}]));
    assert_eq!(Value::Object(made.fields), json!({"X": [{"LineNumber": "1", "Имя": "Стул"}]}));
    assert_eq!(made.warnings, ["X, row 1: \"Стол\" is no object: the row is left out"]);
    assert_eq!(of(rows, json!(["Стол"])).missing, ["X, row 1: \"Стол\" is no object: the row is left out"]);
}

#[test]
fn the_first_place_that_says_something_counts_and_then_the_constant() {
    let fields = field(json!({"from": ["variables.a", "variables.b.c"], "value": "никто"}));
    let x = |variables: Value| made(&fields, &task("t", "1c", variables), None);
    assert_eq!(x(json!({"a": " ", "b": {"c": "да"}})).fields["X"], "да");
    assert_eq!(x(json!({"a": "нет", "b.c": "да"})).fields["X"], "нет");
    let constant = x(json!({"a": null}));
    assert_eq!(
        (&constant.fields["X"], &constant.origins["X"][..]),
        (&json!("никто"), &["ONEC_MAPPING_FILE".into()][..])
    );
    assert_eq!(x(json!({"a": "rO0ABXNyABFqYXZh"})).warnings.len(), 1, "an object of Java's");
}

#[test]
fn what_is_required_and_cannot_be_used_is_missing() {
    let needed = json!({"type": "number", "required": true});
    assert_eq!(
        of(needed.clone(), json!("много")).missing,
        ["X is required, and variables.v \"много\" is not a number"]
    );
    assert_eq!(of(needed, Value::Null).missing, ["X is required, and variables.v is absent or blank"]);
}
