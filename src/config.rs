//! The settings that all systems share → [`Config`]: read once, checked completely, all errors reported.
//!
//! It knows no system: each reads its own settings, with the same [`Variables`], and [`crate::systems::table`] reads
//! all of them together. `config.env.example` explains each variable; a test compares the two. This file opens no
//! socket and no log; the only files it reads are those with certificates and secrets.

mod alerts;
mod monitor;

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use log::LevelFilter;

use crate::camunda;
use crate::settings::{Secret, SettingsErrors, Variables, address, right};
use crate::tls::RootCertificates;

pub use alerts::{Alerts, People};
pub use monitor::Monitor;

/// The queues that all systems share: the setting, and its default.
pub const ERROR_QUEUE: (&str, &str) = ("ERROR_QUEUE", "errors.camunda_tasks.queue");
/// As [`ERROR_QUEUE`].
pub const RESPONSES_QUEUE: (&str, &str) = ("RESPONSES_QUEUE", "camunda.responses.queue");
/// The setting with the root certificates that https trusts besides the public ones.
pub const HTTPS_CA_FILE: &str = "HTTPS_CA_FILE";

/// The longest name in AMQP, in bytes; amiquip does not check, and a longer one would corrupt the frame.
const LONGEST_NAME: usize = 255;
/// The longest prefix, in bytes; it leaves room for the longest name of a system's queue.
const LONGEST_PREFIX: usize = 200;

/// The checked settings that all systems share.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker.
    pub rabbitmq: RabbitMq,
    /// Put before the name of every queue of a system; empty except for trials, tests and `demo`.
    pub queue_prefix: String,
    /// Where parked messages go.
    pub error_queue: String,
    /// Where the answers for Camunda go.
    pub responses_queue: String,
    /// The lowest level that is logged.
    pub log_level: LevelFilter,
    /// The folder of `worker.log` and `worker_errors.log`; `None` where only the terminal gets the log.
    pub log_dir: Option<PathBuf>,
    /// The time between two sweeps of a tracker, and between two heartbeats.
    pub heartbeat_interval: Duration,
    /// How often a message may fail by itself before it is parked; at least 1.
    pub retry_attempts: u32,
    /// The pause before the second try of a message; each further pause is longer.
    pub retry_delay: Duration,
    /// Threads in each system's pool.
    pub handler_threads: usize,
    /// Unacknowledged deliveries of each queue.
    pub prefetch: u16,
    /// The time for unfinished work after Ctrl+C.
    pub shutdown_timeout: Duration,
    /// Root certificates for every https address.
    pub https: RootCertificates,
    /// Camunda's engine, which is told of parked tasks, if it is set.
    pub camunda: Option<camunda::Settings>,
    /// Where and for whom the monitor is, if it is on.
    pub monitor: Option<Monitor>,
    /// Who is told of what is wrong.
    pub alerts: Alerts,
}

/// How to reach RabbitMQ.
#[derive(Clone, Debug)]
pub struct RabbitMq {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User name.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// Virtual host.
    pub vhost: String,
    /// The heartbeat that we propose, in seconds; the smaller of this and the server's proposal counts.
    pub heartbeat: u16,
    /// Root certificates, when amqps is switched on.
    pub tls: Option<RootCertificates>,
}

impl Config {
    /// Reads the settings; `value` returns the value of a variable.
    ///
    /// # Errors
    /// [`SettingsErrors`]: all of them, each with the variable's name and an example.
    pub fn read(value: impl Fn(&str) -> Option<String>) -> Result<Config, SettingsErrors> {
        right(Variables::read(value, Config::from_variables))
    }

    /// The settings in these variables; a wrong one is replaced by its default.
    pub fn from_variables(variables: &mut Variables) -> Config {
        let error_queue = common_queue(variables, ERROR_QUEUE);
        let responses_queue = common_queue(variables, RESPONSES_QUEUE);
        if error_queue == responses_queue {
            let (name, default) = RESPONSES_QUEUE;
            variables.error(name, "is the same queue as ERROR_QUEUE", &format!("{name}={default}"));
        }
        let own = root_certificates(variables, HTTPS_CA_FILE);
        Config {
            rabbitmq: RabbitMq::from_variables(variables),
            queue_prefix: variables.name("QUEUE_PREFIX", LONGEST_PREFIX).unwrap_or_default(),
            error_queue,
            responses_queue,
            log_level: log_level(variables),
            log_dir: log_dir(variables),
            heartbeat_interval: variables.seconds("HEARTBEAT_INTERVAL", 60),
            retry_attempts: variables.number("RETRY_ATTEMPTS", 3, 1..=1000),
            retry_delay: variables.seconds("RETRY_DELAY", 5),
            handler_threads: variables.number("HANDLER_THREADS", 256, 1..=256),
            prefetch: variables.number("PREFETCH", 256, 1..=65_535),
            shutdown_timeout: variables.seconds("SHUTDOWN_TIMEOUT", 30),
            https: own.map_or_else(RootCertificates::public, |own| own.and(RootCertificates::public())),
            camunda: camunda::Settings::from_variables(variables),
            monitor: Monitor::from_variables(variables),
            alerts: Alerts::from_variables(variables),
        }
    }

    /// The parts of these settings that must not appear in any output: passwords, and whole sign-ins as they are sent.
    pub fn secrets(&self) -> Vec<Secret> {
        let camunda = self.camunda.iter().flat_map(camunda::Settings::secrets);
        let monitor = self.monitor.iter().flat_map(Monitor::secrets);
        self.rabbitmq.secrets().into_iter().chain(camunda).chain(monitor).collect()
    }
}

impl RabbitMq {
    fn from_variables(variables: &mut Variables) -> RabbitMq {
        let password = variables.secret("RABBITMQ_PASSWORD");
        if password.is_none() {
            variables.lacks("RABBITMQ_PASSWORD", "RABBITMQ_PASSWORD=the password of RABBITMQ_USERNAME");
        }
        let broker = RabbitMq::with("RABBITMQ", password.unwrap_or_default(), variables);
        // Its older name.
        let vhost = variables.name("RABBITMQ_VIRTUAL_HOST", LONGEST_NAME);
        RabbitMq { vhost: broker.vhost.or(vhost).unwrap_or_else(|| "/".into()), ..broker.rest }
    }

    /// What of these settings must not appear in any output: the password, and the whole sign-in as it is sent.
    pub fn secrets(&self) -> Vec<Secret> {
        let RabbitMq { username, password, .. } = self;
        vec![password.clone(), Secret::new(STANDARD.encode(format!("{username}:{}", password.expose())))]
    }

    /// Another broker than that of the messages, by the settings that start with this; `None` where they name none.
    pub fn another(prefix: &str, variables: &mut Variables) -> Option<RabbitMq> {
        let name = format!("{prefix}_PASSWORD");
        let password = variables.secret(&name);
        let is_named = variables.text(&format!("{prefix}_HOST")).is_some();
        if is_named && password.is_none() {
            variables.lacks(&name, &format!("{name}=the password of {prefix}_USERNAME"));
        }
        let broker = RabbitMq::with(prefix, password.unwrap_or_default(), variables);
        is_named.then(|| RabbitMq { vhost: broker.vhost.unwrap_or_else(|| "/".into()), ..broker.rest })
    }

    fn with(prefix: &str, password: Secret, variables: &mut Variables) -> Broker {
        let name = |name: &str| format!("{prefix}_{name}");
        let (switch, ca_file) = (name("TLS"), name("CA_FILE"));
        let tls = variables.flag(&switch, false);
        let root_certificates = root_certificates(variables, &ca_file);
        if root_certificates.is_some() && !tls {
            // Without this error a user would believe that the connection is safe.
            variables.error(&ca_file, "is set, but TLS is off, so it protects nothing", &format!("{switch}=true"));
        }
        let vhost = variables.name(&name("VHOST"), LONGEST_NAME);
        let rest = RabbitMq {
            host: host(&name("HOST"), variables),
            port: variables.number(&name("PORT"), if tls { 5671 } else { 5672 }, 1..=65_535),
            username: variables.text(&name("USERNAME")).unwrap_or_else(|| "admin".into()),
            password,
            vhost: String::new(),
            // 0 would switch heartbeats off, and a dead link would never be noticed.
            heartbeat: variables.number(&name("HEARTBEAT"), 600, 1..=65_535),
            tls: tls.then(|| root_certificates.unwrap_or_else(RootCertificates::public)),
        };
        Broker { rest, vhost }
    }
}

/// What the settings of any broker say; the virtual host apart, which has two names for one of them.
struct Broker {
    rest: RabbitMq,
    vhost: Option<String>,
}

/// A name or an address without anything else: an address with a password in it would be shown in the log.
fn host(name: &str, variables: &mut Variables) -> String {
    let host = variables.text(name).unwrap_or_else(|| "localhost".into());
    address::host(&host).unwrap_or_else(|wrong| {
        variables.error(name, wrong, &format!("{name}=rmq.example"));
        host
    })
}

/// A queue that all systems share.
fn common_queue(variables: &mut Variables, (name, default): (&str, &str)) -> String {
    let queue = variables.name(name, LONGEST_NAME).unwrap_or_else(|| default.into());
    if queue.starts_with("amq.") {
        let wrong = "starts with amq., which RabbitMQ keeps for its own queues";
        variables.error(name, wrong, &format!("{name}={default}"));
    }
    queue
}

/// The root certificates in a PEM file.
fn root_certificates(variables: &mut Variables, name: &str) -> Option<RootCertificates> {
    let read = |file: &str| RootCertificates::read(Path::new(file)).map_err(|wrong| format!("is {file:?}, {wrong}"));
    variables.parsed(name, &format!("{name}=ca.pem"), read)
}

fn log_dir(variables: &mut Variables) -> Option<PathBuf> {
    let folder = variables.text("LOG_DIR").unwrap_or_else(|| "logs".into());
    (!folder.eq_ignore_ascii_case("none")).then(|| folder.into())
}

fn log_level(variables: &mut Variables) -> LevelFilter {
    let level = variables.text("LOG_LEVEL").unwrap_or_else(|| "INFO".into()).to_uppercase();
    match level.as_str() {
        "DEBUG" => LevelFilter::Debug,
        "INFO" => LevelFilter::Info,
        "WARNING" | "WARN" => LevelFilter::Warn,
        "ERROR" => LevelFilter::Error,
        _ => {
            variables.error("LOG_LEVEL", &format!("is {level:?}"), "LOG_LEVEL=INFO (or DEBUG, WARNING, ERROR)");
            LevelFilter::Info
        }
    }
}
