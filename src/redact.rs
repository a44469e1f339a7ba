//! Removes what no line may hold: secrets, line breaks, and control characters for a terminal.
//!
//! It does not know where a text goes, nor whose secrets it hides; their list grows while the program runs.

use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Longer lines are cut, in bytes: an error text may hold a whole page.
const LONGEST_LINE: usize = 4_000;
/// A shorter secret is not hidden: `***` would replace half of every line.
const SHORTEST_SECRET: usize = 4;

/// The values that no line may hold, the longer ones first: one may be a part of another. Every thread that logs needs
/// them, even in a panic.
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Adds values that no line, and no text that goes through [`clean`], may hold from now on.
pub fn hide<'a>(secrets: impl IntoIterator<Item = &'a str>) {
    let mut hidden = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    hidden.extend(secrets.into_iter().flat_map(dressed));
    hidden.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    hidden.dedup();
}

/// The secret in every form in which another program may show it.
fn dressed(secret: &str) -> Vec<String> {
    let in_url = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let mut dresses = vec![secret.to_owned(), in_url, in_json(secret), in_json_of_php(secret)];
    dresses.retain(|secret| secret.len() >= SHORTEST_SECRET);
    dresses
}

/// The text as it stands within the quotes of JSON.
fn in_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The same from a program that escapes every character it can.
fn in_json_of_php(text: &str) -> String {
    let escaped = |character: char| match character {
        '/' => r"\/".to_owned(),
        ascii if ascii.is_ascii() => ascii.to_string(),
        other => other.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    in_json(text).chars().map(escaped).collect()
}

/// The text without secrets, on one line, and safe for a terminal.
pub fn clean(text: &str) -> String {
    escaped(&without(&hidden(), text), LONGEST_LINE)
}

/// The same without a limit, for a text that somebody has asked to see in full.
pub fn clean_in_full(text: &str) -> String {
    escaped(&without(&hidden(), text), usize::MAX)
}

/// JSON without secrets in its texts, still JSON with the same meaning, and safe for a terminal. It must be on one
/// line. Numbers stay: a number with the digits of a secret has them by chance.
pub fn clean_json(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    for character in json_without(&hidden(), json).chars() {
        match is_harmful(character) {
            // All harmful characters have four digits at most.
            true => drop(write!(clean, "\\u{:04x}", u32::from(character))),
            false => clean.push(character),
        }
    }
    clean
}

fn json_without(secrets: &[String], json: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(json.len()), json);
    while let Some(start) = rest.find('"') {
        let (before, texts) = rest.split_at(start);
        let (text, after) = texts.split_at(length_of_text(texts));
        out += before;
        // Other programs may have escaped any of its characters.
        match serde_json::from_str::<String>(text) {
            Ok(meant) if !secrets.iter().any(|secret| meant.contains(secret)) => out += text,
            Ok(meant) => out += &Value::from(without(secrets, &meant)).to_string(),
            // It ends with half an emoji, or is no JSON.
            Err(_) => out += &without(secrets, text),
        }
        rest = after;
    }
    out + rest
}

/// The length of the text in JSON that starts here, with its quotes, in bytes.
fn length_of_text(json: &str) -> usize {
    let mut escaped = false;
    let end = json.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    });
    end.map_or(json.len(), |end| end + 2)
}

fn hidden() -> RwLockReadGuard<'static, Vec<String>> {
    SECRETS.read().unwrap_or_else(PoisonError::into_inner)
}

fn without(secrets: &[String], text: &str) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| match text.contains(secret) {
        true => text.replace(secret, "***"),
        false => text,
    })
}

fn escaped(text: &str, longest: usize) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if escaped.len() >= longest {
            let _ = write!(escaped, "… ({} bytes in all)", text.len());
            break;
        }
        if is_harmful(character) {
            let _ = write!(escaped, "{}", character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Control characters break lines and control terminals; bidirectional ones make a line look different from what it
/// says.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use super::*;

    #[test]
    fn a_secret_that_is_added_later_is_hidden_too_also_in_urls() {
        hide(["canary/of redaction"]);
        hide(["canary/of redaction, the longer", "of"]);
        let text = "canary/of redaction, the longer; canary/of redaction; canary%2Fof%20redaction; of";
        assert_eq!(clean(text), "***; ***; ***; of");
    }

    #[test]
    fn one_event_is_one_line_whatever_it_contains() {
        let hostile = "a\r\nb\u{1b}[31mred\u{7}\0\u{202e}c\u{2028}d\u{85}e";
        let clean = escaped(hostile, LONGEST_LINE);
        assert!(!clean.chars().any(is_harmful), "{clean}");
        assert!(clean.contains("\\u{a}") && clean.contains("\\u{1b}"), "{clean}");
        assert_eq!(escaped("«Ёлка» 😀", LONGEST_LINE), "«Ёлка» 😀");
    }

    #[test]
    fn json_for_a_terminal_keeps_its_meaning() {
        let value = serde_json::json!({"a": "\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{2028}«Ёлка» 😀\n\\"});
        let clean = clean_json(&value.to_string());
        assert!(!clean.chars().any(is_harmful), "{clean}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&clean).expect("JSON"), value);
    }

    #[test]
    fn a_secret_is_hidden_however_json_shows_it_and_numbers_stay() {
        let mut secrets: Vec<String> = ["pa\"ss\\wörd/", "12345678"].into_iter().flat_map(dressed).collect();
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        let json = r#"{"n":12345678.50,"pa\"ss\\wörd/":["12345678-","\u0070a\u0022ss\\w\u00f6rd\/!",""],"half":"\ud83d12345678"}"#;
        let hidden = r#"{"n":12345678.50,"***":["***-","***!",""],"half":"\ud83d***"}"#;
        assert_eq!(json_without(&secrets, json), hidden);
        let shown = [r#"{"p": "pa\"ss\\wörd/"}"#, r#"{"p": "pa\"ss\\w\u00f6rd\/"}"#];
        shown.iter().for_each(|shown| assert_eq!(without(&secrets, shown), r#"{"p": "***"}"#));
        let text_in_text = Value::from(shown[1]).to_string();
        assert_eq!(json_without(&secrets, &text_in_text), r#""{\"p\": \"***\"}""#);
        // A text that is not JSON comes out unchanged, or nearly.
        assert_eq!(json_without(&secrets, r#"{"12345678"#), r#"{"***"#);
        ["\"", "\"\\", "{", "\"a", ""].iter().for_each(|broken| assert_eq!(json_without(&secrets, broken), *broken));
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let cut = escaped(&"я".repeat(100_000), LONGEST_LINE);
        assert!(cut.len() < LONGEST_LINE + 100 && cut.ends_with("(200000 bytes in all)"));
    }
}
