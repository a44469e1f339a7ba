//! A small HTTP/1.1 server with keep-alive: one thread for each connection, all of them ended and joined on drop.
//!
//! For fakes, tests and whatever the worker shows of itself; it carries bytes and does not know what they say. No
//! client can delay it: [`Limits`] bound what is read, for how long, and from how many. It has no TLS, and reads no
//! bodies in a transfer encoding.

mod connection;
mod reply;
mod request;

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Scope};
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender, TryRecvError};

pub use reply::{After, Page, Reply, TakeOver};
pub use request::{Header, Request};

/// The pause after a failed accept (out of file handles), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The limits for what a client may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's head.
    pub head: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// Connections at once; each further one is refused.
    pub connections: usize,
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
    open: Mutex<HashMap<u64, TcpStream>>,
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
            for stream in self.open_ones().values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    fn open<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, number: u64, stream: TcpStream) -> io::Result<()> {
        if self.open_ones().len() >= self.limits.connections {
            connection::turn_away(&stream);
            return Ok(());
        }
        self.open_ones().insert(number, stream.try_clone()?);
        let name = format!("{}/{number}", self.name);
        let spawned = thread::Builder::new().name(name).spawn_scoped(scope, move || self.serve(number, &stream));
        if spawned.is_err() {
            self.open_ones().remove(&number);
        }
        spawned.map(drop)
    }

    fn serve(&self, number: u64, stream: &TcpStream) {
        // `respond` may panic, and the panic is logged when it happens: it costs this connection only.
        let serving = AssertUnwindSafe(|| connection::serve(stream, &self.limits, &self.respond));
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

    fn open_ones(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
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
