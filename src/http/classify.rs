//! What an answer means, whatever the target: the rule for every system that has none of its own. A system whose target
//! says more, by codes in its answers, reads those first.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::client::{Answer, NoAnswer};
use super::text::plain;
use crate::message::document;

/// What follows from a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again later. The call may have had its effect: the outcome of a create is unknown, so the task is looked up
    /// before it is created again.
    Transient,
    /// The call had no effect, and the call of another message would fail too: the target is down, asks for a pause, or
    /// the settings are wrong.
    Unavailable,
    /// Never try again.
    Permanent,
}

/// A call that failed. Its text is fit for the log and the error queue.
#[derive(Debug)]
pub struct Failed {
    /// What follows.
    pub class: Class,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The pause that the target asks for.
    pub until: Option<Duration>,
    text: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failed {}

/// The class of a status; `None` is success.
pub fn class_of(status: u16) -> Option<Class> {
    match status {
        200..=299 => None,
        // A redirect is never followed: the address in the settings is wrong by now.
        300..=399 | 401 | 403 | 429 => Some(Class::Unavailable),
        408 | 425 => Some(Class::Transient),
        400..=499 => Some(Class::Permanent),
        // A server that fails, or answers with an unknown status, says nothing reliable about its effects.
        _ => Some(Class::Transient),
    }
}

/// Passes a success on.
///
/// # Errors
/// Any other answer, and a missing one, with what follows.
pub fn classify(result: Result<Answer, NoAnswer>) -> Result<Answer, Failed> {
    let failed = |class, text| Failed { class, status: None, until: None, text };
    let answer = result.map_err(|err| match err {
        NoAnswer::NotSent(why) => failed(Class::Unavailable, why),
        NoAnswer::Unknown(why) | NoAnswer::TooLarge(why) => failed(Class::Transient, why),
    })?;
    let Some(class) = class_of(answer.status) else { return Ok(answer) };
    let until = answer.retry_after();
    // An overloaded server that says for how long has not executed the call.
    let class = if answer.status == 503 && until.is_some() { Class::Unavailable } else { class };
    Err(Failed { class, status: Some(answer.status), until, text: said(&answer) })
}

/// The JSON of a success.
///
/// # Errors
/// As [`classify`]; also a success without JSON, such as a gateway's page: it need not come from the target.
pub fn json(result: Result<Answer, NoAnswer>) -> Result<Value, Failed> {
    let answer = classify(result)?;
    document::read(&answer.body).map_err(|_| Failed {
        class: Class::Transient,
        status: Some(answer.status),
        until: None,
        text: format!("no JSON in {}", said(&answer)),
    })
}

fn said(answer: &Answer) -> String {
    let advice = match answer.status {
        300..=399 => "; the target has moved: correct its address",
        401 | 403 => "; check the name, password or token for the target",
        _ => "",
    };
    let beginning = plain(&String::from_utf8_lossy(&answer.body));
    let separator = if beginning.is_empty() { "" } else { ": " };
    format!("http status {}{advice}{separator}{beginning}", answer.status)
}

#[cfg(test)]
mod tests {
    use ureq::http::{HeaderMap, HeaderValue};

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.into(), headers: HeaderMap::new() }
    }

    fn retrying(status: u16, after: &'static str) -> Answer {
        let headers = HeaderMap::from_iter([(ureq::http::header::RETRY_AFTER, HeaderValue::from_static(after))]);
        Answer { headers, ..answer(status, "") }
    }

    #[test]
    fn every_status_has_its_class() {
        let rows: [(&[u16], Option<Class>); 4] = [
            (&[200, 201, 202, 204], None),
            (&[301, 302, 303, 307, 308, 401, 403, 429], Some(Class::Unavailable)),
            (&[400, 404, 405, 406, 409, 410, 413, 415, 422], Some(Class::Permanent)),
            (&[408, 425, 500, 502, 503, 504, 520, 101, 600], Some(Class::Transient)),
        ];
        for (statuses, class) in rows {
            for status in statuses {
                assert_eq!(class_of(*status), class, "{status}");
                assert_eq!(classify(Ok(answer(*status, "{}"))).err().map(|failed| failed.class), class, "{status}");
            }
        }
    }

    #[test]
    fn a_missing_target_is_unavailable_and_an_answer_that_broke_off_is_transient() {
        let class = |err| classify(Err(err)).expect_err("no answer").class;
        assert_eq!(class(NoAnswer::NotSent("why".into())), Class::Unavailable);
        assert_eq!(class(NoAnswer::Unknown("why".into())), Class::Transient);
        assert_eq!(class(NoAnswer::TooLarge("why".into())), Class::Transient);
    }

    #[test]
    fn the_target_says_how_long_the_pause_is() {
        let until = |answer| {
            let failed = classify(Ok(answer)).expect_err("a refusal");
            (failed.class, failed.until.map(|until| until.as_secs()))
        };
        assert_eq!(until(retrying(429, "7")), (Class::Unavailable, Some(7)));
        assert_eq!(until(retrying(503, " 7 ")), (Class::Unavailable, Some(7)));
        assert_eq!(until(retrying(503, "soon")), (Class::Transient, None));
        assert_eq!(until(retrying(503, "Wed, 21 Oct 2015 07:28:00 GMT")), (Class::Transient, None));
        // No pause lasts for years.
        assert_eq!(until(retrying(429, "999999999")), (Class::Unavailable, Some(3600)));
        assert_eq!(until(retrying(429, "Fri, 31 Dec 9999 23:59:59 GMT")), (Class::Unavailable, Some(3600)));
    }

    #[test]
    fn a_page_instead_of_json_is_no_success() {
        let page = json(Ok(answer(200, "<html><body>Log in</body></html>"))).expect_err("no JSON");
        assert_eq!((page.class, page.to_string().as_str()), (Class::Transient, "no JSON in http status 200: Log in"));
        assert_eq!(json(Ok(answer(201, r#"{"id": 7}"#))).expect("JSON")["id"], 7);
        // With a byte order mark, and a text that was cut within an emoji.
        assert_eq!(json(Ok(answer(200, "\u{feff}{\"id\": \"\\ud83d\"}"))).expect("JSON")["id"], "\u{fffd}");
        // Deeper than any real answer.
        assert_eq!(json(Ok(answer(200, &"[".repeat(100_000)))).expect_err("no JSON").class, Class::Transient);
    }

    #[test]
    fn a_refusal_shows_the_targets_own_words() {
        let told = |status, body: &str| classify(Ok(answer(status, body))).expect_err("a refusal").to_string();
        assert_eq!(told(422, r#"{"detail": "no title"}"#), r#"http status 422: {"detail": "no title"}"#);
        assert_eq!(told(500, ""), "http status 500");
        assert!(told(500, &"x".repeat(100_000)).len() < 400);
        assert_eq!(told(302, ""), "http status 302; the target has moved: correct its address");
    }
}
