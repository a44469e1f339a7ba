//! Helpdesk: one POST creates a ticket or returns the one that this task has already; one POST asks for states.

use anyhow::anyhow;
use serde_json::{Value, json};

use super::{Done, Failure, Handler, Progress, System, Tracker};
use crate::config::{Config, Secret, Variables};
use crate::http::{Http, NoAnswer};
use crate::message::{Record, Task, text};
use crate::stop::Stop;

/// What the `HELPDESK_…` variables say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address, the token included.
    pub url: Secret,
    /// For one request.
    pub timeout: std::time::Duration,
}

impl Settings {
    /// Reads the settings; without `HELPDESK_URL` the system is off.
    pub fn from_variables(variables: &mut Variables) -> Option<Settings> {
        let url = Secret::new(variables.text("HELPDESK_URL")?);
        Some(Settings { url, timeout: variables.seconds("HELPDESK_TIMEOUT", 30) })
    }
}

/// Switches the system on.
///
/// # Errors
/// Why it stays off.
pub fn open(config: &Config, _: &Stop) -> Result<System, &'static str> {
    let settings = config.helpdesk.clone().ok_or("HELPDESK_URL is not set")?;
    let helpdesk = || Helpdesk { http: Http::new(settings.timeout, &config.https), settings: settings.clone() };
    Ok(System { handler: Box::new(helpdesk()), tracker: Box::new(helpdesk()) })
}

struct Helpdesk {
    http: Http,
    settings: Settings,
}

impl Helpdesk {
    fn post(&self, method: &str, body: &Value) -> Result<Value, Failure> {
        let url = format!("{}/{method}", self.settings.url.expose());
        let answer = self.http.post_json(&url, body.to_string().as_bytes()).map_err(|err| match err {
            NoAnswer::NotSent(why) => Failure::Unavailable { error: anyhow!("{method}: {why}"), until: None },
            // The create is repeated: the helpdesk returns the ticket that it may have made.
            NoAnswer::Unknown(why) | NoAnswer::TooLarge(why) => again(anyhow!("{method}: {why}")),
        })?;
        let error = anyhow!("{method}: http status {}", answer.status);
        match answer.status {
            200..=299 => serde_json::from_slice(&answer.body).map_err(|err| again(anyhow!("{method}: {err}"))),
            401 | 403 | 429 | 503 => Err(Failure::Unavailable { error, until: None }),
            400..=499 => Err(Failure::Permanent(error)),
            _ => Err(again(error)),
        }
    }
}

fn again(error: anyhow::Error) -> Failure {
    Failure::Transient { error, after: Default::default() }
}

impl Handler for Helpdesk {
    fn handle(&self, tasks: &[Task]) -> Vec<Result<Done, Failure>> {
        let create = |task: &Task| {
            let reply = self.post("tickets", &json!({"external_id": task.id, "title": task.activity_name}))?;
            let target_id = text(&reply["id"]).ok_or_else(|| again(anyhow!("tickets: the reply has no id")))?;
            let existed = reply["existed"] == true;
            Ok(Done { existed, ..Done::created(reply, target_id) })
        };
        tasks.iter().map(create).collect()
    }
}

impl Tracker for Helpdesk {
    fn check(&mut self, records: &[Record]) -> Vec<Result<Progress, Failure>> {
        let progress = |record: &Record| {
            let ticket = self.post("state", &json!({"id": record.response_data["id"]}))?;
            Ok(match ticket["state"].as_str() {
                Some("closed") => Progress::Finished(ticket),
                Some("unknown") => Progress::Gone,
                _ => Progress::Open,
            })
        };
        records.iter().map(progress).collect()
    }
}
