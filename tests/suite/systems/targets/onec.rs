//! 1C as a target, by either of its two interfaces: the sandbox's infobase, behind a relay that can refuse connections.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use task_creator::sandbox::http_fake::HttpFake;
use task_creator::sandbox::onec::{self, PASSWORD, USER, service};
use task_creator::sandbox::{self, ANY_CALL, Order, What};

use super::{Fault, Target};
use crate::support::{Relay, field_text};

/// Where the message of this topic is created.
pub const CREATE_DOCUMENT: &str = "POST /base/odata/standard.odata/Document_%D0%97%D0%B0%D1%8F%D0%B2%D0%BA%D0%B0";
const CREATE_TASK: &str = "POST /base/hs/camunda/tasks";
/// More than the worker waits for an answer.
const TOO_LATE: Duration = Duration::from_secs(2);

/// By the standard OData interface, or by an HTTP service of the infobase's own.
pub struct Onec<const SERVICE: bool> {
    pub fake: HttpFake<onec::Onec>,
    relay: Relay,
    ordered: Mutex<Vec<Order>>,
}

impl<const SERVICE: bool> Onec<SERVICE> {
    fn ordered(&self) -> MutexGuard<'_, Vec<Order>> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const SERVICE: bool> Target for Onec<SERVICE> {
    const SYSTEM: &'static str = "1c";

    fn start() -> Onec<SERVICE> {
        let fake = HttpFake::start(0, onec::Onec::default()).expect("loopback has a free port");
        let relay = Relay::to(fake.address());
        Onec { fake, relay, ordered: Mutex::default() }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src/systems/onec/");
        let (mode, url, mapping) = match SERVICE {
            true => ("http_service", service::url(self.relay.address()), "mapping.service.example.json"),
            false => ("odata", onec::url(self.relay.address()), "mapping.example.json"),
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
        let refusal =
            |status, code: &'static str| What::Refuse { status, code: code.into(), text: words.to_owned().into() };
        let fault = match fault {
            Fault::AnswerLost => sandbox::Fault::after(create, What::Close).times(1),
            Fault::Slow => sandbox::Fault::after(create, What::Hang(Some(TOO_LATE))).times(1),
            Fault::Garbage => sandbox::Fault::after(create, What::html(200, words)).times(1),
            Fault::Refused => sandbox::Fault::before(create, refusal(400, "4")),
            Fault::Unauthorised => sandbox::Fault::before(ANY_CALL, What::html(401, words)),
            Fault::Down => {
                self.relay.refuse();
                return self.relay.cut();
            }
            Fault::HeldBefore => sandbox::Fault::before(create, What::Hang(None)).times(1),
            Fault::HeldAfter => sandbox::Fault::after(create, What::Hang(None)).times(1),
        };
        self.ordered().push(self.fake.order(fault));
    }

    fn mend(&self) {
        self.relay.accept();
        self.fake.clear_all();
        self.fake.release();
    }

    fn struck(&self) -> u64 {
        self.ordered().iter().map(Order::struck).sum()
    }

    fn secret(&self) -> &str {
        PASSWORD
    }

    fn user(&self) -> &str {
        USER
    }
}
