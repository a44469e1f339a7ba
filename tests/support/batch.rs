//! Bitrix24's `batch`: taking its command strings apart and putting the answers together, with PHP's view of maps and
//! lists. Knows no method but `batch` itself, and answers nothing by itself.

use serde_json::{Map, Value, json};

/// More are refused by the portal.
pub const MOST_COMMANDS: usize = 50;

/// One command of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub key: String,
    pub method: String,
    pub params: Value,
}

/// What one command came to.
#[derive(Clone, Debug)]
pub enum Outcome {
    Done { result: Value, total: Option<u64>, next: Option<u64> },
    Refused { error: String, description: String },
}

/// The commands in the order in which the request's text has them.
pub fn commands(body: &Value, text: &[u8]) -> Vec<Command> {
    let text = String::from_utf8_lossy(text);
    let commands: Vec<(String, String)> = match &body["cmd"] {
        Value::Object(map) => map.iter().map(|(key, line)| (key.clone(), line_text(line))).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(key, line)| (key.to_string(), line_text(line))).collect(),
        _ => Vec::new(),
    };
    let mut commands: Vec<Command> = commands.into_iter().map(|(key, line)| command(key, &line)).collect();
    // serde_json sorts the keys of an object by name; the portal runs the commands as they were written.
    commands.sort_by_key(|command| text.find(&format!("\"{}\":", command.key)));
    commands
}

/// Replaces every `$result[key][a][b]` in the values by what an earlier command returned. The text stays as it is when
/// that command failed, as at the portal.
pub fn resolve(params: &Value, outcomes: &[(String, Outcome)]) -> Value {
    match params {
        Value::String(text) => Value::String(resolve_text(text, outcomes)),
        Value::Array(list) => list.iter().map(|item| resolve(item, outcomes)).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), resolve(value, outcomes))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => params.clone(),
    }
}

/// The `result` of the whole batch. A command that did not run is in none of its maps.
pub fn compose(outcomes: Vec<(String, Outcome)>) -> Value {
    let (mut results, mut errors, mut totals, mut nexts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, outcome) in outcomes {
        match outcome {
            Outcome::Done { result, total, next } => {
                totals.extend(total.map(|total| (key.clone(), json!(total))));
                nexts.extend(next.map(|next| (key.clone(), json!(next))));
                results.push((key, result));
            }
            Outcome::Refused { error, description } => {
                errors.push((key, json!({"error": error, "error_description": description})));
            }
        }
    }
    json!({
        "result": php(results),
        "result_error": php(errors),
        "result_total": php(totals),
        "result_next": php(nexts),
        "result_time": [],
    })
}

/// `a[b][0]=x&c=y` as nested values, every leaf a string. Strict like PHP: a name ends at the first `=`, so an operator
/// inside brackets has to be percent-encoded.
pub fn decode_query(query: &str) -> Value {
    let mut root = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        insert(&mut root, &path_of(&percent_decode(name)), Value::String(percent_decode(value)));
    }
    let members = root.into_iter().map(|(key, value)| (key, lists_where_php_has_them(value)));
    Value::Object(members.collect())
}

fn command(key: String, line: &str) -> Command {
    let (method, query) = line.split_once('?').unwrap_or((line, ""));
    let method = method.strip_suffix(".json").unwrap_or(method);
    Command { key, method: method.to_string(), params: decode_query(query) }
}

fn line_text(line: &Value) -> String {
    line.as_str().unwrap_or_default().to_string()
}

/// PHP knows one kind of array: empty or with the keys 0, 1, 2… it is a list in JSON, else an object.
fn php(members: Vec<(String, Value)>) -> Value {
    if members.iter().enumerate().all(|(position, (key, _))| *key == position.to_string()) {
        return members.into_iter().map(|(_, value)| value).collect();
    }
    Value::Object(members.into_iter().collect())
}

fn lists_where_php_has_them(value: Value) -> Value {
    let Value::Object(map) = value else { return value };
    let mut members: Vec<(String, Value)> =
        map.into_iter().map(|(key, value)| (key, lists_where_php_has_them(value))).collect();
    members.sort_by_key(|(key, _)| key.parse::<u64>().unwrap_or(u64::MAX));
    php(members)
}

fn insert(map: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    let key = if first.is_empty() { map.len().to_string() } else { first.clone() };
    if rest.is_empty() {
        map.insert(key, value);
        return;
    }
    let inner = map.entry(key).or_insert_with(|| json!({}));
    if let Value::Object(inner) = inner {
        insert(inner, rest, value);
    }
}

/// `a[b][]` is `a`, `b` and the empty text, which stands for the next number.
fn path_of(name: &str) -> Vec<String> {
    let Some((first, rest)) = name.split_once('[') else { return vec![name.to_string()] };
    let inner = rest.strip_suffix(']').unwrap_or(rest);
    [first].into_iter().chain(inner.split("][")).map(str::to_string).collect()
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let code = std::str::from_utf8(&digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(code.unwrap_or(b'%'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn resolve_text(text: &str, outcomes: &[(String, Outcome)]) -> String {
    let Some(begin) = text.find("$result[") else { return text.to_string() };
    let reference = &text[begin..];
    let end = reference.rfind(']').map_or(reference.len(), |end| end + 1);
    let path = path_of(&reference[..end]);
    let source = outcomes.iter().find(|(key, _)| *key == path[1]).map(|(_, outcome)| outcome);
    let Some(Outcome::Done { result, .. }) = source else { return text.to_string() };
    let found = path[2..].iter().try_fold(result, |value, step| value.get(step));
    match found {
        Some(Value::String(found)) => format!("{}{found}{}", &text[..begin], &reference[end..]),
        Some(found) => format!("{}{found}{}", &text[..begin], &reference[end..]),
        None => text.to_string(),
    }
}
