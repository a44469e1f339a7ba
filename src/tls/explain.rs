//! What went wrong with a TLS connection, in words for the person who can correct it. The texts of rustls and webpki
//! are for programmers, so none of them is shown. This file decides nothing.

use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::verifier::Unknown;

/// The algorithms of old signatures: sha1WithRSAEncryption, ecdsa-with-SHA1, md5WithRSAEncryption.
const SHA1_OR_OLDER: [&[u8]; 3] = [
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04],
];

/// What went wrong in a handshake or after it, and what to do about it. `ca_file` is the setting that names more root
/// certificates.
pub fn explain(err: &io::Error, ca_file: &str) -> String {
    match err.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(err) => explain_tls(err, ca_file),
        None => match err.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "the server does not answer the handshake in time".into(),
            ErrorKind::UnexpectedEof => {
                "the server ended the connection in the handshake; is it a port for TLS?".into()
            }
            kind => format!("the connection broke in the handshake: {kind}"),
        },
    }
}

fn explain_tls(err: &Error, ca_file: &str) -> String {
    match err {
        Error::InvalidCertificate(refused) => certificate(refused, ca_file),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what answers there does not speak TLS: correct the port".into()
        }
        Error::PeerIncompatible(why) => incompatible(why).into(),
        Error::AlertReceived(alert) => refused_by_server(*alert),
        Error::NoCertificatesPresented => "the server shows no certificate: set one up there".into(),
        Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::InvalidMessage(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => {
            "the server breaks the rules of TLS, or something between here and there changes what it sends".into()
        }
        Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes => {
            "this machine gives no time or no random numbers".into()
        }
        _ => "the handshake failed in an unusual way: look into the server's log".into(),
    }
}

fn incompatible(why: &PeerIncompatible) -> &'static str {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            OLD_TLS
        }
        _ => NOTHING_IN_COMMON,
    }
}

const OLD_TLS: &str =
    "the server speaks only TLS 1.1 or older, which is no longer safe: switch TLS 1.2 or 1.3 on there";
const NOTHING_IN_COMMON: &str = "the server has no cipher in common with this program: switch TLS 1.3 on there, or \
                                 TLS 1.2 with ECDHE and AES-GCM";

fn refused_by_server(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion => OLD_TLS.into(),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            format!("{NOTHING_IN_COMMON}; or it wants a certificate of its clients: switch that off")
        }
        AlertDescription::UnrecognisedName => {
            "the server has nothing to show under this name: correct the host, or set the name up there".into()
        }
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate | AlertDescription::BadCertificate => {
            "the server wants a certificate of its clients, which this program does not have: switch that off there \
             (RabbitMQ: ssl_options.fail_if_no_peer_cert = false)"
                .into()
        }
        alert => format!("the server ended the handshake (TLS alert {}): look into its log", u8::from(alert)),
    }
}

fn certificate(refused: &CertificateError, ca_file: &str) -> String {
    match refused {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: have it renewed, or correct the clock of this machine".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: correct the clock of this machine, or have it issued again"
                .into()
        }
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            let host = expected.to_str();
            let kind = if host.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
            format!(
                "the server's certificate is for no host (it has no subjectAltName): have it issued for this one, \
                 with openssl: -addext subjectAltName={kind}:{host}"
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented: Vec<&str> = presented.iter().map(|name| plain(name)).collect();
            format!(
                "the server's certificate is not for {}, but for {}: use a name for which it is, or have it issued for \
                 this one",
                expected.to_str(),
                presented.join(", ")
            )
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id: algorithm, .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: algorithm,
            ..
        } => signature(algorithm).into(),
        CertificateError::BadSignature => format!(
            "the signature of the server's certificate does not fit: a CA made again under its old name (put its present \
             certificate into {ca_file}), or a key of less than 2048 bits (have the certificate issued for a longer one)"
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not meant for a server: have it issued with extendedKeyUsage=serverAuth".into()
        }
        CertificateError::BadEncoding => {
            "the server's certificate cannot be read: have it issued again (X.509 version 3)".into()
        }
        CertificateError::Revoked => "the server's certificate is revoked: have it issued again".into(),
        CertificateError::Other(other) => match other.0.downcast_ref() {
            Some(unknown) => unknown_issuer(unknown, ca_file),
            None => format!(
                "the server's certificate is that of a CA, or has demands that this program does not know: if it is the \
                 right one, name a PEM file with exactly this certificate in {ca_file}; or have one issued for the server"
            ),
        },
        _ => "the server's certificate is refused: have it issued again".into(),
    }
}

fn signature(algorithm: &[u8]) -> &'static str {
    match SHA1_OR_OLDER.iter().any(|old| algorithm.windows(old.len()).any(|part| part == *old)) {
        true => {
            "a certificate that the server sends is signed with SHA-1 or MD5, which is no longer safe: have it issued \
             again with SHA-256"
        }
        false => {
            "a certificate that the server sends is signed in an unusual way: have it issued again with SHA-256 and an \
             RSA or ECDSA key"
        }
    }
}

fn unknown_issuer(unknown: &Unknown, ca_file: &str) -> String {
    match unknown {
        Unknown::Itself => format!(
            "the server's certificate is signed by itself: if it is the right one, name a PEM file with exactly this \
             certificate in {ca_file}"
        ),
        Unknown::Missing(who) => format!(
            "the server's certificate is signed by nobody whom this program trusts: name a PEM file with the \
             certificate of its CA{} in {ca_file}; or, if that is an intermediate CA, have the server send its \
             certificate along (fullchain.pem)",
            who.as_ref().map(|who| format!(" \"{who}\"")).unwrap_or_default()
        ),
    }
}

/// The name in a text such as `DnsName("rmq.example")`.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_breaks_in_the_handshake_is_explained_in_words() {
        for (kind, told) in [
            (ErrorKind::WouldBlock, "does not answer the handshake in time"),
            (ErrorKind::UnexpectedEof, "is it a port for TLS?"),
            (ErrorKind::ConnectionReset, "the connection broke in the handshake: connection reset"),
        ] {
            assert!(explain(&kind.into(), "HTTPS_CA_FILE").contains(told), "{kind}");
        }
    }

    fn told(err: impl Into<Error>) -> String {
        explain(&io::Error::new(ErrorKind::InvalidData, err.into()), "HTTPS_CA_FILE")
    }

    #[test]
    fn old_tls_and_old_signatures_are_named() {
        for err in [
            Error::AlertReceived(AlertDescription::ProtocolVersion),
            PeerIncompatible::ServerDoesNotSupportTls12Or13.into(),
        ] {
            assert!(told(err).contains("TLS 1.1 or older"));
        }
        let by = |algorithm: &[u8]| CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: [&[6, 9], algorithm, &[5, 0]].concat(),
            supported_algorithms: Vec::new(),
        };
        SHA1_OR_OLDER.iter().for_each(|old| assert!(told(by(old)).contains("SHA-1 or MD5")));
        assert!(told(by(&[1, 2, 3])).contains("signed in an unusual way"));
    }

    #[test]
    fn no_text_of_the_library_is_shown() {
        let alerts = (0..=u8::MAX).map(|number| Error::AlertReceived(AlertDescription::from(number)));
        let certificates = [
            CertificateError::BadEncoding,
            CertificateError::Revoked,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::UnknownIssuer,
            CertificateError::BadSignature,
            CertificateError::InvalidPurpose,
            CertificateError::ApplicationVerificationFailure,
        ];
        let others = [
            Error::NoCertificatesPresented,
            Error::DecryptError,
            Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge),
            Error::General("SomethingElse".into()),
            PeerIncompatible::NoCipherSuitesInCommon.into(),
        ];
        for err in alerts.chain(certificates.map(Error::from)).chain(others) {
            let told = told(err);
            // Two words written as one, like the names of variants.
            let in_one =
                |word: &str| word.chars().zip(word.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase());
            let known = ["extendedKeyUsage=serverAuth", "RabbitMQ:", "(RabbitMQ:"];
            assert!(!told.split(' ').any(|word| in_one(word) && !known.contains(&word)), "{told}");
        }
    }

    #[test]
    fn the_names_of_a_certificate_are_shown_as_they_are_written() {
        assert_eq!(plain("DnsName(\"rmq.example\")"), "rmq.example");
        assert_eq!(plain("IpAddress(10.0.0.1)"), "10.0.0.1");
        assert_eq!(plain("DirectoryName"), "DirectoryName");
    }
}
