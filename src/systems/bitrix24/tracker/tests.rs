//! Which rows finish a task, and what the response shows then. Tests with a portal are in `tests/suite/tracker.rs`.

use serde_json::json;

use super::super::tests::settings;
use super::*;
use crate::message::sent_record;
use crate::stop;
use crate::tls::RootCertificates;

/// `None` while the task is open, the reason while its answer is missing, else the task in the response.
fn progress(variables: &[(&str, &str)], message: Value, row: Value) -> Option<Result<Value, String>> {
    let unreachable =
        [("BITRIX_WEBHOOK_URL", "http://127.0.0.1:1/rest/1/token"), ("BITRIX_ANSWER_TEXTS", "26=ДА,27=НЕТ")];
    let settings = settings(&[&unreachable, variables].concat());
    let client = Arc::new(Client::new(&settings, &RootCertificates::public(), 4, &stop::signal().1));
    let mut message = message;
    message["task_id"] = "task-1".into();
    let task = crate::message::Task::parse(message.to_string().into_bytes()).expect("a task");
    let record =
        Record::parse(sent_record(&task, "q", json!({"result": {"task": {"id": "7"}}}), None)).expect("a record");
    match BitrixTracker::new(settings, client).progress(&record, &row) {
        Progress::Open => None,
        Progress::Waiting(why) => Some(Err(why)),
        Progress::Finished(mut response) => Some(Ok(response["result"]["task"].take())),
        other => panic!("{other:?} is no progress"),
    }
}

fn of_row(row: Value) -> Option<Result<Value, String>> {
    progress(&[], json!({}), row)
}

/// Why a row with these markers is foreign: a task whose message has this id, in a record with or without a host.
fn another(field: &str, id: &str, host: Option<&str>, row: Value) -> Option<&'static str> {
    let settings = settings(&[("BITRIX_TASK_ID_FIELD", field)]);
    let client = Arc::new(Client::new(&settings, &RootCertificates::public(), 4, &stop::signal().1));
    let task = crate::message::Task::parse(json!({"task_id": id}).to_string().into_bytes()).expect("a task");
    let record = Record::parse(sent_record(&task, "q", json!({}), host)).expect("a record");
    BitrixTracker::new(settings, client).another(&record, &row)
}

#[test]
fn a_row_is_the_records_own_by_either_marker_and_by_nothing_else() {
    let (field, own) = ("UF_CAMUNDA_ID_EXTERNAL_TASK", "ufCamundaIdExternalTask");
    let here = Some("bitrix.example");
    for (host, row) in [
        (here, json!({"id": "7", own: "task-1", "xmlId": "task-1"})),
        (here, json!({"id": "7", own: "task-1", "xmlId": "somebody's own"})),
        (None, json!({"id": "7", own: "task-1", "xmlId": null})),
        (None, json!({"id": "7", own: null, "xmlId": "task-1"})),
    ] {
        assert_eq!(another(field, "task-1", host, row.clone()), None, "{row}");
    }
    for (row, why) in [
        (json!({"id": "7", own: "task-2", "xmlId": "task-2"}), "has another message's marker"),
        (json!({"id": "7", own: null, "xmlId": "task-2"}), "has another message's marker"),
        (json!({"id": "7", own: "TASK-1", "xmlId": ""}), "has another message's marker"),
        (json!({"id": "7", own: "", "xmlId": false}), "has no marker"),
        (json!({"id": "7", own: null, "xmlId": null}), "has no marker"),
        (json!({"id": "7"}), "has no marker"),
    ] {
        assert_eq!(another(field, "task-1", None, row.clone()), Some(why), "{row}");
    }
}

#[test]
fn where_no_marker_was_written_none_is_expected() {
    let (unmarked, long) = (json!({"id": "7", "xmlId": null}), "x".repeat(51));
    let here = Some("bitrix.example");
    for field in ["none", "XML_ID"] {
        assert_eq!(another(field, "task-1", here, unmarked.clone()), Some("has no marker"));
        assert_eq!(another(field, "task-1", None, unmarked.clone()), None, "the Python worker's");
        assert_eq!(another(field, &long, here, unmarked.clone()), None);
        let foreign = json!({"id": "7", "xmlId": "task-2"});
        assert_eq!(another(field, &long, here, foreign), Some("has another message's marker"));
    }
}

#[test]
fn only_4_and_5_finish_a_task() {
    for open in
        [json!("1"), json!("2"), json!(3), json!("6"), json!("7"), json!(null), json!(""), json!("-1"), json!("55")]
    {
        assert_eq!(of_row(json!({"id": "7", "status": open})), None, "{open}");
    }
    for finished in [json!("4"), json!("5"), json!(4), json!(5)] {
        assert!(matches!(of_row(json!({"id": "7", "status": finished})), Some(Ok(_))), "{finished}");
    }
    assert_eq!(of_row(json!({"id": "7"})), None);
}

#[test]
fn the_states_are_a_setting() {
    let only_7 = [("BITRIX_COMPLETED_STATUSES", "7")];
    assert_eq!(progress(&only_7, json!({}), json!({"status": "5"})), None);
    assert!(matches!(progress(&only_7, json!({}), json!({"status": "7"})), Some(Ok(_))));
}

#[test]
fn the_substatus_never_decides() {
    assert_eq!(of_row(json!({"status": "2", "subStatus": "5"})), None);
    assert!(matches!(of_row(json!({"subStatus": "-1", "status": "5"})), Some(Ok(_))));
}

#[test]
fn a_task_that_expects_no_result_goes_out_with_0_and_an_empty_text() {
    for not_expected in [json!("0"), json!("N"), json!(false), json!(0), json!(""), json!([]), json!("on")] {
        let row =
            json!({"id": "7", "status": "5", "title": "x", "ufResultExpected": not_expected, "ufResultAnswer": false});
        let task = of_row(row).expect("finished").expect("nothing is missing");
        assert_eq!(
            (&task["ufResultExpected"], &task["ufResultAnswer_text"]),
            (&json!("0"), &json!("")),
            "{not_expected}"
        );
        assert_eq!((&task["id"], &task["title"]), (&json!("7"), &json!("x")));
    }
}

#[test]
fn a_task_that_expects_a_result_goes_out_with_the_text_1_and_the_text_of_its_answer() {
    for expected in [json!("1"), json!("Y"), json!(true), json!(1), json!("true"), json!("да")] {
        for (stored, text) in [(json!("26"), "ДА"), (json!(27), "НЕТ"), (json!(["26"]), "ДА"), (json!(" ДА "), "ДА")]
        {
            let row = json!({"id": "7", "status": "4", "ufResultExpected": expected, "ufResultAnswer": stored});
            let task = of_row(row).expect("finished").expect("nothing is missing");
            assert_eq!(
                (&task["ufResultExpected"], &task["ufResultAnswer_text"]),
                (&json!("1"), &json!(text)),
                "{expected}"
            );
        }
    }
}

#[test]
fn a_task_waits_for_a_missing_answer_or_it_counts_as_no() {
    for missing in [json!(null), json!(false), json!(""), json!("0"), json!(0), json!([]), json!([false]), json!({})] {
        let row = json!({"status": "5", "ufResultExpected": "1", "ufResultAnswer": missing});
        assert_eq!(of_row(row.clone()), Some(Err("nobody has answered yet".into())), "{missing}");
        let task = progress(&[("BITRIX_MISSING_ANSWER", "no")], json!({}), row).expect("finished").expect("answered");
        assert_eq!((&task["ufResultExpected"], &task["ufResultAnswer_text"]), (&json!("1"), &json!("НЕТ")));
    }
    let row = json!({"status": "5", "ufResultExpected": "1"});
    assert!(matches!(of_row(row), Some(Err(_))));
}

#[test]
fn a_task_waits_for_an_unknown_text_even_where_a_missing_answer_counts_as_no() {
    let row = json!({"status": "5", "ufResultExpected": "1", "ufResultAnswer": "28"});
    for setting in ["wait", "no"] {
        let waits = progress(&[("BITRIX_MISSING_ANSWER", setting)], json!({}), row.clone());
        assert!(matches!(&waits, Some(Err(why)) if why.contains("the text of answer 28 is not known")), "{waits:?}");
    }
}

#[test]
fn the_message_says_whether_an_answer_is_expected_when_the_portal_does_not() {
    let message = json!({"metadata": {"extensionProperties": {"UF_RESULT_EXPECTED": "true"}}});
    let row = |expected: Value| json!({"status": "5", "ufResultExpected": expected});
    // A portal that has never written the custom fields may show any of these.
    for silent in [json!({"status": "5"}), row(Value::Null), row(false.into()), row("".into())] {
        assert!(matches!(progress(&[], message.clone(), silent.clone()), Some(Err(_))), "{silent}");
        assert!(matches!(progress(&[], json!({}), silent), Some(Ok(task)) if task["ufResultExpected"] == "0"));
    }
    let denied = row("0".into());
    assert!(matches!(progress(&[], message, denied), Some(Ok(task)) if task["ufResultExpected"] == "0"));
}

#[test]
fn only_digits_are_an_id_at_the_portal() {
    let id = |reply: Value| {
        let body = json!({"original_message": {"task_id": "x"}, "response_data": reply}).to_string();
        target_id(&Record::parse(body.into_bytes()).expect("a record"))
    };
    for (key, value) in [("id", json!("12")), ("ID", json!(12)), ("id", json!(" 12 "))] {
        assert_eq!(id(json!({"result": {"task": {key: value}}})).as_deref(), Some("12"));
    }
    for wrong in
        [json!("12; x"), json!("-1"), json!("1.5"), json!(1.5), json!("١"), json!(""), json!(null), json!([12])]
    {
        assert_eq!(id(json!({"result": {"task": {"id": wrong}}})), None, "{wrong}");
    }
    for reply in [json!([]), json!({"result": []}), json!({"result": {"task": []}}), json!(null)] {
        assert_eq!(id(reply), None);
    }
}

#[test]
fn a_get_without_a_task_says_that_there_is_none() {
    assert_eq!(task_of(&json!({"result": []})), None);
    assert_eq!(task_of(&json!({"result": {"task": []}})), None);
    assert_eq!(task_of(&json!({"result": {"task": {"id": "1"}}})), Some(json!({"id": "1"})));
}
