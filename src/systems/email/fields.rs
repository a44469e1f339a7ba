//! A task → the mail that is sent. Pure: asks nobody.

use std::collections::BTreeSet;

use super::Settings;
use super::addresses::{self, Mailbox};
use super::settings::ALLOWED_DOMAINS;
use crate::message::given::texts::prose;
use crate::message::given::{Sourced, Warnings};
use crate::message::{Task, fingerprint};
use crate::systems::question;

/// Of one mail.
const MOST_RECIPIENTS: usize = 100;
/// In characters; programs show less.
const LONGEST_SUBJECT: usize = 250;
const CUT: &str = "…";
/// Behind these another header, or another command, would start.
const STARTS_A_HEADER: [char; 3] = ['\r', '\n', '\0'];

/// A mail.
#[derive(Debug)]
pub struct Mail {
    /// Those in the header of this name, and so for the next ones.
    pub to: Vec<Mailbox>,
    /// See `to`.
    pub cc: Vec<Mailbox>,
    /// They get it, and no header says so.
    pub bcc: Vec<Mailbox>,
    /// Where answers go.
    pub reply_to: Option<Mailbox>,
    /// What it is about.
    pub subject: String,
    /// What people read whose program shows no HTML.
    pub text: Option<String>,
    /// The same as HTML, from the process as it is.
    pub html: Option<String>,
    /// The same in every try, without its brackets.
    pub message_id: String,
    /// Who does not get it, and why.
    pub left_out: Vec<(String, String)>,
    /// What can never be sent, and why.
    pub refused: Option<String>,
    /// What was done to it, a sentence each.
    pub warnings: Vec<String>,
    /// Where subject and text came from.
    pub origins: Origins,
}

/// Places in the message.
#[derive(Debug, Default)]
pub struct Origins {
    /// Of the subject.
    pub subject: String,
    /// Of the text.
    pub text: String,
}

impl Mail {
    /// Everybody who gets it, each once.
    pub fn recipients(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let all = [&self.to, &self.cc, &self.bcc].into_iter().flatten().map(Mailbox::address);
        all.filter(|address| seen.insert(address.clone())).collect()
    }
}

/// The variables that may name the recipients; the first one that is there counts.
pub const TO: &[&str] = &["to", "email", "recipient", "recipients"];
/// The same of who gets the answers.
pub const REPLY_TO: &[&str] = &["reply_to", "replyTo"];
/// The same of the text as HTML.
pub const HTML: &[&str] = &["html", "body_html"];

/// The mail of this task.
pub fn mail(task: &Task, settings: &Settings) -> Mail {
    let (mut left_out, mut warnings, mut origins) = (Vec::new(), Vec::new(), Origins::default());
    let mut list = |names: &[&str]| mailboxes(task, names, settings, &mut left_out);
    let (to, cc, bcc) = (list(TO), list(&["cc"]), list(&["bcc"]));
    let mut no_answers = Vec::new();
    let reply_to = mailboxes(task, REPLY_TO, settings, &mut no_answers).into_iter().next();
    warnings.extend(no_answers.iter().map(|(who, why)| format!("answers do not go to {who}: {why}")));
    let subject = subject(task, &mut warnings, &mut origins);
    let html = prose(task, HTML, &mut warnings).map(|html| html.value);
    let text = body(task, html.is_some(), &subject, &mut warnings, &mut origins);
    let mut mail = Mail {
        to,
        cc,
        bcc,
        reply_to,
        text,
        html,
        message_id: format!("{}@{}", id_part(&task.id), settings.from.domain),
        left_out,
        refused: None,
        warnings,
        origins,
        subject,
    };
    mail.refused = refused(task, &mail);
    mail
}

/// Why it can never be sent.
fn refused(task: &Task, mail: &Mail) -> Option<String> {
    let recipients = mail.recipients().len();
    if mail.subject.contains(STARTS_A_HEADER) {
        return Some("the subject has a line break or a NUL".into());
    }
    if task.id.contains(char::is_control) {
        return Some("the task's id has a control character".into());
    }
    if question::is_expected(task) {
        return Some("the process expects an answer, which an e-mail cannot bring: ask in another system".into());
    }
    if recipients > MOST_RECIPIENTS {
        return Some(format!("{recipients} recipients; {MOST_RECIPIENTS} are the most"));
    }
    let listed = mail.left_out.iter().map(|(who, why)| format!("{who}: {why}")).collect::<Vec<_>>().join("; ");
    let why = if listed.is_empty() { "variables.to names nobody".to_owned() } else { listed };
    (recipients == 0).then(|| format!("no recipient: {why}"))
}

fn mailboxes(task: &Task, names: &[&str], settings: &Settings, left_out: &mut Vec<(String, String)>) -> Vec<Mailbox> {
    let places = [&task.variables, &task.extension_properties];
    let given = places.into_iter().flat_map(|place| names.iter().filter_map(|name| place.get(*name)));
    let entries = given.map(addresses::entries).find(|entries| !entries.is_empty()).unwrap_or_default();
    let allowed =
        |mailbox: &Mailbox| settings.allowed_domains.is_empty() || settings.allowed_domains.contains(&mailbox.domain);
    let read = |entry: String| match Mailbox::parse(&entry) {
        Ok(mailbox) if allowed(&mailbox) => Some(mailbox),
        Ok(mailbox) => {
            left_out.push((mailbox.address(), format!("its domain is not in {ALLOWED_DOMAINS}")));
            None
        }
        Err(wrong) => {
            left_out.push((entry.escape_debug().to_string(), wrong.to_owned()));
            None
        }
    };
    entries.into_iter().filter_map(read).collect()
}

fn subject(task: &Task, warnings: &mut Warnings, origins: &mut Origins) -> String {
    let activity = || Some(Sourced::new(task.activity_name.clone()?, "metadata.activityInfo.name"));
    let nothing = || Sourced::new("Сообщение из процесса Camunda".to_owned(), "nothing");
    let given = prose(task, &["subject", "title"], warnings).or_else(activity).unwrap_or_else(nothing);
    origins.subject = given.origin.concat();
    let subject = given.value.replace(|c: char| c.is_control() && !STARTS_A_HEADER.contains(&c), " ");
    match subject.char_indices().nth(LONGEST_SUBJECT) {
        Some((end, _)) => {
            warnings.push(format!("the subject is longer than {LONGEST_SUBJECT} characters: the rest is left out"));
            format!("{}{CUT}", &subject[..end])
        }
        None => subject,
    }
}

/// A text; beside HTML only one that is given.
fn body(task: &Task, has_html: bool, subject: &str, warnings: &mut Warnings, origins: &mut Origins) -> Option<String> {
    let given = match prose(task, &["text", "body", "message", "description"], warnings) {
        Some(given) => given,
        None if has_html => return None,
        None => Sourced::new(subject.to_owned(), "the subject"),
    };
    origins.text = given.origin.concat();
    let additional = prose(task, &["description_additional"], warnings).map(|additional| additional.value);
    Some([given.value].into_iter().chain(additional).collect::<Vec<_>>().join("\n"))
}

/// What names the task within a Message-ID: its id where that may stand there.
fn id_part(id: &str) -> String {
    let may_stand = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if may_stand && id.len() <= 64 { id.to_owned() } else { fingerprint(id.as_bytes()) }
}

#[cfg(test)]
mod tests;
