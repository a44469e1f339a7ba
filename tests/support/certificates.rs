//! CAs and certificates that live as long as a test: valid, expired, or for any name that the test wants. It knows no
//! server.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

/// A CA of the test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate and its key, both as PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        Authority(CertifiedIssuer::self_signed(about_ca(name), key()).expect("an authority can sign for itself"))
    }

    /// The PEM text for `RABBITMQ_CA_FILE` and `HTTPS_CA_FILE`.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this host name or address.
    pub fn identity(&self, host: &str) -> Identity {
        self.sign(host, |_| {})
    }

    /// The same, but expired.
    pub fn expired(&self, host: &str) -> Identity {
        self.sign(host, |about| about.not_after = date_time_ymd(2020, 1, 1))
    }

    /// The same without a host.
    pub fn identity_for_nobody(&self) -> Identity {
        self.sign("nobody.example", |about| about.subject_alt_names.clear())
    }

    /// A CA whose certificate this one has signed.
    pub fn intermediate(&self, name: &str) -> Authority {
        let signed = CertifiedIssuer::signed_by(about_ca(name), key(), &self.0);
        Authority(signed.expect("an authority can sign for another"))
    }

    /// The certificate of a server, although its key signs others.
    pub fn server_that_signs(&self, host: &str) -> Authority {
        let mut about = CertificateParams::new([host.to_owned()]).expect("a host's name can be in a certificate");
        about.distinguished_name.push(DnType::CommonName, host);
        let signed = CertifiedIssuer::signed_by(about, key(), &self.0);
        Authority(signed.expect("an authority can sign for another"))
    }

    fn sign(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut about = CertificateParams::new([host.to_owned()]).expect("a host's name can be in a certificate");
        about.not_before = date_time_ymd(2010, 1, 1);
        change(&mut about);
        let key = key();
        let certificate = about.signed_by(&key, &self.0).expect("an authority can sign");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

fn about_ca(name: &str) -> CertificateParams {
    let mut about = CertificateParams::default();
    about.distinguished_name.push(DnType::CommonName, name);
    about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    about
}

impl Identity {
    /// The certificate that `openssl req -x509` makes for a server: signed by itself and, unlike a server's, a CA's.
    pub fn own(hosts: &[&str]) -> Identity {
        Identity::own_but(hosts, |_| {})
    }

    /// The same with a change.
    pub fn own_but(hosts: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let hosts: Vec<String> = hosts.iter().map(|host| host.to_string()).collect();
        let mut about = CertificateParams::new(hosts).expect("a host's name can be in a certificate");
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        about.not_before = date_time_ymd(2010, 1, 1);
        change(&mut about);
        let key = key();
        let certificate = about.self_signed(&key).expect("a key can sign for itself");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the machine has random numbers")
}

/// A file for a setting to name; removed when this is dropped.
pub struct PemFile(PathBuf);

impl PemFile {
    pub fn write(text: &str) -> PemFile {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{}.pem", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Cargo has a folder for tests, and none for the example that is compiled with this module.
        let folder = option_env!("CARGO_TARGET_TMPDIR").map_or_else(env::temp_dir, PathBuf::from);
        let file = folder.join(name);
        fs::write(&file, text).expect("the folder for tests is writable");
        PemFile(file)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("the folder for tests has a plain name")
    }
}

impl Drop for PemFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
