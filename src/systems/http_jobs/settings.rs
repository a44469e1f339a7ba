//! What the settings of a service say: where it is for each topic, who asks, and how its jobs end.
//!
//! It asks nobody: whether a service is as they say is looked at in [`super::check`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::Named;
use crate::message::text;
use crate::settings::address;
use crate::settings::{Secret, Variables};

/// In seconds. RabbitMQ takes back what is unacknowledged for half an hour.
const LONGEST_TIMEOUT: u32 = 300;

/// A shorter one could be a word that is meant, and is taken out of every answer.
const SHORTEST_TOKEN: usize = 8;

/// What the settings say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose they are.
    pub named: Named,
    /// Where tasks are posted.
    pub urls: Urls,
    /// What the service is signed in to with.
    pub token: Option<Secret>,
    /// For one request; also how long before a create without an answer is repeated.
    pub timeout: Duration,
    /// Requests at once: so many to post, and so many to ask for jobs.
    pub parallel: usize,
    /// What becomes of a job that has failed.
    pub failed_job: FailedJob,
    /// Where in a result the answer is that the process expects: a JSON pointer.
    pub answer: String,
    /// In which states a job is done, in small letters.
    pub completed: Vec<String>,
    /// In which it has failed.
    pub failed: Vec<String>,
}

/// What becomes of a job that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedJob {
    /// A person looks at it.
    Park,
    /// Camunda is told.
    Answer,
}

/// An address for each topic.
#[derive(Clone, Debug, Default)]
pub struct Urls {
    by_topic: BTreeMap<String, Url>,
    otherwise: Option<Url>,
}

impl Urls {
    /// Where tasks of this topic are posted.
    pub fn of(&self, topic: &str) -> Option<&Url> {
        self.by_topic.get(topic).or(self.otherwise.as_ref())
    }

    /// All of them; one may be there twice.
    pub fn all(&self) -> impl Iterator<Item = &Url> {
        self.by_topic.values().chain(&self.otherwise)
    }

    /// Scheme, host and port of each.
    pub fn origins(&self) -> BTreeSet<String> {
        self.all().map(|url| url.origin().ascii_serialization()).collect()
    }

    /// The topics that have one of their own.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.by_topic.keys().map(String::as_str)
    }

    /// Is none set?
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }
}

impl Settings {
    /// Reads the settings that start with the prefix.
    pub fn from_variables(named: &Named, variables: &mut Variables) -> Settings {
        let name = |name| named.setting(name);
        Settings {
            named: *named,
            urls: urls(named, variables),
            token: token(&name("TOKEN"), variables),
            timeout: variables.seconds_up_to(&name("REQUEST_TIMEOUT"), 30, LONGEST_TIMEOUT),
            parallel: variables.number(&name("PARALLEL_REQUESTS"), 16, 1..=256),
            failed_job: failed_job(&name("FAILED_JOB"), variables),
            answer: pointer(&name("ANSWER"), variables),
            completed: words(&name("COMPLETED_STATUSES"), "succeeded,success,completed", variables),
            failed: words(&name("FAILED_STATUSES"), "failed,error,cancelled", variables),
        }
    }

    /// Does the service say in this reply that it has done what was asked?
    pub fn says_completed(&self, reply: &Value) -> bool {
        says_one_of(&self.completed, reply)
    }

    /// Does it say that it has failed over it?
    pub fn says_failed(&self, reply: &Value) -> bool {
        says_one_of(&self.failed, reply)
    }
}

fn says_one_of(words: &[String], reply: &Value) -> bool {
    text(&reply["status"]).is_some_and(|status| words.contains(&status.to_lowercase()))
}

fn urls(named: &Named, variables: &mut Variables) -> Urls {
    let (one, many) = (named.setting("URL"), named.setting("TOPIC_URLS"));
    let example = format!("{one}=https://services.example/tasks");
    let otherwise = variables.parsed(&one, &example, url);
    let example = format!("{many}=calculate=https://calculator.example/tasks,convert=https://converter.example/");
    let by_topic = variables.parsed(&many, &example, by_topic).unwrap_or_default();
    Urls { by_topic, otherwise }
}

fn by_topic(given: &str) -> Result<BTreeMap<String, Url>, String> {
    let mut urls = BTreeMap::new();
    for pair in given.split(',') {
        let (topic, address) = pair.split_once('=').ok_or("is not a list of topic=URL")?;
        let topic = topic.trim();
        if topic.is_empty() || topic.contains("://") {
            return Err("is not a list of topic=URL".into());
        }
        let address = url(address.trim()).map_err(|wrong| format!("has for {topic:?} an address that {wrong}"))?;
        if urls.insert(topic.to_owned(), address).is_some() {
            return Err(format!("names {topic:?} twice"));
        }
    }
    Ok(urls)
}

/// An address as it is written: unlike at other targets, a slash at its end counts, and its path may be empty.
fn url(given: &str) -> Result<Url, String> {
    let checked = format!("{}/.", given.trim_end_matches('/'));
    if address::url(&checked)?.sign_in.is_some() {
        return Err("has a user in it; a token has a setting of its own".into());
    }
    Url::parse(given).map_err(|err| format!("is no URL: {err}"))
}

fn token(name: &str, variables: &mut Variables) -> Option<Secret> {
    let token = variables.secret(name)?;
    let example = format!("{name}=0123456789abcdef");
    // What a header may hold, so that no request fails because of it.
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        variables.error(name, "has a character in it that no token has", &example);
    }
    if token.expose().len() < SHORTEST_TOKEN {
        variables.error(name, &format!("is shorter than {SHORTEST_TOKEN} characters"), &example);
    }
    Some(token)
}

fn failed_job(name: &str, variables: &mut Variables) -> FailedJob {
    let parse = |given: &str| match given.to_lowercase().as_str() {
        "park" => Ok(FailedJob::Park),
        "answer" => Ok(FailedJob::Answer),
        _ => Err(format!("is {given:?}, neither park nor answer")),
    };
    variables.parsed(name, &format!("{name}=park"), parse).unwrap_or(FailedJob::Park)
}

fn pointer(name: &str, variables: &mut Variables) -> String {
    let parse = |given: &str| match given.starts_with('/') {
        true => Ok(given.to_owned()),
        false => Err(format!("is {given:?}, not a JSON pointer, which starts with a slash")),
    };
    variables.parsed(name, &format!("{name}=/answer"), parse).unwrap_or_else(|| "/answer".into())
}

fn words(name: &str, default: &str, variables: &mut Variables) -> Vec<String> {
    let parse = |given: &str| {
        let words: Vec<String> = given.split(',').map(|word| word.trim().to_lowercase()).collect();
        match words.iter().any(String::is_empty) {
            true => Err(format!("is {given:?}, not a list of states")),
            false => Ok(words),
        }
    };
    let given = variables.parsed(name, &format!("{name}={default}"), parse);
    given.unwrap_or_else(|| default.split(',').map(String::from).collect())
}
