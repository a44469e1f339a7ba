//! Checks a server's certificate: rustls does, and lets only what follows from a CA pass; here, what the user has named
//! as exactly this server's certificate passes too. It has no words for people: those are in `explain`.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, OtherError, SignatureScheme};

use super::names;

/// What a client checks a server's certificate with.
#[derive(Debug)]
pub struct Verifier {
    by_authority: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

/// Nobody who is trusted has signed the certificate.
#[derive(Debug)]
pub enum Unknown {
    /// It is signed by itself.
    Itself,
    /// The chain that the server sends ends before this one, as far as a name can be read.
    Missing(Option<String>),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the issuer is not known")
    }
}

impl Error for Unknown {}

impl Verifier {
    /// Trusts what `by_authority` trusts, and a server that shows exactly one of `own`.
    pub fn new(by_authority: Arc<WebPkiServerVerifier>, own: Vec<CertificateDer<'static>>) -> Verifier {
        Verifier { by_authority, own }
    }
}

/// What rustls says of a certificate in order that stands for itself: that it is no link between a server and a CA. Its
/// time, which is looked at before, is right.
fn lacks_authority_only(refused: &CertificateError) -> bool {
    matches!(
        refused,
        CertificateError::UnknownIssuer
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
            // That it is a CA's.
            | CertificateError::Other(_)
    )
}

/// For this host, or for no host at all: then the user's word is all there is.
fn may_be_for(certificate: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<ServerCertVerified, TlsError> {
    match verify_server_name(&ParsedCertificate::try_from(certificate)?, host) {
        Err(TlsError::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }))
            if presented.is_empty() =>
        {
            Ok(ServerCertVerified::assertion())
        }
        verdict => verdict.map(|()| ServerCertVerified::assertion()),
    }
}

fn is_signed_by_itself(server: &CertificateDer<'_>) -> bool {
    names::of(server).is_some_and(|names| names.issuer == names.subject)
}

fn told(unknown: Unknown) -> TlsError {
    CertificateError::Other(OtherError(Arc::new(unknown))).into()
}

/// Who is missing between the server's certificate and anybody trusted.
fn missing(server: &CertificateDer<'_>, sent: &[CertificateDer<'_>]) -> Unknown {
    if is_signed_by_itself(server) {
        return Unknown::Itself;
    }
    let Some(mut last) = names::of(server) else { return Unknown::Missing(None) };
    // At most once for each: a server may send a circle.
    for _ in sent {
        let mut next = sent.iter().filter_map(|certificate| names::of(certificate));
        match next.find(|next| next.subject == last.issuer && next.issuer != next.subject) {
            Some(next) => last = next,
            None => break,
        }
    }
    Unknown::Missing(names::readable(last.issuer))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let refused = match self.by_authority.verify_server_cert(server, sent, host, ocsp, now) {
            Err(TlsError::InvalidCertificate(refused)) => refused,
            verdict => return verdict,
        };
        let is_own = self.own.contains(server);
        match refused {
            CertificateError::NotValidForNameContext { .. } if is_own => may_be_for(server, host),
            refused if is_own && lacks_authority_only(&refused) => may_be_for(server, host),
            CertificateError::UnknownIssuer => Err(told(missing(server, sent))),
            // That it is a CA's, or that another one of this name is known, does not matter where nobody else could have
            // signed it.
            CertificateError::Other(_) | CertificateError::BadSignature if is_signed_by_itself(server) => {
                Err(told(Unknown::Itself))
            }
            refused => Err(refused.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.by_authority.verify_tls12_signature(message, server, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.by_authority.verify_tls13_signature(message, server, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}
