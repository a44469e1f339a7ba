//! What a portal's refusals mean: status and error code → [`Kind`] → [`Failure`].
//!
//! The table is in this folder's README. The text of an error is localised: it is passed on, and decides nothing.

use std::fmt;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::Value;

use crate::http::{Class, class_of, text};
use crate::systems::Failure;

/// The pause between two requests to a portal that was blocked by hand.
const BLOCKED: Duration = Duration::from_secs(300);

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Too many requests; the call was not executed.
    TooFast,
    /// The method has used up its running time; the call was not executed.
    CoolingDown,
    /// The portal was blocked by hand, or closed.
    Blocked,
    /// The webhook, its rights or its address are wrong.
    Configuration,
    /// The call is refused for good.
    Refused,
    /// The portal could not be reached; the call was not executed.
    Unreachable,
    /// The call was not sent: while it waited, its look-up became too old, or its claim was lost.
    Outdated,
    /// The call may have been executed.
    Unknown,
}

/// A call that did not succeed.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// What kind of refusal it is.
    pub kind: Kind,
    /// One command of a batch failed with it. A later command may show the error of an earlier one, so this decides
    /// nothing yet.
    pub in_batch: bool,
    text: String,
    /// How long the method cools down, if that is why.
    rest: Duration,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ApiError {
    /// An error with a text of our own.
    pub fn new(kind: Kind, text: String) -> ApiError {
        ApiError { kind, in_batch: false, text, rest: Duration::ZERO }
    }

    /// The method cools down for so long, see [`super::cool_downs`].
    pub fn cooling_down(self, rest: Duration) -> ApiError {
        ApiError { rest, ..self }
    }

    /// The same error, of one command in a batch.
    pub fn in_batch(self) -> ApiError {
        ApiError { in_batch: true, ..self }
    }

    /// The same error, with the name of the method that was called.
    pub fn of(self, method: &str) -> ApiError {
        ApiError { text: format!("{method}: {}", self.text), ..self }
    }

    /// From a JSON answer that is not a success.
    pub fn from_reply(status: u16, reply: &Value) -> ApiError {
        let (code, description) = code_and_description(reply);
        let kind = match kind_of_code(&code) {
            // A server that fails says nothing reliable about its effects.
            Some(Kind::Refused) if status >= 500 => Kind::Unknown,
            Some(kind) => kind,
            None => kind_of_status(status),
        };
        let text = if code.is_empty() && description.is_empty() {
            format!("http status {status} with neither a result nor an error")
        } else {
            format!("http status {status}: {code}: {description}")
        };
        ApiError::new(kind, text)
    }

    /// From an answer that is not JSON: the page of a gateway or a web server, or half a reply.
    pub fn from_page(status: u16, body: &[u8]) -> ApiError {
        let kind = match status {
            300..=399 | 401 | 404 => Kind::Configuration,
            405 | 413 | 414 | 415 => Kind::Refused,
            429 => Kind::TooFast,
            _ => Kind::Unknown,
        };
        let advice = match status {
            300..=399 => "; the portal has moved: correct BITRIX_WEBHOOK_URL",
            404 => "; nothing is there: correct BITRIX_WEBHOOK_URL",
            _ => "",
        };
        let beginning = Some(text::beginning(body)).filter(|text| !text.is_empty());
        let beginning = beginning.map(|text| format!(": {text}")).unwrap_or_default();
        ApiError::new(
            kind,
            format!("http status {status} and {} bytes that are not JSON{advice}{beginning}", body.len()),
        )
    }

    /// From the error of one command in a batch, which has no status of its own.
    pub fn from_command(error: &Value) -> ApiError {
        let (code, description) = code_and_description(error);
        // An unknown code may mean anything: the task is looked up and tried again.
        let kind = kind_of_code(&code).unwrap_or(Kind::Unknown);
        ApiError::new(kind, format!("{code}: {description}"))
    }

    /// What this means for a task, when the call had no effect.
    pub fn into_failure(self) -> Failure {
        let error = anyhow!("{}", self.text);
        match self.kind {
            // The portal is surely to blame here, and no message: it is not an attempt, however often it happens.
            Kind::TooFast | Kind::Unreachable => Failure::Unavailable { error, until: Some(Duration::ZERO) },
            Kind::CoolingDown => Failure::Unavailable { error, until: Some(self.rest) },
            Kind::Blocked => Failure::Unavailable { error, until: Some(BLOCKED) },
            Kind::Configuration => Failure::Unavailable {
                error: error.context("check BITRIX_WEBHOOK_URL and the rights of the webhook's owner"),
                until: None,
            },
            Kind::Refused => Failure::Permanent(error),
            Kind::Outdated => Failure::Outdated,
            Kind::Unknown => Failure::Transient { error },
        }
    }
}

/// REST 2 has `error` and `error_description`, REST 3 an object in `error`; codes are texts or numbers.
fn code_and_description(reply: &Value) -> (String, String) {
    let error = &reply["error"];
    let code = crate::message::text(if error.is_object() { &error["code"] } else { error });
    let description = if error.is_object() { &error["message"] } else { &reply["error_description"] };
    (text::plain(&code.unwrap_or_default()), text::plain(description.as_str().unwrap_or_default()))
}

fn kind_of_code(code: &str) -> Option<Kind> {
    Some(match code.to_uppercase().as_str() {
        "QUERY_LIMIT_EXCEEDED" => Kind::TooFast,
        "OPERATION_TIME_LIMIT" => Kind::CoolingDown,
        "OVERLOAD_LIMIT" | "PORTAL_DELETED" => Kind::Blocked,
        "NO_AUTH_FOUND"
        | "EXPIRED_TOKEN"
        | "INVALID_TOKEN"
        | "METHOD_CONFIRM_WAITING"
        | "PAYMENT_REQUIRED"
        | "AUTHORIZATION_ERROR"
        | "INVALID_CREDENTIALS"
        | "INSUFFICIENT_SCOPE"
        | "ACCESS_DENIED"
        | "USER_ACCESS_ERROR"
        | "WRONG_AUTH_TYPE"
        | "ALLOWED_ONLY_INTRANET_USER"
        | "INVALID_REQUEST" => Kind::Configuration,
        // The methods called here exist on every portal, except the project's own, whose caller expects this.
        "ERROR_METHOD_NOT_FOUND" | "NOT_FOUND" | "ERROR_MANIFEST_IS_NOT_AVAILABLE" => Kind::Configuration,
        // The last one stands for anything that went wrong in `tasks.task.add`, also after the task was written.
        "INTERNAL_SERVER_ERROR" | "ERROR_UNEXPECTED_ANSWER" | "ERROR_UNKNOWN_ADD_TASK_ERROR" => Kind::Unknown,
        "ERROR_CORE"
        | "ERROR_TASK_CREATE_ACCESS_DENIED"
        | "4"
        | "8"
        | "256"
        | "1048578"
        | "100"
        | "0"
        | "1048582"
        | "INVALID_ARG_VALUE"
        | "ERROR_ARGUMENT"
        | "ERROR_BATCH_LENGTH_EXCEEDED"
        | "ERROR_BATCH_METHOD_NOT_ALLOWED" => Kind::Refused,
        _ => return None,
    })
}

/// What the status means when no code says more.
fn kind_of_status(status: u16) -> Kind {
    match class_of(status) {
        Some(Class::Unavailable) if status == 429 => Kind::TooFast,
        Some(Class::Unavailable) => Kind::Configuration,
        Some(Class::Permanent) => Kind::Refused,
        // A 200 without a result, and everything else: it may have been executed.
        Some(Class::Transient) | None => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests;
