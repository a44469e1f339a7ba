//! Lets many threads share requests: each hands in its items and waits for their replies. The thread that may send next
//! takes the waiting items, its own or not, sends them in one request and hands the replies out. Meanwhile the next
//! request fills.
//!
//! It knows neither what an item is nor how it is sent: a [`Carrier`] does.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// A thread checks its items this often even if nobody wakes it.
const LOOK: Duration = Duration::from_secs(1);

/// What carries items.
pub trait Carrier {
    /// What is handed in.
    type Item;
    /// What comes back for each.
    type Reply: Clone;

    /// Whether another request may start while so many items wait and so many requests are under way.
    fn may_start(&self, waiting: usize, under_way: usize) -> bool;

    /// Waits until the next request may be sent. Only one thread at a time waits here; `waiting` returns how many items
    /// wait by now.
    ///
    /// # Errors
    /// Nothing more is sent: the error is the reply to every waiting item.
    fn await_permit(&self, waiting: &dyn Fn() -> usize, under_way: usize) -> Result<(), Self::Reply>;

    /// How many of the first of `items` go in one request, while `waiting` items wait in all; at least one does.
    fn share<'a>(&self, items: impl Iterator<Item = &'a Self::Item>, waiting: usize) -> usize
    where
        Self::Item: 'a;

    /// Sends them in one request.
    fn carry(&self, items: Vec<Self::Item>) -> Carried<Self::Reply>;

    /// The reply to an item whose request ended in a panic.
    fn broken(&self) -> Self::Reply;
}

/// The outcome of a request.
pub struct Carried<R> {
    /// One for each item, in order.
    pub replies: Vec<R>,
    /// The reply to everything else that waits, when asking further would be useless.
    pub to_the_rest: Option<R>,
}

/// The items of all threads.
pub struct Combiner<I, R>(Mutex<State<I, R>>);

struct State<I, R> {
    waiting: VecDeque<Waiting<I, R>>,
    /// Requests that are being sent or answered.
    under_way: usize,
    /// A thread waits for a permit.
    gathering: bool,
}

struct Waiting<I, R> {
    item: I,
    place: usize,
    ticket: Arc<Ticket<R>>,
}

/// Puts items among those that wait.
type Place<I, R> = fn(&mut VecDeque<Waiting<I, R>>, std::vec::IntoIter<Waiting<I, R>>);

/// What a thread waits for.
struct Ticket<R> {
    owner: Thread,
    /// The owner is sending a request, with its own items or others', so waking it is useless.
    busy: AtomicBool,
    missing: AtomicUsize,
    replies: Mutex<Vec<Option<R>>>,
}

impl<R> Ticket<R> {
    fn give(&self, place: usize, reply: R) {
        if let Some(slot) = lock(&self.replies).get_mut(place) {
            *slot = Some(reply);
        }
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.owner.unpark();
        }
    }
}

impl<I, R> Default for Combiner<I, R> {
    fn default() -> Combiner<I, R> {
        Combiner(Mutex::new(State { waiting: VecDeque::new(), under_way: 0, gathering: false }))
    }
}

impl<I, R: Clone> Combiner<I, R> {
    /// Hands the items in and waits for their replies, which come in order. The carrier's deadlines end the wait.
    pub fn run(&self, carrier: &impl Carrier<Item = I, Reply = R>, items: Vec<I>) -> Vec<R> {
        self.hand_in(carrier, items, VecDeque::extend)
    }

    /// The same, but the items go before all waiting ones.
    pub fn run_first(&self, carrier: &impl Carrier<Item = I, Reply = R>, items: Vec<I>) -> Vec<R> {
        self.hand_in(carrier, items, |waiting, items| items.rev().for_each(|item| waiting.push_front(item)))
    }

    fn hand_in(&self, carrier: &impl Carrier<Item = I, Reply = R>, items: Vec<I>, place: Place<I, R>) -> Vec<R> {
        let ticket = Arc::new(Ticket {
            owner: thread::current(),
            busy: AtomicBool::new(false),
            missing: AtomicUsize::new(items.len()),
            replies: Mutex::new(items.iter().map(|_| None).collect()),
        });
        let items = items.into_iter().enumerate();
        let items: Vec<_> = items.map(|(place, item)| Waiting { item, place, ticket: Arc::clone(&ticket) }).collect();
        place(&mut lock(&self.0).waiting, items.into_iter());
        while ticket.missing.load(Ordering::Acquire) > 0 {
            if !self.send_next(carrier, &ticket) {
                thread::park_timeout(LOOK);
            }
        }
        let replies = std::mem::take(&mut *lock(&ticket.replies));
        replies.into_iter().map(|reply| reply.unwrap_or_else(|| carrier.broken())).collect()
    }

    /// Sends one request, when one may be sent.
    fn send_next(&self, carrier: &impl Carrier<Item = I, Reply = R>, ticket: &Ticket<R>) -> bool {
        let Some(under_way) = lock(&self.0).start_gathering(carrier) else { return false };
        ticket.busy.store(true, Ordering::Release);
        let await_permit = AssertUnwindSafe(|| carrier.await_permit(&|| lock(&self.0).waiting.len(), under_way));
        let permit = catch_unwind(await_permit).unwrap_or_else(|_| Err(carrier.broken()));
        let taken = lock(&self.0).take(carrier, permit.as_ref().err());
        if !taken.is_empty() {
            let (items, places): (Vec<I>, Vec<_>) =
                taken.into_iter().map(|waiting| (waiting.item, (waiting.ticket, waiting.place))).unzip();
            let carried = catch_unwind(AssertUnwindSafe(|| carrier.carry(items)));
            let broken = |_| Carried { replies: vec![carrier.broken(); places.len()], to_the_rest: None };
            let Carried { replies, to_the_rest } = carried.unwrap_or_else(broken);
            lock(&self.0).end(carrier, to_the_rest.as_ref());
            places.into_iter().zip(replies).for_each(|((ticket, place), reply)| ticket.give(place, reply));
        }
        ticket.busy.store(false, Ordering::Release);
        true
    }
}

impl<I, R: Clone> State<I, R> {
    fn may_start(&self, carrier: &impl Carrier<Item = I, Reply = R>) -> bool {
        !self.gathering && !self.waiting.is_empty() && carrier.may_start(self.waiting.len(), self.under_way)
    }

    /// How many requests are under way, if the caller should send the next one.
    fn start_gathering(&mut self, carrier: &impl Carrier<Item = I, Reply = R>) -> Option<usize> {
        let starts = self.may_start(carrier);
        self.gathering |= starts;
        starts.then_some(self.under_way)
    }

    /// Takes the items of the next request; none when everything that waits is answered with `instead`.
    fn take(&mut self, carrier: &impl Carrier<Item = I, Reply = R>, instead: Option<&R>) -> Vec<Waiting<I, R>> {
        self.gathering = false;
        if let Some(reply) = instead {
            self.give_up(reply);
        }
        // Meanwhile another request may have ended with a reply to everything that waits.
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let items = self.waiting.iter().map(|waiting| &waiting.item);
        let share = carrier.share(items, self.waiting.len()).clamp(1, self.waiting.len());
        self.under_way += 1;
        let taken = self.waiting.drain(..share).collect();
        self.wake_next(carrier);
        taken
    }

    fn end(&mut self, carrier: &impl Carrier<Item = I, Reply = R>, to_the_rest: Option<&R>) {
        self.under_way -= 1;
        if let Some(reply) = to_the_rest {
            self.give_up(reply);
        }
        self.wake_next(carrier);
    }

    fn give_up(&mut self, reply: &R) {
        self.waiting.drain(..).for_each(|waiting| waiting.ticket.give(waiting.place, reply.clone()));
    }

    /// Wakes one thread that has items here, so that it sends the next request if one may be sent.
    fn wake_next(&self, carrier: &impl Carrier<Item = I, Reply = R>) {
        if self.may_start(carrier) {
            let idle = self.waiting.iter().find(|waiting| !waiting.ticket.busy.load(Ordering::Acquire));
            idle.inspect(|waiting| waiting.ticket.owner.unpark());
        }
    }
}

/// The data under these locks is whole between two steps, also when a thread panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
