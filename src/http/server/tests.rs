//! What goes over the wire, for a friendly client, a hostile one and a slow one.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;

mod room;

const PATIENCE: Duration = Duration::from_secs(10);
/// How long a test waits for anything.
const SHORT: Duration = Duration::from_millis(300);

/// Answers with what it was asked for; `/stall`, `/reset` and the like do what their names say.
struct Echo {
    stopped: Receiver<()>,
    heard: Heard,
}

type Heard = Arc<Mutex<Vec<String>>>;

impl Respond for Echo {
    fn respond(&self, request: &Request<'_>) -> Reply {
        self.heard.lock().expect("no test panics with it").push(request.target.to_owned());
        match request.target {
            "/stall" => {
                let _ = self.stopped.recv_timeout(PATIENCE);
                Reply::raw(|_| Ok(After::Close))
            }
            "/reset" => Reply::raw(|_| Ok(After::Reset)),
            "/raw" => Reply::raw(|mut stream| {
                stream.write_all(&Page::new(200, "", "by hand").encode())?;
                Ok(After::KeepAlive)
            }),
            "/panic" => panic!("whoever answers may do that"),
            "/huge" => Reply::Page(Page::new(200, "", vec![b'x'; 64 << 20])),
            _ => {
                let said = format!("{} {} {}", request.method, request.target, String::from_utf8_lossy(request.body));
                Reply::Page(Page::new(200, "text/plain", said))
            }
        }
    }
}

fn start(limits: Limits) -> (Server, Heard) {
    let heard = Heard::default();
    let echo = |stopped| Echo { stopped, heard: heard.clone() };
    let server = Server::start("test", (Ipv4Addr::LOCALHOST, 0).into(), limits, echo).expect("a free port");
    (server, heard)
}

fn server() -> Server {
    start(Limits::default()).0
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("the server listens");
    stream.set_nodelay(true).expect("a setting of TCP");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

fn post(target: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn send(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("the connection is open");
}

/// Reads up to the end of this text; what follows stays for the next call.
#[track_caller]
fn await_text(mut stream: &TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        let read = stream.read(&mut byte).expect("the reply goes on");
        assert_ne!(read, 0, "no {end:?} after {:?}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
    String::from_utf8(text).expect("text")
}

/// Everything that comes until the server ends the connection.
#[track_caller]
fn rest(mut stream: &TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the server ends the connection in an orderly way");
    text
}

#[test]
fn requests_share_a_connection_however_their_bytes_come() {
    let server = server();
    let stream = connect(&server);
    for byte in (post("/one", "first") + &post("/two", "second")).chars() {
        send(&stream, &byte.to_string());
    }
    await_text(&stream, "POST /one first");
    await_text(&stream, "POST /two second");
    let long = "x".repeat(100_000);
    send(&stream, &post("/long", &long));
    assert!(
        await_text(&stream, &format!("POST /long {long}"))
            .starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n")
    );
}

#[test]
fn requests_that_do_not_wait_for_their_answers_are_answered_in_order() {
    let server = server();
    let stream = connect(&server);
    let requests: Vec<String> = (0..200).map(|number| post(&format!("/{number}"), &"b".repeat(number))).collect();
    send(&stream, &requests.concat());
    for number in 0..200 {
        let reply = await_text(&stream, &format!("POST /{number} {}", "b".repeat(number)));
        assert_eq!(reply.matches("HTTP/1.1 200").count(), 1, "{reply}");
    }
}

#[test]
fn the_answer_to_a_head_request_is_a_head() {
    let server = server();
    let stream = connect(&server);
    send(&stream, &format!("HEAD /page HTTP/1.1\r\nHost: here\r\n\r\n{}", post("/next", "")));
    assert!(await_text(&stream, "\r\n\r\n").contains("Content-Length: 11\r\n"));
    assert!(await_text(&stream, "POST /next ").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_client_that_expects_100_continue_gets_it_before_it_sends_the_body() {
    let server = server();
    let stream = connect(&server);
    let head = "POST /big HTTP/1.1\r\nHost: here\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n";
    send(&stream, head);
    assert_eq!(await_text(&stream, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    send(&stream, "body");
    assert!(await_text(&stream, "POST /big body").starts_with("HTTP/1.1 200"));
    // A client that sends its body at once gets none.
    send(&stream, &format!("{head}more"));
    assert!(await_text(&stream, "POST /big more").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_connection_ends_after_the_last_request() {
    for last in ["HTTP/1.1\r\nHost: h\r\nConnection: close", "HTTP/1.1\r\nHost: h\r\nConnection: x, Close", "HTTP/1.0"]
    {
        let server = server();
        let stream = connect(&server);
        send(&stream, &format!("GET /last {last}\r\n\r\n"));
        let reply = rest(&stream);
        assert!(reply.contains("\r\nConnection: close\r\n") && reply.ends_with("GET /last "), "{reply}");
    }
}

/// Each is refused with this status, and the bytes after it are not taken for a request.
const UNCLEAR: &[(u16, &str)] = &[
    (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\ncontent-length: 0\r\n\r\nbody"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4, 4\r\n\r\nbody"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\nbody"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -4\r\n\r\nbody"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x4\r\n\r\nbody"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4 4\r\n\r\nbody"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nbody"),
    (413, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\nbody"),
    (413, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n"),
    (501, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),
    (501, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (501, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nbody"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    (501, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nHost: h\r\nX: a\nContent-Length: 4\r\n\r\nbody"),
    (400, "POST / HTTP/1.1\nHost: h\nContent-Length: 4\n\nbody"),
    (400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: h\r\nHost: other\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\n\r\n"),
    (400, "GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    (400, "CONNECT other:443 HTTP/1.1\r\nHost: h\r\n\r\n"),
    (400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    (400, "GET /\r\nHost: h\r\n\r\n"),
    (400, "\r\n\r\n"),
    (400, "\u{16}\u{3}\u{1}\u{2}\0\u{1}\r\n\r\n"),
    (417, "POST / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\nContent-Length: 4\r\n\r\nbody"),
    (505, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
];

#[test]
fn an_ambiguous_request_is_refused_and_nothing_after_it_is_read() {
    let (server, heard) = start(Limits::default());
    for (status, unclear) in UNCLEAR {
        let stream = connect(&server);
        send(&stream, &format!("{unclear}GET /smuggled HTTP/1.1\r\nHost: here\r\n\r\n"));
        let reply = rest(&stream);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{unclear:?}: {reply}");
        assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{unclear:?}: {reply}");
    }
    assert!(heard.lock().expect("no panic").is_empty(), "{heard:?}");
}

#[test]
fn a_body_is_a_body_whatever_the_method_and_whatever_it_looks_like() {
    let (server, heard) = start(Limits::default());
    for method in ["GET", "DELETE", "HEAD", "BREW"] {
        let inner = post("/smuggled", "");
        let stream = connect(&server);
        let length = inner.len();
        send(&stream, &format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{inner}"));
        send(&stream, &post("/next", "end"));
        await_text(&stream, "POST /next end");
    }
    assert_eq!(*heard.lock().expect("no panic"), ["/", "/next"].repeat(4));
}

#[test]
fn a_head_and_a_body_have_their_size() {
    let limits = Limits { head: 1000, body: 10, ..Limits::default() };
    let (server, heard) = start(limits);
    let long_line = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(1000));
    let many_lines = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X:\r\n".repeat(MANY));
    for (status, large) in
        [(431, &*long_line), (431, &many_lines), (431, &"x".repeat(20_000)), (413, &post("/", "12345678901"))]
    {
        let stream = connect(&server);
        send(&stream, large);
        assert!(rest(&stream).starts_with(&format!("HTTP/1.1 {status} ")), "{status}");
    }
    assert!(heard.lock().expect("no panic").is_empty());
    let stream = connect(&server);
    send(&stream, &post("/", "1234567890"));
    await_text(&stream, "POST / 1234567890");
}

const MANY: usize = 80;

#[track_caller]
fn await_heard(heard: &Heard, target: &str) {
    let started = Instant::now();
    while !heard.lock().expect("no panic").iter().any(|heard| heard == target) {
        assert!(started.elapsed() < PATIENCE);
        thread::yield_now();
    }
}

#[test]
fn respond_may_take_the_connection_over() {
    let server = server();
    let stream = connect(&server);
    send(&stream, &post("/raw", ""));
    await_text(&stream, "by hand");
    send(&stream, &post("/next", ""));
    await_text(&stream, "POST /next ");
    send(&stream, &post("/reset", ""));
    assert_eq!((&stream).read(&mut [0]).expect_err("no answer").kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_panic_costs_its_connection_and_no_other() {
    let server = server();
    let (unlucky, other) = (connect(&server), connect(&server));
    send(&unlucky, &post("/panic", ""));
    assert_eq!(rest(&unlucky), "");
    send(&other, &post("/", "fine"));
    await_text(&other, "POST / fine");
}

#[test]
fn a_drop_cuts_idle_and_stalled_connections_at_once() {
    let (server, heard) = start(Limits::default());
    let (idle, stalled) = (connect(&server), connect(&server));
    send(&stalled, &post("/stall", ""));
    await_heard(&heard, "/stall");
    let started = Instant::now();
    drop(server);
    assert!(started.elapsed() < PATIENCE / 2);
    assert_eq!((&idle).read(&mut [0; 16]).unwrap_or(0), 0);
    assert_eq!((&stalled).read(&mut [0; 16]).unwrap_or(0), 0);
}

#[test]
fn a_header_of_an_answer_is_one_line() {
    let page = Page::new(302, "", "").with("Location", "/a\r\nSet-Cookie: b\r\n\r\n<script>");
    let text = String::from_utf8(page.encode()).expect("text");
    assert_eq!(text, "HTTP/1.1 302 Found\r\nLocation: /aSet-Cookie: b<script>\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn an_answer_is_one_write() {
    let server = server();
    let stream = connect(&server);
    send(&stream, &post("/", "x"));
    let mut reply = [0; 4096];
    let read = (&stream).read(&mut reply).expect("a reply");
    assert!(reply[..read].ends_with(b"POST / x"), "head and body came apart");
}

#[test]
fn an_answer_that_has_no_body_by_its_status_has_no_length_of_one() {
    for (status, line) in [(204, "HTTP/1.1 204 No Content"), (304, "HTTP/1.1 304 Not Modified")] {
        let text = String::from_utf8(Page::new(status, "", "").encode()).expect("text");
        assert_eq!(text, format!("{line}\r\n\r\n"));
    }
}
