//! The program with its settings: all mistakes are told before RabbitMQ is touched, and `.env` is read with care. What the
//! values mean is in `settings.rs`.

mod support;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use support::*;

const PASSWORD: &str = "canary-password";
const WEBHOOK: &str = "https://bitrix.example/rest/1/canarytoken0123";

#[test]
fn all_mistakes_are_told_together_before_rabbitmq_is_touched() {
    let broker = Listener::new();
    let mut settings = settings_for(&broker);
    settings.retain(|(name, _)| name != "RABBITMQ_PASSWORD");
    let wrong = [("RETRY_ATTEMPTS", "often"), ("BITRIX_WEBHOOK_URL", "bitrix.example")];
    settings.retain(|(name, _)| name != "BITRIX_WEBHOOK_URL");
    settings.extend(wrong.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut worker = Worker::run(&[], &settings);
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    let output = worker.output();
    for text in
        ["3 mistake(s)", "RABBITMQ_PASSWORD is not set, neither", "RETRY_ATTEMPTS=3", "BITRIX_WEBHOOK_URL=https://"]
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
    let mut settings = settings_for(&broker);
    settings.retain(|(name, _)| name != "RABBITMQ_PASSWORD");
    let dotenv = format!("RABBITMQ_PASSWORD='with $ and # and spaces'\nRABBITMQ_PORT={}\n", other.port());
    let worker = run_with_dotenv(&settings, &dotenv, 0o600);
    broker.await_connection();
    assert_eq!(other.connections(), 0, "the environment wins");
    assert!(!worker.output().contains("chmod"), "{}", worker.output());
}

#[test]
fn a_dotenv_file_that_others_may_write_is_refused() {
    let broker = Listener::new();
    let mut worker = run_with_dotenv(&[], &dotenv_for(&broker), 0o620);
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    assert!(worker.output().contains("others may write to it"), "{}", worker.output());
    assert_eq!(broker.connections(), 0);
}

#[test]
fn a_dotenv_file_that_others_may_read_is_used_with_advice() {
    let broker = Listener::new();
    let worker = run_with_dotenv(&[], &dotenv_for(&broker), 0o644);
    broker.await_connection();
    assert!(worker.output().contains("advised: chmod 600 .env"), "{}", worker.output());
}

#[test]
fn a_broken_line_of_the_dotenv_file_is_told_by_its_place_and_not_by_its_content() {
    for broken in ["RABBITMQ_PASSWORD=canary password", "RABBITMQ_PASSWORD='canary", "canary", "PASSWORD=\\canary"] {
        let dotenv = format!("# first\nRABBITMQ_HOST=rmq.example\n{broken}\nLOG_LEVEL=INFO\n");
        let mut worker = run_with_dotenv(&[], &dotenv, 0o600);
        let code = worker.wait(PATIENCE).code();
        let output = worker.output();
        assert_eq!(code, Some(78), "{output}");
        assert!(output.contains("the line after that of RABBITMQ_HOST"), "{output}");
        assert!(!output.contains("canary"), "{output}");
    }
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
    // It has ended, unless the test fails.
    let _ = child.kill();
    let done = child.wait_with_output().expect("our own child can be awaited");
    let output = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(78), "{output}");
    assert!(output.contains("QUEUE_PREFIX is not UTF-8"), "{output}");
}

/// Takes the place of RabbitMQ: counts who connects and never says a word.
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

    /// How many have connected since the last question; a connection waits in the backlog until then.
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

/// A worker in whose working directory this `.env` lies: it is run once to make its folder, and ends for want of a
/// password.
fn run_with_dotenv(environment: &[(String, String)], dotenv: &str, mode: u32) -> Worker {
    let mut worker = Worker::run(&[], environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(78));
    let folder: &Path = worker.folder();
    fs::write(folder.join(".env"), dotenv).expect("the worker's folder is writable");
    fs::set_permissions(folder.join(".env"), Permissions::from_mode(mode)).expect("it is our file");
    worker.start_again();
    worker
}
