//! What an answer of OpenProject means. Its `errorIdentifier` decides, never its text, which is localised. An answer
//! without one comes from a proxy in between; then the status decides.

use std::time::Duration;

use anyhow::anyhow;
use serde_json::Value;

use crate::http::text::plain;
use crate::http::{self, Answer, Class, NoAnswer, class_of};
use crate::systems::Failure;

/// All identifiers start so.
const URN: &str = "urn:openproject-org:api:v3:errors:";

/// A call that did not succeed.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// What follows.
    pub kind: Kind,
    /// The members that OpenProject objects to.
    pub attributes: Vec<String>,
    until: Option<Duration>,
    text: String,
}

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing was done: OpenProject is away or asks for a pause, or the settings are wrong.
    Unavailable,
    /// It may have been done.
    Unknown,
    /// It may have been done. OpenProject itself has failed over it, or its answer is too large to be read: a smaller
    /// request may succeed.
    TooMuch,
    /// The user has no right to this, mostly in one project only.
    Forbidden,
    /// It is not there, or not shown: OpenProject does not tell which.
    NotFound,
    /// Somebody has changed it since it was read.
    Conflict,
    /// A filter is not known, or one of its values is not.
    InvalidQuery,
    /// It is refused, for good.
    Refused,
    /// It was not sent, because it was too late.
    Outdated,
}

impl ApiError {
    fn new(kind: Kind, text: impl Into<String>) -> ApiError {
        ApiError { kind, attributes: Vec::new(), until: None, text: text.into() }
    }

    /// It was not sent, and why.
    pub fn not_sent(why: &str) -> ApiError {
        ApiError::new(Kind::Unavailable, why)
    }

    /// Its turn came too late.
    pub fn outdated() -> ApiError {
        ApiError::new(Kind::Outdated, "not sent: it was looked up too long ago")
    }

    /// A success that does not say what it should.
    pub fn unclear(text: impl Into<String>) -> ApiError {
        ApiError::new(Kind::Unknown, text)
    }

    /// With the call that it is about.
    #[must_use]
    pub fn of(self, call: &str) -> ApiError {
        ApiError { text: format!("{call}: {}", self.text), ..self }
    }

    /// With what somebody has to do.
    #[must_use]
    pub fn with(self, advice: &str) -> ApiError {
        ApiError { text: format!("{}; {advice}", self.text), ..self }
    }

    /// The same as a fault of the settings or of the target, and of no message.
    #[must_use]
    pub fn of_everybody(self) -> ApiError {
        ApiError { kind: Kind::Unavailable, ..self }
    }

    /// Whether a later try may get an answer.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::Unknown | Kind::TooMuch)
    }

    /// What becomes of the message.
    pub fn into_failure(self) -> Failure {
        let error = anyhow!("{}", self.text);
        match self.kind {
            Kind::Unavailable => Failure::Unavailable { error, until: self.until },
            Kind::Unknown | Kind::TooMuch | Kind::Conflict => Failure::Transient { error },
            Kind::Forbidden | Kind::NotFound | Kind::InvalidQuery | Kind::Refused => Failure::Permanent(error),
            Kind::Outdated => Failure::Outdated,
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The JSON of a success.
///
/// # Errors
/// Every other answer, and none.
pub fn reply(result: Result<Answer, NoAnswer>) -> Result<Value, ApiError> {
    if let Ok(answer) = &result
        && let Some(err) = of_openproject(answer)
    {
        return Err(err);
    }
    let is_too_large = matches!(result, Err(NoAnswer::TooLarge(_)));
    let is_missing = matches!(&result, Ok(answer) if answer.status == 404);
    http::json(result).map_err(|failed| {
        // OpenProject itself would have said so in its own form.
        let kind = match failed.class {
            Class::Permanent if is_missing => Kind::Unavailable,
            Class::Permanent => Kind::Refused,
            Class::Unavailable => Kind::Unavailable,
            Class::Transient if is_too_large => Kind::TooMuch,
            Class::Transient => Kind::Unknown,
        };
        let err = ApiError { until: failed.until, ..ApiError::new(kind, failed.to_string()) };
        if is_missing { err.with("that is no OpenProject: correct OPENPROJECT_URL") } else { err }
    })
}

/// The error in its own words, if it is one.
fn of_openproject(answer: &Answer) -> Option<ApiError> {
    let class = class_of(answer.status)?;
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let identifier = body["errorIdentifier"].as_str()?;
    let name = identifier.strip_prefix(URN).unwrap_or(identifier);
    let parts = [&body].into_iter().chain(body["_embedded"]["errors"].as_array().into_iter().flatten());
    let attributes = parts.clone().filter_map(|part| part["_embedded"]["details"]["attribute"].as_str());
    let messages: Vec<&str> = parts.filter_map(|part| part["message"].as_str()).collect();
    let advice = if name == "Unauthenticated" { "; correct OPENPROJECT_TOKEN" } else { "" };
    let text = format!("http status {} {name}{advice}: {}", answer.status, plain(&messages.join("; ")));
    Some(ApiError {
        attributes: attributes.map(str::to_owned).collect(),
        until: answer.retry_after(),
        ..ApiError::new(kind(name, class, answer.status), text)
    })
}

fn kind(name: &str, class: Class, status: u16) -> Kind {
    match name {
        // A server that fails or is busy says nothing about the message, whatever the identifier.
        _ if status == 429 => Kind::Unavailable,
        "InternalServerError" => Kind::TooMuch,
        _ if status >= 500 => Kind::Unknown,
        "Unauthenticated" => Kind::Unavailable,
        "MissingPermission" => Kind::Forbidden,
        "NotFound" => Kind::NotFound,
        "UpdateConflict" => Kind::Conflict,
        "InvalidQuery" => Kind::InvalidQuery,
        "InvalidRenderContext"
        | "InvalidRequestBody"
        | "InvalidSignal"
        | "InvalidUserStatusTransition"
        | "TypeNotSupported"
        | "PropertyConstraintViolation"
        | "PropertyIsReadOnly"
        | "PropertyFormatError"
        | "PropertyMissingError"
        | "PropertyValueNotAvailableAnymore"
        | "ResourceTypeMismatch"
        | "MultipleErrors" => Kind::Refused,
        _ => match class {
            Class::Permanent => Kind::Refused,
            Class::Unavailable => Kind::Unavailable,
            Class::Transient => Kind::Unknown,
        },
    }
}

/// The failure of a look-up, which has no effect: a refused question says nothing about any task.
pub fn not_looked_up(err: ApiError) -> Failure {
    match err.kind {
        Kind::Forbidden | Kind::NotFound | Kind::InvalidQuery | Kind::Refused => err.of_everybody().into_failure(),
        Kind::Unavailable | Kind::Unknown | Kind::TooMuch | Kind::Conflict | Kind::Outdated => err.into_failure(),
    }
}

#[cfg(test)]
mod tests;
