//! OpenProject as a target: the sandbox's, behind a relay that can refuse connections.

use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::openproject::store::CLOSED;
use task_creator::sandbox::openproject::{ANSWER_FIELD, MARKER_FIELD, PROJECT, Store, TOKEN};
use task_creator::sandbox::{self, ANY_CALL};

use super::faults::{Failing, Faults, refusal};
use super::{Fault, Target};
use crate::support::field_text;

const CREATE: &str = "POST /api/v3/work_packages";

pub struct OpenProject {
    sandbox: HttpFake<Store>,
    faults: Faults,
}

impl OpenProject {
    fn id_of(&self, task: &str) -> u64 {
        let ids = self.sandbox.target().ids_of(task);
        assert_eq!(ids.len(), 1, "work packages with marker {task}");
        ids[0]
    }
}

impl Target for OpenProject {
    const SYSTEM: &'static str = "openproject";

    fn start() -> OpenProject {
        let sandbox = HttpFake::start(0, Store::default()).expect("loopback has a free port");
        let faults = Faults::before(sandbox.address());
        OpenProject { sandbox, faults }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OPENPROJECT_URL", format!("http://{}", self.faults.address())),
            ("OPENPROJECT_TOKEN", TOKEN.into()),
            ("OPENPROJECT_TASK_ID_FIELD", MARKER_FIELD.into()),
            ("OPENPROJECT_ANSWER_FIELD", ANSWER_FIELD.into()),
            ("OPENPROJECT_DEFAULT_PROJECT", PROJECT.to_string()),
            ("OPENPROJECT_REQUEST_TIMEOUT", "1".into()),
        ]
    }

    fn message(&self, id: &str) -> String {
        field_text(id).replace("bitrix_create_task", "op_create_task")
    }

    fn tasks(&self) -> Vec<String> {
        self.sandbox.target().markers()
    }

    fn is_whole(&self, id: &str) -> bool {
        let id = self.id_of(id);
        // The checklists are part of the description.
        let description = self.sandbox.target().member(id, "description").unwrap_or_default();
        description["raw"].as_str().is_some_and(|raw| raw.matches("* [ ] ").count() == 3)
    }

    fn finish(&self, id: &str) {
        let id = self.id_of(id);
        assert!(self.sandbox.target().finish(id, CLOSED, Some("ДА")));
    }

    fn delete(&self, id: &str) {
        let id = self.id_of(id);
        assert!(self.sandbox.target().delete(id));
    }

    fn fail(&self, fault: Fault, words: &str) {
        let failing = Failing {
            create: CREATE.into(),
            refused: sandbox::Fault::before(CREATE, refusal(422, "PropertyConstraintViolation", words)),
            unauthorised: sandbox::Fault::before(ANY_CALL, refusal(401, "Unauthenticated", words)),
            words,
        };
        self.faults.fail(fault, failing, |fault| self.sandbox.order(fault));
    }

    fn mend(&self) {
        self.faults.accept();
        self.sandbox.clear_all();
        self.sandbox.release();
    }

    fn struck(&self) -> u64 {
        self.faults.struck()
    }

    fn secret(&self) -> &str {
        TOKEN
    }

    fn user(&self) -> &str {
        "apikey"
    }
}
