//! What an answer of 1C means: by its status and the code in it, never by its text, which is in the language of the
//! infobase. What says nothing of its own means what it means everywhere, see [`crate::http::classify()`].

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::http::text::plain;
use crate::http::{Answer, Class, NoAnswer, classify};
use crate::message::{document, text};
use crate::systems::Failure;

/// The entity is not published.
const NO_SUCH_ENTITY: &str = "8";
/// There is no object of this key.
const NO_SUCH_OBJECT: &str = "9";
/// There is an object of this key.
const KEY_EXISTS: &str = "15";
/// The account may not do this.
const NO_RIGHTS: &str = "20";

/// A request that did not succeed. Its text is fit for the log and the error queue.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// What follows.
    pub class: Class,
    status: Option<u16>,
    until: Option<Duration>,
    /// The answer, if it was JSON.
    body: Option<Value>,
    /// There was an answer, larger than what is read.
    is_too_large: bool,
    text: String,
}

/// Lets a success through; null where it says nothing.
///
/// # Errors
/// Every other answer, and none.
pub fn read(result: Result<Answer, NoAnswer>) -> Result<Value, ApiError> {
    // 1C may write a byte order mark before it, and half an emoji in it.
    let body = result.as_ref().ok().and_then(|answer| document::read(&answer.body).ok());
    let is_empty = result.as_ref().is_ok_and(|answer| answer.body.is_empty());
    let is_too_large = matches!(result, Err(NoAnswer::TooLarge(_)));
    match (classify(result), body) {
        (Ok(_), Some(body)) => Ok(body),
        (Ok(_), None) if is_empty => Ok(Value::Null),
        // A page in place of 1C's answer: nobody knows what was done.
        (Ok(answer), None) => Err(ApiError {
            class: Class::Transient,
            status: Some(answer.status),
            until: None,
            body: None,
            is_too_large,
            text: format!(
                "no JSON in http status {}: {}",
                answer.status,
                plain(&String::from_utf8_lossy(&answer.body))
            ),
        }),
        (Err(failed), body) => {
            let told = body.as_ref().and_then(told);
            let text = match (&told, failed.status) {
                (Some((code, words)), Some(status)) => {
                    format!("http status {status}, 1C's code {code}: {}", plain(words))
                }
                _ => failed.to_string(),
            };
            let code = told.as_ref().map(|(code, _)| code.as_str());
            let (class, advice) = class(failed.class, failed.status, code, body.is_some());
            Err(ApiError { class, status: failed.status, until: failed.until, body, is_too_large, text: text + advice })
        }
    }
}

/// What follows, and what somebody should do.
fn class(by_status: Class, status: Option<u16>, code: Option<&str>, is_json: bool) -> (Class, &'static str) {
    match (status, code) {
        (_, Some(NO_SUCH_ENTITY)) => {
            (Class::Unavailable, "; publish the entity in 1C's standard OData interface, or correct ONEC_MAPPING_FILE")
        }
        // Of one object it concerns one message, of all of them the account: then several fail in a row, and the lane
        // pauses.
        (_, Some(NO_RIGHTS)) | (Some(403), _) => (Class::Transient, "; does the user of ONEC_USERNAME have the right?"),
        // Whoever changes the object now will be done with it.
        (Some(412), _) => (Class::Transient, "; somebody else changes the object"),
        // No answer of 1C's own: the web server knows no such place.
        (Some(404), None) if !is_json => (Class::Unavailable, "; is ONEC_URL right, and the infobase published?"),
        _ => (by_status, ""),
    }
}

/// Code and words of an error of the standard OData interface.
fn told(body: &Value) -> Option<(String, String)> {
    let error = body.get("odata.error")?;
    let words = text(&error["message"]["value"]).or_else(|| text(&error["message"])).unwrap_or_default();
    Some((text(&error["code"])?, words))
}

impl ApiError {
    /// Nothing was sent, since the worker stops.
    pub fn stopping() -> ApiError {
        ApiError {
            class: Class::Unavailable,
            status: None,
            until: None,
            body: None,
            is_too_large: false,
            text: "not sent: the worker stops".into(),
        }
    }

    /// An answer that is JSON, and none of 1C's.
    pub fn nonsense(body: &Value) -> ApiError {
        let text = format!("an answer of another form: {}", plain(&body.to_string()));
        let body = Some(body.clone());
        ApiError { class: Class::Transient, status: None, until: None, body, is_too_large: false, text }
    }

    /// The same, and what it is about.
    #[must_use]
    pub fn about(self, what: &str) -> ApiError {
        ApiError { text: format!("{what}: {}", self.text), ..self }
    }

    /// There is an object of this key already.
    pub fn is_key_taken(&self) -> bool {
        self.is(KEY_EXISTS)
    }

    /// There is no object of this key.
    pub fn is_no_object(&self) -> bool {
        self.status == Some(404) && self.is(NO_SUCH_OBJECT)
    }

    /// The object is another version by now.
    pub fn is_conflict(&self) -> bool {
        self.status == Some(412)
    }

    /// A service says of its own that there is nothing.
    pub fn is_told_not_found(&self) -> bool {
        self.status == Some(404) && self.body.is_some()
    }

    /// The address may be too long for the web server: a shorter one might pass.
    pub fn may_be_too_long(&self) -> bool {
        self.body.is_none() && matches!(self.status, Some(400 | 404 | 413 | 414))
    }

    /// It may be the fault of one of several objects that were asked for together: 1C fails over it, does not show it
    /// to this account, or says something of it that is too large or no JSON.
    pub fn may_be_about_one(&self) -> bool {
        let fails = matches!((self.status, &self.body), (Some(200..=299 | 403), _) | (Some(500..), Some(_)));
        self.class == Class::Transient && (fails || self.is_too_large)
    }

    /// There was no answer at all.
    pub fn is_silence(&self) -> bool {
        self.class == Class::Transient && self.status.is_none() && self.body.is_none()
    }

    /// The same where it has happened so often that it is about 1C, and not about one task.
    #[must_use]
    pub fn of_all(self) -> ApiError {
        ApiError { class: Class::Unavailable, ..self }
    }

    /// What it means where nothing was to be done. A page of the web server's, instead of an answer of 1C's, says that
    /// 1C is out, as it is without a free licence or while its infobase is locked.
    pub fn of_reading(self) -> Failure {
        match (self.class, self.status, &self.body) {
            (Class::Transient, Some(500..), None) => Failure::Unavailable { error: self.into(), until: None },
            (Class::Permanent, ..) => Failure::Transient { error: self.into() },
            _ => self.into(),
        }
    }

    fn is(&self, code: &str) -> bool {
        self.body.as_ref().and_then(told).is_some_and(|(told, _)| told == code)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ApiError {}

impl From<ApiError> for Failure {
    fn from(err: ApiError) -> Failure {
        let (class, until, error) = (err.class, err.until, err.into());
        match class {
            Class::Transient => Failure::Transient { error },
            Class::Unavailable => Failure::Unavailable { error, until },
            Class::Permanent => Failure::Permanent(error),
        }
    }
}
