//! Whom a certificate is for, who has signed it, and whether it is a CA's: just enough of DER for that. It does not
//! check certificates; one that it cannot read has no names and is no CA's.

/// The two names of a certificate, as they are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    /// Who has signed it.
    pub issuer: &'a [u8],
    /// Whom it is for.
    pub subject: &'a [u8],
}

/// The identifiers of two parts of a name: 2.5.4.3 and 2.5.4.10.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANISATION: &[u8] = &[0x55, 4, 10];
/// 2.5.29.19, the extension that says whether the certificate is a CA's.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// The tag before a certificate's version; the oldest certificates have no version.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const BOOLEAN: u8 = 1;

/// The names of this certificate.
pub fn of(certificate: &[u8]) -> Option<Names<'_>> {
    let mut next = signed_part(certificate)?;
    if next.tag == VERSION {
        next = next.following()?;
    }
    // `next` is the serial number; then come the algorithm, the issuer, the validity and the subject.
    let issuer = next.following()?.following()?;
    let subject = issuer.following()?.following()?;
    Some(Names { issuer: issuer.content, subject: subject.content })
}

/// Whether it is a CA's. A certificate of version 1, as some old CAs have, cannot say so and counts as one.
pub fn is_ca(certificate: &[u8]) -> bool {
    signed_part(certificate).is_some_and(|first| first.tag != VERSION || says_ca(first) == Some(true))
}

/// The first element of the signed part.
fn signed_part(certificate: &[u8]) -> Option<Element<'_>> {
    let signed = Element::first_of(Element::first_of(certificate)?.content)?;
    Element::first_of(signed.content)
}

fn says_ca(mut element: Element<'_>) -> Option<bool> {
    while element.tag != EXTENSIONS {
        element = element.following()?;
    }
    let mut extension = Element::first_of(Element::first_of(element.content)?.content)?;
    while Element::first_of(extension.content)?.content != BASIC_CONSTRAINTS {
        extension = extension.following()?;
    }
    let mut value = Element::first_of(extension.content)?.following()?;
    // The flag that says whether a reader may ignore this extension if it does not know it.
    if value.tag == BOOLEAN {
        value = value.following()?;
    }
    let ca = Element::first_of(Element::first_of(value.content)?.content)?;
    Some(ca.tag == BOOLEAN && ca.content != [0])
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
            // The length takes this many bytes.
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
    fn a_certificate_is_a_cas_if_it_says_so_or_is_too_old_to_say_it() {
        let made = |is_ca| {
            let mut about = about("somebody");
            about.is_ca = is_ca;
            about.self_signed(&KeyPair::generate().expect("random numbers")).expect("a certificate").der().to_vec()
        };
        assert!(is_ca(&made(IsCa::Ca(BasicConstraints::Unconstrained))));
        assert!(is_ca(&made(IsCa::Ca(BasicConstraints::Constrained(0)))));
        assert!(!is_ca(&made(IsCa::ExplicitNoCa)));
        let silent = made(IsCa::NoCa);
        assert!(!is_ca(&silent) && !is_ca(b"no certificate"));
        let sequence = |content: &[u8]| {
            let length = u16::try_from(content.len()).expect("a short one").to_be_bytes();
            [&[0x30, 0x82], &length[..], content].concat()
        };
        let versioned = signed_part(&silent).expect("a version");
        assert!(is_ca(&sequence(&sequence(versioned.rest))));
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
        // Cut anywhere, it has no names, or the same ones.
        for length in 0..server.der().len() {
            assert!(of(&server.der()[..length]).is_none());
        }
    }
}
