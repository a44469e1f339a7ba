//! Checks a server's certificate. rustls checks it first, and accepts only certificates that a CA has signed; here a
//! certificate passes too that the user has named as exactly this server's. The words for people are in `explain`.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, OtherError, SignatureScheme};

use super::{RootCertificates, names};

/// Checks a server's certificate.
#[derive(Debug)]
pub struct Verifier {
    root_certificates: RootCertificates,
    algorithms: WebPkiSupportedAlgorithms,
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
    /// Trusts what the root certificates' CAs have signed, and a server that shows exactly one of the user's
    /// certificates.
    pub fn new(root_certificates: RootCertificates, algorithms: WebPkiSupportedAlgorithms) -> Verifier {
        Verifier { root_certificates, algorithms }
    }

    /// rustls's own check. Its `WebPkiServerVerifier` does the same, but cannot be made without a root certificate.
    fn by_root_certificates(
        &self,
        server: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let parsed = ParsedCertificate::try_from(server)?;
        let roots = &self.root_certificates.roots;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, sent, now, self.algorithms.all)?;
        verify_server_name(&parsed, host)
    }
}

/// Whether rustls only objects that the certificate is no link between a server and a CA; then it is otherwise in
/// order, since its time was checked before.
fn lacks_ca_only(refused: &CertificateError) -> bool {
    matches!(
        refused,
        CertificateError::UnknownIssuer
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
            // That it is a CA's.
            | CertificateError::Other(_)
    )
}

/// Whether it is for this host. If it names no host at all, the user's word is enough.
fn may_be_for(certificate: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<ServerCertVerified, TlsError> {
    match verify_server_name(&ParsedCertificate::try_from(certificate)?, host) {
        Err(TlsError::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }))
            if presented.is_empty() =>
        {
            Ok(ServerCertVerified::assertion())
        }
        checked => checked.map(|()| ServerCertVerified::assertion()),
    }
}

fn is_signed_by_itself(server: &CertificateDer<'_>) -> bool {
    names::of(server).is_some_and(|names| names.issuer == names.subject)
}

fn unknown_issuer(unknown: Unknown) -> TlsError {
    CertificateError::Other(OtherError(Arc::new(unknown))).into()
}

/// Who is missing between the server's certificate and a trusted one.
fn missing(server: &CertificateDer<'_>, sent: &[CertificateDer<'_>]) -> Unknown {
    if is_signed_by_itself(server) {
        return Unknown::Itself;
    }
    let Some(mut last) = names::of(server) else { return Unknown::Missing(None) };
    // At most one step for each: a server may send a circle.
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
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let refused = match self.by_root_certificates(server, sent, host, now) {
            Err(TlsError::InvalidCertificate(refused)) => refused,
            checked => return checked.map(|()| ServerCertVerified::assertion()),
        };
        let is_own = self.root_certificates.own.contains(server);
        match refused {
            CertificateError::NotValidForNameContext { .. } if is_own => may_be_for(server, host),
            refused if is_own && lacks_ca_only(&refused) => may_be_for(server, host),
            CertificateError::UnknownIssuer => Err(unknown_issuer(missing(server, sent))),
            // A certificate signed by itself can have no other issuer, so it does not matter that it is a CA's, or that
            // another one of this name is known.
            CertificateError::Other(_) | CertificateError::BadSignature if is_signed_by_itself(server) => {
                Err(unknown_issuer(Unknown::Itself))
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
        verify_tls12_signature(message, server, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        server: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, server, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
