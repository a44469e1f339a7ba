//! Each row of the table in the folder's README.

use serde_json::{Value, json};

use super::*;
use crate::settings::{Variables, right};

fn settings(given: &[(&str, &str)]) -> Settings {
    let from = ("EMAIL_FROM", "Camunda <camunda@firma.example>");
    let value = |wanted: &str| {
        let given = given.iter().chain([&from]).find(|(name, _)| *name == wanted);
        given.map(|(_, value)| (*value).to_owned())
    };
    right(Variables::read(value, Settings::without_server)).expect("they are right")
}

fn task(variables: Value, extensions: Value) -> Task {
    let message = json!({
        "task_id": "task-1",
        "variables": variables,
        "metadata": {"activityInfo": {"name": "Известить"}, "extensionProperties": extensions},
    });
    Task::parse(message.to_string().into_bytes()).expect("a task")
}

fn made(variables: Value) -> Mail {
    mail(&task(variables, json!({})), &settings(&[]))
}

#[test]
fn recipients_are_a_list_in_any_form_each_once() {
    let mail = made(
        json!({"to": "Анна <a@x.example>, b@x.example", "cc": ["b@x.example", "c@x.example"], "bcc": "d@x.example"}),
    );
    assert_eq!(mail.recipients(), ["a@x.example", "b@x.example", "c@x.example", "d@x.example"]);
    assert_eq!((mail.refused, mail.left_out.len()), (None, 0));
    let in_extension = super::mail(&task(json!({"to": null}), json!({"to": "e@x.example"})), &settings(&[]));
    assert_eq!(in_extension.recipients(), ["e@x.example"]);
}

#[test]
fn who_may_not_get_mail_or_has_no_address_is_left_out_and_told() {
    let allowed = settings(&[("EMAIL_ALLOWED_DOMAINS", "Firma.example, портал.example")]);
    let to = json!({"to": "a@firma.example, b@elsewhere.example, c@портал.example, Иван"});
    let mail = super::mail(&task(to, json!({})), &allowed);
    assert_eq!(mail.recipients(), ["a@firma.example", "c@xn--80awhdgm.example"]);
    assert_eq!(mail.left_out[0], ("b@elsewhere.example".into(), "its domain is not in EMAIL_ALLOWED_DOMAINS".into()));
    assert_eq!(mail.left_out[1].0, "Иван");
    let nobody = super::mail(&task(json!({"to": "b@elsewhere.example"}), json!({})), &allowed);
    assert!(nobody.refused.is_some_and(|why| why.contains("b@elsewhere.example: its domain is not in")));
}

#[test]
fn whoever_cannot_get_answers_is_no_recipient_who_was_left_out() {
    let mail = made(json!({"to": "a@x.example", "reply_to": "Иван"}));
    assert!(mail.left_out.is_empty() && mail.reply_to.is_none(), "{mail:?}");
    assert_eq!(mail.warnings.len(), 1);
}

#[test]
fn what_can_never_be_sent_is_refused() {
    let refused = |variables: Value| made(variables).refused.unwrap_or_default();
    assert_eq!(refused(json!({})), "no recipient: variables.to names nobody");
    assert!(
        refused(json!({"to": "a@x.example", "subject": "a\r\nBcc: b@x.example"}))
            .contains("the subject has a line break or a NUL")
    );
    assert!(refused(json!({"to": "a@x.example\r\nRCPT TO:<b@x.example>"})).contains("no recipient"));
    let many: Vec<String> = (0..=MOST_RECIPIENTS).map(|number| format!("a{number}@x.example")).collect();
    assert!(refused(json!({"to": many})).contains("101 recipients"));
    let asks = super::mail(&task(json!({"to": "a@x.example"}), json!({"UF_RESULT_EXPECTED": "да"})), &settings(&[]));
    assert!(asks.refused.is_some_and(|why| why.contains("expects an answer")));
}

#[test]
fn subject_and_text_fall_back_to_what_the_process_calls_it() {
    let mail = made(json!({"to": "a@x.example"}));
    assert_eq!((mail.subject.as_str(), mail.text.as_deref()), ("Известить", Some("Известить")));
    let mail = made(json!({"to": "a@x.example", "subject": "я".repeat(300), "html": "<b>x</b>"}));
    assert_eq!((mail.subject.chars().count(), mail.text, mail.warnings.len()), (251, None, 1));
    let mail = made(json!({"to": "a@x.example", "body": "Т", "description_additional": {"a": 1}}));
    assert_eq!(mail.text.as_deref(), Some("Т\n{\"a\":1}"));
}

#[test]
fn the_message_id_is_the_same_in_every_try_and_may_stand_in_a_header() {
    assert_eq!(made(json!({"to": "a@x.example"})).message_id, "task-1@firma.example");
    for id in ["a b>", "я", &"x".repeat(200)] {
        let part = id_part(id);
        assert!(part.len() == 16 && part == id_part(id) && part.bytes().all(|byte| byte.is_ascii_hexdigit()), "{part}");
    }
}
