//! Each row of the table in the folder's README, and what nobody wrote there.

use super::super::tests::settings;
use super::*;

fn task(mut message: Value) -> Task {
    message["task_id"] = "task-1".into();
    Task::parse(message.to_string().into_bytes()).expect("a task")
}

fn made(message: Value) -> Fields {
    fields(&task(message), &settings(&[("BITRIX_DEFAULT_RESPONSIBLE_ID", "9")]))
}

fn field(message: Value, name: &str) -> Value {
    made(message).fields.get(name).cloned().unwrap_or_default()
}

fn of_variables(variables: Value, name: &str) -> Value {
    field(json!({"variables": variables}), name)
}

fn of_extensions(properties: Value, name: &str) -> Value {
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
fn the_title_is_the_variable_else_the_activity_else_a_default() {
    let named = |title: &str| json!({"variables": {"title": title}, "metadata": {"activityInfo": {"name": "Этап"}}});
    assert_eq!(field(named(" Счёт "), "TITLE"), "Счёт");
    assert_eq!(field(named(" \n"), "TITLE"), "Этап");
    for (topic, title) in [
        ("bitrix_create_task", "Новая задача из процесса Camunda"),
        ("bitrix_update_task", "Обновление задачи из процесса Camunda"),
        ("bitrix_create_deal", "Новая сделка из процесса Camunda"),
        ("bitrix_update_deal", "Обновление сделки из процесса Camunda"),
        ("bitrix_create_contact", "Новый контакт из процесса Camunda"),
        ("anything", "Задача из Camunda процесса (anything)"),
    ] {
        let unnamed = json!({"topic": topic, "metadata": {"activityInfo": {"name": ""}}});
        assert_eq!(field(unnamed, "TITLE"), title);
    }
}

#[test]
fn a_long_title_is_cut_in_characters_and_stays_whole_in_the_description() {
    let long = "я".repeat(256);
    let cut = of_variables(json!({"title": long}), "TITLE");
    assert_eq!(cut, format!("{}…", "я".repeat(254)));
    assert_eq!(of_variables(json!({"title": long}), "DESCRIPTION"), long);
    assert_eq!(of_variables(json!({"title": "я".repeat(255)}), "TITLE"), "я".repeat(255));
}

#[test]
fn the_description_is_the_variable_else_the_title_with_the_addition_on_a_new_line() {
    let description = |variables| of_variables(variables, "DESCRIPTION");
    assert_eq!(description(json!({"title": "Счёт"})), "Счёт");
    assert_eq!(description(json!({"title": "Счёт", "description": " "})), "Счёт");
    assert_eq!(description(json!({"title": "Счёт", "description": "Оплатить"})), "Оплатить");
    let with_addition = json!({"description": "Оплатить", "description_additional": "до пятницы"});
    assert_eq!(description(with_addition), "Оплатить\nдо пятницы");
    assert_eq!(description(json!({"title": "Счёт", "description_additional": "до пятницы"})), "Счёт\nдо пятницы");
}

#[test]
fn a_long_description_is_cut_in_characters_and_says_so() {
    let settings = settings(&[("BITRIX_MAX_DESCRIPTION_LENGTH", "100")]);
    let description = |length: usize| {
        let message = json!({"variables": {"description": "я".repeat(length)}});
        fields(&task(message), &settings).fields["DESCRIPTION"].as_str().expect("a text").to_owned()
    };
    assert_eq!(description(100), "я".repeat(100));
    assert_eq!(description(101), "я".repeat(81) + "[Описание обрезано]");
    assert_eq!(description(100_000).chars().count(), 100);
}

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
    assert_eq!(fields.len(), 8, "{fields:?}");
    assert_eq!(fields["RESPONSIBLE_ID"], 9);
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
