//! Sends a task as a mail, to each of its recipients once. SMTP cannot be asked for what was sent, so a mail whose
//! outcome is unknown goes again, under the same Message-ID, by which many mailboxes drop the second one. It knows no
//! queues and no attempts.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use lettre::Address;
use serde_json::{Value, json};

use super::Settings;
use super::fields::{self, Mail};
use super::message;
use super::smtp::{Server, Verdict};
use crate::message::{Claim, Earlier, Task};
use crate::stop::Stop;
use crate::systems::half_done::HalfDone;
use crate::systems::{Created, Failure, Found, Handler, Missing, question};

/// The handler. Several threads use it at once.
pub struct EmailHandler {
    settings: Settings,
    server: Server,
    /// Verdicts that stay, of mails that some recipients are to get later.
    half_sent: HalfDone<Vec<(String, Verdict)>>,
}

impl EmailHandler {
    /// A handler for the server of these settings.
    ///
    /// # Errors
    /// Its certificates cannot be used.
    pub fn new(settings: Settings, stop: &Stop) -> anyhow::Result<EmailHandler> {
        log::info!("a mail server cannot be asked for what was sent: mail without a clear answer is sent again");
        Ok(EmailHandler { server: Server::new(&settings, stop)?, settings, half_sent: HalfDone::default() })
    }
}

impl Handler for EmailHandler {
    fn visible_within(&self) -> Option<Duration> {
        None
    }

    fn find(&self, tasks: &[&Task]) -> Vec<Result<Found, Failure>> {
        tasks.iter().map(|_| Ok(Found::Nothing(Instant::now()))).collect()
    }

    fn create(&self, missing: &[Missing]) -> Vec<Result<Created, Failure>> {
        missing.iter().map(|missing| self.send(missing.task, &missing.claim())).collect()
    }
}

impl EmailHandler {
    fn send(&self, task: &Task, claim: &Claim) -> Result<Created, Failure> {
        let mail = fields::mail(task, &self.settings);
        if let Some(why) = &mail.refused {
            return Err(Failure::Permanent(anyhow!("{why}")));
        }
        mail.warnings.iter().for_each(|warning| log::warn!("{warning}: task={}", task.id));
        for (who, why) in &mail.left_out {
            log::warn!("not sent to {who}: {why}: task={}", task.id);
        }
        let mut verdicts = self.half_sent.take(&task.id).unwrap_or_default();
        if task.earlier == Earlier::MayExist && verdicts.is_empty() {
            log::warn!("may have been sent before, and is sent again: task={}", task.id);
        }
        let open: Vec<String> =
            mail.recipients().into_iter().filter(|to| verdicts.iter().all(|(known, _)| known != to)).collect();
        match self.send_to(&open, &mail, task, claim) {
            Ok(new) => verdicts.extend(open.into_iter().zip(new)),
            Err(failure) => {
                self.keep(&task.id, verdicts);
                return Err(failure);
            }
        }
        self.settled(task, &mail, verdicts)
    }

    fn send_to(&self, open: &[String], mail: &Mail, task: &Task, claim: &Claim) -> Result<Vec<Verdict>, Failure> {
        let bytes = message::bytes(mail, &self.settings.from, &task.id).map_err(Failure::Permanent)?;
        let addresses: Result<Vec<Address>, _> = open.iter().map(|to| to.parse()).collect();
        let addresses = addresses.map_err(|err| Failure::Permanent(anyhow!("a recipient's address: {err}")))?;
        self.server.send(&addresses, &bytes, || claim.is_held())
    }

    /// What follows from the verdicts of all recipients.
    fn settled(&self, task: &Task, mail: &Mail, verdicts: Vec<(String, Verdict)>) -> Result<Created, Failure> {
        let all = shown(&verdicts);
        if verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Later(_))) {
            let stays = verdicts.into_iter().filter(|(_, verdict)| !matches!(verdict, Verdict::Later(_)));
            self.keep(&task.id, stays.collect());
            return Err(self.server.put_off(anyhow!("put off by the mail server: {all}")));
        }
        let refused = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Refused(_))).count();
        if refused == verdicts.len() {
            return Err(Failure::Permanent(anyhow!("refused by the mail server: {all}")));
        }
        if refused > 0 {
            log::warn!("not all get it: task={}: {all}", task.id);
        }
        let status = if refused + mail.left_out.len() > 0 { "partly sent" } else { "sent" };
        let id = &mail.message_id;
        let recipients = recipients(mail, &verdicts);
        let task = json!({"id": id, "title": mail.subject, "status": status, "recipients": recipients});
        Ok(Created::finished(question::result(task, false, ""), id.clone()))
    }

    fn keep(&self, id: &str, verdicts: Vec<(String, Verdict)>) {
        if !verdicts.is_empty() {
            self.half_sent.keep(id, verdicts);
        }
    }
}

/// What the response says of each recipient.
fn recipients(mail: &Mail, verdicts: &[(String, Verdict)]) -> Vec<Value> {
    let of_server = verdicts.iter().map(|(to, verdict)| match verdict {
        Verdict::Accepted => json!({"address": to, "accepted": true}),
        Verdict::Refused(why) | Verdict::Later(why) => json!({"address": to, "accepted": false, "reason": why}),
    });
    let ours = mail.left_out.iter().map(|(to, why)| json!({"address": to, "accepted": false, "reason": why}));
    of_server.chain(ours).collect()
}

fn shown(verdicts: &[(String, Verdict)]) -> String {
    let one = |(to, verdict): &(String, Verdict)| match verdict {
        Verdict::Accepted => format!("{to}: accepted"),
        Verdict::Refused(why) | Verdict::Later(why) => format!("{to}: {why}"),
    };
    verdicts.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
