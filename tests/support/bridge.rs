//! The bridge between Camunda and RabbitMQ, as the field has it: it fetches external tasks and locks them for a year,
//! publishes a message of each, takes the responses, and completes the tasks. It repeats nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};
use task_creator::http::{self, Http, Method, Request};
use task_creator::message::now_ms;
use task_creator::sandbox::camunda::{PASSWORD, ROOT, USER, YEAR};
use task_creator::tls::RootCertificates;

use super::message::field_message;
use super::queues::Queues;

/// Under which it locks: what the messages say.
pub const WORKER_ID: &str = "universal-worker";
const TOPIC: &str = "bitrix_create_task";
const INTERVAL: Duration = Duration::from_millis(50);

/// A running bridge. Dropping it stops it.
pub struct Bridge {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bridge {
    pub fn start(engine: SocketAddr, queues: &Arc<Queues>) -> Bridge {
        let (stop, stopped) = bounded(0);
        let work = Work {
            http: Http::new(Duration::from_secs(10), &RootCertificates::public()),
            url: format!("http://{engine}{ROOT}/external-task"),
            queues: Arc::clone(queues),
        };
        let thread = thread::spawn(move || work.until(&stopped));
        Bridge { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "the bridge panicked");
    }
}

struct Work {
    http: Http,
    url: String,
    queues: Arc<Queues>,
}

impl Work {
    fn until(&self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(INTERVAL) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            self.fetch();
            self.complete();
        }
    }

    fn fetch(&self) {
        let topics = json!([{"topicName": TOPIC, "lockDuration": YEAR.num_milliseconds()}]);
        let fetched = self.post("/fetchAndLock", &json!({"workerId": WORKER_ID, "maxTasks": 10, "topics": topics}));
        for task in http::json(fetched).expect("it fetches").as_array().expect("a list") {
            let mut message = field_message(task["id"].as_str().expect("an id"));
            message["timestamp"] = now_ms().into();
            message["process_instance_id"] = task["processInstanceId"].clone();
            self.queues.publish_task(&message);
        }
    }

    fn complete(&self) {
        for response in self.queues.take_all(&self.queues.responses()) {
            let id = response.json()["original_message"]["task_id"].as_str().expect("an id").to_owned();
            // A task that is over is none of its business.
            let _ = self.post(&format!("/{id}/complete"), &json!({"workerId": WORKER_ID, "variables": {}}));
        }
    }

    fn post(&self, path: &str, body: &Value) -> Result<http::Answer, http::NoAnswer> {
        let (url, body) = (format!("{}{path}", self.url), body.to_string());
        self.http.send(Request::new(Method::POST, &url).basic(USER, PASSWORD).json(body.as_bytes()))
    }
}
