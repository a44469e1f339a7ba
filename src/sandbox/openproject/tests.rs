//! The fake is as unkind as OpenProject is.

use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::*;
use crate::http::server::{Header, Request};

fn asked(method: &str, target: &str, body: &Value) -> Asked {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let headers = headers.map(|(name, value)| Header { name, value: value.as_bytes() });
    let body = body.to_string();
    Asked::of(&Request { method, target, headers: &headers, body: body.as_bytes() })
}

fn ask(store: &mut Store, method: &str, target: &str, body: &Value) -> Answer {
    routes::answer(store, &asked(method, target, body)).unwrap_or_else(Refusal::into_answer)
}

fn get(store: &mut Store, target: &str) -> Answer {
    ask(store, "GET", target, &Value::Null)
}

fn listed(store: &mut Store, filters: &Value) -> Answer {
    get(store, &format!("/api/v3/work_packages?pageSize=100&filters={filters}"))
}

fn new_task() -> Value {
    let links = json!({"project": {"href": "/api/v3/projects/2"}, "type": {"href": "/api/v3/types/1"}});
    json!({"subject": "s", MARKER_FIELD: "task-1", "unknown": 7, "_links": links})
}

#[test]
fn a_work_package_is_created_and_found_by_its_marker_whatever_its_state() {
    let mut store = Store::default();
    let made = ask(&mut store, "POST", "/api/v3/work_packages", &new_task());
    assert_eq!((made.status, &made.body[MARKER_FIELD], made.body.get("unknown")), (201, &json!("task-1"), None));
    let id = made.body["id"].as_u64().expect("an id");
    assert!(store.finish(id, store::CLOSED, Some("ДА")));
    let by_marker = json!({MARKER_FIELD: {"operator": "=", "values": ["task-1"]}});
    let anyhow = json!([by_marker, {"status": {"operator": "*", "values": []}}]);
    assert_eq!(listed(&mut store, &anyhow).body["total"], 1);
    assert_eq!(get(&mut store, "/api/v3/work_packages").body["total"], 0, "without filters only what is open");
    let row = get(&mut store, &format!("/api/v3/work_packages/{id}")).body;
    assert_eq!(row["_links"][ANSWER_FIELD]["title"], "ДА");
}

#[test]
fn one_id_that_is_not_there_makes_the_whole_list_wrong() {
    let mut store = Store::default();
    let (one, other) = (store.put("a", None), store.put("b", None));
    let by_ids = |ids: &[u64]| {
        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
        json!([{"id": {"operator": "=", "values": ids}}])
    };
    assert_eq!(listed(&mut store, &by_ids(&[one, other])).body["count"], 2);
    assert!(store.change(other, |package| package.hidden = true));
    let refused = listed(&mut store, &by_ids(&[one, other]));
    assert_eq!(refused.status, 400);
    assert!(refused.body["errorIdentifier"].as_str().is_some_and(|code| code.ends_with(":InvalidQuery")));
    store.rules.largest_page = 1;
    let third = store.put("c", None);
    let page = listed(&mut store, &by_ids(&[one, third]));
    assert_eq!((&page.body["count"], &page.body["total"]), (&json!(1), &json!(2)));
}

#[test]
fn a_stale_change_is_a_conflict_and_a_wrong_body_says_all_that_is_wrong() {
    let mut store = Store::default();
    let id = store.put("a", None);
    let path = format!("/api/v3/work_packages/{id}");
    assert_eq!(ask(&mut store, "PATCH", &path, &json!({"subject": "b"})).status, 409);
    assert_eq!(ask(&mut store, "PATCH", &path, &json!({"subject": "b", "lockVersion": 0})).status, 200);
    assert_eq!(ask(&mut store, "PATCH", &path, &json!({"subject": "b", "lockVersion": 0})).status, 409);
    let both = ask(&mut store, "POST", "/api/v3/work_packages", &json!({"_links": {"type": {"href": "x/1"}}}));
    assert_eq!((both.status, both.body["_embedded"]["errors"].as_array().map(Vec::len)), (422, Some(2)));
    let stranger = json!({"subject": "s", "_links": {
        "project": {"href": "/api/v3/projects/3"}, "type": {"href": "/api/v3/types/1"},
    }});
    assert_eq!(ask(&mut store, "POST", "/api/v3/work_packages", &stranger).status, 403);
}

#[test]
fn a_field_that_the_project_does_not_have_is_ignored_and_one_that_is_no_filter_is_refused() {
    let mut store = Store::default();
    store.rules.active.remove(MARKER_FIELD);
    let made = ask(&mut store, "POST", "/api/v3/work_packages", &new_task());
    assert_eq!((made.status, made.body.get(MARKER_FIELD)), (201, None));
    let by_name = json!([{"customField9": {"operator": "=", "values": ["7"]}}]);
    assert_eq!(listed(&mut store, &by_name).status, 400);
}

#[test]
fn who_is_not_signed_in_or_sends_no_json_is_told_so() {
    let mut store = Store::default();
    let unsigned = Request { method: "GET", target: "/api/v3", headers: &[], body: &[] };
    let told = routes::answer(&mut store, &Asked::of(&unsigned)).unwrap_or_else(Refusal::into_answer);
    assert_eq!(told.status, 401);
    let bearer = format!("Bearer {TOKEN}");
    for (content_type, status) in [("", 406), ("text/plain", 415)] {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", content_type)];
        let headers = headers.map(|(name, value)| Header { name, value: value.as_bytes() });
        let request = Request { method: "POST", target: "/api/v3/work_packages", headers: &headers, body: b"{}" };
        let told = routes::answer(&mut store, &Asked::of(&request)).unwrap_or_else(Refusal::into_answer);
        assert_eq!(told.status, status);
    }
}
