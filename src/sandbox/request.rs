//! From a request's path, query and body to a method name and its parameters. It knows how PHP reads parameters, and no
//! method.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::batch::Batch;
use super::reply::php_list;
use crate::http::server::Request;

/// One call of a method: a request of its own, or a command of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// The method; as written, without `.json`.
    pub method: String,
    /// The parameters: an object, or an empty list without any.
    pub params: Value,
    /// It is a command of a batch: everything in it is text.
    pub batched: bool,
}

impl Call {
    /// A request of its own.
    pub fn plain(method: impl Into<String>, params: Value) -> Call {
        Call { method: method.into(), params, batched: false }
    }

    pub(super) fn is_batch(&self) -> bool {
        self.method.eq_ignore_ascii_case("batch")
    }
}

/// What a request asks for.
pub(super) enum Asked {
    Call(Call),
    Batch(Batch),
}

/// Splits `/rest/USER/TOKEN/METHOD[.json][?query]`; `None` for any other path. Returns the webhook part (`USER/TOKEN`)
/// and what the request asks for.
pub(super) fn parse<'a>(request: &Request<'a>) -> Option<(&'a str, Asked)> {
    let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
    let (webhook, method) = path.strip_prefix("/rest/")?.rsplit_once('/')?;
    let method = method.strip_suffix(".json").unwrap_or(method);
    let asked = if method.eq_ignore_ascii_case("batch") {
        Asked::Batch(Batch::read(request.content_type(), query, request.body))
    } else {
        Asked::Call(Call::plain(method, params(request.content_type(), query, request.body)))
    };
    Some((webhook, asked))
}

/// The parameters of a request. JSON is read only with exactly its content type, and a body that cannot be read counts
/// as empty.
pub fn params(content_type: &str, query: &str, body: &[u8]) -> Value {
    if is_json(content_type) {
        return serde_json::from_slice(body).unwrap_or_default();
    }
    nest(pairs(query).chain(pairs(&String::from_utf8_lossy(body))))
}

/// `application/json`, with or without a charset.
pub(super) fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The decoded pairs of a query string, in order. A `+` is a space. As in PHP the first `=` ends the key: a filter key
/// like `=ID` has to be encoded, or its filter is not recognised.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

/// Builds nested parameters from keys with brackets: `fields[TITLE]`, `select[0]`, `select[]`.
pub(super) fn nest(pairs: impl Iterator<Item = (String, String)>) -> Value {
    let mut root = Map::new();
    for (key, value) in pairs {
        let (name, rest) = key.split_once('[').unwrap_or((&key, ""));
        let rest = rest.strip_suffix(']').unwrap_or(rest);
        let path = rest.split("][").filter(|_| !rest.is_empty() || key.ends_with("[]"));
        put(&mut root, name, path, value);
    }
    listify(Value::Object(root))
}

fn put<'a>(map: &mut Map<String, Value>, name: &str, mut path: impl Iterator<Item = &'a str>, value: String) {
    let mut map = map;
    let mut name = key(map, name);
    for inner in path.by_ref() {
        let slot = map.entry(name).or_insert(Value::Null);
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        let Value::Object(next) = slot else { return };
        map = next;
        name = key(map, inner);
    }
    map.insert(name, Value::String(value));
}

/// An empty key appends.
fn key(map: &Map<String, Value>, name: &str) -> String {
    if name.is_empty() { map.len().to_string() } else { name.to_owned() }
}

/// Turns every map with the keys 0, 1, 2… into a list.
fn listify(value: Value) -> Value {
    match value {
        Value::Object(map) => php_list(map.into_iter().map(|(key, value)| (key, listify(value))).collect()),
        other => other,
    }
}

/// An integer written as a number or as text.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A scalar as text; `None` for null, lists and maps. `true` is "1" and `false` is empty, as in PHP.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) => Some("1".into()),
        Value::Bool(false) => Some(String::new()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The scalars of a list, of a map's values, or of the value itself.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        Value::Object(map) => map.values().filter_map(text).collect(),
        scalar => text(scalar).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_path_names_webhook_and_method() {
        let target = "/rest/1/secret/tasks.task.get.json?taskId=7";
        let request = Request { method: "GET", target, headers: &[], body: &[] };
        let Some((webhook, Asked::Call(call))) = parse(&request) else { panic!("a call") };
        assert_eq!((webhook, call.method.as_str()), ("1/secret", "tasks.task.get"));
        assert_eq!(call.params, json!({"taskId": "7"}));
    }

    #[test]
    fn brackets_nest_and_numbers_make_lists() {
        let query = "fields%5BTITLE%5D=%D0%94%D0%90+1&select[0]=ID&select[1]=STATUS&filter[%3DID][]=5&order[ID]=asc";
        assert_eq!(
            nest(pairs(query)),
            json!({
                "fields": {"TITLE": "ДА 1"}, "select": ["ID", "STATUS"],
                "filter": {"=ID": ["5"]}, "order": {"ID": "asc"},
            })
        );
    }

    #[test]
    fn json_is_read_only_with_exactly_its_content_type() {
        let body = r#"{"a": [1, {"b": null}]}"#;
        let read = |content_type| params(content_type, "", body.as_bytes());
        for json in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            assert_eq!(read(json), json!({"a": [1, {"b": null}]}), "{json}");
        }
        for other in ["application/json-rpc", "text/json", "application/vnd.api+json", ""] {
            assert!(read(other).get("a").is_none(), "{other}");
        }
        assert_eq!(params("application/json", "", b"{"), Value::Null);
    }
}
