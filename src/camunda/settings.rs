//! Where Camunda's engine is, and who asks it. It asks the engine nothing itself, except for `task-creator check`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::Engine;
use crate::report::Report;
use crate::settings::address::{self, is_this_machine};
use crate::settings::{Secret, Variables};
use crate::tls::RootCertificates;

const URL: &str = "CAMUNDA_URL";
const USER: &str = "CAMUNDA_USER";
const PASSWORD: &str = "CAMUNDA_PASSWORD";
const TIMEOUT: &str = "CAMUNDA_REQUEST_TIMEOUT";
const WORKER_ID: &str = "CAMUNDA_WORKER_ID";
const LOCK_DURATION: &str = "CAMUNDA_LOCK_DURATION";
/// In seconds, as the bridge does it.
const YEAR: u64 = 365 * 86_400;
/// In seconds: a hundred years. The engine adds it to the time of day.
const LONGEST_LOCK: u64 = 100 * YEAR;
/// What stands in the examples.
const EXAMPLE: &str = "CAMUNDA_URL=http://camunda.example:8080/engine-rest";
/// In seconds. The worker stops after the call that is under way.
const LONGEST_TIMEOUT: u32 = 60;

/// Where the engine is, and who asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Without a slash at its end.
    url: String,
    sign_in: Option<(String, Secret)>,
    timeout: Duration,
    /// As whom the bridge locks tasks; empty where nobody says.
    worker_ids: Vec<String>,
    lock_duration: Duration,
}

impl Settings {
    /// What the variables say; `None` without `CAMUNDA_URL`.
    pub fn from_variables(variables: &mut Variables) -> Option<Settings> {
        let url = variables.parsed(URL, EXAMPLE, url);
        let (user, password) = (variables.text(USER), variables.secret(PASSWORD));
        let timeout = variables.seconds_up_to(TIMEOUT, 5, LONGEST_TIMEOUT);
        let worker_ids = variables.text(WORKER_ID).map(|given| listed(&given)).unwrap_or_default();
        let lock_duration = Duration::from_secs(variables.number(LOCK_DURATION, YEAR, 1..=LONGEST_LOCK));
        if user.as_ref().is_some_and(|user| user.contains(':')) {
            variables.error(USER, "has a colon in it, which a sign-in cannot have", "CAMUNDA_USER=task-creator");
        }
        let url = url?;
        match (&user, &password) {
            (Some(_), None) => variables.lacks(PASSWORD, "CAMUNDA_PASSWORD=the password of CAMUNDA_USER"),
            (None, Some(_)) => variables.lacks(USER, "CAMUNDA_USER=task-creator"),
            _ => {}
        }
        Some(Settings { url, sign_in: user.zip(password), timeout, worker_ids, lock_duration })
    }

    /// The same, with no request longer than this.
    pub fn within(&self, longest: Duration) -> Settings {
        Settings { timeout: self.timeout.min(longest), ..self.clone() }
    }

    /// Where the engine is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The longest request.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn sign_in(&self) -> Option<&(String, Secret)> {
        self.sign_in.as_ref()
    }

    /// The ids under which the bridge locks tasks; empty where nobody says.
    pub fn worker_ids(&self) -> &[String] {
        &self.worker_ids
    }

    /// How long the bridge locks a task.
    pub fn lock_duration(&self) -> Duration {
        self.lock_duration
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

/// What stands between commas.
fn listed(given: &str) -> Vec<String> {
    given.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

fn url(given: &str) -> Result<String, String> {
    let address::Url { scheme, sign_in, place, path } = address::url(given)?;
    match sign_in {
        Some(_) => Err(format!("has a user in it; {USER} and {PASSWORD} are for that")),
        None => Ok(format!("{scheme}://{place}/{path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
