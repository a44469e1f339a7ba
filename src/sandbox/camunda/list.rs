//! Which tasks the fake shows, in which order, and which page of them.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::http_fake::{Asked, Target as _};
use super::{Camunda, ExternalTask, missing, shown, unknown_member};
use crate::http::server::Page;

/// Of the many members that the engine knows, those that the fake keeps. It refuses the others, too.
const QUERY: &[&str] = &[
    "externalTaskId",
    "topicName",
    "workerId",
    "locked",
    "notLocked",
    "lockExpirationBefore",
    "lockExpirationAfter",
    "processInstanceId",
    "active",
    "suspended",
    "withRetriesLeft",
    "noRetriesLeft",
    "sorting",
];

type Row<'a> = (&'a String, &'a ExternalTask);

impl Camunda {
    pub(super) fn show(&self, id: &str) -> Page {
        self.tasks.get(id).map_or_else(|| missing(id), |task| shown(&task.row(id)))
    }

    pub(super) fn list(&self, request: &Asked) -> Page {
        let query = request.json();
        let mut rows = match self.selected(&query) {
            Ok(rows) => rows,
            Err(refusal) => return refusal,
        };
        for by in query["sorting"].as_array().into_iter().flatten().rev() {
            let Some(compare) = order(&by["sortBy"]) else {
                return Self::refusal(400, "InvalidRequestException", "Cannot set query sortBy parameter");
            };
            let descends = by["sortOrder"] == "desc";
            // A stable sort by the last order first.
            rows.sort_by(|a, b| if descends { compare(b, a) } else { compare(a, b) });
        }
        let number = |name: &str| request.query(name).and_then(|given| given.parse().ok());
        let (first, most) = (number("firstResult").unwrap_or(0), number("maxResults").unwrap_or(usize::MAX));
        let page = rows.into_iter().skip(first).take(most);
        shown(&page.map(|(id, task)| task.row(id)).collect())
    }

    pub(super) fn count(&self, query: &Value) -> Page {
        self.selected(query).map_or_else(|refusal| refusal, |rows| shown(&json!({"count": rows.len()})))
    }

    fn selected(&self, query: &Value) -> Result<Vec<Row<'_>>, Page> {
        if let Some(refusal) = unknown_member(query, QUERY) {
            return Err(refusal);
        }
        let mut ends = [None, None];
        for (end, name) in ends.iter_mut().zip(["lockExpirationBefore", "lockExpirationAfter"]) {
            let Some(given) = query[name].as_str() else { continue };
            let read = DateTime::parse_from_str(given, "%Y-%m-%dT%H:%M:%S%.3f%z");
            let told =
                || Self::refusal(400, "InvalidRequestException", &format!("Cannot set query parameter '{name}'"));
            *end = Some(read.map_err(|_| told())?.to_utc());
        }
        let [before, after] = ends;
        let within = |until: Option<DateTime<Utc>>| {
            before.is_none_or(|before| until.is_some_and(|until| until < before))
                && after.is_none_or(|after| until.is_some_and(|until| until > after))
        };
        Ok(self.tasks.iter().filter(|(id, task)| fits(query, id, task) && within(task.locked_until)).collect())
    }
}

fn fits(query: &Value, id: &str, task: &ExternalTask) -> bool {
    let is = |name: &str, value: Option<&str>| query[name].is_null() || query[name].as_str() == value;
    // The engine ignores these unless they are true.
    let holds = |name: &str, rule: bool| query[name] != true || rule;
    is("externalTaskId", Some(id))
        && is("topicName", Some(&task.topic))
        && is("workerId", task.worker.as_deref())
        && is("processInstanceId", Some(&task.process))
        && holds("locked", task.is_locked())
        && holds("notLocked", !task.is_locked())
        && holds("active", !task.suspended)
        && holds("suspended", task.suspended)
        && holds("withRetriesLeft", task.retries != Some(0))
        && holds("noRetriesLeft", task.retries == Some(0))
}

fn order(by: &Value) -> Option<fn(&Row<'_>, &Row<'_>) -> Ordering> {
    match by.as_str()? {
        "id" => Some(|(a, _), (b, _)| a.cmp(b)),
        "lockExpirationTime" => Some(|(_, a), (_, b)| a.locked_until.cmp(&b.locked_until)),
        "processInstanceId" => Some(|(_, a), (_, b)| a.process.cmp(&b.process)),
        _ => None,
    }
}
