//! Helpdesk: one POST creates a ticket or returns the one that this task has already; one POST asks for states.

use anyhow::anyhow;
use serde_json::{Value, json};

use super::http::{Http, NoAnswer};
use super::{
    Configured, Connected, Done, Explanation, Failure, Handler, Progress, Request, Surroundings, System, Tracker,
};
use crate::message::{Record, Task, text};
use crate::settings::{Secret, Variables};

/// What the `HELPDESK_…` variables say.
#[derive(Clone, Debug)]
struct Settings {
    /// The address, the token included.
    url: Secret,
    /// For one request.
    timeout: std::time::Duration,
}

/// Reads the settings; without `HELPDESK_URL` the system is off.
pub fn open(variables: &mut Variables) -> Configured {
    match variables.secret("HELPDESK_URL") {
        Some(url) => with_url(url, variables),
        None => Configured::Off("HELPDESK_URL is not set"),
    }
}

/// The same where nothing will be sent.
pub fn open_without_target(variables: &mut Variables) -> Configured {
    with_url(Secret::default(), variables)
}

fn with_url(url: Secret, variables: &mut Variables) -> Configured {
    Configured::On(Box::new(Settings { url, timeout: variables.seconds("HELPDESK_TIMEOUT", 30) }))
}

impl System for Settings {
    fn target(&self) -> String {
        "the helpdesk".into()
    }

    fn uses_https(&self) -> bool {
        self.url.expose().starts_with("https://")
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![self.url.clone()]
    }

    fn connect(&self, around: &Surroundings) -> anyhow::Result<Connected> {
        let helpdesk = || Helpdesk { http: Http::new(self.timeout, around.https), settings: self.clone() };
        Ok(Connected { handler: Box::new(helpdesk()), tracker: Box::new(helpdesk()) })
    }

    fn explain(&self, task: &Task) -> Explanation {
        let body = ticket(task).to_string();
        let request = Request { method: "tickets", when: "once, it returns the ticket that is there".into(), body };
        Explanation { requests: vec![request], ..Explanation::default() }
    }
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

fn ticket(task: &Task) -> Value {
    json!({"external_id": task.id, "title": task.activity_name})
}

fn again(error: anyhow::Error) -> Failure {
    Failure::Transient { error, after: Default::default() }
}

impl Handler for Helpdesk {
    fn handle(&self, tasks: &[Task]) -> Vec<Result<Done, Failure>> {
        let create = |task: &Task| {
            let reply = self.post("tickets", &ticket(task))?;
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
