//! One connection: reads its requests one after the other, each within its deadlines and limits, and writes the replies in
//! the same order. It knows no other connection.

use std::io::{self, ErrorKind, Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use httparse::EMPTY_HEADER;

use super::reply::{self, After, Page, Reply};
use super::request::{HEAD_TOO_LONG, Head, MOST_HEADERS, Refused, Request, TOO_SLOW, end_of_head};
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
pub(super) fn refuse(mut stream: &TcpStream, refused: Refused, patience: Duration) -> io::Result<()> {
    let page = Page::new(refused.status, "text/plain", refused.why);
    reply::write(stream, &page.head(false), page.body(), patience)?;
    stream.shutdown(Shutdown::Write)?;
    let (until, mut rest) = (Instant::now() + LINGER, [0; 4096]);
    while let Ok(1..) = (Timely { stream, until }).read(&mut rest) {}
    Ok(())
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

impl From<io::Error> for Ended {
    fn from(err: io::Error) -> Ended {
        match err.kind() {
            // std says either for a deadline that is over.
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Ended::Refused(TOO_SLOW),
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
        let (late, used);
        let body = if let Some(body) = behind.get(..head.length) {
            used = end + head.length;
            body
        } else {
            used = self.filled;
            late = self.read_body(behind, &head)?;
            &late
        };
        let request = Request { body, ..head.request };
        // Whoever answers may panic: that costs this connection, and nothing else.
        let reply = catch_unwind(AssertUnwindSafe(|| respond.respond(&request)));
        let Ok(reply) = reply else { return Ok(After::Close) };
        let after = self.write(reply, &head).map_err(Ended::Lost)?;
        self.bytes.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(after)
    }

    /// Where the next head ends; `None` when there is none, since the client has ended the connection, or forgotten it.
    fn read_head(&mut self) -> Result<Option<usize>, Ended> {
        let deadline = || Instant::now() + self.limits.head_time;
        let (mut seen, mut until) = (0, (self.filled > 0).then(deadline));
        loop {
            match end_of_head(&self.bytes[..self.filled], seen) {
                Some(end) if end <= self.limits.head => return Ok(Some(end)),
                None if self.filled < self.limits.head => {}
                _ => return Err(HEAD_TOO_LONG.into()),
            }
            seen = self.filled;
            if self.filled == self.bytes.len() {
                self.bytes.resize(2 * self.filled, 0);
            }
            let room = &mut self.bytes[self.filled..];
            self.filled += match until {
                Some(until) => some(Timely { stream: self.stream, until }.read(room)?)?,
                None => match self.first_bytes()? {
                    0 => return Ok(None),
                    read => read,
                },
            };
            until = until.or_else(|| Some(deadline()));
        }
    }
}
