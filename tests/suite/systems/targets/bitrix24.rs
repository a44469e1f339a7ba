//! Bitrix24 as a target: the sandbox, behind a relay that can refuse connections.

use task_creator::sandbox::{self, ANY_REQUEST, Limits, Sandbox};

use super::faults::{Failing, Faults, refusal};
use super::{Fault, Target};
use crate::support::field_text;

const CREATE: &str = "tasks.task.add";
const MARKER: &str = "UF_CAMUNDA_ID_EXTERNAL_TASK";
/// The checklists of the message and their lines.
const CHECKLISTS: usize = 2 + 3;
/// The status in which people leave a task.
const COMPLETED: u8 = 5;

pub struct Bitrix24 {
    sandbox: Sandbox,
    faults: Faults,
}

impl Bitrix24 {
    fn id_of(&self, task: &str) -> u64 {
        let ids = self.sandbox.ids_of(task);
        assert_eq!(ids.len(), 1, "tasks with marker {task}");
        ids[0]
    }
}

impl Target for Bitrix24 {
    const SYSTEM: &'static str = "bitrix24";

    fn start() -> Bitrix24 {
        let sandbox = Sandbox::start(0, Limits::default()).expect("loopback has a free port");
        let faults = Faults::before(sandbox.address());
        Bitrix24 { sandbox, faults }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("BITRIX_WEBHOOK_URL", sandbox::webhook_url(self.faults.address())),
            ("BITRIX_REQUEST_TIMEOUT", "1".into()),
            ("BITRIX_RATE", "0".into()),
        ]
    }

    fn message(&self, id: &str) -> String {
        field_text(id)
    }

    fn tasks(&self) -> Vec<String> {
        let marker = |id| self.sandbox.field(id, MARKER).and_then(|marker| Some(marker.as_str()?.to_owned()));
        self.sandbox.tasks().iter().map(|task| marker(task.id).unwrap_or_default()).collect()
    }

    fn is_whole(&self, id: &str) -> bool {
        self.sandbox.task(self.id_of(id)).is_some_and(|task| task.checklist.len() == CHECKLISTS)
    }

    fn finish(&self, id: &str) {
        assert!(self.sandbox.finish(self.id_of(id), COMPLETED, Some("ДА")));
    }

    fn delete(&self, id: &str) {
        assert!(self.sandbox.delete(self.id_of(id)));
    }

    fn fail(&self, fault: Fault, words: &str) {
        let failing = Failing {
            create: CREATE.into(),
            refused: sandbox::Fault::before(CREATE, refusal(400, "ERROR_CORE", words)),
            unauthorised: sandbox::Fault::before(ANY_REQUEST, refusal(401, "expired_token", words)),
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
        "sandbox-token"
    }

    fn user(&self) -> &str {
        "1"
    }
}
