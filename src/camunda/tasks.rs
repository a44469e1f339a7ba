//! The external tasks that the engine has now: one by its id, or those that somebody has locked, page by page.

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Engine, time};

/// An external task that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalTask {
    /// The task's id, which is that of its message.
    pub id: String,
    /// What kind of work it is.
    pub topic: Option<String>,
    /// Who has locked it last; a lock that has ended keeps it.
    pub worker_id: Option<String>,
    /// The lock ends, or has ended; `None`: it was never locked, or it was unlocked.
    pub locked_until: Option<DateTime<Utc>>,
    /// Nobody fetches it at 0, which is an incident. `None`: nobody has ever set it, and it is fetched.
    pub retries: Option<i64>,
    /// Of the last failure.
    pub error_message: Option<String>,
    /// The process it belongs to.
    pub process_instance_id: Option<String>,
    /// The model of that process.
    pub process_definition_key: Option<String>,
    /// Its place in the model.
    pub activity_id: Option<String>,
    /// What the process is about, in the words of the business.
    pub business_key: Option<String>,
    /// While it is suspended, nobody fetches it, and nobody can complete it.
    pub suspended: bool,
}

/// Tasks that one worker has locked.
#[derive(Clone, Debug)]
pub struct Locked {
    /// Who.
    pub worker_id: String,
}

impl Engine {
    /// The task with this id; `None`: it is finished, or it has never been there.
    ///
    /// # Errors
    /// The engine was not reached, or has refused it.
    pub fn task(&self, id: &str) -> anyhow::Result<Option<ExternalTask>> {
        let Some(answer) = self.read(&self.task_url(id, ""))? else { return Ok(None) };
        Ok(Some(task(&answer)?))
    }

    /// The tasks from number `first` on, at most `most`, those that were locked first at the beginning. While tasks are
    /// finished, later ones move up, so a page may skip some.
    ///
    /// # Errors
    /// As [`Engine::task`].
    pub fn locked_tasks(&self, which: &Locked, first: usize, most: usize) -> anyhow::Result<Vec<ExternalTask>> {
        let url = format!("{}/external-task?firstResult={first}&maxResults={most}", self.settings.url());
        // Those whose lock ends first come first: they were locked first. With the id, no two are equal.
        let by = |what: &str| json!({"sortBy": what, "sortOrder": "asc"});
        let sorting = json!([by("lockExpirationTime"), by("id")]);
        let query = json!({"workerId": which.worker_id, "locked": true, "sorting": sorting});
        let answer = self.ask(&url, &query)?;
        let rows = answer.as_array().ok_or_else(|| anyhow!("the answer is no list"))?;
        rows.iter().map(task).collect()
    }
}

fn task(row: &Value) -> anyhow::Result<ExternalTask> {
    let text = |name: &str| row[name].as_str().map(str::to_owned);
    Ok(ExternalTask {
        id: text("id").context("a task in the answer has no id")?,
        topic: text("topicName"),
        worker_id: text("workerId"),
        locked_until: time::read(&row["lockExpirationTime"]),
        retries: row["retries"].as_i64(),
        error_message: text("errorMessage"),
        process_instance_id: text("processInstanceId"),
        process_definition_key: text("processDefinitionKey"),
        activity_id: text("activityId"),
        business_key: text("businessKey"),
        suspended: row["suspended"].as_bool().unwrap_or(false),
    })
}
