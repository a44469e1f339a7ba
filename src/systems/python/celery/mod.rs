//! Python services that are Celery tasks: called through a queue of a Celery worker, and answered in a queue of ours.
//!
//! Protocol 2 of Celery. A task is put into the worker's queue under its own id; when that is confirmed, its record is
//! written as that of any system. The result comes into our queue. Each sweep reads what is there and holds it; the
//! result of a task that is in the sent queue answers it, and is acknowledged when the response is confirmed. All
//! others go back: their record may be under way. Celery does not know a task that comes again; it is done again, and
//! the second result is dropped after a while.
//!
//! It speaks to RabbitMQ through [`rpc`](crate::rabbitmq::rpc) alone: these are queues of the target. Of those of the
//! lane it knows no more than any system does. [`handler`] puts tasks in, [`tracker`] finds results, [`outcome`] reads
//! one, [`settings`] say which queues.

pub mod handler;
pub mod outcome;
pub mod settings;
pub mod tracker;

use std::sync::Arc;

use crate::message::Task;
use crate::report::Report;
use crate::settings::Secret;
use crate::systems::http_jobs::{self, fields::Fields};
use crate::systems::{Connected, Explanation, Request, Surroundings, System};

pub use settings::Settings;

impl System for Settings {
    fn target(&self) -> String {
        let place = self.broker.as_ref().map(|broker| format!(" at {}:{}", broker.host, broker.port));
        format!("Celery by the queue {}{}", self.queue, place.unwrap_or_default())
    }

    fn uses_https(&self) -> bool {
        false
    }

    fn secrets(&self) -> Vec<Secret> {
        self.broker.iter().flat_map(|broker| broker.secrets()).collect()
    }

    fn queues(&self) -> Vec<(&'static str, &str)> {
        match &self.broker {
            None => vec![("CELERY_QUEUE", &self.queue), ("CELERY_RESULT_QUEUE", &self.replies)],
            Some(_) => Vec::new(),
        }
    }

    fn connect(&self, around: &Surroundings) -> anyhow::Result<Connected> {
        let peer = self.peer(around.rabbitmq);
        Ok(Connected {
            handler: Arc::new(handler::CeleryHandler::new(self.clone(), peer.clone())),
            tracker: Box::new(tracker::CeleryTracker::new(self.clone(), peer)),
        })
    }

    fn check(&self, around: &Surroundings, report: &mut Report) {
        let queue = &self.queue;
        match self.peer(around.rabbitmq).takers() {
            Ok(Some(0)) => report.warn(format!("python-services: no Celery worker takes from {queue}; start one")),
            Ok(Some(workers)) => report.ok(format!("python-services: {workers} Celery worker(s) take from {queue}")),
            Ok(None) => report.fail(format!(
                "python-services: there is no queue {queue}: start a Celery worker, which makes it, or correct CELERY_QUEUE"
            )),
            Err(err) => report.fail(format!("python-services: the broker of Celery: {err}")),
        }
    }

    fn explain(&self, task: &Task) -> Explanation {
        let request = Request {
            method: self.task_name(&task.topic).to_owned(),
            when: format!(
                "into the queue {}, with the id {}; its result comes into {}",
                self.queue, task.id, self.replies
            ),
            body: String::from_utf8_lossy(&handler::body(task)).into_owned(),
        };
        let values = http_jobs::explain::values(task, &Fields::of(task));
        Explanation { values, requests: vec![request], ..Explanation::default() }
    }
}

#[cfg(test)]
mod tests;
