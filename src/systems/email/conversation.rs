//! A conversation with a mail server, over TCP and TLS: commands, their replies, and the bytes of a mail.
//!
//! Every wait has an end, however slowly the server speaks, and no reply fills the memory. A reply counts by its code:
//! its words may be missing, or in any encoding. What a code means for a command is decided elsewhere.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::settings::CA_FILE;
use crate::dial;
use crate::tls::{self, RootCertificates};

/// In bytes. That of EHLO, the longest, has about one KiB.
const LONGEST_REPLY: usize = 64 << 10;
/// How much of a mail is written at a time, in bytes: for each there is as much time as for a reply.
const CHUNK: usize = 64 << 10;
/// How much of a reply is shown when it cannot be read, in characters.
const LONGEST_SHOWN: usize = 100;

/// A conversation. Dropping it ends it without a word.
pub struct Conversation {
    stream: Stream,
    /// Received, and not read yet.
    heard: Vec<u8>,
    /// For each step.
    timeout: Duration,
    /// For all steps until [`Conversation::last_word`].
    end: Instant,
}

/// It cannot go on, and why.
#[derive(Debug)]
pub struct Broken(pub String);

/// What the server says.
#[derive(Debug)]
pub struct Reply {
    /// Three digits, of which the first says yes (2), go on (3), not now (4) or never (5).
    pub code: u16,
    /// What stands behind the code in each line.
    pub lines: Vec<String>,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join(" "))
    }
}

impl Reply {
    /// The first digit of the code.
    pub fn class(&self) -> u16 {
        self.code / 100
    }
}

impl Conversation {
    /// Connects, within the time for one step.
    pub fn open(host: &str, port: u16, timeout: Duration) -> Result<Conversation, Broken> {
        let socket = dial::tcp(host, port, timeout).map_err(|err| Broken(format!("{err:#}")))?;
        let end = Instant::now() + timeout;
        let stream = Stream::Plain(Timed { socket, deadline: end });
        Ok(Conversation { stream, heard: Vec::new(), timeout, end })
    }

    /// From here on all steps together end within this time.
    pub fn within(&mut self, longest: Duration) {
        self.end = Instant::now() + longest;
    }

    /// Goes on with TLS.
    pub fn encrypt(self, host: &str, trusted: &RootCertificates) -> Result<Conversation, Broken> {
        let Stream::Plain(mut timed) = self.stream else { return Ok(self) };
        if !self.heard.is_empty() {
            return Err(Broken("the server, or somebody on the way, speaks before the handshake".into()));
        }
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| Broken("no certificate can have the host's name".into()))?;
        let mut session = ClientConnection::new(trusted.client(), name)
            .map_err(|_| Broken("TLS cannot be started: something is wrong with this program".into()))?;
        timed.deadline = self.end.min(Instant::now() + self.timeout);
        while session.is_handshaking() {
            session.complete_io(&mut timed).map_err(|err| Broken(tls::explain(&err, CA_FILE)))?;
        }
        Ok(Conversation { stream: Stream::Tls(Box::new(StreamOwned::new(session, timed))), ..self })
    }

    /// Says this, and returns the reply.
    pub fn command(&mut self, line: &str) -> Result<Reply, Broken> {
        if line.contains(['\r', '\n', '\0']) {
            // What follows it would be another command.
            return Err(Broken("a command may not have a line break".into()));
        }
        self.next_step();
        self.write(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// The greeting, which nobody has asked for.
    pub fn greeting(&mut self) -> Result<Reply, Broken> {
        self.next_step();
        self.reply()
    }

    /// Sends a mail, but not its end: until that comes the server delivers nothing.
    pub fn mail(&mut self, mail: &[u8]) -> Result<(), Broken> {
        for chunk in stuffed(mail).chunks(CHUNK) {
            self.next_step();
            self.write(chunk)?;
        }
        Ok(())
    }

    /// Ends a mail, and waits so long for what the server says of it.
    pub fn last_word(&mut self, longest: Duration) -> Result<Reply, Broken> {
        self.stream.timed().deadline = Instant::now() + longest;
        self.write(b".\r\n")?;
        self.reply()
    }

    /// Says good-bye, and does not wait for an answer.
    pub fn close(mut self) {
        self.next_step();
        let _ = self.write(b"QUIT\r\n");
    }

    fn next_step(&mut self) {
        self.stream.timed().deadline = self.end.min(Instant::now() + self.timeout);
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).map_err(broken)
    }

    fn reply(&mut self) -> Result<Reply, Broken> {
        let (mut lines, mut length) = (Vec::new(), 0);
        loop {
            let line = self.line(LONGEST_REPLY.saturating_sub(length))?;
            length += line.len() + 1;
            let (code, rest) = line.split_at_checked(3).unwrap_or_default();
            let code = code.parse().ok().filter(|code| (200..600).contains(code));
            let code = code.ok_or_else(|| {
                Broken(format!("an answer that is none: {:?}", line.chars().take(LONGEST_SHOWN).collect::<String>()))
            })?;
            lines.push(rest.trim_start_matches(['-', ' ']).trim_end().to_owned());
            if !rest.starts_with('-') {
                return Ok(Reply { code, lines });
            }
        }
    }

    /// The next line, without its end.
    fn line(&mut self, longest: usize) -> Result<String, Broken> {
        loop {
            let end = self.heard.iter().position(|byte| *byte == b'\n');
            if let Some(end) = end.filter(|end| *end < longest) {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.heard.len() >= longest {
                return Err(Broken("an answer without an end".into()));
            }
            let mut read = [0; 1024];
            match self.stream.read(&mut read).map_err(broken)? {
                0 => return Err(Broken("the server has closed the connection".into())),
                count => self.heard.extend_from_slice(&read[..count]),
            }
        }
    }
}

fn broken(err: io::Error) -> Broken {
    Broken(match err.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".into(),
        ErrorKind::UnexpectedEof => "the server has closed the connection".into(),
        kind => format!("the connection broke: {kind}"),
    })
}

/// A mail as it is sent: each line ends with CR LF, and none looks like the end of the mail.
fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(mail.len() + CHUNK);
    let mail = mail.strip_suffix(b"\n").unwrap_or(mail);
    for line in mail.split(|byte| *byte == b'\n') {
        // Some servers take a CR alone for the end of a line.
        for line in line.strip_suffix(b"\r").unwrap_or(line).split(|byte| *byte == b'\r') {
            stuffed.extend_from_slice(if line.starts_with(b".") { b"." } else { b"" });
            stuffed.extend_from_slice(line);
            stuffed.extend_from_slice(b"\r\n");
        }
    }
    stuffed
}

enum Stream {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Stream {
    fn timed(&mut self) -> &mut Timed {
        match self {
            Stream::Plain(timed) => timed,
            Stream::Tls(session) => &mut session.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.read(buf),
            Stream::Tls(session) => session.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.write(buf),
            Stream::Tls(session) => session.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(timed) => timed.flush(),
            Stream::Tls(session) => session.flush(),
        }
    }
}

/// A socket on which nothing waits beyond a time, however many bytes come one by one.
struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buf)
    }
}

impl Write for Timed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_mail_ends_it() {
        for (mail, sent) in [
            ("a\r\n.\r\nb", "a\r\n..\r\nb\r\n"),
            (".\n..b\n", "..\r\n...b\r\n"),
            ("a\r.\rb\r\n", "a\r\n..\r\nb\r\n"),
            ("a\n.\r\nb\r\n", "a\r\n..\r\nb\r\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&stuffed(mail.as_bytes())), sent, "{mail:?}");
        }
    }
}
