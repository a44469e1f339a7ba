//! A connection to the broker: opened with a time limit, named, without Nagle's algorithm, and closed without hanging.
//!
//! It does not reconnect: its user opens the next one, after a back-off.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use amiquip::{Auth, Channel, ConnectionOptions, ConnectionTuning, Error};
use anyhow::Context as _;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::filter::Harmless;
use super::handshake::{self, NotIn, Watched};
use super::{ConnectionError, Notice, peer, tls};
use crate::config::RabbitMq;
use crate::dial;

/// For TCP, TLS and the AMQP handshake, each. A server that does not answer in time counts as not there.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);
/// For the answer to a nudge, of a server that has not answered in time.
const NUDGE_DEADLINE: Duration = Duration::from_secs(1);
/// For declaring queues and starting a consumer; in a frozen broker they would hang for two heartbeats.
pub const SETUP_DEADLINE: Duration = Duration::from_secs(15);
/// For a regular close. After it the socket is shut down, and the broker requeues what is not acknowledged.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// The kernel checks an idle link this often.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// One connection, with a second handle to its socket, to end a call that hangs.
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
    pub fn open(settings: &RabbitMq, name: &str) -> Result<Connection, ConnectionError> {
        let place = format!("RabbitMQ at {}:{}", settings.host, settings.port);
        Connection::open_named(settings, name).map_err(|error| error.at(&place))
    }

    fn open_named(settings: &RabbitMq, name: &str) -> Result<Connection, ConnectionError> {
        match Connection::try_open(settings, name) {
            // If it happens once, perhaps a link broke.
            Err(NotIn::Dropped) => Connection::try_open(settings, name),
            opened => opened,
        }
        .map_err(|not_in| match not_in {
            NotIn::Told(error) => error,
            NotIn::Dropped => ConnectionError {
                refused: true,
                text: "RabbitMQ drops the connection after the sign-in, twice in a row: correct RABBITMQ_USERNAME or \
                       RABBITMQ_PASSWORD"
                    .into(),
            },
        })
    }

    fn try_open(settings: &RabbitMq, name: &str) -> Result<Connection, NotIn> {
        let own = |err: anyhow::Error| NotIn::Told(ConnectionError::new(format!("{err:#}")));
        let stream = dial::tcp(&settings.host, settings.port, OPEN_DEADLINE).map_err(own)?;
        let socket = stream.try_clone().context("cloning the socket").map_err(own)?;
        // TLS and AMQP have a deadline for each step; this one is for all steps together.
        let _watch = Watch::over(&socket, SETUP_DEADLINE);
        let options = ConnectionOptions::default()
            .auth(Auth::Plain { username: settings.username.clone(), password: settings.password.expose().into() })
            .virtual_host(settings.vhost.clone())
            .heartbeat(settings.heartbeat)
            .connection_timeout(Some(OPEN_DEADLINE))
            .information(Some(name.to_owned()));
        let amqp = match &settings.tls {
            None => {
                let stream = nonblocking(stream).context("preparing the socket").map_err(own)?;
                shake_hands(stream, options, &socket, false)
            }
            Some(root_certificates) => {
                let stream = tls::connect(stream, &settings.host, root_certificates).context("TLS").map_err(own)?;
                shake_hands(stream, options, &socket, true)
            }
        };
        Ok(Connection { amqp: Some(amqp?), socket })
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn channel(&mut self) -> amiquip::Result<Channel> {
        self.amqp()?.open_channel(None)
    }

    /// Notifies when the broker stops reading from this connection (an alarm), and when it reads again.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn blocked(&mut self) -> Result<Receiver<Notice>, ConnectionError> {
        Ok(self.amqp()?.listen_for_connection_blocked()?)
    }

    /// Runs `setup`; if it takes longer than `SETUP_DEADLINE`, the connection is shut down and `setup` fails.
    ///
    /// # Errors
    /// What `setup` says, or that its time was up.
    pub fn within_deadline<T>(
        &mut self,
        setup: impl FnOnce(&mut Connection) -> Result<T, ConnectionError>,
    ) -> Result<T, ConnectionError> {
        let mut watch = Watch::over(&self.socket, SETUP_DEADLINE);
        let result = setup(self);
        match watch.has_run_out() {
            true => result.map_err(|_| {
                ConnectionError::new(format!(
                    "RabbitMQ answers too slowly: opening queues took longer than {SETUP_DEADLINE:?}"
                ))
            }),
            false => result,
        }
    }

    /// While the result lives, calls are cut off after `CLOSE_DEADLINE`: closing a consumer or a channel waits for the
    /// broker.
    pub fn closing(&self) -> impl Drop + use<> {
        Watch::over(&self.socket, CLOSE_DEADLINE)
    }

    /// Runs `last`, which closes what is open on the connection, and then closes the connection itself, each within its
    /// deadline. In any other order closing could hang.
    pub fn close_after<T>(mut self, last: impl FnOnce(&mut Connection) -> T) -> (T, Result<(), ConnectionError>) {
        let done = self.last(last);
        (done, self.close())
    }

    /// The same for a value that only has to be dropped. Returns why the connection was already dead, if that is known.
    pub fn close_with<T>(mut self, open: T) -> Option<String> {
        self.last(|_| drop(open));
        match self.end() {
            // The end of a channel does not say why the connection ended.
            Ok(()) | Err(Error::EventLoopDropped | Error::ClientClosedChannel | Error::ServerClosedChannel { .. }) => {
                None
            }
            Err(cause) => Some(cause.to_string()),
        }
    }

    /// Limits the use of the connection to this time: then it is shut down, and all calls on it fail.
    pub fn at_most(&self, deadline: Duration) -> Watch {
        Watch::over(&self.socket, deadline)
    }

    /// Closes the connection, after flushing what was sent before. The error says why the connection was already dead:
    /// amiquip says it only here.
    pub fn close(mut self) -> Result<(), ConnectionError> {
        self.end().map_err(|err| ConnectionError::new(err.to_string()))
    }

    fn last<T>(&mut self, last: impl FnOnce(&mut Connection) -> T) -> T {
        let _deadline = self.closing();
        last(self)
    }

    fn end(&mut self) -> Result<(), Error> {
        let _watch = Watch::over(&self.socket, CLOSE_DEADLINE);
        self.amqp.take().map_or(Ok(()), amiquip::Connection::close)
    }

    fn amqp(&mut self) -> amiquip::Result<&mut amiquip::Connection> {
        self.amqp.as_mut().ok_or(Error::ClientClosedConnection)
    }
}

/// Shuts a connection down unless it is dropped in time.
pub struct Watch(Option<(Sender<()>, thread::JoinHandle<bool>)>);

impl Watch {
    fn over(socket: &TcpStream, deadline: Duration) -> Watch {
        let Ok(socket) = socket.try_clone() else { return Watch(None) };
        let (sender, dropped) = bounded::<()>(0);
        let watching = thread::Builder::new().name("amqp-deadline".into()).spawn(move || {
            let is_late = dropped.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout);
            if is_late {
                let _ = socket.shutdown(Shutdown::Both);
            }
            is_late
        });
        Watch(watching.ok().map(|thread| (sender, thread)))
    }

    /// Ends the watch. Returns whether the time had run out.
    fn has_run_out(&mut self) -> bool {
        self.0.take().is_some_and(|(sender, thread)| {
            drop(sender);
            thread.join().unwrap_or(false)
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.has_run_out();
    }
}

/// The AMQP handshake; `socket` is the one under the stream.
fn shake_hands<S: amiquip::IoStream>(
    stream: S,
    options: ConnectionOptions<Auth>,
    socket: &TcpStream,
    encrypted: bool,
) -> Result<amiquip::Connection, NotIn> {
    let (stream, seen) = Watched::new(stream);
    let stream = Harmless::new(stream);
    let opened = amiquip::Connection::insecure_open_stream(stream, options, ConnectionTuning::default());
    opened.map_err(|err| {
        let seen = handshake::lock(&seen);
        match seen.is_silent() && !encrypted {
            true => nudged(socket).map_or_else(|| seen.explain(err, encrypted), NotIn::Told),
            false => seen.explain(err, encrypted),
        }
    })
}

/// A web server waits for the end of our request: sends it one, to learn what it is.
fn nudged(mut socket: &TcpStream) -> Option<ConnectionError> {
    socket.set_nonblocking(false).ok()?;
    socket.set_read_timeout(Some(NUDGE_DEADLINE)).ok()?;
    socket.write_all(b"\r\n\r\n").ok()?;
    let mut first = [0; 64];
    let read = socket.read(&mut first).ok().filter(|read| *read > 0)?;
    (!peer::may_be_rabbitmq(&first[..read])).then(|| ConnectionError::new(peer::told(&first[..read], false)))
}

/// The socket as amiquip's I/O thread needs it.
pub(super) fn nonblocking(stream: TcpStream) -> io::Result<mio::net::TcpStream> {
    let stream = mio::net::TcpStream::from_stream(stream)?;
    // A broker may switch heartbeats off; then the kernel notices a dead link.
    stream.set_keepalive(Some(KEEPALIVE))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;
    use std::net::TcpListener;

    /// The greeting of a broker from before 2013, which does not say why it drops a link.
    const START: &[u8] = b"\x01\0\0\0\0\0\x1c\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US\xce";

    /// Behaves like it for as many connections as `delays`; each is dropped after its delay.
    fn old_broker(delays: &'static [Duration]) -> RabbitMq {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        thread::spawn(move || {
            for delay in delays {
                let (mut client, _) = listener.accept().expect("a client comes");
                client.read_exact(&mut [0; 8]).expect("the protocol's header");
                client.write_all(START).expect("it listens");
                assert!(client.read(&mut [0; 4096]).expect("the sign-in") > 0);
                client.set_read_timeout(Some(*delay)).expect("a socket");
                let _ = client.read(&mut [0; 4096]);
            }
        });
        RabbitMq {
            host: "127.0.0.1".into(),
            port,
            username: "worker".into(),
            password: Secret::new("canary"),
            vhost: "/".into(),
            heartbeat: 10,
            tls: None,
        }
    }

    #[test]
    fn an_old_broker_refuses_credentials_by_dropping_us_twice_after_its_delay() {
        const LATE: Duration = Duration::from_millis(1100);
        const SOON: Duration = Duration::from_millis(10);
        let refused = |delays| Connection::open(&old_broker(delays), "test").err().expect("not let in");
        let twice = refused(&[LATE, LATE]);
        assert!(twice.refused && twice.to_string().contains("twice in a row"), "{twice}");
        for link_breaks in [refused(&[SOON]), refused(&[LATE, SOON])] {
            assert!(!link_breaks.refused, "{link_breaks}");
        }
    }

    #[test]
    fn a_call_that_ran_out_of_time_is_told_from_one_that_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let client = TcpStream::connect(listener.local_addr().expect("a bound listener has an address")).expect("open");
        let (mut server, _) = listener.accept().expect("a client comes");
        assert!(!Watch::over(&client, SETUP_DEADLINE).has_run_out());
        let mut watch = Watch::over(&client, Duration::from_millis(1));
        assert_eq!(server.read(&mut [0; 1]).expect("the end of the stream"), 0);
        assert!(watch.has_run_out());
    }
}
