//! Addresses of people, from a setting or a message: read strictly, since what stands in them is sent as a command. It
//! knows no list of its own.

use std::fmt;

use serde_json::Value;

use crate::message::text;
use crate::settings::address::host;

/// Of the part before the `@`, in bytes (RFC 5321).
const LONGEST_LOCAL: usize = 64;
/// What may stand there beside letters and digits, unquoted.
const OF_A_LOCAL: &str = ".!#$%&'*+-/=?^_`{|}~";

/// A person, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// What people read.
    pub name: Option<String>,
    /// Before the `@`.
    pub local: String,
    /// Behind it, in small letters, an international one as punycode.
    pub domain: String,
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address()),
            None => f.write_str(&self.address()),
        }
    }
}

impl Mailbox {
    /// `local@domain`, or what is wrong with it. With a name before it, it stands in angle brackets.
    pub fn parse(given: &str) -> Result<Mailbox, &'static str> {
        if given.contains(char::is_control) {
            return Err("has a line break or another control character");
        }
        let (name, address) = match given.trim().strip_suffix('>') {
            Some(rest) => rest.rsplit_once('<').ok_or("has > without <")?,
            None => ("", given.trim()),
        };
        let (local, domain) = address.trim().rsplit_once('@').ok_or("has no @")?;
        let is_of_a_local = |c: char| c.is_ascii_alphanumeric() || OF_A_LOCAL.contains(c);
        let is_local = (1..=LONGEST_LOCAL).contains(&local.len()) && local.chars().all(is_of_a_local);
        if !is_local || local.starts_with('.') || local.ends_with('.') || local.contains("..") {
            return Err("has a part before the @ that is none of ASCII letters, digits and single dots");
        }
        // Neither a bare address nor a name of this network.
        let domain = host(domain).map_err(|_| "has no domain behind the @")?.to_ascii_lowercase();
        let domain = domain.trim_end_matches('.').to_owned();
        if domain.starts_with('.') || domain.contains([':', '_']) {
            return Err("has no domain behind the @");
        }
        let name = name.trim().trim_matches('"').trim();
        Ok(Mailbox { name: (!name.is_empty()).then(|| name.to_owned()), local: local.to_owned(), domain })
    }

    /// Without the name.
    pub fn address(&self) -> String {
        format!("{}@{}", self.local, self.domain)
    }
}

/// The entries of a list: a JSON list, or a text with commas or semicolons. What stands in quotes is not divided.
pub fn entries(value: &Value) -> Vec<String> {
    if let Value::Array(values) = value {
        return values.iter().flat_map(entries).collect();
    }
    let Some(list) = text(value) else { return Vec::new() };
    let (mut quoted, are_pairs) = (false, list.matches('"').count() % 2 == 0);
    let divides = |c: char| {
        quoted ^= are_pairs && c == '"';
        !quoted && matches!(c, ',' | ';')
    };
    list.split(divides).map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_read_with_its_name_and_its_domain_as_punycode() {
        let read = |given| Mailbox::parse(given).map(|mailbox| (mailbox.name.clone(), mailbox.address()));
        assert_eq!(read(" a.b+c@Firma.example. "), Ok((None, "a.b+c@firma.example".into())));
        assert_eq!(
            read("Анна Иванова <anna@портал.example>"),
            Ok((Some("Анна Иванова".into()), "anna@xn--80awhdgm.example".into()))
        );
        assert_eq!(read("\"Иванов, И.\" <i@x.example>"), Ok((Some("Иванов, И.".into()), "i@x.example".into())));
    }

    #[test]
    fn what_would_be_another_command_is_no_address() {
        for wrong in [
            "",
            "anna",
            "@x.example",
            "anna@",
            "anna@x.example\r\nRCPT TO:<b@x.example>",
            "anna@x.example\0",
            "Анна\nBcc: b@x.example <anna@x.example>",
            "anna> SIZE=1@x.example",
            "a b@x.example",
            "\"a b\"@x.example",
            "анна@x.example",
            "a..b@x.example",
            ".a@x.example",
            "anna@x..example",
            "anna@[127.0.0.1]",
            "anna@x.example>",
            "anna@x example",
        ] {
            assert!(Mailbox::parse(wrong).is_err(), "{wrong:?}: {:?}", Mailbox::parse(wrong));
        }
    }

    #[test]
    fn a_list_is_divided_outside_quotes() {
        assert_eq!(entries(&json!("a@x; \"Иванов, И.\" <i@x>,, b@x ")), ["a@x", "\"Иванов, И.\" <i@x>", "b@x"]);
        assert_eq!(entries(&json!(["a@x, b@x", "c@x", null])), ["a@x", "b@x", "c@x"]);
        assert_eq!(entries(&json!("O\"Neil <a@x>, b@x")), ["O\"Neil <a@x>", "b@x"]);
        assert!(entries(&json!({"a": "b"})).is_empty());
    }
}
