//! The deadline, in every form that is in use.

use serde_json::{Value, json};

use super::{made, of_variables};

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
fn a_deadline_that_is_no_date_is_not_sent_and_warned_about() {
    for wrong in [
        "tomorrow",
        "2026-13-01",
        "2026-02-30",
        "23.11.2026",
        "1795409859911",
        "PT2H",
        "P1D",
        "Fri Jul 11 18:00:00 MSK 2025",
        "2026-11-23T25:00:00Z",
    ] {
        let made = made(json!({"variables": {"deadline": wrong}}));
        assert!(!made.fields.contains_key("DEADLINE"), "{wrong}");
        assert!(made.warnings.len() == 1 && made.warnings[0].contains(wrong), "{:?}", made.warnings);
    }
}

#[test]
fn the_name_of_a_zone_beside_an_offset_is_cut_off() {
    for (given, deadline) in [
        ("2025-07-11T18:00:00+03:00[Europe/Moscow]", "2025-07-11T18:00:00+03:00"),
        ("2025-07-11T18:00:00.123+0300[Europe/Moscow]", "2025-07-11T18:00:00+03:00"),
        ("2025-07-11T15:00:00Z[UTC]", "2025-07-11T15:00:00+00:00"),
        ("2025-07-11T15:00Z[Etc/UTC]", "2025-07-11T15:00:00+00:00"),
        ("2025-07-11T18:00:00+03:00@Europe/Moscow", "2025-07-11T18:00:00+03:00"),
        ("2025-07-11 18:00 +03:00 [Europe/Moscow]", "2025-07-11T18:00:00+03:00"),
        ("2025-07-11T15:00:00[UTC]", "2025-07-11T15:00:00+00:00"),
        ("2025-07-11T15:00:00@GMT", "2025-07-11T15:00:00+00:00"),
    ] {
        let made = made(json!({"variables": {"deadline": given}}));
        assert_eq!(made.fields.get("DEADLINE"), Some(&json!(deadline)), "{given}");
        assert!(made.warnings.is_empty(), "{:?}", made.warnings);
    }
}

#[test]
fn a_zone_without_an_offset_is_warned_about_since_the_portals_own_zone_counts() {
    for (given, deadline) in [
        ("2025-07-11T18:00:00@Europe/Moscow", "2025-07-11T18:00:00"),
        ("2025-07-11T18:00[Asia/Omsk]", "2025-07-11T18:00:00"),
        ("2025-07-11@Europe/Moscow", "2025-07-11T00:00:00"),
    ] {
        let made = made(json!({"variables": {"due_date": given}}));
        assert_eq!(made.fields.get("DEADLINE"), Some(&json!(deadline)), "{given}");
        let zone = given.trim_end_matches(']').rsplit(['@', '[']).next().expect("a zone");
        let expected = format!(
            "the deadline {given:?} has no offset, and zone {zone:?} is not looked up: it counts in the target's own zone"
        );
        assert_eq!(made.warnings, [expected]);
    }
}

#[test]
fn a_list_of_numbers_is_a_local_date_of_java() {
    for (given, deadline) in [
        (json!([2025, 7, 11]), "2025-07-11T00:00:00"),
        (json!([2025, 7, 11, 18, 0]), "2025-07-11T18:00:00"),
        (json!([2025, 7, 11, 18, 0, 59]), "2025-07-11T18:00:59"),
        (json!([2025, 7, 11, 18, 0, 59, 123_000_000]), "2025-07-11T18:00:59"),
        (json!([2025.0, 7.0, 11.0]), "2025-07-11T00:00:00"),
        (json!({"value": [2025, 7, 11, 18, 0], "type": "Object"}), "2025-07-11T18:00:00"),
        (json!({"value": "[2025,7,11,18,0]", "type": "Object"}), "2025-07-11T18:00:00"),
        (json!({"value": "\"2025-07-11T18:00:00Z[UTC]\"", "type": "Json"}), "2025-07-11T18:00:00+00:00"),
    ] {
        assert_eq!(of_variables(json!({"deadline": given}), "DEADLINE"), deadline, "{given}");
    }
}

#[test]
fn a_wrong_date_in_any_form_is_warned_about_and_the_next_names_are_not_tried() {
    for wrong in [
        json!([2025, 7]),
        json!([2025, 7, 11, 18]),
        json!([2025, 13, 1]),
        json!([2025, 7, 11, 25, 0]),
        json!([11, 7, 2025]),
        json!(["2025", "7", "11"]),
        json!([2025, 7, 11, 1, 1, 1, 1, 1]),
        json!([2025, 7, 11.5]),
        json!([2025, 7, -11]),
        json!({"year": 2025}),
        json!(1_795_409_859_911_u64),
        json!(true),
        json!("2025-07-11T18:00:00+03:00[Europe/Moscow"),
        json!("[Europe/Moscow]"),
        json!("@"),
    ] {
        let made = made(json!({"variables": {"deadline": wrong, "due_date": "2026-11-23"}}));
        assert!(!made.fields.contains_key("DEADLINE"), "{wrong}");
        assert!(made.warnings.len() == 1 && made.warnings[0].contains("is not a date; the task has none"), "{wrong}");
    }
    for blank in [json!(null), json!([]), json!({})] {
        let variables = json!({"deadline": blank, "due_date": "2026-11-23"});
        assert_eq!(of_variables(variables, "DEADLINE"), "2026-11-23T00:00:00", "{blank}");
    }
    assert_eq!(of_variables(json!({"deadline": []}), "DEADLINE"), Value::Null);
}
