//! What the two threads of each connection of a [`Relay`](super::Relay) share with the test: modes, counters, watches,
//! and the decision on every chunk of bytes. It reads and writes no socket; `pump.rs` does.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use task_creator::http::server::reset_when_dropped;

use super::relay::{Direction, Then};

/// How often a waiting pump checks whether its connection should end.
pub const LOOK: Duration = Duration::from_millis(20);

/// A peer that does not read may block a forward for ever; a control waits for it no longer than this.
const FORWARD_DEADLINE: Duration = Duration::from_secs(2);

/// How many of the forwarded bytes are kept to find a pattern that lies across two packets.
pub const LONGEST_PATTERN: usize = 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mode {
    #[default]
    Pass,
    Hold,
    Swallow,
}

/// One direction, over all connections.
#[derive(Default)]
pub struct Line {
    pub mode: Mode,
    pub delay: Duration,
    /// How many bytes may still pass before all connections are cut.
    pub left: Option<u64>,
    pub passed: u64,
    pub swallowed: u64,
    /// Pumps that have decided to forward and have not finished.
    forwarding: usize,
}

#[derive(Default)]
pub struct State {
    lines: [Line; 2],
    watches: Vec<Watch>,
    next_watch: usize,
    /// The watches whose whole chain has been seen.
    pub fired: Vec<usize>,
    connections: Vec<Weak<Connection>>,
    pub accepted: usize,
    pub refusing: bool,
    pub listening: bool,
    pub over: bool,
}

#[derive(Clone, Debug)]
pub struct Watch {
    number: usize,
    direction: Direction,
    pattern: Vec<u8>,
    before: bool,
    then: Then,
    /// Set in the later links of a chain: the pair of sockets on which it started.
    connection: Option<usize>,
}

/// Only its threads hold it for long: a reset takes effect when the last of them drops it.
pub struct Connection {
    pub client: TcpStream,
    pub server: TcpStream,
    ended: AtomicBool,
}

#[derive(Default)]
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// What a pump may do with the bytes that it has read.
pub enum Verdict {
    Forward(usize, Option<Watch>),
    Swallow,
    End,
}

impl Watch {
    pub fn after(direction: Direction, pattern: &[u8], then: Then) -> Watch {
        assert!(!pattern.is_empty() && pattern.len() <= LONGEST_PATTERN, "a pattern has 1 to {LONGEST_PATTERN} bytes");
        Watch { number: 0, direction, pattern: pattern.to_vec(), before: false, then, connection: None }
    }

    pub fn before(direction: Direction, pattern: &[u8], then: Then) -> Watch {
        Watch { before: true, ..Watch::after(direction, pattern, then) }
    }

    /// Where the pattern starts and ends in `bytes`, when `earlier` went before them.
    fn find(&self, earlier: &[u8], bytes: &[u8]) -> Option<(usize, usize)> {
        let overlap = earlier.len().min(self.pattern.len() - 1);
        let window = [&earlier[earlier.len() - overlap..], bytes].concat();
        let start = window.windows(self.pattern.len()).position(|part| part == self.pattern)?;
        Some((start.saturating_sub(overlap), start + self.pattern.len() - overlap))
    }

    /// Whether its effect must start before the last byte of the pattern is sent: an answer may come at once.
    fn comes_first(&self) -> bool {
        match &self.then {
            Then::Hold(direction) | Then::Swallow(direction) => self.before || *direction != self.direction,
            Then::When(..) => true,
            Then::Nothing | Then::Cut | Then::Reset => self.before,
        }
    }
}

impl State {
    pub fn line(&mut self, direction: Direction) -> &mut Line {
        &mut self.lines[direction as usize]
    }

    /// The first watch that these bytes meet, and how far they may go before it or with it.
    fn next_hit(&self, number: usize, direction: Direction, earlier: &[u8], bytes: &[u8]) -> Option<(usize, Watch)> {
        let concerned = self.watches.iter().filter(|watch| {
            watch.direction == direction && watch.connection.is_none_or(|connection| connection == number)
        });
        let hits = concerned.filter_map(|watch| {
            let (start, end) = watch.find(earlier, bytes)?;
            Some((if watch.before { start } else { end }, watch.clone()))
        });
        hits.min_by_key(|(far, _)| *far)
    }

    fn live_connections(&mut self) -> Vec<Arc<Connection>> {
        self.connections.retain(|connection| connection.strong_count() > 0);
        self.connections.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Ends early when something changes.
    pub fn rest(&self, longest: Duration) {
        drop(self.changed.wait_timeout(self.state(), longest));
    }

    pub fn pass(&self) {
        self.change(|state| {
            for line in &mut state.lines {
                (line.mode, line.delay, line.left) = (Mode::Pass, Duration::ZERO, None);
            }
        });
    }

    /// Returns when all bytes that were let through before are sent.
    pub fn set_mode(&self, direction: Direction, mode: Mode) {
        self.change(|state| state.line(direction).mode = mode);
        let busy = |state: &mut State| state.line(direction).forwarding > 0;
        drop(self.changed.wait_timeout_while(self.state(), FORWARD_DEADLINE, busy));
    }

    pub fn watch(&self, mut watch: Watch) -> usize {
        let mut state = self.state();
        state.next_watch += 1;
        watch.number = state.next_watch;
        state.watches.push(watch);
        state.next_watch
    }

    pub fn admit(&self, connection: &Arc<Connection>) {
        let mut state = self.state();
        state.accepted += 1;
        state.connections.push(Arc::downgrade(connection));
    }

    pub fn connections(&self) -> Vec<Weak<Connection>> {
        let mut state = self.state();
        state.connections.retain(|connection| connection.strong_count() > 0);
        state.connections.clone()
    }

    pub fn cut(&self) {
        let connections = self.state().live_connections();
        for connection in connections {
            connection.end();
        }
        self.changed.notify_all();
    }

    pub fn reset(&self) {
        let connections = self.state().live_connections();
        for connection in connections {
            // Not shut down: that would send a FIN instead of the reset.
            let _ = reset_when_dropped(&connection.client).and(reset_when_dropped(&connection.server));
            connection.ended.store(true, Ordering::Relaxed);
        }
        self.changed.notify_all();
    }

    pub fn await_not_held(&self, connection: &Connection, direction: Direction) -> MutexGuard<'_, State> {
        let mut state = self.state();
        while state.line(direction).mode == Mode::Hold && !connection.has_ended() {
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    pub fn await_delay(&self, connection: &Connection, direction: Direction) {
        let delay = self.state().line(direction).delay;
        let still = |state: &mut State| !connection.has_ended() && state.line(direction).delay >= delay;
        if !delay.is_zero() {
            drop(self.changed.wait_timeout_while(self.state(), delay, still));
        }
    }

    pub fn judge(&self, connection: &Arc<Connection>, direction: Direction, earlier: &[u8], bytes: &[u8]) -> Verdict {
        let mut state = self.await_not_held(connection, direction);
        if connection.has_ended() {
            return Verdict::End;
        }
        if state.line(direction).mode == Mode::Swallow {
            state.line(direction).swallowed += bytes.len() as u64;
            return Verdict::Swallow;
        }
        let hit = state.next_hit(connection.number(), direction, earlier, bytes);
        let (far, hit) = hit.map_or((bytes.len(), None), |(far, watch)| (far, Some(watch)));
        let left = state.line(direction).left.unwrap_or(u64::MAX);
        let line = state.line(direction);
        line.forwarding += 1;
        if (far as u64) > left {
            return Verdict::Forward(left as usize, None);
        }
        if let Some(watch) = hit.as_ref().filter(|watch| watch.comes_first()) {
            // Bytes before the pattern go first; the next decision meets the pattern at its beginning.
            if watch.before && far > 0 {
                return Verdict::Forward(far, None);
            }
            apply(&mut state, watch, connection);
        }
        Verdict::Forward(far, hit)
    }

    /// After the bytes are sent: counts them, and does what had to wait for that.
    pub fn note_forwarded(
        &self,
        connection: &Arc<Connection>,
        direction: Direction,
        count: usize,
        hit: Option<&Watch>,
    ) {
        let mut state = self.state();
        let line = state.line(direction);
        line.forwarding -= 1;
        line.passed += count as u64;
        line.left = line.left.map(|left| left - left.min(count as u64));
        let exhausted = line.left == Some(0);
        if exhausted {
            line.left = None;
        }
        if let Some(watch) = hit {
            if !watch.comes_first() {
                apply(&mut state, watch, connection);
            }
            if !matches!(watch.then, Then::When(..)) {
                state.fired.push(watch.number);
            }
        }
        drop(state);
        match hit.map(|watch| &watch.then) {
            Some(Then::Reset) => self.reset(),
            Some(Then::Cut) => self.cut(),
            _ if exhausted => self.cut(),
            _ => self.changed.notify_all(),
        }
    }
}

/// Removes the watch and starts its effect; the caller, who holds the lock, ends connections.
fn apply(state: &mut State, watch: &Watch, connection: &Arc<Connection>) {
    state.watches.retain(|known| known.number != watch.number);
    match &watch.then {
        Then::Nothing | Then::Cut | Then::Reset => {}
        Then::Hold(direction) => state.line(*direction).mode = Mode::Hold,
        Then::Swallow(direction) => state.line(*direction).mode = Mode::Swallow,
        Then::When(direction, pattern, then) => {
            let next = Watch::after(*direction, pattern, (**then).clone());
            state.watches.push(Watch { number: watch.number, connection: Some(connection.number()), ..next });
        }
    }
}

impl Connection {
    pub fn new(client: TcpStream, server: TcpStream) -> Connection {
        Connection { client, server, ended: AtomicBool::new(false) }
    }

    /// Tells connections apart for as long as they live.
    fn number(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self) as usize
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// Where the bytes of a direction come from, and where they go.
    pub fn ends(&self, direction: Direction) -> (&TcpStream, &TcpStream) {
        match direction {
            Direction::ToServer => (&self.client, &self.server),
            Direction::ToClient => (&self.server, &self.client),
        }
    }
}
