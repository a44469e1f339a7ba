//! E-mail in the demo: a mail is finished as soon as the server has accepted it. It answers no request: the mail server
//! is [`crate::sandbox::smtp`].

use serde_json::json;

use super::messages::{Message, body};
use super::{Fake, FakeEntry, FakeTask, Needs, Pace};
use crate::sandbox::smtp::{Mail, PASSWORD, SmtpFake, USER};

const NAME: &str = "email";

/// The line of the table.
pub const ENTRY: FakeEntry = FakeEntry {
    name: NAME,
    label: "mail",
    port: Some(8028),
    noun: "mail",
    has_users: false,
    about: "It is a mail server that takes mail for anybody and delivers none. Some recipients are refused: nobody@ for \
            good, busy@, full@ and at first grey@ for now. A mail is finished when it is taken.",
    start,
    messages,
};

struct Mailboxes {
    fake: SmtpFake,
    /// How many mails have been seen.
    seen: usize,
}

fn start(port: u16, _: Pace) -> anyhow::Result<Box<dyn Fake>> {
    Ok(Box::new(Mailboxes { fake: SmtpFake::start(port)?, seen: 0 }))
}

impl Fake for Mailboxes {
    fn place(&self) -> String {
        self.fake.address().to_string()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let address = self.fake.address();
        vec![
            ("EMAIL_SMTP_HOST", address.ip().to_string()),
            ("EMAIL_SMTP_PORT", address.port().to_string()),
            ("EMAIL_SECURITY", "none".into()),
            ("EMAIL_USERNAME", USER.into()),
            ("EMAIL_PASSWORD", PASSWORD.into()),
            ("EMAIL_FROM", "camunda@firma.example".into()),
        ]
    }

    fn new_tasks(&mut self) -> Vec<FakeTask> {
        let mails = self.fake.mails_after(self.seen);
        let tasks = mails.iter().zip(self.seen + 1..).map(|(mail, number)| FakeTask {
            id: number.to_string(),
            marker: marker(mail),
            title: mail.subject(),
            needs: Needs::Nothing,
        });
        let tasks = tasks.collect();
        self.seen += mails.len();
        tasks
    }

    fn finish(&mut self, _: &FakeTask, _: Option<&'static str>) -> bool {
        false
    }

    fn markers(&self) -> Vec<String> {
        self.fake.mails().iter().map(marker).collect()
    }
}

fn marker(mail: &Mail) -> String {
    mail.header("X-Camunda-Task-Id").unwrap_or_default()
}

fn messages(run: &str) -> Vec<Message> {
    let id = format!("{run}-email-1");
    let variables = json!({
        "to": ["Анна <anna@firma.example>", "boris@firma.example"],
        "subject": "Встреча в пятницу",
        "text": "В 10:00, переговорная на третьем этаже.",
    });
    let mail = body(&id, "send_email", NAME, variables, json!({}));
    let mail = Message::task(NAME, &id, "Встреча в пятницу", "a mail to two people", &mail);
    vec![mail.clone(), mail.again(&id, "Встреча в пятницу (again)")]
}
