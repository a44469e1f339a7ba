//! What keeps a lane from working: since when, why, how many messages wait, and when the next try is.
//!
//! Nothing is decided by it; it is for people.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Local, Utc};

use super::{Counter, span};

/// What may keep a lane from working. Of several the first in this order is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// There is no session with RabbitMQ.
    NoSession,
    /// RabbitMQ takes no messages.
    Alarm,
    /// A queue takes no messages: what is to be published to it waits.
    FullQueue,
    /// Somebody has paused the lane.
    Paused,
    /// The target is not available, or our settings for it are wrong.
    Target,
}

impl Obstacle {
    fn name(self) -> &'static str {
        match self {
            Obstacle::NoSession => "no session with RabbitMQ",
            Obstacle::Alarm => "held by RabbitMQ",
            Obstacle::FullQueue => "waiting for room",
            Obstacle::Paused => "paused by command",
            Obstacle::Target => "paused",
        }
    }
}

/// The state of one lane.
#[derive(Debug, Default)]
pub struct Condition {
    /// Locked for an instant only, by the lane and by the heartbeat.
    state: Mutex<State>,
    /// Messages that the lane has taken and cannot work on.
    pub waiting: Counter,
    /// Messages in the system's queue at the last sweep.
    pub queued: Counter,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    obstacles: Vec<Standing>,
}

/// An obstacle as the faces of the monitor show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which one.
    pub obstacle: Obstacle,
    /// Since when, by the wall clock.
    pub since: DateTime<Utc>,
    /// For how long.
    pub lasts: Duration,
    /// Its reason.
    pub why: String,
    /// Until the next try; `None`: something else ends it.
    pub next_try: Option<Duration>,
}

#[derive(Debug)]
struct Standing {
    obstacle: Obstacle,
    since: (DateTime<Local>, Instant),
    why: String,
    next_try: Option<Instant>,
}

impl Condition {
    /// The lane has had its first session.
    pub fn start(&self) {
        self.lock().started = true;
    }

    /// Has the lane had a session yet?
    pub fn has_started(&self) -> bool {
        self.lock().started
    }

    /// The obstacle is there, from now on or still; `next_try` is the time until the next try.
    pub fn stands(&self, obstacle: Obstacle, why: &str, next_try: Option<Duration>) {
        let mut state = self.lock();
        let before = state.obstacles.iter().position(|standing| standing.obstacle == obstacle);
        let since = before.map(|index| state.obstacles.swap_remove(index).since);
        let now = Instant::now();
        state.obstacles.push(Standing {
            obstacle,
            since: since.unwrap_or_else(|| (Local::now(), now)),
            why: why.to_owned(),
            next_try: next_try.map(|pause| now + pause),
        });
    }

    /// The obstacle is gone.
    pub fn is_over(&self, obstacle: Obstacle) {
        self.lock().obstacles.retain(|standing| standing.obstacle != obstacle);
    }

    /// Is there no obstacle?
    pub fn is_clear(&self) -> bool {
        self.lock().obstacles.is_empty()
    }

    /// The obstacle that is shown, if there is one.
    pub fn shown(&self) -> Option<Shown> {
        let state = self.lock();
        let Standing { obstacle, since: (at, since), why, next_try } =
            state.obstacles.iter().min_by_key(|standing| standing.obstacle)?;
        Some(Shown {
            obstacle: *obstacle,
            since: at.to_utc(),
            lasts: since.elapsed(),
            why: why.clone(),
            next_try: next_try.map(|at| at.saturating_duration_since(Instant::now())),
        })
    }

    /// The line about the obstacle, if there is one.
    pub fn line(&self, system: &str) -> Option<String> {
        let state = self.lock();
        let Standing { obstacle, since: (at, since), why, next_try } =
            state.obstacles.iter().min_by_key(|standing| standing.obstacle)?;
        let next_try = next_try.map(|at| at.saturating_duration_since(Instant::now()));
        let next_try = match next_try {
            Some(pause) if pause.is_zero() => "trying again now".into(),
            Some(pause) => format!("next try in {}", span(pause)),
            None => "until it says otherwise".into(),
        };
        let (name, at, lasts) = (obstacle.name(), at.format("%H:%M:%S"), span(since.elapsed()));
        let (waiting, queued) = (self.waiting.get(), self.queued.get());
        Some(format!(
            "{system} {name} since {at} ({lasts}), {next_try}; {waiting} taken and {queued} in the queue wait: {why}"
        ))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_since_when_why_how_many_wait_and_when_it_is_tried_again() {
        let condition = Condition::default();
        assert_eq!((condition.line("bitrix24"), condition.is_clear()), (None, true));
        condition.waiting.set(12);
        condition.queued.set(340);
        condition.stands(Obstacle::Target, "http status: 503", Some(Duration::from_secs(3600)));
        let line = condition.line("bitrix24").expect("there is an obstacle");
        assert!(line.starts_with("bitrix24 paused since "), "{line}");
        assert!(line.ends_with("next try in 59m59s; 12 taken and 340 in the queue wait: http status: 503"), "{line}");
        assert!(line.contains(" (0s), "), "{line}");
    }

    #[test]
    fn a_repeated_obstacle_keeps_its_first_time_and_the_worst_one_is_shown() {
        let condition = Condition::default();
        condition.stands(Obstacle::Target, "one", None);
        let since = condition.lock().obstacles[0].since;
        condition.stands(Obstacle::Target, "two", None);
        assert_eq!(condition.lock().obstacles[0].since, since);
        condition.stands(Obstacle::NoSession, "three", None);
        assert!(condition.line("x").expect("two obstacles").ends_with("three"));
        condition.is_over(Obstacle::NoSession);
        assert!(condition.line("x").expect("one obstacle").ends_with("two"));
        condition.is_over(Obstacle::Target);
        assert!(condition.is_clear());
    }
}
