//! Errors as the API tells them: RFC 9457, each of a kind that `docs/troubleshooting.md` explains under its name.
//!
//! It does not decide what is an error.

use std::borrow::Cow;

use serde_json::json;

use crate::http::server::Page;
use crate::redact::clean;

/// What is the same in every problem of its kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The heading in `docs/troubleshooting.md`.
    pub name: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// A sentence that is always the same.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($constant:ident: $name:literal $status:literal $title:literal,)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $title, ".")]
            pub const $constant: &Kind = &Kind { name: $name, status: $status, title: $title };
        )*
        /// Every kind there is.
        pub const KINDS: &[&Kind] = &[$($constant),*];
    };
}

kinds! {
    // Who may ask.
    FOREIGN_HOST: "foreign-host" 421 "The Host is none of this monitor",
    FOREIGN_ORIGIN: "foreign-origin" 403 "The request comes from a page of somebody else",
    TOKEN_IN_URL: "token-in-url" 400 "A token does not belong in an address",
    NO_TOKEN: "no-token" 401 "A token is needed",
    WRONG_TOKEN: "wrong-token" 401 "This is none of the tokens",
    READ_ONLY: "read-only" 403 "This token may read only",
    CONTROL_IS_OFF: "control-is-off" 403 "Nobody may control, since no token for that is set",
    // What is asked.
    NO_SUCH_PATH: "no-such-path" 404 "There is nothing at this path",
    WRONG_METHOD: "wrong-method" 405 "The path does not have this method",
    WRONG_QUERY: "wrong-query" 400 "The query cannot be read",
    WRONG_PATH: "wrong-path" 400 "The path cannot be read",
    WRONG_BODY: "wrong-body" 400 "The body cannot be read",
    WRONG_CONTENT_TYPE: "wrong-content-type" 415 "The body is not JSON by its Content-Type",
    UNKNOWN_SYSTEM: "unknown-system" 404 "There is no lane of this name",
    // Parked messages.
    NOT_PARKED: "not-parked" 404 "No message is parked under this id",
    MESSAGE_CHANGED: "message-changed" 412 "Another message is parked under this id now",
    IF_MATCH_MISSING: "if-match-missing" 428 "The header If-Match is needed",
    NOT_REPLAYABLE: "not-replayable" 409 "The message cannot be replayed",
    REPLAY_IS_RUNNING: "replay-is-running" 409 "A replay is running",
    UNKNOWN_REPLAY: "unknown-replay" 404 "There is no replay of this number",
    CURSOR_EXPIRED: "cursor-expired" 410 "The list is no longer kept",
    QUEUE_IS_BEING_READ: "queue-is-being-read" 503 "Somebody else is reading the error queue",
    ERROR_QUEUE_AWAY: "error-queue-away" 503 "The error queue cannot be read",
    // How it came.
    MALFORMED_REQUEST: "malformed-request" 400 "This is not an HTTP request, or an ambiguous one",
    TOO_SLOW: "too-slow" 408 "The request took too long to arrive",
    BODY_TOO_LONG: "body-too-long" 413 "The body is too long",
    HEAD_TOO_LONG: "head-too-long" 431 "The head is too long",
    UNSUPPORTED_REQUEST: "unsupported-request" 501 "This part of HTTP is not spoken here",
    TOO_MANY_CONNECTIONS: "too-many-connections" 503 "There are too many connections",
    // How the worker is.
    LANE_IS_BUSY: "lane-is-busy" 503 "The lane has not carried out earlier commands yet",
}

/// An error that is told to the client.
#[derive(Debug)]
pub struct Problem {
    kind: &'static Kind,
    detail: String,
    headers: Vec<(&'static str, Cow<'static, str>)>,
}

impl Problem {
    /// A problem of this kind; the detail says what is wrong in this case, and what to do.
    pub fn new(kind: &'static Kind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into(), headers: Vec::new() }
    }

    /// The same with a header in its answer.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Problem {
        self.headers.push((name, value.into()));
        self
    }

    /// The problem of a request that the server refuses before anything of ours sees it.
    pub fn of_status(status: u16, why: &str) -> Problem {
        let kind = match status {
            408 => TOO_SLOW,
            413 => BODY_TOO_LONG,
            431 => HEAD_TOO_LONG,
            503 => TOO_MANY_CONNECTIONS,
            400 => MALFORMED_REQUEST,
            _ => UNSUPPORTED_REQUEST,
        };
        Problem::new(kind, why)
    }

    /// What kind of problem it is.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// The answer, with this status instead of the kind's own if it is given.
    pub fn page(self, status: Option<u16>) -> Page {
        let Kind { name, status: own, title } = self.kind;
        let status = status.unwrap_or(*own);
        // What the client has sent may be a part of the detail.
        let detail = clean(&self.detail);
        let body = json!({
            "type": format!("urn:task-creator:problem:{name}"), "title": title, "status": status, "detail": detail,
        });
        let page = Page::new(status, "application/problem+json", body.to_string());
        self.headers.into_iter().fold(page, |page, (name, value)| page.with(name, value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_a_heading_of_the_page_and_every_heading_is_a_kind() {
        let page = include_str!("../docs/troubleshooting.md");
        let headings: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        let kinds: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(headings, kinds);
    }
}
