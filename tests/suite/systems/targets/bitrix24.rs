//! Bitrix24 as a target: the sandbox, behind a relay that can refuse connections.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use task_creator::sandbox::{self, ANY_REQUEST, Limits, Order, Sandbox, What};

use super::{Fault, Target};
use crate::support::{Relay, field_text};

const CREATE: &str = "tasks.task.add";
const MARKER: &str = "UF_CAMUNDA_ID_EXTERNAL_TASK";
/// The checklists of the message and their lines.
const CHECKLISTS: usize = 2 + 3;
/// The status in which people leave a task.
const COMPLETED: u8 = 5;
/// Longer than the worker waits for an answer.
const TOO_LATE: Duration = Duration::from_secs(2);

pub struct Bitrix24 {
    sandbox: Sandbox,
    relay: Relay,
    ordered: Mutex<Vec<Order>>,
}

impl Bitrix24 {
    fn id_of(&self, task: &str) -> u64 {
        let ids = self.sandbox.ids_of(task);
        assert_eq!(ids.len(), 1, "tasks with marker {task}");
        ids[0]
    }

    fn ordered(&self) -> MutexGuard<'_, Vec<Order>> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target for Bitrix24 {
    const SYSTEM: &'static str = "bitrix24";

    fn start() -> Bitrix24 {
        let sandbox = Sandbox::start(0, Limits::default()).expect("loopback has a free port");
        let relay = Relay::to(sandbox.address());
        Bitrix24 { sandbox, relay, ordered: Mutex::default() }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("BITRIX_WEBHOOK_URL", sandbox::webhook_url(self.relay.address())),
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
        let refusal =
            |status, code: &'static str| What::Refuse { status, code: code.into(), text: words.to_owned().into() };
        let fault = match fault {
            Fault::AnswerLost => sandbox::Fault::after(CREATE, What::Close).times(1),
            Fault::Slow => sandbox::Fault::after(CREATE, What::Hang(Some(TOO_LATE))).times(1),
            Fault::Garbage => sandbox::Fault::after(CREATE, What::html(200, words)).times(1),
            Fault::Refused => sandbox::Fault::before(CREATE, refusal(400, "ERROR_CORE")),
            Fault::Unauthorised => sandbox::Fault::before(ANY_REQUEST, refusal(401, "expired_token")),
            Fault::Down => {
                self.relay.refuse();
                return self.relay.cut();
            }
            Fault::HeldBefore => sandbox::Fault::before(CREATE, What::Hang(None)).times(1),
            Fault::HeldAfter => sandbox::Fault::after(CREATE, What::Hang(None)).times(1),
        };
        self.ordered().push(self.sandbox.order(fault));
    }

    fn mend(&self) {
        self.relay.accept();
        self.sandbox.clear_all();
        self.sandbox.release();
    }

    fn struck(&self) -> u64 {
        self.ordered().iter().map(Order::struck).sum()
    }

    fn secret(&self) -> &str {
        "sandbox-token"
    }

    fn user(&self) -> &str {
        "1"
    }
}
