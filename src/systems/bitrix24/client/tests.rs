//! How calls are written as commands of a batch, and how replies are read. What needs a portal is in `tests/`.

use serde_json::json;

use super::*;

fn written(params: Vec<(&'static str, Value)>) -> String {
    command(&Call { method: "m", params })
}

#[test]
fn nested_names_have_brackets_and_values_are_encoded_once() {
    let params = vec![
        ("filter", json!({"=UF_X": "a b&c=d", "ID": [1, 22]})),
        ("select", json!(["ID", "UF_*"])),
        ("start", (-1).into()),
    ];
    let expected =
        "m?filter[%3DUF_X]=a%20b%26c%3Dd&filter[ID][0]=1&filter[ID][1]=22&select[0]=ID&select[1]=UF_%2A&start=-1";
    assert_eq!(written(params), expected);
}

#[test]
fn hostile_text_stays_one_value() {
    let text = "100% + \"q\" #?&=[]$result[c0]\r\n\0\u{202e}Ё😀";
    let command = written(vec![("fields", json!({"TITLE": text, "b&c]=x": "1"}))]);
    let expected = "m?fields[TITLE]=100%25%20%2B%20%22q%22%20%23%3F%26%3D%5B%5D%24result%5Bc0%5D%0D%0A%00%E2%80%AE%D0%81\
        %F0%9F%98%80&fields[b%26c%5D%3Dx]=1";
    assert_eq!(command, expected);
}

#[test]
fn numbers_keep_their_digits_and_flags_become_digits() {
    let number: Value = serde_json::from_str("12345678901234567890.10").expect("a number");
    let params = vec![("n", number), ("yes", true.into()), ("no", false.into()), ("empty", "".into())];
    assert_eq!(written(params), "m?n=12345678901234567890.10&yes=1&no=0&empty=");
}

#[test]
fn null_and_what_is_empty_cannot_be_written_and_are_left_out() {
    let params = vec![("a", Value::Null), ("b", json!({"c": null, "d": 1})), ("e", json!([])), ("f", json!({}))];
    assert_eq!(written(params), "m?b[d]=1");
    assert_eq!(written(Vec::new()), "m");
}

#[test]
fn a_plain_call_keeps_the_order_of_its_parameters() {
    let call = Call { method: "m", params: vec![("TASKID", 1.into()), ("FIELDS", json!({})), ("A", Value::Null)] };
    assert_eq!(serde_json::to_string(&call).expect("JSON"), r#"{"TASKID":1,"FIELDS":{},"A":null}"#);
}

fn read(status: u16, body: &str) -> Result<Value, ApiError> {
    reply(&Answer { status, body: body.into() })
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

fn kinds(batch: &Value) -> Vec<Option<Kind>> {
    (0..4).map(|index| command_result(batch, &key(index)).err().map(|err| err.kind)).collect()
}

#[test]
fn of_a_batch_each_command_has_its_own_result() {
    let batch = json!({
        "result": {"c0": {"task": {"id": "1"}}, "c2": null},
        "result_error": {"c1": {"error": "ERROR_CORE", "error_description": "нет"}},
        "result_time": {"c0": {"operating": 1.5}},
    });
    // The last one is in no map: nobody knows whether it ran.
    assert_eq!(kinds(&batch), [None, Some(Kind::Refused), None, Some(Kind::Unknown)]);
    let first = command_result(&batch, "c0").expect("a result");
    assert_eq!(first, json!({"result": {"task": {"id": "1"}}, "time": {"operating": 1.5}}));
}

#[test]
fn an_empty_map_of_a_batch_is_a_list() {
    let results = json!({"result": {"c0": 1, "c1": 2, "c2": 3, "c3": 4}, "result_error": [], "result_time": []});
    assert_eq!(kinds(&results), [None; 4]);
    let refused = json!({"error": "ERROR_CORE"});
    let errors = json!({"c0": refused, "c1": refused, "c2": refused, "c3": refused});
    assert_eq!(kinds(&json!({"result": [], "result_error": errors})), [Some(Kind::Refused); 4]);
    for nothing in [json!([]), json!({"result": [], "result_error": []}), json!(null), json!({"result": [1, 2]})] {
        assert_eq!(kinds(&nothing), [Some(Kind::Unknown); 4], "{nothing}");
    }
}

#[test]
fn keys_of_a_batch_start_with_a_letter() {
    assert_eq!((key(0), key(49)), ("c0".into(), "c49".into()));
}
