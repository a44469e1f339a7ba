//! Environment → [`Config`]: read once, checked whole, every mistake reported at once.
//!
//! The common settings are here; a system's own are read by its folder with the same [`Variables`]. Each variable is
//! explained in `config.env.example` and in the README's table; a test compares the three. Nothing here opens a socket or
//! a log; of files it reads those of certificates. Where the values come from is [`crate::settings::dotenv`]'s business.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use log::LevelFilter;

use crate::lane::Queues;
use crate::settings::address;
use crate::settings::dotenv::{Environment, Given};
pub use crate::settings::variables::{Lookup, Variables};
use crate::systems::bitrix24;
use crate::tls::Authorities;

/// A name in AMQP, in bytes; amiquip does not check, and a longer one would corrupt the frame.
const LONGEST_NAME: usize = 255;
/// Leaves room for the longest name of a system's queue after it, in bytes.
const LONGEST_PREFIX: usize = 200;

/// Everything the worker was told, checked.
#[derive(Debug)]
pub struct Config {
    /// The broker.
    pub rabbitmq: RabbitMq,
    /// Put before the name of every queue of a system; empty but for trials, tests and `demo`.
    pub queue_prefix: String,
    /// Where parked messages go.
    pub error_queue: String,
    /// Where the answers for Camunda go.
    pub responses_queue: String,
    /// From which level on lines are logged.
    pub log_level: LevelFilter,
    /// The folder of `worker.log` and `worker_errors.log`.
    pub log_dir: PathBuf,
    /// Between two sweeps of a tracker and between two heartbeats.
    pub heartbeat_interval: Duration,
    /// How often a message may fail by itself before it is parked; at least 1.
    pub retry_attempts: u32,
    /// Before the second try of a message; grows with every further one.
    pub retry_delay: Duration,
    /// Threads in each system's pool.
    pub handler_threads: usize,
    /// Deliveries in hand for each queue.
    pub prefetch: u16,
    /// For the work in hand after Ctrl+C.
    pub shutdown_timeout: Duration,
    /// Whom to trust, at every address with https.
    pub https: Authorities,
    /// Bitrix24, where it is switched on.
    pub bitrix24: Option<bitrix24::Settings>,
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
    /// What we propose, in seconds; the smaller of this and the server's proposal counts.
    pub heartbeat: u16,
    /// Whom to trust, where amqps is switched on.
    pub tls: Option<Authorities>,
}

/// A text that never prints itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    /// The secret itself, for the place where a request is built, and for the log's filter.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// All that is wrong with the settings, a line each.
#[derive(Debug)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings have {} mistake(s):", self.0.len())?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

impl Config {
    /// Reads the settings through `lookup`, which gives the value of a variable.
    ///
    /// # Errors
    /// [`Mistakes`]: every one of them, each with the variable's name and an example.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
        let given = |name: &str| Some(Ok(Given { value: lookup(name)?, place: None, quoted: false }));
        Config::of(&given)
    }

    /// The same where it is known in which place each value stands.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn of(lookup: Lookup) -> Result<Config, Mistakes> {
        right(Variables::read(lookup, Config::from_variables))
    }

    /// The settings of this process.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn from_env(environment: &Environment) -> Result<Config, Mistakes> {
        right(Variables::of(environment, Config::from_variables))
    }

    /// The name of every setting.
    pub fn names() -> &'static BTreeSet<String> {
        static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
        NAMES.get_or_init(|| {
            let names = RefCell::new(BTreeSet::new());
            let lookup = |name: &str| {
                names.borrow_mut().insert(name.to_owned());
                None
            };
            let _ = Variables::read(&lookup, |variables| {
                Config::from_variables(variables);
                // Those that count only where the system is on.
                bitrix24::Settings::without_portal(variables);
            });
            names.into_inner()
        })
    }

    /// The settings in these variables; in place of one that is wrong, its default.
    pub fn from_variables(variables: &mut Variables) -> Config {
        let queue_prefix = variables.name("QUEUE_PREFIX", LONGEST_PREFIX).unwrap_or_default();
        let error_queue = common_queue(variables, &queue_prefix, "ERROR_QUEUE", "errors.camunda_tasks.queue");
        let responses_queue = common_queue(variables, &queue_prefix, "RESPONSES_QUEUE", "camunda.responses.queue");
        if error_queue == responses_queue {
            let example = "RESPONSES_QUEUE=camunda.responses.queue";
            variables.mistake("RESPONSES_QUEUE", "is the same queue as ERROR_QUEUE", example);
        }
        let bitrix24 = bitrix24::Settings::from_variables(variables);
        Config {
            rabbitmq: RabbitMq::from_variables(variables),
            queue_prefix,
            error_queue,
            responses_queue,
            log_level: log_level(variables),
            log_dir: variables.text("LOG_DIR").unwrap_or_else(|| "logs".into()).into(),
            heartbeat_interval: variables.seconds("HEARTBEAT_INTERVAL", 60),
            retry_attempts: variables.number("RETRY_ATTEMPTS", 3, 1..=1000),
            retry_delay: variables.seconds("RETRY_DELAY", 5),
            handler_threads: variables.number("HANDLER_THREADS", 256, 1..=256),
            prefetch: variables.number("PREFETCH", 256, 1..=65_535),
            shutdown_timeout: variables.seconds("SHUTDOWN_TIMEOUT", 30),
            https: https(variables, bitrix24.as_ref().is_some_and(|bitrix24| bitrix24.webhook.is_https())),
            bitrix24,
        }
    }

    /// The values that must not appear in any output.
    pub fn secrets(&self) -> Vec<String> {
        let bitrix24 = self.bitrix24.iter().flat_map(|settings| settings.webhook.secrets());
        let RabbitMq { username, password, .. } = &self.rabbitmq;
        let sign_in = STANDARD.encode(format!("{username}:{}", password.expose()));
        bitrix24.chain([password.expose().to_owned(), sign_in]).filter(|secret| !secret.is_empty()).collect()
    }
}

impl RabbitMq {
    fn from_variables(variables: &mut Variables) -> RabbitMq {
        let password = variables.secret("RABBITMQ_PASSWORD");
        if password.is_none() {
            variables.mistake(
                "RABBITMQ_PASSWORD",
                "is not set, neither in the environment nor in .env of this folder",
                "RABBITMQ_PASSWORD=the password of RABBITMQ_USERNAME",
            );
        }
        let tls = variables.flag("RABBITMQ_TLS", false);
        let authorities = variables.authorities("RABBITMQ_CA_FILE");
        if authorities.is_some() && !tls {
            // It would be easy to believe that the connection is safe.
            variables.mistake(
                "RABBITMQ_CA_FILE",
                "is set, but TLS is off, so it protects nothing",
                "RABBITMQ_TLS=true",
            );
        }
        RabbitMq {
            host: host(variables),
            port: variables.number("RABBITMQ_PORT", if tls { 5671 } else { 5672 }, 1..=65_535),
            username: variables.text("RABBITMQ_USERNAME").unwrap_or_else(|| "admin".into()),
            password: Secret::new(password.unwrap_or_default()),
            vhost: variables
                .name("RABBITMQ_VHOST", LONGEST_NAME)
                .or_else(|| variables.name("RABBITMQ_VIRTUAL_HOST", LONGEST_NAME))
                .unwrap_or_else(|| "/".into()),
            // 0 would switch heartbeats off, and a dead link would never be noticed.
            heartbeat: variables.number("RABBITMQ_HEARTBEAT", 600, 1..=65_535),
            tls: tls.then(|| authorities.unwrap_or_else(Authorities::public)),
        }
    }
}

/// What was made of the variables, if there are no mistakes in them.
///
/// # Errors
/// The mistakes.
pub fn right<T>((made, mistakes): (T, Vec<String>)) -> Result<T, Mistakes> {
    if mistakes.is_empty() { Ok(made) } else { Err(Mistakes(mistakes)) }
}

/// Does what is sent to this host stay on this machine? Only what says so by itself counts: no name is looked up.
pub fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// A name or an address and nothing else: an address with a password in it would be shown in the log.
fn host(variables: &mut Variables) -> String {
    let host = variables.text("RABBITMQ_HOST").unwrap_or_else(|| "localhost".into());
    address::host(&host).unwrap_or_else(|wrong| {
        variables.mistake("RABBITMQ_HOST", wrong, "RABBITMQ_HOST=rmq.example");
        host
    })
}

/// A queue that all systems share. What is put into a system's own queue would come back to us.
fn common_queue(variables: &mut Variables, prefix: &str, name: &str, default: &str) -> String {
    let queue = variables.name(name, LONGEST_NAME).unwrap_or_else(|| default.into());
    if queue.starts_with("amq.") {
        let wrong = "begins with amq., which RabbitMQ keeps for its own queues";
        variables.mistake(name, wrong, &format!("{name}={default}"));
    }
    if Queues::are_called(&queue, prefix) {
        variables.mistake(name, &format!("is {queue:?}, a queue of a system"), &format!("{name}={default}"));
    }
    queue
}

/// The public authorities, and those of `HTTPS_CA_FILE`.
fn https(variables: &mut Variables, is_used: bool) -> Authorities {
    let Some(own) = variables.authorities("HTTPS_CA_FILE") else { return Authorities::public() };
    if !is_used {
        let example = "BITRIX_WEBHOOK_URL=https://bitrix.example/rest/1/TOKEN";
        variables.mistake("HTTPS_CA_FILE", "is set, but no address is https, so it protects nothing", example);
    }
    own.and(Authorities::public())
}

fn log_level(variables: &mut Variables) -> LevelFilter {
    let level = variables.text("LOG_LEVEL").unwrap_or_else(|| "INFO".into()).to_uppercase();
    match level.as_str() {
        "DEBUG" => LevelFilter::Debug,
        "INFO" => LevelFilter::Info,
        "WARNING" | "WARN" => LevelFilter::Warn,
        "ERROR" => LevelFilter::Error,
        _ => {
            variables.mistake("LOG_LEVEL", &format!("is {level:?}"), "LOG_LEVEL=INFO (or DEBUG, WARNING, ERROR)");
            LevelFilter::Info
        }
    }
}
