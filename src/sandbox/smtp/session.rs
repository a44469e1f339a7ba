//! One connection to the mail server: reads commands, answers them, and takes mails. It knows no other connection.
//!
//! Some recipients are not as others: `nobody@` is unknown (550), `full@` has no room and `busy@` no time (452, 451),
//! `grey@` is sent away once (450).

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::faults::{Scope, What};
use super::super::lock;
use super::super::reply::Broken;
use super::super::request::Call;
use super::{Mail, PASSWORD, Shared, USER};
use crate::http::server::reset_when_dropped;

/// Of a command and of a line of a mail, in bytes (RFC 5321).
const LONGEST_LINE: u64 = 1000;
const OUT_OF_ORDER: &str = "503 5.5.1 Bad sequence of commands";
const UNKNOWN: &str = "500 5.5.2 Not understood";

struct Session<'a> {
    shared: &'a Shared,
    stream: &'a TcpStream,
    lines: BufReader<&'a TcpStream>,
    signed_in: bool,
    from: Option<String>,
    to: Vec<String>,
}

/// Answers until either side ends the connection.
pub(super) fn serve(shared: &Shared, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let lines = BufReader::new(stream);
    let mut session = Session { shared, stream, lines, signed_in: false, from: None, to: Vec::new() };
    if !session.answer("CONNECT", Value::Null, |_| "220 sandbox ESMTP".into())? {
        return Ok(());
    }
    while let Some(line) = session.line()? {
        if !session.obey(&line)? {
            break;
        }
    }
    Ok(())
}

impl Session<'_> {
    /// `false`: the connection is over.
    fn obey(&mut self, line: &str) -> io::Result<bool> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let verb = verb.to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => self.answer("EHLO", Value::Null, |_| {
                "250-sandbox\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-SIZE 10485760\r\n250 AUTH PLAIN LOGIN".into()
            }),
            "AUTH" => self.sign_in(rest),
            "MAIL" => {
                let address = address(rest, "FROM:");
                self.answer("MAIL", json!({"address": address}), |session| session.mail(address))
            }
            "RCPT" => {
                let address = address(rest, "TO:");
                self.answer("RCPT", json!({"address": address}), |session| session.rcpt(address))
            }
            "DATA" => self.data(),
            "RSET" => self.answer("RSET", Value::Null, |session| {
                session.forget();
                "250 2.0.0 OK".into()
            }),
            "NOOP" => self.answer("NOOP", Value::Null, |_| "250 2.0.0 OK".into()),
            "QUIT" => self.answer("QUIT", Value::Null, |_| "221 2.0.0 Bye".into()).map(|_| false),
            _ => self.answer(&verb, Value::Null, |_| UNKNOWN.into()),
        }
    }

    /// Does what was asked and says so, unless a fault strikes.
    fn answer(&mut self, verb: &str, params: Value, run: impl FnOnce(&mut Self) -> String) -> io::Result<bool> {
        let shared = self.shared;
        let instead = |what| match what {
            What::Refuse { status, code, text } => Some(format!("{status} {code} {text}")),
            _ => None,
        };
        let call = Call::plain(verb, params);
        let reply = shared.strikes.struck(Scope::Call, &call, &shared.stopped, instead, || Ok(run(self)));
        match reply {
            Ok(reply) => self.say(format!("{reply}\r\n").as_bytes()).map(|()| true),
            Err(Broken::Raw { body, .. }) => self.say(&[body.as_slice(), b"\r\n"].concat()).map(|()| false),
            Err(Broken::Half) => self.say(b"25").map(|()| false),
            Err(Broken::Reset) => reset_when_dropped(self.stream).map(|()| false),
            Err(_) => Ok(false),
        }
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next line, without its end; `None` at the end of the connection.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        self.lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(Some(String::from_utf8_lossy(line).into_owned())),
            None if line.is_empty() => Ok(None),
            None => Err(io::Error::new(ErrorKind::InvalidData, "a line without its end, or too long a one")),
        }
    }

    /// What a client says when it is asked for something.
    fn asked_for(&mut self, what: &str) -> io::Result<String> {
        self.say(format!("334 {}\r\n", STANDARD.encode(what)).as_bytes())?;
        Ok(self.line()?.unwrap_or_default())
    }

    fn sign_in(&mut self, rest: &str) -> io::Result<bool> {
        let decoded = |text: &str| STANDARD.decode(text).unwrap_or_default();
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let right = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => {
                let given = if initial.is_empty() { self.asked_for("")? } else { initial.to_owned() };
                decoded(&given) == format!("\0{USER}\0{PASSWORD}").into_bytes()
            }
            "LOGIN" => {
                let user = self.asked_for("Username:")?;
                let password = self.asked_for("Password:")?;
                decoded(&user) == USER.as_bytes() && decoded(&password) == PASSWORD.as_bytes()
            }
            _ => return self.answer("AUTH", Value::Null, |_| "504 5.5.4 Unknown mechanism".into()),
        };
        self.answer("AUTH", Value::Null, |session| {
            session.signed_in = right;
            if right { "235 2.7.0 OK".into() } else { "535 5.7.8 Authentication failed".into() }
        })
    }

    fn mail(&mut self, address: String) -> String {
        if !self.signed_in {
            return "530 5.7.0 Authentication required".into();
        }
        self.from = Some(address);
        self.to.clear();
        "250 2.1.0 OK".into()
    }

    fn rcpt(&mut self, address: String) -> String {
        if self.from.is_none() {
            return OUT_OF_ORDER.into();
        }
        let refusal = match address.split('@').next().unwrap_or_default() {
            "nobody" => "550 5.1.1 User unknown",
            "busy" => "451 4.3.0 Busy",
            "full" => "452 4.2.2 Mailbox full",
            "grey" if lock(&self.shared.memory).greylisted.insert(address.clone()) => "450 4.2.0 Greylisted",
            _ => {
                self.to.push(address);
                "250 2.1.5 OK"
            }
        };
        refusal.into()
    }

    fn data(&mut self) -> io::Result<bool> {
        if self.to.is_empty() {
            return self.answer("DATA", Value::Null, |_| OUT_OF_ORDER.into());
        }
        let mut goes_on = false;
        let lives = self.answer("DATA", Value::Null, |_| {
            goes_on = true;
            "354 Go on".into()
        })?;
        if !lives || !goes_on {
            return Ok(lives);
        }
        let mut data = String::new();
        loop {
            let line = self.line()?.ok_or(ErrorKind::UnexpectedEof)?;
            match line.strip_prefix('.') {
                Some("") => break,
                Some(stuffed) => data.push_str(stuffed),
                None => data.push_str(&line),
            }
            data.push_str("\r\n");
        }
        self.answer("BODY", Value::Null, |session| {
            let (from, to) = (session.from.take().unwrap_or_default(), std::mem::take(&mut session.to));
            lock(&session.shared.memory).mails.push(Mail { from, to, data });
            "250 2.0.0 Queued".into()
        })
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
    }
}

/// The address in `FROM:<…>` or `TO:<…>`.
fn address(rest: &str, before: &str) -> String {
    let bracketed = rest.trim_start();
    let inside = bracketed.get(before.len()..).and_then(|rest| rest.trim_start().strip_prefix('<'));
    inside.and_then(|rest| rest.split('>').next()).unwrap_or_default().to_owned()
}
