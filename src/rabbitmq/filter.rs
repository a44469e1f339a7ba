//! Makes harmless what amiquip cannot take, before it sees it: a text that is not UTF-8 ends its connection, tables
//! nested thousands deep overflow its stack and abort the process.
//!
//! Either would wear out every message in hand: it is delivered again, to the same end, until a quorum queue deletes
//! it. Of what the broker sends only headers and methods that carry a text of others are looked at; bodies pass as they
//! are. All is mended in place, since no length changes: `?` stands for each byte that is not UTF-8, and a table too
//! deep becomes the bytes it is written in. It knows neither queues nor tasks, and changes nothing of what we send.

use std::io::{self, Read, Write};

use amiquip::IoStream;
use mio::{Evented, Poll, PollOpt, Ready, Token};

/// Frames of AMQP 0-9-1.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// Type, channel and size, in front of the payload.
const HEAD: usize = 7;
/// After the payload.
const END: usize = 1;
/// A broker's frames have 128 KiB at most, unless its limit was raised. A larger one is left to amiquip.
const LARGEST_FRAME: usize = 16 << 20;
/// The tables of honest headers are three deep (`x-death`).
const DEEPEST: u32 = 32;
/// What is read from the socket at once.
const READ: usize = 64 << 10;

/// A stream from a broker, without what amiquip cannot take.
pub struct Harmless<S> {
    stream: S,
    /// Where the stream is read to.
    incoming: Box<[u8]>,
    /// What was read and not handed over.
    buffer: Vec<u8>,
    /// Of the buffer: handed over already.
    handed: usize,
    /// Of the buffer: seen, and mended where needed.
    seen: usize,
    /// Bytes of a frame that are yet to come and pass unseen.
    passing: u64,
}

impl<S> Harmless<S> {
    /// The stream, from its very first byte.
    pub fn new(stream: S) -> Harmless<S> {
        Harmless { stream, incoming: vec![0; READ].into(), buffer: Vec::new(), handed: 0, seen: 0, passing: 0 }
    }

    /// Goes on to the end of what was read, or to a frame that has to be seen whole.
    fn look(&mut self) {
        while self.seen < self.buffer.len() {
            let rest = &mut self.buffer[self.seen..];
            let passing = rest.len().min(usize::try_from(self.passing).unwrap_or(usize::MAX));
            if passing > 0 {
                self.passing -= passing as u64;
                self.seen += passing;
                continue;
            }
            let Some(frame) = Frame::read(rest) else { return };
            match frame {
                Frame::Passes(size) => self.passing = size,
                Frame::Whole(size) if rest.len() >= size => {
                    mend(&mut rest[..size]);
                    self.seen += size;
                }
                Frame::Whole(_) => return,
            }
        }
    }

    fn hand_over(&mut self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.seen - self.handed);
        out[..count].copy_from_slice(&self.buffer[self.handed..self.handed + count]);
        self.handed += count;
        if self.handed == self.buffer.len() {
            self.buffer.clear();
            (self.handed, self.seen) = (0, 0);
        }
        count
    }
}

impl<S: Read> Harmless<S> {
    /// Reads once, behind what is in the buffer.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.handed);
        self.seen -= self.handed;
        self.handed = 0;
        let read = self.stream.read(&mut self.incoming)?;
        self.buffer.extend_from_slice(&self.incoming[..read]);
        Ok(read)
    }
}

impl<S: Read> Read for Harmless<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.handed < self.seen {
                return Ok(self.hand_over(out));
            }
            if self.buffer.is_empty() && self.passing > 0 {
                let most = out.len().min(usize::try_from(self.passing).unwrap_or(usize::MAX));
                let read = self.stream.read(&mut out[..most])?;
                self.passing -= read as u64;
                return Ok(read);
            }
            if self.fill()? == 0 {
                // What is left of a frame that will never be whole.
                self.seen = self.buffer.len();
                return Ok(self.hand_over(out));
            }
            self.look();
        }
    }
}

impl<S: Write> Write for Harmless<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Evented> Evented for Harmless<S> {
    fn register(&self, poll: &Poll, token: Token, interest: Ready, opts: PollOpt) -> io::Result<()> {
        self.stream.register(poll, token, interest, opts)
    }

    fn reregister(&self, poll: &Poll, token: Token, interest: Ready, opts: PollOpt) -> io::Result<()> {
        self.stream.reregister(poll, token, interest, opts)
    }

    fn deregister(&self, poll: &Poll) -> io::Result<()> {
        self.stream.deregister(poll)
    }
}

impl<S: IoStream> IoStream for Harmless<S> {}

/// What to do with a frame, head and end included.
#[derive(Debug, PartialEq)]
enum Frame {
    /// So many bytes pass as they are.
    Passes(u64),
    /// So many bytes have to be here before one of them is handed over.
    Whole(usize),
}

impl Frame {
    /// `None`: its head is not here yet.
    fn read(bytes: &[u8]) -> Option<Frame> {
        let kind = *bytes.first()?;
        if ![METHOD, HEADER, BODY, HEARTBEAT].contains(&kind) {
            // No AMQP, or none that we know: whoever reads it says so.
            return Some(Frame::Passes(u64::MAX));
        }
        let size = bytes.get(3..HEAD)?.try_into().map(u32::from_be_bytes).ok()?;
        let whole = u64::from(size) + (HEAD + END) as u64;
        Some(match usize::try_from(whole) {
            Ok(whole) if whole <= LARGEST_FRAME && [METHOD, HEADER].contains(&kind) => Frame::Whole(whole),
            _ => Frame::Passes(whole),
        })
    }
}

/// Mends a whole frame with a method or a content header.
fn mend(frame: &mut [u8]) {
    let kind = frame[0];
    let payload = HEAD..frame.len() - END;
    let mut fields = Fields { bytes: &mut frame[payload], at: 0, mended: false };
    // What does not have the form that we expect is left as it is from there on.
    let _ = if kind == METHOD { fields.method() } else { fields.content_header() };
    if fields.mended {
        log::debug!(
            "made harmless what a message, or the broker, has in its AMQP fields: no UTF-8, or too deep a table"
        );
    }
}

/// The fields of a frame, read one after the other and mended. `None`: there is no more, or it has no known form.
struct Fields<'a> {
    bytes: &'a mut [u8],
    at: usize,
    mended: bool,
}

impl Fields<'_> {
    /// The methods that carry texts which neither we nor amiquip have written.
    fn method(&mut self) -> Option<()> {
        let id = (self.number(2)?, self.number(2)?);
        match id {
            // Connection.Close and Channel.Close: the broker cuts a long explanation anywhere.
            (10, 50) | (20, 40) => {
                self.skip(2)?;
                self.short_text()
            }
            // Connection.Blocked.
            (10, 60) => self.short_text(),
            // Basic.Return: code, text, exchange, routing key.
            (60, 50) => {
                self.skip(2)?;
                self.short_texts(3)
            }
            // Basic.Deliver: consumer, tag, redelivered, exchange, routing key.
            (60, 60) => {
                self.short_text()?;
                self.skip(9)?;
                self.short_texts(2)
            }
            // Basic.GetOk: tag, redelivered, exchange, routing key.
            (60, 71) => {
                self.skip(9)?;
                self.short_texts(2)
            }
            _ => None,
        }
    }

    fn content_header(&mut self) -> Option<()> {
        // Class, weight, size of the body.
        self.skip(12)?;
        let flags = self.number(2)?;
        // From content-type down to cluster-id, each if its bit is set.
        for property in 0..14 {
            if flags & (1 << (15 - property)) == 0 {
                continue;
            }
            match property {
                2 => self.table(DEEPEST)?,
                // Delivery mode and priority.
                3 | 4 => self.skip(1)?,
                // Timestamp.
                9 => self.skip(8)?,
                _ => self.short_text()?,
            }
        }
        Some(())
    }

    fn table(&mut self, deepest: u32) -> Option<()> {
        let end = self.end()?;
        while self.at < end {
            self.short_text()?;
            self.value(deepest)?;
        }
        Some(())
    }

    fn array(&mut self, deepest: u32) -> Option<()> {
        let end = self.end()?;
        while self.at < end {
            self.value(deepest)?;
        }
        Some(())
    }

    fn value(&mut self, deepest: u32) -> Option<()> {
        let kind = self.at;
        self.skip(1)?;
        match self.bytes[kind] {
            b'V' => Some(()),
            b't' | b'b' | b'B' => self.skip(1),
            b's' | b'u' | b'U' => self.skip(2),
            b'I' | b'i' | b'f' => self.skip(4),
            b'D' => self.skip(5),
            b'l' | b'L' | b'd' | b'T' => self.skip(8),
            b'S' => {
                let end = self.end()?;
                self.text(end)
            }
            b'F' | b'A' if deepest == 0 => {
                self.bytes[kind] = b'x';
                self.mended = true;
                self.at = self.end()?;
                Some(())
            }
            b'F' => self.table(deepest - 1),
            b'A' => self.array(deepest - 1),
            b'x' => {
                self.at = self.end()?;
                Some(())
            }
            _ => None,
        }
    }

    fn short_texts(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.short_text())
    }

    fn short_text(&mut self) -> Option<()> {
        let length = self.number(1)?;
        self.text(self.at + length)
    }

    /// Puts `?` for what is not UTF-8 up to `end`.
    fn text(&mut self, end: usize) -> Option<()> {
        let mut text = self.bytes.get_mut(self.at..end)?;
        while let Err(err) = std::str::from_utf8(text) {
            let bad = &mut text[err.valid_up_to()..];
            let length = err.error_len().unwrap_or(bad.len());
            bad[..length].fill(b'?');
            text = &mut bad[length..];
            self.mended = true;
        }
        self.at = end;
        Some(())
    }

    /// Where what comes next ends: its length comes first.
    fn end(&mut self) -> Option<usize> {
        let length = self.number(4)?;
        Some(self.at + length).filter(|end| *end <= self.bytes.len())
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        let from = self.at;
        self.skip(bytes)?;
        Some(self.bytes[from..self.at].iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = Some(self.at + count).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }
}

#[cfg(test)]
mod tests;
