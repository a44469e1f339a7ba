//! The settings as their user meets them: code and example agree, and the defaults are the documented ones. [`values`]
//! has what the values mean; how the program starts with them is in `start.rs`.

mod values;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self};

use crate::support::*;
use log::LevelFilter;
use task_creator::settings::dotenv::syntax::{self, Statement, Value};
use task_creator::settings::{Given, Secret, SettingsErrors, Variables, right};
use task_creator::systems::bitrix24;
use task_creator::systems::table::{self, Setup};

/// Every variable with a default: those of the Python worker, and new ones.
const DEFAULTS: &[(&str, &str)] = &[
    ("RABBITMQ_HOST", "localhost"),
    ("RABBITMQ_PORT", "5672"),
    ("RABBITMQ_USERNAME", "admin"),
    ("RABBITMQ_VHOST", "/"),
    ("RABBITMQ_HEARTBEAT", "600"),
    ("RABBITMQ_TLS", "false"),
    ("ERROR_QUEUE", "errors.camunda_tasks.queue"),
    ("RESPONSES_QUEUE", "camunda.responses.queue"),
    ("LOG_LEVEL", "INFO"),
    ("LOG_DIR", "logs"),
    ("HEARTBEAT_INTERVAL", "60"),
    ("RETRY_ATTEMPTS", "3"),
    ("RETRY_DELAY", "5"),
    ("HANDLER_THREADS", "256"),
    ("PREFETCH", "256"),
    ("SHUTDOWN_TIMEOUT", "30"),
    ("BITRIX_DEFAULT_RESPONSIBLE_ID", "1"),
    ("BITRIX_DEFAULT_PRIORITY", "1"),
    ("BITRIX_REQUEST_TIMEOUT", "30"),
    ("BITRIX_MAX_DESCRIPTION_LENGTH", "10000"),
    ("BITRIX_TASK_ID_FIELD", "UF_CAMUNDA_ID_EXTERNAL_TASK"),
    ("BITRIX_COMPLETED_STATUSES", "4,5"),
    ("BITRIX_MISSING_ANSWER", "wait"),
    ("BITRIX_RATE", "2"),
    ("BITRIX_BURST", "50"),
    ("OPENPROJECT_REQUEST_TIMEOUT", "30"),
    ("OPENPROJECT_PARALLEL_REQUESTS", "8"),
    ("OPENPROJECT_DEFAULT_TYPE", "1"),
    ("OPENPROJECT_MILESTONE_TYPE", "2"),
    ("OPENPROJECT_ASSIGN", "assignee"),
    ("OPENPROJECT_MISSING_ANSWER", "wait"),
    ("CAMUNDA_REQUEST_TIMEOUT", "5"),
    ("CAMUNDA_LOCK_DURATION", "31536000"),
    ("PYTHON_REQUEST_TIMEOUT", "30"),
    ("PYTHON_PARALLEL_REQUESTS", "16"),
    ("PYTHON_FAILED_JOB", "park"),
    ("PYTHON_ANSWER", "/answer"),
    ("PYTHON_COMPLETED_STATUSES", "succeeded,success,completed"),
    ("PYTHON_FAILED_STATUSES", "failed,error,cancelled"),
    ("DEFAULT_REQUEST_TIMEOUT", "30"),
    ("DEFAULT_PARALLEL_REQUESTS", "16"),
    ("DEFAULT_FAILED_JOB", "park"),
    ("DEFAULT_ANSWER", "/answer"),
    ("DEFAULT_COMPLETED_STATUSES", "succeeded,success,completed"),
    ("DEFAULT_FAILED_STATUSES", "failed,error,cancelled"),
    ("CELERY_RESULT_QUEUE", "python-services.celery.results"),
    ("CELERY_PORT", "5672"),
    ("CELERY_USERNAME", "admin"),
    ("CELERY_HEARTBEAT", "600"),
    ("CELERY_TLS", "false"),
    ("ONEC_MODE", "odata"),
    ("ONEC_REQUEST_TIMEOUT", "30"),
    ("ONEC_SESSIONS", "4"),
    ("ONEC_MISSING_ANSWER", "wait"),
    ("EMAIL_SMTP_PORT", "465"),
    ("EMAIL_SECURITY", "tls"),
    ("EMAIL_TIMEOUT", "30"),
    ("EMAIL_ACCEPT_TIMEOUT", "300"),
    ("EMAIL_RETRY_AFTER", "300"),
    ("EMAIL_CONNECTIONS", "4"),
    ("TELEGRAM_API_URL", "https://api.telegram.org"),
    ("TELEGRAM_LONG_TEXT", "split"),
    ("TELEGRAM_REQUEST_TIMEOUT", "30"),
    ("ALERT_UNANSWERED_AFTER", "86400"),
];

/// Every variable without one.
const WITHOUT_DEFAULT: &[&str] = &[
    "RABBITMQ_PASSWORD",
    "RABBITMQ_VIRTUAL_HOST",
    "RABBITMQ_CA_FILE",
    "HTTPS_CA_FILE",
    "QUEUE_PREFIX",
    "BITRIX_WEBHOOK_URL",
    "BITRIX_ANSWER_TEXTS",
    "BITRIX_FORMER_HOSTS",
    "OPENPROJECT_URL",
    "OPENPROJECT_TOKEN",
    "OPENPROJECT_TASK_ID_FIELD",
    "OPENPROJECT_ANSWER_FIELD",
    "OPENPROJECT_DEFAULT_PROJECT",
    "OPENPROJECT_DEFAULT_ASSIGNEE",
    "OPENPROJECT_PRIORITIES",
    "OPENPROJECT_FINISHED_STATUSES",
    "OPENPROJECT_FORMER_HOSTS",
    "CAMUNDA_URL",
    "CAMUNDA_USER",
    "CAMUNDA_PASSWORD",
    "MONITOR_ADDR",
    "MONITOR_READ_TOKEN",
    "MONITOR_CONTROL_TOKEN",
    "MONITOR_HOSTS",
    "CAMUNDA_WORKER_ID",
    "DEFAULT_ACTION",
    "DEFAULT_URL",
    "DEFAULT_TOPIC_URLS",
    "DEFAULT_TOKEN",
    "PYTHON_URL",
    "PYTHON_TOPIC_URLS",
    "PYTHON_TOKEN",
    "CELERY_QUEUE",
    "CELERY_TASKS",
    "CELERY_HOST",
    "CELERY_PASSWORD",
    "CELERY_VHOST",
    "CELERY_CA_FILE",
    "ONEC_URL",
    "ONEC_USERNAME",
    "ONEC_PASSWORD",
    "ONEC_MAPPING_FILE",
    "ONEC_UTC_OFFSET",
    "EMAIL_SMTP_HOST",
    "EMAIL_CA_FILE",
    "EMAIL_USERNAME",
    "EMAIL_PASSWORD",
    "EMAIL_FROM",
    "EMAIL_ALLOWED_DOMAINS",
    "TELEGRAM_BOT_TOKEN",
    "TELEGRAM_CHAT_ID",
    "TELEGRAM_ALLOWED_IDS",
    "ALERT_TELEGRAM_CHAT",
    "ALERT_EMAIL_TO",
    "ALERT_PAGE_URL",
];

/// The settings that are on in the example.
const ACTIVE: &[&str] =
    &["BITRIX_WEBHOOK_URL", "RABBITMQ_HEARTBEAT", "RABBITMQ_HOST", "RABBITMQ_PASSWORD", "RABBITMQ_USERNAME"];

/// What switches each system on.
const SWITCHES: &[(&str, &str)] = &[
    ("BITRIX_WEBHOOK_URL", WEBHOOK),
    ("EMAIL_SMTP_HOST", "mail.example"),
    ("EMAIL_FROM", "camunda@firma.example"),
    ("ONEC_URL", "https://1c.example/base/odata/standard.odata"),
    ("ONEC_MAPPING_FILE", "src/systems/onec/mapping.example.json"),
    ("OPENPROJECT_URL", "https://openproject.example"),
    ("OPENPROJECT_TOKEN", "canary-token"),
    ("OPENPROJECT_TASK_ID_FIELD", "customField7"),
    ("TELEGRAM_BOT_TOKEN", BOT_TOKEN),
];

const PASSWORD: &str = "canary-password";
const BOT_TOKEN: &str = "123456:canary-bot-token";
const TOKEN: &str = "canarytoken0123";
const WEBHOOK: &str = "https://bitrix.example/rest/1/canarytoken0123";

#[test]
fn the_code_and_the_example_name_the_same_variables() {
    let known: BTreeSet<String> =
        DEFAULTS.iter().map(|(name, _)| *name).chain(WITHOUT_DEFAULT.iter().copied()).map(String::from).collect();
    // The example says once of all of them that a secret may be in a file.
    let in_files: BTreeSet<String> =
        looked_up().iter().filter(|name| known.contains(*name)).map(|name| format!("{name}_FILE")).collect();
    let without_files =
        |names: &BTreeSet<String>| -> BTreeSet<String> { names.difference(&in_files).cloned().collect() };
    assert_eq!(without_files(&looked_up()), known, "the variables that the code looks up");
    assert_eq!(without_files(table::settings()), known, "the variables whose misspelling is told");
    for secret in ["RABBITMQ_PASSWORD", "BITRIX_WEBHOOK_URL"] {
        assert!(looked_up().contains(&format!("{secret}_FILE")), "{secret} may be in a file");
    }
    let example = example();
    let named: BTreeSet<String> = example.keys().cloned().collect();
    assert_eq!(named, known, "the variables of config.env.example");
}

#[test]
fn the_code_and_the_example_state_the_same_defaults() {
    let required = [&[("RABBITMQ_PASSWORD", PASSWORD)], SWITCHES].concat();
    let by_default = read(&required).expect("nothing else is needed");
    let spelt_out = read(&[&required[..], DEFAULTS].concat()).expect("the defaults are valid");
    assert_eq!(format!("{spelt_out:?}"), format!("{by_default:?}"));
    let without = WITHOUT_DEFAULT.iter().map(|name| (*name, "none"));
    for (name, default) in DEFAULTS.iter().copied().chain(without) {
        let Described { default: told, value, .. } = &example()[name];
        assert_eq!(told, default, "{name} in config.env.example");
        // A value to be filled in, and an example, is no default.
        let shows_default = !ACTIVE.contains(&name) && default != "none";
        assert!(!shows_default || value == default, "{name} shows another value than its default");
    }
}

#[test]
fn the_example_says_of_each_variable_what_it_means_and_of_each_time_its_unit() {
    for (name, Described { meaning, .. }) in example() {
        assert!(meaning.ends_with('.'), "{name} has no meaning in sentences: {meaning:?}");
        let wrong = all_on(&[(&name, "x")]).err().map(|errors| errors.to_string()).unwrap_or_default();
        let is_time = wrong.contains("seconds");
        assert!(!is_time || meaning.starts_with("Seconds"), "{name} is a time, and its unit is not said: {meaning:?}");
    }
}

#[test]
fn the_example_loads_as_it_is_and_needs_only_the_secrets_changed() {
    let text = fs::read_to_string("config.env.example").expect("it is part of the repository");
    let value = |Statement { line, name, value, .. }| match value {
        Value::Text { text, .. } => (name, text),
        Value::Absent | Value::Unreadable(_) => panic!("line {line} of config.env.example is no setting"),
    };
    let loaded: BTreeMap<String, String> = syntax::parse(&text).into_iter().map(value).collect();
    let active: Vec<&str> = loaded.keys().map(String::as_str).collect();
    assert_eq!(active, ACTIVE);
    assert!(Setup::read(|name| loaded.get(name).cloned()).is_ok());
    assert!(loaded["RABBITMQ_HOST"].ends_with(".example") && loaded["BITRIX_WEBHOOK_URL"].contains(".example/"));
}

fn read(settings: &[(&str, &str)]) -> Result<Setup, SettingsErrors> {
    Setup::read(value_in(settings))
}

/// Looks up the last value that a variable has here.
fn value_in(settings: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    |wanted| {
        let last = settings.iter().rev().find(|(name, _)| *name == wanted);
        last.map(|(_, value)| (*value).to_owned())
    }
}

/// The smallest set of settings, changed.
fn with(changes: &[(&str, &str)]) -> Result<Setup, SettingsErrors> {
    read(&[&[("RABBITMQ_PASSWORD", PASSWORD), ("BITRIX_WEBHOOK_URL", WEBHOOK)], changes].concat())
}

/// The least settings with which every system is on, changed.
fn all_on(changes: &[(&str, &str)]) -> Result<Setup, SettingsErrors> {
    read(&[&[("RABBITMQ_PASSWORD", PASSWORD)], SWITCHES, changes].concat())
}

/// The names for which the code asks when every system is on.
fn looked_up() -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    let _ = Setup::read(|name| {
        names.borrow_mut().insert(name.to_owned());
        SWITCHES.iter().find(|(switch, _)| *switch == name).map(|(_, value)| (*value).to_owned())
    });
    names.into_inner()
}

/// A variable in the example.
struct Described {
    /// The comment above it, without its default.
    meaning: String,
    /// What "Default:" says, else the value.
    default: String,
    /// The value in the line.
    value: String,
}

/// `NAME=value` and `#NAME=value` of the example, each with the comment above it; prose has a blank after its `#`.
fn example() -> BTreeMap<String, Described> {
    let text = fs::read_to_string("config.env.example").expect("it is part of the repository");
    let mut described = BTreeMap::new();
    let (mut meaning, mut default) = (Vec::new(), None);
    for line in text.lines() {
        match (line.strip_prefix("# "), line.trim_start_matches('#').split_once('=')) {
            (Some(comment), _) => match comment.strip_prefix("Default: ") {
                Some(told) => default = Some(told.to_owned()),
                None => meaning.push(comment),
            },
            (None, Some((name, value))) => {
                let default = default.take().unwrap_or_else(|| value.to_owned());
                let meaning = std::mem::take(&mut meaning).join(" ");
                let variable = Described { meaning, default, value: value.to_owned() };
                assert!(described.insert(name.to_owned(), variable).is_none(), "{name} stands there twice");
            }
            (None, None) => meaning.clear(),
        }
    }
    described
}
