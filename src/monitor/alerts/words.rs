//! The conditions that are told, in words: short sentences as in the log. It does not know when one is told.

use std::time::Duration;

use super::Moment;
use super::episode::Telling;
use crate::redact;
use crate::stats::span;

/// Of a reason, in characters.
const LONGEST_REASON: usize = 300;

/// What may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// There is no session with RabbitMQ.
    NoBroker,
    /// RabbitMQ takes no messages.
    Alarm,
    /// The target is not available, or our settings for it are wrong.
    Away,
    /// The target has answered as many requests as it wants to, for a while.
    BudgetUsedUp,
    /// A queue takes no messages.
    FullQueue,
    /// Somebody has paused the lane.
    Paused,
    /// Messages wait, and none is settled.
    Stalled,
    /// Messages were parked.
    Parked,
    /// Tasks are finished and have no answer, for too long.
    Unanswered,
    /// Tasks of which nobody has anything, by the last reconciliation.
    Lost,
}

/// Something that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What it is.
    pub head: String,
    /// Why, or an example.
    pub detail: Option<String>,
}

impl News {
    /// As a line of a message.
    pub fn line(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}", self.head),
            None => format!("{}.", self.head),
        }
    }
}

impl What {
    /// What is told of it. `whose`: the system, if it is about one. `detail`: why, or an example.
    pub fn news(self, whose: Option<&str>, telling: Telling, since: Moment, detail: Option<&str>) -> News {
        let whose = whose.unwrap_or(if self == What::Lost { "reconcile" } else { "RabbitMQ" });
        let clock = since.clock.format("%H:%M:%S");
        let head = match (self, telling) {
            (What::Parked, Telling::Here(1)) => "1 message is parked".into(),
            (What::Parked, Telling::Here(count)) => format!("{count} messages are parked since {clock}"),
            (What::Parked, Telling::Over(count, lasted)) => {
                let last = (since.clock + lasted).format("%H:%M:%S");
                format!("none parked since {last}, {} before, which wait for a person", messages(count))
            }
            (What::Unanswered, Telling::Here(count)) => format!("{} finished without an answer", tasks(count)),
            (What::Unanswered, Telling::Over(..)) => "no task lacks its answer any more".into(),
            (What::Lost, Telling::Here(count)) => format!("{} lost", tasks(count)),
            (What::Lost, Telling::Over(..)) => "no task is lost any more".into(),
            (_, Telling::Here(1)) => format!("{} since {clock}", self.stands()),
            (_, Telling::Here(count)) => format!("{}, {count} times since {clock}", self.stands()),
            (_, Telling::Over(count, lasted)) => format!("{}, {}", self.is_over(), lasting(count, lasted)),
        };
        let detail = detail.filter(|_| matches!(telling, Telling::Here(_))).map(clean);
        News { head: format!("{whose}: {head}"), detail }
    }

    fn stands(self) -> &'static str {
        match self {
            What::NoBroker => "no session",
            What::Alarm => "takes no messages",
            What::Away => "the target is away",
            What::BudgetUsedUp => "the request budget is used up",
            What::FullQueue => "a queue takes no messages",
            What::Paused => "paused by command",
            What::Stalled => "stalled, messages wait and none is settled",
            What::Parked | What::Unanswered | What::Lost => "",
        }
    }

    fn is_over(self) -> &'static str {
        match self {
            What::NoBroker => "connected again",
            What::Alarm => "takes messages again",
            What::Away => "the target is back",
            What::BudgetUsedUp => "requests may be sent again",
            What::FullQueue => "the queues take messages again",
            What::Paused => "no longer paused",
            What::Stalled => "messages are settled again",
            What::Parked | What::Unanswered | What::Lost => "",
        }
    }
}

/// A text from outside: without secrets, on one line, and short.
fn clean(text: &str) -> String {
    let text = redact::clean(text);
    match text.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn lasting(count: u64, lasted: Duration) -> String {
    match count {
        1 => format!("after {}", span(lasted)),
        _ => format!("after {count} times in {}", span(lasted)),
    }
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".into() } else { format!("{count} messages") }
}

fn tasks(count: u64) -> String {
    if count == 1 { "1 task is".into() } else { format!("{count} tasks are") }
}

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;

    fn line(what: What, whose: Option<&str>, telling: Telling, detail: Option<&str>) -> String {
        what.news(whose, telling, at(0), detail).line()
    }

    #[test]
    fn each_is_a_sentence_with_system_time_and_reason() {
        let clock = at(0).clock.format("%H:%M:%S");
        let minutes = Duration::from_secs(843);
        let bitrix24 = Some("bitrix24");
        assert_eq!(
            line(What::Away, bitrix24, Telling::Here(1), Some("http status 503")),
            format!("bitrix24: the target is away since {clock}: http status 503")
        );
        assert_eq!(
            line(What::NoBroker, None, Telling::Here(10), Some("bitrix24, email: refused")),
            format!("RabbitMQ: no session, 10 times since {clock}: bitrix24, email: refused")
        );
        let over = line(What::Away, bitrix24, Telling::Over(1, minutes), Some("http status 503"));
        assert_eq!(over, "bitrix24: the target is back, after 14m03s.");
        let over = line(What::Away, bitrix24, Telling::Over(12, minutes), None);
        assert_eq!(over, "bitrix24: the target is back, after 12 times in 14m03s.");
        assert_eq!(line(What::Lost, None, Telling::Here(3), None), "reconcile: 3 tasks are lost.");
        let parked = line(What::Parked, bitrix24, Telling::Here(1), Some("task 17, REQUEST_ERROR"));
        assert_eq!(parked, "bitrix24: 1 message is parked: task 17, REQUEST_ERROR");
        let last = at(843).clock.format("%H:%M:%S");
        assert_eq!(
            line(What::Parked, bitrix24, Telling::Over(12, minutes), None),
            format!("bitrix24: none parked since {last}, 12 messages before, which wait for a person.")
        );
    }

    #[test]
    fn a_reason_shows_no_secret_is_one_line_and_short() {
        redact::hide(["canary-of-an-alert"]);
        let told = line(What::Away, None, Telling::Here(1), Some("canary-of-an-alert\nand"));
        assert!(told.ends_with(": ***\\u{a}and"), "{told}");
        assert!(clean(&"я".repeat(1000)).chars().count() == LONGEST_REASON + 1);
    }
}
