//! How calls are written as commands, and what a reply says about each. What needs a portal is in `tests/`.

use serde_json::json;

use super::*;

fn written(params: Vec<(&'static str, Value)>) -> String {
    command(&Call { method: "m", params }).expect("it can be written")
}

fn goes_plainly(value: Value) -> bool {
    command(&Call { method: "m", params: vec![("a", 1.into()), ("b", value)] }).is_none()
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
    let text = "100% + \"q\" #?&=[]$result c0\r\n\0\u{202e}Ё😀";
    let command = written(vec![("fields", json!({"TITLE": text, "b&c]=x": "1"}))]);
    let expected = "m?fields[TITLE]=100%25%20%2B%20%22q%22%20%23%3F%26%3D%5B%5D%24result%20c0%0D%0A%00%E2%80%AE%D0%81\
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
fn a_call_that_no_command_can_express_goes_plainly() {
    for value in [Value::Null, json!({"c": null, "d": 1}), json!([]), json!({}), json!([1, [], 2])] {
        assert!(goes_plainly(value.clone()), "{value}");
    }
    assert!(!goes_plainly(json!([1, {"c": "d"}, ""])));
    assert_eq!(written(Vec::new()), "m");
}

#[test]
fn a_text_that_looks_like_a_reference_goes_plainly() {
    for text in
        ["$result[c00]", "Счёт $RESULT[c1][task][id] к оплате", "$$next[x]", "$total[a", "a$Time[b]", "$error[]"]
    {
        assert!(goes_plainly(json!({"TITLE": [text]})), "{text}");
    }
    for text in ["$results[c0]", "result[c0]", "$result", "$ result[c0]", "$", "Цена $100 [итог]", "$ё"] {
        assert!(!goes_plainly(text.into()), "{text}");
    }
}

#[test]
fn a_call_that_php_would_cut_off_goes_plainly() {
    assert!(!goes_plainly(json!(vec![1; 800])));
    assert!(goes_plainly(json!(vec![1; 1000])));
    let nested = |depth: usize| (0..depth).fold(json!(1), |value, _| json!([value]));
    assert!(!goes_plainly(nested(40)));
    assert!(goes_plainly(nested(64)));
}

fn kinds(batch: &Value) -> Vec<Option<Kind>> {
    (0..4).map(|index| result(&mut batch.clone(), index).err().map(|err| err.kind)).collect()
}

#[test]
fn each_command_of_a_batch_has_its_own_result() {
    let batch = json!({
        "result": {"c0": {"task": {"id": "1"}}, "c2": null},
        "result_error": {"c1": {"error": "ERROR_CORE", "error_description": "нет"}},
        "result_time": {"c0": {"operating": 1.5}},
    });
    // The last one is in no map: it is not known whether it ran.
    assert_eq!(kinds(&batch), [None, Some(Kind::Refused), None, Some(Kind::Unknown)]);
    let first = result(&mut batch.clone(), 0).expect("a result");
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
fn keys_of_a_batch_start_with_a_letter_and_stand_in_the_order_of_the_commands() {
    let commands: Vec<String> = (0..12).map(|number| format!("m?a={number}")).collect();
    let body = String::from_utf8(body(commands.iter().map(String::as_str))).expect("UTF-8");
    let expected: Vec<String> = (0..12).map(|number| format!(r#""c{number}":"m?a={number}""#)).collect();
    assert_eq!(body, format!(r#"{{"halt":0,"cmd":{{{}}}}}"#, expected.join(",")));
    assert!(serde_json::from_str::<Value>(&body).is_ok());
}

fn fit(commands: &[(&'static str, &str)], most: usize) -> usize {
    let pace = |method: &str| match method {
        "quick" => Duration::from_millis(1),
        _ => Duration::from_secs(4),
    };
    fitting(commands.iter().copied(), most, Duration::from_secs(15), pace)
}

#[test]
fn a_batch_has_as_many_commands_as_fit_into_its_time() {
    let cases = [("quick", 99), ("slow", 99), ("quick", 7)];
    assert_eq!(cases.map(|(method, most)| fit(&[(method, "x"); 60], most)), [LARGEST, 3, 7]);
    assert_eq!(fit(&[("slow", "x"), ("slow", "x"), ("quick", "x"), ("slow", "x"), ("slow", "x")], LARGEST), 4);
}

#[test]
fn commands_too_long_for_one_request_go_in_several() {
    let long = "x".repeat(LARGEST_COMMANDS / 2);
    assert_eq!(fit(&[("quick", &long), ("quick", "x"), ("quick", &long), ("quick", "x")], LARGEST), 2);
}
