//! What happened lately: what operators have done, and the warnings and errors of the log, in a ring.
//!
//! It starts with the last lines of the log, so that the history survives a restart. It decides nothing, and holds its
//! lock for an instant only: every thread that logs a warning comes by.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use log::Level;
use serde::Serialize;

use crate::config::Config;
use crate::logging::{self, OPERATOR};
use crate::redact::clean;
use crate::systems::table;

/// So many are kept.
const KEPT: usize = 500;
/// The longest text of an event, in characters; the log has the whole line.
const LONGEST_TEXT: usize = 1_000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Counts from 1 since the start.
    pub number: u64,
    /// When it happened.
    #[serde(serialize_with = "super::time::iso")]
    pub at: DateTime<Utc>,
    /// How bad it is.
    pub level: Severity,
    /// Who tells of it.
    pub kind: Kind,
    /// The system that it is about.
    pub system: Option<&'static str>,
    /// The name of the operator's token.
    pub by: Option<String>,
    /// A sentence, without secrets.
    pub text: String,
}

/// How bad an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As meant.
    Info,
    /// Something to know.
    Warning,
    /// Something to do.
    Error,
}

/// Who tells of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An operator has done something.
    Operator,
    /// A line of the log.
    Log,
}

/// A part of the events, the oldest first.
#[derive(Debug, Serialize)]
pub struct Excerpt {
    /// The number of the oldest event that is kept; 0 without events.
    pub first: u64,
    /// The number of the newest event; 0 without events.
    pub last: u64,
    /// Those that were asked for.
    pub events: Vec<Event>,
}

/// The last events.
#[derive(Debug, Default)]
pub struct Events(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Event>,
    last: u64,
}

impl Events {
    /// Those of the last run, and of this one from now on. Without a monitor nobody would see them.
    pub fn start(config: &Config) -> Arc<Events> {
        let events = Arc::new(Events::default());
        if config.monitor.is_none() {
            return events;
        }
        // The log of the first run is just being made.
        let lines = config.log_dir.as_deref().and_then(|folder| logging::history::last_lines(folder).ok());
        let lines = lines.unwrap_or_default();
        lines.into_iter().for_each(|line| events.remember(line.at, line.level, &line.thread, &line.text));
        let watched = Arc::clone(&events);
        logging::watch(Box::new(move |level, thread, text| watched.remember(Utc::now(), level, thread, text)));
        events
    }

    /// An operator has done this; it is logged too. `by` is the name of the token. A text about a system starts with
    /// its name and a colon, by which it is known after a restart.
    pub fn operator(&self, by: &str, text: &str) {
        logging::audit(by, text);
        self.push(Utc::now(), Severity::Info, Kind::Operator, system_of("", text), Some(by.to_owned()), &clean(text));
    }

    /// Up to `limit` events behind this number; without one the newest.
    pub fn after(&self, number: Option<u64>, limit: usize) -> Excerpt {
        let ring = self.lock();
        let skipped = match number {
            Some(number) => ring.events.iter().take_while(|event| event.number <= number).count(),
            None => ring.events.len().saturating_sub(limit),
        };
        Excerpt {
            first: ring.events.front().map_or(0, |event| event.number),
            last: ring.last,
            events: ring.events.iter().skip(skipped).take(limit).cloned().collect(),
        }
    }

    /// Those whose text names this.
    pub fn naming(&self, id: &str) -> Vec<Event> {
        self.lock().events.iter().filter(|event| event.text.contains(id)).cloned().collect()
    }

    /// The number of the newest event; 0 without events.
    pub fn last(&self) -> u64 {
        self.lock().last
    }

    /// Remembers a line of the log, if it is one for operators.
    fn remember(&self, at: DateTime<Utc>, level: Level, thread: &str, text: &str) {
        let system = system_of(thread, text);
        match level {
            Level::Error => self.push(at, Severity::Error, Kind::Log, system, None, text),
            Level::Warn => self.push(at, Severity::Warning, Kind::Log, system, None, text),
            // Of a former run: this one pushes its own.
            _ => {
                if let Some((by, text)) = text.strip_prefix(OPERATOR).and_then(|rest| rest.split_once("): ")) {
                    self.push(at, Severity::Info, Kind::Operator, system_of("", text), Some(by.to_owned()), text);
                }
            }
        }
    }

    fn push(
        &self,
        at: DateTime<Utc>,
        level: Severity,
        kind: Kind,
        system: Option<&'static str>,
        by: Option<String>,
        text: &str,
    ) {
        let text = text.chars().take(LONGEST_TEXT).collect();
        let mut ring = self.lock();
        ring.last += 1;
        let number = ring.last;
        if ring.events.len() == KEPT {
            ring.events.pop_front();
        }
        ring.events.push_back(Event { number, at, level, kind, system, by, text });
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The system whose thread has written the line, or that the line starts with: `bitrix24: …`.
fn system_of(thread: &str, text: &str) -> Option<&'static str> {
    let is_of = |name: &&str| {
        let starts = |text: &str, end: char| {
            text.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(end))
        };
        starts(thread, '/') || starts(text, ':')
    };
    table::names().into_iter().find(is_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(excerpt: &Excerpt) -> Vec<u64> {
        excerpt.events.iter().map(|event| event.number).collect()
    }

    #[test]
    fn the_ring_keeps_the_newest_and_numbers_go_on() {
        let events = Events::default();
        assert_eq!((events.after(None, 5).first, events.last()), (0, 0));
        (0..KEPT + 10).for_each(|_| events.remember(Utc::now(), Level::Warn, "bitrix24/3", "text"));
        let newest = events.after(None, 2);
        assert_eq!((newest.first, newest.last, numbers(&newest)), (11, 510, vec![509, 510]));
        assert_eq!(numbers(&events.after(Some(20), 3)), [21, 22, 23]);
        // Some of them are gone.
        assert_eq!(numbers(&events.after(Some(0), 1)), [11]);
        assert!(numbers(&events.after(Some(510), 5)).is_empty());
        assert!(numbers(&events.after(Some(9_999), 5)).is_empty());
    }

    #[test]
    fn warnings_errors_and_actions_are_events_and_other_lines_are_not() {
        let events = Events::default();
        let (at, remember) = (Utc::now(), |level, thread, text| events.remember(Utc::now(), level, thread, text));
        remember(Level::Info, "1c", "started");
        remember(Level::Error, "1c/tracker", "broken");
        remember(Level::Warn, "heartbeat", "email: waits");
        remember(Level::Info, "monitor/3", "operator (control): email: paused, it is late");
        let all = events.after(None, 10).events;
        let seen: Vec<_> = all
            .iter()
            .map(|event| (event.level, event.kind, event.system, event.by.as_deref(), &*event.text))
            .collect();
        assert_eq!(
            seen,
            [
                (Severity::Error, Kind::Log, Some("1c"), None, "broken"),
                (Severity::Warning, Kind::Log, Some("email"), None, "email: waits"),
                (Severity::Info, Kind::Operator, Some("email"), Some("control"), "email: paused, it is late"),
            ]
        );
        assert!(all.iter().all(|event| event.at >= at));
        assert_eq!(events.naming("late").len(), 1);
    }
}
