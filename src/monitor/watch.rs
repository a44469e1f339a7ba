//! Looks at the queues from outside, for the faces: how many messages wait, and how many consumers there are.
//!
//! It has a thread and a connection of its own, and looks only while somebody asks: passive declares, every few
//! seconds. No message is taken from a queue. A broker that hangs keeps nobody waiting: what is not known is not told.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::hub::Hub;
use crate::logging;
use crate::rabbitmq::connection::Connection;
use crate::rabbitmq::queues::{self, Found};
use crate::stop::Stop;

/// Between two looks, while somebody asks.
const PAUSE: Duration = Duration::from_secs(4);
/// Somebody who has asked may ask again within this time.
const ASKED: Duration = Duration::from_secs(90);
/// An older look says nothing of now.
const FRESH: Duration = Duration::from_secs(12);
/// Who asks first waits this long for the first look.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the minute's numbers are noted, if nobody asks.
const MINUTE: Duration = Duration::from_secs(60);
/// The worker waits this long for the end of a look.
const LONGEST_END: Duration = Duration::from_secs(2);

/// What was seen at the queues, and who wants to know.
#[derive(Debug)]
pub struct Looks {
    seen: Mutex<Seen>,
    /// A look is done, well or not.
    looked: Condvar,
    /// Room for one: wakes the thread.
    asked: (Sender<()>, Receiver<()>),
}

#[derive(Debug, Default)]
struct Seen {
    /// There is a thread that looks.
    is_watched: bool,
    /// When somebody asked last.
    asked: Option<Instant>,
    /// When the last look ended, well or not.
    ended: Option<Instant>,
    /// When the last look ended well.
    at: Option<(Instant, DateTime<Utc>)>,
    queues: HashMap<String, Found>,
    /// Since when each queue that has messages has had some at every look.
    waits: HashMap<String, Instant>,
}

/// A queue as it was seen last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What was there; `None`: it is not known, or there is no such queue.
    pub found: Option<Found>,
    /// When it was seen last; `None`: never.
    pub checked_at: Option<DateTime<Utc>>,
    /// For how long there have been messages at every look.
    pub waits_for: Option<Duration>,
}

impl Default for Looks {
    fn default() -> Looks {
        Looks { seen: Mutex::default(), looked: Condvar::new(), asked: bounded(1) }
    }
}

impl Looks {
    /// Somebody wants to know. The first one waits a moment for the first look; while looks fail, nobody waits.
    pub fn ask(&self) {
        let now = Instant::now();
        let mut seen = self.lock();
        seen.asked = Some(now);
        let _ = self.asked.0.try_send(());
        let is_old = |seen: &mut Seen| seen.is_watched && seen.ended.is_none_or(|ended| ended + FRESH < now);
        if is_old(&mut seen) {
            drop(self.looked.wait_timeout_while(seen, PATIENCE, is_old));
        }
    }

    /// How this queue was seen last.
    pub fn of(&self, queue: &str) -> Look {
        let seen = self.lock();
        let Some((at, checked_at)) = seen.at else { return Look::default() };
        let checked_at = Some(checked_at);
        if at.elapsed() > FRESH {
            return Look { checked_at, ..Look::default() };
        }
        let waits_for = seen.waits.get(queue).map(Instant::elapsed);
        Look { found: seen.queues.get(queue).copied(), checked_at, waits_for }
    }

    fn is_asked(&self) -> bool {
        self.lock().asked.is_some_and(|asked| asked.elapsed() < ASKED)
    }

    /// A look has ended; `None`: it has failed.
    fn note(&self, names: &[&str], found: Option<Vec<Option<Found>>>) {
        let now = Instant::now();
        let mut seen = self.lock();
        seen.ended = Some(now);
        if let Some(found) = found {
            seen.at = Some((now, Utc::now()));
            for (name, found) in names.iter().zip(found) {
                match found {
                    Some(found) => drop(seen.queues.insert((*name).to_owned(), found)),
                    None => drop(seen.queues.remove(*name)),
                }
                match found.is_some_and(|found| found.ready > 0) {
                    true => drop(seen.waits.entry((*name).to_owned()).or_insert(now)),
                    false => drop(seen.waits.remove(*name)),
                }
            }
        }
        drop(seen);
        self.looked.notify_all();
    }

    /// Nobody has looked for a while, so nothing is known of the time between.
    fn rest(&self) {
        self.lock().waits.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that looks. When this is dropped, after the stop signal, the thread has ended, or hangs in a call to a
/// broker that does not answer: the worker does not wait for that.
#[derive(Debug)]
pub struct Watching(Receiver<()>);

/// Looks while somebody asks, and notes the numbers of each minute, until the stop signal.
///
/// # Errors
/// There is no thread to spare.
pub fn start(hub: Arc<Hub>, stop: Stop) -> io::Result<Watching> {
    let (done, ended) = bounded(1);
    thread::Builder::new().name("monitor/queues".into()).spawn(move || {
        hub.looks.lock().is_watched = true;
        run(&hub, &stop);
        hub.looks.lock().is_watched = false;
        drop(done);
    })?;
    Ok(Watching(ended))
}

impl Drop for Watching {
    fn drop(&mut self) {
        // Nothing is ever sent: it is the end of the other side.
        let _: Result<(), _> = self.0.recv_timeout(LONGEST_END);
    }
}

fn run(hub: &Hub, stop: &Stop) {
    let names = hub.queues();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut connection = None;
    loop {
        hub.note_minute();
        hub.parked.forget_old();
        // A level that lets few lines through would not end by a line.
        logging::level();
        let pause = match hub.looks.is_asked() {
            true => {
                hub.looks.note(&names, look(hub, &mut connection, &names));
                PAUSE
            }
            false => {
                connection.take().map(Connection::close);
                hub.looks.rest();
                MINUTE
            }
        };
        // While looks are made anyway, who asks need not wake us.
        let asked = if pause == MINUTE { hub.looks.asked.1.clone() } else { crossbeam_channel::never() };
        select! {
            recv(stop.receiver()) -> _ => break,
            recv(asked) -> _ => {},
            default(pause) => {},
        }
        let _ = hub.looks.asked.1.try_recv();
    }
    connection.map(Connection::close);
}

/// `None`: the broker does not answer, or not in time. The lanes say why.
fn look(hub: &Hub, connection: &mut Option<Connection>, names: &[&str]) -> Option<Vec<Option<Found>>> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(&hub.config.rabbitmq, "task-creator: monitor")
            .inspect_err(|err| log::debug!("the monitor sees no queue: {err}"))
            .ok()?,
    };
    let found = open.within_deadline(|open| queues::look_at_all(open, names));
    match found {
        Ok(found) => {
            *connection = Some(open);
            Some(found)
        }
        Err(err) => {
            log::debug!("the monitor sees no queue: {err}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: Found = Found { ready: 3, consumers: 1 };

    #[test]
    fn a_failed_look_keeps_nobody_waiting_and_what_is_old_is_not_told() {
        let looks = Looks::default();
        looks.lock().is_watched = true;
        looks.note(&["a"], None);
        let started = Instant::now();
        looks.ask();
        assert!(started.elapsed() < PATIENCE / 2);
        assert_eq!(looks.of("a"), Look::default());
        looks.note(&["a", "b"], Some(vec![Some(FOUND), None]));
        assert_eq!((looks.of("a").found, looks.of("b").found), (Some(FOUND), None));
        assert!(looks.of("b").checked_at.is_some() && looks.of("a").waits_for.is_some());
        if let Some((at, _)) = &mut looks.lock().at {
            *at -= FRESH * 2;
        }
        let old = looks.of("a");
        assert_eq!((old.found, old.checked_at.is_some(), old.waits_for), (None, true, None));
    }

    #[test]
    fn a_queue_waits_since_the_first_look_that_has_seen_messages() {
        let looks = Looks::default();
        looks.note(&["a"], Some(vec![Some(FOUND)]));
        let since = looks.lock().waits["a"];
        looks.note(&["a"], Some(vec![Some(FOUND)]));
        assert_eq!(looks.lock().waits["a"], since);
        looks.note(&["a"], Some(vec![Some(Found { ready: 0, ..FOUND })]));
        assert_eq!(looks.of("a").waits_for, None);
    }
}
