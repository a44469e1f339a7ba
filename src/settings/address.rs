//! The addresses in the settings, parsed at the start: an address that no network can reach is reported then, and not
//! when the first request fails. It looks up no name, and no error repeats an address, which may hold a secret.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name, and the longest part between two dots, in bytes (RFC 1035).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

const NO_HOST: &str = "is not a plain host name or address, without a port";
const NO_URL: &str = "is not a URL of the form below";

/// The parts of an http or https address.
#[derive(Debug, PartialEq, Eq)]
pub struct Url<'a> {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// `user:password`, if it stands before the host.
    pub sign_in: Option<&'a str>,
    /// The host, an international one as punycode, and the port if there is one.
    pub place: String,
    /// What follows the slash after the host, without slashes at the end.
    pub path: &'a str,
}

/// A host as the name look-up and certificates know it: an international name as punycode, an IPv6 address without its
/// brackets.
///
/// # Errors
/// What is wrong with it.
pub fn host(given: &str) -> Result<String, &'static str> {
    let inside = given.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let bare = inside.unwrap_or(given);
    // A link-local address names its interface: fe80::1%eth0.
    if bare.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
        return Ok(bare.to_owned());
    }
    // сompany.example with a Cyrillic first letter.
    let is_cyrillic = |c: char| ('\u{400}'..='\u{52f}').contains(&c);
    if given.split('.').any(|label| label.contains(is_cyrillic) && label.contains(|c: char| c.is_ascii_alphabetic())) {
        return Err("mixes Latin and Cyrillic letters; type it again");
    }
    let name = match given.is_ascii() {
        true => given.to_owned(),
        false => idna::domain_to_ascii(given).map_err(|_| "is no host name; write an international one as punycode")?,
    };
    // Checked last: some letters become a blank or a slash.
    if inside.is_some() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(NO_HOST);
    }
    let labels = || name.strip_suffix('.').unwrap_or(&name).split('.');
    if name.len() > LONGEST_NAME || labels().any(|label| label.is_empty() || label.len() > LONGEST_LABEL) {
        return Err("is not a host name: between two dots there are 1 to 63 characters, in all at most 253");
    }
    let is_numeric = labels().all(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if is_numeric && name.parse::<Ipv4Addr>().is_err() {
        return Err("is not an address: it has four numbers up to 255");
    }
    Ok(name)
}

/// The parts of an address of http or https, which has a path and no query.
///
/// # Errors
/// What is wrong with it.
pub fn url(given: &str) -> Result<Url<'_>, String> {
    base(given).and_then(|url| if url.path.is_empty() { Err(NO_URL.into()) } else { Ok(url) })
}

/// The same where the path may be missing.
///
/// # Errors
/// What is wrong with it.
pub fn base(given: &str) -> Result<Url<'_>, String> {
    let (scheme, rest) = match given.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => ("https", rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => ("http", rest),
        _ => return Err(NO_URL.into()),
    };
    let rest = rest.trim_end_matches('/');
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (sign_in, place) = authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
    if place.is_empty() || !is_plain(path, "/") || !sign_in.is_none_or(|sign_in| is_plain(sign_in, "")) {
        return Err(NO_URL.into());
    }
    // The colons of an IPv6 address are in brackets.
    let (name, port) = match place.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((name, port)) => (name, Some(port)),
        None => (place, None),
    };
    if port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
        return Err("has a port that is no number from 1 to 65535".into());
    }
    let name = match host(name).map_err(|wrong| format!("has a host that {wrong}"))? {
        // A URL has no place for the interface of a link-local address.
        address if address.contains('%') || address.contains(':') != name.starts_with('[') => {
            return Err(NO_URL.into());
        }
        address if address.contains(':') => format!("[{address}]"),
        name => name,
    };
    let place = port.map_or(name.clone(), |port| format!("{name}:{port}"));
    Ok(Url { scheme, sign_in, place, path })
}

/// The host of an address that was taken apart before, with its port where that is not the usual one. It is the same
/// target, whether reached by http or https.
pub fn place(url: &str) -> String {
    let (usual, rest) = match url.strip_prefix("https://") {
        Some(rest) => (":443", rest),
        None => (":80", url.trim_start_matches("http://")),
    };
    let host = rest.split('/').next().unwrap_or_default().to_lowercase();
    host.strip_suffix(usual).map_or(host.clone(), str::to_owned)
}

/// The host to which everything travels unencrypted, unless that is this machine.
pub fn unprotected_host(url: &str) -> Option<&str> {
    let place = url.strip_prefix("http://")?.split('/').next()?;
    // The colons of an IPv6 address are in brackets.
    let host = place.rsplit_once(':').map_or(place, |(host, port)| if port.contains(']') { place } else { host });
    (!is_this_machine(host)).then_some(host)
}

/// Whether what is sent to this host stays on this machine. No name is looked up: only a host that says so itself
/// counts.
pub fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Whether it has only characters that need no escape (RFC 3986), and these.
fn is_plain(text: &str, besides: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@".contains(c) || besides.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_nothing_else() {
        for (given, expected) in [
            ("rmq.example", "rmq.example"),
            ("rmq_1", "rmq_1"),
            ("rmq.example.", "rmq.example."),
            ("10.0.0.7", "10.0.0.7"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[fe80::1%eth0]", "fe80::1%eth0"),
            ("портал.example", "xn--80awhdgm.example"),
            ("Портал.РФ", "xn--80awhdgm.xn--p1ai"),
            ("bücher.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(host(given).as_deref(), Ok(expected), "{given}");
        }
        for wrong in [
            "",
            ".",
            "a..b",
            "rmq.example:5672",
            "[::1]:5672",
            "[rmq.example]",
            "[::1",
            "1:2",
            "10.0.0.300",
            "a b",
            "a/b",
            "a,b",
            "сompany.example",
            "é\u{a0}",
        ] {
            assert!(host(wrong).is_err(), "{wrong}: {:?}", host(wrong));
        }
        assert!(host(&"a".repeat(64)).is_err() && host(&"а".repeat(40)).is_ok());
    }

    #[test]
    fn a_url_is_taken_apart_and_its_host_is_in_the_form_for_a_look_up() {
        let parts = |scheme, sign_in, place: &str| Url { scheme, sign_in, place: place.into(), path: "rest/1/T" };
        for (given, expected) in [
            ("https://bitrix.example/rest/1/T/", parts("https", None, "bitrix.example")),
            ("HTTP://портал.example:8080/rest/1/T", parts("http", None, "xn--80awhdgm.example:8080")),
            ("http://u:p@[::1]:80/rest/1/T", parts("http", Some("u:p"), "[::1]:80")),
        ] {
            assert_eq!(url(given), Ok(expected), "{given}");
        }
        for wrong in [
            "bitrix.example/rest/1/T",
            "https://bitrix.example",
            "https:///rest/1/T",
            "https://bitrix.example:/rest/1/T",
            "https://bitrix.example:0/rest/1/T",
            "https://bitrix.example:99999/rest/1/T",
            "https://bitrix.example:80:80/rest/1/T",
            "https://::1/rest/1/T",
            "https://bitrix..example/rest/1/T",
            "https://bitrix_example,/rest/1/T",
            "https://10.0.0.300/rest/1/T",
            "https://bitrix.example/rest/1/Т",
            "https://bitrix.example/rest/1/T?a=b",
            "https://bitrix.example\\rest/1/T",
        ] {
            assert!(url(wrong).is_err(), "{wrong}: {:?}", url(wrong));
        }
    }
}
