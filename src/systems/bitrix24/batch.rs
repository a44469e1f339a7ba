//! Many calls in one request: how they are written, how many they should be, and what the reply says about each. Pure.

use std::borrow::Cow;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::client::Call;
use super::errors::{ApiError, Kind};

/// The largest number of commands that a portal takes in one batch.
pub const LARGEST: usize = 50;
/// The largest size of a batch's commands together, in bytes; servers refuse bodies over a few megabytes.
const LARGEST_COMMANDS: usize = 1 << 20;
/// PHP's `max_input_vars` (1,000) and `max_input_nesting_level` (64), with room to spare.
const MOST_VALUES: usize = 900;
const DEEPEST: usize = 50;
/// Texts that a portal replaces anywhere in a value, in any case.
const REFERENCES: &[&str] = &["result[", "next[", "total[", "time[", "error["];
/// Characters that a command holds unencoded; the brackets of nested names are added unencoded, too.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How many of these commands fit into one request that should take at most `time`. `pace` says how long a command of
/// a method takes.
pub fn fitting<'a>(
    commands: impl Iterator<Item = (&'static str, &'a str)>,
    most: usize,
    time: Duration,
    pace: impl Fn(&str) -> Duration,
) -> usize {
    let (mut took, mut bytes) = (Duration::ZERO, 0);
    let fits = |(method, command): &(&str, &str)| {
        took += pace(method);
        bytes += command.len();
        took <= time && bytes <= LARGEST_COMMANDS
    };
    commands.take(most.min(LARGEST)).take_while(fits).count()
}

/// The body of the request. A command that fails does not stop the others, and they run in the order in which they
/// stand here: a JSON map of serde_json would sort `c10` before `c2`.
pub fn body<'a>(commands: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut body = br#"{"halt":0,"cmd":{"#.to_vec();
    for (index, command) in commands.into_iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        // A command is percent-encoded, so nothing in it has to be escaped for JSON.
        body.extend(format!(r#"{separator}"{}":"{command}""#, key(index)).into_bytes());
    }
    body.extend(b"}}");
    body
}

/// What a batch's result says about one command, in the form of a plain reply; it is taken out of the result.
pub fn result(batch: &mut Value, index: usize) -> Result<Value, ApiError> {
    let key = &key(index);
    let mut take = |name: &str| Some(batch.get_mut(name)?.get_mut(key)?.take());
    // An empty map comes as an empty list, which has no members either.
    if let Some(error) = take("result_error") {
        return Err(ApiError::from_command(&error).in_batch());
    }
    let Some(result) = take("result") else {
        return Err(ApiError::new(Kind::Unknown, "the batch's reply does not mention this command".into()));
    };
    let mut reply = Map::from_iter([("result".to_owned(), result)]);
    reply.extend(take("result_time").map(|time| ("time".to_owned(), time)));
    Ok(Value::Object(reply))
}

/// Has any command of the batch with this result succeeded?
pub fn any_ran(batch: &Value) -> bool {
    batch["result"].as_object().is_some_and(|results| !results.is_empty())
}

/// Keys start with a letter: with numbers the reply's maps become lists and nothing can be told apart.
fn key(index: usize) -> String {
    format!("c{index}")
}

/// The call as a batch command: a query string whose values are encoded once. `None` for a call that has to be sent on
/// its own, because a batch would change it: null and empty values cannot be written, a portal replaces `$result[…]`
/// and its like anywhere in a value, and PHP reads neither many nor deeply nested parameters.
pub fn command(call: &Call) -> Option<String> {
    let mut writer = Writer { command: call.method.to_owned(), separator: '?', values: 0 };
    call.params.iter().all(|(name, value)| writer.append(name, value, 0)).then_some(writer.command)
}

struct Writer {
    command: String,
    separator: char,
    values: usize,
}

impl Writer {
    /// Returns false when the value cannot be written.
    fn append(&mut self, name: &str, value: &Value, depth: usize) -> bool {
        let text = match value {
            Value::Null => return false,
            Value::Object(members) => {
                let encoded = |member: &str| format!("{name}[{}]", utf8_percent_encode(member, ENCODED));
                return self.may_nest(members.len(), depth)
                    && members.iter().all(|(member, value)| self.append(&encoded(member), value, depth + 1));
            }
            Value::Array(items) => {
                let mut items = items.iter().enumerate();
                return self.may_nest(items.len(), depth)
                    && items.all(|(index, item)| self.append(&format!("{name}[{index}]"), item, depth + 1));
            }
            Value::Bool(flag) => u8::from(*flag).to_string().into(),
            Value::Number(number) => number.to_string().into(),
            Value::String(text) => Cow::from(text),
        };
        self.values += 1;
        self.command.push(self.separator);
        self.separator = '&';
        self.command.push_str(name);
        self.command.push('=');
        self.command.extend(utf8_percent_encode(&text, ENCODED));
        self.values <= MOST_VALUES && !has_reference(&text)
    }

    fn may_nest(&self, members: usize, depth: usize) -> bool {
        members > 0 && depth < DEEPEST
    }
}

/// Would the portal replace a part of this text by what another command of the batch returned?
fn has_reference(text: &str) -> bool {
    let starts = |rest: &str| {
        let is = |name: &&str| rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        REFERENCES.iter().any(is)
    };
    text.match_indices('$').any(|(index, _)| starts(&text[index + 1..]))
}

#[cfg(test)]
mod tests;
