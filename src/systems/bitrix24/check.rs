//! Is the portal ready for the worker? For `task-creator check`; it asks with the worker's own client and look-up.
//!
//! Nothing here creates or changes a task. Only [`prepare`] changes anything at all: it makes the marker's field.
//! [`users`] and [`speed`] are parts of the same check.

pub mod speed;
pub mod users;

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::answers;
use super::client::{Call, Client};
use super::errors::{ApiError, Kind};
use super::handler;
use super::look_up::LookUp;
use super::{Settings, custom_fields, fields};
use crate::message::text;
use crate::report::Report;
use crate::systems::question::YES;
use crate::systems::{Failure, Surroundings};
use crate::terminal;

/// Without one of these methods tasks are not created, or lack their checklists.
const NEEDED: &[&str] = &["tasks.task.add", "tasks.task.list", "task.checklistitem.add", "task.checklistitem.getlist"];
/// The project's own methods, and what is missing without each.
const OWN: &[(&str, &str)] = &[
    ("imena.camunda.sync", "processes are not synchronised; every task counts as a failed synchronisation"),
    ("imena.camunda.userfield.list", "set BITRIX_ANSWER_TEXTS, so that the texts of the answers are known"),
];
/// Question and answer of a task, and what is missing without each.
const RESULT_FIELDS: &[(&str, &str)] = &[
    ("UF_RESULT_EXPECTED", "people do not see that an answer is expected"),
    ("UF_RESULT_QUESTION", "people do not see the question"),
    ("UF_RESULT_ANSWER", "nobody can answer, and a task that expects an answer is never reported as finished"),
];

/// The check of one portal.
struct Look<'a> {
    settings: &'a Settings,
    client: Arc<Client>,
    report: &'a mut Report,
}

/// `Err` when the portal does not answer, so that asking for the rest is useless.
type Answered<T = ()> = Result<T, ApiError>;

/// Checks everything that the worker will need.
pub fn run(settings: &Settings, around: &Surroundings, report: &mut Report) {
    let client = Arc::new(Client::new(settings, around.https, 1, around.stop));
    let mut look = Look { settings, client, report };
    look.at_settings();
    let looked = look
        .at_webhook()
        .and_then(|owner| look.at_users(owner.as_deref()))
        .and_then(|()| look.at_methods())
        .and_then(|()| look.at_scope())
        .and_then(|()| look.at_fields())
        .and_then(|()| look.at_answers());
    if let Err(err) = looked {
        look.report.fail(format!("bitrix24: {}: {err}; {}", settings.webhook, advice(err.kind)));
    }
}

/// Creates the marker's field if it is missing.
pub fn prepare(settings: &Settings, around: &Surroundings, report: &mut Report) {
    let Some(marker) = settings.marker_field.as_deref().filter(|marker| fields::is_custom_field(marker)) else {
        return report.ok("bitrix24: BITRIX_TASK_ID_FIELD names no custom field, so there is none to make");
    };
    let client = Client::new(settings, around.https, 1, around.stop);
    let made = custom_fields::list(&client, json!({})).and_then(|rows| match custom_fields::named(&rows, marker) {
        Some(_) => Ok(false),
        None => client.call(&custom_fields::make_marker(marker)).map(|_| true),
    });
    match made {
        Ok(true) => report.made(format!("bitrix24: the field {marker} for the task id")),
        Ok(false) => {}
        Err(err) => report.fail(format!(
            "bitrix24: the field {marker} cannot be made: {err}; only a webhook of an administrator may make one, \
             and an old portal takes a name of at most 20 characters"
        )),
    }
}

impl Look<'_> {
    fn at_settings(&mut self) {
        if let Some(host) = self.settings.webhook.unprotected_host() {
            let wrong = format!("the webhook's token and all tasks travel to {host} unencrypted");
            self.report.warn(format!("bitrix24: {wrong}; advised: https:// in BITRIX_WEBHOOK_URL"));
        }
    }

    /// The id of the user that the webhook acts for.
    fn at_webhook(&mut self) -> Answered<Option<String>> {
        let owner = self.client.call(&Call { method: "profile", params: Vec::new() })?;
        let owner = &owner["result"];
        let member = |name: &str| text(&owner[name]).unwrap_or_default();
        let name = format!("{} {}", member("NAME"), member("LAST_NAME"));
        let webhook = &self.settings.webhook;
        let acts = format!("bitrix24: {webhook} acts for user {} ({})", member("ID"), name.trim());
        match self.is_administrator(owner)? {
            Ok(true) => self.report.ok(format!("{acts}, an administrator")),
            Ok(false) => self.report.warn(format!(
                "{acts}, no administrator: a task that the user may not see is created and answered with nothing, and \
                 counts as deleted later; make the user an administrator"
            )),
            Err(err) => self.report.warn(format!("{acts}; is that an administrator, as it should be? {err}")),
        }
        Ok(text(&owner["ID"]))
    }

    /// Mostly the profile says it, without another call.
    fn is_administrator(&self, owner: &Value) -> Answered<Result<bool, ApiError>> {
        match &owner["ADMIN"] {
            Value::Null => {
                let asked = self.ask(&Call { method: "user.admin", params: Vec::new() })?;
                Ok(asked.map(|reply| fields::is_yes(&reply["result"])))
            }
            told => Ok(Ok(fields::is_yes(told))),
        }
    }

    fn at_methods(&mut self) -> Answered {
        let mut available = Vec::new();
        for method in NEEDED {
            match self.availability(method)? {
                Availability::Available => available.push(*method),
                Availability::Missing => self.report.fail(format!("bitrix24: the portal has no method {method}")),
                Availability::Forbidden => self
                    .report
                    .fail(format!("bitrix24: the webhook may not call {method}; give it the right \"task\" (tasks)")),
                // The portal may be an old one: the first task will show what it cannot tell.
                Availability::Unknown(why) => {
                    self.report.warn(format!("bitrix24: it is not known which methods there are: {why}"));
                    return Ok(());
                }
            }
        }
        if available.len() == NEEDED.len() {
            self.report.ok(format!("bitrix24: methods {}", available.join(", ")));
        }
        for (method, missing) in OWN {
            match self.availability(method)? {
                Availability::Available => self.report.ok(format!("bitrix24: method {method}")),
                _ => self.report.warn(format!("bitrix24: the webhook has no method {method}: {missing}")),
            }
        }
        Ok(())
    }

    fn availability(&self, method: &str) -> Answered<Availability> {
        let asked = self.ask(&Call { method: "method.get", params: vec![("name", method.into())] })?;
        Ok(match asked {
            Ok(reply) if !fields::is_yes(&reply["result"]["isExisting"]) => Availability::Missing,
            Ok(reply) if !fields::is_yes(&reply["result"]["isAvailable"]) => Availability::Forbidden,
            Ok(_) => Availability::Available,
            Err(err) => Availability::Unknown(err),
        })
    }

    fn at_scope(&mut self) -> Answered {
        match self.ask(&Call { method: "scope", params: Vec::new() })? {
            Ok(reply)
                if reply["result"].as_array().is_some_and(|scopes| scopes.iter().any(|scope| scope == "task")) =>
            {
                self.report.ok("bitrix24: the webhook has the right \"task\"");
            }
            Ok(_) => self.report.fail("bitrix24: the webhook lacks the right \"task\" (tasks); give it to the webhook"),
            Err(err) => self.report.warn(format!("bitrix24: the webhook's rights are not known: {err}")),
        }
        Ok(())
    }

    fn at_fields(&mut self) -> Answered {
        let rows = match told(custom_fields::list(&self.client, json!({})))? {
            Ok(rows) => Some(rows),
            Err(err) => {
                self.report.warn(format!("bitrix24: it is not known which fields tasks have: {err}"));
                None
            }
        };
        self.at_marker_field(rows.as_deref())?;
        if let Some(rows) = rows {
            self.at_result_fields(&rows);
            self.at_mandatory_fields(&rows);
        }
        Ok(())
    }

    fn at_marker_field(&mut self, rows: Option<&[Value]>) -> Answered {
        let is_missing = |name: &str| rows.is_some_and(|rows| custom_fields::named(rows, name).is_none());
        match self.settings.marker_field.as_deref() {
            None => self.report.warn(
                "bitrix24: BITRIX_TASK_ID_FIELD=none: tasks are not looked up, so a message that comes twice creates \
                 two tasks",
            ),
            Some(custom) if fields::is_custom_field(custom) && is_missing(custom) => self.report.fail(format!(
                "bitrix24: tasks have no field {custom}: make it with `{}` (the webhook's owner must be an administrator), \
                 or set BITRIX_TASK_ID_FIELD=XML_ID",
                terminal::command(&["check", "--create-field"])
            )),
            Some(marker) => self.at_marker(marker, rows)?,
        }
        Ok(())
    }

    fn at_result_fields(&mut self, rows: &[Value]) {
        let is_there = |name: &str| custom_fields::named(rows, name).is_some();
        let missing: Vec<_> = RESULT_FIELDS.iter().filter(|(name, _)| !is_there(name)).collect();
        for (name, consequence) in &missing {
            self.report.warn(format!("bitrix24: tasks have no field {name}: {consequence}"));
        }
        if missing.is_empty() {
            let names: Vec<&str> = RESULT_FIELDS.iter().map(|(name, _)| *name).collect();
            self.report.ok(format!("bitrix24: fields {}", names.join(", ")));
        }
    }

    /// Whether tasks can be found by it.
    fn at_marker(&mut self, marker: &str, rows: Option<&[Value]>) -> Answered {
        let kind = rows.and_then(|rows| text(&custom_fields::named(rows, marker)?["USER_TYPE_ID"]));
        if let Some(kind) = kind.filter(|kind| kind != "string") {
            self.report
                .warn(format!("bitrix24: the field {marker} is of the type {kind}, not string: it may lose ids"));
        }
        let started = Instant::now();
        match LookUp::new(Arc::clone(&self.client), marker).probe().map_err(|err| handler::not_looked_up(&err)) {
            Ok(()) => {
                self.report.ok(format!("bitrix24: tasks can be found by {marker}"));
                return self.at_speed(marker);
            }
            Err(Failure::Unavailable { error, .. } | Failure::Transient { error } | Failure::Permanent(error)) => {
                self.report.fail(format!("bitrix24: {error:#}"));
            }
            Err(
                failure @ (Failure::OutcomeUnknown { .. }
                | Failure::NoSystem(_)
                | Failure::TooEarly(_)
                | Failure::Unseen(_)
                | Failure::Outdated),
            ) => self.report.fail(format!("bitrix24: {failure}")),
        }
        // The look-up may have failed because it was slow.
        if started.elapsed() > speed::SLOW {
            self.advise_indexes(marker);
        }
        Ok(())
    }

    /// A field that somebody else made mandatory makes the portal refuse tasks without it.
    fn at_mandatory_fields(&mut self, rows: &[Value]) {
        let mandatory = rows.iter().filter(|row| row["MANDATORY"] == "Y");
        for name in mandatory.filter_map(|row| text(&row["FIELD_NAME"])) {
            if Some(&name) != self.settings.marker_field.as_ref() {
                self.report.warn(format!(
                    "bitrix24: the field {name} is mandatory at the portal: a task whose message does not bring it is \
                     refused and parked; make it optional, or set it in the process model"
                ));
            }
        }
    }

    fn at_answers(&mut self) -> Answered {
        let of_portal = told(answers::known_to(&self.client))?.unwrap_or_default();
        let (texts, source) = if self.settings.answer_texts.is_empty() {
            (of_portal, "imena.camunda.userfield.list")
        } else {
            self.compare_answers(&of_portal);
            (self.settings.answer_texts.clone().into_iter().collect(), "BITRIX_ANSWER_TEXTS")
        };
        let shown: Vec<String> = texts.iter().map(|(id, text)| format!("{id}={text}")).collect();
        let shown = shown.join(",");
        if texts.is_empty() {
            self.report.warn(
                "bitrix24: the texts of the answers are not known, so an answer that is the number of a list value waits; \
                 set BITRIX_ANSWER_TEXTS, such as 26=ДА,27=НЕТ",
            );
        } else if texts.iter().any(|(_, text)| text == YES) {
            self.report.ok(format!("bitrix24: answers {shown} ({source})"));
        } else {
            self.report
                .warn(format!("bitrix24: no answer of {shown} ({source}) is {YES}: processes take each for a no"));
        }
        Ok(())
    }

    /// With texts of another portal, or swapped ones, a yes would arrive as a no, or a no as a yes.
    fn compare_answers(&mut self, of_portal: &[(String, String)]) {
        for (id, text) in &self.settings.answer_texts {
            let wrong = match of_portal.iter().find(|(known, _)| known == id) {
                Some((_, known)) if known != text => format!("the portal says {known}"),
                None if !of_portal.is_empty() => "the portal has no such answer".to_owned(),
                _ => continue,
            };
            self.report.fail(format!("bitrix24: {id}={text} in BITRIX_ANSWER_TEXTS: {wrong}; correct or remove it"));
        }
    }

    /// The outer error ends the check, the inner one is a refusal of this one call.
    fn ask(&self, call: &Call) -> Answered<Result<Value, ApiError>> {
        told(self.client.call(call))
    }
}

/// What the portal says about a method.
enum Availability {
    Available,
    Missing,
    Forbidden,
    Unknown(ApiError),
}

/// A refusal is an answer too.
fn told<T>(answer: Result<T, ApiError>) -> Answered<Result<T, ApiError>> {
    match answer {
        Err(err) if !matches!(err.kind, Kind::Refused | Kind::Configuration) => Err(err),
        told => Ok(told),
    }
}

fn advice(kind: Kind) -> &'static str {
    match kind {
        Kind::Configuration => "correct BITRIX_WEBHOOK_URL, or the rights of the webhook and of its owner",
        Kind::Unreachable | Kind::Outdated => "correct that, or correct the host in BITRIX_WEBHOOK_URL",
        Kind::Unknown => "look at the portal's server, or raise BITRIX_REQUEST_TIMEOUT",
        Kind::TooFast | Kind::CoolingDown => "other programs use up the portal's limits; check again in a minute",
        Kind::Blocked => "the portal is blocked or closed, which only its administrator can change",
        Kind::Refused => "correct BITRIX_WEBHOOK_URL",
    }
}
