//! A mail server as a target: the sandbox's, behind a relay that can refuse connections. A mail is finished when it is
//! accepted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use task_creator::sandbox::smtp::{PASSWORD, SmtpFake, USER};
use task_creator::sandbox::{self, Order, What};

use super::{Fault, Target};
use crate::support::Relay;

/// More than the worker waits for an answer.
const TOO_LATE: Duration = Duration::from_secs(2);

pub struct Email {
    fake: SmtpFake,
    relay: Relay,
    ordered: Mutex<Vec<Order>>,
}

impl Email {
    fn ordered(&self) -> MutexGuard<'_, Vec<Order>> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target for Email {
    const SYSTEM: &'static str = "email";
    const IS_LOOKED_UP: bool = false;
    const IS_TRACKED: bool = false;

    fn start() -> Email {
        let fake = SmtpFake::start(0).expect("loopback has a free port");
        let relay = Relay::to(fake.address());
        Email { fake, relay, ordered: Mutex::default() }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let port = self.relay.port().to_string();
        [
            ("EMAIL_SMTP_HOST", "127.0.0.1"),
            ("EMAIL_SMTP_PORT", &port),
            ("EMAIL_SECURITY", "none"),
            ("EMAIL_USERNAME", USER),
            ("EMAIL_PASSWORD", PASSWORD),
            ("EMAIL_FROM", "Task Creator <camunda@firma.example>"),
            ("EMAIL_TIMEOUT", "1"),
            ("EMAIL_ACCEPT_TIMEOUT", "1"),
            ("EMAIL_RETRY_AFTER", "0.2"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
    }

    fn message(&self, id: &str) -> String {
        let variables =
            serde_json::json!({"to": "Анна <anna@firma.example>", "subject": "Договор №7", "text": "Срок: завтра"});
        serde_json::json!({"task_id": id, "topic": "send_email", "system": "email", "variables": variables}).to_string()
    }

    fn tasks(&self) -> Vec<String> {
        self.fake.mails().iter().filter_map(|mail| mail.header("X-Camunda-Task-Id")).collect()
    }

    fn is_whole(&self, _: &str) -> bool {
        true
    }

    fn finish(&self, _: &str) {
        unreachable!("a mail is finished when it is accepted");
    }

    fn delete(&self, _: &str) {
        unreachable!("nobody learns that a mail was deleted");
    }

    fn fail(&self, fault: Fault, words: &str) {
        let refusal =
            |status, code: &'static str| What::Refuse { status, code: code.into(), text: words.to_owned().into() };
        let fault = match fault {
            Fault::AnswerLost => sandbox::Fault::after("BODY", What::Close).times(1),
            Fault::Slow => sandbox::Fault::after("BODY", What::Hang(Some(TOO_LATE))).times(1),
            Fault::Garbage => sandbox::Fault::after("BODY", What::html(200, words)).times(1),
            Fault::Refused => sandbox::Fault::before("RCPT", refusal(550, "5.1.1")),
            Fault::Unauthorised => {
                // Nobody signs in again on a connection that is kept.
                self.relay.cut();
                sandbox::Fault::before("AUTH", refusal(535, "5.7.8"))
            }
            Fault::Down => {
                self.relay.refuse();
                return self.relay.cut();
            }
            Fault::HeldBefore => sandbox::Fault::before("BODY", What::Hang(None)).times(1),
            Fault::HeldAfter => sandbox::Fault::after("BODY", What::Hang(None)).times(1),
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
}
