//! A small HTTP/1.1 server with keep-alive: one thread for each connection, all of them ended and joined on drop.
//!
//! For fakes, tests and whatever the worker shows of itself; it carries bytes and does not know what they say. No
//! client can delay it: [`Limits`] bound what is read, for how long, and from how many. It has no TLS, and reads no
//! bodies in a transfer encoding.

mod connection;
mod reply;
mod request;
mod turn;

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Scope};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

pub use reply::{After, Page, Reply, TakeOver};
pub use request::{Header, Request};
use turn::Turn;

/// The pause after a failed accept (out of file handles), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The pause between two looks for room.
const ROOM_PAUSE: Duration = Duration::from_millis(5);

/// The limits for what a client may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's head.
    pub head: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// Connections at once; each further one is refused, except where one gives way.
    pub connections: usize,
    /// A connection that has waited for its client for so long gives way to a new one when there is no room, and a new
    /// one waits for so long until one does: clients that hold connections and ask nothing keep no other client out.
    /// `None`: none gives way, and none waits.
    pub give_way: Option<Duration>,
    /// How long a connection may stay open without a request.
    pub idle: Duration,
    /// For a whole head, from its first byte.
    pub head_time: Duration,
    /// For a whole body.
    pub body_time: Duration,
    /// For the client to read a whole reply.
    pub reply_time: Duration,
}

impl Default for Limits {
    /// For friendly clients: a batch of 50 long descriptions is about 5 MB.
    fn default() -> Limits {
        Limits {
            head: 64 << 10,
            body: 32 << 20,
            connections: 1024,
            give_way: None,
            idle: Duration::from_secs(75),
            head_time: Duration::from_secs(30),
            body_time: Duration::from_secs(60),
            reply_time: Duration::from_secs(60),
        }
    }
}

/// Answers requests, from many threads at once.
pub trait Respond: Send + Sync + 'static {
    /// Waits must end when the server's stop channel closes.
    fn respond(&self, request: &Request<'_>) -> Reply;

    /// What a client gets whose request is refused before it is read, or that finds no room.
    fn refusal(&self, status: u16, why: &'static str) -> Page {
        Page::new(status, "text/plain", why)
    }
}

/// A running server. Dropping it cuts every connection and joins every thread.
pub struct Server {
    address: SocketAddr,
    /// Dropped to stop: then every [`Receiver`] of the stop channel sees it closed.
    stop: Option<Sender<()>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `address` (port 0: any free one) and answers with what `respond` makes of the stop channel. The name
    /// is for threads and the log.
    ///
    /// # Errors
    /// The port is taken, or no thread can be started.
    pub fn start<R: Respond>(
        name: &'static str,
        address: SocketAddr,
        limits: Limits,
        respond: impl FnOnce(Receiver<()>) -> R,
    ) -> anyhow::Result<Server> {
        let listener = TcpListener::bind(address).with_context(|| format!("{name}: port {}", address.port()))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let shared = Shared { name, limits, respond: respond(stopped.clone()), stopped, open: Mutex::default() };
        let acceptor = thread::Builder::new().name(name.into()).spawn(move || shared.accept(&listener))?;
        Ok(Server { address, stop: Some(stop), acceptor: Some(acceptor) })
    }

    /// The address where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        // The acceptor waits in accept(); a connection of our own wakes it. Without one it could not be joined.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}

/// What the threads of a server share.
struct Shared<R> {
    name: &'static str,
    limits: Limits,
    respond: R,
    stopped: Receiver<()>,
    /// The open connections by number, so that stopping can cut them; each connection's thread removes its own.
    open: Mutex<HashMap<u64, Open>>,
}

/// A connection as the others see it.
struct Open {
    stream: TcpStream,
    turn: Arc<Turn>,
}

impl<R: Respond> Shared<R> {
    /// Runs until the stop channel closes; the scope then joins the threads of all connections.
    fn accept(&self, listener: &TcpListener) {
        thread::scope(|scope| {
            for (number, stream) in (1..).zip(listener.incoming()) {
                if self.stopped.try_recv() == Err(TryRecvError::Disconnected) {
                    break;
                }
                if let Err(err) = stream.and_then(|stream| self.open(scope, number, stream)) {
                    log::warn!("{}: connection lost: {err}", self.name);
                    let _ = self.stopped.recv_timeout(ACCEPT_PAUSE);
                }
            }
            for Open { stream, .. } in self.open_ones().values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    fn open<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, number: u64, stream: TcpStream) -> io::Result<()> {
        if !self.finds_room() {
            connection::turn_away(&stream, &self.respond);
            return Ok(());
        }
        let turn = Arc::new(Turn::default());
        self.open_ones().insert(number, Open { stream: stream.try_clone()?, turn: Arc::clone(&turn) });
        let name = format!("{}/{number}", self.name);
        let spawned = thread::Builder::new().name(name).spawn_scoped(scope, move || self.serve(number, &stream, &turn));
        if spawned.is_err() {
            self.open_ones().remove(&number);
        }
        spawned.map(drop)
    }

    /// Whether one more connection may be open now, or after the longest wait for one that gives way. Whoever comes
    /// meanwhile waits in the kernel's queue: clients that come again and again take their places in it behind the
    /// others, instead of being there first whenever there is room.
    fn finds_room(&self) -> bool {
        let until = Instant::now() + self.limits.give_way.unwrap_or_default();
        while !self.has_room() {
            if Instant::now() >= until || self.stopped.recv_timeout(ROOM_PAUSE) != Err(RecvTimeoutError::Timeout) {
                return false;
            }
        }
        true
    }

    /// Whether one more connection may be open. If need be, the one gives way that has waited longest for its client;
    /// one whose request is being answered never does.
    fn has_room(&self) -> bool {
        let mut open = self.open_ones();
        if open.len() < self.limits.connections {
            return true;
        }
        let Some(give_way) = self.limits.give_way else { return false };
        let waiting = open.iter().filter_map(|(number, open)| Some((open.turn.waits_for()?, *number)));
        let longest = waiting.max().filter(|(waits_for, _)| *waits_for >= give_way);
        let given =
            longest.and_then(|(_, number)| Some((number, open.get(&number)?)).filter(|(_, open)| open.turn.end()));
        let Some((number, Open { stream, .. })) = given else { return false };
        // Its thread sees the end, and ends.
        let _ = stream.shutdown(Shutdown::Both);
        open.remove(&number);
        true
    }

    fn serve(&self, number: u64, stream: &TcpStream, turn: &Turn) {
        // `respond` may panic, and the panic is logged when it happens: it costs this connection only.
        let serving = AssertUnwindSafe(|| connection::serve(stream, &self.limits, &self.respond, turn));
        let after = catch_unwind(serving).unwrap_or(Ok(After::Close)).unwrap_or_else(|err| {
            log::debug!("{}: connection {number}: {err}", self.name);
            After::Close
        });
        // This drops the second handle too, which could keep the socket open a moment longer; the client must see the
        // end now.
        self.open_ones().remove(&number);
        if after == After::Reset {
            let _ = reset_when_dropped(stream);
        } else {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn open_ones(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the kernel answer the closing of `stream` with RST instead of FIN, once its last handle is dropped. The
/// setting goes through `mio`, which can linger where std cannot.
///
/// # Errors
/// The socket does not take the setting.
pub fn reset_when_dropped(stream: &TcpStream) -> io::Result<()> {
    mio::net::TcpStream::from_stream(stream.try_clone()?)?.set_linger(Some(Duration::ZERO))?;
    // mio switched the socket, which both handles share, to non-blocking.
    stream.set_nonblocking(false)
}

#[cfg(test)]
mod tests;
