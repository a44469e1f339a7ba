//! The start of the program: it reports all settings errors before it touches RabbitMQ, and reads `.env` with care.
//! What the values mean is in `settings.rs`.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::*;

const PASSWORD: &str = "canary-password";
const WEBHOOK: &str = "https://bitrix.example/rest/1/canarytoken0123";

#[test]
fn all_settings_errors_are_reported_together_before_rabbitmq_is_touched() {
    let broker = Listener::new();
    let mut settings = settings_for(&broker).to_vec();
    settings.retain(|(name, _)| name != "RABBITMQ_PASSWORD");
    let wrong = [("RETRY_ATTEMPTS", "often"), ("BITRIX_WEBHOOK_URL", "bitrix.example")];
    settings.retain(|(name, _)| name != "BITRIX_WEBHOOK_URL");
    settings.extend(wrong.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut worker = Worker::run(&[], &settings);
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    let output = worker.output();
    for text in
        ["3 error(s)", "RABBITMQ_PASSWORD is not set, neither", "RETRY_ATTEMPTS=3", "BITRIX_WEBHOOK_URL=https://"]
    {
        assert!(output.contains(text), "{text}: {output}");
    }
    assert_eq!(broker.connections(), 0);
    assert_eq!(worker.log(), "", "nothing is logged before the settings are known to be right");
}

#[test]
fn with_right_settings_the_same_program_does_connect() {
    let broker = Listener::new();
    let _worker = Worker::run(&[], &settings_for(&broker));
    broker.await_connection();
}

#[test]
fn the_dotenv_file_of_the_working_directory_adds_what_the_environment_does_not_say() {
    let (broker, other) = (Listener::new(), Listener::new());
    let mut settings = settings_for(&broker).to_vec();
    settings.retain(|(name, _)| name != "RABBITMQ_PASSWORD");
    let dotenv = format!("RABBITMQ_PASSWORD='with $ and # and spaces'\nRABBITMQ_PORT={}\n", other.port());
    let worker = run_with_dotenv(&settings, &dotenv, 0o600);
    broker.await_connection();
    assert_eq!(other.connections(), 0, "the environment wins");
    assert!(!worker.output().contains("chmod"), "{}", worker.output());
}

#[test]
fn a_variable_that_the_environment_sets_to_nothing_is_told_so() {
    let mut settings = settings_for(&Listener::new()).to_vec();
    settings.retain(|(name, _)| name != "RABBITMQ_PASSWORD" && name != "BITRIX_WEBHOOK_URL");
    settings.extend(["RABBITMQ_PASSWORD", "BITRIX_WEBHOOK_URL"].map(|name| (name.to_owned(), String::new())));
    let dotenv = format!("RABBITMQ_PASSWORD={PASSWORD}\nBITRIX_WEBHOOK_URL={WEBHOOK}\n");
    let mut worker = run_with_dotenv(&settings, &dotenv, 0o600);
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    let output = worker.output();
    assert!(output.contains("RABBITMQ_PASSWORD is set to nothing in the environment"), "{output}");
    assert!(output.contains(".env, line 2: BITRIX_WEBHOOK_URL is not read"), "{output}");
}

#[test]
fn a_dotenv_file_that_others_may_write_is_refused() {
    let broker = Listener::new();
    let mut worker = run_with_dotenv(&[], dotenv_for(&broker), 0o620);
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    assert!(worker.output().contains("others may write to it"), "{}", worker.output());
    assert_eq!(broker.connections(), 0);
}

#[test]
fn a_dotenv_file_that_others_may_read_is_used_with_advice() {
    let broker = Listener::new();
    let worker = run_with_dotenv(&[], dotenv_for(&broker), 0o644);
    broker.await_connection();
    worker.await_log(".env can be read by others; advised: chmod 600 .env", PATIENCE);
    worker.await_output("advised: chmod 600 .env", PATIENCE);
}

#[test]
fn a_broken_line_of_ours_is_told_by_its_place_and_not_by_its_content() {
    for broken in ["RABBITMQ_PASSWORD='canary", "RABBITMQ_PASSWORD='canary' canary", "RABBITMQ_PASSWORD canary"] {
        let dotenv = format!("# first\nRABBITMQ_HOST=rmq.example\n{broken}\nLOG_LEVEL=INFO\n");
        let output = refused(dotenv.as_bytes());
        assert!(output.contains("the settings have 1 error(s):\n  RABBITMQ_PASSWORD (.env, line 3) "), "{output}");
        assert!(
            output.contains("for example: RABBITMQ_PASSWORD=value") || output.contains("RABBITMQ_PASSWORD='a value'"),
            "{output}"
        );
        assert!(!output.contains("canary"), "{output}");
    }
}

#[test]
fn what_is_not_ours_is_skipped_readable_or_not() {
    let foreign = [
        "1C_WEB_SERVICE_URL=http://1c.example/ws",
        "MY-KEY=1",
        "DEBUG",
        "NOTE=don't touch",
        "NOTE='don't touch'",
        "NOTE=\"an open quote",
        "X={\"a\": \"b\"}",
        "X=\"{\"a\": \"b\"}\"",
        "export A=b",
        "КЛЮЧ=значение",
        "[section]",
        "=value",
        "A B=c",
        "PASSWORD=\\canary",
        "KEY=\"-----BEGIN KEY-----\nAAAA\n-----END KEY-----\"",
    ];
    for (start, end_of_line) in [("", "\n"), ("\u{feff}", "\r\n"), ("\r", "\r")] {
        let broker = Listener::new();
        let lines: Vec<String> = settings_for(&broker).iter().map(|(name, value)| format!("{name}={value}")).collect();
        let [host, port, password, webhook] = lines.try_into().expect("four settings");
        let ours = [vec![host, format!("export {port}")], foreign.map(String::from).to_vec(), vec![password, webhook]];
        let dotenv = format!("{start}{}{end_of_line}", ours.concat().join("\n").replace('\n', end_of_line));
        let worker = run_with_dotenv(&[], dotenv, 0o600);
        worker.await_log(" starts", PATIENCE);
        broker.await_connection();
        let log = worker.log();
        assert!(!log.contains(".env, line"), "{log}");
    }
}

#[test]
fn the_dotenv_file_is_read_as_python_dotenv_reads_it() {
    let (broker, other) = (Listener::new(), Listener::new());
    let dotenv = format!(
        "RABBITMQ_HOST=127.0.0.1 # where it is\nRABBITMQ_PORT={}\nRABBITMQ_PORT={}\nRABBITMQ_PASSWORD=pa$$HOME # word\n\
         DOMAIN=bitrix.example\nBITRIX_WEBHOOK_URL=\"https://${{DOMAIN}}/rest/${{USER_ID:-1}}/canarytoken0123\"\n\
         LOG_LEVEL=${{NOTHING}}\n",
        other.port(),
        broker.port()
    );
    let worker = run_with_dotenv(&[], dotenv, 0o600);
    broker.await_connection();
    assert_eq!(other.connections(), 0, "of two lines the last one counts");
    for advice in [
        "WARN  [main] .env, line 3: RABBITMQ_PORT is set a second time, and this line counts; remove one",
        ".env, line 4: RABBITMQ_PASSWORD ends where # starts a comment; if that belongs to it, put it in single quotes",
        ".env, line 7: a ${…} in LOG_LEVEL names no variable, and nothing stands in its place",
    ] {
        worker.await_log(advice, PATIENCE);
    }
    let seen = worker.log();
    assert!(seen.matches(".env, line ").count() == 3 && !seen.contains("pa$$"), "{seen}");
}

#[test]
fn a_settings_error_names_the_file_and_the_line() {
    let dotenv = "\n# a comment\nRETRY_ATTEMPTS=often\nRABBITMQ_PASSWORD=canary\nRETRY_DELAY='\"5\"'\n";
    let output = refused(dotenv.as_bytes());
    assert!(output.contains("  RETRY_ATTEMPTS (.env, line 3) is \"often\", not a whole number"), "{output}");
    assert!(output.contains("  RETRY_DELAY (.env, line 5) has quotes around it"), "{output}");
    assert!(!output.contains("canary"), "{output}");
}

#[test]
fn quotes_that_are_part_of_the_value_are_reported() {
    let broker = Listener::new();
    for name in ["RABBITMQ_HOST", "RABBITMQ_PASSWORD", "RESPONSES_QUEUE", "BITRIX_WEBHOOK_URL"] {
        let mut settings = settings_for(&broker).to_vec();
        settings.push(("RESPONSES_QUEUE".into(), "camunda.responses.queue".into()));
        let quoted = settings.iter_mut().find(|(given, _)| given == name).map(|(_, value)| value);
        quoted.into_iter().for_each(|value| *value = format!("\"{value}\""));
        let mut worker = Worker::run(&[], &settings);
        assert_eq!(worker.wait(PATIENCE).code(), Some(78), "{name}");
        let output = worker.output();
        assert!(output.contains(&format!("{name} has quotes around it")), "{output}");
        assert!(output.contains("1 error(s)") && output.contains("docker --env-file"), "{output}");
    }
    assert_eq!(broker.connections(), 0);
    // In .env the outer quotes are taken off, so the inner ones are meant.
    let mut dotenv = dotenv_for(&broker);
    dotenv.push_str("RABBITMQ_PASSWORD='\"canary\"'\n");
    let _worker = run_with_dotenv(&[], dotenv, 0o600);
    broker.await_connection();
}

#[test]
fn an_encoding_that_is_not_utf8_is_named() {
    let utf16 = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        "\u{feff}RABBITMQ_PASSWORD=canary\n".encode_utf16().flat_map(to_bytes).collect()
    };
    for bytes in [utf16(u16::to_le_bytes), utf16(u16::to_be_bytes), utf16(u16::to_le_bytes)[2..].to_vec()] {
        let output = refused(&bytes);
        assert!(output.contains(".env: is UTF-16") && output.contains("save the file as UTF-8"), "{output}");
    }
    // "пароль" in CP1251.
    let password = b"RABBITMQ_HOST=rmq.example\nRABBITMQ_PASSWORD=\xef\xe0\xf0\xee\xeb\xfc\n";
    let output = refused(password);
    assert!(output.contains("RABBITMQ_PASSWORD (.env, line 2) is not UTF-8, but perhaps CP1251"), "{output}");
    assert!(output.contains("save the file as UTF-8"), "{output}");
    let broker = Listener::new();
    let comment = [b"# \xef\xe0\xf0\xee\xeb\xfc\n", dotenv_for(&broker).as_bytes()].concat();
    let worker = run_with_dotenv(&[], comment, 0o600);
    broker.await_connection();
    worker.await_log(
        ".env, line 1: the file is not UTF-8, but perhaps CP1251 (Windows); save the file as UTF-8",
        PATIENCE,
    );
}

#[test]
fn a_misspelt_name_is_told_with_the_nearest_one() {
    let broker = Listener::new();
    let dotenv = format!("{}HEARTBEAT_INTREVAL=5\nRABBITMQ_USER=me\nOTHER=1\n", dotenv_for(&broker));
    let worker = run_with_dotenv(&[("RETRY_DEALY".into(), "5".into())], dotenv, 0o600);
    broker.await_connection();
    for advice in [
        "the environment: RETRY_DEALY is not a setting and is not read; is RETRY_DELAY meant?",
        ".env, line 5: HEARTBEAT_INTREVAL is not a setting and is not read; is HEARTBEAT_INTERVAL meant?",
        ".env, line 6: RABBITMQ_USER is not a setting and is not read; is RABBITMQ_USERNAME meant?",
    ] {
        worker.await_log(advice, PATIENCE);
    }
    assert!(!worker.log().contains("OTHER"), "{}", worker.log());
}

#[test]
fn a_misspelt_name_is_reported_with_the_error_that_it_causes() {
    for command in ["run", "check"] {
        let mut worker = Worker::run(&[command], &[("RABBITMQ_PASWORD".into(), PASSWORD.into())]);
        assert_eq!(worker.wait(PATIENCE).code(), Some(78));
        let output = worker.output();
        assert!(output.contains("RABBITMQ_PASSWORD is not set"), "{output}");
        assert!(output.contains("RABBITMQ_PASWORD is not a setting and is not read; is RABBITMQ_PASSWORD"), "{output}");
    }
}

#[test]
fn a_setting_that_an_open_quote_swallows_is_told() {
    let broker = Listener::new();
    let dotenv = format!("NOTE=\"open\nRETRY_DELAY=7\nEND=\"\n{}", dotenv_for(&broker));
    let worker = run_with_dotenv(&[], dotenv, 0o600);
    broker.await_connection();
    worker.await_log(".env, line 1: the quotes that open in this line are closed only behind RETRY_DELAY", PATIENCE);
}

#[test]
fn a_value_that_is_not_utf8_is_told_and_not_taken_for_unset() {
    let broker = Listener::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_task-creator"));
    command.env_clear().envs(settings_for(&broker)).env("QUEUE_PREFIX", OsStr::from_bytes(b"\xff."));
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the built binary starts");
    eventually("its end, or a connection to RabbitMQ", PATIENCE, || {
        broker.connections() > 0 || child.try_wait().is_ok_and(|status| status.is_some())
    });
    // It has ended already, unless the test fails.
    let _ = child.kill();
    let done = child.wait_with_output().expect("our own child can be awaited");
    let output = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(78), "{output}");
    assert!(output.contains("QUEUE_PREFIX is not UTF-8"), "{output}");
}

#[test]
fn the_first_lines_say_what_runs_with_which_settings_and_against_what() {
    let broker = Listener::new();
    let worker = run_with_dotenv(&[], dotenv_for(&broker), 0o600);
    worker.await_log("Bitrix24 at https://bitrix.example/rest/1/***, tasks from bitrix24.queue", PATIENCE);
    let (log, folder) = (worker.log(), worker.folder().display());
    let version = env!("CARGO_PKG_VERSION");
    for text in [
        format!("task-creator {version} starts: pid {}, settings from {folder}/.env", worker.pid()),
        format!(", logs in {folder}/logs\n"),
        format!("RabbitMQ at 127.0.0.1:{}, virtual host /, as admin\n", broker.port()),
    ] {
        assert!(log.contains(&text), "{text}: {log}");
    }
    assert!(!log.contains("openproject"), "a system that does not exist: {log}");
    let bare = Worker::run(&[], &settings_for(&broker));
    bare.await_log("settings from the environment, no ", PATIENCE);
}

#[test]
fn a_worker_that_is_started_twice_is_refused_and_told_of_the_other_one() {
    let broker = Listener::new();
    let mut first = Worker::run(&[], &settings_for(&broker));
    broker.await_connection();
    let mut settings = settings_for(&broker);
    settings.push(("LOG_DIR".into(), first.folder().join("logs").display().to_string()));
    let told = format!("another worker (pid {}) writes its logs there", first.pid());
    run(&[], &settings).ended_with(78).has(&told).has("a LOG_DIR of its own");
    assert_eq!(first.log().matches(" starts: ").count(), 1);

    let mut checked = settings.clone();
    checked.retain(|(name, _)| name != "RABBITMQ_PORT" && name != "BITRIX_WEBHOOK_URL");
    checked.push(("RABBITMQ_PORT".into(), "1".into()));
    run(&["check"], &checked).has(&format!("logs: a worker (pid {}) writes its logs there now", first.pid()));

    // After any end of the first one, even SIGKILL.
    first.kill();
    run(&["check"], &checked).has("logs: logs can be written");
    let second = Worker::run(&[], &settings);
    broker.await_connection();
    first.await_log(&format!("starts: pid {}", second.pid()), PATIENCE);
}

#[test]
fn without_log_files_the_terminal_gets_the_whole_log_and_nothing_is_written() {
    let broker = Listener::new();
    let mut settings = settings_for(&broker);
    settings.push(("LOG_DIR".into(), "none".into()));
    let mut worker = Worker::run(&[], &settings);
    broker.await_connection();
    worker.signal("TERM");
    assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{}", worker.output());
    let output = worker.output();
    assert!(output.contains(", no log files\n") && output.contains("stopping; "), "{output}");
    assert!(!worker.folder().join("none").exists() && !worker.folder().join("logs").exists(), "{output}");
    settings.retain(|(name, _)| name != "RABBITMQ_PORT");
    settings.push(("RABBITMQ_PORT".into(), "1".into()));
    run(&["check"], &settings).has("ok    LOG_DIR=none: the log goes to the terminal only");
}

/// Runs the program as on a full disk: no file may grow.
fn without_room(arguments: &str) -> String {
    let limited = format!("(trap '' XFSZ; ulimit -f 0; exec \"$0\" {arguments}) >pipe 2>&1");
    format!("mkfifo pipe; cat <pipe & {limited}; code=$?; wait; rm pipe; exit $code")
}

#[test]
fn logs_that_cannot_be_written_end_the_start_with_what_to_do() {
    let broker = Listener::new();
    let mut worker = Worker::run_under(&without_room(""), &settings_for(&broker));
    assert_eq!(worker.wait(PATIENCE).code(), Some(78), "{}", worker.output());
    let output = worker.output();
    for text in ["/logs: cannot write the logs there: File too large", "make room, or set another LOG_DIR"] {
        assert!(output.contains(text), "{output}");
    }
    let mut elsewhere = settings_for(&broker);
    elsewhere.push(("LOG_DIR".into(), "/dev/null/logs".into()));
    run(&[], &elsewhere).ended_with(78).has("LOG_DIR=/dev/null/logs: cannot write the logs there: Not a directory");
    assert_eq!(broker.connections(), 0);
}

#[test]
fn a_check_sees_that_there_is_no_room_for_the_logs_and_leaves_nothing_behind() {
    let broker = Listener::new();
    let mut settings = settings_for(&broker);
    settings.retain(|(name, _)| name != "RABBITMQ_PORT" && name != "BITRIX_WEBHOOK_URL");
    settings.push(("RABBITMQ_PORT".into(), "1".into()));
    let mut check = Worker::run_under(&without_room("check"), &settings);
    assert_eq!(check.wait(PATIENCE).code(), Some(1));
    let output = check.output();
    assert!(output.contains("FAIL  LOG_DIR=") && output.contains("cannot be written: File too large"), "{output}");
    let left: Vec<_> = fs::read_dir(check.folder()).expect("ours").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["output"]);
}

/// Takes the place of RabbitMQ: counts connections and never answers.
struct Listener(TcpListener);

impl Listener {
    fn new() -> Listener {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        Listener(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("a bound socket has an address").port()
    }

    /// How many have connected since the last call; until then a connection waits in the backlog.
    fn connections(&self) -> usize {
        std::iter::from_fn(|| match self.0.accept() {
            Ok(connection) => Some(connection),
            Err(err) if err.kind() == ErrorKind::WouldBlock => None,
            Err(err) => panic!("accept: {err}"),
        })
        .count()
    }

    fn await_connection(&self) {
        eventually("a connection to RabbitMQ", PATIENCE, || self.connections() > 0);
    }
}

fn settings_for(broker: &Listener) -> Vec<(String, String)> {
    let settings = [
        ("RABBITMQ_HOST", "127.0.0.1".to_owned()),
        ("RABBITMQ_PORT", broker.port().to_string()),
        ("RABBITMQ_PASSWORD", PASSWORD.to_owned()),
        ("BITRIX_WEBHOOK_URL", WEBHOOK.to_owned()),
    ];
    settings.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn dotenv_for(broker: &Listener) -> String {
    settings_for(broker).iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// What the worker says when it does not start because of this `.env`.
fn refused(dotenv: &[u8]) -> String {
    let mut worker = run_with_dotenv(&[], dotenv, 0o600);
    let code = worker.wait(PATIENCE).code();
    let output = worker.output();
    assert_eq!(code, Some(78), "{output}");
    let told = output.rsplit("task-creator: ").next();
    told.unwrap_or_default().to_owned()
}

/// A worker with this `.env` in its working directory. It is run twice: the first run makes the folder, and ends
/// because it has no password.
fn run_with_dotenv(environment: &[(String, String)], dotenv: impl AsRef<[u8]>, mode: u32) -> Worker {
    let mut worker = Worker::run(&[], environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    let folder: &Path = worker.folder();
    fs::write(folder.join(".env"), dotenv).expect("the worker's folder is writable");
    fs::set_permissions(folder.join(".env"), Permissions::from_mode(mode)).expect("it is our file");
    worker.start_again();
    worker
}
