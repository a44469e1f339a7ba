//! A gate that stops every thread until the test opens it: it delays an answer of a scripted server at a moment that
//! the test can see. It knows no HTTP.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::wait::eventually_ok;

thread_local! {
    /// Set in the threads of a scripted server. When the server is dropped, a closed gate lets these threads go;
    /// otherwise a test that fails before `open` would hang instead of failing.
    static SERVER_OVER: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// How often a waiting server thread checks whether its server is over.
const LOOK: Duration = Duration::from_millis(20);

/// Clones are the same gate: one for the script, one for the test.
#[derive(Clone)]
pub struct Gate {
    shared: Arc<(Mutex<State>, Condvar)>,
}

struct State {
    open: bool,
    waiting: usize,
}

impl Gate {
    pub fn closed() -> Gate {
        let state = State { open: false, waiting: 0 };
        Gate { shared: Arc::new((Mutex::new(state), Condvar::new())) }
    }

    pub fn open(&self) {
        self.state().open = true;
        self.shared.1.notify_all();
    }

    pub fn is_open(&self) -> bool {
        self.state().open
    }

    pub fn close(&self) {
        self.state().open = false;
    }

    /// Returns at once when the gate is open; else when it opens, or when the server of this thread is dropped.
    pub fn wait(&self) {
        let mut state = self.state();
        state.waiting += 1;
        while !state.open && !server_is_over() {
            state = self.shared.1.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting -= 1;
    }

    /// Waits until `count` threads wait at the closed gate: the state in which a fault is injected.
    #[track_caller]
    pub fn await_waiting(&self, count: usize, deadline: Duration) {
        eventually_ok(&format!("{count} waiting at the gate"), deadline, || {
            let waiting = self.state().waiting;
            if waiting >= count { Ok(()) } else { Err(format!("{waiting} waiting")) }
        });
    }

    /// A script that panicked elsewhere must not hide the test's own failure behind a poisoned lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ties the gates where this thread will wait to the life of a server.
pub fn let_go_when(over: Arc<AtomicBool>) {
    SERVER_OVER.with(|cell| *cell.borrow_mut() = Some(over));
}

fn server_is_over() -> bool {
    SERVER_OVER.with(|cell| cell.borrow().as_ref().is_some_and(|over| over.load(Ordering::Relaxed)))
}
