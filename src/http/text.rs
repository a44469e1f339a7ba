//! The text of an answer, made fit for one line of a log and for the error queue: without markup and secrets, and
//! short.

use crate::redact;

/// The longest text that is kept, in characters.
const LONGEST_TEXT: usize = 300;
/// How much of a page is searched for text, and how much of it is shown, in characters.
pub const LONGEST_PAGE: usize = 10_000;
const LONGEST_BEGINNING: usize = 100;

/// Targets make longer secrets. A much shorter one could be an ordinary word.
const SHORTEST_SECRET: usize = 8;

/// The first words of a page, as it is read on a screen; if there are none, its markup.
pub fn beginning(page: &[u8]) -> String {
    // Secrets are hidden before the text is cut: half a secret is not recognised.
    let page = redact::clean_in_full(&String::from_utf8_lossy(page).replace(['\r', '\n', '\t', '\u{feff}'], " "));
    let page: String = page.chars().take(LONGEST_PAGE).collect();
    let shown = Some(plain(&page)).filter(|text| !text.is_empty()).unwrap_or(page);
    shown.chars().take(LONGEST_BEGINNING).collect()
}

/// An answer without this secret, which it may show: an answer goes into queues.
pub fn without(secret: &str, answer: Vec<u8>) -> Vec<u8> {
    // It may be in any encoding.
    let text = String::from_utf8_lossy(&answer);
    match secret.len() >= SHORTEST_SECRET && text.contains(secret) {
        true => text.replace(secret, "***").into_bytes(),
        false => answer,
    }
}

/// A text of a target on one line, without its markup, and not longer than a log line should be. It holds no secret,
/// although a gateway may show one: such a text also gets into the error queue.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        plain.push_str(before);
        let is_tag = after.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
        let (instead, next) = match after.split_once('>') {
            Some((_, behind)) if is_tag => (' ', behind),
            _ => ('<', after),
        };
        plain.push(instead);
        rest = next;
    }
    plain.push_str(rest);
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    redact::clean(&plain).chars().take(LONGEST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_stripped_from_the_text_and_a_long_text_is_cut() {
        assert_eq!(plain("Не указан ответственный<br>"), "Не указан ответственный");
        assert_eq!(
            plain("Нет названия<br>Нет <b class=\"x\">ответственного</b><br />"),
            "Нет названия Нет ответственного"
        );
        assert_eq!(plain("<br>"), "");
        assert_eq!(plain("5 < 6, 7 > 2"), "5 < 6, 7 > 2");
        assert_eq!(plain(&"я".repeat(1000)), "я".repeat(300));
        assert_eq!(plain(&format!("{}конец", "<br>".repeat(1000))), "конец");
    }

    #[test]
    fn the_first_words_of_a_page_are_shown_as_people_read_them() {
        for (page, shown) in [
            ("<html>\r\n<head><title>502 Bad Gateway</title></head>", "502 Bad Gateway"),
            ("Fatal error:\tAllowed\n memory size", "Fatal error: Allowed memory size"),
            ("\u{feff}{\"result\": {", "{\"result\": {"),
            ("\u{1b}[31m\0red\u{202e}", "\\u{1b}[31m\\u{0}red\\u{202e}"),
            ("<html></html>", "<html></html>"),
            (" \n", ""),
            ("", ""),
        ] {
            assert_eq!(beginning(page.as_bytes()).trim(), shown, "{page:?}");
        }
        assert_eq!(beginning(&b"<p>\xcf\xf0 x".repeat(1_000)).chars().count(), 100);
        assert_eq!(beginning("<a".repeat(1 << 20).as_bytes()).chars().count(), 100);
        assert_eq!(beginning(&[0xff; 200]), "\u{fffd}".repeat(100));
    }
}
