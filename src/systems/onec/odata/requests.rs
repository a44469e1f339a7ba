//! The requests of the standard OData interface, version 3: `guid'…'`, Cyrillic names in percent-encoded UTF-8, JSON
//! asked for in the address and in a header, since otherwise 1C answers in Atom. They are only made here, not sent.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::Then;
use crate::http::Method;
use crate::systems::onec::client::Call;

/// What need not be encoded.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b',');
/// IIS refuses a longer query as if there were no such place.
const LONGEST_QUERY: usize = 2048;
/// The most keys in one filter.
pub const MOST_KEYS: usize = 30;

/// Asks for an object.
pub fn read(entity: &str, key: &str) -> Call {
    Call::get(format!("{}?$format=json", of_object(entity, key)))
}

/// Creates an object.
pub fn create(entity: &str, body: Value) -> Call {
    Call::post(format!("{}?$format=json", encoded(entity)), Some(body))
}

/// Changes an object, if it is still this version.
pub fn update(entity: &str, key: &str, body: Value, version: Option<&str>) -> Call {
    let path = format!("{}?$format=json", of_object(entity, key));
    let call = Call { method: Method::PATCH, ..Call::post(path, Some(body)) };
    version.into_iter().fold(call, |call, version| call.with("If-Match", version))
}

/// Does something with an object.
pub fn act(entity: &str, key: &str, then: Then) -> Call {
    // Posted as of its own date, whether that is today or not.
    let mode = if then == Then::Post { "&PostingModeOperational=false" } else { "" };
    Call::post(format!("{}/{}?$format=json{mode}", of_object(entity, key), then.name()), None)
}

/// Asks for the first object there is, with these fields.
pub fn first(entity: &str, fields: &[&str]) -> Call {
    Call::get(format!("{}?$format=json&$top=1&$select={}", encoded(entity), encoded(&fields.join(","))))
}

/// Asks for the object of which this text field says that; for two, so that several show. `None`: no address can hold
/// such a text.
pub fn named(entity: &str, field: &str, text: &str) -> Option<Call> {
    let text = encoded(&text.replace('\'', "''"));
    let query = format!("$format=json&$top=2&$filter={}%20eq%20'{text}'", encoded(field));
    (query.len() <= LONGEST_QUERY).then(|| Call::get(format!("{}?{query}", encoded(entity))))
}

/// Asks for the objects of as many of these keys as one request may name, at most so many, with these fields of theirs
/// or all; and how many that are.
pub fn list(entity: &str, fields: &[&str], keys: &[&str], most: usize) -> (Call, usize) {
    let select = match fields {
        [] => String::new(),
        fields => format!("&$select={}", encoded(&fields.join(","))),
    };
    let mut query = format!("$format=json{select}&$filter=");
    let mut count = 0;
    for key in keys.iter().take(most) {
        let or = if count > 0 { "%20or%20" } else { "" };
        let condition = format!("{or}Ref_Key%20eq%20guid'{key}'");
        if count > 0 && query.len() + condition.len() > LONGEST_QUERY {
            break;
        }
        query.push_str(&condition);
        count += 1;
    }
    (Call::get(format!("{}?{query}", encoded(entity))), count)
}

fn of_object(entity: &str, key: &str) -> String {
    format!("{}(guid'{key}')", encoded(entity))
}

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "21dda1c5-8c44-11db-a9b0-00055d49b45e";

    /// As python-1c-odata 0.6.0 writes them, percent-encoded as it goes over the wire.
    #[test]
    fn addresses_are_those_of_a_client_that_others_have_written() {
        let entity = "Document_Заявка";
        let encoded = "Document_%D0%97%D0%B0%D1%8F%D0%B2%D0%BA%D0%B0";
        for (call, path) in [
            (read(entity, KEY), format!("{encoded}(guid'{KEY}')?$format=json")),
            (create(entity, Value::Null), format!("{encoded}?$format=json")),
            (
                act(entity, KEY, Then::Post),
                format!("{encoded}(guid'{KEY}')/Post?$format=json&PostingModeOperational=false"),
            ),
            (act(entity, KEY, Then::Start), format!("{encoded}(guid'{KEY}')/Start?$format=json")),
            (
                list(entity, &["Ref_Key", "Posted"], &[KEY, KEY], 30).0,
                format!(
                    "{encoded}?$format=json&$select=Ref_Key,Posted&$filter=\
                     Ref_Key%20eq%20guid'{KEY}'%20or%20Ref_Key%20eq%20guid'{KEY}'"
                ),
            ),
        ] {
            assert_eq!(call.path, path);
        }
        let call = named("Catalog_X", "Description", "O'Neil & Co").expect("it is short");
        assert_eq!(call.path, "Catalog_X?$format=json&$top=2&$filter=Description%20eq%20'O%27%27Neil%20%26%20Co'");
        let call = update(entity, KEY, Value::Null, Some("AAAAAQ=="));
        assert_eq!((call.method, call.headers), (Method::PATCH, vec![("If-Match", "AAAAAQ==".to_owned())]));
    }

    #[test]
    fn a_query_is_never_longer_than_iis_takes_and_a_thousand_tasks_take_35_requests() {
        let keys = vec![KEY; 1000];
        for field in ["Executed", "СтатусСогласования"] {
            let fields = ["Ref_Key", "DeletionMark", field];
            let (mut rest, mut requests) = (&keys[..], 0);
            while !rest.is_empty() {
                let (call, count) = list("Task_ЗадачаИсполнителя", &fields, rest, MOST_KEYS);
                let (_, query) = call.path.split_once('?').expect("a query");
                assert!(query.len() <= 2048 && count <= 30, "{} for {count}", query.len());
                rest = &rest[count..];
                requests += 1;
            }
            assert!(requests <= 35, "{field}: {requests}");
        }
    }
}
