//! The ways to fail, for every target: a relay in front of its fake that can refuse connections, and faults that are
//! ordered at the fake. It knows no fake: each target says how it is created at and how it refuses.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use task_creator::sandbox::{self, Order, What};

use super::Fault;
use crate::support::Relay;

/// Longer than the worker waits for an answer.
const TOO_LATE: Duration = Duration::from_secs(2);

/// In front of a fake.
pub struct Faults {
    relay: Relay,
    ordered: Mutex<Vec<Order>>,
}

/// How a fake fails.
pub struct Failing<'a> {
    /// The method by which a task is created.
    pub create: Cow<'static, str>,
    /// Refuses every create for good.
    pub refused: sandbox::Fault,
    /// Refuses everybody.
    pub unauthorised: sandbox::Fault,
    /// What it says then, and on a gateway's page.
    pub words: &'a str,
}

impl Faults {
    pub fn before(fake: SocketAddr) -> Faults {
        Faults { relay: Relay::to(fake), ordered: Mutex::default() }
    }

    /// Where the worker finds the target.
    pub fn address(&self) -> SocketAddr {
        self.relay.address()
    }

    /// From now on this fails too; `order` orders it at the fake.
    pub fn fail(&self, fault: Fault, failing: Failing<'_>, order: impl FnOnce(sandbox::Fault) -> Order) {
        let Failing { create, refused, unauthorised, words } = failing;
        let fault = match fault {
            Fault::AnswerLost => sandbox::Fault::after(create, What::Close).times(1),
            Fault::Slow => sandbox::Fault::after(create, What::Hang(Some(TOO_LATE))).times(1),
            Fault::Garbage => sandbox::Fault::after(create, What::html(200, words)).times(1),
            Fault::Refused => refused,
            Fault::Unauthorised => {
                // Nobody signs in again on a connection that is kept.
                self.relay.cut();
                unauthorised
            }
            Fault::Down => {
                self.relay.refuse();
                return self.relay.cut();
            }
            Fault::HeldBefore => sandbox::Fault::before(create, What::Hang(None)).times(1),
            Fault::HeldAfter => sandbox::Fault::after(create, What::Hang(None)).times(1),
        };
        self.ordered().push(order(fault));
    }

    /// Connections are accepted again.
    pub fn accept(&self) {
        self.relay.accept();
    }

    /// How often something that was ordered has failed.
    pub fn struck(&self) -> u64 {
        self.ordered().iter().map(Order::struck).sum()
    }

    fn ordered(&self) -> MutexGuard<'_, Vec<Order>> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with this status and code, in these words.
pub fn refusal(status: u16, code: &'static str, words: &str) -> What {
    What::Refuse { status, code: code.into(), text: words.to_owned().into() }
}
