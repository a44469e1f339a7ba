//! A mail server on loopback, for people, for `demo` and for the tests: it takes mail for anybody and delivers none.
//!
//! As unkind as mail servers are: nobody is let in without a password, some recipients are refused for now or for good,
//! strangers come back later (greylisting), and every command can be made to fail by order. It knows nothing of the
//! worker, and no TLS: that stands before it.

mod session;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle, Scope};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::faults::{Fault, Order};
use super::lock;
use super::strikes::Strikes;

/// Who may send.
pub const USER: &str = "sandbox";
/// That user's password. Fixed, so that a `.env` stays valid from run to run.
pub const PASSWORD: &str = "sandbox-mail-password";
/// How an encoded word starts that is UTF-8 in base64.
const ENCODED: &str = "=?utf-8?b?";

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Who sends it, as the envelope says.
    pub from: String,
    /// Who gets it, as the envelope says.
    pub to: Vec<String>,
    /// Headers and body, without what SMTP has added.
    pub data: String,
}

impl Mail {
    /// The first header of this name, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.data.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ").replace("\r\n\t", " ");
        let headers = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let mut named = headers.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim().to_owned())
    }

    /// What it is about, as people read it.
    pub fn subject(&self) -> String {
        decoded(&self.header("Subject").unwrap_or_default())
    }
}

/// A header's value with its encoded words (RFC 2047) decoded, where they are UTF-8 in base64.
fn decoded(value: &str) -> String {
    let (mut bytes, mut was_encoded) = (Vec::new(), false);
    for word in value.split_whitespace() {
        let encoded = word.get(..ENCODED.len()).is_some_and(|start| start.eq_ignore_ascii_case(ENCODED));
        let inside = word[if encoded { ENCODED.len() } else { 0 }..].strip_suffix("?=").filter(|_| encoded);
        let plain = inside.and_then(|inside| STANDARD.decode(inside).ok());
        // Blanks between two encoded words are no part of the text.
        let joined = was_encoded && plain.is_some();
        if !bytes.is_empty() && !joined {
            bytes.push(b' ');
        }
        was_encoded = plain.is_some();
        bytes.extend(plain.unwrap_or_else(|| word.as_bytes().to_vec()));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A running server. Dropping it cuts all connections, ends all waits and joins all threads.
///
/// Faults are ordered by the command's name, such as `RCPT` with the parameter `address`; `CONNECT` is the greeting,
/// `BODY` the end of a mail.
pub struct SmtpFake {
    address: SocketAddr,
    // Shared with the threads of the connections.
    shared: Arc<Shared>,
    /// Dropped to stop.
    stop: Option<Sender<()>>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    strikes: Strikes,
    memory: Mutex<Memory>,
    /// Open connections, so that stopping can cut them.
    open: Mutex<HashMap<u64, TcpStream>>,
    stopped: Receiver<()>,
}

#[derive(Default)]
struct Memory {
    mails: Vec<Mail>,
    /// Recipients that have been sent away once.
    greylisted: HashSet<String>,
    connections: usize,
}

impl SmtpFake {
    /// Starts on `127.0.0.1:port`; port 0 takes any free one.
    ///
    /// # Errors
    /// The port is taken, or no thread can be started.
    pub fn start(port: u16) -> anyhow::Result<SmtpFake> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("smtp: port {port}"))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let shared =
            Arc::new(Shared { strikes: Strikes::default(), memory: Mutex::default(), open: Mutex::default(), stopped });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::Builder::new().name("smtp".into()).spawn(move || accepting.accept(&listener))?;
        Ok(SmtpFake { address, shared, stop: Some(stop), acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All mails that were taken, in order.
    pub fn mails(&self) -> Vec<Mail> {
        lock(&self.shared.memory).mails.clone()
    }

    /// Those that came after the first `count` ones.
    pub fn mails_after(&self, count: usize) -> Vec<Mail> {
        lock(&self.shared.memory).mails.iter().skip(count).cloned().collect()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        lock(&self.shared.memory).connections
    }

    /// Orders a fault.
    pub fn order(&self, fault: Fault) -> Order {
        self.shared.strikes.order(fault)
    }

    /// Takes all orders back.
    pub fn clear_all(&self) {
        self.shared.strikes.clear_all();
    }

    /// Ends everything that hangs or is delayed by order at this moment.
    pub fn release(&self) {
        self.shared.strikes.release();
    }
}

impl Drop for SmtpFake {
    fn drop(&mut self) {
        self.stop = None;
        // The acceptor sits in accept(); a connection of our own wakes it. Without one it could not be joined.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    /// Runs until the stop channel closes; the scope then joins the threads of all connections.
    fn accept(&self, listener: &TcpListener) {
        thread::scope(|scope| {
            for (number, stream) in (1..).zip(listener.incoming()) {
                if self.stopped.try_recv() == Err(TryRecvError::Disconnected) {
                    break;
                }
                if let Err(err) = stream.and_then(|stream| self.open(scope, number, stream)) {
                    log::warn!("smtp: connection lost: {err}");
                }
            }
            self.open_ones().values().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        });
    }

    fn open<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, number: u64, stream: TcpStream) -> io::Result<()> {
        self.open_ones().insert(number, stream.try_clone()?);
        lock(&self.memory).connections += 1;
        let serve = move || {
            if let Err(err) = session::serve(self, &stream) {
                log::debug!("smtp: connection {number}: {err}");
            }
            self.open_ones().remove(&number);
            let _ = stream.shutdown(Shutdown::Both);
        };
        thread::Builder::new().name(format!("smtp/{number}")).spawn_scoped(scope, serve).map(drop)
    }

    fn open_ones(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        lock(&self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_read_as_people_read_it() {
        let subject =
            |value: &str| Mail { from: String::new(), to: Vec::new(), data: format!("Subject: {value}\r\n\r\nbody") };
        for (value, read) in [
            ("plain words", "plain words"),
            ("=?utf-8?b?0JTQvtCz0L7QstC+0YA=?= 7", "Договор 7"),
            ("=?UTF-8?B?0JTQvtCz0L4=?=\r\n =?utf-8?b?0LLQvtGA?=", "Договор"),
            ("=?utf-8?b?broken", "=?utf-8?b?broken"),
        ] {
            assert_eq!(subject(value).subject(), read);
        }
    }
}
