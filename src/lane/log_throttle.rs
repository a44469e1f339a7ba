//! Logs a repeated text once a minute, with a count. It does not know what the text says.

use std::time::{Duration, Instant};

/// The same text is not logged more often than this.
const SILENCE: Duration = Duration::from_secs(60);

/// The text that was logged last.
#[derive(Debug, Default)]
pub struct LogThrottle {
    last: Option<(String, Instant)>,
    unsaid: u32,
}

impl LogThrottle {
    /// The text as it should be logged now, or `None` when it was only just said.
    pub fn say(&mut self, text: &str, now: Instant) -> Option<String> {
        match &self.last {
            Some((last, said)) if last == text && now.duration_since(*said) < SILENCE => {
                self.unsaid += 1;
                return None;
            }
            _ => {}
        }
        let again = matches!(&self.last, Some((last, _)) if last == text);
        let unsaid = std::mem::take(&mut self.unsaid);
        self.last = Some((text.to_owned(), now));
        Some(if again { format!("{text} (again, {} times)", unsaid + 1) } else { text.to_owned() })
    }

    /// The cause is over: the next text is logged at once.
    pub fn over(&mut self) {
        *self = LogThrottle::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_said_once_a_minute_with_a_count() {
        let mut log_throttle = LogThrottle::default();
        let start = Instant::now();
        assert_eq!(log_throttle.say("down", start).as_deref(), Some("down"));
        assert_eq!(log_throttle.say("down", start + Duration::from_secs(1)), None);
        assert_eq!(log_throttle.say("down", start + Duration::from_secs(61)).as_deref(), Some("down (again, 2 times)"));
        assert_eq!(log_throttle.say("else", start + Duration::from_secs(62)).as_deref(), Some("else"));
    }
}
