//! The last reading of the error queue, kept for a few minutes, so that turning a page does not read the queue again.
//!
//! Reading takes every message without an ack, and a quorum queue counts that. So one reading runs at a time, nothing
//! is read without a request, and whoever has waited for another one's reading gets that. It answers no request itself.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Serialize;

use super::away;
use crate::config::Config;
use crate::monitor::problem::{CURSOR_EXPIRED, Problem, QUEUE_IS_BEING_READ, REPLAY_IS_RUNNING};
use crate::monitor::{query, time};
use crate::parked::groups::Groups;
use crate::parked::queue;
use crate::parked::replay;
use crate::parked::summary::{CauseGroup, Summary};
use crate::stop::Stop;

/// So many messages are kept; the others are counted.
const MOST: usize = 10_000;
/// How long a reading is kept for further pages.
pub const KEPT: Duration = Duration::from_secs(300);
/// A reading that is as new as this is not repeated.
pub const FRESH: Duration = Duration::from_secs(2);
/// After a reading for a list the queue is left alone for so many times as long as that has taken, whoever asks.
const LIST_REST: u32 = 10;
/// After any other reading it is left alone by those who only look, for as long as that has taken, and so long at
/// least.
const LEAST_REST: Duration = Duration::from_millis(500);
/// How long a request waits for another one's reading.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same when a replay reads, which may take minutes.
const PATIENCE_WITH_A_REPLAY: Duration = Duration::from_secs(1);
/// How long a reading for a request may take. The messages that it has not reached are not listed.
pub const READING_TIME: Duration = Duration::from_secs(15);

/// Which messages a list has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Those of this cause.
    pub cause: Option<&'a str>,
    /// Those of this system.
    pub system: Option<&'a str>,
    /// Those with this text in them.
    pub text: Option<&'a str>,
}

/// A page of a list, the oldest message first.
#[derive(Debug, Serialize)]
pub struct List {
    snapshot_at: String,
    total: u64,
    items: Vec<Summary>,
    next_cursor: Option<String>,
    complete: bool,
}

/// The messages counted by cause and system.
#[derive(Debug, Serialize)]
pub struct Causes {
    snapshot_at: String,
    total: u64,
    causes: Vec<CauseGroup>,
}

/// The last reading, and whose turn it is to read.
#[derive(Debug)]
pub struct Shelf {
    /// Holds one token; whoever takes it may read the queue.
    turn: (Sender<()>, Receiver<()>),
    kept: Mutex<Option<Reading>>,
    readings: AtomicU64,
    /// Until then the queue is left alone by those who only look.
    rests_until: Arc<Mutex<Option<Instant>>>,
    /// A replay holds messages of the queue, which a reading would not see.
    held: Arc<AtomicBool>,
}

/// The right to take messages from the error queue; goes back when it is dropped.
pub struct Turn {
    back: Sender<()>,
    held: Arc<AtomicBool>,
    since: Instant,
    /// Shall those who only look leave the queue alone afterwards?
    is_reading: bool,
    rests_until: Arc<Mutex<Option<Instant>>>,
}

impl Turn {
    /// From now on messages are held for long: lists are answered from the last reading, and others do not wait.
    pub fn hold(&mut self) {
        self.is_reading = false;
        self.held.store(true, Ordering::Relaxed);
    }

    fn give_back(mut self) {
        self.is_reading = false;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_reading {
            let rest = self.since.elapsed().clamp(LEAST_REST, READING_TIME);
            *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + rest);
        }
        self.held.store(false, Ordering::Relaxed);
        let _ = self.back.try_send(());
    }
}

/// Messages of the last reading that fit.
#[derive(Debug)]
pub struct Fitting {
    /// The oldest first.
    pub messages: Vec<Summary>,
    /// There are no others, or as many as were wanted.
    pub complete: bool,
}

#[derive(Debug)]
struct Reading {
    /// Tells it from another one, for cursors.
    number: u64,
    started: Instant,
    took: Duration,
    at: String,
    /// All messages that were read, kept or not.
    total: u64,
    /// All messages that were there were read, and are kept.
    complete: bool,
    /// The oldest first, each with its place, which stays when others go.
    items: Vec<(usize, Summary)>,
    causes: Vec<CauseGroup>,
}

impl Default for Shelf {
    fn default() -> Shelf {
        let turn = bounded(1);
        let _ = turn.0.try_send(());
        Shelf {
            turn,
            kept: Mutex::default(),
            readings: AtomicU64::new(0),
            rests_until: Arc::default(),
            held: Arc::default(),
        }
    }
}

impl Shelf {
    /// A page of the list behind this cursor, of `limit` messages at most. Without a cursor the queue is read.
    ///
    /// # Errors
    /// [`CURSOR_EXPIRED`], or those of [`Shelf::refresh`].
    pub fn list(
        &self,
        (config, stop): (&Config, &Stop),
        filter: Filter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<List, Problem> {
        if cursor.is_none() {
            self.refresh(config, stop, FRESH)?;
        }
        let kept = self.kept();
        let expired = || Problem::new(CURSOR_EXPIRED, "start with the first page again");
        let reading = kept.as_ref().ok_or_else(expired)?;
        let from = match cursor {
            None => 0,
            Some(cursor) => reading.place(cursor).ok_or_else(expired)?,
        };
        Ok(reading.page(filter, limit, from))
    }

    /// The messages counted by cause and system, the most frequent first.
    ///
    /// # Errors
    /// Those of [`Shelf::refresh`].
    pub fn causes(&self, config: &Config, stop: &Stop) -> Result<Causes, Problem> {
        self.refresh(config, stop, FRESH)?;
        let kept = self.kept();
        let Some(Reading { at, total, causes, .. }) = &*kept else {
            return Ok(Causes { snapshot_at: time::now(), total: 0, causes: Vec::new() });
        };
        Ok(Causes { snapshot_at: at.clone(), total: *total, causes: causes.clone() })
    }

    /// The messages that fit, the oldest first, with so many at most that can be replayed, from a reading that is no
    /// older than `fresh`. Those that cannot be replayed do not use up the limit: they would be in the way again and
    /// again.
    ///
    /// # Errors
    /// Those of [`Shelf::refresh`].
    pub fn fitting(
        &self,
        (config, stop): (&Config, &Stop),
        fits: impl Fn(&Summary) -> bool,
        limit: usize,
        fresh: Duration,
    ) -> Result<Fitting, Problem> {
        self.refresh(config, stop, fresh)?;
        let kept = self.kept();
        let nothing = Fitting { messages: Vec::new(), complete: false };
        Ok(kept.as_ref().map_or(nothing, |reading| reading.fitting(fits, limit)))
    }

    /// Reads the queue, unless the kept reading is newer than `fresh`, or was made while this request waited. While a
    /// replay holds messages the kept one stays: what is held is in it.
    ///
    /// # Errors
    /// [`QUEUE_IS_BEING_READ`], [`REPLAY_IS_RUNNING`], or that the queue cannot be read.
    pub fn refresh(&self, config: &Config, stop: &Stop, fresh: Duration) -> Result<(), Problem> {
        let asked = Instant::now();
        let is_new_enough = |reading: &Reading| reading.started >= asked || reading.is_fresh(fresh);
        if self.kept().as_ref().is_some_and(|reading| self.is_held() || is_new_enough(reading)) {
            return Ok(());
        }
        let _turn = match self.turn() {
            // A replay was quicker.
            Err(_) if self.is_held() && self.kept().is_some() => return Ok(()),
            turn => turn?,
        };
        if self.kept().as_ref().is_some_and(is_new_enough) {
            return Ok(());
        }
        let number = self.readings.fetch_add(1, Ordering::Relaxed) + 1;
        let reading = Reading::of(config, stop, number).map_err(|err| away(&err))?;
        *self.kept() = Some(reading);
        Ok(())
    }

    /// As [`Shelf::turn`], for a request that changes nothing and may come again and again: waits, too, until the queue
    /// has been left alone for a while.
    ///
    /// # Errors
    /// As [`Shelf::turn`].
    pub fn turn_to_look(&self, stop: &Stop) -> Result<Turn, Problem> {
        let end = Instant::now() + PATIENCE;
        loop {
            let turn = self.turn_within(end.saturating_duration_since(Instant::now()))?;
            let until = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
            let left = until.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
            if left.is_zero() {
                return Ok(turn);
            }
            turn.give_back();
            if Instant::now() + left > end || stop.pause(left) {
                return Err(Problem::new(QUEUE_IS_BEING_READ, "others look at it, too; try again in a few seconds"));
            }
        }
    }

    /// Waits for the right to take messages from the error queue.
    ///
    /// # Errors
    /// [`QUEUE_IS_BEING_READ`] or [`REPLAY_IS_RUNNING`]
    pub fn turn(&self) -> Result<Turn, Problem> {
        self.turn_within(PATIENCE)
    }

    fn turn_within(&self, patience: Duration) -> Result<Turn, Problem> {
        let patience = if self.is_held() { PATIENCE_WITH_A_REPLAY.min(patience) } else { patience };
        let (back, tokens) = &self.turn;
        match tokens.recv_timeout(patience) {
            Ok(()) => Ok(Turn {
                back: back.clone(),
                held: Arc::clone(&self.held),
                since: Instant::now(),
                is_reading: true,
                rests_until: Arc::clone(&self.rests_until),
            }),
            Err(_) if self.is_held() => {
                Err(Problem::new(REPLAY_IS_RUNNING, "it holds messages of the queue; wait for its end, or stop it"))
            }
            Err(_) => Err(Problem::new(QUEUE_IS_BEING_READ, format!("it has not ended within {PATIENCE:?}"))),
        }
    }

    /// Does a replay hold messages?
    fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// A message has left the queue.
    pub fn gone(&self, etag: &str) {
        if let Some(reading) = &mut *self.kept() {
            reading.remove(etag);
        }
    }

    /// The kept reading is forgotten when it is old. To be called now and then.
    pub fn forget_old(&self) {
        drop(self.kept());
    }

    fn kept(&self) -> MutexGuard<'_, Option<Reading>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_held() && kept.as_ref().is_some_and(|reading| reading.started.elapsed() > KEPT) {
            *kept = None;
        }
        kept
    }
}

impl Reading {
    /// Is it not to be repeated yet for whom a reading as new as this will do?
    fn is_fresh(&self, fresh: Duration) -> bool {
        let rest = fresh.max(self.took * LIST_REST);
        !fresh.is_zero() && self.started.elapsed() < self.took + rest
    }

    fn fitting(&self, fits: impl Fn(&Summary) -> bool, limit: usize) -> Fitting {
        let (mut messages, mut replayable) = (Vec::new(), 0);
        for (_, item) in self.items.iter().filter(|(_, item)| fits(item)) {
            if replayable == limit {
                break;
            }
            replayable += usize::from(item.replayable);
            messages.push(item.clone());
        }
        Fitting { messages, complete: self.complete || replayable == limit }
    }

    fn of(config: &Config, stop: &Stop, number: u64) -> anyhow::Result<Reading> {
        let (started, at) = (Instant::now(), time::now());
        let (mut items, mut groups, mut total) = (Vec::new(), Groups::default(), 0);
        // Before, somebody else's reading may have been waited for.
        let mut first_at = None;
        let browsed = queue::look(config, stop, READING_TIME, |entry| {
            total += 1;
            first_at.get_or_insert_with(Instant::now);
            groups.add((entry.about.error_type.clone(), entry.about.system.clone()), &entry);
            if items.len() < MOST {
                items.push(Summary::of(&entry, replay::target(config, &entry).is_ok()));
            }
            Ok(())
        })?;
        let complete = browsed.end == queue::End::All && items.len() as u64 == total;
        // Those without a time are last. The order is that of the queue otherwise.
        items.sort_by(|a, b| (a.parked_at.is_none(), &a.parked_at).cmp(&(b.parked_at.is_none(), &b.parked_at)));
        let causes = groups.largest_first().into_iter().map(|(key, group)| CauseGroup::of(key, group)).collect();
        let took = first_at.map(|first_at| first_at.elapsed()).unwrap_or_default();
        let items = items.into_iter().enumerate().collect();
        Ok(Reading { number, started, took, at, total, complete, items, causes })
    }

    fn page(&self, filter: Filter, limit: usize, from: usize) -> List {
        let fits = |item: &Summary| item.fits(filter.cause, filter.system, filter.text);
        let fitting = || self.items.iter().filter(|(_, item)| fits(item));
        let is_filtered = [filter.cause, filter.system, filter.text].iter().any(Option::is_some);
        let total = if is_filtered { fitting().count() as u64 } else { self.total };
        let mut rest = fitting().skip_while(|(place, _)| *place < from);
        let items = rest.by_ref().take(limit).map(|(_, item)| item.clone()).collect();
        let next_cursor = rest.next().map(|(place, _)| query::cursor(&format!("{}/{place}", self.number)));
        List { snapshot_at: self.at.clone(), total, items, next_cursor, complete: self.complete }
    }

    /// The place that a cursor of this reading names.
    fn place(&self, cursor: &str) -> Option<usize> {
        let (number, place) = cursor.split_once('/')?;
        place.parse().ok().filter(|_| number.parse() == Ok(self.number))
    }

    fn remove(&mut self, etag: &str) {
        let Some(at) = self.items.iter().position(|(_, item)| item.etag == etag) else { return };
        let (_, item) = self.items.remove(at);
        self.total = self.total.saturating_sub(1);
        for group in &mut self.causes {
            if (&group.cause, &group.system) == (&item.cause, &item.system) {
                group.count = group.count.saturating_sub(1);
            }
        }
        self.causes.retain(|group| group.count > 0);
        self.causes.sort_by_key(|group| Reverse(group.count));
    }
}

#[cfg(test)]
mod tests;
