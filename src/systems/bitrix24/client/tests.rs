//! How calls are written and replies are read. What needs a portal is in `tests/`.

use serde_json::json;

use super::*;

#[test]
fn a_plain_call_keeps_the_order_of_its_parameters() {
    let call = Call { method: "m", params: vec![("TASKID", 1.into()), ("FIELDS", json!({})), ("A", Value::Null)] };
    assert_eq!(serde_json::to_string(&call).expect("JSON"), r#"{"TASKID":1,"FIELDS":{},"A":null}"#);
}

fn read(status: u16, body: &str) -> Result<Value, ApiError> {
    reply(status, body.as_bytes(), |_| {})
}

#[test]
fn only_a_200_with_a_result_and_without_an_error_is_a_success() {
    for success in [r#"{"result": []}"#, r#"{"result": null}"#, r#"{"result": 5, "time": {}}"#, r#"{"result": false}"#]
    {
        assert!(read(200, success).is_ok(), "{success}");
    }
    for (status, body) in [
        (200, ""),
        (200, "{}"),
        (200, "[]"),
        (200, "null"),
        (200, r#"{"result": {"#),
        (200, "<html>result</html>"),
        (500, r#"{"result": {"task": {"id": "1"}}}"#),
        (302, r#"{"result": {"task": {"id": "1"}}}"#),
        (200, r#"{"result": {}, "error": "ERROR_CORE"}"#),
    ] {
        assert!(read(status, body).is_err(), "{status} {body}");
    }
}

#[test]
fn a_reply_behind_a_php_notice_is_read_and_the_notice_is_reported() {
    let notice = "<b>Notice</b>: x\n";
    for (status, body) in [
        (200, r#"{"result": 5}"#),
        (200, r#"{"result": {}, "error": "ERROR_CORE"}"#),
        (400, r#"{"error": "ERROR_CORE", "error_description": "x"}"#),
        (503, r#"{"error": "QUERY_LIMIT_EXCEEDED"}"#),
    ] {
        let heard = std::cell::Cell::new(0);
        let behind = reply(status, format!("{notice}{body}").as_bytes(), |before| heard.set(before.len()));
        let plain = reply(status, body.as_bytes(), |_| panic!("nothing stands before it"));
        match (behind, plain) {
            (Ok(behind), Ok(plain)) => assert_eq!(behind, plain),
            (Err(behind), Err(plain)) => {
                assert_eq!((behind.kind, behind.to_string()), (plain.kind, plain.to_string()));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(heard.get(), notice.len());
    }
    let page = format!("{notice}{{\"result\": 5}} and more");
    let err = reply(200, page.as_bytes(), |_| panic!("it is not read")).expect_err("no reply");
    assert!(err.to_string().contains("not JSON: Notice : x {\"result\": 5} and more"), "{err}");
}
