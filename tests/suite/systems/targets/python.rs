//! A service that is posted to as a target, for the Python services and for the default system: the sandbox's, which
//! makes a job of each task, behind a relay that can refuse connections.

use serde_json::json;
use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::job_service::{JobService, TASKS, TOKEN};
use task_creator::sandbox::{self, ANY_CALL};

use super::faults::{Failing, Faults, refusal};
use super::{Fault, Target};
use crate::support::field_text;

const CREATE: &str = "POST /tasks";

/// For the default system, or for the Python services.
pub struct Services<const DEFAULT: bool> {
    service: HttpFake<JobService>,
    faults: Faults,
}

impl<const DEFAULT: bool> Target for Services<DEFAULT> {
    const SYSTEM: &'static str = if DEFAULT { "default" } else { "python-services" };

    fn start() -> Services<DEFAULT> {
        let service = HttpFake::start(0, JobService::default()).expect("loopback has a free port");
        let faults = Faults::before(service.address());
        Services { service, faults }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let url = format!("http://{}{TASKS}", self.faults.address());
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
        let failing = Failing {
            create: CREATE.into(),
            refused: sandbox::Fault::before(CREATE, refusal(422, "value_error", words)),
            unauthorised: sandbox::Fault::before(ANY_CALL, refusal(401, "", words)),
            words,
        };
        self.faults.fail(fault, failing, |fault| self.service.order(fault));
    }

    fn mend(&self) {
        self.faults.accept();
        self.service.clear_all();
        self.service.release();
    }

    fn struck(&self) -> u64 {
        self.faults.struck()
    }

    fn secret(&self) -> &str {
        TOKEN
    }
}
