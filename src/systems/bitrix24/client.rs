//! Calls a Bitrix24 portal: one call plainly, many as batches that all threads share. It keeps to the portal's request
//! limit and finds out how many requests at once serve best.
//!
//! It knows URLs, encodings and the form of the portal's answers. What an answer means for a task is decided by
//! [`super::handler`] and [`super::tracker`], what an error means by [`super::errors`].

mod parcel;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub use parcel::{Call, MayGo, Pace, Parcel};
use serde_json::Value;

use super::combiner::{Carried, Carrier, Combiner};
use super::cool_downs::CoolDowns;
use super::errors::{ApiError, Kind};
use super::learnt::Learnt;
use super::rate_limiter::RateLimiter;
use super::{Settings, Webhook, batch, preamble};
use crate::backoff;
use crate::http::{Answer, Http, Method, NoAnswer, Request};
use crate::stats::histogram::Requests;
use crate::stop::Stop;
use crate::tls::RootCertificates;

/// The cloud cuts a request at 60 s; a batch is sized to stay far below, since its speed changes.
const BATCH_TIME: Duration = Duration::from_secs(15);
/// How often the worker waits and repeats after a refusal for too many requests, before the caller hears of it.
const REFUSALS: u32 = 5;
/// After so many requests in a row without an answer, the next one will have none either.
const MOST_UNANSWERED: u32 = 2;
/// Where requests are scarce, a request waits this long for more calls, and again while they keep coming.
const MOMENT: Duration = Duration::from_millis(20);
const MOST_MOMENTS: u32 = 10;
/// While the worker stops, it waits for a permit only if it comes within this time.
const SOON: Duration = Duration::from_secs(5);

/// A portal, seen through one webhook.
pub struct Client {
    http: Http,
    webhook: Webhook,
    rate_limiter: RateLimiter,
    cool_downs: CoolDowns,
    request_timeout: Duration,
    /// The calls of all threads that wait for a request.
    outbox: Combiner<Parcel, Reply>,
    /// The most calls in one request; fewer after an answer that was too large to be read.
    most_calls: AtomicUsize,
    /// What the last requests have shown about the portal. Shared by all threads that call it.
    learnt: Mutex<Learnt>,
    /// The warning about text before the JSON of the portal's answers has been logged.
    preamble_is_logged: AtomicBool,
    stop: Stop,
}

/// The whole reply: an object with `result` and mostly with `time`.
pub type Reply = Result<Value, ApiError>;

impl Client {
    /// A client for the portal of these settings, with up to `most` unfinished requests at once.
    pub fn new(settings: &Settings, root_certificates: &RootCertificates, most: usize, stop: &Stop) -> Client {
        Client {
            http: Http::new(settings.request_timeout, root_certificates),
            webhook: settings.webhook.clone(),
            rate_limiter: RateLimiter::new(settings.rate, settings.burst),
            cool_downs: CoolDowns::default(),
            request_timeout: settings.request_timeout,
            outbox: Combiner::default(),
            most_calls: AtomicUsize::new(batch::LARGEST),
            learnt: Mutex::new(Learnt::new(most)),
            preamble_is_logged: AtomicBool::new(false),
            stop: stop.clone(),
        }
    }

    /// Whether a portal without a request limit answers so fast that a request costs more than the calls in it.
    pub fn is_fast(&self) -> bool {
        !self.rate_limiter.limited() && self.learnt().is_fast()
    }

    /// Whether requests are scarce.
    pub fn is_limited(&self) -> bool {
        self.rate_limiter.limited()
    }

    /// The requests to the portal.
    pub fn requests(&self) -> &Requests {
        self.http.requests()
    }

    /// The share of the request budget that is left; `None` where requests are not limited.
    pub fn budget_left(&self) -> Option<f64> {
        self.rate_limiter.limited().then(|| self.rate_limiter.left(Instant::now()))
    }

    /// How long each method that has been called must not be called yet.
    pub fn cool_downs(&self) -> Vec<(&'static str, Duration)> {
        self.cool_downs.all(Instant::now())
    }

    /// How many requests may be under way at once.
    pub fn concurrency(&self) -> usize {
        self.learnt().concurrency()
    }

    /// Makes one call, in a request of its own, so the reply is about this call alone.
    ///
    /// # Errors
    /// [`ApiError`], which says whether the call may have had an effect.
    pub fn call(&self, call: &Call) -> Reply {
        let replies = self.outbox.run(self, vec![Parcel::alone(call.clone())]);
        replies.into_iter().next().unwrap_or_else(|| self.broken())
    }

    /// The same for a call that goes only while it may; otherwise the error is [`Kind::Outdated`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_while(&self, call: &Call, may_go: MayGo, pace: Pace) -> Reply {
        let parcel = Parcel { may_go: Some(may_go), ..Parcel::alone(call.clone()) };
        self.send_while(vec![parcel], pace).into_iter().next().unwrap_or_else(|| self.broken())
    }

    /// The same for many calls, which share requests as in [`Client::call_to_finish`].
    pub fn call_all_while(&self, calls: Vec<(Call, MayGo)>, pace: Pace) -> Vec<Reply> {
        let parcel = |(call, may_go)| Parcel { may_go: Some(may_go), ..Parcel::shared(call) };
        self.send_while(calls.into_iter().map(parcel).collect(), pace)
    }

    fn send_while(&self, mut waiting: Vec<Parcel>, pace: Pace) -> Vec<Reply> {
        match pace {
            Pace::Queued => return self.outbox.run(self, waiting),
            // A permit comes soon, and many calls may be late together: they then share requests.
            Pace::AtOnce if self.rate_limiter.permits_come_within(self.request_timeout) => {
                return self.outbox.run_first(self, waiting);
            }
            Pace::AtOnce => {}
        }
        let mut replies = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let share = self.share(waiting.iter(), waiting.len()).clamp(1, waiting.len());
            // The calls after it pay for it: they wait longer.
            self.rate_limiter.take(Instant::now());
            let Carried { replies: carried, to_the_rest } = self.carry(waiting.drain(..share).collect());
            replies.extend(carried);
            if let Some(reply) = to_the_rest {
                replies.extend(waiting.drain(..).map(|_| reply.clone()));
            }
        }
        replies
    }

    /// Makes many calls that do not depend on each other, of any methods; one result for each, in order. They share
    /// requests with the calls of other threads, see [`ApiError::in_batch`]. They finish what was started, so they go
    /// before calls that start something.
    pub fn call_to_finish(&self, calls: Vec<Call>) -> Vec<Reply> {
        self.outbox.run_first(self, calls.into_iter().map(Parcel::shared).collect())
    }

    /// Makes many calls in as few requests as possible. They do not go before others.
    pub fn call_in_bulk(&self, calls: Vec<Call>) -> Vec<Reply> {
        let parcel = |call: Call| Parcel { bulk: true, ..Parcel::shared(call) };
        self.outbox.run(self, calls.into_iter().map(parcel).collect())
    }

    /// The same for calls that many tasks wait for. Where requests are not limited they go before all others, in
    /// requests of their own, so that no other call delays them. Where requests are scarce they queue like the others:
    /// meanwhile more tasks come and share the next request. The time is when the first of them was sent: their replies
    /// are that old.
    pub fn call_first(&self, calls: Vec<Call>) -> (Vec<Reply>, Instant) {
        let sent = Arc::new(OnceLock::new());
        let note: MayGo = Arc::new({
            let sent = Arc::clone(&sent);
            move || *sent.get_or_init(Instant::now) <= Instant::now()
        });
        let share = self.rate_limiter.limited() || self.is_fast();
        let parcel = |call: Call| if share { Parcel::shared(call) } else { Parcel::alone(call) };
        let parcels =
            calls.into_iter().map(|call| Parcel { may_go: Some(Arc::clone(&note)), ..parcel(call) }).collect();
        let replies = match self.rate_limiter.limited() {
            true => self.outbox.run(self, parcels),
            false => self.outbox.run_first(self, parcels),
        };
        (replies, *sent.get_or_init(Instant::now))
    }

    /// Sends these in one request; a single one goes plainly: that is the fastest way, and its errors say the most.
    fn send(&self, parcels: &[Parcel]) -> Carried<Reply> {
        let (replies, err) = match parcels {
            [parcel] => {
                let reply = self.plain(parcel);
                let err = reply.as_ref().err().cloned();
                (vec![reply], err)
            }
            parcels => match self.batch(parcels) {
                Ok(replies) => (replies, None),
                // None of the commands has run. Each is sent alone, to show which of them is to blame.
                Err(err) if err.kind == Kind::Refused => (self.one_by_one(parcels), None),
                Err(err) => (vec![Err(err.clone()); parcels.len()], Some(err)),
            },
        };
        let to_the_rest = err.filter(|err| self.next_would_fail(err)).map(|err| Err(not_sent(&err)));
        Carried { replies, to_the_rest }
    }

    /// Whether the next request will fail too. A request without an answer may have been slow because of its own calls.
    fn next_would_fail(&self, err: &ApiError) -> bool {
        match err.kind {
            Kind::Unreachable | Kind::TooFast | Kind::Blocked => true,
            Kind::Unknown => self.learnt().unanswered() >= MOST_UNANSWERED,
            Kind::CoolingDown | Kind::Configuration | Kind::Refused | Kind::Outdated => false,
        }
    }

    fn one_by_one(&self, parcels: &[Parcel]) -> Vec<Reply> {
        let mut failed = None;
        let send = |parcel: &Parcel| {
            if let Some(err) = &failed {
                return Err(not_sent(err));
            }
            let reply = self.permit().and_then(|()| self.plain(parcel));
            failed = reply.as_ref().err().filter(|err| self.next_would_fail(err)).cloned();
            reply
        };
        parcels.iter().map(send).collect()
    }

    fn plain(&self, parcel: &Parcel) -> Reply {
        let call = &parcel.call;
        let body = serde_json::to_vec(call).expect("parameters are JSON values");
        self.learn(call.method, self.request(call.method, &body, std::slice::from_ref(parcel)))
    }

    fn batch(&self, parcels: &[Parcel]) -> Result<Vec<Reply>, ApiError> {
        let body = batch::body(parcels.iter().filter_map(|parcel| parcel.command.as_deref()));
        let methods: Vec<&'static str> = parcels.iter().map(|parcel| parcel.call.method).collect();
        let mut reply = self.request("batch", &body, parcels)?;
        let mut results = reply["result"].take();
        let result = |(index, method): (usize, &&'static str)| {
            self.learn(method, batch::result(&mut results, index).map_err(|err| err.of(method)))
        };
        Ok(methods.iter().enumerate().map(result).collect())
    }

    fn may_call(&self, parcel: &Parcel) -> Result<(), ApiError> {
        let method = parcel.call.method;
        match self.cool_downs.rest(method, Instant::now()) {
            None if parcel.may_go() => Ok(()),
            None => Err(outdated()),
            Some(rest) => {
                let text =
                    format!("{method}: not called for {rest:.0?}: it has used up its running time at the portal");
                Err(ApiError::new(Kind::CoolingDown, text).cooling_down(rest))
            }
        }
    }

    fn learn(&self, method: &'static str, result: Reply) -> Reply {
        let now = Instant::now();
        self.cool_downs.note(method, &result, now);
        result.map_err(|err| err.cooling_down(self.cool_downs.rest(method, now).unwrap_or_default()))
    }

    /// Sends one HTTP request; the caller has a permit for it. A refusal for too many requests had no effect: the
    /// request waits here and is repeated.
    fn request(&self, method: &'static str, body: &[u8], parcels: &[Parcel]) -> Reply {
        let url = self.webhook.url(method);
        let calls: Vec<&'static str> = parcels.iter().map(|parcel| parcel.call.method).collect();
        for refusal in 1.. {
            // All calls are sent or none: the commands were written together.
            if !parcels.iter().all(Parcel::may_go) {
                return Err(outdated());
            }
            let started = Instant::now();
            let answer = self.http.send(Request::new(Method::POST, &url).json(body).counted_as(method));
            let took = started.elapsed();
            let result = match answer {
                Ok(Answer { status, body, .. }) => {
                    reply(status, &self.webhook.hide_token(body), |before| self.log_preamble_once(before))
                }
                Err(NoAnswer::NotSent(why)) => Err(ApiError::new(Kind::Unreachable, why)),
                Err(NoAnswer::Unknown(why)) => Err(ApiError::new(Kind::Unknown, why)),
                Err(NoAnswer::TooLarge(why)) => {
                    // One call cannot be made smaller.
                    if calls.len() > 1 {
                        self.most_calls.fetch_min(calls.len() / 2, Ordering::Relaxed);
                    }
                    Err(ApiError::new(Kind::Unknown, why))
                }
            };
            self.learnt().note(&calls, took, &result);
            match result {
                Err(err) if err.kind == Kind::TooFast && refusal <= REFUSALS && !self.stop.raised() => {
                    let pause = backoff::delay(refusal, Duration::from_secs(1), Duration::from_secs(8));
                    log::warn!("{method}: {err}; all requests to the portal wait {pause:?}");
                    self.rate_limiter.refused(Instant::now(), pause);
                    self.permit()?;
                }
                result => {
                    let outcome = if result.is_ok() { "answered" } else { "failed" };
                    log::debug!("{method} with {} calls {outcome} in {took:.0?}", calls.len());
                    return result.map_err(|err| err.of(method));
                }
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Said once: a portal that sends it may send it with every answer.
    fn log_preamble_once(&self, before: &[u8]) {
        if !self.preamble_is_logged.swap(true, Ordering::Relaxed) {
            log::warn!("{}; logged once", preamble::describe(before));
        }
    }

    /// Waits until the rate limiter gives a permit. When the worker stops, unfinished calls still go on, unless the
    /// permit is too far away.
    fn permit(&self) -> Result<(), ApiError> {
        let pause = self.rate_limiter.take(Instant::now());
        let permit = Instant::now() + pause;
        if pause.is_zero() || !self.stop.pause(pause) {
            return Ok(());
        }
        let rest = permit.saturating_duration_since(Instant::now());
        if rest > SOON {
            return Err(ApiError::new(Kind::Unreachable, "not sent: the worker stops".into()));
        }
        let _ = crossbeam_channel::after(rest).recv();
        Ok(())
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carrier for Client {
    type Item = Parcel;
    type Reply = Reply;

    fn may_start(&self, _: usize, under_way: usize) -> bool {
        self.learnt().may_start(under_way)
    }

    /// Where requests are scarce, a request waits for calls that keep coming, one moment after another: records are
    /// confirmed in small groups, and each group would use up a request. While few requests are sent, a single call
    /// goes at once.
    fn await_permit(&self, waiting: &dyn Fn() -> usize, under_way: usize) -> Result<(), Reply> {
        self.permit().map_err(Err)?;
        let mut before = 0;
        for _ in 0..if self.rate_limiter.limited() { MOST_MOMENTS } else { 0 } {
            let waiting = waiting();
            if (waiting <= 1 && under_way == 0 && self.rate_limiter.is_rested(Instant::now()))
                || waiting >= batch::LARGEST
                || waiting == before
            {
                break;
            }
            before = waiting;
            let _ = crossbeam_channel::after(MOMENT).recv();
        }
        Ok(())
    }

    fn share<'a>(&self, items: impl Iterator<Item = &'a Parcel>, waiting: usize) -> usize {
        let learnt = self.learnt();
        let mut items = items.peekable();
        let bulk = items.peek().is_some_and(|parcel| parcel.bulk);
        let most = self.most_calls.load(Ordering::Relaxed);
        // A batch runs its commands one after another: where requests are not limited, side by side is faster.
        let spread = !bulk && !self.rate_limiter.limited() && !learnt.is_fast();
        let most = if spread { most.min(waiting.div_ceil(learnt.concurrency())) } else { most };
        let alike = items.take_while(|parcel| self.rate_limiter.limited() || parcel.bulk == bulk);
        let commands = alike.map_while(|parcel| Some((parcel.call.method, parcel.command.as_deref()?)));
        let time = BATCH_TIME.min(self.request_timeout / 2);
        batch::fitting(commands, most, time, |method| learnt.expected(method, time))
    }

    fn carry(&self, parcels: Vec<Parcel>) -> Carried<Reply> {
        // While they waited, a method may have started to cool down, or a look-up may have become too old.
        let unsent: Vec<Option<ApiError>> = parcels.iter().map(|parcel| self.may_call(parcel).err()).collect();
        let (go, stay): (Vec<_>, Vec<_>) = parcels.into_iter().zip(&unsent).partition(|(_, unsent)| unsent.is_none());
        drop(stay);
        let go: Vec<Parcel> = go.into_iter().map(|(parcel, _)| parcel).collect();
        if go.is_empty() {
            self.rate_limiter.take_back_permit();
            return Carried { replies: unsent.into_iter().flatten().map(Err).collect(), to_the_rest: None };
        }
        let Carried { replies, to_the_rest } = self.send(&go);
        let mut replies = replies.into_iter();
        let reply = |unsent: Option<ApiError>| match unsent {
            Some(err) => Err(err),
            None => replies.next().unwrap_or_else(|| self.broken()),
        };
        Carried { replies: unsent.into_iter().map(reply).collect(), to_the_rest }
    }

    fn broken(&self) -> Reply {
        Err(ApiError::new(Kind::Unknown, "the request broke off; worker_errors.log says where".into()))
    }
}

fn outdated() -> ApiError {
    ApiError::new(Kind::Outdated, "not sent: it had to wait too long, or another worker may have its message".into())
}

/// The error of calls that are not sent after this error. A portal that is blocked gets a long pause.
fn not_sent(err: &ApiError) -> ApiError {
    let kind = if err.kind == Kind::Blocked { Kind::Blocked } else { Kind::Unreachable };
    ApiError::new(kind, format!("not sent, since another request failed: {err}"))
}

/// The reply in an answer, or its error. `tell` is given what stands before the JSON, if anything does.
fn reply(status: u16, body: &[u8], tell: impl Fn(&[u8])) -> Result<Value, ApiError> {
    let Some((reply, before)) = preamble::read(body) else { return Err(ApiError::from_page(status, body)) };
    if !before.is_empty() {
        tell(before);
    }
    if status == 200 && reply.get("error").is_none() && reply.get("result").is_some() {
        return Ok(reply);
    }
    Err(ApiError::from_reply(status, &reply))
}

#[cfg(test)]
mod tests;
