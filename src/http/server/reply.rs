//! The reply to a request, and how it is written: head and body in one packet. A reply in two packets costs 40 ms on
//! loopback, where one side waits for more and the other for an acknowledgement.

use std::borrow::Cow;
use std::io::{self, IoSlice, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    status: u16,
    content_type: Cow<'static, str>,
    headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    body: Vec<u8>,
}

/// A reply to a request.
pub enum Reply {
    /// An answer.
    Page(Page),
    /// Anything, written by this to the connection.
    Raw(TakeOver),
}

/// Writes to the connection itself: an answer that breaks off, or is slow. A wait in it must end when the server stops.
pub type TakeOver = Box<dyn FnOnce(&TcpStream) -> io::Result<After> + Send>;

impl Reply {
    /// Lets this write to the connection.
    pub fn raw(take_over: impl FnOnce(&TcpStream) -> io::Result<After> + Send + 'static) -> Reply {
        Reply::Raw(Box::new(take_over))
    }
}

/// What happens to the connection next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next request may come, unless the client has announced the end.
    KeepAlive,
    /// It ends.
    Close,
    /// It ends with RST.
    Reset,
}

impl Page {
    /// An answer; with an empty content type that header is left out.
    pub fn new(status: u16, content_type: impl Into<Cow<'static, str>>, body: impl Into<Vec<u8>>) -> Page {
        Page { status, content_type: content_type.into(), headers: Vec::new(), body: body.into() }
    }

    /// The same with this header. Line breaks are taken out: a value may come from a request.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Page {
        let value: Cow<'static, str> = value.into();
        let value = if value.contains(char::is_control) { value.replace(char::is_control, "").into() } else { value };
        self.headers.push((name.into(), value));
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The whole answer as a client that keeps the connection receives it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.head(true);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The head; the answer to a HEAD request has this and no body.
    pub(super) fn head(&self, keep_alive: bool) -> Vec<u8> {
        let mut head = Vec::with_capacity(256);
        // Writing to memory cannot fail.
        let _ = write!(head, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        if !self.content_type.is_empty() {
            let _ = write!(head, "Content-Type: {}\r\n", self.content_type);
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        // These have no body by their status, and no length of one.
        if !matches!(self.status, 204 | 304) {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        let connection = if keep_alive { "" } else { "Connection: close\r\n" };
        let _ = write!(head, "{connection}\r\n");
        head
    }
}

/// Writes both, in one packet if they fit, within `patience` for a client that does not read.
pub(super) fn write(mut stream: &TcpStream, head: &[u8], body: &[u8], patience: Duration) -> io::Result<()> {
    let until = Instant::now() + patience;
    let mut slices = [IoSlice::new(head), IoSlice::new(body)];
    let mut rest = &mut slices[..];
    loop {
        match stream.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            // The kernel returns after a part of it when the socket's own time limit is over.
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
        if rest.iter().all(|slice| slice.is_empty()) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // HTTP allows an empty reason.
        _ => "",
    }
}
