//! Puts tasks into the queue of a Celery worker. It does not wait for their results.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::{Value, json};

use super::Settings;
use crate::message::Task;
use crate::rabbitmq::rpc::{Peer, Posted, Request};
use crate::systems::http_jobs::fields::Fields;
use crate::systems::http_jobs::outcome::told;
use crate::systems::{Batch, Created, Failure, Found, Handler, Missing};

/// Tasks on one connection.
const MOST: usize = 200;

/// The handler.
pub struct CeleryHandler {
    settings: Settings,
    peer: Peer,
}

impl CeleryHandler {
    /// A handler for the queue of these settings.
    pub fn new(settings: Settings, peer: Peer) -> CeleryHandler {
        log::info!(
            "Celery cannot be asked whether it has a task: one that is put into its queue again has the same id, and is \
             done twice; the second result is dropped"
        );
        CeleryHandler { settings, peer }
    }
}

impl Handler for CeleryHandler {
    fn next_batch(&self) -> Batch {
        Batch::FairShare(MOST)
    }

    /// What waits meanwhile shares the next connection.
    fn most_at_once(&self) -> usize {
        1
    }

    fn visible_within(&self) -> Option<Duration> {
        None
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|_| Ok(Found::Nothing(Instant::now()))).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        let refused: Vec<Option<Failure>> = missing.iter().map(|missing| self.refused(missing)).collect();
        let to_post = missing.iter().zip(&refused).filter(|(_, refused)| refused.is_none());
        let requests: Vec<Request> = to_post.map(|(missing, _)| self.request(missing.task)).collect();
        let count = requests.len();
        let posted = self.peer.post(requests).map_or_else(
            |err| (0..count).map(|_| Err(format!("the broker of Celery: {err}"))).collect(),
            |posted| posted.into_iter().map(Ok).collect::<Vec<_>>(),
        );
        let mut posted = posted.into_iter();
        let result = |(missing, refused): (&Missing, Option<Failure>)| match refused {
            Some(failure) => Err(failure),
            None => self.created(missing.task, posted.next()),
        };
        missing.iter().zip(refused).map(result).collect()
    }
}

impl CeleryHandler {
    /// Why it is not put into the queue, if it is not.
    fn refused(&self, missing: &Missing) -> Option<Failure> {
        if !missing.claim().is_held() {
            return Some(Failure::Outdated);
        }
        self.settings.refusal(missing.task).map(|why| Failure::Permanent(anyhow!(why)))
    }

    fn created(&self, task: &Task, posted: Option<Result<Posted, String>>) -> Result<Created, Failure> {
        match posted {
            Some(Ok(Posted::Confirmed)) => Ok(created(task)),
            Some(Ok(Posted::NotPosted(why))) => Err(self.not_taken(&why)),
            Some(Ok(Posted::Unknown(why))) => {
                Err(Failure::OutcomeUnknown { error: anyhow!("Celery: {why}"), visible_in: Duration::ZERO })
            }
            Some(Err(why)) => Err(Failure::Unavailable { error: anyhow!(why), until: None }),
            None => Err(Failure::Outdated),
        }
    }

    fn request(&self, task: &Task) -> Request {
        let name = self.settings.task_name(&task.topic);
        let headers =
            [("lang", "py"), ("task", name), ("id", &task.id), ("root_id", &task.id), ("origin", "task-creator")];
        Request { id: task.id.clone(), headers: headers.into_iter().collect(), body: body(task) }
    }

    /// No message makes a queue go away or fill up.
    fn not_taken(&self, why: &str) -> Failure {
        let queue = &self.settings.queue;
        let error = anyhow!("{queue} did not take the task: {why}; does a Celery worker run that has this queue?");
        Failure::Unavailable { error, until: None }
    }
}

fn created(task: &Task) -> Created {
    let mut reply = told(task, &task.id, "accepted", "", &Value::Null);
    reply["celery"] = true.into();
    Created::new(reply, task.id.clone())
}

/// Celery's protocol 2: the arguments, of which there is one, those with names, and what is to follow.
pub fn body(task: &Task) -> Vec<u8> {
    let follows = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
    serde_json::to_vec(&([Fields::of(task)], json!({}), follows)).expect("its members are texts and JSON values")
}
