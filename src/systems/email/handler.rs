//! Sends a task as a mail, to each of its recipients once. SMTP cannot be asked for what was sent, so a mail whose
//! outcome is unknown goes again, under the same Message-ID, by which many mailboxes drop the second one. It knows no
//! queues and no attempts.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::{Value, json};

use super::Settings;
use super::fields::{self, Mail};
use super::message;
use super::smtp::{Server, Verdict};
use crate::message::{Claim, Earlier, Task};
use crate::systems::half_done::HalfDone;
use crate::systems::{Created, Failure, Found, Handler, Missing, question};

/// The handler. Several threads use it at once.
pub struct EmailHandler {
    settings: Settings,
    server: Server,
    /// Who has got a mail that others are to get later.
    half_sent: HalfDone,
}

impl EmailHandler {
    /// A handler for the server of these settings.
    pub fn new(settings: Settings) -> EmailHandler {
        log::info!("a mail server cannot be asked for what was sent: mail without a clear answer is sent again");
        EmailHandler { server: Server::new(&settings), settings, half_sent: HalfDone::default() }
    }
}

impl Handler for EmailHandler {
    fn most_at_once(&self) -> usize {
        self.settings.connections
    }

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
        let had = self.half_sent.take(task);
        if task.earlier == Earlier::MayExist && had.is_empty() {
            log::warn!("may have been sent before, and is sent again: task={}", task.id);
        }
        let (before, open): (Vec<String>, Vec<String>) =
            mail.recipients().into_iter().partition(|to| had.iter().any(|known| known == to));
        match self.send_to(&open, &mail, task, claim) {
            Ok(new) => {
                let before = before.into_iter().map(|to| (to, Verdict::Accepted));
                self.settled(task, &mail, before.chain(open.into_iter().zip(new)).collect())
            }
            Err(failure) => {
                self.half_sent.keep(task, had);
                Err(although_sent(failure, &before))
            }
        }
    }

    fn send_to(&self, open: &[String], mail: &Mail, task: &Task, claim: &Claim) -> Result<Vec<Verdict>, Failure> {
        let bytes = message::bytes(mail, &self.settings.from, Some(&task.id)).map_err(Failure::Permanent)?;
        if !claim.is_held() {
            return Err(Failure::Outdated);
        }
        // However slow the server is: only another worker could send it meanwhile.
        self.server.send(open, &bytes, || task.claim.is_held())
    }

    /// What follows from the verdicts of all recipients.
    fn settled(&self, task: &Task, mail: &Mail, verdicts: Vec<(String, Verdict)>) -> Result<Created, Failure> {
        let all = shown(&verdicts);
        if verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Later(_))) {
            let accepted = verdicts.into_iter().filter(|(_, verdict)| *verdict == Verdict::Accepted);
            self.half_sent.keep(task, accepted.map(|(to, _)| to.into()).collect());
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
}

/// The failure of a mail that these people have: whoever reads it in the error queue should know.
fn although_sent(failure: Failure, before: &[String]) -> Failure {
    if before.is_empty() {
        return failure;
    }
    let told = |error: anyhow::Error| error.context(format!("accepted before for {}; now", before.join(", ")));
    match failure {
        Failure::Permanent(error) => Failure::Permanent(told(error)),
        Failure::Transient { error } => Failure::Transient { error: told(error) },
        Failure::OutcomeUnknown { error, visible_in } => Failure::OutcomeUnknown { error: told(error), visible_in },
        other => other,
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
