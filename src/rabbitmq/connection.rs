//! A connection to the broker: opened with a time limit, named, without Nagle's algorithm, and closed without hanging.
//!
//! It does not reconnect. Whoever uses it opens the next one, after a back-off of its own.

use std::io;
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use amiquip::{Auth, Channel, ConnectionBlockedNotification, ConnectionOptions, ConnectionTuning};
use anyhow::{Context as _, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::filter::Harmless;
use super::{Trouble, tls};
use crate::config::RabbitMq;

/// For TCP, TLS and the AMQP handshake, each; a server that does not answer within it is not there.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);
/// For declaring queues and starting a consumer; in a frozen broker they would hang for two heartbeats.
pub const SETUP_DEADLINE: Duration = Duration::from_secs(15);
/// For a polite end; past it the socket is shut down and the broker takes back what is not acknowledged.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// An idle link is looked at this often by the kernel.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// One connection, with a second hold on its socket to end a call that hangs.
pub struct Connection {
    /// Taken out only to be closed.
    amqp: Option<amiquip::Connection>,
    socket: TcpStream,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl Connection {
    /// Opens a connection that RabbitMQ's own lists show under `name`.
    ///
    /// # Errors
    /// The broker is not there, or refuses us; the text holds no password (amiquip's own URL errors would).
    pub fn open(settings: &RabbitMq, name: &str) -> Result<Connection, Trouble> {
        let place = format!("RabbitMQ at {}:{}", settings.host, settings.port);
        Connection::open_named(settings, name).map_err(|trouble| trouble.at(&place))
    }

    fn open_named(settings: &RabbitMq, name: &str) -> Result<Connection, Trouble> {
        let own = |err: anyhow::Error| Trouble::new(format!("{err:#}"));
        let stream = connect(settings).map_err(own)?;
        let socket = stream.try_clone().context("cloning the socket").map_err(own)?;
        // TLS and AMQP have deadlines for each of their steps; this one is for all of them together.
        let _watch = Watch::over(&socket, SETUP_DEADLINE);
        let options = ConnectionOptions::default()
            .auth(Auth::Plain { username: settings.username.clone(), password: settings.password.expose().into() })
            .virtual_host(settings.vhost.clone())
            .heartbeat(settings.heartbeat)
            .connection_timeout(Some(OPEN_DEADLINE))
            .information(Some(name.to_owned()));
        let tuning = ConnectionTuning::default();
        let amqp = match &settings.tls {
            None => {
                let stream = nonblocking(stream).context("preparing the socket").map_err(own)?;
                amiquip::Connection::insecure_open_stream(Harmless::new(stream), options, tuning)
            }
            Some(authorities) => {
                let stream = tls::connect(stream, &settings.host, authorities).context("TLS").map_err(own)?;
                amiquip::Connection::insecure_open_stream(Harmless::new(stream), options, tuning)
            }
        };
        Ok(Connection { amqp: Some(amqp?), socket })
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn channel(&mut self) -> amiquip::Result<Channel> {
        self.amqp()?.open_channel(None)
    }

    /// Tells when the broker stops reading from this connection (an alarm), and when it goes on.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn blocked(&mut self) -> amiquip::Result<Receiver<ConnectionBlockedNotification>> {
        self.amqp()?.listen_for_connection_blocked()
    }

    /// Runs `setup`; if it takes longer than `SETUP_DEADLINE`, the connection is shut down and `setup` fails.
    pub fn within_deadline<T>(&mut self, setup: impl FnOnce(&mut Connection) -> T) -> T {
        let watch = Watch::over(&self.socket, SETUP_DEADLINE);
        let result = setup(self);
        drop(watch);
        result
    }

    /// While the result lives, what takes longer than `CLOSE_DEADLINE` is cut short: closing a consumer or a channel asks
    /// the broker and waits.
    pub fn closing(&self) -> impl Drop + use<> {
        Watch::over(&self.socket, CLOSE_DEADLINE)
    }

    /// Runs out when the connection has been used for this long: then it is shut down, and whatever waits on it fails.
    pub fn at_most(&self, deadline: Duration) -> Watch {
        Watch::over(&self.socket, deadline)
    }

    /// Ends the connection: what was sent before is flushed. Returns why the connection was already dead, if it was: the
    /// only place where amiquip says it.
    pub fn close(mut self) -> Result<(), amiquip::Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), amiquip::Error> {
        let _watch = Watch::over(&self.socket, CLOSE_DEADLINE);
        self.amqp.take().map_or(Ok(()), amiquip::Connection::close)
    }

    fn amqp(&mut self) -> amiquip::Result<&mut amiquip::Connection> {
        self.amqp.as_mut().ok_or(amiquip::Error::ClientClosedConnection)
    }
}

/// Shuts a connection down unless it is dropped in time.
pub struct Watch(Option<(Sender<()>, thread::JoinHandle<()>)>);

impl Watch {
    fn over(socket: &TcpStream, deadline: Duration) -> Watch {
        let Ok(socket) = socket.try_clone() else { return Watch(None) };
        let (sender, dropped) = bounded::<()>(0);
        let watching = thread::Builder::new().name("amqp-deadline".into()).spawn(move || {
            if dropped.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout) {
                let _ = socket.shutdown(Shutdown::Both);
            }
        });
        Watch(watching.ok().map(|thread| (sender, thread)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.0.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

/// The socket as amiquip's I/O thread wants it.
pub(super) fn nonblocking(stream: TcpStream) -> io::Result<mio::net::TcpStream> {
    let stream = mio::net::TcpStream::from_stream(stream)?;
    // A broker may switch heartbeats off; then the kernel notices a dead link.
    stream.set_keepalive(Some(KEEPALIVE))?;
    Ok(stream)
}

/// A TCP connection to the first address of the host that answers.
fn connect(settings: &RabbitMq) -> anyhow::Result<TcpStream> {
    let addresses = (settings.host.as_str(), settings.port).to_socket_addrs().context("looking up the host's name")?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, OPEN_DEADLINE) {
            Ok(stream) => {
                // Without it a publish that waits for its confirm takes 40 ms: three small writes against delayed ACKs.
                stream.set_nodelay(true).context("setting TCP_NODELAY")?;
                return Ok(stream);
            }
            Err(err) => last = Some(err),
        }
    }
    match last {
        Some(err) => Err(err).context("connecting"),
        None => bail!("the host's name has no address"),
    }
}
