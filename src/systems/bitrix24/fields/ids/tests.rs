//! Users, groups and tasks that are named by number.

use serde_json::{Value, json};

use super::super::Fields;
use super::super::tests::{field, made, of_extensions, of_variables};

#[test]
fn the_assignee_is_responsible_and_without_one_the_default() {
    for assignee in [json!("17"), json!(17), json!(" 17 "), json!("17.0"), json!(17.0), json!("1.7E1")] {
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
        [json!("boss"), json!("0"), json!("-3"), json!("+3"), json!("3.5"), json!("1e-3"), json!("٣"), json!(true)]
    {
        let made = made(json!({"metadata": {"extensionProperties": {"assigneeId": wrong}}}));
        assert_eq!(made.fields["RESPONSIBLE_ID"], 9, "{wrong}");
        let place = "metadata.extensionProperties.assigneeId";
        let expected = format!("{place} {wrong} is not a positive whole number: responsible is the default, 9");
        assert_eq!(made.warnings, [expected]);
    }
}

#[test]
fn author_auditor_and_group_are_sent_only_when_they_are_positive_numbers() {
    let message = |id: Value| json!({"variables": {"startedBy": id}, "metadata": {"processProperties": {"originatorId": id, "groupId": id}}});
    for id in [json!("31"), json!(31), json!(31.0), json!("31.0"), json!("3.1E1")] {
        let Fields { fields, warnings, .. } = made(message(id));
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(
            (&fields["CREATED_BY"], &fields["AUDITORS"], &fields["GROUP_ID"]),
            (&json!(31), &json!([31]), &json!(31))
        );
    }
    let blank = [json!(null), json!(""), json!([])].map(|id| (id, 0));
    let unusable = [json!("0"), json!(0.0), json!("-1"), json!(31.5), json!("demo"), json!([31]), json!("31;DROP")];
    for (id, warned) in blank.into_iter().chain(unusable.map(|id| (id, 3))) {
        let Fields { fields, warnings, .. } = made(message(id.clone()));
        assert!(["CREATED_BY", "AUDITORS", "GROUP_ID"].iter().all(|name| !fields.contains_key(*name)), "{id}");
        assert_eq!(warnings.len(), warned, "{id}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.ends_with("is not a positive whole number: it is not used")));
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
    // As a Double of Camunda comes.
    assert_eq!(group(json!({"group_id": 1.0, "groupId": 2.0})), 1);
    assert_eq!(group(json!({"group_id": {"value": 1.0, "type": "Double"}})), 1);
}

#[test]
fn the_parent_is_a_positive_number_of_either_name_or_not_sent() {
    assert_eq!(of_variables(json!({"parentTaskId": "5", "parent_task_id": "6"}), "PARENT_ID"), 5);
    assert_eq!(of_variables(json!({"parent_task_id": 6}), "PARENT_ID"), 6);
    assert_eq!(of_variables(json!({"parentTaskId": {"value": "5", "type": "String"}}), "PARENT_ID"), 5);
    assert_eq!(of_variables(json!({"parentTaskId": "5.0"}), "PARENT_ID"), 5);
    // As Java spells a Double from ten millions on.
    assert_eq!(of_variables(json!({"parentTaskId": "1.2345678E7"}), "PARENT_ID"), 12_345_678);
    for unusable in [json!(null), json!(""), json!("0"), json!("-5"), json!("5.5"), json!([5]), json!("task 5")] {
        let made = made(json!({"variables": {"parentTaskId": unusable}}));
        assert!(!made.fields.contains_key("PARENT_ID"), "{unusable}");
        assert_eq!(made.warnings.is_empty(), [json!(null), json!("")].contains(&unusable), "{unusable}");
        assert_eq!(of_variables(json!({"parentTaskId": unusable, "parent_task_id": "6"}), "PARENT_ID"), 6);
    }
    // A process model names no parent.
    assert_eq!(of_extensions(json!({"parentTaskId": "5", "PARENT_ID": "5"}), "PARENT_ID"), Value::Null);
}

#[test]
fn accomplices_are_a_list_or_separated_by_commas_each_once() {
    for given in [json!(["17", 23, " 17 ", "", null]), json!("17, 23,,17"), json!([17, 23])] {
        assert_eq!(of_extensions(json!({"accomplices": given}), "ACCOMPLICES"), json!([17, 23]), "{given}");
        assert_eq!(of_variables(json!({"accomplices": given}), "ACCOMPLICES"), json!([17, 23]), "{given}");
    }
    assert_eq!(of_variables(json!({"accomplices": 17}), "ACCOMPLICES"), json!([17]));
    for none in [json!(null), json!(""), json!(" , "), json!([]), json!([null, " "])] {
        let made = made(json!({"metadata": {"extensionProperties": {"accomplices": none}}}));
        assert!(!made.fields.contains_key("ACCOMPLICES") && made.warnings.is_empty(), "{none}");
    }
}

#[test]
fn accomplices_come_from_the_extension_property_before_the_variable() {
    let of = |property: Value| {
        let properties = json!({"extensionProperties": {"accomplices": property}});
        made(json!({"variables": {"accomplices": "23"}, "metadata": properties}))
    };
    let (from_property, from_variable) = (of(json!("17")), of(json!(" ")));
    assert_eq!(from_property.fields["ACCOMPLICES"], json!([17]));
    assert_eq!(from_property.origins["ACCOMPLICES"], ["metadata.extensionProperties.accomplices"]);
    assert_eq!(from_variable.fields["ACCOMPLICES"], json!([23]));
    assert_eq!(from_variable.origins["ACCOMPLICES"], ["variables.accomplices"]);
    assert!(!of(json!("boss")).fields.contains_key("ACCOMPLICES"), "it says something, though nothing of use");
}

#[test]
fn accomplices_that_are_no_users_are_left_out_with_one_warning() {
    let given = json!(["boss", 17, 0, -3, 1.5, true, [23], {"ID": 23}, "23;29"]);
    let made = made(json!({"variables": {"accomplices": given}}));
    assert_eq!(made.fields["ACCOMPLICES"], json!([17]));
    let expected = "accomplices: 8 of 9 left out, being no numbers of users, the first is \"boss\"";
    assert_eq!(made.warnings, [expected]);
    assert_eq!(of_variables(json!({"accomplices": {"ID": 23}}), "ACCOMPLICES"), Value::Null);
}
