//! From what was seen, look by look, to what is told. Pure: it knows no clock, and not how anybody is told.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::Moment;
use super::episode::{Episode, Pace, Sight};
use super::seen::{LaneSeen, Seen};
use super::words::{News, What};
use crate::stats::condition::Obstacle;
use crate::stats::span;

/// So many looks a parked message waits for its name: RabbitMQ may be slow to confirm it, and some name no task.
const LOOKS_FOR_A_NAME: u32 = 3;

/// Of a task's id, in characters.
const LONGEST_ID: usize = 100;

/// What was seen so far.
#[derive(Debug)]
pub struct Watch {
    pace: Pace,
    unanswered_after: Duration,
    /// What is wrong now, or was a moment ago.
    episodes: BTreeMap<Key, Episode>,
    lanes: HashMap<&'static str, LaneBefore>,
}

/// A condition of one system, or of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    system: Option<&'static str>,
    what: What,
}

/// A lane in which nothing moves.
#[derive(Debug)]
struct Standstill {
    since: Instant,
    progress: u64,
    /// The number of the last sweep at that time.
    sweep: u64,
}

/// The conditions of one look, each with why it is there, or an example.
type Sights = BTreeMap<Key, (Sight, Option<String>)>;

/// A lane at the looks before.
#[derive(Debug)]
struct LaneBefore {
    /// The number at the look before, and the one that is counted already. A message is counted one look late, or a
    /// few: when RabbitMQ has confirmed it, it is known which one it was.
    parked: (u64, u64),
    /// So many looks it has waited for that.
    nameless: u32,
    /// The number of the last parked task, and what it is called until it is counted.
    last_parked: (u64, Option<String>),
    /// Since when something waits and nothing moves.
    standstill: Standstill,
    /// Tasks that were seen without an answer.
    unanswered: HashMap<String, Unanswered>,
}

/// A task without an answer.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    /// When it was seen first.
    since: Instant,
    /// When it was seen last.
    last: Instant,
}

impl Watch {
    /// Nothing was seen.
    pub fn new(pace: Pace, unanswered_after: Duration) -> Watch {
        Watch { pace, unanswered_after, episodes: BTreeMap::new(), lanes: HashMap::new() }
    }

    /// What is to be told after this look.
    pub fn look(&mut self, seen: &Seen, now: Moment) -> Vec<News> {
        let mut sights = Sights::new();
        for lane in &seen.lanes {
            self.look_at(lane, now, &mut sights);
        }
        sights.insert(Key { system: None, what: What::Lost }, (Sight::Amount(seen.lost), None));
        for key in sights.iter().filter(|(_, (sight, _))| !is_nothing(*sight)).map(|(key, _)| key) {
            self.episodes.entry(*key).or_insert_with(|| Episode::new(now));
        }
        let mut news = Vec::new();
        for (key, episode) in &mut self.episodes {
            let sight = sights.remove(key);
            let (sight, detail) = sight.map_or((None, None), |(sight, detail)| (Some(sight), detail));
            if let Some(telling) = episode.see(sight, now, &self.pace) {
                news.push(key.what.news(key.system, telling, episode.since, detail.as_deref()));
            }
        }
        self.episodes.retain(|_, episode| !episode.is_over(now));
        news
    }

    fn look_at(&mut self, lane: &LaneSeen, now: Moment, sights: &mut Sights) {
        let before = self.lanes.entry(lane.system).or_insert_with(|| LaneBefore::new(lane, now));
        let key = |what| Key { system: Some(lane.system), what };
        // A target whose budget is used up is not away, even if the lane waits for it.
        let is_told = |obstacle: &Obstacle| *obstacle != Obstacle::Target || lane.budget.is_none();
        for (obstacle, why) in lane.obstacles.iter().filter(|(obstacle, _)| is_told(obstacle)) {
            let (key, why) = match obstacle {
                Obstacle::NoSession => (Key { system: None, what: What::NoBroker }, by(lane.system, why)),
                Obstacle::Alarm => (Key { system: None, what: What::Alarm }, by(lane.system, why)),
                Obstacle::FullQueue => (key(What::FullQueue), why.clone()),
                Obstacle::Paused => (key(What::Paused), why.clone()),
                Obstacle::Target => (key(What::Away), why.clone()),
            };
            // All lanes lose the broker together: one of them says why.
            sights.entry(key).or_insert((Sight::Stands, Some(why)));
        }
        if let Some(why) = &lane.budget {
            sights.insert(key(What::BudgetUsedUp), (Sight::Stands, Some(why.clone())));
        }
        if before.standstill.is_stalled(lane, now, self.pace.stalled) {
            let waits = format!("{} taken and {} in the queue wait", lane.has, lane.queued);
            sights.insert(key(What::Stalled), (Sight::Stands, Some(waits)));
        }
        sights.insert(key(What::Parked), before.parked(lane));
        sights.insert(key(What::Unanswered), before.unanswered(lane, now, self.unanswered_after));
    }
}

impl LaneBefore {
    fn new(lane: &LaneSeen, now: Moment) -> LaneBefore {
        LaneBefore {
            parked: (0, 0),
            nameless: 0,
            last_parked: (0, None),
            standstill: Standstill::new(lane, now),
            unanswered: HashMap::new(),
        }
    }

    fn parked(&mut self, lane: &LaneSeen) -> (Sight, Option<String>) {
        let (before, counted) = self.parked;
        let (known, called) = &mut self.last_parked;
        if let Some(last) = lane.last_parked.as_ref().filter(|last| last.number != *known) {
            (*known, *called) = (last.number, Some(format!("task {}, {}", cut(&last.id), last.cause)));
        }
        let due = before - counted;
        let waits = due > 0 && called.is_none() && self.nameless < LOOKS_FOR_A_NAME;
        self.nameless = if waits { self.nameless + 1 } else { 0 };
        let happened = if waits { 0 } else { due };
        self.parked = (lane.parked, counted + happened);
        // A message that names no task has no such name, and must not get that of another one.
        let detail = called.take_if(|_| happened > 0).map(|called| match happened {
            1 => called,
            _ => format!("the last one is {called}"),
        });
        (Sight::Happened(happened), detail)
    }

    /// A sweep that has not seen every task says nothing of those that it does not list. Such a one is forgotten when
    /// it is not listed for as long as it may lack its answer, so that there are never many.
    fn unanswered(&mut self, lane: &LaneSeen, now: Moment, patience: Duration) -> (Sight, Option<String>) {
        for task in &lane.swept.unanswered {
            self.unanswered.entry(task.id.clone()).or_insert(Unanswered { since: now.at, last: now.at }).last = now.at;
        }
        let is_for = |since: Instant| now.at.saturating_duration_since(since) >= patience;
        let is_whole = lane.swept.has_all_unanswered;
        self.unanswered.retain(|_, task| task.last == now.at || (!is_whole && !is_for(task.last)));
        let late = self.unanswered.iter().filter(|(_, task)| is_for(task.since));
        let oldest = late.clone().min_by_key(|(id, task)| (task.since, *id));
        let detail = oldest.map(|(id, _)| format!("for {} or longer, such as task {}", span(patience), cut(id)));
        (Sight::Amount(late.count() as u64), detail)
    }
}

impl Standstill {
    fn new(lane: &LaneSeen, now: Moment) -> Standstill {
        Standstill { since: now.at, progress: lane.progress, sweep: lane.swept.number }
    }

    /// Something waits, nothing keeps the lane from working, and nothing moves.
    fn is_stalled(&mut self, lane: &LaneSeen, now: Moment, patience: Duration) -> bool {
        let waits = lane.has > 0 || lane.queued > 0;
        if lane.progress != self.progress || !waits || !lane.obstacles.is_empty() {
            *self = Standstill::new(lane, now);
        }
        // The number in the queue may be as old as the last sweep, so two sweeps must have seen it since.
        let is_known = lane.has > 0 || lane.swept.number >= self.sweep + 2;
        is_known && now.at.saturating_duration_since(self.since) >= patience
    }
}

/// A reason that another lane may have as well.
fn by(system: &str, why: &str) -> String {
    format!("{system}: {why}")
}

fn is_nothing(sight: Sight) -> bool {
    matches!(sight, Sight::Happened(0) | Sight::Amount(0))
}

fn cut(id: &str) -> String {
    id.chars().take(LONGEST_ID).collect()
}

#[cfg(test)]
mod tests;
