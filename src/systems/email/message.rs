//! A [`Mail`] → the bytes that every mail program reads. It knows MIME, and nothing of how they travel.

use anyhow::{Context as _, anyhow};
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{MultiPart, SinglePart};

use super::addresses::Mailbox;
use super::fields::Mail;

/// The mail as it is sent to some of its recipients, who are not told of each other here.
///
/// # Errors
/// What cannot be written in it.
pub fn bytes(mail: &Mail, from: &Mailbox, task_id: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let named = |name: &'static str, value: &str| {
        let name = HeaderName::new_from_ascii_str(name);
        HeaderValue::new(name, value.to_owned())
    };
    let mut builder = lettre::Message::builder()
        .message_id(Some(format!("<{}>", mail.message_id)))
        .date_now()
        .from(mailbox(from)?)
        .subject(as_written(&mail.subject))
        // So that no program answers that somebody is on holiday (RFC 3834).
        .raw_header(named("Auto-Submitted", "auto-generated"));
    if let Some(task_id) = task_id {
        builder = builder.raw_header(named("X-Camunda-Task-Id", task_id));
    }
    for to in &mail.to {
        builder = builder.to(mailbox(to)?);
    }
    for cc in &mail.cc {
        builder = builder.cc(mailbox(cc)?);
    }
    if let Some(reply_to) = &mail.reply_to {
        builder = builder.reply_to(mailbox(reply_to)?);
    }
    // Without it there must be somebody in a header; who gets it is said elsewhere.
    let sender = address(from)?;
    builder = builder.envelope(Envelope::new(Some(sender.clone()), vec![sender])?);
    let built = match (&mail.text, &mail.html) {
        (Some(text), Some(html)) => builder.multipart(MultiPart::alternative_plain_html(text.clone(), html.clone())),
        (None, Some(html)) => builder.singlepart(SinglePart::html(html.clone())),
        (text, None) => builder.singlepart(SinglePart::plain(text.clone().unwrap_or_default())),
    };
    Ok(built.context("the mail cannot be written")?.formatted())
}

/// As SMTP takes it.
///
/// # Errors
/// It is none.
pub fn address(mailbox: &Mailbox) -> anyhow::Result<Address> {
    Address::new(&mailbox.local, &mailbox.domain).map_err(|err| anyhow!("{}: {err}", mailbox.address()))
}

fn mailbox(mailbox: &Mailbox) -> anyhow::Result<lettre::message::Mailbox> {
    Ok(lettre::message::Mailbox::new(mailbox.name.as_deref().map(as_written), address(mailbox)?))
}

/// A text in a header that people read as it was written: an encoded word (RFC 2047) in it would be shown decoded, line
/// breaks and all.
fn as_written(text: &str) -> String {
    text.replace("=?", "= ?")
}

#[cfg(test)]
mod tests;
