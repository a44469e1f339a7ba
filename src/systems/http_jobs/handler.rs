//! Posts tasks to a service. A task cannot be looked up there: that a repeat does nothing again is the service's part,
//! which knows it by its key.
//!
//! It knows no queues and no attempts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::Value;
use url::Url;

use super::client::Client;
use super::fields::Fields;
use super::job::Job;
use super::{FailedJob, Settings, outcome};
use crate::http::{self, Answer, Class, Failed};
use crate::message::{Earlier, Task, document, text};
use crate::stats::Declared;
use crate::systems::half_done::HalfDone;
use crate::systems::{Created, Failure, Found, Handler, Missing, create};

/// A service has taken the task, and says where its job is.
const ACCEPTED: u16 = 202;
/// Done, and there is nothing to be said about it.
const NO_CONTENT: u16 = 204;
const CONFLICT: u16 = 409;

/// The handler. Several threads use it at once.
pub struct JobHandler {
    settings: Settings,
    client: Arc<Client>,
    /// Tasks with an earlier try that may still be at work, since it had no clear answer.
    unclear: HalfDone,
}

impl JobHandler {
    /// A handler for the service of these settings.
    pub fn new(settings: Settings, client: Arc<Client>) -> JobHandler {
        log::info!(
            "{} cannot be asked whether they have a task: one that is posted again has the same Idempotency-Key, and a \
             service that does not look at it does the work twice",
            settings.named.what
        );
        JobHandler { settings, client, unclear: HalfDone::default() }
    }
}

impl Handler for JobHandler {
    fn most_at_once(&self) -> usize {
        self.settings.parallel
    }

    fn visible_within(&self) -> Option<Duration> {
        None
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|_| Ok(Found::Nothing(Instant::now()))).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        create::one_by_one(missing, |task| self.post(task))
    }

    fn counters(&self) -> Vec<Declared> {
        vec![Declared::requests(self.client.requests())]
    }
}

impl JobHandler {
    fn post(&self, task: &Task) -> Result<Created, Failure> {
        let Some(url) = self.settings.urls.of(&task.topic) else { return Err(self.no_address(task)) };
        let answer = self.client.post(url, &task.id, &Fields::of(task).encode());
        let answer = http::classify(answer).map_err(|failed| self.failure(failed, task))?;
        let created = match answer.status {
            ACCEPTED => self.accepted(task, url, &answer)?,
            _ => self.done(task, answer)?,
        };
        Ok(Created { host: Some(url.origin().ascii_serialization()), ..created })
    }

    fn accepted(&self, task: &Task, url: &Url, answer: &Answer) -> Result<Created, Failure> {
        let due_in = answer.retry_after().unwrap_or_default();
        let job = Job::located(answer.header("Location"), url, due_in).map_err(Failure::Permanent)?;
        if self.client.shows_token(job.url.as_str()) {
            return Err(Failure::Permanent(anyhow!(
                "the URL of the job has our token in it, so it can be recorded nowhere"
            )));
        }
        // Whatever else the service says, mostly nothing.
        let reply = document::read(&answer.body).unwrap_or_default();
        Ok(Created::new(job.reply(task, &reply), job.id().to_owned()))
    }

    fn done(&self, task: &Task, answer: Answer) -> Result<Created, Failure> {
        let reply = match answer.status {
            NO_CONTENT => Value::Null,
            _ => http::json(Ok(answer)).map_err(|failed| self.failure(failed, task))?,
        };
        let id = text(&reply["id"]).unwrap_or_else(|| task.id.clone());
        if self.settings.says_failed(&reply) {
            return match self.settings.failed_job {
                FailedJob::Answer => Ok(Created::finished(outcome::failed(task, &id, &reply), id)),
                FailedJob::Park => Err(Failure::Permanent(anyhow!("it has failed: {}", outcome::words_of(&reply)))),
            };
        }
        let told = outcome::done(task, &id, &reply, &reply, &self.settings.answer).map_err(Failure::Permanent)?;
        Ok(Created::finished(told, id))
    }

    /// What failed without a clear answer may have been done; it is repeated with the same key when that answer is not
    /// to be expected any more.
    fn failure(&self, mut failed: Failed, task: &Task) -> Failure {
        let was_unclear = !self.unclear.take(task).is_empty();
        let may_be_under_way = failed.until.is_some() || was_unclear || task.earlier == Earlier::MayExist;
        if failed.status == Some(CONFLICT) && may_be_under_way {
            // An earlier try is still at work, and this one was not taken for it.
            failed.class = Class::Transient;
        }
        let failure = Failure::from(failed).of_create(self.settings.timeout);
        if matches!(failure, Failure::OutcomeUnknown { .. }) {
            self.unclear.keep(task, vec![task.id.as_str().into()]);
        }
        failure
    }

    fn no_address(&self, task: &Task) -> Failure {
        let known: Vec<&str> = self.settings.urls.topics().collect();
        let setting = self.settings.named.setting("TOPIC_URLS");
        Failure::Permanent(anyhow!("no address for the topic {:?}: {setting} names {}", task.topic, known.join(", ")))
    }
}
