//! What the values of the settings mean, and the error for each that cannot be used: it has the name and an example,
//! and shows no secret.

use super::*;

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
        ("OPENPROJECT_PARALLEL_REQUESTS", "0"),
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
        ("CAMUNDA_LOCK_DURATION", "0"),
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
