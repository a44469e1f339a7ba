//! Many calls in one request: how they are written, how many they should be, and what the reply says about each. Pure.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::client::Call;
use super::errors::{ApiError, Kind};

/// The most commands that a portal takes in one batch.
pub const LARGEST: usize = 50;
/// The most that the commands of one batch may have together, in bytes; servers refuse bodies over a few megabytes.
const LARGEST_COMMANDS: usize = 1 << 20;
/// Commands in the first batch of a method, while nothing is known of its speed.
const FIRST: usize = 10;
/// What may stand in a command as it is: the brackets of nested names need no encoding.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How many commands fit into `time` when each takes as long as `pace`, which is not known at first.
pub fn size(pace: Option<Duration>, time: Duration) -> usize {
    let in_time = pace.map_or(FIRST, |pace| (time.as_secs_f64() / pace.as_secs_f64().max(1e-6)) as usize);
    in_time.clamp(1, LARGEST)
}

/// The first of the calls as commands: at most `most`, at least one, and not more than one request can hold.
pub fn commands(calls: &[Call], most: usize) -> Vec<String> {
    let mut bytes = 0;
    let fits = |(index, command): &(usize, String)| {
        bytes += command.len();
        *index == 0 || bytes <= LARGEST_COMMANDS
    };
    calls.iter().take(most).map(command).enumerate().take_while(fits).map(|(_, command)| command).collect()
}

/// The body of the request. A command that fails does not keep the others from running.
pub fn body(commands: &[String]) -> Vec<u8> {
    let commands = commands.iter().enumerate().map(|(index, command)| (key(index), command.as_str().into()));
    json!({"halt": 0, "cmd": commands.collect::<Map<String, Value>>()}).to_string().into_bytes()
}

/// What a batch's result says about one command, in the form of a plain reply; it is taken out of the batch's.
pub fn result(batch: &mut Value, index: usize) -> Result<Value, ApiError> {
    let key = &key(index);
    let mut take = |name: &str| Some(batch.get_mut(name)?.get_mut(key)?.take());
    // An empty map comes as an empty list, which has no members either.
    if let Some(error) = take("result_error") {
        return Err(ApiError::from_command(&error));
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

/// The call as a batch command: a query string whose values are encoded once. Null cannot be written and is left out.
pub fn command(call: &Call) -> String {
    let mut command = call.method.to_owned();
    let mut separator = '?';
    for (name, value) in &call.params {
        append(&mut command, &mut separator, name, value);
    }
    command
}

fn append(command: &mut String, separator: &mut char, name: &str, value: &Value) {
    let text = match value {
        Value::Null => return,
        Value::Object(members) => {
            let encoded = |member: &str| format!("{name}[{}]", utf8_percent_encode(member, ENCODED));
            return members.iter().for_each(|(member, value)| append(command, separator, &encoded(member), value));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            return items.for_each(|(index, item)| append(command, separator, &format!("{name}[{index}]"), item));
        }
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
    };
    command.push(*separator);
    *separator = '&';
    command.push_str(name);
    command.push('=');
    command.extend(utf8_percent_encode(&text, ENCODED));
}

#[cfg(test)]
mod tests;
