//! What the `EMAIL_…` variables say. It asks nobody.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::addresses::Mailbox;
use crate::settings::address::host;
use crate::settings::{Secret, Variables};
use crate::tls::RootCertificates;

/// Switches the system on.
pub const HOST: &str = "EMAIL_SMTP_HOST";
/// Who sends.
pub const FROM: &str = "EMAIL_FROM";
/// To whom mail may go.
pub const ALLOWED_DOMAINS: &str = "EMAIL_ALLOWED_DOMAINS";
/// How the way to the server is protected.
pub const SECURITY: &str = "EMAIL_SECURITY";
/// Whom to trust there, beside the public ones.
pub const CA_FILE: &str = "EMAIL_CA_FILE";

/// In seconds.
const LONGEST_TIMEOUT: u32 = 300;
/// In seconds. RabbitMQ takes back what is unacknowledged for half an hour.
const LONGEST_ACCEPT_TIMEOUT: u32 = 900;
/// In seconds: no message waits longer in the retry queue.
const LONGEST_RETRY_AFTER: u32 = 900;

/// What the `EMAIL_…` variables say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is protected.
    pub security: Security,
    /// Whom to trust there.
    pub certificates: RootCertificates,
    /// Who we are there; `None`: it lets us in without.
    pub sign_in: Option<SignIn>,
    /// Who sends.
    pub from: Mailbox,
    /// To which domains mail may go; empty: to all.
    pub allowed_domains: BTreeSet<String>,
    /// For each step but the last one.
    pub timeout: Duration,
    /// For the last step: the server may look for viruses before it answers.
    pub accept_timeout: Duration,
    /// Before mail goes again that the server has put off.
    pub retry_after: Duration,
    /// At once.
    pub connections: usize,
}

/// A user of the mail server.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// How the way to the server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the start.
    Tls,
    /// STARTTLS, and nothing without it.
    StartTls,
    /// Not at all.
    None,
}

impl Settings {
    /// Reads the settings; without `EMAIL_SMTP_HOST` the system is off.
    pub fn from_variables(variables: &mut Variables) -> Option<Settings> {
        let given = variables.text(HOST)?;
        let host = host(&given).unwrap_or_else(|wrong| {
            variables.error(HOST, wrong, "EMAIL_SMTP_HOST=mail.example");
            String::new()
        });
        let settings = Settings::with(host, variables);
        if variables.text(FROM).is_none() {
            variables.lacks(FROM, "EMAIL_FROM=Task Creator <camunda@firma.example>");
        }
        Some(settings)
    }

    /// The same where no server is needed, since nothing will be sent.
    pub fn without_server(variables: &mut Variables) -> Settings {
        Settings::with(String::new(), variables)
    }

    fn with(host: String, variables: &mut Variables) -> Settings {
        let security = variables.parsed(SECURITY, "EMAIL_SECURITY=tls", security).unwrap_or(Security::Tls);
        let usual_port = match security {
            Security::Tls => 465,
            Security::StartTls => 587,
            Security::None => 25,
        };
        let parse = |given: &str| Mailbox::parse(given).map_err(str::to_owned);
        let from = variables.parsed(FROM, "EMAIL_FROM=Task Creator <camunda@firma.example>", parse);
        let nobody = || Mailbox { name: None, local: "nobody".into(), domain: "invalid".into() };
        Settings {
            host,
            port: variables.number("EMAIL_SMTP_PORT", usual_port, 1..=u16::MAX),
            certificates: certificates(security, variables),
            security,
            sign_in: sign_in(variables),
            from: from.unwrap_or_else(nobody),
            allowed_domains: variables
                .parsed(ALLOWED_DOMAINS, "EMAIL_ALLOWED_DOMAINS=firma.example,kunde.example", domains)
                .unwrap_or_default(),
            timeout: variables.seconds_up_to("EMAIL_TIMEOUT", 30, LONGEST_TIMEOUT),
            accept_timeout: variables.seconds_up_to("EMAIL_ACCEPT_TIMEOUT", 300, LONGEST_ACCEPT_TIMEOUT),
            retry_after: variables.seconds_up_to("EMAIL_RETRY_AFTER", 300, LONGEST_RETRY_AFTER),
            connections: variables.number("EMAIL_CONNECTIONS", 4, 1..=50),
        }
    }

    /// The password, alone and as it is sent.
    pub fn secrets(&self) -> Vec<Secret> {
        let of = |SignIn { user, password }: &SignIn| {
            let (plain, alone) = (format!("\0{user}\0{}", password.expose()), password.expose());
            [STANDARD.encode(plain), STANDARD.encode(alone), alone.to_owned()].map(Secret::new)
        };
        self.sign_in.iter().flat_map(of).collect()
    }
}

fn security(given: &str) -> Result<Security, String> {
    match given.to_lowercase().as_str() {
        "tls" => Ok(Security::Tls),
        "starttls" => Ok(Security::StartTls),
        "none" => Ok(Security::None),
        _ => Err(format!("is {given:?}, neither tls, starttls nor none")),
    }
}

fn certificates(security: Security, variables: &mut Variables) -> RootCertificates {
    let read = |file: &str| match security {
        Security::None => Err("is set, but TLS is off, so it protects nothing".into()),
        Security::Tls | Security::StartTls => {
            RootCertificates::read(Path::new(file)).map_err(|wrong| format!("is {file:?}, {wrong}"))
        }
    };
    let own = variables.parsed(CA_FILE, "EMAIL_CA_FILE=ca.pem", read);
    own.into_iter().fold(RootCertificates::public(), RootCertificates::and)
}

fn sign_in(variables: &mut Variables) -> Option<SignIn> {
    let (user, password) = (variables.text("EMAIL_USERNAME"), variables.secret("EMAIL_PASSWORD"));
    match (user, password) {
        (Some(user), Some(password)) => Some(SignIn { user, password }),
        (None, None) => None,
        (Some(_), None) => {
            variables.lacks("EMAIL_PASSWORD", "EMAIL_PASSWORD='change me'");
            None
        }
        (None, Some(_)) => {
            variables.lacks("EMAIL_USERNAME", "EMAIL_USERNAME=camunda@firma.example");
            None
        }
    }
}

fn domains(given: &str) -> Result<BTreeSet<String>, String> {
    let domain =
        |domain: &str| host(domain.trim()).map(|domain| domain.trim_end_matches('.').to_ascii_lowercase()).ok();
    given.split(',').map(domain).collect::<Option<_>>().ok_or_else(|| format!("is {given:?}, not a list of domains"))
}
