//! What the `CELERY_…` variables say, and those of the `PYTHON_…` ones that count here too.

use std::collections::BTreeMap;

use crate::message::Task;
use crate::rabbitmq::RabbitMq;
use crate::rabbitmq::rpc::Peer;
use crate::settings::Variables;
use crate::systems::http_jobs::{self, FailedJob, Named};

/// A name in AMQP, in bytes.
const LONGEST_NAME: usize = 255;

/// What the variables say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From which the Celery worker takes its tasks.
    pub queue: String,
    /// Ours, for the results.
    pub replies: String,
    /// What a topic is called there; one that is not named is called the same.
    pub tasks: BTreeMap<String, String>,
    /// Where both queues are, if not at the broker of the messages.
    pub broker: Option<RabbitMq>,
    /// What becomes of a task that Celery has failed over.
    pub failed_job: FailedJob,
    /// Where in a result the answer is: a JSON pointer.
    pub answer: String,
}

impl Settings {
    /// Reads the settings; without `CELERY_QUEUE` it is off.
    pub fn from_variables(named: &Named, variables: &mut Variables) -> Option<Settings> {
        let queue = variables.name("CELERY_QUEUE", LONGEST_NAME);
        let shared = http_jobs::Settings::from_variables(named, variables);
        let example = "CELERY_TASKS=calculate=svc.calculate,convert=svc.convert";
        let settings = Settings {
            queue: queue.clone().unwrap_or_default(),
            replies: variables
                .name("CELERY_RESULT_QUEUE", LONGEST_NAME)
                .unwrap_or_else(|| "python-services.celery.results".into()),
            tasks: variables.parsed("CELERY_TASKS", example, tasks).unwrap_or_default(),
            broker: RabbitMq::another("CELERY", variables),
            failed_job: shared.failed_job,
            answer: shared.answer,
        };
        if queue.is_some() && !shared.urls.is_empty() {
            let wrong = "is set, and so is PYTHON_URL or PYTHON_TOPIC_URLS: a task would have two places to go to";
            variables.error("CELERY_QUEUE", wrong, "CELERY_QUEUE=celery");
        }
        if settings.queue == settings.replies {
            variables.error("CELERY_RESULT_QUEUE", "is the same queue as CELERY_QUEUE", "CELERY_RESULT_QUEUE=results");
        }
        queue.map(|_| settings)
    }

    /// The queues, at Celery's own broker or at that of the messages.
    pub fn peer(&self, messages: &RabbitMq) -> Peer {
        Peer {
            broker: self.broker.as_ref().unwrap_or(messages).clone(),
            name: "task-creator python-services: Celery".into(),
            queue: self.queue.clone(),
            replies: self.replies.clone(),
        }
    }

    /// Why this task can never be put into the queue: its name becomes a header, and one that fits into no frame would
    /// end the connection, with all tasks on it.
    pub fn refusal(&self, task: &Task) -> Option<String> {
        let bytes = self.task_name(&task.topic).len();
        (bytes > LONGEST_NAME).then(|| {
            format!(
                "its topic has {bytes} bytes, {LONGEST_NAME} are the most for a task's name; CELERY_TASKS may name it"
            )
        })
    }

    /// What the task of this topic is called.
    pub fn task_name<'a>(&'a self, topic: &'a str) -> &'a str {
        self.tasks.get(topic).map_or(topic, String::as_str)
    }
}

fn tasks(given: &str) -> Result<BTreeMap<String, String>, String> {
    let pair = |pair: &str| {
        let (topic, task) = pair.split_once('=')?;
        let (topic, task) = (topic.trim(), task.trim());
        (!topic.is_empty() && !task.is_empty()).then(|| (topic.to_owned(), task.to_owned()))
    };
    given.split(',').map(pair).collect::<Option<_>>().ok_or_else(|| format!("is {given:?}, not a list of topic=task"))
}
