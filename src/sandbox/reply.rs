//! The form of every reply: `result` or `error`, `total`, `next`, `time`, and how PHP writes empty and numbered maps.
//! It knows no method.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::operating::Used;
use crate::http::server::{After, Page, Reply};

/// The result of a method that succeeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// `result`.
    pub result: Value,
    /// For list methods: the number of rows that match, over all pages.
    pub total: Option<u64>,
    /// For list methods: the `start` of the next page, when there is one.
    pub next: Option<u64>,
    /// The operating time that the method has used.
    pub(super) operating: Option<Used>,
}

impl Answer {
    /// A page of a list.
    pub fn page(result: Value, total: Option<u64>, next: Option<u64>) -> Answer {
        Answer { result, total, next, operating: None }
    }
}

impl From<Value> for Answer {
    fn from(result: Value) -> Answer {
        Answer { result, ..Answer::default() }
    }
}

/// An error as the portal words it.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// HTTP status, when the call is a request of its own.
    pub status: u16,
    /// `error`.
    pub code: Cow<'static, str>,
    /// `error_description`.
    pub description: String,
}

impl Refusal {
    /// An error with its status, code and text.
    pub fn new(status: u16, code: impl Into<Cow<'static, str>>, description: impl Into<String>) -> Refusal {
        Refusal { status, code: code.into(), description: description.into() }
    }

    /// The one code for everything the tasks module dislikes; texts are localised and end in markup.
    pub(super) fn core(description: &str) -> Refusal {
        Refusal::new(400, "ERROR_CORE", format!("{description}<br>"))
    }

    /// Codes are compared ignoring case.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.eq_ignore_ascii_case(code)
    }

    pub(super) fn body(&self) -> Value {
        json!({"error": self.code, "error_description": self.description})
    }
}

/// The outcome of a call.
pub type Outcome = Result<Answer, Refusal>;

/// What happens to a request instead of an answer of the portal.
#[derive(Clone, Debug, PartialEq)]
pub enum Broken {
    /// Another answer, such as a gateway's.
    Raw {
        /// HTTP status.
        status: u16,
        /// The body's type.
        content_type: &'static str,
        /// As it is sent.
        body: Vec<u8>,
    },
    /// The head, and half of the body that it promised.
    Half,
    /// The connection ends.
    Close,
    /// The same with RST.
    Reset,
}

impl Broken {
    pub(super) fn into_http(self) -> Reply {
        match self {
            Broken::Raw { status, content_type, body } => Reply::Page(Page::new(status, content_type, body)),
            Broken::Half => {
                let page = json_page(200, &json!({"result": {"task": {"id": "1"}}}));
                Reply::raw(move |stream| half(stream, &page))
            }
            Broken::Close => Reply::raw(|_| Ok(After::Close)),
            Broken::Reset => Reply::raw(|_| Ok(After::Reset)),
        }
    }
}

/// Writes the head and half of the body that it promises, and ends the connection.
///
/// # Errors
/// The client is gone.
pub fn half(mut stream: &TcpStream, page: &Page) -> io::Result<After> {
    let whole = page.encode();
    stream.write_all(&whole[..whole.len() - page.body().len().div_ceil(2)])?;
    Ok(After::Close)
}

/// The whole reply to a request that came at `start`. Errors carry no `time`.
pub(super) fn page(outcome: Outcome, start: SystemTime) -> Page {
    let (status, body) = match outcome {
        Ok(answer) => {
            let mut body = json!({"result": answer.result, "time": time(start, answer.operating)});
            if let Some(next) = answer.next {
                body["next"] = next.into();
            }
            if let Some(total) = answer.total {
                body["total"] = total.into();
            }
            (200, body)
        }
        Err(refusal) => (refusal.status, refusal.body()),
    };
    json_page(status, &body)
}

pub(super) fn json_page(status: u16, body: &Value) -> Page {
    // The portal escapes markup; in JSON an angle bracket can only be inside a string.
    let text = body.to_string().replace('<', "\\u003C").replace('>', "\\u003E");
    Page::new(status, "application/json; charset=utf-8", text)
}

/// The `time` member for a call that started at `start` and ends now. The start is cut to whole seconds, so `duration`
/// is up to a second too long.
pub(super) fn time(start: SystemTime, operating: Option<Used>) -> Value {
    let finish = SystemTime::now();
    let (start_s, finish_s) = (since_epoch(start), since_epoch(finish));
    let mut time = json!({
        "start": start_s.as_secs(),
        "finish": finish_s.as_secs_f64(),
        "duration": finish_s.as_secs_f64() - start_s.as_secs() as f64,
        "processing": finish.duration_since(start).unwrap_or_default().as_secs_f64(),
        "date_start": iso(start_s.as_secs()),
        "date_finish": iso(finish_s.as_secs()),
    });
    if let Some(used) = operating {
        time["operating"] = used.seconds.into();
        if let Some(reset_at) = used.reset_at {
            time["operating_reset_at"] = reset_at.into();
        }
    }
    time
}

/// Since the Unix epoch.
pub(super) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since the epoch as `2025-10-23T08:08:57+00:00`.
pub(super) fn iso(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
}

/// Year, month and day of a count of days since 1970-01-01. Years start in March here, so that the leap day is the
/// last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// A map as PHP writes it: a list when it is empty or its keys are 0, 1, 2…
pub(super) fn php_list(mut map: Map<String, Value>) -> Value {
    let keys: Vec<String> = (0..map.len()).map(|index| index.to_string()).collect();
    if !keys.iter().all(|key| map.contains_key(key)) {
        return Value::Object(map);
    }
    keys.iter().filter_map(|key| map.remove(key)).collect()
}

/// The same for a map in a known order: numbers that are out of order make no list.
pub(super) fn php(map: Vec<(String, Value)>) -> Value {
    if map.iter().enumerate().any(|(index, (key, _))| *key != index.to_string()) {
        return Value::Object(map.into_iter().collect());
    }
    map.into_iter().map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(iso(0), "1970-01-01T00:00:00+00:00");
        assert_eq!(iso(951_782_400), "2000-02-29T00:00:00+00:00");
        assert_eq!(iso(1_761_206_937), "2025-10-23T08:08:57+00:00");
    }

    #[test]
    fn an_empty_map_and_a_numbered_map_are_lists() {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        assert_eq!(php_list(map(json!({}))), json!([]));
        assert_eq!(php_list(map(json!({"0": "a", "1": "b"}))), json!(["a", "b"]));
        assert_eq!(php_list(map(json!({"1": "b"}))), json!({"1": "b"}));
    }

    #[test]
    fn the_start_has_whole_seconds_and_the_operating_time_is_shown_when_it_is_known() {
        let told = time(SystemTime::now(), Some(Used { seconds: 1.5, reset_at: None }));
        assert!(told["start"].is_u64() && told["finish"].is_f64(), "{told}");
        assert!(told["operating"] == 1.5 && told.get("operating_reset_at").is_none(), "{told}");
        assert!(time(SystemTime::now(), None).get("operating").is_none());
    }

    #[test]
    fn markup_is_escaped() {
        let page = page(Err(Refusal::core("no")), SystemTime::now());
        assert_eq!(page.status(), 400);
        let text = String::from_utf8_lossy(page.body()).into_owned();
        assert_eq!(text, r#"{"error":"ERROR_CORE","error_description":"no\u003Cbr\u003E"}"#);
    }
}
