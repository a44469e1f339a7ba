//! A service fake: what is posted to it becomes a job, or is done at once. It looks at the key of a request, so that
//! the same task is never done twice, and refuses what it does not know.
//!
//! It is a model of a FastAPI service with a closed model behind a bearer token, as unkind as one: words for the state
//! of a job in any case, a relative `Location`, errors in `detail`. It knows nothing of the worker.

use serde_json::{Value, json};

use super::http_fake::{Asked, Target};
use crate::http::server::Page;

/// What the service is signed in to with. Fixed, so that a `.env` stays valid from run to run.
pub const TOKEN: &str = "sandbox-service-token";
/// Where tasks are posted.
pub const TASKS: &str = "/tasks";
/// Before the number of a job.
const JOBS: &str = "/jobs/";

/// The members that it knows.
const MEMBERS: &[&str] = &[
    "task_id",
    "topic",
    "title",
    "variables",
    "extension_properties",
    "process_instance_id",
    "process_definition_key",
];

/// A service in memory.
pub struct JobService {
    /// How it answers.
    pub rules: Rules,
    jobs: Vec<Job>,
}

/// How it answers.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Tasks are done at once, with this result, even where a job was preferred.
    pub at_once: Option<Value>,
    /// In seconds, with every answer that says that a job is not done.
    pub retry_after: Option<u64>,
    /// What stands before the path in a `Location`.
    pub location_at: String,
    /// To so many requests with a key that it knows it says that the first one is still at work.
    pub conflicts: u32,
}

impl Default for JobService {
    fn default() -> JobService {
        let rules = Rules { at_once: None, retry_after: None, location_at: String::new(), conflicts: 0 };
        JobService { rules, jobs: Vec::new() }
    }
}

/// What was posted, and what became of it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Of the request that made it.
    pub key: String,
    /// As it was posted.
    pub posted: Value,
    /// What it answers when it is asked for; null once it was deleted.
    state: Value,
    /// It was done at once.
    at_once: bool,
}

impl JobService {
    /// Everything that was ever done or is to be done, in order.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// The job of this task succeeds. False when there is none.
    pub fn succeed(&mut self, task: &str, result: Value) -> bool {
        self.set(task, json!({"status": "Succeeded", "result": result}))
    }

    /// The job of this task fails. False when there is none.
    pub fn fail(&mut self, task: &str, error: &str) -> bool {
        self.set(task, json!({"status": "FAILED", "error": error}))
    }

    /// The job of this task is gone. False when there is none.
    pub fn delete(&mut self, task: &str) -> bool {
        self.set(task, Value::Null)
    }

    /// What the job of this task answers from now on.
    pub fn set(&mut self, task: &str, state: Value) -> bool {
        let job = self.jobs.iter_mut().find(|job| job.posted["task_id"] == task);
        job.map(|job| job.state = state).is_some()
    }

    fn post(&mut self, request: &Asked) -> Page {
        let posted = request.json();
        let Some(key) = request.header("Idempotency-Key") else {
            return Self::refusal(400, "", "Idempotency-Key is missing");
        };
        let Some(members) = posted.as_object() else { return Self::refusal(422, "json_invalid", "not an object") };
        if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Self::refusal(422, "extra_forbidden", unknown);
        }
        let known = self.jobs.iter().position(|job| job.key == key);
        if known.is_some() && self.rules.conflicts > 0 {
            self.rules.conflicts -= 1;
            return Self::refusal(409, "", "still at work");
        }
        let number = known.unwrap_or_else(|| {
            let state = json!({"status": "running", "result": null});
            self.jobs.push(Job { key: key.to_owned(), posted, state, at_once: self.rules.at_once.is_some() });
            self.jobs.len() - 1
        });
        match &self.rules.at_once {
            Some(result) if self.jobs[number].at_once => page(200, result),
            _ => {
                let location = format!("{}{JOBS}{number}", self.rules.location_at);
                self.unfinished(page(202, &json!({"id": number, "status": "queued"})).with("Location", location))
            }
        }
    }

    fn state(&self, number: &str) -> Page {
        let job = number.parse().ok().and_then(|number: usize| self.jobs.get(number));
        match job.filter(|job| !job.state.is_null()) {
            Some(job) => self.unfinished(page(200, &job.state)),
            None => Self::refusal(404, "", "Not Found"),
        }
    }

    fn unfinished(&self, page: Page) -> Page {
        match self.rules.retry_after {
            Some(seconds) => page.with("Retry-After", seconds.to_string()),
            None => page,
        }
    }
}

impl Target for JobService {
    fn answer(&mut self, request: &Asked) -> Page {
        if request.header("Authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Self::refusal(401, "", "Not authenticated");
        }
        match (request.method.as_str(), request.path.strip_prefix(JOBS)) {
            ("POST", _) if request.path == TASKS => self.post(request),
            (_, _) if request.path == TASKS => Self::refusal(405, "", "Method Not Allowed"),
            ("GET", Some(number)) => self.state(number),
            _ => Self::refusal(404, "", "Not Found"),
        }
    }

    /// FastAPI has a list for what does not fit its model, and a text for everything else.
    fn refusal(status: u16, code: &str, text: &str) -> Page {
        let detail = match status {
            422 => json!([{"type": code, "loc": ["body"], "msg": text}]),
            _ => text.into(),
        };
        page(status, &json!({"detail": detail}))
    }
}

fn page(status: u16, body: &Value) -> Page {
    Page::new(status, "application/json", body.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::http_fake::HttpFake;
    use super::*;
    use crate::http::{Answer, Http, Method, Request};
    use crate::tls::RootCertificates;

    fn post(fake: &HttpFake<JobService>, key: &str, body: &str) -> Answer {
        let http = Http::new(Duration::from_secs(30), &RootCertificates::public());
        let url = format!("http://{}{TASKS}", fake.address());
        let request = Request::new(Method::POST, &url).json(body.as_bytes()).bearer(TOKEN);
        http.send(request.header("Idempotency-Key", key)).expect("an answer")
    }

    #[test]
    fn a_key_that_comes_again_makes_no_second_job_and_an_unknown_member_none() {
        let fake = HttpFake::start(0, JobService::default()).expect("a free port");
        for key in ["a", "b", "a"] {
            assert_eq!(post(&fake, key, r#"{"task_id": "x"}"#).status, 202);
        }
        assert_eq!(post(&fake, "c", r#"{"task": "x"}"#).status, 422);
        let keys: Vec<String> = fake.target().jobs().iter().map(|job| job.key.clone()).collect();
        assert_eq!(keys, ["a", "b"]);
    }
}
