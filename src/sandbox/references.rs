//! `$result[key][task][id]` and its like in a batch: replaced by results of earlier commands, anywhere in a value, even
//! where a person has typed them. It knows no method.

use serde_json::Value;

use super::batch::Reply;
use super::request::text;

/// Replaces every reference whose path ends in a scalar; the others stay as they are.
pub(super) fn resolve(value: String, reply: &Reply) -> String {
    if !value.contains('$') {
        return value;
    }
    let mut resolved = String::new();
    let mut rest = value.as_str();
    while let Some(at) = rest.find('$') {
        resolved.push_str(&rest[..at]);
        rest = &rest[at..];
        let (instead, length) = reference(rest, reply).unwrap_or_else(|| ("$".into(), 1));
        resolved.push_str(&instead);
        rest = &rest[length..];
    }
    resolved + rest
}

/// The value of the reference at the beginning of `text`, and its length.
fn reference(text: &str, reply: &Reply) -> Option<(String, usize)> {
    let mut end = text.find('[')?;
    let map = reply.map(&text[1..end])?;
    let mut path = Vec::new();
    while let Some(length) = text[end..].strip_prefix('[').and_then(|rest| rest.find(']')) {
        path.push(&text[end + 1..=end + length]);
        end += length + 2;
    }
    let (key, keys) = path.split_first()?;
    let (_, first) = map.iter().find(|(known, _)| known == key)?;
    let found = keys.iter().try_fold(first, |value, key| match value {
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    });
    Some((self::text(found?)?, end))
}
