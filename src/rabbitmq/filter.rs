//! Makes incoming frames harmless before amiquip reads them: a text that is not UTF-8 ends its connection, and tables
//! nested thousands deep overflow its stack and abort the process.
//!
//! Either would requeue all unsettled messages again and again, until a quorum queue deletes them. Only content headers
//! and the methods that carry foreign texts are checked; bodies pass as they are. Fields are mended in place, and no
//! length changes: `?` replaces each byte that is not UTF-8, and a table that is too deep becomes a byte array. It
//! knows neither queues nor tasks, and changes nothing of what we send.

use std::io::{self, Read, Write};

use amiquip::IoStream;
use mio::{Evented, Poll, PollOpt, Ready, Token};

/// Frame types of AMQP 0-9-1.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// Bytes before the payload: type, channel and size.
const HEAD: usize = 7;
/// Bytes after the payload.
const END: usize = 1;
/// A broker's frames have 128 KiB at most, unless its limit was raised. A larger one is left to amiquip.
const LARGEST_FRAME: usize = 16 << 20;
/// Tables in regular headers are three deep (`x-death`).
const DEEPEST: u32 = 32;
/// The most bytes read from the socket at a time.
const READ: usize = 64 << 10;

/// A stream from a broker, made harmless for amiquip.
pub struct Harmless<S> {
    stream: S,
    /// The buffer for one read.
    incoming: Box<[u8]>,
    /// Bytes that were read and are kept until they are handed over.
    buffer: Vec<u8>,
    /// How much of the buffer is handed over already.
    handed: usize,
    /// How much of the buffer is checked, and mended where needed.
    seen: usize,
    /// Bytes of a frame that are still to come and pass unchecked.
    passing: u64,
}

impl<S> Harmless<S> {
    /// Wraps the stream, which must be at its first byte.
    pub fn new(stream: S) -> Harmless<S> {
        Harmless { stream, incoming: vec![0; READ].into(), buffer: Vec::new(), handed: 0, seen: 0, passing: 0 }
    }

    /// Checks the buffer to its end, or to a frame that has to be complete first.
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
    /// Reads once, and appends to the buffer.
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
                // The rest of a frame that will never be complete.
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
    /// So many bytes have to be here before the first of them is handed over.
    Whole(usize),
}

impl Frame {
    /// `None`: its head is not complete yet.
    fn read(bytes: &[u8]) -> Option<Frame> {
        let kind = *bytes.first()?;
        if ![METHOD, HEADER, BODY, HEARTBEAT].contains(&kind) {
            // Not AMQP, or an unknown frame: amiquip reports it.
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
    // From the first unexpected field on, the frame is left as it is.
    let _ = if kind == METHOD { fields.method() } else { fields.content_header() };
    if fields.mended {
        log::debug!(
            "mended AMQP fields of a message or of the broker: a text that is not UTF-8, or a table that is too deep"
        );
    }
}

/// The fields of a frame, read one after the other and mended. `None`: the frame has ended, or the field is unknown.
struct Fields<'a> {
    bytes: &'a mut [u8],
    at: usize,
    mended: bool,
}

impl Fields<'_> {
    /// The methods that carry texts that neither we nor amiquip have written.
    fn method(&mut self) -> Option<()> {
        let id = (self.number(2)?, self.number(2)?);
        match id {
            // Connection.Close and Channel.Close: the broker cuts a long text at any byte.
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

    /// Replaces all bytes up to `end` that are not UTF-8 by `?`.
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

    /// The end of the next field, which starts with its length.
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
