//! Reads JSON that anybody may have written, and lays it out for people. It knows JSON only, not what a document means.
//!
//! Other programs write, and read, what the JSON standard forbids: a byte order mark before the document, and half of a
//! surrogate pair (`"\\ud83d"`), which a text cut in the middle of an emoji leaves. Both are read here, the half as
//! U+FFFD. The bytes are never changed: a document is passed on as it came.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// Some programs start a text with it, to say that it is UTF-8. Like white space, it is no part of the document.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// An escape with which a character may start, such as `\uffff`, in bytes.
const ESCAPE: usize = 6;
/// The most levels of indentation: with more, a long text would become many times as long.
const DEEPEST_INDENT: usize = 20;
/// The key by which serde_json hands a number over with all its digits.
const NUMBER: &str = "$serde_json::private::Number";

/// Reads a document.
///
/// `Value` reads one too, but it parses again the text under a private key of serde_json, and counts the depth from
/// zero: texts nested in texts would overflow the stack. Here such a key is a key like any other.
///
/// # Errors
/// It is not JSON, not UTF-8, or deeper than 127 levels.
pub fn read(bytes: &[u8]) -> serde_json::Result<Value> {
    let bytes = without_mark(bytes);
    let read = serde_json::from_slice(bytes).or_else(|err| match whole_characters(bytes) {
        Cow::Owned(whole) => serde_json::from_slice(&whole),
        Cow::Borrowed(_) => Err(err),
    });
    read.map(|Document(value)| value)
}

/// The members of an object, each value as it is written. Of several with the same name the last one counts.
///
/// # Errors
/// It is not JSON, not UTF-8, or no object.
pub fn members(bytes: &[u8]) -> serde_json::Result<BTreeMap<String, Box<RawValue>>> {
    let bytes = without_mark(bytes);
    // A value that is kept as it is written may hold half a character. A name may not, so then all are read again.
    serde_json::from_slice(bytes).or_else(|err| match str::from_utf8(bytes) {
        Ok(json) => serde_json::from_str::<BTreeMap<Name, _>>(json)
            .map(|members| members.into_iter().map(|(Name(name), value)| (name, value)).collect()),
        Err(_) => Err(err),
    })
}

/// The document without a byte order mark before it.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// The document with U+FFFD in place of every half of a character. A backslash occurs in texts only, so the rest of the
/// JSON need not be looked at.
fn whole_characters(json: &[u8]) -> Cow<'_, [u8]> {
    let mut whole = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(found) = json[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        at += match (escaped_unit(&json[at..]), json.get(at + ESCAPE..).and_then(escaped_unit)) {
            (None, _) => 2,
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * ESCAPE,
            (Some(0xd800..=0xdfff), _) => {
                whole.to_mut()[at..at + ESCAPE].copy_from_slice(br"\ufffd");
                ESCAPE
            }
            (Some(_), _) => ESCAPE,
        };
        at = at.min(json.len());
    }
    whole
}

/// The UTF-16 unit of the escape, such as `\u00ab`, that the bytes start with.
fn escaped_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(br"\u")?.get(..4)?;
    // `from_str_radix` would accept a sign.
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// The document laid out over several lines; order, digits and repeated members stay. It does not check that the text
/// is JSON.
pub fn indented(json: &str) -> String {
    let (mut out, mut depth, mut in_text, mut escaped) = (String::with_capacity(json.len() * 2), 0, false, false);
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        if in_text {
            out.push(character);
            in_text = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '[' => {
                out.push(character);
                while characters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                match characters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = usize::saturating_sub(depth, 1);
                new_line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(character);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            other => {
                in_text = other == '"';
                out.push(other);
            }
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(DEEPEST_INDENT)));
}

/// A member's name that may hold half a character.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        struct Lossy;
        impl Visitor<'_> for Lossy {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_bytes<E>(self, name: &[u8]) -> Result<Name, E> {
                Ok(Name(String::from_utf8_lossy(name).into_owned()))
            }
        }
        deserializer.deserialize_bytes(Lossy)
    }
}

struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_any(Members).map(Document)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Document(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let Document(value) = members.next_value()?;
            match (value, name) {
                (Value::String(digits), name) if name == NUMBER && object.is_empty() => {
                    return digits.parse::<Number>().map(Value::from).map_err(de::Error::custom);
                }
                (value, name) => drop(object.insert(name, value)),
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn half_a_character_is_read_as_u_fffd_and_a_whole_one_as_itself() {
        for (json, read) in [
            (r#""ok \ud83d""#, "ok \u{fffd}"),
            (r#""\ude00 ok""#, "\u{fffd} ok"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\uD83D\uDE00\uD83D""#, "😀\u{fffd}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\n\\ud83d\\""#, "\u{fffd}\n\\ud83d\\"),
            (r#""\ud83dx\u00ab\"""#, "\u{fffd}x«\""),
        ] {
            assert_eq!(super::read(json.as_bytes()).expect("JSON"), read, "{json}");
        }
        let everywhere = br#"{"\ud83d": ["\udfff", {"a": "\ud800"}], "n": 1.10}"#;
        let expected = json!({"\u{fffd}": ["\u{fffd}", {"a": "\u{fffd}"}], "n": 0});
        let mut read = super::read(everywhere).expect("JSON");
        assert_eq!(read["n"].take().to_string(), "1.10");
        read["n"] = 0.into();
        assert_eq!(read, expected);
    }

    #[test]
    fn other_broken_json_stays_an_error() {
        for wrong in [r#""\ud83d"#, r#""\ud8"#, r#""\u+123""#, r#""\ud83d\q""#, r"\ud83d", r#""\ud83d\"#, "\"\\", ""] {
            assert!(super::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(super::read(b"\"\\ud83d\xff\"").is_err());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_document() {
        assert_eq!(super::read(b"\xef\xbb\xbf {\"a\": 1}").expect("JSON"), json!({"a": 1}));
        assert!(super::read(b"\xef\xbb\xbf").is_err() && super::read(b"{} \xef\xbb\xbf").is_err());
    }

    #[test]
    fn members_are_kept_as_they_are_written() {
        let of = |json: &[u8]| members(json).map(|mut members| members.remove("a").map(|raw| raw.get().to_owned()));
        for (json, written) in [
            (&br#"{"a": ["\ud83d", 1.10]}"#[..], r#"["\ud83d", 1.10]"#),
            (b"\xef\xbb\xbf{\"a\": 5}", "5"),
            (br#"{"a": "\udfff", "a": "\ud83d", "\ud83d": 0}"#, r#""\ud83d""#),
        ] {
            assert_eq!(of(json).expect("an object").as_deref(), Some(written));
        }
        assert!(members(b"[]").is_err() && members(b"\xff").is_err());
    }

    #[test]
    fn a_document_is_laid_out_with_its_order_digits_and_repeated_members() {
        let json = r#"{"b":1.10,"a":[ ],"a":{"x\"}":"{,:\\"},"c":[1,null,{ }]}"#;
        let expected = "{\n  \"b\": 1.10,\n  \"a\": [],\n  \"a\": {\n    \"x\\\"}\": \"{,:\\\\\"\n  },\n  \"c\": [\n    1,\n    null,\n    {}\n  ]\n}";
        assert_eq!(indented(json), expected);
        assert_eq!(indented(&indented(json)), expected);
    }
}
