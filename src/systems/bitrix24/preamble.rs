//! What a portal puts before the JSON of its answers: notices of PHP, byte order marks of its files. It does not know
//! what the JSON means.

use serde_json::Value;

use crate::http::text::{LONGEST_PAGE, plain};
use crate::message::document;
use crate::redact;

/// The document in an answer, and the text before it. If there is such a text, the document starts at the first `{`
/// with a member, and ends with the answer.
pub fn read(answer: &[u8]) -> Option<(Value, &[u8])> {
    if !answer.starts_with(document::BYTE_ORDER_MARK)
        && let Ok(value) = document::read(answer)
    {
        return Some((value, &[]));
    }
    let (before, document) = answer.split_at(start(answer)?);
    document::read(document).ok().map(|value| (value, before))
}

/// Notices name variables in braces too, so a brace alone is not enough.
fn start(answer: &[u8]) -> Option<usize> {
    let is_object =
        |rest: &[u8]| rest.strip_prefix(b"{").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\""));
    (0..answer.len()).find(|at| is_object(&answer[*at..]))
}

/// One line about it, for the log: what it is, and what to do.
pub fn describe(before: &[u8]) -> String {
    // Secrets are hidden before the text is cut: half a secret is not recognised.
    let before = redact::clean_in_full(&String::from_utf8_lossy(before).replace(['\r', '\n', '\t', '\u{feff}'], " "));
    let before: String = before.chars().take(LONGEST_PAGE).collect();
    match plain(&before).as_str() {
        "" => {
            "the portal's answers start with a byte order mark; they are read from behind it. Save the PHP file that \
               starts so without it"
                .into()
        }
        notice => format!(
            "the portal's answers do not start with their JSON, they are read from its first brace on. Correct the portal, \
             or switch display_errors off in its php.ini: {notice}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOTICE: &str =
        "<br />\n<b>Notice</b>:  Undefined index: {id} in <b>/home/bitrix/www/x.php</b> on line <b>5</b><br />\n";

    #[test]
    fn json_is_read_behind_any_text() {
        let document = r#"{"result": {"a": "{\"b\": 1}\ud83d"}, "time": {}}"#;
        let expected = json!({"result": {"a": "{\"b\": 1}\u{fffd}"}, "time": {}});
        for before in ["", "\u{feff}", "\u{feff}\u{feff}\r\n", NOTICE, "\u{feff}PHP Warning: x\n\u{feff}"] {
            let answer = format!("{before}{document}\n");
            assert_eq!(read(answer.as_bytes()), Some((expected.clone(), before.as_bytes())), "{before}");
        }
        // In another encoding.
        let answer = [b"\xcf\xf0\xe5\xe4\xf3\xef\xf0\n", document.as_bytes()].concat();
        assert_eq!(read(&answer).map(|(value, _)| value), Some(expected));
        assert_eq!(read(b" \n[]"), Some((json!([]), &[][..])));
    }

    #[test]
    fn anything_but_one_document_to_the_end_is_none() {
        for other in [
            "",
            "\u{feff}",
            "<html></html>",
            "Notice: x",
            "Notice: x\n{\"result\": {\"task\": {\"id\": \"1\"}}",
            "{\"result\": {\"task\": {\"id\": \"1\"}}",
            "Notice: x\n{\"result\": 1}<br />",
            "<script>var x = {\"result\": 1};</script>",
            "Notice: x\n{}",
            "Notice: x\n[1]",
        ] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_notice_is_shown_on_one_line_without_markup() {
        let described = |before: &str| describe(before.as_bytes());
        let notice = "Notice : Undefined index: {id} in /home/bitrix/www/x.php on line 5";
        assert!(described(NOTICE).ends_with(&format!("php.ini: {notice}")), "{}", described(NOTICE));
        assert!(described(&format!("\u{feff}{NOTICE}")).ends_with(notice));
        assert!(described("\u{1b}[31m\0x").ends_with("\\u{1b}[31m\\u{0}x"));
        assert!(described(&"я".repeat(100_000)).chars().count() < 600);
        assert!(described("\u{feff}\r\n\u{feff}").starts_with("the portal's answers start with a byte order mark"));
        assert!(describe(b"\xcf\xf0: x").ends_with(": x"));
    }
}
