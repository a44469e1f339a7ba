//! A mail server as a target: the sandbox's, behind a relay that can refuse connections. A mail is finished when it is
//! accepted.

use task_creator::sandbox;
use task_creator::sandbox::smtp::{PASSWORD, SmtpFake, USER};

use super::faults::{Failing, Faults, refusal};
use super::{Fault, Target};

pub struct Email {
    fake: SmtpFake,
    faults: Faults,
}

impl Target for Email {
    const SYSTEM: &'static str = "email";
    const IS_LOOKED_UP: bool = false;
    const IS_TRACKED: bool = false;

    fn start() -> Email {
        let fake = SmtpFake::start(0).expect("loopback has a free port");
        let faults = Faults::before(fake.address());
        Email { fake, faults }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let port = self.faults.address().port().to_string();
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
        let failing = Failing {
            create: "BODY".into(),
            refused: sandbox::Fault::before("RCPT", refusal(550, "5.1.1", words)),
            unauthorised: sandbox::Fault::before("AUTH", refusal(535, "5.7.8", words)),
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
