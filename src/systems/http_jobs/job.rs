//! A job of a service: where it is asked for, and when it is due; how that stands in the record, and how it is read
//! there again.
//!
//! A job is asked for where it was made and nowhere else: whoever may name another host would get our token.

use std::time::Duration;

use anyhow::{anyhow, bail};
use serde_json::{Value, json};
use url::Url;

use super::{Settings, outcome};
use crate::message::{Record, Task, now};

/// The longest `Retry-After` that counts, in seconds.
const LONGEST_REST: f64 = 3600.0;

/// A job.
#[derive(Debug)]
pub struct Job {
    /// Where it is asked for.
    pub url: Url,
    /// Not before this, in seconds since 1970.
    pub due: f64,
}

impl Job {
    /// The job that a service has made upon a request to this address, by the `Location` of its answer.
    ///
    /// # Errors
    /// There is none, or it is at another place.
    pub fn located(location: Option<&str>, posted_to: &Url, due_in: Duration) -> anyhow::Result<Job> {
        let location = location.ok_or_else(|| {
            anyhow!("the service has accepted the task without a Location in its answer, so its job cannot be followed")
        })?;
        let url = posted_to.join(location).map_err(|err| anyhow!("the Location of the job is no URL: {err}"))?;
        if url.origin() != posted_to.origin() {
            bail!(
                "the job is at {}, and the task was posted to {}: it is not asked for there, since the token would go \
                 with it",
                url.origin().ascii_serialization(),
                posted_to.origin().ascii_serialization()
            );
        }
        if !url.username().is_empty() || url.password().is_some() {
            bail!("the Location of the job has a user in it, who would stand in the record");
        }
        Ok(Job { url, due: now() + due_in.as_secs_f64() })
    }

    /// The job's id for people: its path, without a query, which may prove who asks.
    pub fn id(&self) -> &str {
        self.url.path()
    }

    /// What the record holds of it, beside the service's own reply.
    pub fn reply(&self, task: &Task, reply: &Value) -> Value {
        let mut told = outcome::told(task, self.id(), "accepted", "", reply);
        told["job"] = json!({"url": self.url.as_str(), "due": self.due});
        told
    }

    /// The job in a record.
    ///
    /// # Errors
    /// The record has none.
    pub fn in_record(record: &Record) -> anyhow::Result<Job> {
        let job = &record.response_data["job"];
        let url = job["url"].as_str().and_then(|url| Url::parse(url).ok());
        let url = url.ok_or_else(|| anyhow!("the record has no URL of a job in response_data.job.url"))?;
        Ok(Job { url, due: job["due"].as_f64().unwrap_or_default() })
    }

    /// Why it is not asked for, if it is at no place that the settings name.
    pub fn elsewhere(&self, settings: &Settings) -> Option<String> {
        let (there, here) = (self.url.origin().ascii_serialization(), settings.urls.origins());
        (!here.contains(&there)).then(|| {
            let named = settings.named.setting("URL");
            format!("its job is at {there}, which neither {named} nor {} names", settings.named.setting("TOPIC_URLS"))
        })
    }

    /// How long it has been due, if it is.
    pub fn waited(&self) -> Option<Duration> {
        // No service is waited for so long: the clock was wrong when the job was made.
        let is_too_far = self.due - now() > LONGEST_REST;
        if is_too_far { Some(Duration::ZERO) } else { Duration::try_from_secs_f64(now() - self.due).ok() }
    }
}
