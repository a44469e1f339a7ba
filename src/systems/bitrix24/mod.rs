//! Bitrix24: its settings, and how its parts fit together.
//!
//! Reading order: [`fields`] (what a task becomes), [`handler`] with [`look_up`], [`owner`] and [`checklists`] (find, create, complete,
//! synchronise), [`tracker`] with [`answers`] (finished?), [`client`] with [`batch`], [`preamble`] and [`errors`] (the portal's
//! REST),
//! [`combiner`], [`concurrency`], [`learnt`], [`budget`] and [`holds`] (when to ask, and how much at once), [`counters`], [`check`] with
//! [`custom_fields`] (is the portal ready?), [`explain`] (what would it be asked?). What the portal does and why is in the
//! README beside this file.

pub mod answers;
pub mod batch;
pub mod budget;
pub mod check;
pub mod checklists;
pub mod client;
pub mod combiner;
pub mod concurrency;
pub mod counters;
pub mod custom_fields;
pub mod errors;
pub mod explain;
pub mod fields;
pub mod handler;
pub mod holds;
pub mod learnt;
pub mod look_up;
pub mod owner;
pub mod preamble;
pub mod tracker;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::System;
use crate::config::address::{self, Url};
use crate::config::{Config, Secret, Variables, is_this_machine};
use crate::stop::Stop;

/// In seconds. What was delivered before is kept so long before it is looked up again, and RabbitMQ takes back what is
/// unacknowledged for half an hour.
const LONGEST_TIMEOUT: u32 = 300;
/// A portal makes tokens of 16 characters. A much shorter one could be a word that is meant.
const SHORTEST_TOKEN: usize = 8;

/// The states of a task: new, waiting, in progress, awaiting control, completed, deferred, declined.
const STATUSES: RangeInclusive<u64> = 1..=7;
/// Fields of every portal, or of the answers, which hold something else than a task's id.
const NO_MARKERS: &[&str] =
    &["UF_CRM_TASK", "UF_TASK_WEBDAV_FILES", "UF_RESULT_ANSWER", "UF_RESULT_EXPECTED", "UF_RESULT_QUESTION"];

/// What the `BITRIX_…` variables say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the portal is.
    pub webhook: Webhook,
    /// Whose the tasks are for which the message names nobody.
    pub default_responsible: u64,
    /// 0, 1 or 2.
    pub default_priority: u8,
    /// For one request; also how long a create without an answer may take to show.
    pub request_timeout: Duration,
    /// In characters.
    pub max_description_length: usize,
    /// The field with the task id in it, by which a task is found again; `None` switches the look-up off.
    pub marker_field: Option<String>,
    /// The states in which a task counts as finished.
    pub completed_statuses: Vec<u64>,
    /// What to do with a finished task whose answer is missing.
    pub missing_answer: MissingAnswer,
    /// Where the portal was before: its hosts, in small letters.
    pub former_hosts: Vec<String>,
    /// The texts of the answers, where the portal has no method that tells them.
    pub answer_texts: BTreeMap<String, String>,
    /// Requests a second; 0 for no limit.
    pub rate: f64,
    /// Requests at once.
    pub burst: u32,
}

/// What to do with a finished task that expects an answer and has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingAnswer {
    /// Leave it in the sent queue until somebody gives the answer.
    Wait,
    /// Answer "НЕТ".
    No,
}

impl Settings {
    /// Reads the settings; without `BITRIX_WEBHOOK_URL` the system is off.
    pub fn from_variables(variables: &mut Variables) -> Option<Settings> {
        let url = variables.text("BITRIX_WEBHOOK_URL")?;
        let webhook = Webhook::parse(&url).unwrap_or_else(|wrong| {
            variables.mistake("BITRIX_WEBHOOK_URL", &wrong, "BITRIX_WEBHOOK_URL=https://bitrix.example/rest/1/TOKEN");
            Webhook::nowhere()
        });
        Some(Settings::with(webhook, variables))
    }

    /// The same where no portal is needed, since nothing will be sent.
    pub fn without_portal(variables: &mut Variables) -> Settings {
        Settings::with(Webhook::nowhere(), variables)
    }

    fn with(webhook: Webhook, variables: &mut Variables) -> Settings {
        let rate = rate(variables);
        Settings {
            webhook,
            default_responsible: variables.number("BITRIX_DEFAULT_RESPONSIBLE_ID", 1, 1..=u64::MAX),
            default_priority: variables.number("BITRIX_DEFAULT_PRIORITY", 1, 0..=2),
            request_timeout: variables.seconds_up_to("BITRIX_REQUEST_TIMEOUT", 30, LONGEST_TIMEOUT),
            max_description_length: variables.number("BITRIX_MAX_DESCRIPTION_LENGTH", 10_000, 100..=1_000_000),
            marker_field: marker_field(variables),
            completed_statuses: completed_statuses(variables),
            missing_answer: missing_answer(variables),
            former_hosts: former_hosts(variables),
            answer_texts: answer_texts(variables),
            rate,
            burst: variables.number("BITRIX_BURST", 50, 1..=10_000),
        }
    }
}

fn rate(variables: &mut Variables) -> f64 {
    let rate = variables.text("BITRIX_RATE").unwrap_or_else(|| "2".into());
    rate.parse().ok().filter(|rate| *rate == 0.0 || (0.001..=10_000.0).contains(rate)).unwrap_or_else(|| {
        variables.mistake(
            "BITRIX_RATE",
            &format!("is {rate:?}, neither 0 nor a number from 0.001 to 10000"),
            "BITRIX_RATE=2",
        );
        2.0
    })
}

fn marker_field(variables: &mut Variables) -> Option<String> {
    let field = variables.text("BITRIX_TASK_ID_FIELD").unwrap_or_else(|| "UF_CAMUNDA_ID_EXTERNAL_TASK".into());
    if field.eq_ignore_ascii_case("none") {
        return None;
    }
    let example = "BITRIX_TASK_ID_FIELD=UF_CAMUNDA_ID_EXTERNAL_TASK";
    if NO_MARKERS.contains(&&*field) {
        let wrong = format!("is {field}, which holds something else than the id of a task");
        variables.mistake("BITRIX_TASK_ID_FIELD", &wrong, example);
    }
    if field != "XML_ID" && !fields::is_custom_field(&field) {
        let wrong = format!("is {field:?}, neither UF_ with capitals and digits, nor XML_ID, nor none");
        variables.mistake("BITRIX_TASK_ID_FIELD", &wrong, example);
    }
    Some(field)
}

fn completed_statuses(variables: &mut Variables) -> Vec<u64> {
    let given = variables.text("BITRIX_COMPLETED_STATUSES").unwrap_or_else(|| "4,5".into());
    let status = |status: &str| status.trim().parse().ok().filter(|status| STATUSES.contains(status));
    given.split(',').map(status).collect::<Option<_>>().unwrap_or_else(|| {
        // With a number that no state has, tasks would never be finished.
        let wrong = format!("is {given:?}, not a list of states, {} to {}", STATUSES.start(), STATUSES.end());
        variables.mistake("BITRIX_COMPLETED_STATUSES", &wrong, "BITRIX_COMPLETED_STATUSES=4,5");
        Vec::new()
    })
}

fn missing_answer(variables: &mut Variables) -> MissingAnswer {
    match variables.text("BITRIX_MISSING_ANSWER").unwrap_or_else(|| "wait".into()).to_lowercase().as_str() {
        "wait" => MissingAnswer::Wait,
        "no" => MissingAnswer::No,
        other => {
            let wrong = format!("is {other:?}, neither wait nor no");
            variables.mistake("BITRIX_MISSING_ANSWER", &wrong, "BITRIX_MISSING_ANSWER=wait");
            MissingAnswer::Wait
        }
    }
}

fn former_hosts(variables: &mut Variables) -> Vec<String> {
    let given = variables.text("BITRIX_FORMER_HOSTS").unwrap_or_default().to_lowercase();
    let hosts: Vec<String> =
        given.split(',').map(|host| host.trim().to_owned()).filter(|host| !host.is_empty()).collect();
    if hosts.iter().any(|host| host.contains(['/', '@', ' '])) {
        let wrong = "is not a list of hosts, each with its port where that is not the usual one";
        variables.mistake("BITRIX_FORMER_HOSTS", wrong, "BITRIX_FORMER_HOSTS=old.example,10.0.0.5:8080");
    }
    hosts
}

fn answer_texts(variables: &mut Variables) -> BTreeMap<String, String> {
    let Some(given) = variables.text("BITRIX_ANSWER_TEXTS") else { return BTreeMap::new() };
    parse_answer_texts(&given).unwrap_or_else(|wrong| {
        let wrong = format!("is {given:?}, {wrong}");
        variables.mistake("BITRIX_ANSWER_TEXTS", &wrong, "BITRIX_ANSWER_TEXTS=26=ДА,27=НЕТ");
        BTreeMap::new()
    })
}

/// Anything that is not noticed here would be found by a process that takes an answer for "no", or waits for ever.
fn parse_answer_texts(given: &str) -> Result<BTreeMap<String, String>, String> {
    let mut texts = BTreeMap::new();
    for pair in given.split(',') {
        let (id, text) = pair.split_once('=').ok_or("not a list of id=text")?;
        let (id, text) = (id.trim(), text.trim());
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("in which {id:?} stands for an id, which is a number"));
        }
        if text.is_empty() {
            return Err(format!("in which {id} has no text"));
        }
        // What separates or encloses in other lists is part of the text here.
        if text.contains(['=', ';', '"', '\'', '«', '»']) {
            return Err(format!("in which the text of {id} is {text:?}, with a sign that no answer has"));
        }
        if texts.insert(id.to_owned(), text.to_owned()).is_some() {
            return Err(format!("in which {id} has two texts"));
        }
    }
    Ok(texts)
}

/// A webhook's address. The secret is in its path, so it is never shown whole.
#[derive(Clone)]
pub struct Webhook {
    url: Secret,
    shown: String,
}

impl Webhook {
    fn nowhere() -> Webhook {
        Webhook { url: Secret::new(""), shown: String::new() }
    }

    fn parse(url: &str) -> Result<Webhook, String> {
        let Url { scheme, sign_in, place, path } = address::url(url)?;
        let (before, token) = path.rsplit_once('/').ok_or("has no user and token in its path")?;
        // In `/rest/USER/TOKEN/METHOD` the last part would be taken for the token, and the token would be shown.
        let after_rest = path.split('/').skip_while(|part| *part != "rest").skip(1).count();
        if token.contains('.') || !matches!(after_rest, 0 | 2) {
            return Err("does not end with /rest/USER/TOKEN".into());
        }
        // A user and password before the host would be a secret too.
        let sign_in = sign_in.map(|sign_in| format!("{sign_in}@")).unwrap_or_default();
        Ok(Webhook {
            url: Secret::new(format!("{scheme}://{sign_in}{place}/{path}")),
            shown: format!("{scheme}://{place}/{before}/***"),
        })
    }

    /// The address of a method, for the place where the request is built.
    fn url(&self, method: &str) -> String {
        format!("{}/{method}", self.url.expose())
    }

    /// The portal's host, with its port where that is not the usual one: by whatever way it is reached, it is the same portal.
    fn host(&self) -> String {
        let (usual, rest) = match self.shown.strip_prefix("https://") {
            Some(rest) => (":443", rest),
            None => (":80", self.shown.trim_start_matches("http://")),
        };
        let host = rest.split('/').next().unwrap_or_default().to_lowercase();
        host.strip_suffix(usual).map_or(host.clone(), str::to_owned)
    }

    /// Where a person sees the task with this id: anybody who may, under the name of the webhook's owner.
    pub fn link(&self, target_id: &str) -> String {
        let (place, user) = self.shown.split_once("/rest/").unwrap_or((&self.shown, "0"));
        let user = user.split('/').next().filter(|user| user.bytes().all(|byte| byte.is_ascii_digit()));
        format!("{place}/company/personal/user/{}/tasks/task/view/{target_id}/", user.unwrap_or("0"))
    }

    /// Is it encrypted on its way?
    pub fn is_https(&self) -> bool {
        self.shown.starts_with("https://")
    }

    /// The host to which the secret travels unencrypted, unless that is this machine.
    pub fn unprotected_host(&self) -> Option<&str> {
        let place = self.shown.strip_prefix("http://")?.split('/').next()?;
        // The colons of an IPv6 address stand in brackets.
        let host = place.rsplit_once(':').map_or(place, |(host, port)| if port.contains(']') { place } else { host });
        (!is_this_machine(host)).then_some(host)
    }

    /// What must not appear in any output: the token, and what else proves who asks.
    pub fn secrets(&self) -> Vec<String> {
        let sign_in = self.sign_in().into_iter();
        let password = |sign_in: &str| sign_in.split_once(':').map(|(_, password)| password.to_owned());
        let of_sign_in = sign_in.flat_map(|sign_in| password(sign_in).into_iter().chain([STANDARD.encode(sign_in)]));
        [self.token().to_owned()].into_iter().chain(of_sign_in).collect()
    }

    fn token(&self) -> &str {
        self.url.expose().rsplit('/').next().unwrap_or_default()
    }

    /// `user:password`, which may stand before the host.
    fn sign_in(&self) -> Option<&str> {
        let authority = self.url.expose().split('/').nth(2)?;
        Some(authority.rsplit_once('@')?.0)
    }

    /// What the portal has answered, without the token, which it may show: an answer goes into queues.
    fn hide_token(&self, answer: Vec<u8>) -> Vec<u8> {
        // What stands before its JSON may be in any encoding.
        let text = String::from_utf8_lossy(&answer);
        match self.token().len() >= SHORTEST_TOKEN && text.contains(self.token()) {
            true => text.replace(self.token(), "***").into_bytes(),
            false => answer,
        }
    }
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Switches the system on.
///
/// # Errors
/// Why it stays off.
pub fn open(config: &Config, stop: &Stop) -> Result<System, &'static str> {
    let settings = config.bitrix24.clone().ok_or("BITRIX_WEBHOOK_URL is not set")?;
    // Shared by the handler threads and the tracker: the portal counts their requests together.
    let client = Arc::new(client::Client::new(&settings, &config.https, config.handler_threads, stop));
    Ok(System {
        handler: Box::new(handler::BitrixHandler::new(settings.clone(), Arc::clone(&client))),
        tracker: Box::new(tracker::BitrixTracker::new(settings, client)),
    })
}

/// A member of a portal's object. Requests spell names `UF_RESULT_EXPECTED`, replies `ufResultExpected`: case and `_` do
/// not count.
fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let letters = |name: &str| name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect::<String>();
    let wanted = letters(name);
    object.as_object()?.iter().find(|(name, _)| letters(name) == wanted).map(|(_, value)| value)
}

/// The rows of a list call.
fn rows(reply: &Value) -> Option<&Vec<Value>> {
    reply["result"]["tasks"].as_array()
}

#[cfg(test)]
mod tests;
