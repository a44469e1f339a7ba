//! Times as the API writes them: ISO 8601 in UTC, with milliseconds.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// This time as text.
pub fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The present as text.
pub fn now() -> String {
    text(Utc::now())
}

/// This time, in milliseconds since 1970, as text; `None` for 0: it has not happened yet.
pub fn of_ms(milliseconds: u64) -> Option<String> {
    let at = i64::try_from(milliseconds).ok().filter(|ms| *ms > 0).and_then(DateTime::from_timestamp_millis);
    at.map(text)
}

/// For serde.
///
/// # Errors
/// Those of the serializer.
pub fn iso<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*at))
}

/// The time in so many seconds, as text.
pub fn in_seconds(seconds: u64) -> String {
    text(Utc::now() + Duration::from_secs(seconds))
}
