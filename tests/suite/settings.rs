//! The settings as their user meets them: code and example agree, defaults are the documented ones, and each error is
//! reported. How the program starts with them is in `start.rs`.

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
    ("OPENPROJECT_CONCURRENCY", "8"),
    ("OPENPROJECT_DEFAULT_TYPE", "1"),
    ("OPENPROJECT_MILESTONE_TYPE", "2"),
    ("OPENPROJECT_ASSIGN", "assignee"),
    ("OPENPROJECT_MISSING_ANSWER", "wait"),
    ("CAMUNDA_REQUEST_TIMEOUT", "5"),
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

// The code and the example.

#[test]
fn the_code_and_the_example_name_the_same_variables() {
    let known: BTreeSet<String> =
        DEFAULTS.iter().map(|(name, _)| *name).chain(WITHOUT_DEFAULT.iter().copied()).map(String::from).collect();
    assert_eq!(looked_up(), known, "the variables that the code looks up");
    assert_eq!(*table::settings(), known, "the variables whose misspelling is told");
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
    let value = |Statement { line, name, value }| match value {
        Value::Text { text, .. } => (name, text),
        Value::Absent | Value::Unreadable(_) => panic!("line {line} of config.env.example is no setting"),
    };
    let loaded: BTreeMap<String, String> = syntax::parse(&text).into_iter().map(value).collect();
    let active: Vec<&str> = loaded.keys().map(String::as_str).collect();
    assert_eq!(active, ACTIVE);
    assert!(Setup::read(|name| loaded.get(name).cloned()).is_ok());
    assert!(loaded["RABBITMQ_HOST"].ends_with(".example") && loaded["BITRIX_WEBHOOK_URL"].contains(".example/"));
}

// What the values mean.

#[test]
fn names_and_spellings_of_the_python_worker_keep_their_meaning() {
    let old = with(&[("RABBITMQ_VIRTUAL_HOST", "camunda")]).unwrap();
    assert_eq!(old.config.rabbitmq.vhost, "camunda");
    let both = with(&[("RABBITMQ_VIRTUAL_HOST", "camunda"), ("RABBITMQ_VHOST", "tasks")]).unwrap();
    assert_eq!(both.config.rabbitmq.vhost, "tasks");
    let levels = ["debug", "Info", "WARNING", "warn", "error"].map(|level| with(&[("LOG_LEVEL", level)]).unwrap());
    let expected = [LevelFilter::Debug, LevelFilter::Info, LevelFilter::Warn, LevelFilter::Warn, LevelFilter::Error];
    assert_eq!(levels.map(|setup| setup.config.log_level), expected);
    assert!(with(&[("BITRIX_WEBHOOK_URL", &format!("{WEBHOOK}/"))]).is_ok(), "a slash at the end");
    assert!(with(&[("BITRIX_WEBHOOK_URL", " ")]).unwrap().on().count() == 0, "blank is the same as not set");
    assert_eq!(with(&[("RABBITMQ_TLS", "yes")]).unwrap().config.rabbitmq.port, 5671, "amqps has a port of its own");
}

#[test]
fn the_error_for_each_bad_value_has_its_name_and_an_example() {
    let bad = [
        ("RABBITMQ_HOST", "amqp://rmq.example"),
        ("RABBITMQ_PORT", "70000"),
        ("RABBITMQ_HEARTBEAT", "0"),
        ("RABBITMQ_TLS", "maybe"),
        ("RABBITMQ_CA_FILE", "/nowhere/ca.pem"),
        ("HTTPS_CA_FILE", "/nowhere/ca.pem"),
        ("LOG_LEVEL", "LOUD"),
        ("HEARTBEAT_INTERVAL", "0"),
        ("RETRY_ATTEMPTS", "0"),
        ("RETRY_DELAY", "-1"),
        ("HANDLER_THREADS", "four"),
        ("PREFETCH", "0"),
        ("SHUTDOWN_TIMEOUT", "NaN"),
        ("BITRIX_WEBHOOK_URL", "bitrix.example/rest/1/canarytoken0123"),
        ("BITRIX_DEFAULT_RESPONSIBLE_ID", "0"),
        ("BITRIX_DEFAULT_PRIORITY", "3"),
        ("BITRIX_REQUEST_TIMEOUT", "100000"),
        ("BITRIX_MAX_DESCRIPTION_LENGTH", "10"),
        ("BITRIX_TASK_ID_FIELD", "uf_task"),
        ("BITRIX_COMPLETED_STATUSES", "four"),
        ("BITRIX_MISSING_ANSWER", "maybe"),
        ("BITRIX_ANSWER_TEXTS", "26"),
        ("BITRIX_RATE", "-1"),
        ("BITRIX_BURST", "0"),
        ("OPENPROJECT_URL", "https://openproject.example/api/v3"),
        ("OPENPROJECT_TASK_ID_FIELD", "7"),
        ("OPENPROJECT_ANSWER_FIELD", "customField"),
        ("OPENPROJECT_REQUEST_TIMEOUT", "1000"),
        ("OPENPROJECT_CONCURRENCY", "0"),
        ("OPENPROJECT_DEFAULT_PROJECT", "demo"),
        ("OPENPROJECT_DEFAULT_TYPE", "0"),
        ("OPENPROJECT_MILESTONE_TYPE", "x"),
        ("OPENPROJECT_DEFAULT_ASSIGNEE", "0"),
        ("OPENPROJECT_ASSIGN", "somebody"),
        ("OPENPROJECT_PRIORITIES", "urgent=10"),
        ("OPENPROJECT_FINISHED_STATUSES", "closed"),
        ("OPENPROJECT_MISSING_ANSWER", "maybe"),
        ("OPENPROJECT_FORMER_HOSTS", "https://old.example"),
        ("CAMUNDA_URL", "camunda.example"),
        ("CAMUNDA_USER", "task:creator"),
        ("CAMUNDA_REQUEST_TIMEOUT", "61"),
        ("DEFAULT_ACTION", "drop"),
        ("DEFAULT_URL", "services.example"),
        ("DEFAULT_TOPIC_URLS", "https://services.example/tasks"),
        ("DEFAULT_TOKEN", "two words"),
        ("DEFAULT_REQUEST_TIMEOUT", "301"),
        ("DEFAULT_PARALLEL_REQUESTS", "0"),
        ("DEFAULT_FAILED_JOB", "retry"),
        ("DEFAULT_ANSWER", "answer"),
        ("DEFAULT_COMPLETED_STATUSES", ","),
        ("DEFAULT_FAILED_STATUSES", "failed,,error"),
        ("PYTHON_URL", "services.example"),
        ("PYTHON_TOPIC_URLS", "https://services.example/tasks"),
        ("PYTHON_TOKEN", "two words"),
        ("PYTHON_REQUEST_TIMEOUT", "301"),
        ("PYTHON_PARALLEL_REQUESTS", "0"),
        ("PYTHON_FAILED_JOB", "retry"),
        ("PYTHON_ANSWER", "answer"),
        ("PYTHON_COMPLETED_STATUSES", ","),
        ("PYTHON_FAILED_STATUSES", "failed,,error"),
        ("CELERY_TASKS", "svc.calculate"),
        ("CELERY_HOST", "amqp://rmq.example"),
        ("CELERY_PASSWORD", ""),
        ("CELERY_PORT", "70000"),
        ("CELERY_HEARTBEAT", "0"),
        ("CELERY_TLS", "maybe"),
        ("CELERY_CA_FILE", "/nowhere/ca.pem"),
        ("ONEC_URL", "https://1c.example/base"),
        ("ONEC_MODE", "soap"),
        ("ONEC_USERNAME", "one:two"),
        ("ONEC_MAPPING_FILE", "/nowhere/onec.json"),
        ("ONEC_REQUEST_TIMEOUT", "0"),
        ("ONEC_SESSIONS", "0"),
        ("ONEC_UTC_OFFSET", "Moscow"),
        ("ONEC_MISSING_ANSWER", "maybe"),
        ("EMAIL_SMTP_HOST", "mail.example:465"),
        ("EMAIL_SMTP_PORT", "0"),
        ("EMAIL_SECURITY", "ssl"),
        ("EMAIL_CA_FILE", "/nowhere/ca.pem"),
        ("EMAIL_USERNAME", "camunda"),
        ("EMAIL_FROM", "camunda"),
        ("EMAIL_ALLOWED_DOMAINS", "firma.example;kunde.example"),
        ("EMAIL_TIMEOUT", "0"),
        ("EMAIL_ACCEPT_TIMEOUT", "901"),
        ("EMAIL_RETRY_AFTER", "soon"),
        ("EMAIL_CONNECTIONS", "0"),
        ("TELEGRAM_BOT_TOKEN", "BotFather"),
        ("TELEGRAM_API_URL", "api.telegram.org"),
        ("TELEGRAM_CHAT_ID", "news"),
        ("TELEGRAM_ALLOWED_IDS", "17;18"),
        ("TELEGRAM_LONG_TEXT", "fold"),
        ("TELEGRAM_REQUEST_TIMEOUT", "301"),
    ];
    let errors = all_on(&bad).unwrap_err().0;
    assert_eq!(errors.len(), bad.len(), "{errors:#?}");
    for (name, _) in bad {
        // A user without a password.
        let name = if name == "EMAIL_USERNAME" { "EMAIL_PASSWORD" } else { name };
        let told = errors.iter().filter(|error| error.starts_with(&format!("{name} ")));
        let told: Vec<&String> = told.collect();
        assert!(told.len() == 1 && told[0].contains(&format!("; for example: {name}=")), "{name}: {errors:#?}");
    }
}

#[test]
fn the_example_in_an_error_is_itself_right() {
    for (name, bad) in [("RETRY_DELAY", "x"), ("BITRIX_RATE", "x"), ("BITRIX_TASK_ID_FIELD", "x"), ("LOG_LEVEL", "x")] {
        let error = with(&[(name, bad)]).unwrap_err().0.remove(0);
        let (_, example) = error.rsplit_once(&format!("{name}=")).unwrap();
        let example = example.split(" (").next().unwrap();
        assert!(with(&[(name, example)]).is_ok(), "{error}");
    }
}

#[test]
fn quotes_around_a_value_are_an_error_in_every_setting() {
    let settings = DEFAULTS.iter().map(|(name, default)| (*name, *default));
    let others = [
        ("RABBITMQ_PASSWORD", PASSWORD),
        ("RABBITMQ_VIRTUAL_HOST", "/"),
        ("QUEUE_PREFIX", "test."),
        ("BITRIX_WEBHOOK_URL", WEBHOOK),
        ("BITRIX_ANSWER_TEXTS", "26=ДА,27=НЕТ"),
        ("ONEC_USERNAME", "Обмен"),
        ("ONEC_UTC_OFFSET", "+03:00"),
        ("EMAIL_SMTP_HOST", "mail.example"),
        ("EMAIL_FROM", "camunda@firma.example"),
        ("TELEGRAM_BOT_TOKEN", BOT_TOKEN),
        ("TELEGRAM_CHAT_ID", "17"),
        ("TELEGRAM_ALLOWED_IDS", "17"),
    ];
    for (name, value) in settings.chain(others) {
        for quoted in [format!("\"{value}\""), format!("'{value}'"), format!("«{value}»"), format!(" “{value}”\r")]
        {
            let errors = all_on(&[(name, &quoted)]).unwrap_err().0;
            let told = format!("{name} has quotes around it, which would be part of the value");
            assert!(matches!(&errors[..], [error] if error.starts_with(&told)), "{quoted}: {errors:?}");
            assert!(
                [PASSWORD, TOKEN, "canary-bot-token"].iter().all(|secret| !errors[0].contains(secret)),
                "{errors:?}"
            );
        }
    }
    // As docker --env-file passes on NAME="value" # comment.
    assert!(with(&[("RESPONSES_QUEUE", "\"camunda.responses.queue\" # answers")]).is_err());
    assert!(with(&[("RESPONSES_QUEUE", "camunda.responses.queue # answers")]).is_err());
    assert!(with(&[("BITRIX_ANSWER_TEXTS", "26=\"ДА\",27=НЕТ")]).is_err());
    for password in ["it's", "\"", "'half", "a\"b", "pa\"ss\"word"] {
        let setup = with(&[("RABBITMQ_PASSWORD", password)]).unwrap_or_else(|err| panic!("{password}: {err}"));
        assert_eq!(setup.config.rabbitmq.password.expose(), password);
    }
}

#[test]
fn blanks_within_the_quotes_of_dotenv_are_kept_only_in_a_password() {
    let in_quotes = |value: &'static str| {
        Setup::found(&move |name| {
            let value = if name == "RABBITMQ_PASSWORD" || name == "RESPONSES_QUEUE" { value } else { return None };
            Some(Ok(Given { value: value.to_owned(), place: Some(".env, line 7".into()), quoted: true }))
        })
    };
    for value in [" canary ", "canary"] {
        assert_eq!(in_quotes(value).unwrap().config.rabbitmq.password.expose(), value);
        assert_eq!(in_quotes(value).unwrap().config.responses_queue, "canary");
    }
    let errors = in_quotes("'canary'").unwrap_err().0;
    let told = "RESPONSES_QUEUE (.env, line 7) has quotes around it";
    assert!(matches!(&errors[..], [error] if error.starts_with(told)), "{errors:?}");
}

#[test]
fn an_international_host_becomes_punycode_and_brackets_are_stripped() {
    let international = [
        ("RABBITMQ_HOST", "раббит.example"),
        ("BITRIX_WEBHOOK_URL", "http://портал.example:8080/rest/1/canarytoken0123"),
    ];
    assert_eq!(with(&international).unwrap().config.rabbitmq.host, "xn--80aca2azbq.example");
    let portal = Variables::read(value_in(&international), bitrix24::Settings::from_variables);
    let webhook = right(portal).unwrap().expect("it is on").webhook;
    assert_eq!(webhook.to_string(), "http://xn--80awhdgm.example:8080/rest/1/***");
    assert_eq!(webhook.unprotected_host(), Some("xn--80awhdgm.example"));
    for host in ["[::1]", "::1"] {
        assert_eq!(with(&[("RABBITMQ_HOST", host)]).unwrap().config.rabbitmq.host, "::1");
    }
}

#[test]
fn the_error_for_an_address_that_no_network_can_reach_does_not_repeat_it() {
    for url in [
        "http://bitrix..example/rest/1/canarytoken0123",
        "http://bitrix.example:99999/rest/1/canarytoken0123",
        "http://bitrix.example:http/rest/1/canarytoken0123",
        "http://10.0.0.300/rest/1/canarytoken0123",
        "http://bitrix .example/rest/1/canarytoken0123",
        "http://bitrix.example/rest/1/canarytoken0123/ТОКЕН",
        "http://bitrix.example\\rest\\1\\canarytoken0123",
    ] {
        let errors = with(&[("BITRIX_WEBHOOK_URL", url)]).unwrap_err().to_string();
        assert!(errors.contains("1 error(s)") && errors.contains("  BITRIX_WEBHOOK_URL "), "{url}: {errors}");
        assert!(!errors.contains(TOKEN), "{errors}");
    }
    // Its first letter is Cyrillic.
    let mixed =
        with(&[("BITRIX_WEBHOOK_URL", "https://сompany.example/rest/1/canarytoken0123")]).unwrap_err().to_string();
    assert!(mixed.contains("BITRIX_WEBHOOK_URL has a host that mixes Latin and Cyrillic letters"), "{mixed}");
    for host in ["rmq..example", "10.0.0.300", "[::1]:5672", "1:2:3", "rmq.example,rmq2.example"] {
        let errors = with(&[("RABBITMQ_HOST", host)]).unwrap_err().to_string();
        assert!(errors.contains("  RABBITMQ_HOST is not "), "{host}: {errors}");
    }
}

#[test]
fn a_value_that_would_do_silent_harm_is_an_error() {
    for (name, value, wrong) in [
        ("BITRIX_ANSWER_TEXTS", "ДА=26", "in which \"ДА\" stands for an id, which is a number"),
        ("BITRIX_ANSWER_TEXTS", "26=ДА,НЕТ=27", "in which \"НЕТ\" stands for an id"),
        ("BITRIX_ANSWER_TEXTS", "26=ДА,26=НЕТ", "in which 26 has two texts"),
        ("BITRIX_ANSWER_TEXTS", "26=ДА;27=НЕТ", "in which the text of 26 is \"ДА;27=НЕТ\", with a sign"),
        ("BITRIX_COMPLETED_STATUSES", "45", "not a list of states, 1 to 7"),
        ("BITRIX_COMPLETED_STATUSES", "0", "not a list of states, 1 to 7"),
        ("BITRIX_TASK_ID_FIELD", "UF_RESULT_ANSWER", "which holds something else than the id of a task"),
        ("ERROR_QUEUE", "amq.errors", "starts with amq., which RabbitMQ keeps"),
    ] {
        let errors = with(&[(name, value)]).unwrap_err().0;
        assert!(matches!(&errors[..], [error] if error.contains(wrong)), "{name}={value}: {errors:?}");
    }
}

#[test]
fn an_address_with_a_password_in_it_is_neither_taken_for_a_host_nor_shown() {
    for host in [
        "amqp://admin:canary-password@rmq.example:5672/",
        "admin:canary-password@rmq.example",
        "rmq example",
        "rmq.example:5672",
    ] {
        let errors = with(&[("RABBITMQ_HOST", host)]).unwrap_err().to_string();
        assert!(errors.contains("RABBITMQ_HOST is not a plain host name"), "{errors}");
        assert!(!errors.contains(PASSWORD), "{errors}");
    }
    for host in ["rmq.example", "10.0.0.7", "::1", "rmq_1"] {
        assert!(with(&[("RABBITMQ_HOST", host)]).is_ok(), "{host}");
    }
}

#[test]
fn a_queue_whose_messages_would_come_back_to_us_is_refused() {
    let errors = with(&[("ERROR_QUEUE", "bitrix24.queue")]).unwrap_err().to_string();
    assert!(errors.contains("ERROR_QUEUE") && errors.contains("bitrix24.queue"), "{errors}");
    let prefixed = [("QUEUE_PREFIX", "demo."), ("RESPONSES_QUEUE", "demo.1c.sent.queue")];
    assert!(with(&prefixed).unwrap_err().to_string().contains("RESPONSES_QUEUE"));
    assert!(with(&[("ERROR_QUEUE", "same"), ("RESPONSES_QUEUE", "same")]).is_err());
    assert!(with(&[("QUEUE_PREFIX", "demo."), ("RESPONSES_QUEUE", "1c.sent.queue")]).is_ok());
}

#[test]
fn a_name_too_long_for_amqp_is_refused() {
    let long = "q".repeat(256);
    for name in ["ERROR_QUEUE", "RESPONSES_QUEUE", "RABBITMQ_VHOST", "RABBITMQ_VIRTUAL_HOST", "QUEUE_PREFIX"] {
        let errors = with(&[(name, &long)]).unwrap_err().to_string();
        assert!(errors.contains(&format!("{name} is longer than ")), "{errors}");
    }
    assert!(with(&[("ERROR_QUEUE", &long[1..])]).is_ok());
}

#[test]
fn certificates_are_a_file_that_can_be_read_and_belong_to_tls() {
    let good = PemFile::write(&Authority::new("a CA").pem());
    let damaged = PemFile::write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for name in ["RABBITMQ_CA_FILE", "HTTPS_CA_FILE"] {
        for (file, wrong) in [
            ("src", "which cannot be read: "),
            ("/nowhere/ca.pem", "which cannot be read: "),
            ("Cargo.toml", "which holds no certificate in PEM form"),
            (damaged.path(), "whose certificate 1 is damaged: "),
        ] {
            let errors = with(&[("RABBITMQ_TLS", "true"), (name, file)]).unwrap_err().0;
            let told = format!("{name} is {file:?}, {wrong}");
            assert!(matches!(&errors[..], [error] if error.starts_with(&told)), "{errors:?}");
        }
        assert!(with(&[("RABBITMQ_TLS", "true"), (name, good.path())]).is_ok());
    }
    let plain = with(&[("RABBITMQ_CA_FILE", good.path())]).unwrap_err().to_string();
    assert!(plain.contains("RABBITMQ_CA_FILE is set, but TLS is off"), "{plain}");
    for webhook in ["http://bitrix.example/rest/1/canarytoken0123", ""] {
        let plain = with(&[("HTTPS_CA_FILE", good.path()), ("BITRIX_WEBHOOK_URL", webhook)]).unwrap_err().to_string();
        assert!(plain.contains("HTTPS_CA_FILE is set, but no address is https, so it protects nothing"), "{plain}");
    }
}

#[test]
fn no_secret_is_printed_with_the_settings_or_with_their_errors() {
    let setup = read(&[("RABBITMQ_PASSWORD", PASSWORD), ("BITRIX_WEBHOOK_URL", WEBHOOK)]).unwrap();
    // The last one is "admin:canary-password" in base64, as in a sign-in.
    assert_eq!(setup.secrets(), [TOKEN, PASSWORD, "YWRtaW46Y2FuYXJ5LXBhc3N3b3Jk"].map(Secret::new));
    let shown = format!("{setup:?} {setup:#?}");
    assert!(shown.contains("bitrix.example") && !shown.contains(TOKEN) && !shown.contains(PASSWORD), "{shown}");
    for url in ["ftp://bitrix.example/rest/1/canarytoken0123", "https://bitrix.example/rest/1/canarytoken0123?a=b"] {
        let errors = with(&[("BITRIX_WEBHOOK_URL", url)]).unwrap_err();
        assert!(!format!("{errors} {errors:?}").contains(TOKEN));
    }
}

// Parts.

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
