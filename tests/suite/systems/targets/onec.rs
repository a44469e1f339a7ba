//! 1C as a target, by either of its two interfaces: the sandbox's infobase, behind a relay that can refuse connections.

use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::onec::{self, PASSWORD, USER, service};
use task_creator::sandbox::{self, ANY_CALL, What};

use super::faults::{Failing, Faults, refusal};
use super::{Fault, Target};
use crate::support::field_text;

/// Where the message of this topic is created.
pub const CREATE_DOCUMENT: &str = "POST /base/odata/standard.odata/Document_%D0%97%D0%B0%D1%8F%D0%B2%D0%BA%D0%B0";
const CREATE_TASK: &str = "POST /base/hs/camunda/tasks";

/// By the standard OData interface, or by an HTTP service of the infobase's own.
pub struct Onec<const SERVICE: bool> {
    pub fake: HttpFake<onec::Onec>,
    faults: Faults,
}

impl<const SERVICE: bool> Target for Onec<SERVICE> {
    const SYSTEM: &'static str = "1c";

    fn start() -> Onec<SERVICE> {
        let fake = HttpFake::start(0, onec::Onec::default()).expect("loopback has a free port");
        let faults = Faults::before(fake.address());
        Onec { fake, faults }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src/systems/onec/");
        let (mode, url, mapping) = match SERVICE {
            true => ("http_service", service::url(self.faults.address()), "mapping.service.example.json"),
            false => ("odata", onec::url(self.faults.address()), "mapping.example.json"),
        };
        vec![
            ("ONEC_MODE", mode.into()),
            ("ONEC_URL", url),
            ("ONEC_USERNAME", USER.into()),
            ("ONEC_PASSWORD", PASSWORD.into()),
            ("ONEC_MAPPING_FILE", format!("{root}{mapping}")),
            ("ONEC_REQUEST_TIMEOUT", "1".into()),
        ]
    }

    fn message(&self, id: &str) -> String {
        field_text(id).replacen("bitrix_create_task", "1c_create_document", 1).replacen("bitrix24", "1c", 1)
    }

    fn tasks(&self) -> Vec<String> {
        self.fake.target().tasks()
    }

    fn is_whole(&self, id: &str) -> bool {
        self.tasks().iter().any(|task| task == id)
    }

    fn finish(&self, id: &str) {
        assert!(self.fake.target().finish(id, "ДА"));
    }

    fn delete(&self, id: &str) {
        assert!(self.fake.target().delete(id));
    }

    fn fail(&self, fault: Fault, words: &str) {
        let create = if SERVICE { CREATE_TASK } else { CREATE_DOCUMENT };
        let failing = Failing {
            create: create.into(),
            refused: sandbox::Fault::before(create, refusal(400, "4", words)),
            unauthorised: sandbox::Fault::before(ANY_CALL, What::html(401, words)),
            words,
        };
        self.faults.fail(fault, failing, |fault| self.fake.order(fault));
    }

    fn mend(&self) {
        self.faults.accept();
        self.fake.clear_all();
        self.fake.release();
    }

    fn struck(&self) -> u64 {
        self.faults.struck()
    }

    fn secret(&self) -> &str {
        PASSWORD
    }

    fn user(&self) -> &str {
        USER
    }
}
