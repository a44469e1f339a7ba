//! What the `ONEC_…` variables say.
//!
//! It asks nobody: whether 1C is as they say is looked at in `check`.

use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::FixedOffset;

use super::mapping::{Mapping, Topic};
use super::{odata, service};
use crate::settings::address::{self, Url};
use crate::settings::{Secret, Variables, file};
use crate::systems::question::MissingAnswer;

/// In seconds, as for every system: what was delivered before is kept so long before it is looked up again.
const LONGEST_TIMEOUT: u32 = 300;
/// With what the address of the standard OData interface ends.
const ODATA: &str = "odata/standard.odata";
const URL: &str = "ONEC_URL";
const MAPPING: &str = "ONEC_MAPPING_FILE";
const MAPPING_EXAMPLE: &str = "ONEC_MAPPING_FILE=onec.json";

/// What the `ONEC_…` variables say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where 1C is.
    pub address: Address,
    /// Who asks there; without a name nobody signs in.
    pub username: Option<String>,
    /// Of this user; 1C knows users without one.
    pub password: Secret,
    /// How 1C is spoken to, and what each topic becomes.
    pub mode: Mode,
    /// For one request; also how long a create without an answer may take to show.
    pub request_timeout: Duration,
    /// Requests under way at once.
    pub sessions: usize,
    /// How far the clock of 1C is from UTC; `None`: moments are sent as they are written.
    pub offset: Option<FixedOffset>,
    /// What to do with a finished task whose answer is missing.
    pub missing_answer: MissingAnswer,
}

/// The address of a publication, which is no secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Address {
    /// All of it, without a slash at its end.
    pub url: String,
    /// Host, and port if there is one.
    pub place: String,
}

/// How 1C is spoken to.
#[derive(Clone, Debug)]
pub enum Mode {
    /// By the standard OData interface.
    Odata(Mapping<odata::Topic>),
    /// By an HTTP service of the configuration's own.
    Service(Mapping<service::Topic>),
}

impl Settings {
    /// Reads the settings; without `ONEC_URL` the system is off.
    pub fn from_variables(variables: &mut Variables) -> Option<Settings> {
        let url = variables.text(URL)?;
        let settings = Settings::with(Address::default(), variables);
        let address = Address::parse(&url, &settings.mode).unwrap_or_else(|wrong| {
            variables.error(URL, &wrong, &format!("{URL}=https://1c.example/base/{ODATA}"));
            Address::default()
        });
        Some(Settings { address, ..settings })
    }

    /// The same where nothing will be sent.
    pub fn without_target(variables: &mut Variables) -> Settings {
        Settings::with(Address::default(), variables)
    }

    fn with(address: Address, variables: &mut Variables) -> Settings {
        Settings {
            address,
            username: username(variables),
            password: variables.secret("ONEC_PASSWORD").unwrap_or_default(),
            mode: mode(variables),
            request_timeout: variables.seconds_up_to("ONEC_REQUEST_TIMEOUT", 30, LONGEST_TIMEOUT),
            sessions: variables.number("ONEC_SESSIONS", 4, 1..=256),
            offset: offset(variables),
            missing_answer: MissingAnswer::from_variables(variables, "ONEC_MISSING_ANSWER"),
        }
    }

    /// What must not appear in any output: the password, and the whole sign-in as it is sent.
    pub fn secrets(&self) -> Vec<Secret> {
        let Some(username) = self.username.as_ref().filter(|_| !self.password.expose().is_empty()) else {
            return Vec::new();
        };
        let sign_in = format!("{username}:{}", self.password.expose());
        vec![self.password.clone(), Secret::new(STANDARD.encode(sign_in))]
    }
}

impl Address {
    fn parse(url: &str, mode: &Mode) -> Result<Address, String> {
        let Url { scheme, sign_in, place, path } = address::url(url)?;
        if sign_in.is_some() {
            return Err("has a user in it, who belongs in ONEC_USERNAME and ONEC_PASSWORD".into());
        }
        if matches!(mode, Mode::Odata(_)) && !path.ends_with(ODATA) {
            return Err(format!("does not end with /{ODATA}, as it does without ONEC_MODE=http_service"));
        }
        Ok(Address { url: format!("{scheme}://{place}/{path}"), place })
    }

    /// Is it encrypted on its way?
    pub fn is_https(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// The host to which the password travels unencrypted, unless that is this machine.
    pub fn unprotected_host(&self) -> Option<&str> {
        address::unprotected_host(&self.url)
    }

    /// Where people see the objects of this infobase.
    pub fn publication(&self) -> &str {
        self.url.trim_end_matches(ODATA)
    }
}

fn username(variables: &mut Variables) -> Option<String> {
    let username = variables.text("ONEC_USERNAME")?;
    if username.contains(':') {
        let wrong = "has a colon in it, which separates name and password when 1C is signed in to";
        variables.error("ONEC_USERNAME", wrong, "ONEC_USERNAME=Обмен");
    }
    Some(username)
}

fn mode(variables: &mut Variables) -> Mode {
    let mode = variables.text("ONEC_MODE").unwrap_or_else(|| "odata".into()).to_lowercase();
    let file = mapping_file(variables);
    match mode.as_str() {
        "odata" => Mode::Odata(mapping(file, variables)),
        "http_service" => Mode::Service(mapping(file, variables)),
        other => {
            variables.error("ONEC_MODE", &format!("is {other:?}, neither odata nor http_service"), "ONEC_MODE=odata");
            Mode::Odata(Mapping::empty())
        }
    }
}

/// Name and text of the file with the mapping.
fn mapping_file(variables: &mut Variables) -> Option<(String, String)> {
    if variables.text(MAPPING).is_none() {
        variables.lacks(MAPPING, MAPPING_EXAMPLE);
    }
    variables.parsed(MAPPING, MAPPING_EXAMPLE, |path| match file::open(Path::new(path)).and_then(io::read_to_string) {
        Ok(text) => Ok((path.to_owned(), text)),
        Err(err) => Err(format!("is {path:?}, which cannot be read: {err}")),
    })
}

fn mapping<T: Topic>(file: Option<(String, String)>, variables: &mut Variables) -> Mapping<T> {
    let Some((file, text)) = file else { return Mapping::empty() };
    Mapping::parse(&text).unwrap_or_else(|wrong| {
        variables.error(MAPPING, &format!("is {file:?}, {wrong}"), MAPPING_EXAMPLE);
        Mapping::empty()
    })
}

fn offset(variables: &mut Variables) -> Option<FixedOffset> {
    let parse = |text: &str| text.parse().map_err(|_| format!("is {text:?}, not an offset from UTC"));
    variables.parsed("ONEC_UTC_OFFSET", "ONEC_UTC_OFFSET=+03:00", parse)
}
