//! What a client of 1C meets here; the cases are those that python-1c-odata goes through at a real one.

use serde_json::json;

use super::*;

fn ask(onec: &mut Onec, method: &str, path: &str, query: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
    let target = format!("http://x{path}?{query}");
    let query =
        query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.into(), value.into()));
    let own = [("Authorization", sign_in()), ("Accept", "application/json".to_owned())];
    let others = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let asked = Asked {
        method: method.into(),
        path: path.into(),
        raw_query: target.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default(),
        query: query.collect(),
        headers: others.chain(own).map(|(name, value)| (name.to_owned(), value)).collect(),
        body: body.to_string().into_bytes(),
    };
    let page = onec.answer(&asked);
    (page.status(), serde_json::from_slice(page.body()).unwrap_or_default())
}

/// Asks for JSON at a path below the interface.
fn json_of(onec: &mut Onec, method: &str, path: &str, query: &str, body: &Value) -> (u16, Value) {
    ask(onec, method, &format!("{BASE}{path}"), &format!("$format=json{query}"), &[], body)
}

fn code(answer: &Value) -> &str {
    answer["odata.error"]["code"].as_str().unwrap_or_default()
}

const KEY: &str = "21dda1c5-8c44-11db-a9b0-00055d49b45e";

fn document(onec: &mut Onec) -> (u16, Value) {
    let body = json!({"Ref_Key": KEY, "Date": "2026-11-23T10:00:00", "Тема": "O'Neil", "Сумма": 5});
    json_of(onec, "POST", "Document_Заявка", "", &body)
}

#[test]
fn an_object_is_created_once_with_its_key_number_and_version() {
    let mut onec = Onec::default();
    let (status, object) = document(&mut onec);
    assert_eq!((status, &object["Ref_Key"], &object["Number"]), (201, &json!(KEY), &json!("000000001")));
    assert!(object["DataVersion"].is_string() && object["Posted"] == false);
    let (status, refused) = document(&mut onec);
    assert_eq!((status, code(&refused)), (400, "15"));
    for (body, expected) in [
        (json!({"Тема": "x"}), (400, "5")),
        (json!({"Date": "2026-11-23T10:00:00", "Нет": 1}), (400, "10")),
        (json!({"Date": "2026-11-23T10:00:00", "Сумма": "5"}), (400, "4")),
        (json!({"Date": "2026-11-23", "Тема": "x"}), (400, "4")),
        (json!({"Date": "2026-11-23T10:00:00", "Posted": true}), (400, "4")),
        (json!({"Date": "2026-11-23T10:00:00", "Товары": [{"Наименование": "x"}]}), (500, "-1")),
        (json!([]), (400, "2")),
    ] {
        let (status, refused) = json_of(&mut onec, "POST", "Document_Заявка", "", &body);
        assert_eq!((status, code(&refused)), expected, "{body}");
    }
}

#[test]
fn conditions_are_those_of_odata_3() {
    let mut onec = Onec::default();
    document(&mut onec);
    let other = "00000000-0000-0000-0000-000000000001";
    for (filter, count) in [
        (format!("Ref_Key eq guid'{KEY}'"), 1),
        (format!("Ref_Key eq guid'{other}' or Ref_Key eq guid'{}'", KEY.to_uppercase()), 1),
        (format!("(Ref_Key eq guid'{other}') or (Ref_Key eq guid'{KEY}')"), 1),
        ("Тема eq 'O''Neil' and not (Posted eq true)".into(), 1),
        ("substringof('Neil',Тема) and Сумма gt 4.5".into(), 1),
        ("Date ge datetime'2026-11-24T00:00:00'".into(), 0),
        (format!("Основание ne cast(guid'{KEY}','Catalog_Контрагенты')"), 1),
    ] {
        let (status, list) = json_of(&mut onec, "GET", "Document_Заявка", &format!("&$filter={filter}"), &Value::Null);
        assert_eq!((status, list["value"].as_array().map(Vec::len)), (200, Some(count)), "{filter}: {list}");
    }
    for query in [format!("&$filter=Ref_Key in (guid'{KEY}')"), "&$filter=Нет eq 1".into(), "&$select=Нет".into()]
    {
        let (status, refused) = json_of(&mut onec, "GET", "Document_Заявка", &query, &Value::Null);
        assert_eq!((status, code(&refused)), (400, "14"), "{query}");
    }
    let (_, list) =
        json_of(&mut onec, "GET", "Document_Заявка", "&$select=Ref_Key&$top=1&$inlinecount=allpages", &Value::Null);
    assert_eq!((&list["value"], &list["odata.count"]), (&json!([{"Ref_Key": KEY}]), &json!("1")));
}

#[test]
fn an_object_is_changed_in_its_version_and_posted_by_its_method() {
    let mut onec = Onec::default();
    let (_, object) = document(&mut onec);
    let path = format!("Document_Заявка(guid'{KEY}')");
    let version = object["DataVersion"].as_str().unwrap_or_default().to_owned();
    let mut patch = |version: &str| {
        let headers = [("If-Match", version)];
        ask(&mut onec, "PATCH", &format!("{BASE}{path}"), "$format=json", &headers, &json!({"Тема": "y"})).0
    };
    assert_eq!([patch(&version), patch(&version)], [200, 412]);
    for (action, expected) in [("Post", 200), ("Unpost", 200), ("Start", 404)] {
        assert_eq!(json_of(&mut onec, "POST", &format!("{path}/{action}"), "", &Value::Null).0, expected, "{action}");
    }
    let (status, missing) = json_of(&mut onec, "GET", &path.replace("21dd", "0000"), "", &Value::Null);
    assert_eq!((status, code(&missing)), (404, "9"));
    let (status, missing) = json_of(&mut onec, "GET", "Document_Нет", "", &Value::Null);
    assert_eq!((status, code(&missing)), (404, "8"));
}

#[test]
fn whoever_does_not_ask_for_json_twice_gets_atom_and_whoever_does_not_sign_in_nothing() {
    let mut onec = Onec::default();
    let path = format!("{BASE}Document_Заявка");
    assert_eq!(ask(&mut onec, "GET", &path, "", &[], &Value::Null), (200, Value::Null));
    assert_eq!(ask(&mut onec, "GET", &path, "$format=json", &[("Accept", "*/*")], &Value::Null), (200, Value::Null));
    assert_eq!(ask(&mut onec, "GET", &path, "$format=json", &[("Authorization", "Basic eA==")], &Value::Null).0, 401);
    assert_eq!(ask(&mut onec, "GET", &path, &"x".repeat(2049), &[], &Value::Null), (404, Value::Null));
}
