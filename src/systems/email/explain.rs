//! For `task-creator explain`: what the mail server would be given for a task. Nothing is sent.

use serde_json::{Value, json};

use super::Settings;
use super::addresses::Mailbox;
use super::fields::{self, Mail};
use crate::message::Task;
use crate::systems::{Explained, Explanation, Request};

/// What would be done with this task.
pub fn run(task: &Task, settings: &Settings) -> Explanation {
    let mail = fields::mail(task, settings);
    let mut explanation = Explanation { values: values(task, &mail), ..Explanation::default() };
    let left_out = mail.left_out.iter().map(|(who, why)| format!("not sent to {who}: {why}"));
    explanation.notes.extend(left_out.chain(mail.warnings.iter().cloned()));
    if let Some(why) = &mail.refused {
        explanation.parked.push(why.to_string());
        return explanation;
    }
    let request = |method: &str, when: &str, body: Value| Request {
        method: method.into(),
        when: when.into(),
        body: body.to_string(),
    };
    explanation.requests.push(request("MAIL", "first", json!({"from": settings.from.address()})));
    let recipients = mail.recipients().into_iter();
    explanation.requests.extend(recipients.map(|to| request("RCPT", "for each of them", json!({"to": to}))));
    explanation.requests.push(request("DATA", "if one of them is taken", data(&mail, settings, task)));
    let finished = "it is finished when the server has accepted it";
    explanation.notes.push(format!("{finished}; it cannot be looked up, so without a clear answer it is sent again"));
    explanation
}

fn data(mail: &Mail, settings: &Settings, task: &Task) -> Value {
    let names = |mailboxes: &[Mailbox]| mailboxes.iter().map(Mailbox::to_string).collect::<Vec<_>>();
    json!({
        "Message-ID": format!("<{}>", mail.message_id),
        "From": settings.from.to_string(),
        "To": names(&mail.to),
        "Cc": names(&mail.cc),
        "Reply-To": mail.reply_to.as_ref().map(Mailbox::to_string),
        "Subject": mail.subject,
        "Auto-Submitted": "auto-generated",
        "X-Camunda-Task-Id": task.id,
        "text/plain": mail.text,
        "text/html": mail.html,
    })
}

fn values(task: &Task, mail: &Mail) -> Vec<Explained> {
    let given = |names: &[&str]| -> Vec<String> {
        let given = names.iter().filter(|name| task.variables.contains_key(**name));
        given.map(|name| format!("variables.{name}")).collect()
    };
    let value = |name: &str, value: Value, origin: Vec<String>| Explained { name: name.into(), value, origin };
    let recipients = given(&[fields::TO, &["cc", "bcc"]].concat());
    let reply_to = mail.reply_to.as_ref().map(|to| value("reply_to", to.to_string().into(), given(fields::REPLY_TO)));
    let text = mail.text.as_ref().map(|text| {
        let origin = [vec![mail.origins.text.clone()], given(&["description_additional"])].concat();
        value("text", text.as_str().into(), origin)
    });
    let html = mail.html.as_ref().map(|html| value("html", html.as_str().into(), given(fields::HTML)));
    let subject = value("subject", mail.subject.as_str().into(), vec![mail.origins.subject.clone()]);
    [value("recipients", mail.recipients().into(), recipients), subject]
        .into_iter()
        .chain(reply_to)
        .chain(text)
        .chain(html)
        .collect()
}
