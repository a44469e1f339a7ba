//! One connection: reads its requests one after the other, each within its deadlines and limits, and writes the replies
//! in the same order. It knows no other connection.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use httparse::EMPTY_HEADER;

use super::reply::{self, After, Page, Reply};
use super::request::{BUSY, HEAD_TOO_LONG, Head, MOST_HEADERS, Refused, Request, TOO_SLOW, end_of_head};
use super::turn::Turn;
use super::{Limits, Respond};

/// How many bytes are read at once; most requests fit.
const CHUNK: usize = 16 * 1024;
/// How long reading goes on after a refusal. A connection that is closed with unread bytes is reset, and the refusal is
/// lost.
const LINGER: Duration = Duration::from_secs(1);
const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Answers until either side ends the connection.
pub(super) fn serve(stream: &TcpStream, limits: &Limits, respond: &impl Respond, turn: &Turn) -> io::Result<After> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(limits.reply_time))?;
    let mut inbox = Inbox { socket: Socket::new(stream), limits, turn, bytes: vec![0; CHUNK], filled: 0 };
    loop {
        match inbox.answer_next(respond) {
            Ok(After::KeepAlive) => {}
            Ok(after) => return Ok(after),
            Err(Ended::Refused(refused)) => {
                refuse(stream, respond.refusal(refused.status, refused.why), limits.reply_time)?;
                return Ok(After::Close);
            }
            Err(Ended::Lost(err)) => return Err(err),
        }
    }
}

/// Says why, and gives the client time to read it.
fn refuse(stream: &TcpStream, page: Page, patience: Duration) -> io::Result<()> {
    reply::write(stream, &page.head(false), page.body(), patience)?;
    stream.shutdown(Shutdown::Write)?;
    let (socket, until) = (Socket::new(stream), Instant::now() + LINGER);
    while let Ok(1..) = (Timely { socket: &socket, until }).read(&mut [0; 4096]) {}
    Ok(())
}

/// Refuses one connection too many, at once: the caller has others to wait for. A client that has already sent its
/// request may find its connection reset instead.
pub(super) fn turn_away(stream: &TcpStream, respond: &impl Respond) {
    let page = respond.refusal(BUSY.status, BUSY.why);
    let written = stream.set_nonblocking(true);
    let _ = written.and_then(|()| reply::write(stream, &page.head(false), page.body(), Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Write);
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

/// A failed read.
impl From<io::Error> for Ended {
    fn from(err: io::Error) -> Ended {
        match err.kind() {
            ErrorKind::TimedOut => Ended::Refused(TOO_SLOW),
            _ => Ended::Lost(err),
        }
    }
}

/// The bytes that have come and are not answered yet: the next request, and more if the client does not wait for
/// answers.
struct Inbox<'a> {
    socket: Socket<'a>,
    limits: &'a Limits,
    turn: &'a Turn,
    bytes: Vec<u8>,
    /// How many of the bytes have come.
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
        if !self.turn.ours() {
            return Ok(After::Close);
        }
        let reply = respond.respond(&Request { body, ..head.request });
        self.turn.of_client();
        let after = self.write(reply, &head).map_err(Ended::Lost)?;
        self.bytes.copy_within(end + here..self.filled, 0);
        self.filled -= end + here;
        Ok(after)
    }

    /// Where the next head ends; `None` when none comes: the client has closed the connection, or sends nothing.
    fn read_head(&mut self) -> Result<Option<usize>, Ended> {
        if self.filled == 0 && !self.await_request()? {
            return Ok(None);
        }
        let (mut seen, until) = (0, Instant::now() + self.limits.head_time);
        loop {
            match end_of_head(&self.bytes[..self.filled], seen)? {
                Some(end) if end <= self.limits.head => return Ok(Some(end)),
                None if self.filled < self.limits.head => seen = self.filled,
                _ => return Err(HEAD_TOO_LONG.into()),
            }
            if self.filled == self.bytes.len() {
                self.bytes.resize(2 * self.filled, 0);
            }
            match (Timely { socket: &self.socket, until }).read(&mut self.bytes[self.filled..])? {
                0 => return Err(Ended::Lost(ErrorKind::UnexpectedEof.into())),
                read => self.filled += read,
            }
        }
    }

    /// Reads its first bytes. Returns false when there are none.
    fn await_request(&mut self) -> io::Result<bool> {
        self.filled = match self.socket.read_within(self.limits.idle, &mut self.bytes) {
            Err(err) if err.kind() == ErrorKind::TimedOut => 0,
            read => read?,
        };
        Ok(self.filled > 0)
    }

    /// The whole body; `here` is the part that has come already.
    fn read_body(&self, here: &[u8], head: &Head<'_>) -> Result<Vec<u8>, Ended> {
        if head.expects_continue && here.is_empty() {
            reply::write(self.socket.stream, GO_ON, &[], self.limits.reply_time).map_err(Ended::Lost)?;
        }
        let timely = Timely { socket: &self.socket, until: Instant::now() + self.limits.body_time };
        // It grows with the bytes that come: a length alone reserves no memory.
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
                reply::write(self.socket.stream, &page.head(head.keep_alive), body, self.limits.reply_time)?;
                After::KeepAlive
            }
            Reply::Raw(write) => write(self.socket.stream)?,
        };
        Ok(if after == After::KeepAlive && !head.keep_alive { After::Close } else { after })
    }
}

/// A connection, and how long the kernel lets a read of it wait. Telling the kernel costs as much as a short read, so
/// it is told only a new time.
struct Socket<'a> {
    stream: &'a TcpStream,
    patience: Cell<Option<Duration>>,
}

impl<'a> Socket<'a> {
    fn new(stream: &'a TcpStream) -> Socket<'a> {
        Socket { stream, patience: Cell::new(None) }
    }

    fn read_within(&self, patience: Duration, into: &mut [u8]) -> io::Result<usize> {
        if self.patience.replace(Some(patience)) != Some(patience) {
            self.stream.set_read_timeout(Some(patience))?;
        }
        let mut stream = self.stream;
        loop {
            match stream.read(into) {
                // This is how the kernel reports it.
                Err(err) if err.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
                // A signal came.
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

/// Reads a connection until this time, however slowly the bytes come.
struct Timely<'a> {
    socket: &'a Socket<'a>,
    until: Instant,
}

impl Read for Timely<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => self.socket.read_within(left, into),
        }
    }
}
