//! A result message of Celery, and what it says of its task. It takes nothing out of a queue and acknowledges nothing.

use anyhow::anyhow;
use serde_json::Value;

use super::Settings;
use crate::http::text::{beginning, plain};
use crate::message::{Task, document, text};
use crate::systems::Progress;
use crate::systems::http_jobs::{FailedJob, outcome};

/// A result message.
#[derive(Debug)]
pub struct ResultMessage {
    /// The id of its task, in Camunda and at Celery.
    pub task_id: String,
    /// How it ended; `None` while it has not.
    pub end: Option<End>,
    /// All that it says.
    reply: Value,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a result.
    Success,
    /// With an exception, or it was taken back.
    Failure,
    /// With a message that is no result in JSON; its first words.
    Unreadable(String),
}

impl ResultMessage {
    /// Reads one. What cannot be read ends the task of its correlation id all the same, since nothing else will come.
    /// `None`: it cannot be read, and nobody knows whose it is.
    pub fn parse(body: &[u8], correlation_id: Option<&str>) -> Option<ResultMessage> {
        let read = document::read(body).ok().and_then(ResultMessage::of);
        read.or_else(|| {
            let end = Some(End::Unreadable(beginning(body)));
            Some(ResultMessage { task_id: correlation_id?.to_owned(), end, reply: Value::Null })
        })
    }

    fn of(reply: Value) -> Option<ResultMessage> {
        let task_id = text(&reply["task_id"])?;
        let end = match reply["status"].as_str()? {
            "SUCCESS" => Some(End::Success),
            "FAILURE" | "REVOKED" | "REJECTED" | "IGNORED" => Some(End::Failure),
            // STARTED, RETRY and whatever else a task may report of itself.
            _ => None,
        };
        Some(ResultMessage { task_id, end, reply })
    }

    /// What follows for this task.
    pub fn progress(&self, task: &Task, settings: &Settings) -> Progress {
        let reply = &self.reply;
        match (&self.end, settings.failed_job) {
            (None, _) => Progress::Open,
            (Some(End::Success), _) => match outcome::done(task, &task.id, reply, &reply["result"], &settings.answer) {
                Ok(told) => Progress::Finished(told),
                Err(err) => Progress::Failed(err),
            },
            (Some(End::Failure), FailedJob::Answer) => Progress::Finished(outcome::failed(task, &task.id, reply)),
            (Some(End::Failure), FailedJob::Park) => Progress::Failed(anyhow!("Celery: {}", self.words())),
            // It may have been a success.
            (Some(End::Unreadable(words)), _) => Progress::Failed(anyhow!(
                "Celery: what came is no result in JSON, as with NaN in it or another result_serializer: {words}"
            )),
        }
    }

    /// What Celery says of a task that has failed.
    fn words(&self) -> String {
        let result = &self.reply["result"];
        match (result["exc_type"].as_str(), &result["exc_message"]) {
            (Some(kind), Value::Array(words)) => {
                let words: Vec<String> = words.iter().filter_map(text).collect();
                plain(&format!("{kind}: {}", words.join(", ")))
            }
            (Some(kind), words) => plain(&format!("{kind}: {}", text(words).unwrap_or_else(|| words.to_string()))),
            (None, _) => plain(&self.reply.to_string()),
        }
    }
}
