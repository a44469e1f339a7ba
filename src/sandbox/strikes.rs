//! Faults at work: those that are ordered strike requests, let them hang or delay them, for every fake alike. It knows
//! no target: what an answer is, its caller says.

use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, select};

use super::faults::{Fault, Moment, Order, Orders, Scope, What};
use super::lock;
use super::reply::Broken;
use super::request::Call;

/// A hanging answer that nobody ends is given up after this.
const LONGER_THAN_ANY_TEST: Duration = Duration::from_secs(3600);

/// What is ordered, and what hangs because of it.
#[derive(Default)]
pub(super) struct Strikes {
    orders: Mutex<Orders>,
    stalls: Mutex<Stalls>,
}

/// Whatever hangs or is delayed waits for this channel to close.
struct Stalls {
    /// Keeps the channel open.
    _hold: Sender<()>,
    released: Receiver<()>,
}

impl Default for Stalls {
    fn default() -> Stalls {
        let (hold, released) = crossbeam_channel::bounded(0);
        Stalls { _hold: hold, released }
    }
}

impl Strikes {
    pub fn order(&self, fault: Fault) -> Order {
        lock(&self.orders).place(fault)
    }

    pub fn clear(&self, order: &Order) {
        lock(&self.orders).clear(order);
    }

    pub fn clear_all(&self) {
        lock(&self.orders).clear_all();
    }

    /// Ends everything that hangs or is delayed at this moment.
    pub fn release(&self) {
        *lock(&self.stalls) = Stalls::default();
    }

    /// Does what `run` does, unless or until a fault strikes; `instead` makes an answer of [`What::Refuse`] and
    /// [`What::Result`].
    pub fn struck<A>(
        &self,
        scope: Scope,
        call: &Call,
        stopped: &Receiver<()>,
        instead: impl Fn(What) -> Option<A>,
        run: impl FnOnce() -> Result<A, Broken>,
    ) -> Result<A, Broken> {
        if let Some(answer) = self.suffer(scope, call, Moment::Before, stopped, &instead)? {
            return Ok(answer);
        }
        let answer = run()?;
        Ok(self.suffer(scope, call, Moment::After, stopped, &instead)?.unwrap_or(answer))
    }

    /// What a fault that strikes now answers instead, if it does not break the request; a delay answers nothing.
    fn suffer<A>(
        &self,
        scope: Scope,
        call: &Call,
        moment: Moment,
        stopped: &Receiver<()>,
        instead: &impl Fn(What) -> Option<A>,
    ) -> Result<Option<A>, Broken> {
        let Some(what) = lock(&self.orders).next(scope, call, moment) else {
            return Ok(None);
        };
        match what {
            What::Refuse { .. } | What::Result(_) => Ok(instead(what)),
            What::Raw { status, content_type, body } => Err(Broken::Raw { status, content_type, body }),
            What::Close => Err(Broken::Close),
            What::Reset => Err(Broken::Reset),
            What::Half => Err(Broken::Half),
            What::Hang(longest) => {
                self.stall(longest.unwrap_or(LONGER_THAN_ANY_TEST), stopped)?;
                Err(Broken::Close)
            }
            What::Delay(delay) => self.stall(delay, stopped).map(|()| None),
        }
    }

    fn stall(&self, longest: Duration, stopped: &Receiver<()>) -> Result<(), Broken> {
        let released = lock(&self.stalls).released.clone();
        select! {
            recv(released) -> _ => Ok(()),
            recv(after(longest)) -> _ => Ok(()),
            recv(stopped) -> _ => Err(Broken::Close),
        }
    }
}
