//! What the engine remembers of external tasks and processes, as far as its history level says: an external task is
//! remembered at level FULL only, and both only until the history is cleaned up. So nothing found proves nothing.

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Engine, in_path, time};

/// The longest history of one task that is read. Each try of a bridge that fails adds an entry.
const MOST_ENTRIES: usize = 1000;

/// Something that has happened to an external task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    /// What.
    pub kind: TaskEventKind,
    /// When.
    pub at: Option<DateTime<Utc>>,
    /// Who has had the task.
    pub worker_id: Option<String>,
    /// What kind of work it was.
    pub topic: Option<String>,
    /// The process it belonged to.
    pub process_instance_id: Option<String>,
    /// The tries that were left.
    pub retries: Option<i64>,
    /// Of a failure.
    pub error_message: Option<String>,
}

/// What has happened. That a task was locked or unlocked is not remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskEventKind {
    /// The process has come to it.
    Created,
    /// A failure was reported.
    Failed,
    /// It is finished.
    Completed,
    /// It was taken away: its process was cancelled or went another way.
    Deleted,
}

/// A process, running or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInstance {
    /// `ACTIVE`, `SUSPENDED`, `COMPLETED`, `EXTERNALLY_TERMINATED` or `INTERNALLY_TERMINATED`.
    pub state: Option<String>,
    /// When it was started.
    pub started: Option<DateTime<Utc>>,
    /// When it has ended; `None`: it runs.
    pub ended: Option<DateTime<Utc>>,
    /// Why somebody has ended it.
    pub delete_reason: Option<String>,
    /// Its model.
    pub definition_key: Option<String>,
    /// What it is about, in the words of the business.
    pub business_key: Option<String>,
}

impl Engine {
    /// What has happened to the external task with this id, oldest first.
    ///
    /// # Errors
    /// The engine was not reached, or has refused it.
    pub fn task_history(&self, id: &str) -> anyhow::Result<Vec<TaskEvent>> {
        let url = format!(
            "{}/history/external-task-log?externalTaskId={}&sortBy=timestamp&sortOrder=asc&maxResults={MOST_ENTRIES}",
            self.settings.url(),
            in_path(id)
        );
        let Some(answer) = self.read(&url)? else { return Ok(Vec::new()) };
        let rows = answer.as_array().ok_or_else(|| anyhow!("the answer is no list"))?;
        // An engine that does not know a filter in an address ignores it.
        Ok(rows.iter().filter(|row| row["externalTaskId"] == *id).filter_map(event).collect())
    }

    /// The process with this id; `None`: it is not remembered.
    ///
    /// # Errors
    /// As [`Engine::task_history`].
    pub fn process_instance(&self, id: &str) -> anyhow::Result<Option<ProcessInstance>> {
        let url = format!("{}/history/process-instance/{}", self.settings.url(), in_path(id));
        Ok(self.read(&url)?.map(|answer| {
            let text = |name: &str| answer[name].as_str().map(str::to_owned);
            ProcessInstance {
                state: text("state"),
                started: time::read(&answer["startTime"]),
                ended: time::read(&answer["endTime"]),
                delete_reason: text("deleteReason"),
                definition_key: text("processDefinitionKey"),
                business_key: text("businessKey"),
            }
        }))
    }
}

fn event(row: &Value) -> Option<TaskEvent> {
    let kinds = [
        ("creationLog", TaskEventKind::Created),
        ("failureLog", TaskEventKind::Failed),
        ("successLog", TaskEventKind::Completed),
        ("deletionLog", TaskEventKind::Deleted),
    ];
    let (_, kind) = kinds.into_iter().find(|(name, _)| row[*name] == true)?;
    let text = |name: &str| row[name].as_str().map(str::to_owned);
    Some(TaskEvent {
        kind,
        at: time::read(&row["timestamp"]),
        worker_id: text("workerId"),
        topic: text("topicName"),
        process_instance_id: text("processInstanceId"),
        retries: row["retries"].as_i64(),
        error_message: text("errorMessage"),
    })
}
