//! Who and what is named by number.

use serde_json::{Value, json};

use super::super::tests::{field, made, of_extensions};

#[test]
fn the_assignee_is_responsible_and_without_one_the_default() {
    for assignee in [json!("17"), json!(17), json!(" 17 ")] {
        assert_eq!(of_extensions(json!({"assigneeId": assignee}), "RESPONSIBLE_ID"), 17);
    }
    for absent in [json!(null), json!(""), json!(" ")] {
        let made = made(json!({"metadata": {"extensionProperties": {"assigneeId": absent}}}));
        assert_eq!(made.fields["RESPONSIBLE_ID"], 9);
        assert!(made.warnings.is_empty(), "{:?}", made.warnings);
    }
}

#[test]
fn an_assignee_that_is_no_user_is_replaced_by_the_default_with_a_warning() {
    for wrong in
        [json!("boss"), json!("0"), json!("-3"), json!("+3"), json!("3.5"), json!("1e3"), json!("٣"), json!(true)]
    {
        let made = made(json!({"metadata": {"extensionProperties": {"assigneeId": wrong}}}));
        assert_eq!(made.fields["RESPONSIBLE_ID"], 9, "{wrong}");
        assert_eq!(made.warnings.len(), 1, "{wrong}");
    }
}

#[test]
fn author_auditor_and_group_are_sent_only_when_they_are_positive_numbers() {
    let message = |id: Value| json!({"variables": {"startedBy": id}, "metadata": {"processProperties": {"originatorId": id, "groupId": id}}});
    for id in [json!("31"), json!(31)] {
        let fields = made(message(id)).fields;
        assert_eq!(
            (&fields["CREATED_BY"], &fields["AUDITORS"], &fields["GROUP_ID"]),
            (&json!(31), &json!([31]), &json!(31))
        );
    }
    for id in [json!(null), json!(""), json!("0"), json!("-1"), json!("demo"), json!([31]), json!("31;DROP")] {
        let fields = made(message(id.clone())).fields;
        assert!(["CREATED_BY", "AUDITORS", "GROUP_ID"].iter().all(|name| !fields.contains_key(*name)), "{id}");
    }
}

#[test]
fn the_group_is_the_first_variable_else_the_process_property() {
    let group = |variables: Value| {
        field(json!({"variables": variables, "metadata": {"processProperties": {"groupId": "42"}}}), "GROUP_ID")
    };
    assert_eq!(group(json!({"group_id": "1", "groupId": "2", "project_id": "3"})), 1);
    assert_eq!(group(json!({"groupId": "2", "project_id": "3"})), 2);
    assert_eq!(group(json!({"project_id": "3"})), 3);
    assert_eq!(group(json!({"group_id": "", "projectId": "5"})), 42);
}
