//! Faults to order: what goes wrong, at which calls, and how often. Pure bookkeeping: it neither waits nor answers, see
//! [`Memory`](super::Memory).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::request::Call;

/// In place of a method's name: every call, plain or in a batch. A batch itself is none.
pub const ANY_CALL: &str = "*";
/// In place of a method's name: every HTTP request, before its method and its token are read. A [`Memory`] without a
/// server gets none.
///
/// [`Memory`]: super::Memory
pub const ANY_REQUEST: &str = "HTTP";

/// Whether the portal has done the call when the fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing was done. The call is not executed, unless the fault is a delay.
    Before,
    /// It was done; the answer is lost or replaced.
    After,
}

/// What goes wrong. A fault of a request concerns all of it: a batch too, after the commands that ran before.
#[derive(Clone, Debug)]
pub enum What {
    /// An error. With status 200 it is a success with an error in it; in a batch it has no status.
    Refuse {
        /// The status of a plain call's answer.
        status: u16,
        /// `error`.
        code: Cow<'static, str>,
        /// `error_description`.
        text: Cow<'static, str>,
    },
    /// A success with this `result`.
    Result(Value),
    /// Any answer, such as a gateway's page.
    Raw {
        /// HTTP status.
        status: u16,
        /// The body's type.
        content_type: &'static str,
        /// As it is sent.
        body: Vec<u8>,
    },
    /// The connection ends without an answer.
    Close,
    /// The same with RST.
    Reset,
    /// The head, and half of the body that it promised.
    Half,
    /// No answer for this time, or until [`Memory::release`](super::Memory::release); then the connection ends.
    Hang(Option<Duration>),
    /// The call succeeds later.
    Delay(Duration),
}

impl What {
    /// An error with its status, code and text.
    pub fn refuse(status: u16, code: &'static str, text: &'static str) -> What {
        What::Refuse { status, code: code.into(), text: text.into() }
    }

    /// A gateway's page.
    pub fn html(status: u16, body: &str) -> What {
        What::Raw { status, content_type: "text/html; charset=utf-8", body: body.into() }
    }
}

type Fits = Box<dyn FnMut(&Call) -> bool + Send>;

/// A fault to order. At first it strikes every call of its method.
pub struct Fault {
    method: Cow<'static, str>,
    first: u64,
    count: u64,
    moment: Moment,
    what: What,
    fits: Option<Fits>,
}

impl Fault {
    /// Strikes instead of the calls of `method`. Plain calls and commands of batches count alike; [`ANY_CALL`] and
    /// [`ANY_REQUEST`] stand for several methods, and `batch` for the requests of that name.
    pub fn before(method: impl Into<Cow<'static, str>>, what: What) -> Fault {
        Fault { method: method.into(), first: 1, count: u64::MAX, moment: Moment::Before, what, fits: None }
    }

    /// Strikes instead of the answer, after the calls of `method` have had their effect.
    pub fn after(method: impl Into<Cow<'static, str>>, what: What) -> Fault {
        Fault { moment: Moment::After, ..Fault::before(method, what) }
    }

    /// Starts with the `nth` of its calls, counted from 1 since it was ordered.
    pub fn from_nth(self, nth: u64) -> Fault {
        Fault { first: nth, ..self }
    }

    /// Strikes so many calls in a row, then never again.
    pub fn times(self, count: u64) -> Fault {
        Fault { count, ..self }
    }

    /// Concerns only the calls that `fits` picks, and counts only those. `fits` is asked once for each call of the
    /// method and must not ask the sandbox anything.
    pub fn when(self, fits: impl FnMut(&Call) -> bool + Send + 'static) -> Fault {
        Fault { fits: Some(Box::new(fits)), ..self }
    }

    fn is_about(&mut self, scope: Scope, call: &Call) -> bool {
        let method = match (&*self.method, scope) {
            (ANY_REQUEST, Scope::Request) => true,
            (_, Scope::Request) | (ANY_REQUEST, Scope::Call) => false,
            (ANY_CALL, Scope::Call) => !call.is_batch(),
            (method, Scope::Call) => method.eq_ignore_ascii_case(&call.method),
        };
        method && self.fits.as_mut().is_none_or(|fits| fits(call))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {:?}", self.moment, self.method, self.what)
    }
}

/// A fault that was ordered. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Order {
    number: u64,
    struck: Arc<AtomicU64>,
}

impl Order {
    /// How often it has struck.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }
}

/// What a fault is checked against: an HTTP request as a whole, or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Request,
    Call,
}

/// All faults that are ordered, the oldest first.
#[derive(Default)]
pub(super) struct Orders {
    placed: Vec<Placed>,
    last: u64,
}

struct Placed {
    fault: Fault,
    /// Its calls so far.
    seen: u64,
    order: Order,
}

impl Orders {
    pub fn place(&mut self, fault: Fault) -> Order {
        self.last += 1;
        let order = Order { number: self.last, struck: Arc::default() };
        self.placed.push(Placed { fault, seen: 0, order: order.clone() });
        order
    }

    pub fn clear(&mut self, order: &Order) {
        self.placed.retain(|placed| placed.order.number != order.number);
    }

    pub fn clear_all(&mut self) {
        self.placed.clear();
    }

    /// The fault that strikes this call at this moment: the oldest one that is due. Each of them counts the call.
    pub fn next(&mut self, scope: Scope, call: &Call, moment: Moment) -> Option<What> {
        let mut striking = None;
        for placed in self.placed.iter_mut().filter(|placed| placed.fault.moment == moment) {
            if !placed.fault.is_about(scope, call) {
                continue;
            }
            placed.seen += 1;
            let due = placed.seen.checked_sub(placed.fault.first).is_some_and(|nth| nth < placed.fault.count);
            if due && striking.is_none() {
                placed.order.struck.fetch_add(1, Ordering::Relaxed);
                striking = Some(placed.fault.what.clone());
            }
        }
        striking
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn code(what: Option<What>) -> String {
        match what {
            Some(What::Refuse { code, .. }) => code.into_owned(),
            other => format!("{other:?}"),
        }
    }

    fn add() -> Call {
        Call::plain("tasks.task.add", json!({"n": 7}))
    }

    #[test]
    fn a_fault_strikes_so_many_calls_of_its_method_from_the_nth_on() {
        let mut orders = Orders::default();
        let order = orders.place(Fault::before("tasks.task.ADD", What::Close).from_nth(2).times(2));
        let struck = |orders: &mut Orders| {
            orders.next(Scope::Call, &Call::plain("scope", json!([])), Moment::Before);
            orders.next(Scope::Call, &add(), Moment::After);
            orders.next(Scope::Call, &add(), Moment::Before).is_some()
        };
        assert_eq!([1, 2, 3, 4].map(|_| struck(&mut orders)), [false, true, true, false]);
        assert_eq!(order.struck(), 2);
    }

    #[test]
    fn the_oldest_due_fault_strikes_until_it_is_cleared() {
        let mut orders = Orders::default();
        let first = orders.place(Fault::before(ANY_CALL, What::refuse(500, "FIRST", "")));
        orders.place(Fault::before("tasks.task.add", What::refuse(500, "SECOND", "")));
        assert_eq!(code(orders.next(Scope::Call, &add(), Moment::Before)), "FIRST");
        orders.clear(&first);
        assert_eq!(code(orders.next(Scope::Call, &add(), Moment::Before)), "SECOND");
        orders.clear_all();
        assert!(orders.next(Scope::Call, &add(), Moment::Before).is_none());
    }

    #[test]
    fn requests_calls_and_batches_are_told_apart() {
        let strikes = |method: &'static str, scope: Scope, call: &Call| {
            let mut orders = Orders::default();
            orders.place(Fault::before(method, What::Close));
            orders.next(scope, call, Moment::Before).is_some()
        };
        let batch = Call::plain("batch", Value::Null);
        assert!(strikes(ANY_REQUEST, Scope::Request, &batch) && !strikes(ANY_REQUEST, Scope::Call, &batch));
        assert!(strikes("batch", Scope::Call, &batch) && !strikes(ANY_CALL, Scope::Call, &batch));
        assert!(strikes(ANY_CALL, Scope::Call, &add()) && !strikes("tasks.task.add", Scope::Request, &add()));
    }

    #[test]
    fn a_fault_can_look_at_the_parameters() {
        let mut orders = Orders::default();
        orders.place(Fault::before(ANY_CALL, What::Close).when(|call| call.params["n"] == 7).times(1));
        let other = Call::plain("tasks.task.add", json!({"n": 8}));
        assert!(orders.next(Scope::Call, &other, Moment::Before).is_none());
        assert!(orders.next(Scope::Call, &add(), Moment::Before).is_some());
        assert!(orders.next(Scope::Call, &add(), Moment::Before).is_none());
    }
}
