//! What waits to be told to some people: what comes together goes in one message, an hour has only so many messages,
//! and a message that did not go is tried again. Pure: it knows no clock, and not how a message is sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::episode::Pace;
use super::{Moment, News};
use crate::backoff;

/// In an hour. Beyond that, what happens is collected.
pub const MOST_MESSAGES: usize = 12;
/// In one message; the oldest ones are left out.
const MOST_NEWS: usize = 30;
const HOUR: Duration = Duration::from_secs(3600);
/// Between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// In bytes.
const LONGEST_SUBJECT: usize = 200;

/// What waits.
#[derive(Debug)]
pub struct Outbox {
    pace: Pace,
    /// The last line of every message.
    page: Option<String>,
    news: VecDeque<News>,
    left_out: u64,
    /// Nothing goes before this time.
    not_before: Option<Instant>,
    /// When messages went within the last hour.
    sent: VecDeque<Instant>,
    failures: u32,
}

/// A message that is to be sent now.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub subject: String,
    /// A line for each thing.
    pub text: String,
}

impl Outbox {
    /// Nothing waits.
    pub fn new(pace: Pace, page: Option<String>) -> Outbox {
        Outbox { pace, page, news: VecDeque::new(), left_out: 0, not_before: None, sent: VecDeque::new(), failures: 0 }
    }

    /// This is to be told.
    pub fn add(&mut self, news: Vec<News>, now: Moment) {
        if self.news.is_empty() && !news.is_empty() && self.failures == 0 {
            // What comes within a moment goes along.
            self.not_before = Some(now.at + self.pace.look);
        }
        self.news.extend(news);
        while self.news.len() > MOST_NEWS {
            self.news.pop_front();
            self.left_out += 1;
        }
    }

    /// What is to be sent now, if anything is.
    pub fn due(&mut self, now: Moment) -> Option<Message> {
        self.sent.retain(|sent| now.at.saturating_duration_since(*sent) < HOUR);
        let may_go = self.not_before.is_none_or(|at| at <= now.at) && self.sent.len() < MOST_MESSAGES;
        (may_go && !self.news.is_empty()).then(|| self.message(now))
    }

    /// The message that was due has gone.
    pub fn sent(&mut self, now: Moment) {
        self.news.clear();
        (self.left_out, self.failures, self.not_before) = (0, 0, None);
        self.sent.push_back(now.at);
    }

    /// The message that was due has not gone; the other side asks us to wait for so long, if it says. Returns the pause
    /// until the next try, for which all of it waits.
    pub fn failed(&mut self, asked: Option<Duration>, now: Moment) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = backoff::delay(self.failures, self.pace.retry, LONGEST_PAUSE).max(asked.unwrap_or_default());
        self.not_before = Some(now.at + pause);
        pause
    }

    fn message(&self, now: Moment) -> Message {
        let subject = match (self.news.len(), self.left_out, self.news.front()) {
            (1, 0, Some(news)) => news.head.clone(),
            (count, left_out, _) => format!("{} alerts", count as u64 + left_out),
        };
        let mut lines: Vec<String> = self.news.iter().map(News::line).collect();
        if self.left_out > 0 {
            lines.insert(0, format!("{} earlier ones are left out.", self.left_out));
        }
        if self.sent.len() + 1 == MOST_MESSAGES {
            let rest = self.sent.front().map_or(HOUR, |first| HOUR.saturating_sub(now.at.duration_since(*first)));
            let until = (now.clock + rest).format("%H:%M");
            lines
                .push(format!("This is message {MOST_MESSAGES} within an hour. What comes now is told after {until}."));
        }
        lines.extend(self.page.clone());
        Message { subject: cut(&subject), text: lines.join("\n") }
    }
}

fn cut(subject: &str) -> String {
    let end = subject.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST_SUBJECT);
    end.map_or_else(|| subject.to_owned(), |end| format!("{}…", &subject[..end]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::at;
    use super::*;

    fn news(head: &str) -> Vec<News> {
        vec![News { head: head.into(), detail: None }]
    }

    fn outbox() -> Outbox {
        Outbox::new(Pace::of(Duration::from_secs(5)), Some("http://page".into()))
    }

    #[test]
    fn what_comes_within_a_few_seconds_goes_in_one_message() {
        let mut outbox = outbox();
        outbox.add(news("one"), at(0));
        assert_eq!(outbox.due(at(0)), None);
        outbox.add(news("two"), at(5));
        let message = Message { subject: "2 alerts".into(), text: "one.\ntwo.\nhttp://page".into() };
        assert_eq!(outbox.due(at(5)), Some(message));
        outbox.sent(at(5));
        assert_eq!(outbox.due(at(100)), None);
        outbox.add(news("three"), at(100));
        assert_eq!(outbox.due(at(105)).expect("it is due").subject, "three");
    }

    #[test]
    fn what_did_not_go_is_tried_again_ever_more_slowly_with_what_came_meanwhile() {
        let mut outbox = outbox();
        outbox.add(news("one"), at(0));
        assert!(outbox.due(at(5)).is_some());
        assert_eq!(outbox.failed(None, at(5)), Duration::from_secs(30));
        outbox.add(news("two"), at(10));
        assert_eq!(outbox.due(at(34)), None);
        assert_eq!(outbox.due(at(35)).expect("it is due").text, "one.\ntwo.\nhttp://page");
        assert_eq!(outbox.failed(None, at(35)), Duration::from_secs(60));
        assert_eq!(outbox.failed(Some(Duration::from_secs(1000)), at(95)), Duration::from_secs(1000));
        assert_eq!(outbox.due(at(1094)), None);
        let failures = (0..10).map(|_| outbox.failed(None, at(1095))).max();
        assert_eq!(failures, Some(LONGEST_PAUSE));
    }

    #[test]
    fn an_hour_has_so_many_messages_and_the_last_one_says_when_the_rest_comes() {
        let mut outbox = outbox();
        let mut messages = Vec::new();
        for minute in 0..59 {
            let second = minute * 60;
            outbox.add(news(&format!("news {minute}")), at(second));
            if let Some(message) = outbox.due(at(second + 5)) {
                messages.push(message.text);
                outbox.sent(at(second + 5));
            }
        }
        assert_eq!(messages.len(), MOST_MESSAGES);
        assert!(messages[11].contains("\nThis is message 12 within an hour. What comes now is told after "));
        assert!(!messages[10].contains("within an hour"));
        let rest = outbox.due(at(3605)).expect("there is room again");
        assert!(rest.text.starts_with("17 earlier ones are left out.\nnews 29.\n"), "{}", rest.text);
        assert_eq!((rest.subject.as_str(), rest.text.lines().count()), ("47 alerts", 1 + MOST_NEWS + 2));
    }

    #[test]
    fn what_cannot_be_told_for_days_takes_no_more_room() {
        let mut outbox = outbox();
        (0..100_000).for_each(|second| outbox.add(news("news"), at(second)));
        assert_eq!((outbox.news.len(), outbox.left_out), (MOST_NEWS, 100_000 - MOST_NEWS as u64));
    }

    #[test]
    fn a_long_subject_is_cut_at_a_character() {
        assert!(cut(&"я".repeat(300)).chars().count() == LONGEST_SUBJECT / 2 + 1);
        assert_eq!(cut("short"), "short");
    }
}
