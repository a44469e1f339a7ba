//! The mail server, step by step: what each answer means depends on what it is the answer to. It knows addresses and
//! bytes, and neither tasks nor attempts.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;

use super::Settings;
use super::settings::{SECURITY, Security};
use crate::http::text::plain;
use crate::stop::Stop;
use crate::systems::Failure;

/// For a connection that others have. Longer than a mail takes, shorter than a message may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// Servers close idle connections, often after five minutes, some much sooner.
const LONGEST_IDLE: Duration = Duration::from_secs(10);

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

/// The connections to one server: so many at once, kept for the next mail.
pub struct Server {
    settings: Settings,
    tls: Option<TlsParameters>,
    stop: Stop,
    /// A place for each connection; in it the connection that is idle. Whoever takes one puts it back.
    places: (Sender<Place>, Receiver<Place>),
}

type Place = Option<(SmtpConnection, Instant)>;

impl Server {
    /// The server of these settings.
    ///
    /// # Errors
    /// Its certificates cannot be used.
    pub fn new(settings: &Settings, stop: &Stop) -> anyhow::Result<Server> {
        let tls = (settings.security != Security::None).then(|| tls(settings)).transpose()?;
        let places = bounded(settings.connections);
        (0..settings.connections).for_each(|_| drop(places.0.try_send(None)));
        Ok(Server { settings: settings.clone(), tls, stop: stop.clone(), places })
    }

    /// Sends a mail to these people, once `may_go`; a verdict for each.
    ///
    /// # Errors
    /// It has not gone to anybody, or nobody knows.
    pub fn send(&self, to: &[Address], mail: &[u8], may_go: impl Fn() -> bool) -> Result<Vec<Verdict>, Failure> {
        let Some(place) = self.place() else { return Err(Failure::Outdated) };
        let (sent, idle) = match may_go() {
            true => self.send_from(place, to, mail),
            false => (Err(Failure::Outdated), place),
        };
        let _ = self.places.0.try_send(idle);
        sent
    }

    /// Signs in and says who would send, and nothing more.
    ///
    /// # Errors
    /// What is wrong.
    pub fn try_out(&self) -> Result<(), Failure> {
        let _ = self.open(None)?.quit();
        Ok(())
    }

    fn place(&self) -> Option<Place> {
        select! {
            recv(self.places.1) -> place => place.ok(),
            recv(self.stop.receiver()) -> _ => None,
            default(PATIENCE) => None,
        }
    }

    /// What came of it, and the connection if it can be used again.
    fn send_from(&self, place: Place, to: &[Address], mail: &[u8]) -> (Result<Vec<Verdict>, Failure>, Place) {
        let mut connection = match self.open(place) {
            Ok(connection) => connection,
            Err(failure) => return (Err(failure), None),
        };
        match self.deliver(&mut connection, to, mail) {
            Ok(verdicts) => (Ok(verdicts), Some((connection, Instant::now()))),
            Err(failure) => {
                connection.abort();
                (Err(failure), None)
            }
        }
    }

    /// A connection on which a mail has been started.
    fn open(&self, place: Place) -> Result<SmtpConnection, Failure> {
        let idle = place.filter(|(_, since)| since.elapsed() < LONGEST_IDLE);
        if let Some((mut connection, _)) = idle {
            // The server may have closed it, or takes no more on it.
            if self.start(&mut connection).is_ok() {
                return Ok(connection);
            }
            connection.abort();
        }
        let mut connection = self.connect()?;
        self.start(&mut connection).map_err(|err| {
            let error = told("MAIL FROM", &err);
            match err.is_permanent() {
                // The sender is the same for every mail.
                true => away(anyhow!("{error}; may EMAIL_FROM send there?")),
                false => away(error),
            }
        })?;
        Ok(connection)
    }

    fn connect(&self) -> Result<SmtpConnection, Failure> {
        let Settings { host, port, security, timeout, .. } = &self.settings;
        let hello = ClientId::Domain(self.settings.from.domain.clone());
        let at_once = self.tls.as_ref().filter(|_| *security == Security::Tls);
        let place = (host.as_str(), *port);
        let mut connection = SmtpConnection::connect(place, Some(*timeout), &hello, at_once, None)
            .map_err(|err| away(told("connecting", &err)))?;
        if let Some(tls) = self.tls.as_ref().filter(|_| *security == Security::StartTls) {
            connection.starttls(tls, &hello).map_err(|err| {
                away(anyhow!("{}; without it nothing is sent, see {SECURITY}", told("STARTTLS", &err)))
            })?;
        }
        if let Some(sign_in) = &self.settings.sign_in {
            let who = Credentials::new(sign_in.user.clone(), sign_in.password.expose().to_owned());
            connection
                .auth(&[Mechanism::Plain, Mechanism::Login], &who)
                .map_err(|err| away(anyhow!("{}; correct EMAIL_USERNAME or EMAIL_PASSWORD", told("AUTH", &err))))?;
        }
        Ok(connection)
    }

    fn start(&self, connection: &mut SmtpConnection) -> Result<(), Error> {
        let from = Address::new(&self.settings.from.local, &self.settings.from.domain).ok();
        connection.command(Mail::new(from, Vec::new())).map(drop)
    }

    fn deliver(&self, connection: &mut SmtpConnection, to: &[Address], mail: &[u8]) -> Result<Vec<Verdict>, Failure> {
        let verdicts = to.iter().map(|to| verdict(connection, to)).collect::<Result<Vec<_>, _>>()?;
        if !verdicts.contains(&Verdict::Accepted) {
            connection.command(Rset).map_err(|err| not_sent(told("RSET", &err)))?;
            return Ok(verdicts);
        }
        connection.command(Data).map_err(|err| match err.is_permanent() {
            true => Failure::Permanent(told("DATA", &err)),
            false => not_sent(told("DATA", &err)),
        })?;
        let waits = |connection: &mut SmtpConnection, longest| {
            connection.set_timeout(Some(longest)).map_err(|err| not_sent(anyhow!("the connection broke: {err}")))
        };
        waits(connection, self.settings.accept_timeout)?;
        let accepted = connection.message(mail);
        match accepted {
            // The next mail finds out whether the connection still lives.
            Ok(_) => {
                let _ = waits(connection, self.settings.timeout);
                Ok(verdicts)
            }
            Err(err) if err.is_permanent() => Err(Failure::Permanent(told("the mail", &err))),
            Err(err) if err.is_transient() => Err(self.put_off(told("the mail", &err))),
            // It may be on its way already.
            Err(err) => {
                let error = anyhow!("{}: it may have been delivered", told("the mail", &err));
                Err(Failure::OutcomeUnknown { error, visible_in: self.settings.timeout })
            }
        }
    }

    /// The server wants it later, much later than the lane would come again by itself.
    pub fn put_off(&self, error: anyhow::Error) -> Failure {
        Failure::OutcomeUnknown { error, visible_in: self.settings.retry_after }
    }
}

/// `Err` when the server has ended the conversation.
fn verdict(connection: &mut SmtpConnection, to: &Address) -> Result<Verdict, Failure> {
    match connection.command(Rcpt::new(to.clone(), Vec::new())) {
        Ok(_) => Ok(Verdict::Accepted),
        Err(err) if err.is_permanent() => Ok(Verdict::Refused(plain(&err.to_string()))),
        // 421 announces the end of the connection, whatever it answers (RFC 5321).
        Err(err) if err.is_transient() && err.status().is_none_or(|code| code.to_string() != "421") => {
            Ok(Verdict::Later(plain(&err.to_string())))
        }
        Err(err) => Err(not_sent(told("RCPT TO", &err))),
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

fn told(step: &str, err: &Error) -> anyhow::Error {
    anyhow!("{step}: {}", plain(&err.to_string()))
}

fn tls(settings: &Settings) -> anyhow::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(settings.host.clone()).certificate_store(CertificateStore::WebpkiRoots);
    if let Some(pem) = &settings.certificates {
        builder = builder.add_root_certificate(Certificate::from_pem(pem)?);
    }
    Ok(builder.build()?)
}
