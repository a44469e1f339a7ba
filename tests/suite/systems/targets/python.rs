//! A service that is posted to as a target, for the Python services and for the default system: the sandbox's, which makes
//! a job of each task, behind a relay that can refuse connections.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::job_service::{JobService, TASKS, TOKEN};
use task_creator::sandbox::{self, ANY_CALL, Order, What};

use super::{Fault, Target};
use crate::support::{Relay, field_text};

const CREATE: &str = "POST /tasks";
/// More than the worker waits for an answer.
const TOO_LATE: Duration = Duration::from_secs(2);

/// For the default system, or for the Python services.
pub struct Services<const DEFAULT: bool> {
    service: HttpFake<JobService>,
    relay: Relay,
    ordered: Mutex<Vec<Order>>,
}

impl<const DEFAULT: bool> Services<DEFAULT> {
    fn ordered(&self) -> MutexGuard<'_, Vec<Order>> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const DEFAULT: bool> Target for Services<DEFAULT> {
    const SYSTEM: &'static str = if DEFAULT { "default" } else { "python-services" };

    fn start() -> Services<DEFAULT> {
        let service = HttpFake::start(0, JobService::default()).expect("loopback has a free port");
        let relay = Relay::to(service.address());
        Services { service, relay, ordered: Mutex::default() }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let url = format!("http://{}{TASKS}", self.relay.address());
        match DEFAULT {
            true => vec![
                ("DEFAULT_ACTION", "http".into()),
                ("DEFAULT_URL", url),
                ("DEFAULT_TOKEN", TOKEN.into()),
                ("DEFAULT_REQUEST_TIMEOUT", "1".into()),
            ],
            false => vec![("PYTHON_URL", url), ("PYTHON_TOKEN", TOKEN.into()), ("PYTHON_REQUEST_TIMEOUT", "1".into())],
        }
    }

    fn message(&self, id: &str) -> String {
        field_text(id)
    }

    fn tasks(&self) -> Vec<String> {
        let id = |job: &sandbox::job_service::Job| job.posted["task_id"].as_str().unwrap_or_default().to_owned();
        self.service.target().jobs().iter().map(id).collect()
    }

    fn is_whole(&self, _id: &str) -> bool {
        true
    }

    fn finish(&self, id: &str) {
        assert!(self.service.target().succeed(id, json!({"answer": true})));
    }

    fn delete(&self, id: &str) {
        assert!(self.service.target().delete(id));
    }

    fn fail(&self, fault: Fault, words: &str) {
        let refusal =
            |status, code: &'static str| What::Refuse { status, code: code.into(), text: words.to_owned().into() };
        let fault = match fault {
            Fault::AnswerLost => sandbox::Fault::after(CREATE, What::Close).times(1),
            Fault::Slow => sandbox::Fault::after(CREATE, What::Hang(Some(TOO_LATE))).times(1),
            Fault::Garbage => sandbox::Fault::after(CREATE, What::html(200, words)).times(1),
            Fault::Refused => sandbox::Fault::before(CREATE, refusal(422, "value_error")),
            Fault::Unauthorised => sandbox::Fault::before(ANY_CALL, refusal(401, "")),
            Fault::Down => {
                self.relay.refuse();
                return self.relay.cut();
            }
            Fault::HeldBefore => sandbox::Fault::before(CREATE, What::Hang(None)).times(1),
            Fault::HeldAfter => sandbox::Fault::after(CREATE, What::Hang(None)).times(1),
        };
        self.ordered().push(self.service.order(fault));
    }

    fn mend(&self) {
        self.relay.accept();
        self.service.clear_all();
        self.service.release();
    }

    fn struck(&self) -> u64 {
        self.ordered().iter().map(Order::struck).sum()
    }

    fn secret(&self) -> &str {
        TOKEN
    }
}
