//! Who a certificate is for and who has signed it: just enough of DER to name them to a person. It judges nothing, so a
//! certificate that it cannot read has no names.

/// The two names of a certificate, as they are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    /// Who has signed it.
    pub issuer: &'a [u8],
    /// Whose it is.
    pub subject: &'a [u8],
}

/// The identifiers of what a name consists of: 2.5.4.3 and 2.5.4.10.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANISATION: &[u8] = &[0x55, 4, 10];
/// The tag before a certificate's version, which the oldest ones lack.
const VERSION: u8 = 0xa0;

/// The names of this certificate.
pub fn of(certificate: &[u8]) -> Option<Names<'_>> {
    let signed = Element::first_of(Element::first_of(certificate)?.content)?;
    let mut next = Element::first_of(signed.content)?;
    if next.tag == VERSION {
        next = next.following()?;
    }
    // Here is the serial number; then come the algorithm, the issuer, the validity and the subject.
    let issuer = next.following()?.following()?;
    let subject = issuer.following()?.following()?;
    Some(Names { issuer: issuer.content, subject: subject.content })
}

/// A name for people: the common name, or that of the organisation.
pub fn readable(name: &[u8]) -> Option<String> {
    part(name, COMMON_NAME).or_else(|| part(name, ORGANISATION))
}

fn part(mut name: &[u8], wanted: &[u8]) -> Option<String> {
    while let Some(set) = Element::first_of(name) {
        name = set.rest;
        let identifier = Element::first_of(Element::first_of(set.content)?.content)?;
        if identifier.content == wanted {
            return Some(String::from_utf8_lossy(identifier.following()?.content).into_owned());
        }
    }
    None
}

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

impl Element<'_> {
    fn first_of(input: &[u8]) -> Option<Element<'_>> {
        let (&[tag, length], rest) = input.split_first_chunk()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            // So many bytes of length follow.
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
                (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        Some(Element { tag, content, rest })
    }
}

impl<'a> Element<'a> {
    fn following(&self) -> Option<Element<'a>> {
        Element::first_of(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    fn about(name: &str) -> CertificateParams {
        let mut about = CertificateParams::default();
        about.distinguished_name.push(DnType::OrganizationName, "ООО «Ромашка»");
        about.distinguished_name.push(DnType::CommonName, name);
        about
    }

    #[test]
    fn the_names_of_a_certificate_are_read_and_nothing_else_is_needed() {
        let key = || KeyPair::generate().expect("random numbers");
        let mut authority = about("our CA");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("a CA");
        let server = about("portal.example").signed_by(&key(), &authority).expect("a certificate");
        let names = of(server.der()).expect("names");
        let both = (readable(names.issuer), readable(names.subject));
        assert_eq!(both, (Some("our CA".into()), Some("portal.example".into())));
        assert_eq!(part(names.subject, ORGANISATION).as_deref(), Some("ООО «Ромашка»"));
        let itself = of(authority.der()).expect("names");
        assert_eq!(itself.issuer, itself.subject);
        // Cut anywhere, it has no names, or the same.
        for length in 0..server.der().len() {
            assert!(of(&server.der()[..length]).is_none());
        }
    }
}
