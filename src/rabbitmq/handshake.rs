//! Watches a connection until RabbitMQ has let us in, or says why it has not.
//!
//! amiquip reports every error after the sign-in as wrong credentials, a broken link too, and every error before it as
//! a time-out. RabbitMQ names the reason to a client with the capability `authentication_failure_close`. amiquip does
//! not announce it, so it is added here to the sign-in. It knows no queues.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use amiquip::{Error, IoStream};
use mio::{Evented, Poll, PollOpt, Ready, Token};

use super::{ConnectionError, peer, refusal};

/// Methods of the handshake, as class and method id.
const START_OK: (u16, u16) = (10, 11);
const TUNE: (u16, u16) = (10, 30);
const OPEN_OK: (u16, u16) = (10, 41);
const CLOSE: (u16, u16) = (10, 50);

/// An old broker drops the link after wrong credentials, but only after a delay, against guessing.
const OLD_BROKERS_DELAY: Duration = Duration::from_secs(1);
/// With this capability the broker tells wrong credentials from a broken link.
const CAPABILITY: &[u8] = b"authentication_failure_close";
/// The start of amiquip's capabilities: the name of the field, and the type of a table.
const CAPABILITIES: &[u8] = b"\x0ccapabilitiesF";

/// The stream, while it is watched.
pub struct Watched<S> {
    stream: S,
    /// Shared with the caller that waits for the handshake; `None` when it is over.
    seen: Option<Arc<Mutex<Seen>>>,
    /// The bytes to send in place of amiquip's, and how many of amiquip's they stand for.
    instead: Vec<u8>,
    stands_for: usize,
}

/// What has passed so far.
#[derive(Debug, Default)]
pub struct Seen {
    received: Vec<u8>,
    signed_in: Option<Instant>,
    closed: Option<Instant>,
}

/// Why we were not let in.
pub enum NotIn {
    /// The reason is known.
    Told(ConnectionError),
    /// The link was dropped without a reason, by a broker that does so for wrong credentials; or the link broke.
    Dropped,
}

impl<S> Watched<S> {
    /// Starts to watch; the second value holds what was seen.
    pub fn new(stream: S) -> (Watched<S>, Arc<Mutex<Seen>>) {
        let seen = Arc::default();
        (Watched { stream, seen: Some(Arc::clone(&seen)), instead: Vec::new(), stands_for: 0 }, seen)
    }
}

/// A panic in amiquip leaves nothing half done here.
pub fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    /// Has the server said anything?
    pub fn is_silent(&self) -> bool {
        self.received.is_empty() && self.closed.is_none()
    }

    /// Why the handshake failed with `err`.
    pub fn explain(&self, err: Error, encrypted: bool) -> NotIn {
        let own = |text: String| NotIn::Told(ConnectionError::new(text));
        if self.received.is_empty() {
            return own(if self.closed.is_some() { peer::closed() } else { peer::silent(encrypted) });
        }
        if !peer::may_be_rabbitmq(&self.received) {
            return own(peer::told(&self.received, encrypted));
        }
        let mut said = methods(&self.received);
        if let Some((_, arguments)) = methods(&self.received).find(|(method, _)| *method == CLOSE) {
            return NotIn::Told(closing(arguments).unwrap_or_else(|| err.into()));
        }
        let waited = self.signed_in.and_then(|since| self.closed.map(|until| until - since));
        match (self.signed_in, waited) {
            (Some(_), _) if said.any(|(method, _)| method == TUNE) => {
                own(format!("the connection broke before RabbitMQ had opened the virtual host: {err}"))
            }
            (Some(_), Some(waited)) if !self.says_why() && waited >= OLD_BROKERS_DELAY => NotIn::Dropped,
            (Some(_), _) => own("the connection broke before RabbitMQ had answered the sign-in".into()),
            (None, _) => own(format!("the connection broke in RabbitMQ's greeting: {err}")),
        }
    }

    /// Does the broker say that credentials are wrong? All since 2013 do.
    fn says_why(&self) -> bool {
        let yes = [CAPABILITY, b"t\x01"].concat();
        self.received.windows(yes.len()).any(|part| part == yes)
    }
}

/// Code and text of a connection.close.
fn closing(arguments: &[u8]) -> Option<ConnectionError> {
    let (code, rest) = arguments.split_first_chunk()?;
    let (length, rest) = rest.split_first()?;
    let (code, message) = (u16::from_be_bytes(*code), String::from_utf8_lossy(rest.get(..usize::from(*length))?));
    Some(ConnectionError { refused: refusal::lasts(code, &message), text: refusal::told(code, &message) })
}

/// The methods in these frames, with their arguments, as far as they are complete.
fn methods(mut frames: &[u8]) -> impl Iterator<Item = ((u16, u16), &[u8])> {
    std::iter::from_fn(move || {
        let (header, rest) = frames.split_first_chunk::<7>()?;
        let size = usize::try_from(u32::from_be_bytes([header[3], header[4], header[5], header[6]])).ok()?;
        let (payload, rest) = rest.split_at_checked(size)?;
        frames = rest.get(1..)?;
        let (method, arguments) = payload.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        Some(((u16::from_be_bytes([method[0], method[1]]), u16::from_be_bytes([method[2], method[3]])), arguments))
    })
}

/// The sign-in in `frame`, with the capability added; `None` when the frame has an unknown form.
fn asking_why(frame: &[u8]) -> Option<Vec<u8>> {
    let at = frame.windows(CAPABILITIES.len()).position(|part| part == CAPABILITIES)? + CAPABILITIES.len();
    let name_length = u8::try_from(CAPABILITY.len()).ok()?;
    let wish = [&[name_length], CAPABILITY, b"t\x01"].concat();
    let mut longer = [frame.get(..at + 4)?, &wish, &frame[at + 4..]].concat();
    // The sizes of all that contains it: the frame, the client's properties, its capabilities.
    for size in [3, 11, at] {
        let digits = longer.get_mut(size..size + 4)?;
        let sum = u32::from_be_bytes([digits[0], digits[1], digits[2], digits[3]]) + u32::try_from(wish.len()).ok()?;
        digits.copy_from_slice(&sum.to_be_bytes());
    }
    Some(longer)
}

impl<S: Read> Read for Watched<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.stream.read(buf);
        let Some(seen) = &self.seen else { return result };
        let mut seen = lock(seen);
        match &result {
            Ok(0) => seen.closed = Some(Instant::now()),
            Ok(read) => seen.received.extend_from_slice(&buf[..*read]),
            Err(err) if err.kind() == ErrorKind::WouldBlock => {}
            Err(_) => seen.closed = Some(Instant::now()),
        }
        // amiquip would take any four bytes for a length, and allocate so much.
        if !peer::may_be_rabbitmq(&seen.received) {
            return Err(io::Error::new(ErrorKind::InvalidData, "not AMQP"));
        }
        let is_over = methods(&seen.received).any(|(method, _)| method == OPEN_OK);
        drop(seen);
        if is_over {
            self.seen = None;
        }
        result
    }
}

impl<S: Write> Write for Watched<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if let (Some(seen), true) = (&self.seen, self.instead.is_empty())
            && methods(buf).next().is_some_and(|(method, _)| method == START_OK)
        {
            lock(seen).signed_in = Some(Instant::now());
            self.instead = asking_why(buf).unwrap_or_default();
            self.stands_for = buf.len();
        }
        if self.instead.is_empty() {
            return self.stream.write(buf);
        }
        // After a WouldBlock the caller repeats this write, which then goes on here.
        while !self.instead.is_empty() {
            match self.stream.write(&self.instead)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                written => drop(self.instead.drain(..written)),
            }
        }
        Ok(self.stands_for)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Evented> Evented for Watched<S> {
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

impl<S: IoStream> IoStream for Watched<S> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame((class, method): (u16, u16), arguments: &[u8]) -> Vec<u8> {
        let payload = [&class.to_be_bytes(), &method.to_be_bytes(), arguments].concat();
        let size = u32::try_from(payload.len()).expect("a short frame");
        [&[1, 0, 0][..], &size.to_be_bytes(), &payload, &[0xce]].concat()
    }

    fn seen(received: &[&[u8]], signed_in: bool, waited: Option<Duration>) -> Seen {
        let now = Instant::now();
        Seen {
            received: received.concat(),
            signed_in: signed_in.then_some(now),
            closed: waited.map(|waited| now + waited),
        }
    }

    fn told(seen: &Seen) -> String {
        match seen.explain(Error::UnexpectedSocketClose, false) {
            NotIn::Told(error) if error.refused => format!("refused: {error}"),
            NotIn::Told(error) => error.to_string(),
            NotIn::Dropped => "dropped".into(),
        }
    }

    #[test]
    fn a_link_that_breaks_at_any_step_is_no_refusal() {
        let start = frame((10, 10), b"\x1cauthentication_failure_closet\x01");
        let tune = frame(TUNE, &[0; 8]);
        let late = Some(Duration::from_secs(3));
        for (seen, words) in [
            (seen(&[], false, None), "connected, but nobody answers"),
            (seen(&[], false, late), "closed without a word"),
            (seen(&[&start[..9]], false, late), "broke in RabbitMQ's greeting"),
            (seen(&[&start], true, late), "before RabbitMQ had answered the sign-in"),
            (seen(&[&start], true, None), "before RabbitMQ had answered the sign-in"),
            (seen(&[&start, &tune[..9]], true, late), "before RabbitMQ had answered the sign-in"),
            (seen(&[&start, &tune], true, late), "before RabbitMQ had opened the virtual host"),
        ] {
            let told = told(&seen);
            assert!(told.contains(words) && !told.contains("refused"), "{told}");
        }
    }

    #[test]
    fn a_dropped_link_means_wrong_credentials_only_for_an_old_broker_after_its_delay() {
        let start = frame((10, 10), b"");
        let close = frame(CLOSE, b"\x01\x93\x04busy\0\0\0\0");
        assert_eq!(told(&seen(&[&start, &close], true, None)), "refused: RabbitMQ says: busy (403)");
        assert_eq!(told(&seen(&[&start], true, Some(Duration::from_secs(3)))), "dropped");
        assert!(told(&seen(&[&start], true, Some(Duration::from_millis(20)))).contains("the connection broke"));
    }

    #[test]
    fn the_capability_is_added_to_the_sign_in() {
        let table = |fields: &[u8]| [&u32::try_from(fields.len()).expect("short").to_be_bytes(), fields].concat();
        let properties = |capabilities: &[u8]| {
            let fields = [CAPABILITIES, &table(capabilities), b"\x07productS\0\0\0\x01x"].concat();
            frame(START_OK, &[&table(&fields)[..], b"\x05PLAIN\0\0\0\x02\0\0\x05en_US"].concat())
        };
        let wish = [b"\x1c", CAPABILITY, b"t\x01"].concat();
        let known = b"\x12connection.blockedt\x01";
        assert_eq!(asking_why(&properties(known)), Some(properties(&[&wish[..], known].concat())));
        assert_eq!(asking_why(&frame(START_OK, b"something else")), None);
    }

    /// A socket that takes a few bytes at a time.
    struct Narrow(Vec<u8>, bool);

    impl Write for Narrow {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.0.extend_from_slice(&buf[..buf.len().min(7)]);
            Ok(buf.len().min(7))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_socket_that_is_full_gets_the_sign_in_once() {
        let sign_in = frame(START_OK, &[&[0, 0, 0, 18][..], CAPABILITIES, &[0, 0, 0, 0], &[0; 20]].concat());
        let (mut watched, _seen) = Watched::new(Narrow(Vec::new(), false));
        let written = loop {
            match watched.write(&sign_in) {
                Ok(written) => break written,
                Err(err) => assert_eq!(err.kind(), ErrorKind::WouldBlock),
            }
        };
        assert_eq!((written, Some(watched.stream.0)), (sign_in.len(), asking_why(&sign_in)));
    }
}
