//! What people pressed and is not settled yet. Telegram keeps the presses until it is told, by the number of the next
//! one, that all before are settled; so only what is settled in a row is told, and a crash loses none. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::buttons::{self, Verdict};
use super::client::Place;
use crate::message::text;

/// When so many sweeps in a row have missed the record of a press, the person is told that the task is not open.
const MISSED: u32 = 3;
/// A press counts as one of a task that was answered before when its record is missing for so long, too: each further
/// press leads to a sweep, and the record of this one may wait for room at RabbitMQ.
const KEPT: Duration = Duration::from_secs(300);

/// A button that somebody has pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Press {
    /// Its number, for the answer to the person.
    pub id: String,
    /// Who it was.
    pub person: i64,
    /// That person's name.
    pub name: String,
    /// The message with the button; too old a one is not shown.
    pub place: Option<Place>,
    /// What the button says.
    pub verdict: Verdict,
    /// Of which task, see [`buttons::key`].
    pub key: String,
    /// What it is worth for its task, once the record of that was found.
    pub worth: Worth,
}

/// What a press is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Worth {
    /// No record has said so yet.
    #[default]
    Unknown,
    /// It is the answer.
    Counts,
    /// The answer is this one, which came before.
    TooLate(Verdict),
}

/// An update that Telegram still keeps.
#[derive(Debug)]
enum Update {
    Settled,
    Pressed(Pressed),
}

#[derive(Debug)]
struct Pressed {
    press: Press,
    /// When Telegram has told it.
    since: Instant,
    /// Its task's record has come up in this sweep.
    found: bool,
    /// Sweeps in a row in which it has not.
    missed: u32,
}

/// The updates that Telegram still keeps, as far as they are known.
#[derive(Debug, Default)]
pub struct Updates {
    /// Below this all are settled.
    offset: i64,
    known: BTreeMap<i64, Update>,
}

impl Updates {
    /// What to ask for next.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Takes in a reply to `getUpdates`, and returns the presses that are new. What is none of ours is settled. `None`:
    /// it is no such reply.
    pub fn take(&mut self, reply: &Value, now: Instant) -> Option<Vec<Press>> {
        let mut new = Vec::new();
        for update in reply.as_array()? {
            let number = update["update_id"].as_i64()?;
            if number < self.offset {
                // Telegram gives none of these while it counts on: it has started again, and keeps none of the others.
                *self = Updates::default();
            }
            if self.known.contains_key(&number) {
                continue;
            }
            let update = match press(&update["callback_query"]) {
                Some(press) => {
                    new.push(press.clone());
                    Update::Pressed(Pressed { press, since: now, found: false, missed: 0 })
                }
                None => Update::Settled,
            };
            self.known.insert(number, update);
        }
        self.advance();
        Some(new)
    }

    /// For the record of a task: the first press of one of its buttons, which counts. However long its response takes,
    /// it is not missed.
    pub fn of_record(&mut self, key: &str, is_its_own: impl Fn(&Press) -> bool) -> Option<Press> {
        let mut presses = self.pressed().filter(|pressed| pressed.press.key == key && is_its_own(&pressed.press));
        let first = presses.next()?;
        first.found = true;
        first.press.worth = Worth::Counts;
        let press = first.press.clone();
        for later in presses {
            later.found = true;
            later.press.worth = Worth::TooLate(press.verdict);
        }
        Some(press)
    }

    /// Settles the presses of which this is so, and returns them.
    pub fn settle(&mut self, is_settled: impl Fn(&Press) -> bool) -> Vec<Press> {
        self.settle_if(|pressed| is_settled(&pressed.press))
    }

    /// A sweep is over. Returns the presses whose record enough sweeps in a row have missed by now. After a while they
    /// are settled.
    pub fn missed(&mut self, now: Instant) -> Vec<Press> {
        let mut missed = Vec::new();
        self.settle_if(|pressed| {
            let found = std::mem::take(&mut pressed.found);
            pressed.missed = if found { 0 } else { pressed.missed + 1 };
            if pressed.missed == MISSED {
                missed.push(pressed.press.clone());
            }
            pressed.missed >= MISSED && now.saturating_duration_since(pressed.since) >= KEPT
        });
        missed
    }

    fn settle_if(&mut self, mut is_settled: impl FnMut(&mut Pressed) -> bool) -> Vec<Press> {
        let mut settled = Vec::new();
        for update in self.known.values_mut() {
            if let Update::Pressed(pressed) = update
                && is_settled(pressed)
            {
                settled.push(pressed.press.clone());
                *update = Update::Settled;
            }
        }
        self.advance();
        settled
    }

    fn pressed(&mut self) -> impl Iterator<Item = &mut Pressed> {
        self.known.values_mut().filter_map(|update| match update {
            Update::Pressed(pressed) => Some(pressed),
            Update::Settled => None,
        })
    }

    fn advance(&mut self) {
        while let Some(first) = self.known.first_entry().filter(|first| matches!(first.get(), Update::Settled)) {
            self.offset = first.key() + 1;
            first.remove();
        }
    }
}

fn press(query: &Value) -> Option<Press> {
    let (verdict, key) = buttons::read(query["data"].as_str()?)?;
    let (from, message) = (&query["from"], &query["message"]);
    let place = message["chat"]["id"].as_i64().zip(message["message_id"].as_i64());
    let names = ["first_name", "last_name"].iter().filter_map(|name| text(&from[*name]));
    Some(Press {
        id: text(&query["id"])?,
        person: from["id"].as_i64()?,
        name: names.collect::<Vec<_>>().join(" "),
        place: place.map(|(chat, message)| Place { chat, message }),
        verdict,
        key: key.to_owned(),
        worth: Worth::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn update(number: i64, data: &str) -> Value {
        json!({"update_id": number, "callback_query": {
            "id": format!("q{number}"), "from": {"id": 7, "first_name": "Анна"}, "data": data,
            "message": {"message_id": 5, "chat": {"id": -1}},
        }})
    }

    fn taken(updates: &mut Updates, reply: &[Value]) -> Vec<String> {
        let new = updates.take(&json!(reply), Instant::now()).expect("a reply");
        new.into_iter().map(|press| press.id).collect()
    }

    #[test]
    fn only_what_is_settled_in_a_row_is_told() {
        let mut updates = Updates::default();
        let reply = [update(10, "yes:a"), update(11, "no:b"), update(12, "done:c")];
        assert_eq!(taken(&mut updates, &reply), ["q10", "q11", "q12"]);
        let verdict = |updates: &mut Updates, key| updates.of_record(key, |_| true).map(|press| press.verdict);
        assert_eq!(verdict(&mut updates, "b"), Some(Verdict::No));
        updates.settle(|press| press.key == "b");
        assert_eq!((updates.offset(), verdict(&mut updates, "b")), (0, None));
        // Telegram shows all of them again; none is news.
        assert_eq!(taken(&mut updates, &reply), [""; 0]);
        updates.settle(|press| press.key == "a");
        assert_eq!(updates.offset(), 12);
        assert_eq!(taken(&mut updates, &reply[2..]), [""; 0]);
        assert_eq!(verdict(&mut updates, "c"), Some(Verdict::Done));
    }

    #[test]
    fn what_is_none_of_ours_holds_nothing_up() {
        let mut updates = Updates::default();
        assert!(taken(&mut updates, &[json!({"update_id": 3, "message": {}}), update(4, "menu:1")]).is_empty());
        assert_eq!(updates.offset(), 5);
        assert_eq!(updates.take(&json!({"no": "list"}), Instant::now()), None);
    }

    #[test]
    fn a_press_without_a_record_is_told_after_some_sweeps_and_given_up_after_minutes() {
        let mut updates = Updates::default();
        taken(&mut updates, &[update(1, "yes:a")]);
        let now = Instant::now();
        let told = [1, 2, 3, 4].map(|_| updates.missed(now).len());
        assert_eq!((told, updates.offset()), ([0, 0, 1, 0], 0), "many people press, each press leads to a sweep");
        assert!(updates.of_record("a", |_| true).is_some(), "its record was late");
        assert_eq!((updates.missed(now + KEPT).len(), updates.offset()), (0, 0));
        let told = [1, 2, 3].map(|_| updates.missed(now + KEPT).len());
        assert_eq!((told, updates.offset()), ([0, 0, 1], 2));
    }
}
