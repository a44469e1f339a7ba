//! Whom to trust, for amqps and https alike: reads CA files and makes the settings of a TLS client. [`explain()`] says
//! in plain words what is wrong with a server, `verifier` checks its certificate, `names` reads whom a certificate is
//! for.
//!
//! Certificates are always checked; there is no switch for that. It knows no socket, no AMQP and no HTTP.

mod explain;
mod names;
mod verifier;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::settings;
pub use explain::explain;
use verifier::Verifier;

/// The root certificates of CAs that are trusted, and the server certificates that are trusted by themselves.
#[derive(Clone, Debug)]
pub struct RootCertificates {
    roots: RootCertStore,
    /// All certificates of a file. A server that shows exactly one of them is trusted, whoever has signed it.
    own: Vec<CertificateDer<'static>>,
}

impl RootCertificates {
    /// The root certificates that browsers trust, built in.
    pub fn public() -> RootCertificates {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        RootCertificates { roots, own: Vec::new() }
    }

    /// The certificates of a PEM file. One that was made for a server is trusted for that server only: it is no CA.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(file: &Path) -> Result<RootCertificates, String> {
        let mut text = Vec::new();
        let read = settings::file::open(file).and_then(|mut file| file.read_to_end(&mut text));
        read.map_err(|err| format!("which cannot be read: {err}"))?;
        let (mut roots, mut own) = (RootCertStore::empty(), Vec::new());
        for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&text)) {
            // The libraries' own texts are for programmers.
            let damaged =
                || format!("whose certificate {number} is damaged: copy it there again, first and last line included");
            let certificate = certificate.map_err(|_| damaged())?;
            let mut anchor = RootCertStore::empty();
            anchor.add(certificate.clone()).map_err(|_| damaged())?;
            if names::is_ca(&certificate) {
                roots.extend(anchor.roots);
            }
            own.push(certificate);
        }
        match own.is_empty() {
            true => {
                Err("which holds no certificate in PEM form (-----BEGIN CERTIFICATE-----); a binary one becomes PEM \
                         with: openssl x509 -inform der -in FILE -out ca.pem"
                    .into())
            }
            false => Ok(RootCertificates { roots, own }),
        }
    }

    /// The certificates of both.
    #[must_use]
    pub fn and(mut self, others: RootCertificates) -> RootCertificates {
        self.roots.extend(others.roots.roots);
        self.own.extend(others.own);
        self
    }

    /// The settings of a client that trusts only these.
    pub fn client(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // rustls marks an own verifier as dangerous; ours lets rustls check first.
        let verifier = Verifier::new(self.clone(), provider.signature_verification_algorithms);
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for all default versions");
        Arc::new(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_root_certificates_are_added_to_the_public_ones() {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS[..1].to_vec() };
        let own = RootCertificates { roots, own: vec![CertificateDer::from(vec![0])] };
        let public = RootCertificates::public();
        assert!(public.roots.len() > 50);
        let both = own.and(public.clone());
        assert_eq!((both.roots.len(), both.own.len()), (1 + public.roots.len(), 1));
    }
}
