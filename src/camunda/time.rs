//! Times as the engine writes them: `2026-11-28T21:00:00.000+0000`.

use chrono::{DateTime, Utc};
use serde_json::Value;

const FORM: &str = "%Y-%m-%dT%H:%M:%S%.3f%z";

/// The time that a value is; `None` if it is none.
pub(super) fn read(value: &Value) -> Option<DateTime<Utc>> {
    let text = value.as_str()?;
    let moment = DateTime::parse_from_str(text, FORM).or_else(|_| DateTime::parse_from_rfc3339(text));
    moment.ok().map(|moment| moment.to_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_read_with_its_offset() {
        let time = read(&json!("2015-10-06T16:34:42.005+0300")).expect("a time");
        assert_eq!(time.to_rfc3339(), "2015-10-06T13:34:42.005+00:00");
        assert_eq!(read(&json!("2015-10-06T13:34:42.005Z")), Some(time));
        assert_eq!((read(&json!(null)), read(&json!("soon")), read(&json!(7))), (None, None, None));
    }
}
