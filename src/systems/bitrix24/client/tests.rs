//! How calls are written and replies are read. What needs a portal is in `tests/`.

use serde_json::json;

use super::*;

#[test]
fn a_plain_call_keeps_the_order_of_its_parameters() {
    let call = Call { method: "m", params: vec![("TASKID", 1.into()), ("FIELDS", json!({})), ("A", Value::Null)] };
    assert_eq!(serde_json::to_string(&call).expect("JSON"), r#"{"TASKID":1,"FIELDS":{},"A":null}"#);
}

fn read(status: u16, body: &str) -> Result<Value, ApiError> {
    reply(status, body.as_bytes())
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
