//! Camunda's engine over its REST interface: tells it that a task has failed for good, and gives a task its retries back.
//!
//! It knows no queue and no lane, and tries nothing twice: who calls it says what follows from a failure.

use std::time::Duration;

use anyhow::{anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use url::Url;

use crate::http::{self, Answer, Failed, Http, Method, NoAnswer, Request};
use crate::message::ParkedTask;
use crate::redact;
use crate::report::Report;
use crate::settings::address::{self, is_this_machine};
use crate::settings::{Secret, Variables};
use crate::tls::RootCertificates;

const URL: &str = "CAMUNDA_URL";
const USER: &str = "CAMUNDA_USER";
const PASSWORD: &str = "CAMUNDA_PASSWORD";
const TIMEOUT: &str = "CAMUNDA_REQUEST_TIMEOUT";
/// What stands in the examples.
const EXAMPLE: &str = "CAMUNDA_URL=http://camunda.example:8080/engine-rest";
/// In seconds. The worker stops after the call that is under way.
const LONGEST_TIMEOUT: u32 = 60;

/// The engine cuts the error message of a task after so many UTF-16 units.
const LONGEST_MESSAGE: usize = 666;
/// How long a task stays locked after its failure, as long as the bridge has locked it. The engine ends the lock at once
/// if nobody says otherwise; then the bridge would fetch the task again as soon as it has its retries back, and its
/// message would be there twice.
const LOCK: Duration = Duration::from_secs(365 * 86_400);
/// What the engine answers with a success.
const NO_CONTENT: u16 = 204;
const NOT_FOUND: u16 = 404;
/// What an id may have in a path as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Where the engine is, and who asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Without a slash at its end.
    url: String,
    sign_in: Option<(String, Secret)>,
    timeout: Duration,
}

impl Settings {
    /// What the variables say; `None` without `CAMUNDA_URL`.
    pub fn from_variables(variables: &mut Variables) -> Option<Settings> {
        let url = variables.parsed(URL, EXAMPLE, url);
        let (user, password) = (variables.text(USER), variables.secret(PASSWORD));
        let timeout = variables.seconds_up_to(TIMEOUT, 5, LONGEST_TIMEOUT);
        if user.as_ref().is_some_and(|user| user.contains(':')) {
            variables.error(USER, "has a colon in it, which a sign-in cannot have", "CAMUNDA_USER=task-creator");
        }
        let url = url?;
        match (&user, &password) {
            (Some(_), None) => variables.lacks(PASSWORD, "CAMUNDA_PASSWORD=the password of CAMUNDA_USER"),
            (None, Some(_)) => variables.lacks(USER, "CAMUNDA_USER=task-creator"),
            _ => {}
        }
        Some(Settings { url, sign_in: user.zip(password), timeout })
    }

    /// The same, with no request longer than this.
    pub fn within(&self, longest: Duration) -> Settings {
        Settings { timeout: self.timeout.min(longest), ..self.clone() }
    }

    /// Where the engine is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether the engine is reached by https.
    pub fn uses_https(&self) -> bool {
        self.url.starts_with("https:")
    }

    /// What must not appear in any output: the password, and the whole sign-in as it is sent.
    pub fn secrets(&self) -> Vec<Secret> {
        let sign_in = self.sign_in.iter();
        let dressed = |(user, password): &(String, Secret)| {
            [password.clone(), Secret::new(STANDARD.encode(format!("{user}:{}", password.expose())))]
        };
        sign_in.flat_map(dressed).collect()
    }

    /// For `task-creator check`: asks the engine for its version, which only those may know who can sign in.
    pub fn check(&self, https: &RootCertificates, report: &mut Report) {
        let host = Url::parse(&self.url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        if self.sign_in.is_some() && !self.uses_https() && !is_this_machine(&host) {
            report.warn(format!("Camunda: the password travels to {host} unencrypted; advised: https://"));
        }
        match Engine::new(self, https).version() {
            Ok(version) => report.ok(format!("Camunda {version} at {}: what is parked shows as an incident", self.url)),
            Err(err) => report.fail(format!(
                "Camunda at {}: {err:#}; what is parked would show no incident. {URL} is the address of the REST \
                 interface, such as http://camunda.example:8080/engine-rest",
                self.url
            )),
        }
    }
}

fn url(given: &str) -> Result<String, String> {
    let address::Url { scheme, sign_in, place, path } = address::url(given)?;
    match sign_in {
        Some(_) => Err(format!("has a user in it; {USER} and {PASSWORD} are for that")),
        None => Ok(format!("{scheme}://{place}/{path}")),
    }
}

/// The engine.
pub struct Engine {
    http: Http,
    settings: Settings,
}

/// What the engine has made of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has done it.
    Done,
    /// It has no such task: nobody waits for it any more.
    NoTask,
}

impl Engine {
    /// The engine of these settings.
    pub fn new(settings: &Settings, https: &RootCertificates) -> Engine {
        Engine { http: Http::new(settings.timeout, https), settings: settings.clone() }
    }

    /// Reports that the task has failed for good, which the engine shows as an incident. Only who has locked the task
    /// may do so, and that is whom its message names.
    ///
    /// # Errors
    /// The engine was not reached, or has refused it.
    pub fn fail(&self, task: &ParkedTask) -> anyhow::Result<Told> {
        let Some(worker_id) = &task.worker_id else {
            bail!("its message has no worker_id, so it is not known who has locked it");
        };
        let error = redact::clean(&task.error);
        let body = json!({
            "workerId": worker_id,
            "retries": 0,
            "retryTimeout": u64::try_from(LOCK.as_millis()).unwrap_or(u64::MAX),
            "errorMessage": beginning(&format!("{}: {error}", task.cause)),
            "errorDetails": error,
        });
        self.change(Method::POST, &task.id, "failure", &body)
    }

    /// Gives the task one retry again, which resolves its incident.
    ///
    /// # Errors
    /// As [`Engine::fail`].
    pub fn give_retry(&self, id: &str) -> anyhow::Result<Told> {
        self.change(Method::PUT, id, "retries", &json!({"retries": 1}))
    }

    fn version(&self) -> anyhow::Result<String> {
        let answer = http::json(self.send(Request::new(Method::GET, &format!("{}/version", self.settings.url))))?;
        answer["version"].as_str().map(redact::clean).ok_or_else(|| anyhow!("the answer has no version in it"))
    }

    fn change(&self, method: Method, id: &str, what: &str, body: &Value) -> anyhow::Result<Told> {
        let url = format!("{}/external-task/{}/{what}", self.settings.url, utf8_percent_encode(id, IN_PATH));
        let body = body.to_string();
        match self.send(Request::new(method, &url).json(body.as_bytes())) {
            Ok(answer) if answer.status == NOT_FOUND && is_of_engine(&answer) => Ok(Told::NoTask),
            answer => match http::classify(answer)?.status {
                NO_CONTENT => Ok(Told::Done),
                status => bail!("http status {status}, which is no answer of Camunda's engine: is {URL} right?"),
            },
        }
    }

    fn send(&self, request: Request<'_>) -> Result<Answer, NoAnswer> {
        match &self.settings.sign_in {
            Some((user, password)) => self.http.send(request.basic(user, password.expose())),
            None => self.http.send(request),
        }
    }
}

/// Is this failure one of the whole engine, so that a further call would only wait for the same?
pub fn is_away(err: &anyhow::Error) -> bool {
    err.downcast_ref::<Failed>().is_some_and(|failed| failed.status.is_none())
}

/// The engine names the kind of each error. `NotFoundException` means that there is no such path, so no engine either.
fn is_of_engine(answer: &Answer) -> bool {
    let error: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    error["type"].as_str().is_some_and(|kind| kind != "NotFoundException")
}

/// As much of the text as the engine keeps, with no character cut in half.
fn beginning(text: &str) -> String {
    let mut units = 0;
    let fits = |character: &char| {
        units += character.len_utf16();
        units <= LONGEST_MESSAGE
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_message_is_cut_as_the_engine_counts_and_never_within_a_character() {
        assert_eq!(beginning("коротко"), "коротко");
        assert_eq!(beginning(&"я".repeat(700)).chars().count(), 666);
        assert_eq!(beginning(&"😀".repeat(700)).chars().count(), 333);
        assert_eq!(beginning(&format!("x{}", "😀".repeat(700))).encode_utf16().count(), 665);
    }

    #[test]
    fn the_address_is_that_of_the_rest_interface_without_a_user() {
        assert_eq!(
            url("http://camunda.example:8080/engine-rest/").as_deref(),
            Ok("http://camunda.example:8080/engine-rest")
        );
        let named = "https://camunda.example/engine-rest/engine/second";
        assert_eq!(url(named).as_deref(), Ok(named));
        for wrong in ["camunda.example", "ftp://camunda.example/engine-rest", "http://u:p@camunda.example/engine-rest"]
        {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
