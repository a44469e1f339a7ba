//! Each row of the table in the folder's README, and what nobody wrote there.

use serde_json::json;

use super::super::tests::settings;
use super::*;

fn task(mut message: Value) -> Task {
    message["task_id"] = "task-1".into();
    Task::parse(message.to_string().into_bytes()).expect("a task")
}

fn made_with(message: Value, variables: &[(&str, &str)]) -> Fields {
    fields(&task(message), &settings(variables), None)
}

fn made(message: Value) -> Fields {
    made_with(message, &[("OPENPROJECT_DEFAULT_PROJECT", "9")])
}

fn of_variables(variables: Value) -> Value {
    made(json!({"topic": "op_create_task", "variables": variables})).body()
}

fn link(kind: &str, id: u64) -> Value {
    json!({"href": format!("/api/v3/{kind}/{id}")})
}

#[test]
fn a_message_that_says_nothing_becomes_a_task_all_the_same() {
    let made = made(json!({}));
    let expected = json!({
        "subject": "Задача из Camunda процесса ()",
        "description": {"format": "markdown", "raw": "Задача из Camunda процесса ()"},
        "customField7": "task-1",
        "_links": {"project": link("projects", 9), "type": link("types", 1)},
    });
    assert_eq!((made.body(), made.warnings.len()), (expected, 0));
}

#[test]
fn subject_and_description_are_what_people_read() {
    let body = of_variables(json!({"title": " Счёт\n№5 ", "description": "Проверить", "description_additional": [7]}));
    assert_eq!((&body["subject"], &body["description"]["raw"]), (&json!("Счёт №5"), &json!("Проверить\n[7]")));
    let long = of_variables(json!({"title": "я".repeat(300)}));
    assert_eq!(long["subject"].as_str().map(|subject| subject.chars().count()), Some(255));
    assert_eq!(long["description"]["raw"].as_str().map(|raw| raw.chars().count()), Some(300));
}

#[test]
fn the_question_and_the_checklists_stand_in_the_description() {
    let lists = r#"[{"name": "Документы", "items": ["Устав", "Доверенность"]}]"#;
    let properties = json!({"UF_RESULT_QUESTION": "Согласован?", "checklists": lists, "UF_RESULT_EXPECTED": "true"});
    let message = json!({"variables": {"description": "Текст"}, "metadata": {"extensionProperties": properties}});
    let raw = made(message).body()["description"]["raw"].clone();
    assert_eq!(raw, "Текст\n\n**Согласован?**\n\n### Документы\n\n* [ ] Устав\n* [ ] Доверенность");
}

#[test]
fn project_and_type_are_named_by_number_else_the_settings_count() {
    let links = |variables: Value| of_variables(variables)["_links"].clone();
    assert_eq!(
        links(json!({"projectId": "2", "typeId": 4})),
        json!({"project": link("projects", 2), "type": link("types", 4)})
    );
    assert_eq!(links(json!({"project_id": 3}))["project"], link("projects", 3));
    let named = made(json!({"variables": {"projectId": "Договоры"}}));
    assert_eq!((&named.links["project"], named.warnings.len()), (&link("projects", 9), 1));
    assert!(!made_with(json!({}), &[]).links.contains_key("project"));
    let milestone = made(json!({"topic": "op_create_milestone", "variables": {"typeId": 4}}));
    assert_eq!(milestone.links["type"], link("types", 2));
}

#[test]
fn dates_are_days_and_a_milestone_has_one() {
    let dates = |topic: &str, variables: Value| {
        let body = made(json!({"topic": topic, "variables": variables})).body();
        (body["startDate"].clone(), body["dueDate"].clone())
    };
    let given = json!({"start_date": "2026-11-20", "deadline": "2026-11-23T23:30:00+03:00"});
    assert_eq!(dates("op_create_task", given.clone()), ("2026-11-20".into(), "2026-11-23".into()));
    assert_eq!(dates("op_create_milestone", given), ("2026-11-23".into(), "2026-11-23".into()));
    let late = json!({"start_date": "2026-11-24", "due_date": "2026-11-23"});
    assert_eq!(dates("op_create_task", late), (Value::Null, "2026-11-23".into()));
    assert_eq!(dates("op_create_task", json!({"deadline": "tomorrow"})), (Value::Null, Value::Null));
}

#[test]
fn the_one_whom_the_message_names_is_what_the_setting_says() {
    let message = || json!({"metadata": {"extensionProperties": {"assigneeId": "17"}}});
    for (assign, names) in
        [("assignee", &["assignee"][..]), ("responsible", &["responsible"]), ("both", &["assignee", "responsible"])]
    {
        let links = made_with(message(), &[("OPENPROJECT_ASSIGN", assign)]).links;
        let linked: Vec<&str> =
            ["assignee", "responsible"].into_iter().filter(|name| links.contains_key(*name)).collect();
        assert_eq!((linked, &links[names[0]]), (names.to_vec(), &link("users", 17)));
    }
    let nobody = json!({"metadata": {"extensionProperties": {"assigneeId": "boss"}}});
    let default = made_with(nobody, &[("OPENPROJECT_DEFAULT_ASSIGNEE", "5")]);
    assert_eq!((&default.links["assignee"], default.warnings.len()), (&link("users", 5), 1));
}

#[test]
fn a_priority_is_a_number_of_openproject_or_a_word_with_one() {
    let priority = |variables: Value| {
        let made = made_with(json!({ "variables": variables }), &[("OPENPROJECT_PRIORITIES", "low=7,high=9")]);
        (made.links.get("priority").cloned().unwrap_or_default(), made.warnings.len())
    };
    for (given, expected) in [
        (json!({"priorityId": "8", "priority": "high"}), (link("priorities", 8), 0)),
        (json!({"priority": "HIGH"}), (link("priorities", 9), 0)),
        (json!({"urgency": 0}), (link("priorities", 7), 0)),
        (json!({"priority": "7"}), (link("priorities", 9), 0)),
        (json!({"priority": "normal"}), (Value::Null, 1)),
        (json!({"priority": "yesterday"}), (Value::Null, 1)),
    ] {
        assert_eq!(priority(given.clone()), expected, "{given}");
    }
}

#[test]
fn custom_fields_are_named_as_people_or_the_interface_name_them() {
    let field = |kind: &str, name: &str| json!({"type": kind, "name": name});
    let option = json!({"value": "Срочно", "_links": {"self": {"href": "/api/v3/custom_options/31"}}});
    let mut list = field("[]CustomOption", "Метки");
    list["_embedded"] = json!({"allowedValues": [option]});
    let form = json!({"_embedded": {"schema": {
        "customField9": field("String", "Номер договора"), "customField10": field("Float", "Сумма"),
        "customField11": list, "customField12": field("Formattable", "Заметка"), "subject": field("String", "Тема"),
        "customField13": field("Boolean", "Срочно?"), "customField14": field("User", "Юрист"),
    }}});
    let properties = json!({
        "номер договора": "А-7", "customField10": "1,5", "Метки": "Срочно, 32", "Заметка": "*да*", "Срочно?": "да",
        "Юрист": 17, "Тема": "не поле", "assigneeName": "Юрист", "UF_OTHER": "x",
    });
    let message = task(json!({"metadata": {"extensionProperties": properties}}));
    assert!(custom::needs_schema(&message));
    let body = fields(&message, &settings(&[]), Some(&Schema::read(&form))).body();
    assert_eq!((&body["customField9"], &body["customField10"]), (&json!("А-7"), &json!(1.5)));
    assert_eq!((&body["customField12"]["raw"], &body["customField13"]), (&json!("*да*"), &json!(true)));
    let links = &body["_links"];
    assert_eq!(links["customField11"], json!([link("custom_options", 31), link("custom_options", 32)]));
    assert_eq!((&links["customField14"], body.get("UF_OTHER")), (&link("users", 17), None));
    let wrong = task(json!({"metadata": {"extensionProperties": {"Сумма": "много", "customField99": "7"}}}));
    let made = fields(&wrong, &settings(&[]), Some(&Schema::read(&form)));
    assert_eq!((made.members.get("customField10"), made.warnings.len()), (None, 2), "{:?}", made.warnings);
}

#[test]
fn nothing_in_a_message_replaces_the_marker() {
    let message = |topic: &str| json!({"topic": topic, "metadata": {"extensionProperties": {"customField7": "other"}}});
    assert_eq!(made(message("op_create_task")).members["customField7"], "task-1");
    assert_eq!(made(message("op_update_task")).members.get("customField7"), None);
}

#[test]
fn a_change_has_only_what_the_message_says() {
    let named = json!({"topic": "op_update_task", "metadata": {"activityInfo": {"name": "Этап"}}});
    assert_eq!(made_with(named, &[("OPENPROJECT_DEFAULT_ASSIGNEE", "5")]).body(), json!({}));
    let changed = json!({"topic": "op_update_task", "variables": {"title": "Новое", "statusId": 7}});
    assert_eq!(made(changed).body(), json!({"subject": "Новое", "_links": {"status": link("statuses", 7)}}));
}

#[test]
fn a_project_has_an_identifier_of_its_task_alone() {
    let body = made(json!({"topic": "op_create_project", "variables": {"name": "Склад", "parentProjectId": 2}})).body();
    let expected = json!({"name": "Склад", "identifier": "camunda-task-1", "_links": {"parent": link("projects", 2)}});
    assert_eq!(body, expected);
    assert_eq!(identifier("Ёa_1").as_deref(), Some("camunda-_d0_81a_5f1"));
    assert_ne!(identifier("A"), identifier("a"));
    assert_eq!(identifier(&"x".repeat(93)), None);
}

#[test]
fn what_is_refused_gives_way_to_the_default_and_then_to_nothing() {
    let settings = settings(&[("OPENPROJECT_DEFAULT_ASSIGNEE", "5"), ("OPENPROJECT_DEFAULT_PROJECT", "2")]);
    let message = json!({"variables": {"parentTaskId": 7}, "metadata": {"extensionProperties": {"assigneeId": "17"}}});
    let body = fields(&task(message), &settings, None).body();
    let blame = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let both = links::concession(&body, &blame(&["assignee", "parent"]), &settings).expect("both can be left out");
    assert_eq!((&both["_links"]["assignee"], both["_links"].get("parent")), (&link("users", 5), None));
    let none = links::concession(&both, &blame(&["assignee"]), &settings).expect("the default is refused too");
    assert_eq!(none["_links"].get("assignee"), None);
    for names in [&["assignee"][..], &["project"], &["subject"], &["parent", "subject"], &[]] {
        assert_eq!(links::concession(&none, &blame(names), &settings), None, "{names:?}");
    }
}
