//! Writes to people outside of any task: plain texts, one mail for all of them. It does not know what they are about.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::Value;

use super::Settings;
use super::addresses::{self, Mailbox};
use super::fields::{Mail, Origins};
use super::message;
use super::smtp::{Server, Verdict};
use crate::message::{fingerprint, now_ms};
use crate::systems::{Failure, Messenger};

/// No task waits here, so nothing is gained by more patience than this for a reply.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Writes to some mailboxes.
pub struct EmailMessenger {
    server: Server,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// How many mails were made: two of the same millisecond may have the same text.
    made: u64,
}

impl EmailMessenger {
    /// What writes to these addresses, with commas between them.
    ///
    /// # Errors
    /// One of them is none.
    pub fn new(settings: &Settings, to: &str) -> Result<EmailMessenger, String> {
        let parse = |entry: String| Mailbox::parse(&entry).map_err(|wrong| format!("has {entry:?}, which {wrong}"));
        let to = addresses::entries(&Value::from(to)).into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        if to.is_empty() {
            return Err("names nobody".into());
        }
        let (timeout, accept_timeout) =
            (settings.timeout.min(LONGEST_TIMEOUT), settings.accept_timeout.min(LONGEST_TIMEOUT));
        let server = Server::new(&Settings { timeout, accept_timeout, ..settings.clone() });
        Ok(EmailMessenger { server, from: settings.from.clone(), to, made: 0 })
    }

    fn mail(&mut self, subject: &str, text: &str) -> Mail {
        self.made += 1;
        let name = fingerprint(format!("{} {} {subject} {text}", now_ms(), self.made).as_bytes());
        Mail {
            to: self.to.clone(),
            cc: Vec::new(),
            bcc: Vec::new(),
            reply_to: None,
            subject: subject.to_owned(),
            text: Some(text.to_owned()),
            html: None,
            message_id: format!("alert-{name}@{}", self.from.domain),
            left_out: Vec::new(),
            refused: None,
            warnings: Vec::new(),
            origins: Origins::default(),
        }
    }
}

impl Messenger for EmailMessenger {
    fn look(&self) -> Result<String, Failure> {
        Ok(self.to.iter().map(Mailbox::address).collect::<Vec<_>>().join(", "))
    }

    fn send(&mut self, subject: &str, text: &str) -> Result<(), Failure> {
        let mail = self.mail(subject, text);
        let bytes = message::bytes(&mail, &self.from, None).map_err(Failure::Permanent)?;
        let recipients = mail.recipients();
        let verdicts = self.server.send(&recipients, &bytes, || true)?;
        let not_told = recipients.iter().zip(&verdicts).filter_map(|(to, verdict)| match verdict {
            Verdict::Accepted => None,
            Verdict::Refused(why) | Verdict::Later(why) => Some(format!("{to}: {why}")),
        });
        let not_told = not_told.collect::<Vec<_>>().join("; ");
        match verdicts.contains(&Verdict::Accepted) {
            true if not_told.is_empty() => Ok(()),
            // Again for all would reach the others twice.
            true => {
                log::warn!("not all are told: {not_told}");
                Ok(())
            }
            false if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Later(_))) => {
                Err(self.server.put_off(anyhow!("put off by the mail server: {not_told}")))
            }
            false => Err(Failure::Permanent(anyhow!("refused by the mail server: {not_told}"))),
        }
    }
}

#[cfg(test)]
mod tests;
