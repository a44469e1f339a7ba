//! https for [`super::client`]: rustls over ureq's own TCP connection.
//!
//! ureq has this too, but it trusts either the public root certificates or the user's, never both; and it does not tell
//! an error of the handshake, before which nothing was sent, from a later one. This file knows no HTTP.

use std::error::Error;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::Timeout;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use crate::tls::{self, RootCertificates};

/// The setting that names more root certificates.
pub const CA_FILE: &str = "HTTPS_CA_FILE";

/// Puts TLS on a connection to an https address.
#[derive(Debug)]
pub struct Https(Arc<ClientConfig>);

/// The handshake failed, so nothing was sent. The text says what a person has to do, if anything.
#[derive(Debug)]
pub struct NoHandshake(String);

impl fmt::Display for NoHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for NoHandshake {}

impl Https {
    /// Trusts these root certificates.
    pub fn new(root_certificates: &RootCertificates) -> Https {
        Https(root_certificates.client())
    }

    fn shake_hands(&self, details: &ConnectionDetails, tcp: Box<dyn Transport>) -> Result<Session, ureq::Error> {
        let host = details.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| no_handshake("no certificate can have the host's name"))?;
        let mut session = ClientConnection::new(Arc::clone(&self.0), name)
            .map_err(|_| no_handshake("the session cannot be started: something is wrong with this program"))?;
        let mut socket = TransportAdapter::new(tcp, details.current_time.clone());
        // The deadline for connecting starts again.
        socket.set_timeout(details.timeout);
        session.complete_io(&mut socket).map_err(|err| match ureq::Error::from(err) {
            ureq::Error::Io(err) => no_handshake(tls::explain(&err, CA_FILE)),
            // Even if the deadline of the whole request is over: nothing was sent.
            _ => ureq::Error::Timeout(Timeout::Connect),
        })?;
        let (input, output) = (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Session { buffers: LazyBuffers::new(input, output), stream: StreamOwned::new(session, socket) })
    }
}

fn no_handshake(what: impl Into<String>) -> ureq::Error {
    ureq::Error::Other(Box::new(NoHandshake(what.into())))
}

impl<Tcp: Transport> Connector<Tcp> for Https {
    type Out = Either<Tcp, Session>;

    fn connect(&self, details: &ConnectionDetails, tcp: Option<Tcp>) -> Result<Option<Self::Out>, ureq::Error> {
        match tcp {
            Some(tcp) if details.needs_tls() => {
                self.shake_hands(details, Box::new(tcp)).map(|session| Some(Either::B(session)))
            }
            tcp => Ok(tcp.map(Either::A)),
        }
    }
}

/// An encrypted connection.
pub struct Session {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("https session")
    }
}

impl Transport for Session {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let read = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
