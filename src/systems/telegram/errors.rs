//! What the Bot API's refusals mean: status and `parameters` → [`Kind`] → [`Failure`]. The text of an error is
//! passed on and never looked at.
//!
//! The table is in this folder's README.

use std::fmt;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::Value;

use crate::http::text::plain;
use crate::http::{self, Answer, Class, NoAnswer};
use crate::systems::Failure;

/// No chat is left alone for longer without a look.
const LONGEST_REST: u64 = 3600;

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong in some way (400).
    BadRequest,
    /// The group has become a supergroup, with this number.
    Migrated(i64),
    /// Refused for good in another way, such as by a person who has blocked the bot.
    Refused,
    /// Nobody's request would be answered: for so long, if that is said.
    Away(Option<Duration>),
    /// It may have been done.
    Unknown,
}

/// A call that did not succeed.
#[derive(Debug)]
pub struct ApiError {
    /// What kind of refusal it is.
    pub kind: Kind,
    text: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ApiError {
    /// What follows for the message.
    pub fn into_failure(self) -> Failure {
        let error = anyhow!("{}", self.text);
        match self.kind {
            Kind::BadRequest | Kind::Migrated(_) | Kind::Refused => Failure::Permanent(error),
            Kind::Away(until) => Failure::Unavailable { error, until },
            Kind::Unknown => Failure::Transient { error },
        }
    }
}

/// The `result` of an answer to this method.
///
/// # Errors
/// Every answer that has none, and no answer.
pub fn result(method: &str, answer: Result<Answer, NoAnswer>) -> Result<Value, ApiError> {
    let told = |text: String| format!("{method}: {text}");
    let (status, mut body) = match &answer {
        Ok(answer) => (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)),
        Err(_) => (0, Value::Null),
    };
    match body["ok"].as_bool() {
        Some(true) if (200..300).contains(&status) => Ok(body["result"].take()),
        Some(false) => {
            let description = plain(body["description"].as_str().unwrap_or_default());
            // A gateway may answer every refusal with 200.
            let told_in_body = || body["error_code"].as_u64().and_then(|code| u16::try_from(code).ok());
            let status =
                Some(status).filter(|status| !(200..300).contains(status)).or_else(told_in_body).unwrap_or(status);
            let (kind, advice) = kind(status, &body["parameters"]);
            Err(ApiError { kind, text: told(format!("http status {status}: {description}{advice}")) })
        }
        Some(true) | None => Err(not_its_own(answer, told)),
    }
}

fn kind(status: u16, parameters: &Value) -> (Kind, &'static str) {
    let seconds = parameters["retry_after"].as_u64();
    match status {
        429 => (Kind::Away(seconds.map(|seconds| Duration::from_secs(seconds.min(LONGEST_REST)))), ""),
        401 | 404 => (Kind::Away(None), "; correct TELEGRAM_BOT_TOKEN, or TELEGRAM_API_URL"),
        409 => (Kind::Away(None), "; somebody else asks for this bot's updates, or it has a webhook: see check"),
        400 => match parameters["migrate_to_chat_id"].as_i64() {
            Some(chat) => (Kind::Migrated(chat), ""),
            None => (Kind::BadRequest, ""),
        },
        402..=499 => (Kind::Refused, ""),
        _ => (Kind::Unknown, ""),
    }
}

/// An answer of something between, or none.
fn not_its_own(answer: Result<Answer, NoAnswer>, told: impl Fn(String) -> String) -> ApiError {
    match http::json(answer) {
        Ok(_) => ApiError { kind: Kind::Unknown, text: told("the answer is not one of the Bot API".into()) },
        Err(failed) => {
            let kind = match failed.class {
                Class::Transient => Kind::Unknown,
                // Whatever stands between refuses everything, whichever message it is.
                Class::Unavailable | Class::Permanent => Kind::Away(failed.until),
            };
            ApiError { kind, text: told(failed.to_string()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::server::Page;
    use crate::sandbox::http_fake::{Asked, HttpFake, Target};
    use crate::tls::RootCertificates;

    /// Always gives the same answer.
    struct Says(u16, String);

    impl Target for Says {
        fn answer(&mut self, _: &Asked) -> Page {
            Page::new(self.0, "application/json", self.1.clone())
        }

        fn refusal(status: u16, _: &str, _: &str) -> Page {
            Page::new(status, "application/json", "")
        }
    }

    fn asked(status: u16, body: impl fmt::Display) -> Result<Value, ApiError> {
        let fake = HttpFake::start(0, Says(status, body.to_string())).expect("a free port");
        let http = http::Http::new(Duration::from_secs(30), &RootCertificates::public());
        result("sendMessage", http.post_json(&format!("http://{}", fake.address()), b"{}"))
    }

    fn kind_of(status: u16, body: impl fmt::Display) -> Kind {
        asked(status, body).expect_err("a refusal").kind
    }

    fn refusal(status: u16, parameters: &Value) -> Value {
        json!({"ok": false, "error_code": status, "description": "words", "parameters": parameters})
    }

    #[test]
    fn status_and_parameters_decide() {
        let none = Value::Null;
        for (status, parameters, expected) in [
            (400, none.clone(), Kind::BadRequest),
            (400, json!({"migrate_to_chat_id": -1005}), Kind::Migrated(-1005)),
            (403, none.clone(), Kind::Refused),
            (413, none.clone(), Kind::Refused),
            (401, none.clone(), Kind::Away(None)),
            (404, none.clone(), Kind::Away(None)),
            (409, none.clone(), Kind::Away(None)),
            (429, json!({"retry_after": 7}), Kind::Away(Some(Duration::from_secs(7)))),
            (429, json!({"retry_after": 999_999_999}), Kind::Away(Some(Duration::from_secs(3600)))),
            (429, none.clone(), Kind::Away(None)),
            (500, none.clone(), Kind::Unknown),
            (502, none, Kind::Unknown),
        ] {
            assert_eq!(kind_of(status, refusal(status, &parameters)), expected, "{status} {parameters}");
        }
    }

    #[test]
    fn a_refusal_is_one_whatever_the_status_around_it() {
        assert_eq!(kind_of(200, refusal(403, &Value::Null)), Kind::Refused);
        assert_eq!(kind_of(200, json!({"ok": false})), Kind::Unknown);
    }

    #[test]
    fn what_is_not_the_bot_api_s_says_nothing_of_the_message() {
        assert_eq!(asked(200, json!({"ok": true, "result": 7})).expect("a result"), 7);
        for (status, expected) in
            [(404, Kind::Away(None)), (403, Kind::Away(None)), (413, Kind::Away(None)), (502, Kind::Unknown)]
        {
            assert_eq!(kind_of(status, "<html>gateway</html>"), expected, "{status}");
        }
        assert_eq!(kind_of(200, "<html>Log in</html>"), Kind::Unknown);
        assert_eq!(kind_of(200, "{}"), Kind::Unknown);
        assert_eq!(kind_of(500, json!({"ok": true, "result": 7})), Kind::Unknown);
    }

    #[test]
    fn the_description_is_passed_on_with_what_to_do() {
        let told = asked(401, refusal(401, &Value::Null)).expect_err("a refusal").to_string();
        assert_eq!(told, "sendMessage: http status 401: words; correct TELEGRAM_BOT_TOKEN, or TELEGRAM_API_URL");
    }
}
