//! The mail server, step by step: what each answer means depends on what it is the answer to. It knows addresses and
//! bytes, and neither tasks nor attempts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Settings;
use super::conversation::{Broken, Conversation, Reply};
use super::settings::{SECURITY, Security, SignIn};
use crate::http::text::plain;
use crate::systems::Failure;

/// Servers close idle connections, often after five minutes, some much sooner.
const LONGEST_IDLE: Duration = Duration::from_secs(10);
/// For connecting and signing in.
const LONGEST_OPENING: Duration = Duration::from_secs(300);
/// For a mail up to its last byte: with the wait for the last word it stays below the half hour after which RabbitMQ
/// takes a message back.
const LONGEST_SENDING: Duration = Duration::from_secs(300);

/// What a server says of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The mail goes there.
    Accepted,
    /// Never, and why.
    Refused(String),
    /// Not now, and why.
    Later(String),
}

/// One server. As many threads use it as it may have connections.
pub struct Server {
    settings: Settings,
    /// Connections that are kept for the next mail, and since when. Held for an instant.
    idle: Mutex<Vec<(Conversation, Instant)>>,
}

impl Server {
    /// The server of these settings.
    pub fn new(settings: &Settings) -> Server {
        Server { settings: settings.clone(), idle: Mutex::default() }
    }

    /// Sends a mail to these people, if it still may go when all is ready; a verdict for each.
    ///
    /// # Errors
    /// It has not gone to anybody, or nobody knows.
    pub fn send(&self, to: &[String], mail: &[u8], may_go: impl Fn() -> bool) -> Result<Vec<Verdict>, Failure> {
        let mut server = self.ready()?;
        let sent = self.deliver(&mut server, to, mail, may_go);
        match sent {
            Ok(_) => {
                let mut idle = self.idle();
                idle.retain(|(_, since)| since.elapsed() < LONGEST_IDLE);
                idle.push((server, Instant::now()));
            }
            // What comes of the connection is not known.
            Err(_) => drop(server),
        }
        sent
    }

    /// Signs in and says who would send, and nothing more.
    ///
    /// # Errors
    /// What is wrong.
    pub fn try_out(&self) -> Result<(), Failure> {
        self.ready().map(Conversation::close)
    }

    /// A connection on which a mail has been started.
    fn ready(&self) -> Result<Conversation, Failure> {
        let kept = self.idle().pop().filter(|(_, since)| since.elapsed() < LONGEST_IDLE);
        if let Some((mut server, _)) = kept {
            // The server may have closed it, or takes no more on it.
            if self.start(&mut server).is_ok() {
                return Ok(server);
            }
        }
        let mut server = self.connect()?;
        self.start(&mut server).map_err(|no| match no.is_permanent() {
            // The sender is the same for every mail.
            true => away(anyhow!("{}; may EMAIL_FROM send there?", no.told("MAIL FROM"))),
            false => away(no.told("MAIL FROM")),
        })?;
        Ok(server)
    }

    fn connect(&self) -> Result<Conversation, Failure> {
        let Settings { host, port, security, certificates, timeout, .. } = &self.settings;
        let failed = |step| move |no: No| away(no.told(step));
        let broken = |step| move |broken: Broken| away(No::Broken(broken).told(step));
        let mut server = Conversation::open(host, *port, *timeout).map_err(broken("connecting"))?;
        server.within(LONGEST_OPENING);
        if *security == Security::Tls {
            server = server.encrypt(host, certificates).map_err(broken("TLS"))?;
        }
        yes(server.greeting()).map_err(failed("greeting"))?;
        let mut offers = self.hello(&mut server)?;
        if *security == Security::StartTls {
            let unprotected =
                |no: No| away(anyhow!("{}; without it nothing is sent, see {SECURITY}", no.told("STARTTLS")));
            yes(server.command("STARTTLS")).map_err(unprotected)?;
            server = server.encrypt(host, certificates).map_err(|broken| unprotected(No::Broken(broken)))?;
            offers = self.hello(&mut server)?;
        }
        match &self.settings.sign_in {
            Some(who) => sign_in(&mut server, &offers, who).map(|()| server),
            None => Ok(server),
        }
    }

    /// What the server offers.
    fn hello(&self, server: &mut Conversation) -> Result<Reply, Failure> {
        let hello = format!("EHLO {}", self.settings.from.domain);
        yes(server.command(&hello)).map_err(|no| away(no.told("EHLO")))
    }

    fn start(&self, server: &mut Conversation) -> Result<(), No> {
        server.within(LONGEST_SENDING);
        yes(server.command(&format!("MAIL FROM:<{}>", self.settings.from.address()))).map(drop)
    }

    fn deliver(
        &self,
        server: &mut Conversation,
        to: &[String],
        mail: &[u8],
        may_go: impl Fn() -> bool,
    ) -> Result<Vec<Verdict>, Failure> {
        let verdicts = to.iter().map(|to| verdict(server, to)).collect::<Result<Vec<_>, _>>()?;
        if !verdicts.contains(&Verdict::Accepted) {
            yes(server.command("RSET")).map_err(|no| not_sent(no.told("RSET")))?;
            return Ok(verdicts);
        }
        if !may_go() {
            return Err(Failure::Outdated);
        }
        match server.command("DATA") {
            Ok(reply) if reply.class() == 3 => {}
            Ok(reply) if reply.class() == 5 => return Err(Failure::Permanent(No::Said(reply).told("DATA"))),
            Ok(reply) => return Err(not_sent(No::Said(reply).told("DATA"))),
            Err(broken) => return Err(not_sent(No::Broken(broken).told("DATA"))),
        }
        server.mail(mail).map_err(|broken| not_sent(No::Broken(broken).told("the mail")))?;
        match yes(server.last_word(self.settings.accept_timeout)) {
            Ok(_) => Ok(verdicts),
            Err(no) if no.is_permanent() => Err(Failure::Permanent(no.told("the mail"))),
            Err(no) if no.is_transient() => Err(self.put_off(no.told("the mail"))),
            // It may be on its way already.
            Err(no) => {
                let error = anyhow!("{}: it may have been delivered", no.told("the mail"));
                Err(Failure::OutcomeUnknown { error, visible_in: self.settings.timeout })
            }
        }
    }

    /// The server wants it later, much later than the lane would come again by itself.
    pub fn put_off(&self, error: anyhow::Error) -> Failure {
        Failure::OutcomeUnknown { error, visible_in: self.settings.retry_after }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Conversation, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Anything but yes.
enum No {
    /// The server says something else.
    Said(Reply),
    /// It says nothing that can be understood.
    Broken(Broken),
}

impl No {
    fn is_permanent(&self) -> bool {
        matches!(self, No::Said(reply) if reply.class() == 5)
    }

    fn is_transient(&self) -> bool {
        matches!(self, No::Said(reply) if reply.class() == 4)
    }

    fn told(self, step: &str) -> anyhow::Error {
        let told = match self {
            No::Said(reply) => plain(&reply.to_string()),
            No::Broken(Broken(why)) => plain(&why),
        };
        anyhow!("{step}: {told}")
    }
}

fn yes(reply: Result<Reply, Broken>) -> Result<Reply, No> {
    match reply {
        Ok(reply) if reply.class() == 2 => Ok(reply),
        Ok(reply) => Err(No::Said(reply)),
        Err(broken) => Err(No::Broken(broken)),
    }
}

/// By the first of the two ways that the server offers.
fn sign_in(server: &mut Conversation, offers: &Reply, who: &SignIn) -> Result<(), Failure> {
    let offered = |mechanism: &str| {
        let mut lines = offers.lines.iter().map(|line| line.to_ascii_uppercase());
        lines.any(|line| line.starts_with("AUTH") && line.split([' ', '=']).any(|word| word == mechanism))
    };
    let (user, password) = (STANDARD.encode(&who.user), STANDARD.encode(who.password.expose()));
    let both = STANDARD.encode(format!("\0{}\0{}", who.user, who.password.expose()));
    let (first, then) = match () {
        () if offered("PLAIN") => (format!("AUTH PLAIN {both}"), vec![both]),
        () if offered("LOGIN") => ("AUTH LOGIN".to_owned(), vec![user, password]),
        () => return Err(away(anyhow!("AUTH: the server offers neither PLAIN nor LOGIN; correct EMAIL_SECURITY"))),
    };
    let mut reply = server.command(&first);
    for line in then {
        // Some servers ask again for what the command has said already.
        if matches!(&reply, Ok(reply) if reply.code == 334) {
            reply = server.command(&line);
        }
    }
    yes(reply).map(drop).map_err(|no| match no.is_permanent() {
        true => away(anyhow!("{}; correct EMAIL_USERNAME or EMAIL_PASSWORD", no.told("AUTH"))),
        false => away(no.told("AUTH")),
    })
}

/// `Err` when the server has ended the conversation.
fn verdict(server: &mut Conversation, to: &str) -> Result<Verdict, Failure> {
    match yes(server.command(&format!("RCPT TO:<{to}>"))) {
        Ok(_) => Ok(Verdict::Accepted),
        Err(No::Said(reply)) if reply.class() == 5 => Ok(Verdict::Refused(plain(&reply.to_string()))),
        // 421 announces the end of the connection, whatever it answers (RFC 5321).
        Err(No::Said(reply)) if reply.class() == 4 && reply.code != 421 => {
            Ok(Verdict::Later(plain(&reply.to_string())))
        }
        Err(no) => Err(not_sent(no.told("RCPT TO"))),
    }
}

/// Nothing has gone to anybody: this mail, again.
fn not_sent(error: anyhow::Error) -> Failure {
    Failure::Transient { error }
}

/// The same for every mail: the server is away, or the settings are wrong.
fn away(error: anyhow::Error) -> Failure {
    Failure::Unavailable { error, until: None }
}
