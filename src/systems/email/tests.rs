//! What the tests of this folder stand on: the sandbox's mail server, and settings that lead to it.

use super::Settings;
use crate::sandbox::smtp::{PASSWORD, SmtpFake, USER};
use crate::settings::{Variables, right};

/// A server, and the settings for it, in which `changes` replace or add.
pub fn server(changes: &[(&str, &str)]) -> (SmtpFake, Settings) {
    let fake = SmtpFake::start(0).expect("a free port");
    let port = fake.address().port().to_string();
    let usual = [
        ("EMAIL_SMTP_HOST", "127.0.0.1"),
        ("EMAIL_SMTP_PORT", &port),
        ("EMAIL_SECURITY", "none"),
        ("EMAIL_USERNAME", USER),
        ("EMAIL_PASSWORD", PASSWORD),
        ("EMAIL_FROM", "Camunda <camunda@firma.example>"),
        ("EMAIL_RETRY_AFTER", "77"),
    ];
    let value = |wanted: &str| {
        let given = changes.iter().chain(&usual).find(|(name, _)| *name == wanted);
        given.map(|(_, value)| (*value).to_owned())
    };
    let settings = right(Variables::read(value, Settings::from_variables)).expect("right").expect("it is on");
    (fake, settings)
}
