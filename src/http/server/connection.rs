//! One connection: reads its requests one after the other, each within its deadlines and limits, and writes the replies in
//! the same order. It knows no other connection.

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use httparse::EMPTY_HEADER;

use super::reply::{self, After, Page, Reply};
use super::request::{BUSY, HEAD_TOO_LONG, Head, MOST_HEADERS, Refused, Request, TOO_SLOW, end_of_head};
use super::{Limits, Respond};

/// What is read at once, in bytes; most requests fit.
const CHUNK: usize = 16 * 1024;
/// For reading on after a refusal. A connection that is closed before all is read is reset, and the refusal gets lost.
const LINGER: Duration = Duration::from_secs(1);
const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Answers until either side ends the connection.
pub(super) fn serve(stream: &TcpStream, limits: &Limits, respond: &impl Respond) -> io::Result<After> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(limits.reply_time))?;
    let mut inbox = Inbox { stream, limits, bytes: vec![0; CHUNK], filled: 0 };
    loop {
        match inbox.answer_next(respond) {
            Ok(After::KeepAlive) => {}
            Ok(after) => return Ok(after),
            Err(Ended::Refused(refused)) => {
                refuse(stream, refused, limits.reply_time)?;
                return Ok(After::Close);
            }
            Err(Ended::Lost(err)) => return Err(err),
        }
    }
}

/// Says why, and lets the client read that.
pub(super) fn refuse(stream: &TcpStream, refused: Refused, patience: Duration) -> io::Result<()> {
    let page = Page::new(refused.status, "text/plain", refused.why);
    reply::write(stream, &page.head(false), page.body(), patience)?;
    stream.shutdown(Shutdown::Write)?;
    let (mut rest, mut skipped) = (Timely { stream, until: Instant::now() + LINGER }, [0; 4096]);
    while let Ok(1..) = rest.read(&mut skipped) {}
    Ok(())
}

/// Says that there are too many, at once: the caller has others to wait for. A client that has sent its request already
/// may find itself reset instead.
pub(super) fn turn_away(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let page = Page::new(BUSY.status, "text/plain", BUSY.why);
    let written = reply::write(stream, &page.head(false), page.body(), Duration::ZERO);
    let _ = stream.shutdown(Shutdown::Write);
    written
}

/// Why no further request is answered.
enum Ended {
    Refused(Refused),
    Lost(io::Error),
}

impl From<Refused> for Ended {
    fn from(refused: Refused) -> Ended {
        Ended::Refused(refused)
    }
}

/// Of what was to be read.
impl From<io::Error> for Ended {
    fn from(err: io::Error) -> Ended {
        match err.kind() {
            ErrorKind::TimedOut => Ended::Refused(TOO_SLOW),
            _ => Ended::Lost(err),
        }
    }
}

/// What has come and was not answered yet: the next request, and more when the client does not wait for its answers.
struct Inbox<'a> {
    stream: &'a TcpStream,
    limits: &'a Limits,
    bytes: Vec<u8>,
    /// So many of the bytes have come.
    filled: usize,
}

impl Inbox<'_> {
    fn answer_next(&mut self, respond: &impl Respond) -> Result<After, Ended> {
        let Some(end) = self.read_head()? else { return Ok(After::Close) };
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let (head, behind) = self.bytes[..self.filled].split_at(end);
        let head = Head::parse(head, &mut headers, self.limits.body)?;
        let here = behind.len().min(head.length);
        let late;
        let body = if here == head.length {
            &behind[..here]
        } else {
            late = self.read_body(&behind[..here], &head)?;
            &late
        };
        let request = Request { body, ..head.request };
        // Whoever answers may panic: that costs this connection, and nothing else.
        let reply = catch_unwind(AssertUnwindSafe(|| respond.respond(&request)));
        let Ok(reply) = reply else { return Ok(After::Close) };
        let after = self.write(reply, &head).map_err(Ended::Lost)?;
        self.bytes.copy_within(end + here..self.filled, 0);
        self.filled -= end + here;
        Ok(after)
    }

    /// Where the next head ends; `None` when there is none: the client has ended the connection, or forgotten it.
    fn read_head(&mut self) -> Result<Option<usize>, Ended> {
        let (mut seen, mut until) = (0, (self.filled > 0).then(|| Instant::now() + self.limits.head_time));
        loop {
            match end_of_head(&self.bytes[..self.filled], seen) {
                Some(end) if end <= self.limits.head => return Ok(Some(end)),
                None if self.filled < self.limits.head => seen = self.filled,
                _ => return Err(HEAD_TOO_LONG.into()),
            }
            if self.filled == self.bytes.len() {
                self.bytes.resize(2 * self.filled, 0);
            }
            let mut timely = Timely { stream: self.stream, until: until.unwrap_or(Instant::now() + self.limits.idle) };
            let read = match (timely.read(&mut self.bytes[self.filled..]), until) {
                (Err(err), None) if err.kind() == ErrorKind::TimedOut => return Ok(None),
                (Ok(0), None) => return Ok(None),
                (Ok(0), Some(_)) => return Err(Ended::Lost(ErrorKind::UnexpectedEof.into())),
                (read, _) => read?,
            };
            self.filled += read;
            until = until.or_else(|| Some(Instant::now() + self.limits.head_time));
        }
    }

    /// The whole body, which begins with what is `here` already.
    fn read_body(&self, here: &[u8], head: &Head<'_>) -> Result<Vec<u8>, Ended> {
        if head.expects_continue && here.is_empty() {
            reply::write(self.stream, GO_ON, &[], self.limits.reply_time).map_err(Ended::Lost)?;
        }
        let timely = Timely { stream: self.stream, until: Instant::now() + self.limits.body_time };
        // It grows with what comes: a length alone is no reason to take memory.
        let mut body = Vec::with_capacity(head.length.min(4 * CHUNK));
        body.extend_from_slice(here);
        let rest = (head.length - here.len()) as u64;
        if timely.take(rest).read_to_end(&mut body)? as u64 != rest {
            return Err(Ended::Lost(ErrorKind::UnexpectedEof.into()));
        }
        Ok(body)
    }

    fn write(&self, reply: Reply, head: &Head<'_>) -> io::Result<After> {
        let after = match reply {
            Reply::Page(page) => {
                let body = if head.request.method == "HEAD" { &[] } else { page.body() };
                reply::write(self.stream, &page.head(head.keep_alive), body, self.limits.reply_time)?;
                After::KeepAlive
            }
            Reply::Raw(write) => write(self.stream)?,
        };
        Ok(if after == After::KeepAlive && !head.keep_alive { After::Close } else { after })
    }
}

/// Reads a connection until then, however the bytes trickle in.
struct Timely<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl Read for Timely<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(into) {
                // The time is over, or a signal has come.
                Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                read => return read,
            }
        }
    }
}
