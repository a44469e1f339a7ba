//! The `OPENPROJECT_…` settings, and settings for the other tests of this folder.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Client;
use super::handler::OpenProjectHandler;
use super::settings::{Assign, is_custom_field};
use super::*;
use crate::settings::{SettingsErrors, right};
use crate::stop;
use crate::systems::Handler;
use crate::systems::question::MissingAnswer;
use crate::tls::RootCertificates;

/// Settings as if these variables were set, and nothing else that is not needed.
pub fn settings(variables: &[(&str, &str)]) -> Settings {
    read(variables).expect("right settings").expect("the address is set")
}

fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsErrors> {
    let needed = [
        ("OPENPROJECT_URL", "https://openproject.example/"),
        ("OPENPROJECT_TOKEN", "canary-token"),
        ("OPENPROJECT_TASK_ID_FIELD", "customField7"),
    ];
    let all: BTreeMap<&str, &str> = needed.into_iter().chain(variables.iter().copied()).collect();
    right(Variables::read(|name| all.get(name).map(|value| value.to_string()), Settings::from_variables))
}

fn error(name: &str, value: &str) -> String {
    let errors = read(&[(name, value)]).expect_err("an error").0;
    assert_eq!(errors.len(), 1, "{name}={value}: {errors:?}");
    errors[0].clone()
}

#[test]
fn without_an_address_the_system_is_off_and_with_it_the_rest_must_be_there() {
    assert!(read(&[("OPENPROJECT_URL", " ")]).expect("right settings").is_none());
    assert!(error("OPENPROJECT_TOKEN", "").contains("OPENPROJECT_TOKEN is set to nothing"));
    // Without it every message that comes twice would create two tasks: that has to be meant.
    assert!(error("OPENPROJECT_TASK_ID_FIELD", "").contains("OPENPROJECT_TASK_ID_FIELD=customField7"));
    assert_eq!(settings(&[("OPENPROJECT_TASK_ID_FIELD", "NONE")]).marker_field, None);
}

#[test]
fn every_setting_is_read() {
    let settings = settings(&[
        ("OPENPROJECT_URL", "http://Project.example:8080/op/"),
        ("OPENPROJECT_ANSWER_FIELD", "customField8"),
        ("OPENPROJECT_ASSIGN", "Both"),
        ("OPENPROJECT_PRIORITIES", "low=7, Normal = 8"),
        ("OPENPROJECT_FINISHED_STATUSES", "10, 12"),
        ("OPENPROJECT_MISSING_ANSWER", "no"),
        ("OPENPROJECT_REQUEST_TIMEOUT", "2.5"),
        ("OPENPROJECT_FORMER_HOSTS", "Old.example"),
    ]);
    assert_eq!(
        (settings.url.as_str(), settings.link(7).as_str()),
        ("http://Project.example:8080/op", "http://Project.example:8080/op/work_packages/7")
    );
    assert_eq!((settings.host().as_str(), settings.assign), ("project.example:8080", Assign::Both));
    assert_eq!(settings.priorities.into_iter().collect::<Vec<_>>(), [("low".to_owned(), 7), ("normal".to_owned(), 8)]);
    assert_eq!((settings.finished_statuses, settings.former_hosts), (vec![10, 12], vec!["old.example".to_owned()]));
    assert_eq!(settings.missing_answer, MissingAnswer::No);
    assert_eq!(settings.request_timeout, Duration::from_millis(2500));
}

#[test]
fn what_would_go_wrong_unnoticed_is_an_error() {
    for (name, value, wrong) in [
        ("OPENPROJECT_URL", "https://openproject.example/api/v3", "names the interface"),
        ("OPENPROJECT_URL", "https://apikey:canary@openproject.example", "has a name and password in it"),
        ("OPENPROJECT_TASK_ID_FIELD", "customfield7", "is \"customfield7\", not customField and its number"),
        ("OPENPROJECT_PRIORITIES", "high=0", "is \"high=0\", not a list"),
    ] {
        let told = error(name, value);
        assert!(told.contains(wrong) && !told.contains("canary"), "{told}");
    }
    for (name, is) in [("customField7", true), ("customField", false), ("customField7a", false), ("subject", false)] {
        assert_eq!(is_custom_field(name), is, "{name}");
    }
}

#[test]
fn the_token_is_a_secret_in_both_dresses_and_never_shown() {
    let system = OpenProject(settings(&[]));
    // The second is "apikey:canary-token" in base64, as in a sign-in.
    assert_eq!(system.secrets(), ["canary-token", "YXBpa2V5OmNhbmFyeS10b2tlbg=="].map(Secret::new));
    assert!(!format!("{system:?}").contains("canary"));
    assert_eq!(system.target(), "OpenProject at https://openproject.example");
}

#[test]
fn a_change_and_what_has_no_marker_are_not_taken_for_tasks_that_are_missing() {
    let shows = |marker: &str| {
        let settings = settings(&[("OPENPROJECT_TASK_ID_FIELD", marker)]);
        let client = Client::new(&settings, &RootCertificates::public(), &stop::signal().1);
        let handler = OpenProjectHandler::new(settings, Arc::new(client));
        ["op_create_task", "op_create_milestone", "op_create_project", "op_update_task"]
            .map(|topic| handler.shows(topic))
    };
    assert_eq!(shows("customField7"), [true, true, true, false]);
    assert_eq!(shows("none"), [false; 4]);
}
