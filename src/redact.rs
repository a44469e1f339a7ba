//! What no line may hold: secrets, line breaks, and what speaks to a terminal.
//!
//! It does not know where a text goes, nor whose secrets it is given; what is hidden grows while the program runs.

use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Longer lines are cut, in bytes: an error text may hold a whole page.
const LONGEST_LINE: usize = 4_000;
/// A shorter secret is left alone: it would blacken half of every line.
const SHORTEST_SECRET: usize = 4;

/// The values that no line may hold, the longer ones first: one may be a part of another. Whatever thread says something
/// needs them, a panic in it included.
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Names what no line, and no text that goes through [`clean`], may hold from now on, beside what was named before.
pub fn hide<'a>(secrets: impl IntoIterator<Item = &'a str>) {
    let mut hidden = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    for secret in secrets {
        hidden.push(secret.to_owned());
        hidden.push(utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string());
    }
    hidden.retain(|secret| secret.len() >= SHORTEST_SECRET);
    hidden.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    hidden.dedup();
}

/// The text without secrets, on one line, and safe for a terminal.
pub fn clean(text: &str) -> String {
    escaped(&without_secrets(text), LONGEST_LINE)
}

/// The same however long the text is, for what somebody has asked to see in full.
pub fn clean_in_full(text: &str) -> String {
    escaped(&without_secrets(text), usize::MAX)
}

/// JSON without secrets, still JSON with the same meaning, and safe for a terminal. It must be on one line.
pub fn clean_json(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    for character in without_secrets(json).chars() {
        match is_harmful(character) {
            // All of them have four digits at most.
            true => drop(write!(clean, "\\u{:04x}", u32::from(character))),
            false => clean.push(character),
        }
    }
    clean
}

fn without_secrets(text: &str) -> String {
    let hidden = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    hidden.iter().fold(text.to_owned(), |text, secret| match text.contains(secret) {
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

/// Control characters break lines and speak to terminals; bidirectional ones make a line read differently from what it
/// says.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_later_is_hidden_as_well_and_in_urls_too() {
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
    fn json_for_a_terminal_means_what_it_meant() {
        let value = serde_json::json!({"a": "\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{2028}«Ёлка» 😀\n\\"});
        let clean = clean_json(&value.to_string());
        assert!(!clean.chars().any(is_harmful), "{clean}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&clean).expect("JSON"), value);
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let cut = escaped(&"я".repeat(100_000), LONGEST_LINE);
        assert!(cut.len() < LONGEST_LINE + 100 && cut.ends_with("(200000 bytes in all)"));
    }
}
