//! A TCP relay between the worker and a server, for faults at an exact moment: it passes, holds, swallows, delays or
//! cuts, on command or when it sees a byte pattern. It knows bytes, and no protocol.
//!
//! Every control concerns all connections, present and future. When [`Relay::hold`] or [`Relay::swallow`] has returned,
//! or the pattern of [`Relay::when_seen`] has passed, not one more byte passes in that direction.
//!
//! A held direction is not read. So the relay cannot notice that the process behind it was killed, and the other side
//! would keep the connection until its heartbeats fail. After such a kill use [`Relay::cut`], which drops the held
//! bytes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::pump;
use super::traffic::{Connection, Mode, Shared, Watch};
use super::wait::{PATIENCE, eventually, eventually_ok};

/// RabbitMQ's positive confirm of a publish, seen [`ToClient`](Direction::ToClient): class 60, method 80 (`basic.ack`).
/// The client's acknowledgement of a delivery is the same, seen [`ToServer`](Direction::ToServer).
pub const CONFIRM: &[u8] = &[0, 60, 0, 80];

/// A publish to this queue, as it goes over the wire: class 60, method 40, the default exchange.
pub fn publish_to(queue: &str) -> Vec<u8> {
    let length = u8::try_from(queue.len()).expect("a queue's name is a short string");
    [&[0, 60, 0, 40, 0, 0, 0, length], queue.as_bytes()].concat()
}

/// How often the acceptor checks for a connection, and whether to refuse connections.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// What happens when a pattern is seen.
#[derive(Clone, Debug)]
pub enum Then {
    Nothing,
    Hold(Direction),
    Swallow(Direction),
    Cut,
    Reset,
    /// Waits for this next pattern, on the same connection, and then does this. No byte passes unseen in between.
    When(Direction, Vec<u8>, Box<Then>),
}

impl Then {
    pub fn when(direction: Direction, pattern: impl AsRef<[u8]>, then: Then) -> Then {
        Then::When(direction, pattern.as_ref().to_vec(), Box::new(then))
    }
}

pub struct Relay {
    shared: Arc<Shared>,
    port: u16,
    acceptor: Option<JoinHandle<()>>,
}

/// Says whether a pattern was seen and its effect has started.
pub struct Seen {
    shared: Arc<Shared>,
    watch: usize,
}

impl Relay {
    /// Listens on loopback and connects every client to `server`.
    pub fn to(server: SocketAddr) -> Relay {
        let listener = listen(0).expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let shared = Arc::new(Shared::default());
        let accepting = {
            let shared = shared.clone();
            move || accept(listener, server, port, &shared)
        };
        let acceptor = thread::Builder::new().name("relay/accept".into()).spawn(accepting);
        Relay { shared, port, acceptor: Some(acceptor.expect("the machine has a thread to spare")) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.connections().len()
    }

    /// All connections ever accepted.
    pub fn accepted(&self) -> usize {
        self.shared.state().accepted
    }

    /// Bytes forwarded, over all connections.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.state().line(direction).passed
    }

    /// Bytes read and discarded, over all connections.
    pub fn swallowed(&self, direction: Direction) -> u64 {
        self.shared.state().line(direction).swallowed
    }

    /// Both directions as at the start: nothing held, swallowed, delayed or counted down. Held bytes go on.
    pub fn pass(&self) {
        self.shared.pass();
    }

    /// Stops reading in this direction; [`Relay::pass`] goes on without loss.
    pub fn hold(&self, direction: Direction) {
        self.shared.set_mode(direction, Mode::Hold);
    }

    /// Reads and discards in this direction: the packets vanish. After a later `pass` the stream is torn.
    pub fn swallow(&self, direction: Direction) {
        self.shared.set_mode(direction, Mode::Swallow);
    }

    /// Delays every chunk by this time before it goes on.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.shared.change(|state| state.line(direction).delay = delay);
    }

    /// Cuts all connections when exactly `bytes` more have been forwarded in this direction.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.shared.change(|state| state.line(direction).left = Some(bytes));
    }

    /// Closes all connections, both sides with FIN.
    pub fn cut(&self) {
        let open = self.shared.connections();
        self.shared.cut();
        await_end_of(&open);
    }

    /// Closes all connections, both sides with RST.
    pub fn reset(&self) {
        let open = self.shared.connections();
        self.shared.reset();
        await_end_of(&open);
    }

    /// Nobody listens at the port any more, until [`Relay::accept`]. Open connections stay.
    pub fn refuse(&self) {
        self.shared.change(|state| state.refusing = true);
        self.await_listening(false);
    }

    pub fn accept(&self) {
        self.shared.change(|state| state.refusing = false);
        self.await_listening(true);
    }

    /// Acts once, when the last byte of `pattern` has been forwarded in this direction. An effect on the other
    /// direction starts before that byte is sent, so that no answer to it can pass.
    pub fn when_seen(&self, direction: Direction, pattern: impl AsRef<[u8]>, then: Then) -> Seen {
        self.watch(Watch::after(direction, pattern.as_ref(), then))
    }

    /// The same, but before the pattern: none of the bytes that show it is forwarded before `then` has started. (A
    /// start of it that came in an earlier packet is gone already.)
    pub fn before_passing(&self, direction: Direction, pattern: impl AsRef<[u8]>, then: Then) -> Seen {
        self.watch(Watch::before(direction, pattern.as_ref(), then))
    }

    /// Waits until at least `bytes` have been forwarded, over all connections.
    #[track_caller]
    pub fn await_passed(&self, direction: Direction, bytes: u64, deadline: Duration) {
        eventually_ok(&format!("{bytes} bytes {direction:?}"), deadline, || {
            let passed = self.passed(direction);
            if passed >= bytes { Ok(()) } else { Err(format!("{passed} bytes")) }
        });
    }

    #[track_caller]
    pub fn await_connections(&self, count: usize, deadline: Duration) {
        eventually_ok(&format!("{count} connections through the relay"), deadline, || match self.connections() {
            open if open == count => Ok(()),
            open => Err(format!("{open} connections")),
        });
    }

    fn watch(&self, watch: Watch) -> Seen {
        let watch = self.shared.watch(watch);
        Seen { shared: self.shared.clone(), watch }
    }

    fn await_listening(&self, listening: bool) {
        eventually_ok("the relay's listener", PATIENCE, || {
            if self.shared.state().listening == listening { Ok(()) } else { Err(String::new()) }
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.change(|state| state.over = true);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.shared.cut();
    }
}

impl Seen {
    pub fn yet(&self) -> bool {
        self.shared.state().fired.contains(&self.watch)
    }

    #[track_caller]
    pub fn wait(&self, deadline: Duration) {
        eventually_ok("a pattern to go through the relay", deadline, || {
            if self.yet() {
                return Ok(());
            }
            let state = &mut *self.shared.state();
            let (to_server, to_client) =
                (state.line(Direction::ToServer).passed, state.line(Direction::ToClient).passed);
            Err(format!("{to_server} bytes to the server, {to_client} to the client"))
        });
    }
}

/// Only these: a client that was cut off may have connected again.
fn await_end_of(connections: &[Weak<Connection>]) {
    eventually("the end of the relay's connections", PATIENCE, || {
        connections.iter().all(|connection| connection.strong_count() == 0)
    });
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn accept(listener: TcpListener, server: SocketAddr, port: u16, shared: &Arc<Shared>) {
    let mut listener = Some(listener);
    loop {
        let (over, refusing) = {
            let state = shared.state();
            (state.over, state.refusing)
        };
        if over {
            return;
        }
        if refusing {
            listener = None;
        } else if listener.is_none() {
            // Another process may have the port for a moment; then the next round tries again.
            listener = listen(port).ok();
        }
        if shared.state().listening != listener.is_some() {
            shared.change(|state| state.listening = listener.is_some());
        }
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((client, _))) => connect(client, server, shared),
            Some(Err(_)) | None => shared.rest(ACCEPT_INTERVAL),
        }
    }
}

/// A server that refuses looks to the client like a connection that is closed at once.
fn connect(client: TcpStream, server: SocketAddr, shared: &Arc<Shared>) {
    let Ok(server) = TcpStream::connect_timeout(&server, PATIENCE) else { return };
    if client.set_nonblocking(false).is_ok() {
        pump::start(Connection::new(client, server), shared);
    }
}
