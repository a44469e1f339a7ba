//! The `BITRIX_…` settings, and settings for the other tests of this folder.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::settings::{SettingsErrors, right};
use crate::systems::question::MissingAnswer;

/// Settings as if these variables were set, and only what is required besides.
pub fn settings(variables: &[(&str, &str)]) -> Settings {
    read(variables).expect("right settings").expect("the webhook is set")
}

fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsErrors> {
    let needed = [("BITRIX_WEBHOOK_URL", "https://bitrix.example/rest/1/canary-token")];
    let all: BTreeMap<&str, &str> = needed.into_iter().chain(variables.iter().copied()).collect();
    right(Variables::read(|name| all.get(name).map(|value| value.to_string()), Settings::from_variables))
}

fn error(name: &str, value: &str) -> String {
    let errors = read(&[(name, value)]).expect_err("an error").0;
    assert_eq!(errors.len(), 1, "{name}={value}: {errors:?}");
    errors[0].clone()
}

#[test]
fn without_a_webhook_the_system_is_off() {
    assert!(read(&[("BITRIX_WEBHOOK_URL", " ")]).expect("right settings").is_none());
}

#[test]
fn a_setting_that_is_not_set_has_the_default_of_the_contract() {
    let settings = settings(&[]);
    assert_eq!((settings.default_responsible, settings.default_priority), (1, 1));
    assert_eq!(settings.request_timeout, Duration::from_secs(30));
    assert_eq!(settings.max_description_length, 10_000);
    assert_eq!(settings.marker_field.as_deref(), Some("UF_CAMUNDA_ID_EXTERNAL_TASK"));
    assert_eq!(settings.completed_statuses, [4, 5]);
    assert_eq!(settings.missing_answer, MissingAnswer::Wait);
    assert!(settings.answer_texts.is_empty() && settings.former_hosts.is_empty());
}

#[test]
fn every_setting_is_read() {
    let settings = settings(&[
        ("BITRIX_DEFAULT_RESPONSIBLE_ID", "7"),
        ("BITRIX_DEFAULT_PRIORITY", "0"),
        ("BITRIX_REQUEST_TIMEOUT", "2.5"),
        ("BITRIX_MAX_DESCRIPTION_LENGTH", "100"),
        ("BITRIX_COMPLETED_STATUSES", "5, 7"),
        ("BITRIX_MISSING_ANSWER", "NO"),
        ("BITRIX_ANSWER_TEXTS", "26=ДА, 27 = НЕТ"),
        ("BITRIX_TASK_ID_FIELD", "XML_ID"),
        ("BITRIX_FORMER_HOSTS", "Old.example, 10.0.0.5:8080,"),
    ]);
    assert_eq!(settings.former_hosts, ["old.example", "10.0.0.5:8080"]);
    assert_eq!((settings.default_responsible, settings.default_priority), (7, 0));
    assert_eq!(settings.request_timeout, Duration::from_millis(2500));
    assert_eq!(settings.max_description_length, 100);
    assert_eq!(settings.completed_statuses, [5, 7]);
    assert_eq!(settings.missing_answer, MissingAnswer::No);
    assert_eq!(settings.answer_texts, BTreeMap::from([("26".into(), "ДА".into()), ("27".into(), "НЕТ".into())]));
    assert_eq!(settings.marker_field.as_deref(), Some("XML_ID"));
    for none in ["none", "None", "NONE"] {
        assert_eq!(self::settings(&[("BITRIX_TASK_ID_FIELD", none)]).marker_field, None);
    }
}

#[test]
fn the_error_for_a_bad_value_has_its_name_and_an_example() {
    for (name, value) in [
        ("BITRIX_DEFAULT_RESPONSIBLE_ID", "0"),
        ("BITRIX_DEFAULT_RESPONSIBLE_ID", "boss"),
        ("BITRIX_DEFAULT_PRIORITY", "3"),
        ("BITRIX_REQUEST_TIMEOUT", "0"),
        ("BITRIX_REQUEST_TIMEOUT", "301"),
        ("BITRIX_MAX_DESCRIPTION_LENGTH", "many"),
        ("BITRIX_COMPLETED_STATUSES", "4;5"),
        ("BITRIX_MISSING_ANSWER", "maybe"),
        ("BITRIX_ANSWER_TEXTS", "26"),
        ("BITRIX_ANSWER_TEXTS", "26=,27=НЕТ"),
        ("BITRIX_TASK_ID_FIELD", "TITLE"),
        ("BITRIX_TASK_ID_FIELD", "!UF_X"),
        ("BITRIX_TASK_ID_FIELD", "uf_x"),
        ("BITRIX_FORMER_HOSTS", "https://old.example"),
        ("BITRIX_RATE", "-1"),
        ("BITRIX_RATE", "NaN"),
        ("BITRIX_BURST", "0"),
    ] {
        let error = error(name, value);
        assert!(error.starts_with(name) && error.contains(&format!("for example: {name}=")), "{error}");
    }
}

#[test]
fn a_webhook_is_accepted_with_and_without_a_slash_at_its_end() {
    for url in ["https://bitrix.example/rest/1/token", "https://bitrix.example/rest/1/token/"] {
        let webhook = Webhook::parse(url).expect("a webhook");
        assert_eq!(webhook.url("tasks.task.add"), "https://bitrix.example/rest/1/token/tasks.task.add");
    }
    let with_port = Webhook::parse("http://127.0.0.1:8080/rest/1/token").expect("a webhook");
    assert_eq!(with_port.to_string(), "http://127.0.0.1:8080/rest/1/***");
}

#[test]
fn a_portal_has_one_host_however_it_is_reached() {
    for (url, host) in [
        ("https://bitrix.example/rest/1/token", "bitrix.example"),
        ("http://Bitrix.Example:80/rest/1/token", "bitrix.example"),
        ("https://user:password@bitrix.example:443/rest/1/token", "bitrix.example"),
        ("http://bitrix.example:443/rest/1/token", "bitrix.example:443"),
        ("http://127.0.0.1:8080/rest/1/token", "127.0.0.1:8080"),
        ("http://[::1]:8080/rest/1/token", "[::1]:8080"),
    ] {
        assert_eq!(Webhook::parse(url).expect("a webhook").host(), host);
    }
}

#[test]
fn a_webhook_never_shows_its_token() {
    let webhook = Webhook::parse("https://user:password@bitrix.example/rest/1/canary-token/").expect("a webhook");
    // The last one is "user:password" in base64, as in a sign-in.
    assert_eq!(webhook.secrets(), ["canary-token", "password", "dXNlcjpwYXNzd29yZA=="].map(Secret::new));
    assert_eq!(webhook.to_string(), "https://bitrix.example/rest/1/***");
    let settings = format!("{:?}", settings(&[]));
    assert!(settings.contains("https://bitrix.example/rest/1/***") && !settings.contains("canary"), "{settings}");
}

#[test]
fn the_error_for_a_bad_webhook_does_not_repeat_it() {
    for url in [
        "bitrix.example/rest/1/canary",
        "ftp://bitrix.example/rest/1/canary",
        "https://bitrix.example",
        "https://canary",
        "https:///rest/1/canary",
        "https://bitrix.example/canary",
        "https://bitrix.example/rest/1/canary?auth=canary",
        "https://bitrix.example/rest/1/canary#canary",
        "https://bitrix.example/rest/1/can ary",
    ] {
        let error = error("BITRIX_WEBHOOK_URL", url);
        assert!(error.contains("BITRIX_WEBHOOK_URL=https://bitrix.example/rest/1/TOKEN"), "{error}");
        assert!(!error.contains("canary") && !error.contains("can ary"), "{error}");
    }
}

#[test]
fn a_member_is_found_in_the_spelling_of_requests_and_of_replies() {
    for name in ["UF_RESULT_EXPECTED", "ufResultExpected", "uf_result_expected"] {
        assert_eq!(member(&json!({"ID": 1, name: "1"}), "UF_RESULT_EXPECTED"), Some(&json!("1")));
    }
    assert_eq!(member(&json!([]), "ID"), None);
    assert_eq!(member(&json!({"id2": 1}), "ID"), None);
}
