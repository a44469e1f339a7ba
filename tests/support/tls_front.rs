//! TLS in front of a plain server: shows a certificate, decrypts what comes and encrypts what goes. It knows bytes, and
//! no protocol.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::certificates::Identity;

/// Takes no more connections when it is dropped; open ones end with either side.
pub struct TlsFront {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl TlsFront {
    pub fn to(server: SocketAddr, identity: &Identity) -> TlsFront {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (over, config) = (Arc::new(AtomicBool::new(false)), config(identity));
        let acceptor = {
            let over = over.clone();
            spawn("tls/accept", move || {
                for client in listener.incoming().take_while(|_| !over.load(Ordering::Relaxed)).flatten() {
                    let config = config.clone();
                    // Many tests are about a client that refuses the certificate.
                    spawn("tls/client", move || drop(serve(client, server, config)));
                }
            })
        };
        TlsFront { address, over, acceptor: Some(acceptor) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a plain webhook, through this front.
    pub fn before(&self, webhook: &str) -> String {
        let path = webhook.splitn(4, '/').nth(3).expect("a webhook has a path");
        format!("https://{}/{path}", self.address)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn config(identity: &Identity) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates in PEM");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key in PEM");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for all default versions");
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).expect("key and certificate match"))
}

/// One connection; each direction has a thread, and the session is locked only for one chunk at a time.
struct Encrypted {
    session: Mutex<ServerConnection>,
    client: TcpStream,
    server: TcpStream,
}

fn serve(client: TcpStream, server: SocketAddr, config: Arc<ServerConfig>) -> io::Result<()> {
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    session.complete_io(&mut &client)?;
    let server = TcpStream::connect(server)?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let encrypted = Arc::new(Encrypted { session: Mutex::new(session), client, server });
    let answering = spawn("tls/answers", {
        let encrypted = encrypted.clone();
        move || {
            let _ = encrypted.pass_answers();
            let _ = encrypted.client.shutdown(Shutdown::Both);
        }
    });
    let passed = encrypted.pass_requests();
    let _ = encrypted.server.shutdown(Shutdown::Both);
    let _ = answering.join();
    passed
}

impl Encrypted {
    fn session(&self) -> MutexGuard<'_, ServerConnection> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_requests(&self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        loop {
            // The handshake may have brought the first bytes.
            self.pass_decrypted()?;
            let read = (&self.client).read(&mut chunk)?;
            let mut rest = &chunk[..read];
            while !rest.is_empty() {
                let mut session = self.session();
                session.read_tls(&mut rest)?;
                session.process_new_packets().map_err(io::Error::other)?;
                drop(session);
                self.pass_decrypted()?;
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    fn pass_decrypted(&self) -> io::Result<()> {
        let mut plain = [0; 4096];
        loop {
            let read = match self.session().reader().read(&mut plain) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                read => read?,
            };
            if read == 0 {
                return Ok(());
            }
            (&self.server).write_all(&plain[..read])?;
        }
    }

    fn pass_answers(&self) -> io::Result<()> {
        let mut plain = [0; 4096];
        loop {
            let read = (&self.server).read(&mut plain)?;
            let mut session = self.session();
            match read {
                0 => session.send_close_notify(),
                read => session.writer().write_all(&plain[..read])?,
            }
            while session.wants_write() {
                session.write_tls(&mut &self.client)?;
            }
            if read == 0 {
                return Ok(());
            }
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name(name.into()).spawn(run).expect("the machine has a thread to spare")
}
