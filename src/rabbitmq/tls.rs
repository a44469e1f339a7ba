//! amqps: a rustls session over a mio socket, in the form that amiquip's I/O thread needs.
//!
//! [`crate::tls`] says which certificates are trusted. It does not know AMQP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use mio::{Evented, Poll, PollOpt, Ready, Token};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::{connection, peer};
use crate::tls::{self, RootCertificates};

/// The setting that names more root certificates.
const CA_FILE: &str = "RABBITMQ_CA_FILE";
/// For each read of the handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// A TLS session whose handshake is done.
pub struct TlsStream {
    session: ClientConnection,
    socket: mio::net::TcpStream,
    /// Bytes of the current `write` that rustls has taken but the socket has not: the caller repeats that write with
    /// the same bytes, and they must not be taken twice.
    taken: usize,
}

/// Does the handshake on a blocking socket.
///
/// # Errors
/// The server does not speak TLS, or its certificate is not for this host, not signed by a trusted CA, or expired.
pub fn connect(stream: TcpStream, host: &str, root_certificates: &RootCertificates) -> anyhow::Result<TlsStream> {
    let name = ServerName::try_from(host.to_owned()).context("RABBITMQ_HOST is not a name a certificate can have")?;
    let mut session = ClientConnection::new(root_certificates.client(), name)?;
    stream.set_read_timeout(Some(HANDSHAKE_DEADLINE))?;
    stream.set_write_timeout(Some(HANDSHAKE_DEADLINE))?;
    let mut heard = Heard { stream: &stream, first: Vec::new() };
    while session.is_handshaking() {
        session.complete_io(&mut heard).map_err(|err| {
            // An answer without TLS may show what the server is.
            let other = peer::told_to_tls(&heard.first).filter(|_| err.kind() == ErrorKind::InvalidData);
            anyhow!(other.unwrap_or_else(|| tls::explain(&err, CA_FILE)))
        })?;
    }
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    let socket = connection::nonblocking(stream)?;
    Ok(TlsStream { session, socket, taken: 0 })
}

/// Keeps the first bytes of the server.
struct Heard<'a> {
    stream: &'a TcpStream,
    first: Vec<u8>,
}

impl Read for Heard<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buf)?;
        if self.first.is_empty() {
            self.first.extend_from_slice(&buf[..read]);
        }
        Ok(read)
    }
}

impl Write for Heard<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl TlsStream {
    /// Writes encrypted bytes to the socket until none are left.
    fn push(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl Read for TlsStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buf) {
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                plain => return plain,
            }
            if self.session.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            self.session.process_new_packets().map_err(|err| {
                let err = io::Error::new(ErrorKind::InvalidData, err);
                io::Error::new(ErrorKind::InvalidData, tls::explain(&err, CA_FILE))
            })?;
            // The answers of TLS itself; if the socket is full, they go out with the next write.
            match self.push() {
                Err(err) if err.kind() != ErrorKind::WouldBlock => return Err(err),
                _ => {}
            }
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.taken == 0 {
            self.push()?;
            self.taken = self.session.writer().write(buf)?;
        }
        // After a WouldBlock the I/O thread waits until the socket is writable, and repeats this write.
        self.push()?;
        Ok(std::mem::take(&mut self.taken))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }
}

impl Evented for TlsStream {
    fn register(&self, poll: &Poll, token: Token, interest: Ready, opts: PollOpt) -> io::Result<()> {
        self.socket.register(poll, token, interest, opts)
    }

    fn reregister(&self, poll: &Poll, token: Token, interest: Ready, opts: PollOpt) -> io::Result<()> {
        self.socket.reregister(poll, token, interest, opts)
    }

    fn deregister(&self, poll: &Poll) -> io::Result<()> {
        self.socket.deregister(poll)
    }
}

impl amiquip::IoStream for TlsStream {}
