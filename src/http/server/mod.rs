//! A small HTTP/1.1 server with keep-alive: one thread for each connection, all of them ended and joined on drop.
//!
//! It moves bytes and knows nothing of Bitrix24. It exists because a stand-in must go away like a server that was shut
//! down, open connections included, and must answer in one packet: a reply sent in two costs 40 ms on loopback.
//! Chunked request bodies and TLS are left out.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle, Scope};
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender, TryRecvError};

/// Bytes of a request's head; far above what any client of the sandbox sends.
const MAX_HEAD: u64 = 64 * 1024;
/// Bytes of a request's body; a batch of 50 long descriptions is about 5 MB.
const MAX_BODY: u64 = 32 * 1024 * 1024;
/// Pause after a failed accept (out of file handles), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A request as it came over the wire.
pub struct HttpRequest {
    /// Path and query, still percent-encoded.
    pub target: String,
    pub content_type: String,
    pub body: Vec<u8>,
}

/// What comes instead of, or as, an answer.
pub enum HttpReply {
    Whole(Page),
    /// The head and half of the body, then the end of the connection.
    Half(Page),
    /// The connection ends without an answer.
    Close,
    /// The same with RST.
    Reset,
}

/// An answer.
pub struct Page {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// Answers requests, from many threads at once.
pub trait Respond: Send + Sync + 'static {
    /// Waits must end when the server's stop channel closes.
    fn respond(&self, request: HttpRequest) -> HttpReply;
}

/// How a connection ends.
#[derive(PartialEq)]
enum Ending {
    Orderly,
    Reset,
}

/// A running server. Dropping it cuts every connection and joins every thread.
pub struct Server {
    address: SocketAddr,
    /// Dropped to stop: every [`Receiver`] of the stop channel sees it closed.
    stop: Option<Sender<()>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `127.0.0.1:port` (0 = any free port) and answers with what `respond` makes of the stop channel.
    ///
    /// # Errors
    /// The port is taken, or no thread can be started.
    pub fn start<R: Respond>(port: u16, respond: impl FnOnce(Receiver<()>) -> R) -> anyhow::Result<Server> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("sandbox: port {port}"))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let respond = respond(stopped.clone());
        let acceptor =
            thread::Builder::new().name("sandbox".into()).spawn(move || accept(&listener, &respond, &stopped))?;
        Ok(Server { address, stop: Some(stop), acceptor: Some(acceptor) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        // The acceptor sits in accept(); a connection of our own wakes it. Without one it could not be joined.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            // A panic of a connection's thread was printed when it happened.
            let _ = acceptor.join();
        }
    }
}

/// The open connections by number, so that stopping can cut them. Shared: each connection's thread removes its own.
type Connections = Mutex<HashMap<u64, TcpStream>>;

/// Runs until the stop channel closes; the scope then joins the threads of all connections.
fn accept(listener: &TcpListener, respond: &impl Respond, stopped: &Receiver<()>) {
    let connections = Connections::default();
    thread::scope(|scope| {
        for (number, stream) in (1..).zip(listener.incoming()) {
            if stopped.try_recv() == Err(TryRecvError::Disconnected) {
                break;
            }
            if let Err(err) = stream.and_then(|stream| open(scope, number, stream, &connections, respond)) {
                log::warn!("sandbox: connection lost: {err}");
                let _ = stopped.recv_timeout(ACCEPT_PAUSE);
            }
        }
        for stream in lock(&connections).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
}

fn open<'scope>(
    scope: &'scope Scope<'scope, '_>,
    number: u64,
    stream: TcpStream,
    connections: &'scope Connections,
    respond: &'scope impl Respond,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    lock(connections).insert(number, stream.try_clone()?);
    let serve = move || {
        let ending = serve(&stream, respond).unwrap_or_else(|err| {
            log::debug!("sandbox: connection {number}: {err}");
            Ending::Orderly
        });
        // With it goes the twin, which could keep the socket open a moment longer; the client must see the end now.
        lock(connections).remove(&number);
        if ending == Ending::Reset {
            let _ = reset_when_dropped(&stream);
        } else {
            let _ = stream.shutdown(Shutdown::Both);
        }
    };
    let spawned = thread::Builder::new().name(format!("sandbox/{number}")).spawn_scoped(scope, serve);
    if spawned.is_err() {
        lock(connections).remove(&number);
    }
    spawned.map(drop)
}

/// Answers the requests of one connection, one after the other, until either side closes it.
fn serve(stream: &TcpStream, respond: &impl Respond) -> io::Result<Ending> {
    let mut reader = BufReader::new(stream);
    while let Some((request, keep_alive)) = read_request(&mut reader, stream)? {
        match respond.respond(request) {
            HttpReply::Whole(page) => write(stream, &encode(&page))?,
            HttpReply::Half(page) => {
                let whole = encode(&page);
                write(stream, &whole[..whole.len() - page.body.len().div_ceil(2)])?;
                break;
            }
            HttpReply::Close => break,
            HttpReply::Reset => return Ok(Ending::Reset),
        }
        if !keep_alive {
            break;
        }
    }
    Ok(Ending::Orderly)
}

/// Makes the kernel answer the closing of `stream` with RST instead of FIN, once its last handle is dropped. The
/// setting goes through `mio`, which can linger where std cannot.
fn reset_when_dropped(stream: &TcpStream) -> io::Result<()> {
    mio::net::TcpStream::from_stream(stream.try_clone()?)?.set_linger(Some(Duration::ZERO))
}

/// The next request and whether the connection stays open after it; `None` when the client closed it.
fn read_request(reader: &mut BufReader<&TcpStream>, mut writer: &TcpStream) -> io::Result<Option<(HttpRequest, bool)>> {
    let mut head = reader.by_ref().take(MAX_HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.split_whitespace().nth(1).ok_or_else(|| invalid("no request line"))?.to_owned();
    let mut keep_alive = !line.trim_end().ends_with("HTTP/1.0");
    let (mut content_type, mut length) = (String::new(), 0_u64);
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(invalid("head too long or cut"));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(|_| invalid("bad content-length"))?,
            "content-type" => content_type = value.to_ascii_lowercase(),
            "connection" => keep_alive = keep_alive && !value.eq_ignore_ascii_case("close"),
            "expect" => writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
            "transfer-encoding" => return Err(invalid("chunked bodies are not supported")),
            _ => {}
        }
    }
    if length > MAX_BODY {
        return Err(invalid("body too long"));
    }
    let mut body = Vec::new();
    if reader.by_ref().take(length).read_to_end(&mut body)? as u64 != length {
        return Err(invalid("body cut"));
    }
    Ok(Some((HttpRequest { target, content_type, body }, keep_alive)))
}

/// Head and body, to be sent in one write: see the top of this file.
fn encode(page: &Page) -> Vec<u8> {
    let mut message = format!(
        "HTTP/1.1 {} \r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        page.status,
        page.content_type,
        page.body.len()
    )
    .into_bytes();
    message.extend_from_slice(&page.body);
    message
}

fn write(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A thread that panicked is told by its panic; what it left behind is still usable for a stand-in.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    struct Echo(Receiver<()>);

    impl Respond for Echo {
        fn respond(&self, request: HttpRequest) -> HttpReply {
            let page = Page { status: 200, content_type: "text/plain", body: request.body };
            match request.target.as_str() {
                "/stall" => {
                    let _ = self.0.recv_timeout(Duration::from_secs(60));
                    HttpReply::Close
                }
                "/half" => HttpReply::Half(page),
                "/reset" => HttpReply::Reset,
                _ => HttpReply::Whole(page),
            }
        }
    }

    fn connect(server: &Server) -> TcpStream {
        let stream = TcpStream::connect(server.address()).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        stream
    }

    #[test]
    fn two_requests_share_a_connection() {
        let server = Server::start(0, Echo).expect("a free port");
        let mut stream = connect(&server);
        for body in ["one", "two"] {
            let request = format!("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n{body}");
            stream.write_all(request.as_bytes()).expect("the connection is open");
            let mut reply = [0; 512];
            let length = stream.read(&mut reply).expect("a reply");
            assert!(reply[..length].ends_with(body.as_bytes()));
        }
    }

    #[test]
    fn an_answer_can_break_off_and_a_connection_be_reset() {
        let server = Server::start(0, Echo).expect("a free port");
        let ask = |path: &str| {
            let mut stream = connect(&server);
            let request = format!("POST {path} HTTP/1.1\r\nContent-Length: 6\r\n\r\nabcdef");
            stream.write_all(request.as_bytes()).expect("the connection is open");
            let mut reply = String::new();
            stream.read_to_string(&mut reply).map(|_| reply)
        };
        let half = ask("/half").expect("half an answer");
        assert!(half.contains("Content-Length: 6") && half.ends_with("\r\nabc"), "{half}");
        assert_eq!(ask("/reset").expect_err("no answer").kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_drop_cuts_idle_and_stalled_connections_at_once() {
        let server = Server::start(0, Echo).expect("a free port");
        let (mut idle, mut stalled) = (connect(&server), connect(&server));
        stalled.write_all(b"GET /stall HTTP/1.1\r\n\r\n").expect("the connection is open");
        let started = Instant::now();
        drop(server);
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(idle.read(&mut [0; 16]).unwrap_or(0), 0);
        assert_eq!(stalled.read(&mut [0; 16]).unwrap_or(0), 0);
    }
}
