//! `task-creator check`: all is well, one thing is wrong, nothing is changed. Tests of RabbitMQ are in `rabbitmq`.

mod rabbitmq;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::support::worker::settings;
use crate::support::*;
use serde_json::json;

const MARKER: &str = "UF_CAMUNDA_ID_EXTERNAL_TASK";
/// What `check` may call: methods that change nothing.
const LOOKING: &[&str] = &[
    "profile",
    "user.admin",
    "user.get",
    "method.get",
    "scope",
    "task.item.userfield.getlist",
    "tasks.task.list",
    "imena.camunda.userfield.list",
];

const DEFAULT_PASSWORD: &str = "warn  RabbitMQ: the password is the user's name or a default one";

/// A good portal, except for one method.
fn portal_but(tasks: &Tasks, method: &'static str, answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Portal {
    let tasks = tasks.clone();
    Portal::start(move |call| if call.method == method { answer(call) } else { tasks.answer(call) })
}

/// Runs `check` against healthy queues and this portal.
fn check_portal(portal: &Portal, changes: &[(&str, &str)]) -> Ended {
    run_with(&["check"], &Queues::new("check"), &portal.webhook(), changes)
}

/// The last line counts the lines above it.
#[track_caller]
fn assert_summed_up(ended: &Ended, failures: usize) {
    let told = |result: &str| ended.output.matches(&format!("\n{result}")).count();
    let (failed, warnings) = (told("FAIL "), told("warn "));
    let plural = if warnings == 1 { "" } else { "s" };
    assert_eq!(failed, failures, "{}", ended.output);
    assert!(ended.output.ends_with(&format!("\n{failures} failed, {warnings} warning{plural}\n")), "{}", ended.output);
}

#[test]
fn a_check_of_a_healthy_installation_is_all_green_and_changes_nothing() {
    let queues = Queues::new("all green");
    let tasks = Tasks::new();
    tasks.put("somebody's");
    let portal = Portal::of(&tasks);
    queues.publish_task(&field_text("waiting"));
    let ended = run_with(&["check"], &queues, &portal.webhook(), &[]);
    ended.ended_with(0).has_not("FAIL").has_not("canary");
    assert_summed_up(&ended, 0);
    ended
        .has("ok    settings: ")
        .has("ok    LOG_DIR=")
        .has("ok    RabbitMQ at ")
        .has(&format!("ok    {}: ready 1, consumers 0", queues.input()))
        .has(&format!("ok    {}: not there yet; the worker declares it", queues.sent()))
        .has("ok    bitrix24: http://127.0.0.1:")
        .has("/rest/1/*** acts for user 1 (Портал Тестовый), an administrator")
        .has("ok    bitrix24: methods tasks.task.add, tasks.task.list, task.checklistitem.add, task.checklistitem.getlist\n")
        .has("ok    bitrix24: the webhook has the right \"task\"")
        .has("ok    bitrix24: tasks can be found by UF_CAMUNDA_ID_EXTERNAL_TASK")
        .has("ok    bitrix24: looking up a task takes ")
        .has(" ms by UF_CAMUNDA_ID_EXTERNAL_TASK, ")
        .has(" ms by XML_ID\n")
        .has("ok    bitrix24: fields UF_RESULT_EXPECTED, UF_RESULT_QUESTION, UF_RESULT_ANSWER")
        .has("ok    bitrix24: answers 26=ДА,27=НЕТ")
        .has("off   openproject: ");
    assert!(queues.state(&queues.sent()).is_none() && queues.state(&queues.retry()).is_none());
    assert_eq!(queues.count(&queues.input()), 1);
    assert_eq!(tasks.markers(), ["somebody's"]);
    // Each command of a batch is a call.
    let looking = |call: &Call| LOOKING.contains(&&*call.method) || call.method == "batch";
    let foreign: Vec<Call> = portal.calls().into_iter().filter(|call| !looking(call)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
fn a_check_leaves_no_file_behind() {
    let queues = Queues::new("no file");
    let portal = Portal::of(&Tasks::new());
    let mut program = Worker::run(&["check"], &settings(&queues, &portal.webhook()));
    assert_eq!(program.wait(PATIENCE).code(), Some(0));
    let files: Vec<_> = fs::read_dir(program.folder()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["output"], "the tests' own file and nothing else");
}

#[test]
fn a_wrong_webhook_fails_and_the_queues_are_still_checked() {
    let refuse = |_: &Request| {
        let error = json!({"error": "INVALID_CREDENTIALS", "error_description": "Invalid request credentials"});
        Some(Reply::Json(401, error))
    };
    let tasks = Tasks::new();
    let portal = Portal::behind(refuse, move |call| tasks.answer(call));
    let ended = check_portal(&portal, &[]);
    ended.ended_with(1).has("profile: http status 401: INVALID_CREDENTIALS").has("; correct BITRIX_WEBHOOK_URL");
    ended.has("bitrix24.queue: ready 0").has_not("canary");
    assert_eq!(portal.calls().len(), 1, "the rest needs the webhook");
}

#[test]
fn a_portal_with_an_international_name_is_reached() {
    let portal = Portal::of(&Tasks::new());
    // Wide letters, of which punycode makes plain ones.
    let webhook = portal.webhook().replace("127.0.0.1", "ｌｏｃａｌｈｏｓｔ");
    run_with(&["check"], &Queues::new("international"), &webhook, &[])
        .ended_with(0)
        .has("ok    bitrix24: http://localhost:");
}

#[test]
fn a_portal_that_does_not_answer_is_waited_for_once() {
    let tasks = Tasks::new();
    let portal = portal_but(&tasks, "method.get", |_| Answer::Http(Reply::Hang));
    let ended = check_portal(&portal, &[("BITRIX_REQUEST_TIMEOUT", "0.5")]);
    ended.ended_with(1).has("FAIL  bitrix24: ").has("method.get: no complete answer in time; look at the portal");
    assert_eq!(portal.count("method.get"), 1);
}

#[test]
fn a_marker_that_cannot_be_searched_fails() {
    let row = json!({"tasks": [{"id": "7", "ufCamundaIdExternalTask": "somebody's"}]});
    let portal = portal_but(&Tasks::new(), "tasks.task.list", move |_| Answer::Done(row.clone()));
    let ended = check_portal(&portal, &[]);
    ended.ended_with(1).has("FAIL  bitrix24: the portal cannot search tasks by UF_CAMUNDA_ID_EXTERNAL_TASK");
}

#[test]
fn a_missing_marker_field_fails_until_it_is_made() {
    let queues = Queues::new("create field");
    let tasks = Tasks::new();
    tasks.put("somebody's");
    tasks.forget_field(MARKER);
    let portal = Portal::of(&tasks);
    let missing = run_with(&["check"], &queues, &portal.webhook(), &[]);
    missing.ended_with(1).has(&format!("FAIL  bitrix24: tasks have no field {MARKER}: make it with"));
    assert_eq!(portal.count("task.item.userfield.add"), 0);

    let making = || run_with(&["check", "--create-field"], &queues, &portal.webhook(), &[]);
    making()
        .ended_with(0)
        .has(&format!("made  bitrix24: the field {MARKER}"))
        .has("ok    bitrix24: tasks can be found");
    making().ended_with(0).has_not("made");
    let made = portal.await_call("task.item.userfield.add", 1, Duration::ZERO).params;
    assert_eq!(made["PARAMS"]["FIELD_NAME"], MARKER);
    assert_eq!(made["PARAMS"]["USER_TYPE_ID"], "string");
    assert!(made["PARAMS"]["EDIT_FORM_LABEL"]["ru"].is_string());
    assert_eq!(portal.count("task.item.userfield.add"), 1);
    assert_eq!(tasks.markers().len(), 1);
}

#[test]
fn a_field_that_may_not_be_made_fails_and_says_who_may() {
    let tasks = Tasks::new();
    tasks.forget_field(MARKER);
    let refused = |_: &Call| Answer::refused(400, "ERROR_CORE", "Доступ запрещён<br>");
    let portal = portal_but(&tasks, "task.item.userfield.add", refused);
    let ended = run_with(&["check", "--create-field"], &Queues::new("refused field"), &portal.webhook(), &[]);
    ended.ended_with(1).has("cannot be made: task.item.userfield.add: http status 400").has("of an administrator");
}

#[test]
fn missing_rights_and_methods_fail() {
    let tasks = Tasks::new();
    let no_scope = portal_but(&tasks, "scope", |_| Answer::Done(json!(["crm", "user"])));
    check_portal(&no_scope, &[]).ended_with(1).has("FAIL  bitrix24: the webhook lacks the right \"task\"");
    for method in ["tasks.task.add", "task.checklistitem.getlist"] {
        for (available, told) in [(false, "has no method"), (true, "may not call")] {
            let portal = portal_but(&tasks, "method.get", move |call| {
                let known = call.params["name"] != method;
                Answer::Done(json!({"isExisting": known || available, "isAvailable": known}))
            });
            let ended = check_portal(&portal, &[]);
            ended.ended_with(1).has("FAIL  bitrix24: the ").has(&format!("{told} {method}"));
        }
    }
}

/// The portal ignores a filter whose value is a list, and `check` still sees whether a field is there.
#[test]
fn the_fields_are_compared_by_the_worker_and_not_by_the_portal() {
    let rows = json!([
        {"FIELD_NAME": "UF_OTHER", "USER_TYPE_ID": "string", "MANDATORY": "N"},
        {"FIELD_NAME": "UF_RESULT_EXPECTED", "USER_TYPE_ID": "boolean", "MANDATORY": "N"},
    ]);
    let portal = portal_but(&Tasks::new(), "task.item.userfield.getlist", move |_| Answer::Done(rows.clone()));
    let ended = check_portal(&portal, &[]);
    ended.ended_with(1).has(&format!("FAIL  bitrix24: tasks have no field {MARKER}"));
    ended.has("warn  bitrix24: tasks have no field UF_RESULT_ANSWER").has_not("no field UF_RESULT_EXPECTED");
    let asked = portal.calls().into_iter().filter(|call| call.method == "task.item.userfield.getlist");
    let filters: Vec<_> = asked.map(|call| call.params["FILTER"].clone()).collect();
    assert_eq!(filters, [json!({})]);
}

#[test]
fn user_admin_is_asked_when_the_profile_does_not_say_who_is_an_administrator() {
    for (answer, told) in [
        (Answer::Done(json!(true)), "ok    bitrix24: http://"),
        (Answer::Done(json!(false)), "(Портал), no administrator: "),
        (Answer::refused(403, "insufficient_scope", "no"), "is that an administrator, as it should be? user.admin: "),
    ] {
        let tasks = Tasks::new();
        let portal = Portal::start(move |call| match call.method.as_str() {
            "profile" => Answer::Done(json!({"ID": "1", "NAME": "Портал", "LAST_NAME": null})),
            "user.admin" => answer.clone(),
            _ => tasks.answer(call),
        });
        check_portal(&portal, &[]).ended_with(0).has("acts for user 1 (Портал)").has(told);
        assert_eq!(portal.count("user.admin"), 1);
    }
}

#[test]
fn a_default_responsible_who_does_not_exist_fails_and_a_webhook_that_may_not_look_does_not() {
    let tasks = Tasks::new();
    let user = |id: &str, active: bool| json!({"ID": id, "ACTIVE": active});
    let check_with = |code: i32, default: Answer, owner: Answer| {
        let portal = portal_but(&tasks, "user.get", move |call| match call.params["ID"].as_str() {
            Some("9") => default.clone(),
            _ => owner.clone(),
        });
        let ended = check_portal(&portal, &[("BITRIX_DEFAULT_RESPONSIBLE_ID", "9")]);
        ended.ended_with(code);
        (ended, portal.count("user.get"))
    };
    let check = |default: Answer, owner: Answer| check_with(0, default, owner);
    let one = |user| Answer::Done(json!([user]));
    let (ended, _) = check(one(user("9", true)), one(user("1", true)));
    ended.has("ok    bitrix24: user 9 (BITRIX_DEFAULT_RESPONSIBLE_ID) is active\n");
    ended.has("ok    bitrix24: user 1 (the webhook's owner) is active\n");
    let (ended, _) = check(one(user("9", false)), one(user("1", false)));
    ended.has("warn  bitrix24: user 9 (BITRIX_DEFAULT_RESPONSIBLE_ID) is dismissed: the portal takes tasks for");
    ended.has("warn  bitrix24: user 1 (the webhook's owner) is dismissed: the portal may refuse this webhook");
    let (ended, _) = check_with(1, Answer::Done(json!([])), one(user("1", true)));
    ended.has("FAIL  bitrix24: the portal has no user 9 (BITRIX_DEFAULT_RESPONSIBLE_ID), or does not show it");
    for untold in [
        Answer::refused(401, "insufficient_scope", "The request requires higher privileges"),
        Answer::refused(403, "ACCESS_DENIED", "Access denied"),
        Answer::refused(404, "ERROR_METHOD_NOT_FOUND", "Method not found!"),
        one(user("8", true)),
        one(json!({"ID": "9"})),
    ] {
        let (ended, asked) = check(untold, one(user("1", true)));
        ended.has(
            "off   bitrix24: is user 9 (BITRIX_DEFAULT_RESPONSIBLE_ID) active? This could not be checked: user.get: ",
        );
        ended.has_not("dismissed").has_not("FAIL");
        assert_eq!(asked, 1, "{}", ended.output);
    }
}

#[test]
fn slow_look_ups_are_measured_and_the_statements_that_make_them_fast_are_told() {
    let statements = |ended: &Ended| {
        let (marker, xml_id) = ("ix_task_creator_marker", "ix_task_creator_xml_id");
        ended.has(&format!("in brackets): CREATE INDEX {marker} ON b_uts_tasks_task ({MARKER}(50));\n"));
        ended.has(&format!("in brackets): CREATE INDEX {xml_id} ON b_tasks (XML_ID);\n"));
    };
    let tasks = Tasks::new();
    tasks.put("somebody's");
    let slow = |says: serde_json::Value| {
        let tasks = tasks.clone();
        portal_but(&tasks.clone(), "tasks.task.list", move |call| {
            if call.params["filter"]["XML_ID"].is_null() || call.batched {
                return tasks.answer(call);
            }
            // More than 30 bytes, so more than a second.
            Answer::Http(Reply::Drip(json!({"result": {"tasks": []}, "time": says}), Duration::from_millis(35)))
        })
    };
    let ended = check_portal(&slow(json!([])), &[]);
    statements(ended.ended_with(0).has("warn  bitrix24: looking up a task takes ").has("reads its whole table"));
    // It was not the portal that took so long.
    check_portal(&slow(json!({"duration": 0.1})), &[]).ended_with(0).has("100 ms by XML_ID\n").has_not("INDEX");
    // So slow that no answer comes in time.
    let hanging = portal_but(&tasks, "tasks.task.list", |_| Answer::Http(Reply::Hang));
    let ended = check_portal(&hanging, &[("BITRIX_REQUEST_TIMEOUT", "1.1")]);
    statements(ended.ended_with(1).has(": no complete answer in time"));
}

#[test]
fn a_second_marker_that_cannot_be_searched_is_a_warning() {
    let tasks = Tasks::new();
    let row = json!({"tasks": [{"id": "7", "xmlId": "somebody's"}]});
    let portal = portal_but(&tasks.clone(), "tasks.task.list", move |call| match &call.params["filter"]["XML_ID"] {
        serde_json::Value::Null => tasks.answer(call),
        _ => Answer::Done(row.clone()),
    });
    check_portal(&portal, &[]).ended_with(0).has("warn  bitrix24: the portal cannot search tasks by XML_ID, so ");
}

#[test]
fn what_costs_no_task_is_a_warning() {
    let tasks = Tasks::new();
    let field = |name: &str, mandatory: &str| json!({"FIELD_NAME": name, "USER_TYPE_ID": "string", "MULTIPLE": "N", "MANDATORY": mandatory});
    let rows = json!([field(MARKER, "Y"), field("UF_RESULT_EXPECTED", "N"), field("UF_DEPARTMENT", "Y")]);
    let portal = Portal::start(move |call| match call.method.as_str() {
        "profile" => Answer::Done(json!({"ID": "9", "ADMIN": false, "NAME": "Иван", "LAST_NAME": ""})),
        "task.item.userfield.getlist" => Answer::Done(rows.clone()),
        "imena.camunda.userfield.list" => Answer::refused(404, "ERROR_METHOD_NOT_FOUND", "Method not found!"),
        "method.get" => {
            let known = !call.params["name"].as_str().is_some_and(|name| name.starts_with("imena."));
            Answer::Done(json!({"isExisting": known, "isAvailable": known}))
        }
        _ => tasks.answer(call),
    });
    let ended = check_portal(&portal, &[("RABBITMQ_HEARTBEAT", "600")]);
    ended.ended_with(0).has_not("FAIL");
    for warning in [
        "RABBITMQ_HEARTBEAT=600: a dead connection is noticed after minutes",
        "acts for user 9 (Иван), no administrator: a task that the user may not see is created and answered with nothing",
        "make the user an administrator",
        "the webhook has no method imena.camunda.sync: ",
        "the webhook has no method imena.camunda.userfield.list: ",
        "tasks have no field UF_RESULT_QUESTION",
        "tasks have no field UF_RESULT_ANSWER",
        "the field UF_DEPARTMENT is mandatory at the portal",
        "the texts of the answers are not known",
    ] {
        ended.has(warning);
    }
    ended.has_not("UF_CAMUNDA_ID_EXTERNAL_TASK is mandatory");
    let told = check_portal(&portal, &[("BITRIX_ANSWER_TEXTS", "1=ДА,2=НЕТ"), ("BITRIX_TASK_ID_FIELD", "none")]);
    told.ended_with(0).has("ok    bitrix24: answers 1=ДА,2=НЕТ (BITRIX_ANSWER_TEXTS)");
    told.has("warn  bitrix24: BITRIX_TASK_ID_FIELD=none: tasks are not looked up");
    let no_yes = check_portal(&portal, &[("BITRIX_ANSWER_TEXTS", "1=Yes,2=No")]);
    no_yes.ended_with(0).has("warn  bitrix24: no answer of 1=Yes,2=No (BITRIX_ANSWER_TEXTS) is ДА");
}

#[test]
fn answer_texts_that_the_portal_contradicts_fail() {
    let portal = Portal::of(&Tasks::new());
    // The portal says 26=ДА,27=НЕТ.
    for (texts, told) in [
        ("26=НЕТ,27=ДА", "FAIL  bitrix24: 26=НЕТ in BITRIX_ANSWER_TEXTS: the portal says ДА; correct or remove it"),
        ("1=ДА,27=НЕТ", "FAIL  bitrix24: 1=ДА in BITRIX_ANSWER_TEXTS: the portal has no such answer"),
    ] {
        check_portal(&portal, &[("BITRIX_ANSWER_TEXTS", texts)]).ended_with(1).has(told);
    }
    check_portal(&portal, &[("BITRIX_ANSWER_TEXTS", "26=ДА,27=НЕТ")])
        .ended_with(0)
        .has("ok    bitrix24: answers 26=ДА");
    let swapped = check_portal(&portal, &[("BITRIX_ANSWER_TEXTS", "ДА=26")]);
    swapped.ended_with(78).has("BITRIX_ANSWER_TEXTS is \"ДА=26\", in which \"ДА\" stands for an id");
}

#[test]
fn what_travels_in_the_clear_and_what_others_can_read_is_warned_about() {
    let queues = Queues::new("unsafe");
    let webhook = "http://portal.invalid:8080/rest/1/canary-token";
    let changes = [("RABBITMQ_HOST", "rabbit.invalid"), ("RABBITMQ_USERNAME", "root"), ("RABBITMQ_PASSWORD", "root")];
    let mut program = Worker::run(&["check"], &changed(&queues, webhook, &changes));
    program.wait(PATIENCE);
    let env = program.folder().join(".env");
    fs::write(&env, "BITRIX_DEFAULT_PRIORITY=2\n").unwrap();
    fs::set_permissions(&env, fs::Permissions::from_mode(0o644)).unwrap();
    program.start_again();
    let ended = Ended { code: program.wait(PATIENCE).code(), output: program.output() };
    ended.ended_with(1).has("warn  .env can be read by others; advised: chmod 600 .env");
    ended.has("unencrypted; advised: RABBITMQ_TLS=true").has(DEFAULT_PASSWORD);
    ended
        .has("all tasks travel to portal.invalid unencrypted")
        .has("the host's name does not resolve")
        .has_not("canary");
    assert_eq!(ended.output.matches(".env can be read").count(), 1);
}

#[test]
fn a_default_password_is_warned_about_and_a_connection_that_stays_here_is_not() {
    let queues = Queues::new("defaults");
    let webhook = "http://localhost:1/rest/1/canary-token";
    for password in ["guest", "change me"] {
        let changes = [("RABBITMQ_HOST", "::1"), ("RABBITMQ_USERNAME", "worker"), ("RABBITMQ_PASSWORD", password)];
        let ended = run_with(&["check"], &queues, webhook, &changes);
        ended.ended_with(1).has(DEFAULT_PASSWORD).has_not("unencrypted");
        assert_summed_up(&ended, 2);
    }
    let changes = [("RABBITMQ_HOST", "127.0.0.2"), ("RABBITMQ_PASSWORD", "one of its own")];
    let ended = run_with(&["check"], &queues, "http://[::1]:1/rest/1/canary-token", &changes);
    ended.ended_with(1).has_not(DEFAULT_PASSWORD).has_not("unencrypted");
}

#[test]
fn without_a_webhook_bitrix24_is_off() {
    let queues = Queues::new("off");
    let ended = run_with(&["check"], &queues, "", &[]);
    ended.ended_with(0).has("off   bitrix24: BITRIX_WEBHOOK_URL is not set").has_not("bitrix24.queue");
}
