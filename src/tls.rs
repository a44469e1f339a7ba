//! Whom to trust, for amqps and https alike: reads CA files, makes the settings of a TLS client, and says in plain words
//! what is wrong with a server.
//!
//! Certificates are always checked; there is no switch for that. It knows no socket, no AMQP and no HTTP.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, Error, InvalidMessage, RootCertStore};

/// The authorities (CAs) whose word for a server counts.
#[derive(Clone, Debug)]
pub struct Authorities(RootCertStore);

impl Authorities {
    /// Those that browsers trust, built in.
    pub fn public() -> Authorities {
        Authorities(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }

    /// Those of a PEM file.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(file: &Path) -> Result<Authorities, String> {
        let text = fs::read(file).map_err(|err| format!("which cannot be read: {err}"))?;
        let mut roots = RootCertStore::empty();
        for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&text)) {
            let damaged = |err: &dyn std::fmt::Display| format!("whose certificate {number} is damaged: {err}");
            roots.add(certificate.map_err(|err| damaged(&err))?).map_err(|err| damaged(&err))?;
        }
        match roots.is_empty() {
            true => Err("which holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".into()),
            false => Ok(Authorities(roots)),
        }
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, others: Authorities) -> Authorities {
        self.0.roots.extend(others.0.roots);
        self
    }

    /// The settings of a client that trusts them, and nobody else.
    pub fn client(&self) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for all default versions");
        Arc::new(config.with_root_certificates(self.0.clone()).with_no_client_auth())
    }
}

/// What went wrong in a handshake, and what to do about it. `ca_file` is the setting that names more authorities.
pub fn explain(err: &io::Error, ca_file: &str) -> String {
    let Some(err) = err.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match err.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "the server does not answer the handshake in time".into(),
            ErrorKind::UnexpectedEof => {
                "the server ended the connection in the handshake; is it a port for TLS?".into()
            }
            kind => format!("the connection broke in the handshake: {kind}"),
        };
    };
    match err {
        Error::InvalidCertificate(refused) => certificate(refused, ca_file),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what answers there does not speak TLS: correct the port".into()
        }
        err => err.to_string(),
    }
}

fn certificate(refused: &CertificateError, ca_file: &str) -> String {
    match refused {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: have it renewed, or correct the clock of this machine".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: correct the clock of this machine, or have it issued anew"
                .into()
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "the server's certificate is for no host (it has no subjectAltName): have it issued for this one".into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the server's certificate is not for {}, but for {}: use a name for which it is, or have it issued for this \
             one",
            expected.to_str(),
            presented.join(", ")
        ),
        CertificateError::UnknownIssuer => format!(
            "the server's certificate is signed by nobody whom this program trusts: name a PEM file with the certificate \
             of its CA in {ca_file}"
        ),
        other => format!("the server's certificate is refused: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_authorities_come_beside_the_public_ones() {
        let own = Authorities(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS[..1].to_vec() });
        let public = Authorities::public();
        assert!(public.0.len() > 50);
        assert_eq!(own.and(public.clone()).0.len(), 1 + public.0.len());
    }

    #[test]
    fn a_connection_that_breaks_in_the_handshake_is_told_in_words() {
        for (kind, told) in [
            (ErrorKind::WouldBlock, "does not answer the handshake in time"),
            (ErrorKind::UnexpectedEof, "is it a port for TLS?"),
            (ErrorKind::ConnectionReset, "the connection broke in the handshake: connection reset"),
        ] {
            assert!(explain(&kind.into(), "HTTPS_CA_FILE").contains(told), "{kind}");
        }
    }
}
