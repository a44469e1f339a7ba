//! The head of a request: who asks for what, and where the request ends. This file reads no socket.
//!
//! Two programs that read the same bytes must agree on where a request ends; otherwise one of them takes a part of it
//! for another request, with the first one's rights. So a request whose end is ambiguous is refused, not guessed.

use httparse::Error;
pub use httparse::Header;

/// More lines than any client sends.
pub(super) const MOST_HEADERS: usize = 64;

/// A request as it came over the wire.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// GET and the like.
    pub method: &'a str,
    /// Path and query, still percent-encoded.
    pub target: &'a str,
    /// In their order; names as they were written.
    pub headers: &'a [Header<'a>],
    /// All of it.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The first header of this name, whatever its case, if it is text.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let header = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    }

    /// The body's type as the client wrote it; empty without one.
    pub fn content_type(&self) -> &'a str {
        self.header("content-type").unwrap_or_default()
    }
}

/// A request that is answered with this status instead of by `respond`; the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub status: u16,
    pub why: &'static str,
}

const fn refused(status: u16, why: &'static str) -> Refused {
    Refused { status, why }
}

pub(super) const HEAD_TOO_LONG: Refused = refused(431, "the request's head is too long");
pub(super) const TOO_SLOW: Refused = refused(408, "the request took too long to arrive");
pub(super) const BUSY: Refused = refused(503, "there are too many connections");
/// Some readers take it for the end of a line, others do not.
const BARE_LINE_FEED: Refused = refused(400, "a line of the head does not end in CR LF");
const BODY_TOO_LONG: Refused = refused(413, "the request's body is too long");

/// A head without ambiguity.
#[derive(Debug)]
pub(super) struct Head<'a> {
    /// Its body is still empty.
    pub request: Request<'a>,
    /// Length of the body, in bytes.
    pub length: usize,
    /// The client wants to send another request over the same connection.
    pub keep_alive: bool,
    /// The client sends the body only after "100 Continue".
    pub expects_continue: bool,
}

/// Where the first head ends in these bytes, if it does. The first `seen` bytes have been searched before.
pub(super) fn end_of_head(bytes: &[u8], seen: usize) -> Result<Option<usize>, Refused> {
    // The end may have started in the bytes seen before.
    for at in seen.saturating_sub(2)..bytes.len() {
        if bytes[at] != b'\n' {
            continue;
        }
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(BARE_LINE_FEED);
        }
        if bytes[at + 1..].starts_with(b"\r\n") {
            return Ok(Some(at + 3));
        }
    }
    Ok(None)
}

impl<'a> Head<'a> {
    /// Reads a whole head, as [`end_of_head`] has found it, of a request with a body of up to `most` bytes.
    pub fn parse(
        bytes: &'a [u8],
        headers: &'a mut [Header<'a>; MOST_HEADERS],
        most: usize,
    ) -> Result<Head<'a>, Refused> {
        let mut parsed = httparse::Request::new(headers);
        let complete = parsed.parse(bytes).map_err(|err| match err {
            Error::TooManyHeaders => HEAD_TOO_LONG,
            Error::Version => refused(505, "versions 1.1 and 1.0 are spoken here"),
            _ => refused(400, "the request's head is not HTTP"),
        })?;
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(refused(400, "there is no request line"));
        };
        if complete.is_partial() || !target.starts_with('/') {
            return Err(refused(400, "the request's target is not a path"));
        }
        let request = Request { method, target, headers: parsed.headers, body: &[] };
        let length = length(&request, most)?;
        let is_1_1 = version == 1;
        if request.all("host").count() > 1 || (is_1_1 && request.header("host").is_none()) {
            return Err(refused(400, "a request has exactly one Host"));
        }
        let closes = request.all("connection").any(|value| {
            value.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
        });
        let expects_continue = is_1_1 && expects_continue(&request)?;
        Ok(Head { request, length, keep_alive: is_1_1 && !closes, expects_continue })
    }
}

impl<'a> Request<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let of_the_name = self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        of_the_name.map(|header| header.value)
    }
}

/// The body's length. Only digits count: what one reader takes for 10, another takes for 0.
fn length(request: &Request<'_>, most: usize) -> Result<usize, Refused> {
    if request.all("transfer-encoding").next().is_some() {
        return Err(refused(501, "a body in a transfer encoding is not read here: send its Content-Length"));
    }
    let mut lengths = request.all("content-length");
    let Some(value) = lengths.next() else { return Ok(0) };
    if lengths.next().is_some() {
        return Err(refused(400, "there is more than one Content-Length"));
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(refused(400, "the Content-Length is not a number"));
    }
    // A number with too many digits is too large as well.
    let length = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX);
    if length > most { Err(BODY_TOO_LONG) } else { Ok(length) }
}

fn expects_continue(request: &Request<'_>) -> Result<bool, Refused> {
    match request.header("expect") {
        None => Ok(false),
        Some(expected) if expected.eq_ignore_ascii_case("100-continue") => Ok(true),
        Some(_) => Err(refused(417, "nothing but 100-continue can be expected here")),
    }
}
